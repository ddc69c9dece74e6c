//! Hands events to watches: one short ring for each watched prefix, and a position for each watch.
//!
//! A watch has no buffer of its own. It takes from its prefix's ring what lies behind its position; if the ring no
//! longer reaches back that far, it reads the store's history. So memory for each watch is constant, a thousand watches
//! of one prefix share every event, and the named bound of a slow watch is the history's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store_core::{Event, Revision};
use tokio::sync::Notify;

pub(crate) struct Hub {
    groups: Mutex<Groups>,
    /// All rings hold everything up to this revision.
    announced: AtomicU64,
    closed: AtomicBool,
    ring_events_max: usize,
    ring_bytes_max: usize,
}

#[derive(Default)]
struct Groups {
    by_prefix: BTreeMap<Bytes, Arc<Group>>,
    /// How many prefixes have this length: a key is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
    next_watch: u64,
}

/// All watches of one prefix.
pub(crate) struct Group {
    pub(crate) prefix: Bytes,
    ring: Mutex<Ring>,
    pub(crate) changed: Notify,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Every event of the prefix behind this revision is in `events`.
    complete_from: Revision,
    positions: BTreeMap<u64, Revision>,
    /// Length at which to look for events that all watches have taken.
    trim_at: usize,
}

const TRIM_AT_MIN: usize = 16;
/// From so many watches of one prefix on, waking them takes longer than a caller should wait: callers go first.
const CROWD_MIN: usize = 32;

/// Prefixes that have news and so many watches that they are woken last.
#[must_use = "these watches are not woken yet"]
pub(crate) struct Crowds(Vec<Arc<Group>>);

impl Hub {
    pub(crate) fn new(revision: Revision, ring_events_max: usize, ring_bytes_max: usize) -> Self {
        Self {
            groups: Mutex::default(),
            announced: AtomicU64::new(revision.0),
            closed: AtomicBool::new(false),
            ring_events_max,
            ring_bytes_max,
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watch that has seen everything up to `position`. `published` is asked under the hub's lock: a ring that
    /// begins now holds everything behind it.
    pub(crate) fn join(
        &self,
        prefix: &Bytes,
        position: Revision,
        published: impl FnOnce() -> Revision,
    ) -> (Arc<Group>, u64) {
        let mut groups = self.groups();
        let id = groups.next_watch;
        groups.next_watch += 1;
        let group = match groups.by_prefix.get(prefix) {
            Some(group) => group.clone(),
            None => {
                let group = Arc::new(Group::new(prefix.clone(), published()));
                groups.by_prefix.insert(prefix.clone(), group.clone());
                *groups.lengths.entry(prefix.len()).or_default() += 1;
                group
            }
        };
        group.ring().positions.insert(id, position);
        (group, id)
    }

    /// Takes a watch away, and its group when it was the last one.
    pub(crate) fn leave(&self, group: &Group, id: u64) {
        let mut groups = self.groups();
        let mut ring = group.ring();
        ring.positions.remove(&id);
        if ring.positions.is_empty() {
            groups.by_prefix.remove(&group.prefix);
            if let Some(count) = groups.lengths.get_mut(&group.prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    groups.lengths.remove(&group.prefix.len());
                }
            }
        }
    }

    /// Hands out the events of one published batch and wakes whoever watches one of them, those of the first event
    /// first; except crowds, which are left to the caller.
    pub(crate) fn publish(&self, events: &[Arc<Event>]) -> Crowds {
        let Some(last) = events.last() else { return Crowds(Vec::new()) };
        let (mut known, mut touched) = (BTreeSet::new(), Vec::new());
        {
            let groups = self.groups();
            for event in events {
                let key = &event.record.key.0;
                for length in groups.lengths.keys().take_while(|length| **length <= key.len()) {
                    let Some(group) = groups.by_prefix.get(&key[..*length]) else { continue };
                    group.ring().push(event.clone(), self.ring_events_max, self.ring_bytes_max);
                    if known.insert(group.prefix.clone()) {
                        touched.push(group.clone());
                    }
                }
            }
            self.announced.store(last.revision().0, Ordering::Release);
        }
        let (crowds, few): (Vec<_>, Vec<_>) = touched.into_iter().partition(|group| group.is_crowd());
        few.iter().for_each(|group| group.changed.notify_waiters());
        Crowds(crowds)
    }

    /// Everything up to here is in the rings.
    pub(crate) fn announced(&self) -> Revision {
        Revision(self.announced.load(Ordering::Acquire))
    }

    /// The position of the slowest watch that needs the history.
    pub(crate) fn hold(&self) -> Option<Revision> {
        let groups = self.groups();
        groups.by_prefix.values().filter_map(|group| group.ring().hold()).min()
    }

    /// Open watches.
    pub(crate) fn watches(&self) -> usize {
        self.groups().by_prefix.values().map(|group| group.ring().positions.len()).sum()
    }

    /// Ends all watches once they have taken what is there.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.groups().by_prefix.values().for_each(|group| group.changed.notify_waiters());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Crowds {
    pub(crate) fn wake(self) {
        self.0.iter().for_each(|group| group.changed.notify_waiters());
    }
}

impl Group {
    fn is_crowd(&self) -> bool {
        self.ring().positions.len() >= CROWD_MIN
    }

    fn new(prefix: Bytes, complete_from: Revision) -> Self {
        let ring =
            Ring { events: VecDeque::new(), bytes: 0, complete_from, positions: BTreeMap::new(), trim_at: TRIM_AT_MIN };
        Self { prefix, ring: Mutex::new(ring), changed: Notify::new() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `max` events behind `position`; `None` if the ring does not reach back to it.
    pub(crate) fn take(&self, id: u64, position: Revision, max: usize) -> Option<Vec<Arc<Event>>> {
        let mut ring = self.ring();
        if position < ring.complete_from {
            return None;
        }
        let skipped = u64::from(meta::mutants::is_on("watch-begins-one-late"));
        let first = ring.events.partition_point(|event| event.revision().0 <= position.0 + skipped);
        let taken: Vec<_> = ring.events.range(first..).take(max).cloned().collect();
        if let Some(last) = taken.last() {
            ring.positions.insert(id, last.revision());
        }
        Some(taken)
    }

    /// Notes that a watch has seen everything up to `position`.
    pub(crate) fn advance(&self, id: u64, position: Revision) {
        self.ring().positions.insert(id, position);
    }
}

impl Ring {
    fn push(&mut self, event: Arc<Event>, events_max: usize, bytes_max: usize) {
        self.bytes += event.record.size();
        self.events.push_back(event);
        while self.events.len() > events_max || (self.bytes > bytes_max && self.events.len() > 1) {
            self.pop();
        }
        if self.events.len() >= self.trim_at {
            let taken = self.positions.values().min().copied().unwrap_or(self.complete_from);
            while self.events.front().is_some_and(|event| event.revision() <= taken) {
                self.pop();
            }
            self.trim_at = TRIM_AT_MIN.max(2 * self.events.len());
        }
    }

    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.record.size();
            self.complete_from = self.complete_from.max(event.revision());
        }
    }

    fn hold(&self) -> Option<Revision> {
        self.positions.values().copied().filter(|position| *position < self.complete_from).min()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use store_core::{Key, Record};

    use super::*;

    fn join(hub: &Hub, prefix: &'static str, watches: usize) -> Arc<Group> {
        let join = |_| hub.join(&Bytes::from_static(prefix.as_bytes()), Revision(0), || Revision(0)).0;
        (0..watches).map(join).last().unwrap()
    }

    #[test]
    fn a_crowd_of_watches_is_woken_by_the_caller_and_all_others_at_once() {
        // docs/decisions/0023.
        let hub = Hub::new(Revision(0), 16, 1 << 20);
        let (few, crowd) = (join(&hub, "/a/", CROWD_MIN - 1), join(&hub, "/a/b/", CROWD_MIN));
        let (mut few, mut crowd) = (Box::pin(few.changed.notified()), Box::pin(crowd.changed.notified()));
        few.as_mut().enable();
        crowd.as_mut().enable();
        let record = Record::new(Key::from("/a/b/c"), Bytes::new(), Revision(1), Revision(1), false);
        let crowds = hub.publish(&[Arc::new(Event { record: Arc::new(record), previous: None })]);
        assert_eq!(hub.announced(), Revision(1), "it is in the rings, for whoever looks");
        assert!(few.now_or_never().is_some());
        assert!(crowd.as_mut().now_or_never().is_none());
        crowds.wake();
        assert!(crowd.now_or_never().is_some());
    }
}
