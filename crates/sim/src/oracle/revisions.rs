//! S7: revisions of templates.

use store_core::EventKind;

use super::Found;
use super::history::{History, Past, REVISIONS};
use crate::wire::{Call, Verb};

/// A revision was committed.
pub fn committed(past: &Past, history: &History) -> Found {
    let mut found = Found::new();
    if !past.key.starts_with(REVISIONS) {
        return found;
    }
    let tree = past.after.tree();
    if let Some(before) = past.before.as_ref().filter(|_| past.kind == EventKind::Updated)
        && before.tree()["data"] != tree["data"]
    {
        found.push(("S7", format!("the content of {} changed", past.key)));
    }
    if past.kind == EventKind::Created {
        let owner = &tree["metadata"]["ownerReferences"];
        let twin = history.all(REVISIONS).find(|(key, other)| {
            **key != past.key
                && other.tree()["data"] == tree["data"]
                && other.tree()["metadata"]["ownerReferences"] == *owner
                && !other.is_terminating()
        });
        if let Some((key, _)) = twin {
            found.push(("S7", format!("{} is made though {key} is the same template", past.key)));
        }
    }
    found
}

/// A part deleted a revision: nothing may use it.
pub fn answered(call: &Call, history: &History, from: u64) -> Found {
    let is_revision = call.resource.resource == "controllerrevisions" && call.verb == Verb::Delete;
    if !is_revision || !call.user.ends_with(":statefulset-controller") {
        return Found::new();
    }
    let key = format!("{REVISIONS}{}/{}", call.namespace, call.name);
    let gone = history.of_kind(REVISIONS, from, history.revision()).find(|past| past.key == key);
    let Some(gone) = gone.filter(|past| past.kind == EventKind::Deleted) else { return Found::new() };
    let owners = gone.after.tree()["metadata"]["ownerReferences"].as_array();
    let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    let Some(uid) = owner.and_then(|owner| owner["uid"].as_str()) else { return Found::new() };
    let mut found = Found::new();
    let Some(set) = history.of_uid(uid) else { return found };
    for field in ["currentRevision", "updateRevision"] {
        if set.tree()["status"][field] == call.name {
            found.push(("S7", format!("{} is deleted and is the {field} of {}", call.name, set.name())));
        }
    }
    for (pod, state) in history.all("/registry/core/pods/") {
        let owners = state.tree()["metadata"]["ownerReferences"].as_array();
        let is_its = owners.into_iter().flatten().any(|owner| owner["uid"] == uid && owner["controller"] == true);
        let revision = &state.tree()["metadata"]["labels"]["controller-revision-hash"];
        if is_its && *revision == call.name && !state.is_terminating() {
            found.push(("S7", format!("{} is deleted and {pod} is of it", call.name)));
        }
    }
    found
}
