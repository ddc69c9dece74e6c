//! What the handles, the watches and the writer share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store_core::{Head, Index, Quarantined, Record, Revision, Stored, decode_record};

use crate::hub::Hub;
use crate::{Config, EngineReader, ReadError};

/// The published state. The writer is the only one to change what it says; readers may move values in and out of
/// memory.
pub(crate) struct Shared {
    index: RwLock<Index>,
    pub(crate) hub: Hub,
    pub(crate) reader: Arc<dyn EngineReader>,
    pub(crate) config: Config,
    /// Set for good when a commit failed.
    pub(crate) broken: OnceLock<String>,
    /// Wakes who waits for that.
    pub(crate) breaking: tokio::sync::Notify,
    pub(crate) revisions: tokio::sync::watch::Sender<Revision>,
    pub(crate) transactions: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// Why a value could not be had from the engine.
pub(crate) enum FetchError {
    /// It was compacted away in between.
    Gone,
    Corrupt(Quarantined),
    Engine(String),
}

impl Shared {
    pub(crate) fn new(index: Index, reader: Arc<dyn EngineReader>, config: Config) -> Self {
        let revision = index.revision();
        Self {
            hub: Hub::new(revision, config.watch_ring_events_max, config.watch_ring_bytes_max),
            index: RwLock::new(index),
            reader,
            config,
            broken: OnceLock::new(),
            breaking: tokio::sync::Notify::new(),
            revisions: tokio::sync::watch::Sender::new(revision),
            transactions: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// A panic under the lock means a broken invariant; the index asserts its own on every change.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a value that is not in memory. Works on the calling thread: a look-up in the engine's cache, or one or two
    /// page reads.
    pub(crate) fn fetch(&self, head: &Head) -> Result<Arc<Record>, FetchError> {
        let bytes = match self.reader.read(head.revision) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(FetchError::Gone),
            Err(error) => return Err(FetchError::Engine(error.chain())),
        };
        match decode_record(head.revision, &bytes) {
            Ok(record) if record.key == &head.key.0[..] => Ok(Arc::new(record.to_record())),
            Ok(_) => Err(FetchError::Corrupt(self.quarantine(head, "filed under another key".to_owned()))),
            Err(error) => Err(FetchError::Corrupt(self.quarantine(head, error.to_string()))),
        }
    }

    fn quarantine(&self, head: &Head, why: String) -> Quarantined {
        tracing::error!(key = %head.key, revision = head.revision.0, why, "stored record is corrupt and quarantined");
        self.index_mut().quarantine_record(&head.key, head.revision, why.clone());
        Quarantined { key: Some(head.key.clone()), revision: head.revision, why }
    }

    /// The value behind an entry of the index.
    pub(crate) fn resolve(&self, stored: Stored) -> Result<Arc<Record>, FetchError> {
        match stored {
            Stored::Resident(record) => Ok(record),
            Stored::Cold(head) => self.fetch(&head),
            Stored::Corrupt(quarantined) => Err(FetchError::Corrupt(*quarantined)),
        }
    }

    /// Keeps values that were read from the engine in memory, as far as there is room.
    pub(crate) fn warm(&self, records: &[Arc<Record>]) {
        if !records.is_empty() {
            let mut index = self.index_mut();
            records.iter().for_each(|record| index.warm(record, &self.config.retained));
        }
    }
}

impl FetchError {
    pub(crate) fn into_read_error(self, requested: Revision, floor: Revision) -> ReadError {
        match self {
            Self::Gone => ReadError::Compacted { requested, floor },
            Self::Corrupt(quarantined) => quarantined.into(),
            Self::Engine(why) => ReadError::Engine { why },
        }
    }
}
