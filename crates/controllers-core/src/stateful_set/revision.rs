//! ControllerRevisions: their data, their hash, and which of them is current and which is wanted (section 2.4).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::plan::Action;
use super::rollback;
use super::view::{Owner, RevisionFacts, SetFacts, View};
use crate::words::safe_digits;

/// Longest prefix of a revision's name before its hash.
const NAME_PREFIX_BYTES_MAX: usize = 223;
/// Label of a revision that holds its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// What a ControllerRevision of a set holds: the pod template, as upstream would encode it.
#[derive(Clone, PartialEq, Debug)]
pub struct RevisionData {
    /// `{"spec":{"template":{…,"$patch":"replace"}}}`.
    pub value: Value,
    encoded: String,
}

impl RevisionData {
    /// The data for a template, with fields that upstream would not write taken out.
    pub fn of_template(mut template: Value) -> Self {
        normalise(&mut template);
        if let Some(fields) = template.as_object_mut() {
            fields.insert("$patch".to_owned(), json!("replace"));
        }
        let value = json!({"spec": {"template": template}});
        let encoded = encode(&value);
        Self { value, encoded }
    }

    /// The text that is hashed: compact, keys sorted, with Go's HTML escapes.
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The hash after so many collisions.
    pub fn hash(&self, collision_count: i32) -> String {
        let mut hash = fnv1_32(FNV_OFFSET, self.encoded.as_bytes());
        hash = fnv1_32(hash, collision_count.to_string().as_bytes());
        safe_digits(hash)
    }

    /// Whether a stored revision holds the same template, whatever its spelling (C-27 to C-29).
    pub fn equals(&self, stored: &Value) -> bool {
        if self.value == *stored {
            return true;
        }
        template_of(stored).is_some_and(|template| Self::of_template(template).value == self.value)
    }
}

/// The pod template in a revision's data.
pub fn template_of(data: &Value) -> Option<Value> {
    let mut template = data.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

const FNV_OFFSET: u32 = 2_166_136_261;
const FNV_PRIME: u32 = 16_777_619;

/// FNV-1: multiply, then xor.
fn fnv1_32(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u32::from(*byte))
}

/// Compact JSON as Go writes it: keys sorted (the map is), `<`, `>`, `&` and the two line separators escaped.
fn encode(value: &Value) -> String {
    let plain = value.to_string();
    let mut encoded = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '<' => encoded.push_str("\\u003c"),
            '>' => encoded.push_str("\\u003e"),
            '&' => encoded.push_str("\\u0026"),
            '\u{2028}' => encoded.push_str("\\u2028"),
            '\u{2029}' => encoded.push_str("\\u2029"),
            other => encoded.push(other),
        }
    }
    encoded
}

/// Fields that hold a map of strings: an empty one is not written, an empty value in one is.
const STRING_MAPS: [&str; 9] = [
    "labels",
    "annotations",
    "nodeSelector",
    "matchLabels",
    "limits",
    "requests",
    "overhead",
    "options",
    "volumeAttributes",
];
/// Plain booleans (not pointers) of a pod template: `false` is not written.
const PLAIN_BOOLS: [&str; 7] = ["hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty"];
/// Plain integers (not pointers) of a pod template: 0 is not written.
const PLAIN_INTS: [&str; 6] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold", "hostPort"];

/// Takes out what upstream's encoder leaves out, so that two spellings of one template are one revision (H-24).
fn normalise(template: &mut Value) {
    prune("", template);
    for list in ["containers", "initContainers"] {
        let containers = template.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.entry("resources").or_insert_with(|| json!({}));
        }
    }
}

fn prune(parent: &str, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| prune(parent, item)),
        Value::Object(fields) => {
            if STRING_MAPS.contains(&parent) {
                return;
            }
            let names: Vec<String> = fields.keys().cloned().collect();
            for name in names {
                prune_field(parent, fields, &name);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_field(parent: &str, fields: &mut Map<String, Value>, name: &str) {
    let Some(value) = fields.get_mut(name) else { return };
    prune(name, value);
    let unwritten = match value {
        Value::Null => true,
        Value::Bool(on) => !*on && PLAIN_BOOLS.contains(&name) && parent != "csi",
        Value::Number(number) => number.as_i64() == Some(0) && PLAIN_INTS.contains(&name),
        Value::String(text) => text.is_empty() && !keeps_empty_text(parent, name),
        Value::Array(items) => items.is_empty(),
        Value::Object(inner) => inner.is_empty() && STRING_MAPS.contains(&name),
    };
    if unwritten {
        fields.remove(name);
    }
}

/// Texts that upstream writes even if empty: required ones, and pointers.
fn keeps_empty_text(parent: &str, name: &str) -> bool {
    matches!((parent, name), ("hostPath", "type") | ("httpHeaders" | "sysctls", "value"))
        || matches!(name, "name" | "key" | "mountPath" | "topologyKey" | "storageClassName" | "runtimeClassName")
            && parent != "tolerations"
}

/// What the planner decided about revisions.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Choice {
    /// Name of the revision that pods below the partition belong to.
    pub(super) current: String,
    /// Name of the revision that the template has now.
    pub(super) update: String,
    /// The template of `current`, if it is another one than the set's.
    pub(super) current_template: Option<Value>,
    /// `status.collisionCount` from now on.
    pub(super) collision_count: Option<i32>,
    /// What to write first.
    pub(super) actions: Vec<Action>,
}

/// Chooses the update and the current revision; makes, or makes anew the latest, what is missing.
pub(super) fn choose(view: &View<'_>) -> Choice {
    let set = view.set;
    let history = history(view);
    let number = history.last().map_or(1, |latest| latest.number + 1);
    let mut actions = Vec::new();
    let mut collision_count = set.status.collision_count;
    let update = match history.iter().rev().find(|revision| set.data.equals(revision.data)) {
        Some(equal) => {
            let renumbers = !meta::mutants::is_on("rollback-is-not-renumbered");
            if renumbers && history.last().is_some_and(|latest| latest.name != equal.name) && !set.deleting {
                actions.push(renumber(equal, number));
            }
            equal.name.to_owned()
        }
        None => {
            let (name, found, collisions) = fresh_name(view);
            if collisions != collision_count.unwrap_or(0) {
                collision_count = Some(collisions);
            }
            if !found && !set.deleting {
                actions.push(Action::CreateRevision { body: body(set, &name, number), name: name.clone() });
            }
            name
        }
    };
    let stored = history.iter().find(|revision| revision.name == set.status.current_revision);
    let stored = stored.and_then(|revision| Some((revision.name, template_of(revision.data)?)));
    let current = stored.as_ref().map_or_else(|| update.clone(), |(name, _)| (*name).to_owned());
    let current_template = stored.filter(|(name, _)| *name != update).map(|(_, template)| template);
    Choice { current, update, current_template, collision_count, actions }
}

/// Makes an older revision the latest (C-28).
fn renumber(revision: &RevisionFacts<'_>, number: i64) -> Action {
    let target = revision.target();
    let mut metadata = target.patch_metadata();
    rollback::forget(revision, &mut metadata);
    Action::RenumberRevision { revision: target, number, patch: json!({"metadata": metadata, "revision": number}) }
}

/// The set's revisions, oldest number first (C-25).
pub(super) fn history<'v, 'a>(view: &'v View<'a>) -> Vec<&'v RevisionFacts<'a>> {
    let mut own: Vec<_> = view.revisions.iter().filter(|r| r.owner == Owner::ThisSet && r.selected).collect();
    own.sort_by(|a, b| (a.number, a.created, a.name).cmp(&(b.number, b.created, b.name)));
    own
}

/// A name that no other data has (C-30), whether a revision with the set's data has it already, and the collisions.
fn fresh_name(view: &View<'_>) -> (String, bool, i32) {
    let set = view.set;
    let mut collisions = set.status.collision_count.unwrap_or(0);
    loop {
        let name = revision_name(&set.name, &set.data.hash(collisions));
        match view.revisions.iter().find(|revision| revision.name == name) {
            None => return (name, false, collisions),
            Some(taken) if set.data.equals(taken.data) => return (name, true, collisions),
            Some(_) => collisions = collisions.saturating_add(1),
        }
    }
}

fn revision_name(set: &str, hash: &str) -> String {
    let mut cut = set.len().min(NAME_PREFIX_BYTES_MAX);
    while !set.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}-{hash}", &set[..cut])
}

fn body(set: &SetFacts, name: &str, number: i64) -> Value {
    let mut labels = set.template_labels.clone();
    labels.insert(HASH_LABEL.to_owned(), set.data.hash(set.status.collision_count.unwrap_or(0)));
    let mut body = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": set.namespace,
            "labels": labels,
            "ownerReferences": [set.owner_reference()],
        },
        "data": set.data.value,
        "revision": number,
    });
    if !set.annotations.is_empty() {
        body["metadata"]["annotations"] = json!(set.annotations);
    }
    body
}

/// Revisions beyond the limit that nothing uses, oldest first (C-32).
pub(super) fn surplus(view: &View<'_>, live: &BTreeSet<&str>) -> Vec<Action> {
    let Ok(limit) = usize::try_from(view.set.history_limit) else { return Vec::new() };
    let unused: Vec<_> = history(view)
        .into_iter()
        .filter(|revision| !live.contains(revision.name) || meta::mutants::is_on("live-revisions-are-surplus"))
        .filter(|revision| !revision.terminating)
        .collect();
    let excess = unused.len().saturating_sub(limit);
    unused[..excess].iter().map(|revision| Action::DeleteRevision { revision: revision.target() }).collect()
}
