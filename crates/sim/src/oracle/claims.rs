//! S5: a claim goes only when the policy in force asks for it.

use store_core::EventKind;

use super::Found;
use super::history::{History, State};
use crate::wire::{Call, Verb};

const CLAIMS: &str = "/registry/core/persistentvolumeclaims/";

/// A part deleted a claim.
pub fn answered(call: &Call, history: &History, from: u64) -> Found {
    let is_claim = call.resource.resource == "persistentvolumeclaims" && call.verb == Verb::Delete;
    if !is_claim || call.part == "client" {
        return Found::new();
    }
    let key = format!("{CLAIMS}{}/{}", call.namespace, call.name);
    let mut effects = history.of_kind(CLAIMS, from, history.revision()).filter(|past| past.key == key);
    let Some(effect) = effects.find(|past| past.kind == EventKind::Deleted || past.after.is_terminating()) else {
        return Found::new();
    };
    let Some(before) = effect.before.as_ref().filter(|before| !before.is_terminating()) else { return Found::new() };
    let owners = before.tree()["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let mut found = Found::new();
    for owner in &owners {
        let uid = owner["uid"].as_str().unwrap_or_default();
        let (policy, set) = match owner["kind"].as_str() {
            Some("StatefulSet") => ("whenDeleted", last_state(history, "/registry/apps/statefulsets/", uid, from)),
            Some("Pod") => {
                let pod = last_state(history, "/registry/core/pods/", uid, from);
                let owners = pod.and_then(|pod| pod.tree()["metadata"]["ownerReferences"].as_array().cloned());
                let set = owners.into_iter().flatten().find(|owner| owner["kind"] == "StatefulSet");
                let set = set.and_then(|set| set["uid"].as_str().map(str::to_owned));
                let set = set.and_then(|set| last_state(history, "/registry/apps/statefulsets/", &set, from));
                ("whenScaled", set)
            }
            _ => continue,
        };
        let Some(set) = set else { continue };
        let wanted = &set.tree()["spec"]["persistentVolumeClaimRetentionPolicy"][policy];
        if wanted != "Delete" {
            let what = format!("{} is deleted at {} though {policy} says {wanted}", call.name, effect.revision);
            found.push(("S5", what));
        }
    }
    if owners.is_empty() {
        found.push(("S5", format!("{} is deleted by {} though nobody owns it", call.name, call.user)));
    }
    found
}

/// The last state of an object of a UID up to a revision, also after its end.
fn last_state<'h>(history: &'h History, kind: &str, uid: &str, upto: u64) -> Option<&'h State> {
    let all = history.of_kind(kind, 0, upto).filter(|past| past.after.uid() == uid);
    all.last().map(|past| past.after.as_ref())
}
