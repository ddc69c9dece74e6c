//! S4: a claim has a volume of its own. S5: it goes only when the policy in force asks for it.

use store_core::EventKind;

use super::Found;
use super::history::{CLAIMS, History, Past, SETS, State};
use crate::wire::{Call, Verb};

const POLICY: &str = "persistentVolumeClaimRetentionPolicy";

/// A claim was written: nobody else may have its volume.
pub fn committed(past: &Past, history: &History) -> Found {
    if !past.key.starts_with(CLAIMS) || past.kind == EventKind::Deleted {
        return Found::new();
    }
    let volume = &past.after.tree()["spec"]["volumeName"];
    let others = history
        .all(CLAIMS)
        .filter(|(key, other)| **key != past.key && !volume.is_null() && other.tree()["spec"]["volumeName"] == *volume);
    others.map(|(key, _)| ("S4", format!("{} and {key} have the same volume {volume}", past.key))).collect()
}

/// A part deleted a claim, or said with whom it goes.
pub fn answered(call: &Call, history: &History, from: u64) -> Found {
    if call.resource.resource != "persistentvolumeclaims" || call.part == "client" {
        return Found::new();
    }
    match call.verb {
        Verb::Delete => deleted(call, history, from),
        Verb::Patch => given_to_a_pod(call, history, from),
        _ => Found::new(),
    }
}

/// A claim goes with its pod only if the set that has the pod says so, or said so once.
fn given_to_a_pod(call: &Call, history: &History, from: u64) -> Found {
    let key = format!("{CLAIMS}{}/{}", call.namespace, call.name);
    let pods = |state: &State| -> Vec<String> {
        let owners = state.tree()["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let pods = owners.filter(|owner| owner["kind"] == "Pod");
        pods.filter_map(|owner| owner["uid"].as_str().map(str::to_owned)).collect()
    };
    let mut found = Found::new();
    for past in history.of_kind(CLAIMS, from, history.revision()).filter(|past| past.key == key) {
        let before = past.before.as_deref().map(pods).unwrap_or_default();
        for pod in pods(&past.after).into_iter().filter(|pod| !before.contains(pod)) {
            let Some(set) = set_of(history, &pod, past.revision) else { continue };
            let mut states = history.of_kind(SETS, 0, past.revision).filter(|state| state.after.uid() == set);
            if !states.any(|state| state.after.tree()["spec"][POLICY]["whenScaled"] == "Delete") {
                found.push(("S5", format!("{} is to go with a pod though whenScaled never said so", call.name)));
            }
        }
    }
    found
}

fn deleted(call: &Call, history: &History, from: u64) -> Found {
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
            Some("StatefulSet") => ("whenDeleted", last_state(history, SETS, uid, from)),
            Some("Pod") => {
                ("whenScaled", set_of(history, uid, from).and_then(|set| last_state(history, SETS, &set, from)))
            }
            _ => continue,
        };
        let Some(set) = set else { continue };
        let wanted = &set.tree()["spec"][POLICY][policy];
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

/// UID of the set that owned a pod at the end, up to a revision.
fn set_of(history: &History, pod: &str, upto: u64) -> Option<String> {
    let owners =
        last_state(history, "/registry/core/pods/", pod, upto)?.tree()["metadata"]["ownerReferences"].as_array();
    let set = owners.into_iter().flatten().find(|owner| owner["kind"] == "StatefulSet")?;
    set["uid"].as_str().map(str::to_owned)
}

/// The last state of an object of a UID up to a revision, also after its end.
fn last_state<'h>(history: &'h History, kind: &str, uid: &str, upto: u64) -> Option<&'h State> {
    let all = history.of_kind(kind, 0, upto).filter(|past| past.after.uid() == uid);
    all.last().map(|past| past.after.as_ref())
}
