//! A process of the simulated cluster: it has a clock of its own, it may stand still, and it may die at any await.
//!
//! Everything a part does to the world goes through a wrapper that asks its process first: the API client, the
//! runtime, the network, the volumes. A dead process's calls never return, and what it was just doing is dropped where
//! it stood.

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use informer::Clock;
use meta::Timestamp;
use meta::clock::Steady;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::rng::Rng;

/// The moment at which every simulation begins: 2026-01-01T00:00:00Z.
pub const EPOCH_SECS: i64 = 1_767_225_600;
/// Longest single wait before the clock is read again, so that a jump is noticed.
const SLEEP_SECS_MAX: u64 = 60;

/// A wall clock of one process: virtual time, a little too fast or too slow, plus an offset that jumps.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    begun: Instant,
    /// The product's own: the wall clock below it goes back.
    steady: Arc<Mutex<Steady>>,
    drift_ppm: i64,
    offset_secs: Arc<AtomicI64>,
    /// The greatest distance of one jump so far.
    jumped_secs: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock that runs too fast by so many millionths, too slow if negative. `begun` is when the simulation began.
    pub fn new(begun: Instant, drift_ppm: i64) -> Self {
        Self { begun, steady: Arc::default(), drift_ppm, offset_secs: Arc::default(), jumped_secs: Arc::default() }
    }

    /// Makes the clock wrong by so many seconds; 0 makes it right.
    pub fn set_offset(&self, secs: i64) {
        let before = self.offset_secs.swap(secs, Ordering::Relaxed);
        self.jumped_secs.fetch_max(before.abs_diff(secs), Ordering::Relaxed);
    }

    /// The process that goes by it starts anew.
    pub fn begin_anew(&self) {
        *self.steady.lock().unwrap_or_else(PoisonError::into_inner) = Steady::default();
    }

    /// The greatest distance of one jump so far, in seconds.
    pub fn jumped_secs(&self) -> u64 {
        self.jumped_secs.load(Ordering::Relaxed)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX / 4);
        // A run takes hours at most: no overflow.
        let drifted = since * self.drift_ppm / 1_000_000;
        let micros = (EPOCH_SECS + self.offset_secs.load(Ordering::Relaxed)) * 1_000_000 + since + drifted;
        let wall = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).read(wall, self.begun.elapsed())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let left = Duration::try_from(at.duration_since(clock.now())).unwrap_or(Duration::ZERO);
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(SLEEP_SECS_MAX))).await;
            }
        })
    }
}

/// One incarnation of one part of the cluster.
#[derive(Debug)]
pub struct Process {
    /// For example `controllers` or `agent-n1`; the same for every incarnation.
    pub name: String,
    /// Counts the starts of all processes of a run.
    pub incarnation: u64,
    /// Its clock.
    pub clock: VirtualClock,
    killed: CancellationToken,
    paused_until: Mutex<Option<Instant>>,
    rng: Mutex<Rng>,
}

impl Process {
    /// A living process. `incarnation` counts the starts of this name.
    pub fn new(seed: u64, name: &str, incarnation: u64, clock: VirtualClock) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            incarnation,
            clock,
            killed: CancellationToken::new(),
            paused_until: Mutex::default(),
            rng: Mutex::new(Rng::of(seed, &format!("{name}/{incarnation}"))),
        })
    }

    /// What the parts of the process hear when it is killed.
    pub fn token(&self) -> CancellationToken {
        self.killed.clone()
    }

    /// Kills it: nothing it does from now on reaches anything.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// Stops it for a while, as SIGSTOP does.
    pub fn pause(&self, how_long: Duration) {
        let until = Instant::now() + how_long;
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it can be asked something now.
    pub fn is_up(&self) -> bool {
        !self.killed.is_cancelled() && self.pause_left().is_zero()
    }

    /// How long it stands still yet.
    fn pause_left(&self) -> Duration {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Chance of its own.
    pub fn rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something for the process: not while it stands still, and never again once it is dead.
    pub async fn living<T>(&self, work: impl Future<Output = T>) -> T {
        let all = async {
            self.going().await;
            let done = work.await;
            self.going().await;
            done
        };
        tokio::select! {
            biased;
            () = self.killed.cancelled() => std::future::pending().await,
            done = all => done,
        }
    }

    async fn going(&self) {
        loop {
            let left = self.pause_left();
            if left.is_zero() {
                return;
            }
            // In steps, because it may be let go earlier.
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}
