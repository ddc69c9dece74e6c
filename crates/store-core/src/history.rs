//! How far back the store remembers.

use std::time::Duration;

use crate::{Index, Key, Revision, Stored};

/// How much history is kept for watches and reads at a revision (V-79).
///
/// An event is forgotten when it is both older than `age_min` and not among the last `events_min`, unless an open watch
/// still needs it; and in any case when there are more than `events_max` or when the superseded records take more than
/// `bytes_max` on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// Events that are kept however old.
    pub events_min: usize,
    /// Age up to which an event is kept.
    pub age_min: Duration,
    /// Events that are kept at most.
    pub events_max: usize,
    /// Bytes of superseded records that are kept at most.
    pub bytes_max: usize,
}

/// One remembered change.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) key: Key,
    pub(crate) revision: Revision,
    /// The state that it superseded; still there while this is remembered.
    pub(crate) previous: Option<Revision>,
    pub(crate) deleted: bool,
    /// Bytes that forgetting this frees on disk.
    pub(crate) bytes: usize,
    /// When it was published.
    pub(crate) at: Duration,
}

/// A stretch of history for one watch.
#[derive(Debug)]
pub struct Catchup {
    /// Changed states with what was there before, in the order of revisions.
    pub changes: Vec<(Stored, Option<Stored>)>,
    /// Everything up to here is in `changes`.
    pub upto: Revision,
}

impl Index {
    /// Events after `after` and up to `upto` whose keys begin with `prefix`, looking at no more than `scan_max` changes;
    /// `None` if `after` is compacted.
    pub fn catch_up(&self, prefix: &[u8], after: Revision, upto: Revision, scan_max: usize) -> Option<Catchup> {
        if after < self.floor() {
            return None;
        }
        let first = self.history.partition_point(|past| past.revision <= after);
        let mut catchup = Catchup { changes: Vec::new(), upto };
        for (scanned, past) in self.history.range(first..).take_while(|past| past.revision <= upto).enumerate() {
            if scanned == scan_max {
                break;
            }
            catchup.upto = past.revision;
            if past.key.0.starts_with(prefix) {
                let at = |revision| self.version(&past.key, revision);
                let record = at(past.revision).expect("a remembered change has its version");
                catchup.changes.push((record, past.previous.and_then(at)));
            }
        }
        if catchup.upto < upto && self.history.back().is_none_or(|last| last.revision <= catchup.upto) {
            catchup.upto = upto;
        }
        Some(catchup)
    }

    /// The floor that `limits` allow at time `now`, forgetting at most `budget` events; never beyond `hold`, the
    /// position of the slowest watch, as long as the hard limits permit.
    pub fn floor_wanted(
        &self,
        limits: &HistoryLimits,
        now: Duration,
        hold: Option<Revision>,
        budget: usize,
    ) -> Revision {
        let mut floor = self.floor();
        let mut bytes = self.history_bytes;
        for (forgotten, past) in self.history.iter().take(budget).enumerate() {
            let kept = self.history.len() - forgotten;
            let over = kept > limits.events_max || bytes > limits.bytes_max;
            let old = kept > limits.events_min && now.saturating_sub(past.at) > limits.age_min;
            let held = hold.is_some_and(|hold| past.revision > hold);
            if !(over || old && !held) {
                break;
            }
            bytes -= past.bytes;
            floor = past.revision;
        }
        floor
    }
}
