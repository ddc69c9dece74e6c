//! Time as an argument: the real clock, and one that a test moves by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use meta::Timestamp;
use tokio::sync::oneshot;

/// Longest single wait of [`SystemClock::sleep_until`] before the wall clock is read again, so that a clock step is
/// noticed.
const SLEEP_SECS_MAX: u64 = 60;

/// Where the time comes from. Shells ask it; deciding halves get the answer as an argument.
pub trait Clock: Send + Sync + 'static {
    /// The moment.
    fn now(&self) -> Timestamp;

    /// Ends at `at`, at once if that is past. Nothing is lost if dropped.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's wall clock, which does not go back ([`meta::clock`]).
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        meta::clock::now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = Duration::try_from(at.duration_since(meta::clock::now())).unwrap_or(Duration::ZERO);
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(SLEEP_SECS_MAX))).await;
            }
        })
    }
}

/// A clock that stands still until told.
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    sleepers: BTreeMap<Timestamp, Vec<oneshot::Sender<()>>>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new(ManualState { now, sleepers: BTreeMap::new() })) }
    }

    /// Moves the clock forward and wakes whoever waited for a moment up to there.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = state.now.checked_add(by).unwrap_or(Timestamp::MAX);
        let now = state.now;
        let later = state.sleepers.split_off(&now);
        for sleeper in std::mem::replace(&mut state.sleepers, later).into_values().flatten() {
            let _gone = sleeper.send(());
        }
        for sleeper in state.sleepers.remove(&now).into_iter().flatten() {
            let _gone = sleeper.send(());
        }
    }

    /// The earliest moment that somebody waits for.
    pub fn next_sleeper(&self) -> Option<Timestamp> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sleepers.keys().next().copied()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if at <= state.now {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        state.sleepers.entry(at).or_default().push(wake);
        Box::pin(async move {
            let _clock_gone = woken.await;
        })
    }
}
