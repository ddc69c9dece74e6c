//! The only code of these tests that knows the API: it decodes manifests, runs the decisions and prints the answers.

use std::net::Ipv4Addr;

use api::codec::{Expected, FieldValidation, Media, Mode, decode, normalise};
use apiserver_core::kinds::{self, KindDef};
use apiserver_core::patch::{Place, merge_patch, merge_patch_object, strategic_patch, strategic_patch_object};
use apiserver_core::write::{
    AddressPool, CreateContext, CreatePlan, Deletion, DeletionOptions, NamespaceState, Outcome, UpdateContext,
    UpdatePlan, decide_create, decide_delete, decide_update,
};
use expect_test::Expect;
use meta::{Status, Timestamp};
use serde_json::{Value, json};

pub(crate) const UID: &str = "11111111-2222-4333-8444-555555555555";

pub(crate) fn now() -> Timestamp {
    "2026-11-21T07:00:00Z".parse().expect("a time")
}

/// A pod that nothing is wrong with.
pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: default}
spec:
  containers:
  - {name: web, image: 'nginx:1.27'}
";

/// A stateful set that nothing is wrong with.
pub(crate) const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: default}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27'}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
";

/// The kind that a tree says it is.
pub(crate) fn def_of(tree: &Value) -> &'static KindDef {
    let (version, kind) = (tree["apiVersion"].as_str().expect("apiVersion"), tree["kind"].as_str().expect("kind"));
    kinds::by_gvk(api::Gvk::parse(version, kind)).expect("a served kind")
}

/// Reads YAML without asking what it means.
pub(crate) fn yaml(text: &str) -> Value {
    api::codec::decode_untyped(text.as_bytes(), Media::Yaml).expect("YAML")
}

/// RFC 7386, so that a case can say only what is different.
pub(crate) fn merged(base: &Value, patch: &Value) -> Value {
    merge_patch(base, patch)
}

/// A manifest and a change to it, both YAML.
pub(crate) fn variant(base: &str, patch: &str) -> Value {
    merged(&yaml(base), &yaml(if patch.is_empty() { "{}" } else { patch }))
}

pub(crate) fn decoded(tree: Value) -> Result<Value, Status> {
    decoded_as(def_of(&tree), tree)
}

fn decoded_as(def: &KindDef, tree: Value) -> Result<Value, Status> {
    let decoded = normalise(tree, Expected::exactly(def.kind.gvk()), Mode::Typed).map_err(|e| e.to_status())?;
    Ok(decoded.tree)
}

/// A small service range, of which `10.0.0.9` is taken.
pub(crate) fn pool() -> AddressPool {
    let mut pool = AddressPool::new(Ipv4Addr::new(10, 0, 0, 0), 24);
    pool.occupy(&json!({"spec": {"clusterIP": "10.0.0.1"}}));
    pool.occupy(&json!({"spec": {"clusterIP": "10.0.0.9", "ports": [{"protocol": "TCP", "nodePort": 30_009}]}}));
    pool
}

pub(crate) struct World {
    pub(crate) namespace: NamespaceState,
    pub(crate) account: Option<Value>,
    pub(crate) classes: Vec<Value>,
    pub(crate) limits: Vec<Value>,
    pub(crate) priorities: Vec<Value>,
    pub(crate) pool: AddressPool,
}

/// The priority classes of every cluster.
fn system_priorities() -> Vec<Value> {
    let classes = kinds::priority_class::SYSTEM_CLASSES.iter();
    classes.map(|(name, value)| json!({"metadata": {"name": name}, "value": value})).collect()
}

impl Default for World {
    fn default() -> Self {
        Self {
            namespace: NamespaceState::Active,
            account: Some(json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false})),
            classes: Vec::new(),
            limits: Vec::new(),
            priorities: system_priorities(),
            pool: pool(),
        }
    }
}

pub(crate) fn create_in(world: &World, tree: Value) -> Result<CreatePlan, Status> {
    let def = def_of(&tree);
    let tree = decoded(tree)?;
    let classes: Vec<&Value> = world.classes.iter().collect();
    let limits: Vec<&Value> = world.limits.iter().collect();
    let priorities: Vec<&Value> = world.priorities.iter().collect();
    let context = CreateContext {
        now: now(),
        uid: UID,
        seed: 7,
        field_manager: "test",
        namespace: if def.kind.is_namespaced() { "default" } else { "" },
        namespace_state: if def.kind.is_namespaced() { world.namespace } else { NamespaceState::NotNeeded },
        service_account: world.account.as_ref(),
        storage_classes: &classes,
        limit_ranges: &limits,
        priority_classes: &priorities,
        addresses: Some(&world.pool),
        applied: false,
    };
    decide_create(def, tree, &context)
}

pub(crate) fn create(tree: Value) -> Result<CreatePlan, Status> {
    create_in(&World::default(), tree)
}

/// The object as the store would hold it, at revision 100.
pub(crate) fn stored(tree: Value) -> Value {
    let mut object = create(tree).expect("a good object").object;
    object["metadata"]["resourceVersion"] = "100".into();
    object
}

pub(crate) fn update(current: &Value, new: Value, subresource: &str) -> Result<UpdatePlan, Status> {
    update_in(&World::default(), current, new, subresource)
}

pub(crate) fn update_in(world: &World, current: &Value, new: Value, subresource: &str) -> Result<UpdatePlan, Status> {
    let limits: Vec<&Value> = world.limits.iter().collect();
    let context = UpdateContext {
        now: "2026-11-21T08:00:00Z".parse().expect("a time"),
        field_manager: "test",
        subresource,
        limit_ranges: &limits,
        addresses: Some(&world.pool),
        seed: 7,
        applied: false,
    };
    let def = def_of(current);
    decide_update(def, current, decoded_as(def, new)?, &context)
}

pub(crate) fn delete(current: &Value, options: &DeletionOptions) -> Result<Deletion, Status> {
    decide_delete(def_of(current), current, options, now())
}

/// A refusal in a few lines: code, reason, message, and the causes where there are several.
pub(crate) fn refusal(status: &Status) -> String {
    let reason = status.reason.map_or_else(|| "-".to_owned(), |reason| format!("{reason:?}"));
    let mut text = format!("{} {reason}: {}", status.code, status.message);
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    if causes.len() > 1 {
        for cause in causes {
            text.push_str(&format!("\n  {} {}: {}", cause.reason, cause.field, cause.message));
        }
    }
    text
}

fn answer(result: &Result<CreatePlan, Status>) -> String {
    match result {
        Ok(plan) if plan.warnings.is_empty() => "ok".to_owned(),
        Ok(plan) => format!("ok, but {}", plan.warnings.join("; ")),
        // What the first line of a single error says about the object is always the same.
        Err(status) => match status.details.as_ref().map(|details| details.causes.as_slice()) {
            Some([cause]) if status.code == 422 => format!("{}: {}", cause.field, cause.message),
            Some(causes) if status.code == 422 && !causes.is_empty() => {
                let lines: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
                lines.join("\n   ")
            }
            _ => refusal(status),
        },
    }
}

/// Creates `base` with each of the changes and compares what the server says.
pub(crate) fn check(base: &str, changes: &[&str], expected: Expect) {
    let mut text = String::new();
    for change in changes {
        let shown = change.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{shown}\n   {}\n", answer(&create(variant(base, change)))));
    }
    expected.assert_eq(&text);
}

/// Creates `base` with a change and shows the part of the stored object at a JSON pointer.
pub(crate) fn check_stored(base: &str, change: &str, pointer: &str, expected: Expect) {
    let object = create(variant(base, change)).expect("a good object").object;
    expected.assert_eq(&shown(object.pointer(pointer).unwrap_or(&Value::Null)));
}

/// A tree as YAML-like lines that read well in a snapshot.
pub(crate) fn shown(tree: &Value) -> String {
    let mut text = serde_json::to_string_pretty(tree).expect("JSON");
    text.push('\n');
    text
}

/// Creates `base`, changes it and compares what the server says, one line for each change.
pub(crate) fn check_update(base: &str, changes: &[&str], expected: Expect) {
    check_update_of(&stored(yaml(base)), "", changes, expected);
}

/// Changes a stored object and compares what the server says, one line for each change.
pub(crate) fn check_update_of(current: &Value, subresource: &str, changes: &[&str], expected: Expect) {
    let mut text = String::new();
    for change in changes {
        let result = patch(current, &yaml(change), subresource);
        let said = match result {
            Ok(plan) => match plan.outcome {
                Outcome::Unchanged => "unchanged".to_owned(),
                Outcome::Write(tree) => match tree["metadata"].get("generation") {
                    Some(generation) => format!("written, generation {generation}"),
                    None => "written".to_owned(),
                },
                Outcome::Remove(_) => "removed".to_owned(),
            },
            Err(status) => answer(&Err(status)),
        };
        let shown = change.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{shown}\n   {said}\n"));
    }
    expected.assert_eq(&text);
}

/// Applies a merge patch. Played on the part of the object that the server lets it see, and as a strategic merge patch on
/// part and whole, it comes to the same.
pub(crate) fn patch(current: &Value, patch: &Value, subresource: &str) -> Result<UpdatePlan, Status> {
    let result = update(current, merge_patch(current, patch), subresource);
    let of_part = update(current, merge_patch_object(current, patch, subresource), subresource);
    assert_eq!(of_part, result, "{patch} of a part of {}", current["kind"]);
    let place = Place::root(def_of(current).kind.gvk()).expect("a schema");
    let [of_part, of_whole] = [
        strategic_patch_object(place, current, patch, subresource),
        strategic_patch(place, current.clone(), patch.clone()),
    ]
    .map(|patched| patched.and_then(|tree| update(current, tree, subresource)));
    assert_eq!(of_part, of_whole, "strategic {patch} of a part of {}", current["kind"]);
    result
}

/// Decodes a body as a client sent it, strictly, creates the object and shows the refusal.
pub(crate) fn check_body(kind: (&str, &str), body: &str, expected: Expect) {
    let def = kinds::by_gvk(api::Gvk::parse(kind.0, kind.1)).expect("a served kind");
    let result = decode(body.as_bytes(), Media::Yaml, Expected::exactly(def.kind.gvk()), Mode::Typed)
        .and_then(|decoded| {
            FieldValidation::Strict.judge(&decoded.problems, def.kind.gvk())?;
            Ok(decoded.tree)
        })
        .map_err(|error| error.to_status())
        .and_then(create);
    expected.assert_eq(&match result {
        Ok(plan) => format!("created {}\n", plan.name),
        Err(status) => format!("{}\n", refusal(&status)),
    });
}
