//! Why the store says no.

use std::path::PathBuf;

use store_core::{DecodeError, Key, Quarantined, Revision, TransactionError};

use crate::{EngineError, LockError};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("open the store in {}", dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// What came back.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The engine refused.
    #[error("open the store")]
    Engine(#[from] EngineError),
    /// The store's own state is damaged: without it nobody knows which revisions were given out.
    #[error("the store's state is damaged; restore a snapshot")]
    State(#[from] DecodeError),
}

/// Why a transaction was not committed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// A precondition failed; nothing changed.
    #[error(transparent)]
    Refused(#[from] TransactionError),
    /// More bytes than a transaction may have; nothing changed.
    #[error("the transaction has {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The disk is full, or nearly; nothing changed, reads go on, and deletions work while there is any room (S20).
    #[error("the disk is full: the store takes no new data until space is freed on its file system; reads go on")]
    DiskFull,
    /// A flush failed, now or earlier. The store takes no writes any more; whether this one is durable shows after a
    /// restart (S21).
    #[error("the store takes no writes since its disk failed ({why}); restart to recover from what is durable")]
    Broken {
        /// What the engine said.
        why: String,
    },
    /// The store is closed; nothing changed.
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    /// True if the same transaction may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull)
    }
}

/// Why a read failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// That far back the store does not remember.
    #[error("revision {requested} is compacted; the oldest is {floor}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read.
        floor: Revision,
    },
    /// That revision has not been given out.
    #[error("revision {requested} lies ahead of {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The stored bytes are corrupt.
    #[error("{key} is quarantined: its state at revision {revision} is corrupt on disk ({why})")]
    Quarantined {
        /// Which key.
        key: Key,
        /// Which state.
        revision: Revision,
        /// What is wrong.
        why: String,
    },
    /// The engine cannot read.
    #[error("read from the store: {why}")]
    Engine {
        /// What it said.
        why: String,
    },
}

impl From<Quarantined> for ReadError {
    fn from(quarantined: Quarantined) -> Self {
        let Quarantined { key, revision, why } = quarantined;
        Self::Quarantined { key: key.unwrap_or_default(), revision, why }
    }
}

/// Why a watch could not begin, or ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    /// The store does not remember all events since that revision: list again. Also how a watch ends that is slower
    /// than history is long ([`store_core::HistoryLimits`]).
    #[error("revision {requested} is compacted; the oldest is {floor}")]
    Compacted {
        /// Where the watch stands.
        requested: Revision,
        /// The oldest revision to watch from.
        floor: Revision,
    },
    /// That revision has not been given out.
    #[error("revision {requested} lies ahead of {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// An event of the past cannot be read: list again.
    #[error("an event since revision {after} cannot be read: {why}")]
    Unreadable {
        /// Where the watch stands.
        after: Revision,
        /// What is wrong.
        why: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}
