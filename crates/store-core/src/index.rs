//! The multi-version index.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::history::Past;
use crate::{
    Applied, Event, Expected, Head, Key, Op, Record, RecordView, Revision, Seed, Staged, StoreState, Transaction,
    TransactionError,
};

/// All keys with their states back to the compaction floor.
///
/// Holds durable states only. Values are in memory up to a limit ([`Retained`]); of the others it knows the [`Head`]
/// and the shell reads them from the engine.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeMap<Key, VecDeque<Version>>,
    /// Changes behind the floor, ascending.
    pub(crate) history: VecDeque<Past>,
    pub(crate) history_bytes: usize,
    state: StoreState,
    keys_live: usize,
    quarantine: BTreeMap<Revision, Quarantined>,
    live_bytes: usize,
    superseded_bytes: usize,
    /// Superseded states up to this change are out of memory.
    superseded_cold: Revision,
    /// Where the next sweep for live values to drop begins.
    sweep: Key,
}

#[derive(Debug)]
struct Version {
    revision: Revision,
    created: Revision,
    deleted: bool,
    /// Bytes of key and value.
    bytes: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Resident(Arc<Record>),
    Cold,
    Corrupt,
}

/// How many bytes of values stay in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retained {
    /// Bytes of latest states.
    pub live_bytes_max: usize,
    /// Bytes of states that were superseded or deleted and are kept for watches and old reads.
    pub superseded_bytes_max: usize,
}

/// A record whose stored bytes failed their checksum: never served (D4, S19).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// Its key; `None` if not even that is legible.
    pub key: Option<Key>,
    /// The revision under which it is filed.
    pub revision: Revision,
    /// What is wrong.
    pub why: String,
}

/// One state as the index can hand it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// In memory.
    Resident(Arc<Record>),
    /// To be read from the engine.
    Cold(Box<Head>),
    /// Quarantined.
    Corrupt(Box<Quarantined>),
}

/// As of when to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The newest published state.
    Latest,
    /// The state right after this revision.
    Revision(Revision),
}

/// A question for a range of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// First key.
    pub start: Key,
    /// First key that no longer belongs to it; `None` reads to the end.
    pub end: Option<Key>,
    /// As of when.
    pub at: At,
    /// Items at most; `None` for all.
    pub limit: Option<usize>,
}

impl Range {
    /// Everything whose key begins with `prefix`, latest, without limit.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        let start = prefix.into();
        let end = start.prefix_end();
        Self { start, end, at: At::Latest, limit: None }
    }
}

/// What a range holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The revision as of which it is exact.
    pub revision: Revision,
    /// In the order of keys.
    pub items: Vec<Stored>,
    /// Where to go on; `None` if this is all.
    pub next: Option<Key>,
}

impl Index {
    /// An empty index that continues from a stored state; fill it with [`Index::load`].
    pub fn new(state: StoreState) -> Self {
        Self { state, superseded_cold: state.floor, ..Self::default() }
    }

    /// The newest published revision.
    pub fn revision(&self) -> Revision {
        self.state.last
    }

    /// Reads and watches from before this revision are refused.
    pub fn floor(&self) -> Revision {
        self.state.floor
    }

    /// Base, floor and revision.
    pub fn state(&self) -> StoreState {
        self.state
    }

    /// Keys that exist.
    pub fn len(&self) -> usize {
        self.keys_live
    }

    /// True if no key exists.
    pub fn is_empty(&self) -> bool {
        self.keys_live == 0
    }

    /// Changes that are remembered.
    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// Bytes of superseded records that are remembered.
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// Bytes of values in memory: latest states, and superseded ones.
    pub fn resident_bytes(&self) -> (usize, usize) {
        (self.live_bytes, self.superseded_bytes)
    }

    /// Everything that failed its checksum and is still reachable.
    pub fn quarantine(&self) -> impl Iterator<Item = &Quarantined> {
        self.quarantine.values()
    }

    /// The revision as of which `at` reads.
    ///
    /// Returns `None` if it is compacted, or beyond what is published.
    pub fn resolve(&self, at: At) -> Option<Revision> {
        match at {
            At::Latest => Some(self.revision()),
            At::Revision(revision) => (self.floor() <= revision && revision <= self.revision()).then_some(revision),
        }
    }

    /// The state of one key right after `revision`, which must come from [`Index::resolve`].
    pub fn get(&self, key: &[u8], revision: Revision) -> Option<Stored> {
        let (key, versions) = self.keys.get_key_value(key)?;
        existing(versions, revision).map(|version| self.stored(key, version))
    }

    /// The state of a key that was made at exactly this revision.
    pub(crate) fn version(&self, key: &Key, revision: Revision) -> Option<Stored> {
        let versions = self.keys.get(key)?;
        let at = versions.binary_search_by_key(&revision, |version| version.revision).ok()?;
        Some(self.stored(key, &versions[at]))
    }

    /// Up to `max` items of `[start, end)` right after `revision`, which must come from [`Index::resolve`].
    pub fn range(&self, start: &Key, end: Option<&Key>, revision: Revision, max: usize) -> Slice {
        let mut slice = Slice { revision, items: Vec::new(), next: None };
        for (key, versions) in self.keys_between(start, end) {
            let Some(version) = existing(versions, revision) else { continue };
            if slice.items.len() == max {
                slice.next = Some(key.clone());
                break;
            }
            slice.items.push(self.stored(key, version));
        }
        slice
    }

    /// How many keys of `[start, end)` exist right after `revision`.
    pub fn count(&self, start: &Key, end: Option<&Key>, revision: Revision) -> usize {
        self.keys_between(start, end).filter(|(_, versions)| existing(versions, revision).is_some()).count()
    }

    fn keys_between<'a>(
        &'a self,
        start: &'a Key,
        end: Option<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a VecDeque<Version>)> {
        let upper = match end {
            // `BTreeMap::range` panics on a reversed range; an empty one is what it means.
            Some(end) if end <= start => Bound::Excluded(start),
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let lower = match upper {
            Bound::Excluded(end) if end == start => Bound::Included(end),
            _ => Bound::Included(start),
        };
        self.keys.range::<Key, _>((lower, upper))
    }

    fn stored(&self, key: &Key, version: &Version) -> Stored {
        match &version.body {
            Body::Resident(record) => Stored::Resident(record.clone()),
            Body::Cold => Stored::Cold(Box::new(Head {
                key: key.clone(),
                created: version.created,
                revision: version.revision,
                deleted: version.deleted,
            })),
            Body::Corrupt => {
                Stored::Corrupt(Box::new(self.quarantine.get(&version.revision).cloned().unwrap_or_else(|| {
                    Quarantined { key: Some(key.clone()), revision: version.revision, why: "unreadable".to_owned() }
                })))
            }
        }
    }

    /// The beginning of a batch.
    pub fn begin(&self) -> Staged {
        Staged {
            revision: self.revision(),
            base: self.state.base,
            newest: BTreeMap::new(),
            fetched: BTreeMap::new(),
            events: Vec::new(),
            floor: self.floor(),
            dropped: Vec::new(),
        }
    }

    /// Earlier states that [`Index::stage`] wants for this transaction's events and that are not in memory: read them
    /// from the engine and hand them to [`Staged::supply`].
    pub fn needs(&self, staged: &Staged, transaction: &Transaction) -> Vec<Head> {
        let cold = |op: &Op| {
            let key = op.key();
            if matches!(op, Op::Require { .. }) || staged.newest.contains_key(key) || staged.fetched.contains_key(key) {
                return None;
            }
            match self.get(&key.0, self.revision()) {
                Some(Stored::Cold(head)) => Some(*head),
                Some(Stored::Resident(_) | Stored::Corrupt(_)) | None => None,
            }
        };
        transaction.ops.iter().filter_map(cold).collect()
    }

    /// Decides one transaction on top of what is staged already; on refusal nothing is staged.
    ///
    /// # Errors
    /// [`TransactionError`] for the first operation whose precondition fails.
    pub fn stage(&self, staged: &mut Staged, transaction: &Transaction) -> Result<Applied, TransactionError> {
        for (position, op) in transaction.ops.iter().enumerate() {
            if transaction.ops[..position].iter().any(|earlier| earlier.key() == op.key()) {
                return Err(TransactionError::Repeated { key: op.key().clone() });
            }
            self.check(staged, op)?;
        }
        let mut records = Vec::with_capacity(transaction.ops.len());
        for op in &transaction.ops {
            if let Some(event) = self.event(staged, op) {
                staged.revision = event.revision();
                staged.newest.insert(event.record.key.clone(), event.record.clone());
                records.push(event.record.clone());
                staged.events.push(Arc::new(event));
            }
        }
        Ok(Applied { revision: staged.revision, records })
    }

    fn check(&self, staged: &Staged, op: &Op) -> Result<(), TransactionError> {
        let (key, expected) = match op {
            Op::Create { key, .. } => (key, Expected::Absent),
            Op::Put { key, expected, .. } => (key, *expected),
            Op::Delete { key, expected: Expected::Any, .. } | Op::Require { key, expected: Expected::Any } => {
                (key, Expected::Exists)
            }
            Op::Delete { key, expected, .. } | Op::Require { key, expected } => (key, *expected),
        };
        let actual = self.current(staged, key).map(|(_, revision)| revision);
        let key = || key.clone();
        match (expected, actual) {
            (Expected::Any, _) | (Expected::Absent, None) | (Expected::Exists, Some(_)) => Ok(()),
            (Expected::Absent, Some(_)) if meta::mutants::is_on("create-overwrites") => Ok(()),
            (Expected::At(_), Some(_)) if meta::mutants::is_on("last-write-wins") => Ok(()),
            (Expected::Absent, Some(revision)) => Err(TransactionError::Exists { key: key(), revision }),
            (Expected::Exists | Expected::At(_), None) => Err(TransactionError::NotFound { key: key() }),
            (Expected::At(expected), Some(actual)) if expected == actual => Ok(()),
            (Expected::At(expected), Some(actual)) => Err(TransactionError::Conflict { key: key(), expected, actual }),
        }
    }

    /// Revisions of creation and last change of a key that exists.
    fn current(&self, staged: &Staged, key: &Key) -> Option<(Revision, Revision)> {
        if let Some(record) = staged.newest.get(key) {
            return (!record.deleted).then_some((record.created, record.revision));
        }
        let last = self.keys.get(key)?.back()?;
        (!last.deleted).then_some((last.created, last.revision))
    }

    fn event(&self, staged: &Staged, op: &Op) -> Option<Event> {
        let revision = staged.revision.next();
        let current = self.current(staged, op.key());
        let previous = current.and_then(|_| self.previous(staged, op.key()));
        let created = current.map_or(revision, |(created, _)| created);
        let (key, value, deleted, seed) = match op {
            Op::Require { .. } => return None,
            Op::Create { key, payload } | Op::Put { key, payload, .. } => {
                (key, payload.at(revision), false, payload.seed.clone())
            }
            Op::Delete { key, last: Some(last), .. } => (key, last.at(revision), true, last.seed.clone()),
            Op::Delete { key, last: None, .. } => {
                let last = previous.as_ref().map(|record| record.value.clone()).unwrap_or_default();
                (key, last, true, Seed::default())
            }
        };
        // The index's own copy of the key is shared rather than the caller's, which would keep a second one alive.
        let key = self.keys.get_key_value(key).map_or(key, |(key, _)| key).clone();
        let record = Record::new(key, value, created, revision, deleted).with_seed(seed);
        Some(Event { record: Arc::new(record), previous })
    }

    fn previous(&self, staged: &Staged, key: &Key) -> Option<Arc<Record>> {
        if let Some(record) = staged.newest.get(key) {
            return Some(record.clone());
        }
        match self.get(&key.0, self.revision())? {
            Stored::Resident(record) => Some(record),
            Stored::Cold(_) => staged.fetched.get(key).cloned().flatten(),
            Stored::Corrupt(_) => None,
        }
    }

    /// Plans to forget history up to `floor`: part of the batch, so that the engine forgets in the same commit.
    pub fn stage_compaction(&self, staged: &mut Staged, floor: Revision) {
        assert!(floor <= self.revision(), "only published history can be compacted");
        for past in self.history.iter().take_while(|past| past.revision <= floor) {
            if meta::mutants::is_on("compaction-drops-the-living") {
                staged.dropped.push(past.revision);
            }
            staged.dropped.extend(past.previous);
            if past.deleted {
                staged.dropped.push(past.revision);
            }
        }
        staged.floor = staged.floor.max(floor);
    }

    /// Plans a new timeline that begins at `base`, behind everything this store or its original has given out: history
    /// is forgotten, older watches are refused. To be staged alone.
    pub fn stage_jump(&self, staged: &mut Staged, base: Revision) {
        assert!(base > staged.revision, "a timeline begins behind everything that is known");
        self.stage_compaction(staged, self.revision());
        (staged.base, staged.floor, staged.revision) = (base, base, base);
    }

    /// Makes a durable batch visible; returns its events in order.
    pub fn publish(&mut self, staged: Staged, now: Duration) -> Vec<Arc<Event>> {
        assert!(staged.revision >= self.revision(), "revisions only grow");
        for Event { record, .. } in staged.events.iter().map(Arc::as_ref) {
            self.add(Body::Resident(record.clone()), head(record), record.size(), now);
        }
        self.forget(staged.floor);
        self.state = StoreState { base: staged.base, floor: staged.floor, last: staged.revision };
        staged.events
    }

    /// Adds a record that the engine holds, with its value if `resident`; call it in the order of revisions, once for
    /// each, before anything else.
    pub fn load(&mut self, record: &RecordView<'_>, resident: bool, now: Duration) {
        let bytes = record.key.len() + record.value.len();
        self.state.last = self.state.last.max(record.revision);
        if resident {
            let record = Arc::new(record.to_record());
            let head = head(&record);
            self.add(Body::Resident(record), head, bytes, now);
        } else {
            let RecordView { created, revision, deleted, .. } = *record;
            let key = match self.keys.get_key_value(record.key) {
                Some((key, _)) => key.clone(),
                None => Key(Bytes::copy_from_slice(record.key)),
            };
            self.add(Body::Cold, Head { key, created, revision, deleted }, bytes, now);
        }
    }

    /// Adds a record that failed its checksum, as far as it is legible.
    pub fn load_corrupt(&mut self, revision: Revision, head: Option<Head>, why: String, now: Duration) {
        self.state.last = self.state.last.max(revision);
        let key = head.as_ref().map(|head| head.key.clone());
        self.quarantine.insert(revision, Quarantined { key, revision, why });
        if let Some(head) = head {
            self.add(Body::Corrupt, head, 0, now);
        }
    }

    fn add(&mut self, body: Body, head: Head, bytes: usize, now: Duration) {
        let Head { key, created, revision, deleted } = head;
        let resident = if matches!(body, Body::Resident(_)) { bytes } else { 0 };
        let versions = self.keys.entry(key.clone()).or_insert_with(|| VecDeque::with_capacity(1));
        let last = versions.back();
        assert!(last.is_none_or(|last| last.revision < revision), "states are added in the order of revisions");
        let existed = last.is_some_and(|last| !last.deleted);
        let previous = last.filter(|last| !last.deleted);
        let freed = previous.map_or(0, |last| last.bytes) + if deleted { bytes } else { 0 };
        let cooled = previous.map_or(0, Version::resident);
        let past = Past {
            key: key.clone(),
            revision,
            previous: previous.map(|last| last.revision),
            deleted,
            bytes: freed,
            at: now,
        };
        versions.push_back(Version { revision, created, deleted, bytes, body });
        self.live_bytes -= cooled;
        self.superseded_bytes += cooled;
        if deleted {
            self.superseded_bytes += resident
        } else {
            self.live_bytes += resident
        }
        self.keys_live = self.keys_live + usize::from(!deleted) - usize::from(existed);
        if revision > self.floor() {
            self.history_bytes += freed;
            self.history.push_back(past);
        } else {
            self.forget_one(past);
        }
    }

    /// Forgets everything that no read at or after `floor` can reach.
    fn forget(&mut self, floor: Revision) {
        while self.history.front().is_some_and(|past| past.revision <= floor) {
            let past = self.history.pop_front().expect("looked at a moment ago");
            self.history_bytes -= past.bytes;
            self.forget_one(past);
        }
    }

    fn forget_one(&mut self, past: Past) {
        let Some(versions) = self.keys.get_mut(&past.key) else { return };
        while let Some(first) = versions.front() {
            let superseded = first.revision < past.revision || (past.deleted && first.revision == past.revision);
            if !superseded {
                break;
            }
            self.superseded_bytes -= first.resident();
            self.quarantine.remove(&first.revision);
            versions.pop_front();
        }
        if versions.is_empty() {
            self.keys.remove(&past.key);
        }
    }

    /// Puts a value that was read from the engine into memory, if there is room.
    pub fn warm(&mut self, record: &Arc<Record>, retained: &Retained) {
        let Some(versions) = self.keys.get_mut(&record.key) else { return };
        let Some(last) = versions.back_mut() else { return };
        let fits = self.live_bytes + record.size() <= retained.live_bytes_max;
        if last.revision == record.revision && !last.deleted && matches!(last.body, Body::Cold) && fits {
            last.bytes = record.size();
            self.live_bytes += last.bytes;
            last.body = Body::Resident(record.clone());
        }
    }

    /// Marks a record that turned out to be corrupt when it was read from the engine.
    pub fn quarantine_record(&mut self, key: &Key, revision: Revision, why: String) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        if let Ok(at) = versions.binary_search_by_key(&revision, |version| version.revision)
            && matches!(versions[at].body, Body::Cold)
        {
            versions[at].body = Body::Corrupt;
            self.quarantine.insert(revision, Quarantined { key: Some(key.clone()), revision, why });
        }
    }

    /// Drops values from memory until the limits hold; they can be read from the engine again.
    pub fn cool(&mut self, retained: &Retained) {
        self.cool_superseded(retained.superseded_bytes_max);
        if self.live_bytes <= retained.live_bytes_max {
            return;
        }
        // A little below the limit, so that not every batch sweeps.
        let target = retained.live_bytes_max - retained.live_bytes_max / 16;
        let start = std::mem::take(&mut self.sweep);
        for round in [Bound::Included(start), Bound::Unbounded] {
            for (key, versions) in self.keys.range_mut::<Key, _>((round, Bound::Unbounded)) {
                if self.live_bytes <= target {
                    self.sweep = key.clone();
                    return;
                }
                if let Some(last) = versions.back_mut()
                    && !last.deleted
                {
                    self.live_bytes -= last.resident();
                    last.cool();
                }
            }
        }
    }

    fn cool_superseded(&mut self, bytes_max: usize) {
        if self.superseded_bytes <= bytes_max {
            return;
        }
        let first = self.history.partition_point(|past| past.revision <= self.superseded_cold);
        for past in self.history.range(first..) {
            if self.superseded_bytes <= bytes_max {
                break;
            }
            self.superseded_cold = past.revision;
            let Some(versions) = self.keys.get_mut(&past.key) else { continue };
            let own = past.deleted.then_some(past.revision);
            for revision in past.previous.into_iter().chain(own) {
                if let Ok(at) = versions.binary_search_by_key(&revision, |version| version.revision) {
                    self.superseded_bytes -= versions[at].resident();
                    versions[at].cool();
                }
            }
        }
    }
}

impl Version {
    /// Bytes that it holds in memory.
    fn resident(&self) -> usize {
        if matches!(self.body, Body::Resident(_)) { self.bytes } else { 0 }
    }

    fn cool(&mut self) {
        if matches!(self.body, Body::Resident(_)) {
            self.body = Body::Cold;
        }
    }
}

fn existing(versions: &VecDeque<Version>, revision: Revision) -> Option<&Version> {
    let behind = match versions.back() {
        Some(last) if last.revision <= revision => versions.len(),
        _ => versions.partition_point(|version| version.revision <= revision),
    };
    let version = versions.get(behind.checked_sub(1)?)?;
    (!version.deleted).then_some(version)
}

fn head(record: &Record) -> Head {
    Head { key: record.key.clone(), created: record.created, revision: record.revision, deleted: record.deleted }
}
