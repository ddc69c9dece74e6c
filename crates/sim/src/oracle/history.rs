//! A shadow of the store: every commit, as it was when it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use store::Store;
use store_core::{Event, EventKind, Key, Range, Record, Revision};

use super::Found;

/// Where pods are stored, and so on.
pub const PODS: &str = "/registry/core/pods/";
/// Claims.
pub const CLAIMS: &str = "/registry/core/persistentvolumeclaims/";
/// StatefulSets.
pub const SETS: &str = "/registry/apps/statefulsets/";
/// ControllerRevisions.
pub const REVISIONS: &str = "/registry/apps/controllerrevisions/";

/// One commit.
#[derive(Debug)]
pub struct Past {
    /// Its revision.
    pub revision: u64,
    /// Which key.
    pub key: String,
    /// What happened.
    pub kind: EventKind,
    /// Virtual milliseconds.
    pub at_millis: u64,
    /// The state before; `None` if the key is new.
    pub before: Option<Arc<State>>,
    /// The state after; of a deletion the last one.
    pub after: Arc<State>,
}

/// One state of one object.
#[derive(Debug)]
pub struct State {
    /// Revision of the state.
    pub revision: u64,
    bytes: Bytes,
    tree: OnceLock<Value>,
}

impl State {
    fn of(record: &Record) -> Arc<Self> {
        Arc::new(Self { revision: record.revision.0, bytes: record.value.clone(), tree: OnceLock::new() })
    }

    /// The object.
    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| serde_json::from_slice(&self.bytes).unwrap_or_default())
    }

    /// Whether the condition Ready of a pod is True.
    pub fn is_ready(&self) -> bool {
        let conditions = self.tree()["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.tree()["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.tree()["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        self.tree()["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// Whether its deletion has begun.
    pub fn is_terminating(&self) -> bool {
        !self.tree()["metadata"]["deletionTimestamp"].is_null()
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// All commits, and what is there now.
#[derive(Debug, Default)]
pub struct History {
    past: Vec<Arc<Past>>,
    live: BTreeMap<String, Arc<State>>,
    /// Commits by the prefix of their kind (`/registry/core/pods/`), ascending.
    by_kind: BTreeMap<String, Vec<usize>>,
    uids: BTreeSet<String>,
    by_uid: BTreeMap<String, String>,
    revision: u64,
    was_opened: bool,
}

/// `/registry/<group>/<resource>/` of a key.
pub fn kind_prefix(key: &str) -> &str {
    let slashes = key.match_indices('/').map(|(at, _)| at);
    slashes.skip(3).map(|at| &key[..=at]).next().unwrap_or(key)
}

impl History {
    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The newest commit.
    pub fn newest(&self) -> Option<&Arc<Past>> {
        self.past.last()
    }

    /// How many commits there are.
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether nothing was committed.
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    /// The newest revision at a moment.
    pub fn revision_at(&self, millis: u64) -> u64 {
        let upto = self.past.partition_point(|past| past.at_millis <= millis);
        upto.checked_sub(1).map_or(0, |index| self.past[index].revision)
    }

    /// Commits after a revision.
    pub fn since(&self, revision: u64) -> &[Arc<Past>] {
        &self.past[self.past.partition_point(|past| past.revision <= revision)..]
    }

    /// The object under a key, now.
    pub fn get(&self, key: &str) -> Option<&Arc<State>> {
        self.live.get(key)
    }

    /// The pod of a name, now.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<State>> {
        self.live.get(&format!("/registry/core/pods/{namespace}/{name}"))
    }

    /// The living object of a UID.
    pub fn of_uid(&self, uid: &str) -> Option<&Arc<State>> {
        self.live.get(self.by_uid.get(uid)?)
    }

    /// Every object whose key has a prefix, now.
    pub fn all<'h>(&'h self, prefix: &'h str) -> impl Iterator<Item = (&'h String, &'h Arc<State>)> + 'h {
        self.live.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Commits of a kind in `(after, upto]`.
    pub fn of_kind(&self, kind: &str, after: u64, upto: u64) -> impl Iterator<Item = &Arc<Past>> {
        let all = self.by_kind.get(kind).map(Vec::as_slice).unwrap_or_default();
        let from = all.partition_point(|index| self.past[*index].revision <= after);
        all[from..].iter().map(|index| &self.past[*index]).take_while(move |past| past.revision <= upto)
    }

    /// The revision at which an object was made.
    pub fn made(&self, key: &str, uid: &str) -> Option<u64> {
        let mut all = self.of_kind(kind_prefix(key), 0, self.revision);
        all.find(|past| past.kind == EventKind::Created && past.key == key && past.after.uid() == uid)
            .map(|past| past.revision)
    }

    /// The keys of a kind at a revision, each with the revision of its state.
    pub fn snapshot(&self, kind: &str, revision: u64) -> BTreeMap<&str, &Arc<State>> {
        let mut live = BTreeMap::new();
        for past in self.of_kind(kind, 0, revision) {
            if past.kind == EventKind::Deleted {
                live.remove(past.key.as_str());
            } else {
                live.insert(past.key.as_str(), &past.after);
            }
        }
        live
    }

    /// Adds a commit.
    pub fn committed(&mut self, event: &Arc<Event>, at_millis: u64) -> Found {
        let mut found = Found::new();
        let key = String::from_utf8_lossy(&event.record.key.0).into_owned();
        let (kind, revision) = (event.kind(), event.revision().0);
        let after = State::of(&event.record);
        let before = self.live.get(&key).cloned();
        if revision <= self.revision {
            found.push(("S13", format!("revision {revision} of {key} follows {}", self.revision)));
        }
        let was = before.as_ref().map(|state| state.revision);
        let told = event.previous.as_ref().map(|record| record.revision.0);
        if told.is_some() && told != was || was.is_some() != (kind != EventKind::Created) {
            found.push(("S14", format!("{key} at {revision} ({kind:?}) follows {told:?}, the judges saw {was:?}")));
        }
        if kind == EventKind::Created && !after.uid().is_empty() && !self.uids.insert(after.uid().to_owned()) {
            found.push(("S13", format!("the UID {} of {key} was given out before", after.uid())));
        }
        if kind == EventKind::Deleted {
            self.live.remove(&key);
            self.by_uid.remove(after.uid());
        } else {
            self.live.insert(key.clone(), Arc::clone(&after));
            self.by_uid.insert(after.uid().to_owned(), key.clone());
        }
        self.add(Past { revision, key, kind, at_millis, before, after });
        found
    }

    fn add(&mut self, past: Past) {
        self.revision = past.revision;
        self.by_kind.entry(kind_prefix(&past.key).to_owned()).or_default().push(self.past.len());
        self.past.push(Arc::new(past));
    }

    /// A store was opened: it must hold everything that was ever shown, and whatever else it holds must be newer (S12).
    pub fn reopened(&mut self, store: &Store) -> Found {
        let mut found = Found::new();
        let last = self.revision;
        let values = match store.range(&Range::prefix(Key::from("/registry/"))) {
            Ok(values) => values,
            Err(error) => return vec![("S12", format!("the store cannot be read after a restart: {error}"))],
        };
        if store.revision().0 < last {
            found.push(("S13", format!("the store is back at revision {}, {last} was given out", store.revision())));
        }
        for bad in &values.quarantined {
            found.push(("S12", format!("{bad:?} is quarantined though nothing damaged it")));
        }
        found.extend(self.catch_up(store));
        let mut here = BTreeSet::new();
        for record in &values.records {
            let key = String::from_utf8_lossy(&record.key.0).into_owned();
            let known = self.live.get(&key);
            if known.is_none_or(|state| state.revision != record.revision.0 || state.bytes != record.value) {
                let known = known.map(|state| state.revision);
                found.push(("S12", format!("{key} is at {} after a restart, {known:?} was shown", record.revision)));
            }
            here.insert(key);
        }
        for key in self.live.keys().filter(|key| !here.contains(*key)) {
            found.push(("S12", format!("{key} is lost by a restart")));
        }
        if self.was_opened {
            self.revision = self.revision.max(store.revision().0);
        }
        self.was_opened = true;
        found
    }

    /// History up to a revision was forgotten: everything that was there then and is there now can still be read (S18).
    pub fn compacted(&self, store: &Store, upto: u64) -> Found {
        let Ok(values) = store.range(&Range::prefix(Key::from("/registry/"))) else {
            return vec![("S18", "the store cannot be read after a compaction".to_owned())];
        };
        let here: BTreeSet<String> =
            values.records.iter().map(|record| String::from_utf8_lossy(&record.key.0).into_owned()).collect();
        let lost = self.live.iter().filter(|(key, state)| state.revision <= upto && !here.contains(*key));
        lost.map(|(key, _)| ("S18", format!("{key} is gone after a compaction up to {upto}"))).collect()
    }

    /// Commits that were durable when the power went, and that nobody had seen: all or nothing of each.
    fn catch_up(&mut self, store: &Store) -> Found {
        let mut found = Found::new();
        let at_millis = self.past.last().map_or(0, |past| past.at_millis);
        let mut watch = match store.watch(&Key::from("/registry/"), Revision(self.revision.min(store.revision().0))) {
            Ok(watch) => watch,
            Err(error) => return vec![("S16", format!("what was committed last cannot be watched: {error}"))],
        };
        loop {
            match watch.try_next_batch(256) {
                Ok(events) if events.is_empty() => return found,
                Ok(events) => {
                    for event in events {
                        found.extend(self.committed(&event, at_millis));
                    }
                }
                Err(error) => {
                    found.push(("S16", format!("what was committed last cannot be watched: {error}")));
                    return found;
                }
            }
        }
    }
}
