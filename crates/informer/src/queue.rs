//! Keys to look at: each at most once in line, each by one worker at a time (C-1), with back-off by deadline (C-8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use meta::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How long a key waits after failures in a row: `first`, doubled each time, up to `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Pause after the first failure.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl Backoff {
    /// 5 ms, as upstream's (C-8), up to 30 s: with events for everything else, a longer pause only hides a repair.
    pub const CONTROLLER: Self = Self { first: Duration::from_millis(5), max: Duration::from_secs(30) };

    /// The pause after `failures` in a row; 0 failures pause nothing.
    pub fn pause(&self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            n => self.first.saturating_mul(1_u32.checked_shl((n - 1).min(31)).unwrap_or(u32::MAX)).min(self.max),
        }
    }
}

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing more to do until somebody adds the key again. Failures are forgotten.
    Done,
    /// Look again at this moment at the latest. Failures are forgotten.
    LookAgain(Timestamp),
    /// Try again after a pause that grows with each failure in a row.
    Failed,
}

/// A queue of keys. Its length is bounded by the number of different keys, which is the number of objects.
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
}

#[derive(Debug)]
struct State<K> {
    line: VecDeque<K>,
    in_line: BTreeSet<K>,
    at_work: BTreeSet<K>,
    /// Added while at work: goes into the line again when done.
    again: BTreeSet<K>,
    due: BTreeMap<K, Timestamp>,
    by_time: BTreeSet<(Timestamp, K)>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> State<K> {
    fn add(&mut self, key: K) -> bool {
        if self.at_work.contains(&key) {
            self.again.insert(key);
            return false;
        }
        if !self.in_line.insert(key.clone()) {
            return false;
        }
        self.line.push_back(key);
        true
    }

    /// The earlier of two deadlines wins.
    fn add_at(&mut self, key: K, at: Timestamp) {
        if let Some(known) = self.due.get(&key).copied() {
            if known <= at {
                return;
            }
            self.by_time.remove(&(known, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    fn cancel_deadline(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    fn ripen(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.by_time.first().cloned() {
            if at > now {
                return;
            }
            self.cancel_deadline(&key);
            self.add(key);
        }
    }
}

impl<K> std::fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkQueue").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue.
    pub fn new(clock: Arc<dyn Clock>, backoff: Backoff) -> Self {
        let state = State {
            line: VecDeque::new(),
            in_line: BTreeSet::new(),
            at_work: BTreeSet::new(),
            again: BTreeSet::new(),
            due: BTreeMap::new(),
            by_time: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), wake: Notify::new(), clock, backoff }
    }

    /// Puts a key in line, also if it waits for a deadline; while it is at work, it is looked at once more afterwards.
    pub fn add(&self, key: K) {
        if self.lock().add(key) {
            self.wake.notify_one();
        }
    }

    /// Puts a key in line at a moment; an earlier moment that is already noted stays.
    pub fn add_at(&self, key: K, at: Timestamp) {
        self.lock().add_at(key, at);
        self.wake.notify_one();
    }

    /// Keys in line, keys at work, keys that wait for a deadline.
    pub fn depth(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.line.len(), state.at_work.len(), state.due.len())
    }

    /// Takes the next key; give it back with [`WorkQueue::finish`]. Nothing is lost if dropped.
    pub async fn take(&self) -> K {
        loop {
            let woken = self.wake.notified();
            let next_due = {
                let mut state = self.lock();
                state.ripen(self.clock.now());
                if let Some(key) = state.line.pop_front() {
                    state.in_line.remove(&key);
                    state.at_work.insert(key.clone());
                    if !state.line.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.by_time.first().map(|(at, _)| *at)
            };
            match next_due {
                None => woken.await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = woken => {}
                        () = self.clock.sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Gives a key back.
    pub fn finish(&self, key: &K, outcome: Outcome) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.at_work.remove(key);
        match outcome {
            Outcome::Done => {
                state.failures.remove(key);
            }
            Outcome::LookAgain(at) => {
                state.failures.remove(key);
                state.cancel_deadline(key);
                state.add_at(key.clone(), at);
            }
            Outcome::Failed => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                let pause = self.backoff.pause(*failures);
                if meta::mutants::is_on("failures-are-forgotten") {
                    state.again.remove(key);
                    return;
                }
                state.add_at(key.clone(), now.checked_add(pause).unwrap_or(Timestamp::MAX));
            }
        }
        if state.again.remove(key) && !meta::mutants::is_on("wake-while-at-work-is-lost") {
            state.add(key.clone());
        }
        drop(state);
        self.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works off a queue with up to `workers` keys at once until `cancel`. A key that is at work when cancelled is dropped
/// at its next await; every write is atomic, and the next start looks at everything again.
pub async fn work<K, F, Fut>(queue: &WorkQueue<K>, workers: NonZeroUsize, cancel: &CancellationToken, look: F)
where
    K: Ord + Clone,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let one = || async {
        loop {
            let key = queue.take().await;
            let outcome = look(key.clone()).await;
            queue.finish(&key, outcome);
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        _never = join_all((0..workers.get()).map(|_| one())) => {}
    }
}
