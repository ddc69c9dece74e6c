//! StatefulSet: its row, defaults and rules (statefulset.md section 1).

use std::borrow::Cow;

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::{LabelSelector, Quantity, RETENTION_FINALIZER, Timestamp};
use serde_json::{Value, json};

use super::persistent_volume_claim as claim;
use super::pod;
use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{
    at, child_mut, copy_member, has, int, items, items_mut, member, object_mut, remove, set, set_default, text,
};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path, names, selector};

const FORBIDDEN_CHANGE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
    forbidden";
/// What may change in the spec.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["sts"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("StatefulSet")] },
            generation: Generation::Spec,
            ..Kind::ordinary(
                resources::STATEFUL_SETS,
                Scope::Namespaced,
                "StatefulSet",
                "StatefulSetList",
                "statefulset",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Ready", "Ready pods of the wanted ones."),
                Column::AGE,
                Column::CONTAINERS,
                Column::IMAGES,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            name: names::dns_label,
            default,
            prepare_create: |object| set(object, "status", json!({ "replicas": 0, "availableReplicas": 0 })),
            prepare_update: hold_while_claims_are_let_go,
            validate: |set, errors| {
                let path = Path::root("spec");
                validate_spec(member(set, "spec"), &path, Occasion::Create, errors);
            },
            validate_update,
            validate_status,
            warn,
            ..Rules::PLAIN
        },
    }
}

///
fn row(set: &Value, now: Timestamp) -> Row {
    let ready = int(member(set, "status"), "readyReplicas").unwrap_or(0);
    let wanted = int(member(set, "spec"), "replicas").unwrap_or(0);
    let (containers, images) = cells::containers_and_images(at(set, &["spec", "template", "spec"]));
    Row::of([cells::name(set), format!("{ready}/{wanted}").into(), cells::age(set, now), containers, images])
}

/// The scalars come defaulted from the schema; this is what depends on something.
fn default(set: &mut Value) {
    let spec = child_mut(set, "spec");
    set_default(spec, "podManagementPolicy", "OrderedReady");
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "serviceName", "");
    default_update_strategy(spec);
    let retention = child_mut(spec, "persistentVolumeClaimRetentionPolicy");
    set_default(retention, "whenDeleted", "Retain");
    set_default(retention, "whenScaled", "Retain");
    if has(spec, "ordinals") {
        set_default(&mut spec["ordinals"], "start", 0);
    }
    workload::default_template(spec);
    for template in items_mut(spec, "volumeClaimTemplates") {
        claim::default_template(template);
    }
}

/// The trap of A-12: an explicit type without the block stays without it.
fn default_update_strategy(spec: &mut Value) {
    let strategy = child_mut(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        set(strategy, "type", "RollingUpdate");
        set_default(strategy, "rollingUpdate", json!({}));
    }
    if text(strategy, "type") == "RollingUpdate" && has(strategy, "rollingUpdate") {
        let rolling = &mut strategy["rollingUpdate"];
        set_default(rolling, "partition", 0);
        set_default(rolling, "maxUnavailable", 1);
    }
}

/// A set whose policy changes to keep the claims that it owns is held by a finalizer until the controller has let them
/// go: else a deletion right after the change would take them along (S5).
fn hold_while_claims_are_let_go(new: &mut Value, old: &Value) {
    let deletes =
        |set: &Value| text(at(set, &["spec", "persistentVolumeClaimRetentionPolicy"]), "whenDeleted") == "Delete";
    let has_claims = !items(member(old, "spec"), "volumeClaimTemplates").is_empty();
    // One whose deletion has begun takes no new finalizer; the garbage collector asks it for its policy.
    if !deletes(old) || deletes(new) || !has_claims || has(member(old, "metadata"), "deletionTimestamp") {
        return;
    }
    let metadata = object_mut(new, "metadata");
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|held| held == RETENTION_FINALIZER)
    {
        finalizers.push(RETENTION_FINALIZER.into());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Create,
    Update { template_was_valid: bool },
}

fn validate_spec(spec: &Value, path: &Path<'_>, occasion: Occasion, errors: &mut Errors) {
    let policy = text(spec, "podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid_text(&path.child("podManagementPolicy"), policy, detail);
    }
    validate_update_strategy(member(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    let retention_path = path.child("persistentVolumeClaimRetentionPolicy");
    for key in ["whenDeleted", "whenScaled"] {
        let policy = text(member(spec, "persistentVolumeClaimRetentionPolicy"), key);
        if !matches!(policy, "Retain" | "Delete") {
            errors.not_supported(&retention_path.child(key), policy, &["Retain", "Delete"]);
        }
    }
    validate_non_negative(spec, "replicas", path, errors);
    validate_non_negative(spec, "minReadySeconds", path, errors);
    if let Some(start) = int(member(spec, "ordinals"), "start").filter(|start| *start < 0) {
        errors.invalid_int(&path.child("ordinals.start"), start, "must be greater than or equal to 0");
    }
    if occasion == Occasion::Create {
        let templates = path.child("volumeClaimTemplates");
        for (index, template) in items(spec, "volumeClaimTemplates").iter().enumerate() {
            claim::validate_spec(member(template, "spec"), &templates.index(index).child("spec"), errors);
        }
        let service = text(spec, "serviceName");
        if !service.is_empty() {
            errors.invalid_each(&path.child("serviceName"), service, names::dns_label(service));
        }
    }
    // Upstream does not look at the template when it cannot read the selector.
    let selector = validate_selector(spec, path, errors);
    if let Some(selector) = selector.filter(|_| occasion != (Occasion::Update { template_was_valid: false })) {
        validate_template(spec, &selector, path, errors);
    }
    validate_template_policy(spec, path, errors);
}

fn validate_update_strategy(strategy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let rolling = member(strategy, "rollingUpdate");
    let rolling_path = path.child("rollingUpdate");
    match text(strategy, "type") {
        "" => errors.required(path, ""),
        "OnDelete" if !rolling.is_null() => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid_shown(&rolling_path, &shown_rolling_update(rolling), detail);
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            validate_non_negative(rolling, "partition", &rolling_path, errors);
            validate_max_unavailable(rolling.get("maxUnavailable"), &rolling_path.child("maxUnavailable"), errors);
        }
        other => {
            let shown = format!("{{\"Type\":{other:?},\"RollingUpdate\":{}}}", shown_rolling_update(rolling));
            errors.invalid_shown(path, &shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

/// The block as upstream's errors show it: in its internal form.
fn shown_rolling_update(rolling: &Value) -> String {
    if rolling.is_null() {
        return "null".to_owned();
    }
    let partition = int(rolling, "partition").unwrap_or(0);
    format!("{{\"Partition\":{partition},\"MaxUnavailable\":{}}}", member(rolling, "maxUnavailable"))
}

/// A positive number, or 1 % to 100 % (A-26).
fn validate_max_unavailable(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Some(Value::String(text)) => {
            let problems = names::percent(text);
            if !problems.is_empty() {
                errors.invalid_each(path, text, problems);
                return;
            }
            let percent = text.trim_end_matches('%').parse::<u64>().unwrap_or(u64::MAX);
            if percent == 0 {
                errors.invalid_text(path, text, "cannot be 0");
            } else if percent > 100 {
                errors.invalid_text(path, text, "must not be greater than 100%");
            }
        }
        Some(Value::Number(number)) => match number.as_i64().unwrap_or(0) {
            0 => errors.invalid_int(path, 0, "cannot be 0"),
            negative if negative < 0 => {
                errors.invalid_int(path, negative, "must be greater than or equal to 0");
            }
            _ => {}
        },
        _ => {}
    }
}

/// Checks the selector and gives it back if it can be asked. No selector at all selects nothing.
fn validate_selector(spec: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<LabelSelector> {
    let path = path.child("selector");
    let wanted = member(spec, "selector");
    if wanted.is_null() {
        errors.required(&path, "");
        return Some(LabelSelector::nothing());
    }
    selector::validate(wanted, &path, errors);
    match LabelSelector::from_object(wanted) {
        Ok(selector) => {
            if selector.selects_everything() {
                let detail = "empty selector is invalid for statefulset";
                errors.invalid_shown(&path, &selector::shown(wanted), detail);
            }
            Some(selector)
        }
        Err(_) => {
            errors.invalid_shown(&path, &selector::shown(wanted), "");
            None
        }
    }
}

///
fn validate_template(spec: &Value, selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    let template_path = path.child("template");
    let metadata = member(member(spec, "template"), "metadata");
    let labels = member(metadata, "labels");
    if !selector.matches(&labels.as_object()) {
        let path = template_path.child("metadata");
        errors.invalid_shown(&path.child("labels"), &labels.to_string(), "`selector` does not match template `labels`");
    }
    pod::validate_template(metadata, &with_claims_as_volumes(spec), &template_path, errors);
}

/// The pod spec as the pods will have it: claims that are mounted are volumes, and hide volumes of the same name; the
/// controller sets the host name.
fn with_claims_as_volumes(spec: &Value) -> Cow<'_, Value> {
    let pod_spec = at(spec, &["template", "spec"]);
    let templates = items(spec, "volumeClaimTemplates");
    if templates.is_empty() && !has(pod_spec, "hostname") && !has(pod_spec, "subdomain") {
        return Cow::Borrowed(pod_spec);
    }
    let mut pod_spec = pod_spec.clone();
    remove(&mut pod_spec, "hostname");
    remove(&mut pod_spec, "subdomain");
    let mut volumes = items(&pod_spec, "volumes").to_vec();
    for template in templates {
        let name = text(member(template, "metadata"), "name");
        let volume = json!({ "name": name, "persistentVolumeClaim": { "claimName": "claim" } });
        match volumes.iter_mut().find(|volume| text(volume, "name") == name) {
            Some(hidden) => *hidden = volume,
            None if is_mounted(&pod_spec, name) => volumes.push(volume),
            None => {}
        }
    }
    if !volumes.is_empty() {
        set(&mut pod_spec, "volumes", volumes);
    }
    Cow::Owned(pod_spec)
}

fn is_mounted(pod_spec: &Value, volume: &str) -> bool {
    ["containers", "initContainers"]
        .iter()
        .flat_map(|key| items(pod_spec, key))
        .flat_map(|container| items(container, "volumeMounts").iter().chain(items(container, "volumeDevices")))
        .any(|mount| text(mount, "name") == volume)
}

///
fn validate_template_policy(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let pod_spec = at(spec, &["template", "spec"]);
    let (template, restart) = (path.child("template"), text(pod_spec, "restartPolicy"));
    let spec_path = template.child("spec");
    if restart != "Always" {
        errors.not_supported(&spec_path.child("restartPolicy"), restart, &["Always"]);
    }
    if has(pod_spec, "activeDeadlineSeconds") {
        let detail = "activeDeadlineSeconds in StatefulSet is not Supported";
        errors.forbidden(&spec_path.child("activeDeadlineSeconds"), detail);
    }
}

///
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (new_spec, old_spec) = (member(new, "spec"), member(old, "spec"));
    let mut old_errors = Errors::new();
    if new_spec != old_spec {
        let selector =
            LabelSelector::from_object(member(old_spec, "selector")).unwrap_or_else(|_| LabelSelector::nothing());
        validate_template(old_spec, &selector, &path, &mut old_errors);
    }
    let occasion = Occasion::Update { template_was_valid: old_errors.is_empty() };
    validate_spec(new_spec, &path, occasion, errors);
    let mut allowed = old_spec.clone();
    for key in MUTABLE {
        copy_member(&mut allowed, new_spec, key);
    }
    if !same_with_templates(&allowed, new_spec) {
        errors.forbidden(&path, FORBIDDEN_CHANGE);
    }
}

/// Equality that does not mind whether a claim template says what the server would fill in.
fn same_with_templates(a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    let normal = |spec: &Value| {
        let mut spec = spec.clone();
        for template in items_mut(&mut spec, "volumeClaimTemplates") {
            claim::default_template(template);
            remove(template, "status");
            if let Some(metadata) = template.get_mut("metadata") {
                remove(metadata, "creationTimestamp");
            }
        }
        spec
    };
    normal(a) == normal(b)
}

///
fn validate_status(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, path) = (member(new, "status"), Path::root("status"));
    let counters = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    for key in counters.into_iter().chain(["observedGeneration", "collisionCount"]) {
        validate_non_negative(status, key, &path, errors);
    }
    let count = |key: &str| int(status, key).unwrap_or(0);
    for key in &counters[1..] {
        if count(key) > count("replicas") {
            errors.invalid_int(&path.child(key), count(key), "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let path = path.child("availableReplicas");
        errors.invalid_int(&path, count("availableReplicas"), "cannot be greater than status.readyReplicas");
    }
    let before = int(member(old, "status"), "collisionCount");
    let after = int(status, "collisionCount");
    if before.is_some_and(|before| after.unwrap_or(0) < before) {
        errors.invalid_int(&path.child("collisionCount"), after.unwrap_or(0), "cannot be decremented");
    }
}

///
fn warn(set: &Value, warnings: &mut Vec<String>) {
    let spec = member(set, "spec");
    pod::warn_spec(at(spec, &["template", "spec"]), "spec.template.spec", warnings);
    for (index, template) in items(spec, "volumeClaimTemplates").iter().enumerate() {
        let requests = at(template, &["spec", "resources", "requests"]);
        let storage = requests.get("storage").and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
        if let Some(storage) = storage.filter(|storage| !storage.is_whole()) {
            warnings.push(format!(
                "spec.volumeClaimTemplates[{index}].spec.resources.requests[storage]: fractional byte value \
                 \"{storage}\" is invalid, must be an integer"
            ));
        }
    }
    if int(spec, "revisionHistoryLimit").is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
}
