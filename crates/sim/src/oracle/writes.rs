//! S8, S9, S10, S14, S22: what each write may do.

use std::collections::BTreeMap;

use client::Object;
use meta::Status;
use serde_json::Value;
use store_core::EventKind;

use super::history::{History, Past, kind_prefix};
use super::{Found, Orphaning};
use crate::wire::{Answer, Call, Verb};

/// Writes that the server is working on.
#[derive(Debug, Default)]
pub struct Writes {
    next: u64,
    /// Whether another one was under way at the same time.
    under_way: BTreeMap<u64, bool>,
}

/// Resources whose writers have to say which incarnation they mean.
const IDENTIFIED: [&str; 5] =
    ["pods", "statefulsets", "persistentvolumeclaims", "persistentvolumes", "controllerrevisions"];

impl Writes {
    /// The server was opened anew: what was under way is no more.
    pub fn forget(&mut self) {
        self.under_way.clear();
    }

    /// A write begins; its number.
    pub fn begun(&mut self) -> u64 {
        self.next += 1;
        let crowded = !self.under_way.is_empty();
        self.under_way.values_mut().for_each(|overlapped| *overlapped = true);
        self.under_way.insert(self.next, crowded);
        self.next
    }

    /// It ended; whether it was alone all the time.
    pub fn ended(&mut self, number: u64) -> bool {
        self.under_way.remove(&number) == Some(false)
    }
}

/// A write was answered.
pub fn answered(
    call: &Call,
    history: &History,
    from: u64,
    alone: bool,
    answer: Result<Answer<'_>, &Status>,
    collected: Owners<'_>,
) -> Found {
    let mut found = Found::new();
    match answer {
        Err(status) => {
            let is_refusal = (400..500).contains(&status.code);
            if is_refusal && alone && history.revision() > from {
                let what = format!("{call} was refused with {} and {} changed", status.code, history.revision());
                found.push(("S22", what));
            }
        }
        Ok(answer) => {
            found.extend(names_its_object(call));
            found.extend(hits_its_object(call, history, from));
            if let Answer::Object(object) = answer {
                found.extend(one_winner(call, history, from, object));
            }
            if call.user.contains("garbage-collector") && call.verb == Verb::Delete {
                found.extend(no_living_owner(call, history, from, collected));
            }
        }
    }
    found
}

fn is_component(call: &Call) -> bool {
    call.part == "controllers" || call.part == "scheduler" || call.part.starts_with("agent")
}

/// S8: parts say which UID they mean.
fn names_its_object(call: &Call) -> Found {
    if !is_component(call) || !IDENTIFIED.contains(&&*call.resource.resource) {
        return Found::new();
    }
    let named = match call.verb {
        Verb::Delete => call.delete.as_ref().is_some_and(|options| options.uid.is_some()),
        Verb::Patch | Verb::Update => call.body["metadata"]["uid"].is_string(),
        Verb::Create | Verb::Get | Verb::List | Verb::Watch => true,
    };
    if named { Found::new() } else { vec![("S8", format!("{call} by {} names no UID", call.user))] }
}

/// The key of what a request is about.
pub fn key(call: &Call) -> String {
    let group = if call.resource.group.is_empty() { "core" } else { &call.resource.group };
    let namespace = if call.namespace.is_empty() { String::new() } else { format!("{}/", call.namespace) };
    format!("/registry/{group}/{}/{namespace}{}", call.resource.resource, call.name)
}

/// S8: a write that means a UID changes nothing else.
fn hits_its_object(call: &Call, history: &History, from: u64) -> Found {
    let meant = match (&call.delete, call.verb) {
        (Some(options), _) => options.uid.as_ref().map(|uid| uid.0.clone()),
        (None, Verb::Patch | Verb::Update) => call.body["metadata"]["uid"].as_str().map(str::to_owned),
        (None, _) => None,
    };
    let Some(meant) = meant else { return Found::new() };
    let key = key(call);
    // Only what this very request did: another one may have been at work, too.
    let mut effects = history.of_kind(kind_prefix(&key), from, history.revision()).filter(|past| past.key == key);
    let (first, more) = (effects.next(), effects.next());
    match (first.and_then(|past| past.before.as_ref()), more) {
        (Some(before), None) if before.uid() != meant && call.verb == Verb::Delete => {
            vec![("S8", format!("{call} means {meant} and hits {}", before.uid()))]
        }
        _ => Found::new(),
    }
}

/// S14: a write on a revision follows exactly that revision.
fn one_winner(call: &Call, history: &History, from: u64, object: &Object) -> Found {
    let Some(expected) = call.body["metadata"]["resourceVersion"].as_str().filter(|_| call.verb != Verb::Create) else {
        return Found::new();
    };
    let revision = object.resource_version.0;
    let event = history.since(from).iter().find(|past| past.revision == revision);
    let before = event.and_then(|past| past.before.as_ref()).map(|state| state.revision.to_string());
    match before {
        Some(before) if before != expected => {
            vec![("S14", format!("{call} on {expected} was committed over {before}"))]
        }
        _ => Found::new(),
    }
}

/// What is known of the owners of what the garbage collector deletes.
#[derive(Clone, Copy, Debug)]
pub struct Owners<'c> {
    /// Those whose dependents are to stay.
    pub orphaning: &'c Orphaning,
    /// Where the collector last read one: the newest revision when it asked, by UID.
    pub read: &'c BTreeMap<String, u64>,
}

/// S9: what the garbage collector deletes has no living owner.
fn no_living_owner(call: &Call, history: &History, from: u64, Owners { orphaning, read }: Owners<'_>) -> Found {
    let key = key(call);
    let kind = kind_prefix(&key).to_owned();
    let mut effects = history.of_kind(&kind, from, history.revision()).filter(|past| past.key == key);
    let Some(effect) = effects.find(|past| past.kind == EventKind::Deleted || past.after.is_terminating()) else {
        return Found::new();
    };
    let Some(before) = &effect.before else { return Found::new() };
    let owners = before.tree()["metadata"]["ownerReferences"].as_array();
    // What is made when its owner is gone already (a request that came late) was never orphaned.
    let made = history.made(&key, before.uid()).unwrap_or(0);
    // Between its look at the owner and the deletion somebody may have wanted it otherwise.
    let waited = |uid: &str| waited_for_dependents(history, uid, read.get(uid).copied(), effect.revision - 1);
    let is_orphaning = |uid: &str| orphaning.get(uid).is_some_and(|gone| gone.is_none_or(|gone| made < gone));
    let orphan_of = |owner: &Value| owner["uid"].as_str().is_some_and(|uid| is_orphaning(uid) && !waited(uid));
    if owners.is_some_and(|owners| owners.iter().any(orphan_of)) {
        return vec![("S9", format!("{key} is collected though its owner was deleted so that it stays"))];
    }
    let living = owners.into_iter().flatten().filter_map(|owner| {
        let state = history.of_uid(owner["uid"].as_str()?)?;
        (!waited(state.uid())).then(|| state.name().to_owned())
    });
    let living: Vec<String> = living.collect();
    let has_owners = before.tree()["metadata"]["ownerReferences"].as_array().is_some_and(|all| !all.is_empty());
    let is_itself_going = before.is_terminating();
    if !has_owners && !is_itself_going {
        return vec![("S9", format!("{key} has no owner at all and is collected"))];
    }
    if living.is_empty() { Found::new() } else { vec![("S9", format!("{key} is collected though {living:?} lives"))] }
}

/// Whether an owner waited, at a moment since it was read, for its dependents to go.
fn waited_for_dependents(history: &History, uid: &str, read: Option<u64>, upto: u64) -> bool {
    let waits = |past: &Past| {
        let finalizers = past.after.tree()["metadata"]["finalizers"].as_array();
        let is_foreground = finalizers.into_iter().flatten().any(|one| one == "foregroundDeletion");
        past.kind != EventKind::Deleted && past.after.is_terminating() && is_foreground
    };
    let since = read.unwrap_or(upto);
    let mut found = false;
    for past in history.since(0).iter().filter(|past| past.after.uid() == uid && past.revision <= upto) {
        found = waits(past) || found && past.revision > since;
    }
    found
}

/// S10: a deletion is never taken back, its grace only shortens, and finalizers hold it.
pub fn committed(past: &Past) -> Found {
    let mut found = Found::new();
    let metadata = |tree: &Value| tree["metadata"].clone();
    let after = metadata(past.after.tree());
    if past.kind == EventKind::Deleted {
        if after["finalizers"].as_array().is_some_and(|all| !all.is_empty()) {
            found.push(("S10", format!("{} is gone with finalizers {}", past.key, after["finalizers"])));
        }
        return found;
    }
    let Some(before) = &past.before else { return found };
    let before = metadata(before.tree());
    if before["uid"] != after["uid"] {
        found.push(("S8", format!("the UID of {} changed from {} to {}", past.key, before["uid"], after["uid"])));
    }
    if before["deletionTimestamp"].is_null() {
        return found;
    }
    if after["deletionTimestamp"].is_null() {
        found.push(("S10", format!("the deletion of {} was taken back", past.key)));
    }
    let grace = |tree: &Value| tree["deletionGracePeriodSeconds"].as_i64();
    if grace(&after) > grace(&before) {
        found.push(("S10", format!("the grace of {} grew", past.key)));
    }
    found
}
