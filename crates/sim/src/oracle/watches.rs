//! S15, S16, S17: lists are snapshots, watches are complete.

use std::sync::Arc;

use client::{Collection, ObjectList, Selection, WatchEvent};
use meta::ResourceVersion;
use serde_json::Value;
use store_core::{Event, EventKind};

use super::history::{History, Past};
use super::{Court, Found};
use crate::wire::Call;

/// Whose events a reader gets.
#[derive(Clone, Debug)]
struct Scope {
    kind: String,
    prefix: String,
    /// Path and wanted value; `None` if the selection is none that the judges understand.
    fields: Option<Vec<(String, String)>>,
}

impl Scope {
    fn new(target: &Collection, selection: &Selection) -> Self {
        let group = if target.resource.group.is_empty() { "core" } else { &target.resource.group };
        let kind = format!("/registry/{group}/{}/", target.resource.resource);
        let prefix = target.namespace.as_ref().map_or_else(|| kind.clone(), |namespace| format!("{kind}{namespace}/"));
        let pairs = selection.fields.split(',').filter(|pair| !pair.is_empty());
        let fields: Option<Vec<_>> =
            pairs.map(|pair| pair.split_once('=').map(|(path, value)| (path.to_owned(), value.to_owned()))).collect();
        let labels = selection.labels.split(',').filter(|pair| !pair.is_empty());
        let labels: Option<Vec<_>> = labels
            .map(|pair| pair.split_once('=').filter(|(key, _)| !key.ends_with('!')))
            .map(|pair| pair.map(|(key, value)| (format!("metadata.labels.{key}"), value.to_owned())))
            .collect();
        let fields = fields.zip(labels).map(|(fields, labels)| [fields, labels].concat());
        Self { kind, prefix, fields }
    }

    fn matches(&self, object: &Value) -> bool {
        self.fields.iter().flatten().all(|(path, wanted)| {
            let found = path.split('.').fold(object, |tree, field| &tree[field]);
            found.as_str().unwrap_or_default() == wanted
        })
    }

    fn has(&self, past: &Past) -> bool {
        past.key.starts_with(&self.prefix) && self.step(past).is_some()
    }

    /// What the reader is told of a commit.
    fn step(&self, past: &Past) -> Option<&'static str> {
        let before = past.before.as_ref().is_some_and(|state| self.matches(state.tree()));
        let after = past.kind != EventKind::Deleted && self.matches(past.after.tree());
        match (before, after) {
            (false, false) => None,
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
        }
    }
}

/// Follows one watch.
#[derive(Debug)]
pub struct WatchJudge {
    scope: Scope,
    position: u64,
}

impl WatchJudge {
    /// A watch that begins behind a revision.
    pub fn new(target: &Collection, selection: &Selection, from: ResourceVersion) -> Self {
        Self { scope: Scope::new(target, selection), position: from.0 }
    }

    /// The reader was handed an event.
    pub fn delivered(&mut self, court: &Court, event: &WatchEvent) -> Found {
        let (word, object) = match event {
            WatchEvent::Bookmark(revision) => return self.bookmark(court, revision.0),
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
        };
        let revision = object.resource_version.0;
        let mut found = Found::new();
        if revision <= self.position {
            found.push(("S16", format!("{}: revision {revision} after {}", self.scope.prefix, self.position)));
            return found;
        }
        if self.scope.fields.is_some() {
            let mut missed = court.history.of_kind(&self.scope.kind, self.position, revision);
            match missed.find(|past| self.scope.has(past)) {
                Some(past) if past.revision == revision => {
                    if self.scope.step(past) != Some(word) {
                        let what = format!("{} at {revision} is told as {word}", past.key);
                        found.push(("S16", what));
                    }
                    if past.kind != EventKind::Deleted && word != "DELETED" && object.json != *past.after.bytes() {
                        found.push(("S15", format!("{} at {revision} is told with other bytes", past.key)));
                    }
                }
                Some(past) => {
                    let what = format!("{}: {} at {} is missing", self.scope.prefix, past.key, past.revision);
                    found.push(("S16", what));
                }
                None => {
                    let what = format!("{}: nothing happened at {revision}", self.scope.prefix);
                    found.push(("S16", what));
                }
            }
        }
        self.position = revision;
        found
    }

    fn bookmark(&mut self, court: &Court, revision: u64) -> Found {
        let mut found = Found::new();
        if revision < self.position {
            let what = format!("{}: a bookmark at {revision} after {}", self.scope.prefix, self.position);
            found.push(("S17", what));
        }
        if self.scope.fields.is_some() {
            let mut missed = court.history.of_kind(&self.scope.kind, self.position, revision);
            if let Some(past) = missed.find(|past| self.scope.has(past)) {
                let what = format!("{}: a bookmark at {revision} skips {}", self.scope.prefix, past.revision);
                found.push(("S16", what));
            }
        }
        self.position = self.position.max(revision);
        found
    }
}

/// Follows one reader of the store itself, who may be slower than its ring is long.
#[derive(Debug)]
pub struct ReaderJudge {
    kind: &'static str,
    position: u64,
}

impl ReaderJudge {
    /// A reader of a kind (`/registry/core/pods/`) that begins behind a revision.
    pub fn new(kind: &'static str, from: u64) -> Self {
        Self { kind, position: from }
    }

    /// It was handed events.
    pub fn took(&mut self, court: &Court, events: &[Arc<Event>]) -> Found {
        let mut found = Found::new();
        for event in events {
            let revision = event.revision().0;
            let next = court.history.of_kind(self.kind, self.position, u64::MAX).next().map(|past| past.revision);
            if next != Some(revision) {
                let what = format!("{}: a slow reader is told of {revision}, and {next:?} is next", self.kind);
                found.push(("S16", what));
            }
            self.position = revision;
        }
        found
    }

    /// It was told that it has seen everything up to a revision.
    pub fn told(&mut self, court: &Court, upto: u64) -> Found {
        let missed = court.history.of_kind(self.kind, self.position, upto).next();
        let found = missed.map(|past| {
            let what =
                format!("{}: a slow reader is told that all up to {upto} is seen, not {}", self.kind, past.revision);
            ("S16", what)
        });
        self.position = self.position.max(upto);
        found.into_iter().collect()
    }
}

/// The server answered a list.
pub fn listed(history: &History, call: &Call, list: &ObjectList) -> Found {
    let target = Collection {
        resource: call.resource.clone(),
        namespace: Some(call.namespace.clone()).filter(|namespace| !namespace.is_empty()),
    };
    let text = |field: &str| call.body[field].as_str().unwrap_or_default().to_owned();
    let scope = Scope::new(&target, &Selection { labels: text("labels"), fields: text("fields") });
    let mut found = Found::new();
    if scope.fields.is_none() {
        return found;
    }
    let revision = list.resource_version.0;
    let snapshot = history.snapshot(&scope.kind, revision);
    let wanted: Vec<u64> = snapshot
        .iter()
        .filter(|(key, state)| key.starts_with(&scope.prefix) && scope.matches(state.tree()))
        .map(|(_, state)| state.revision)
        .collect();
    let got: Vec<u64> = list.items.iter().map(|item| item.resource_version.0).collect();
    if wanted != got {
        found.push(("S15", format!("a list of {} at {revision} has {got:?}, not {wanted:?}", scope.prefix)));
    }
    found
}
