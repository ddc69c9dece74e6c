//! Limits of the store.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store_core::{HistoryLimits, Retained};

/// Limits of one store; each names its unit.
#[derive(Clone, Debug)]
pub struct Config {
    /// How far back reads and watches reach.
    pub history: HistoryLimits,
    /// Values in memory.
    pub retained: Retained,
    /// Transactions that may wait for the writer; further callers wait for a place.
    pub queue_max: usize,
    /// Transactions in one durable batch.
    pub batch_max: usize,
    /// Bytes of keys and values in one durable batch, beyond which no further transaction joins it.
    pub batch_bytes_max: usize,
    /// How long a transaction that [may wait](Haste::MayWait) is kept back for others to be flushed with. The writer that
    /// is stepped by hand keeps nothing back.
    pub patience: Duration,
    /// Bytes of keys and values of one transaction.
    pub transaction_bytes_max: usize,
    /// Events that wait in memory for the watches of one prefix; a watch that lags further reads from the history.
    pub watch_ring_events_max: usize,
    /// Bytes of such events; whichever limit is met first.
    pub watch_ring_bytes_max: usize,
    /// Go on, or begin a new timeline after a restore.
    pub timeline: Timeline,
    /// Monotonic time since any fixed moment; only the age of history depends on it.
    pub clock: Clock,
}

impl Config {
    /// The limits the product ships with; time is the machine's.
    pub fn standard() -> Self {
        Self {
            history: HistoryLimits {
                events_min: 10_000,
                age_min: Duration::from_secs(5 * 60),
                events_max: 300_000,
                bytes_max: 256 << 20,
            },
            retained: Retained { live_bytes_max: 256 << 20, superseded_bytes_max: 4 << 20 },
            queue_max: 4_096,
            batch_max: 512,
            batch_bytes_max: 4 << 20,
            patience: Duration::from_millis(2),
            transaction_bytes_max: 8 << 20,
            watch_ring_events_max: 1_024,
            watch_ring_bytes_max: 8 << 20,
            timeline: Timeline::Continue,
            clock: Clock::machine(),
        }
    }
}

/// Whether anybody waits for a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Haste {
    /// It is flushed as soon as the writer is free.
    #[default]
    Now,
    /// Nothing else depends on it soon: it waits for the next transaction that is flushed [now](Haste::Now), at most for
    /// [`Config::patience`]. A flush less, and nobody who is in a hurry waits behind it.
    MayWait,
}

/// Which revisions the store gives out next (D3, S13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeline {
    /// Those that follow.
    Continue,
    /// Those of a new base behind everything that this copy or its original ever gave out: for a data folder that was
    /// restored or copied, or filled from another engine. All watches from before get [`crate::WatchError::Compacted`].
    NewAt {
        /// Seconds since 1970.
        unix_secs: u64,
    },
}

/// Where the store takes the time from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The machine's monotonic clock.
    pub fn machine() -> Self {
        let start = Instant::now();
        Self(Arc::new(move || start.elapsed()))
    }

    /// Any other, for tests and simulation.
    pub fn injected(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
