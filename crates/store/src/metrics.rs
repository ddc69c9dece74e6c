//! How near the store is to its limits.

/// A snapshot of the store's counters and gauges.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Metrics {
    /// Newest revision.
    pub revision: u64,
    /// Oldest revision that can be read.
    pub floor: u64,
    /// Keys that exist.
    pub keys: usize,
    /// Events that are remembered.
    pub history_events: usize,
    /// Bytes of latest values in memory.
    pub live_resident_bytes: usize,
    /// Bytes of superseded values in memory.
    pub superseded_resident_bytes: usize,
    /// Records in quarantine.
    pub quarantined: usize,
    /// Bytes that the engine takes on disk.
    pub disk_bytes: u64,
    /// Transactions that wait for the writer.
    pub queue: usize,
    /// Transactions that may wait at most.
    pub queue_max: usize,
    /// Open watches.
    pub watches: usize,
    /// Transactions committed since opening.
    pub transactions_total: u64,
    /// Durable batches since opening.
    pub batches_total: u64,
}
