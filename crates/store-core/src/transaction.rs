//! What a writer asks for, and what it gets.

use std::sync::Arc;

use crate::{Key, Payload, Record, Revision};

/// Operations that happen all or not at all, each with its precondition.
///
/// All preconditions are judged against the state before the transaction. A key may stand in it once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Transaction {
    /// In order; each operation that changes a key takes the next revision.
    pub ops: Vec<Op>,
}

/// One step of a [`Transaction`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Stores a key that must not exist.
    Create {
        /// Which.
        key: Key,
        /// What.
        payload: Payload,
    },
    /// Stores a key.
    Put {
        /// Which.
        key: Key,
        /// What.
        payload: Payload,
        /// Precondition.
        expected: Expected,
    },
    /// Removes a key. [`Expected::Any`] still demands that it exists.
    Delete {
        /// Which.
        key: Key,
        /// Precondition.
        expected: Expected,
        /// The last state as the event shows it, with the revision of the deletion (V-76); `None` shows the bytes that
        /// were stored.
        last: Option<Payload>,
    },
    /// Changes nothing and takes no revision; the whole transaction fails unless the precondition holds.
    Require {
        /// Which.
        key: Key,
        /// Precondition; [`Expected::Any`] demands only that it exists.
        expected: Expected,
    },
}

impl Op {
    /// The key it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Create { key, .. } | Self::Put { key, .. } | Self::Delete { key, .. } | Self::Require { key, .. } => {
                key
            }
        }
    }
}

/// What must be true of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// No condition on the revision. A put creates or replaces.
    Any,
    /// It exists.
    Exists,
    /// It does not exist.
    Absent,
    /// It exists and was last changed at this revision.
    At(Revision),
}

impl Transaction {
    /// Stores a key that must not exist.
    pub fn create(key: impl Into<Key>, payload: Payload) -> Self {
        Self { ops: vec![Op::Create { key: key.into(), payload }] }
    }

    /// Stores a key.
    pub fn put(key: impl Into<Key>, payload: Payload, expected: Expected) -> Self {
        Self { ops: vec![Op::Put { key: key.into(), payload, expected }] }
    }

    /// Removes a key that must exist.
    pub fn delete(key: impl Into<Key>, expected: Expected, last: Option<Payload>) -> Self {
        Self { ops: vec![Op::Delete { key: key.into(), expected, last }] }
    }

    /// Adds an operation.
    pub fn and(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Bytes of keys and values: what a queue counts.
    pub fn size(&self) -> usize {
        self.ops
            .iter()
            .map(|op| {
                op.key().0.len()
                    + match op {
                        Op::Create { payload, .. } | Op::Put { payload, .. } => payload.bytes.len(),
                        Op::Delete { last, .. } => last.as_ref().map_or(0, |last| last.bytes.len()),
                        Op::Require { .. } => 0,
                    }
            })
            .sum()
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The store's revision right behind the transaction: that of its last change, or, if it changed nothing, the one
    /// before it.
    pub revision: Revision,
    /// The changed records in the order of the operations ([`Op::Require`] has none); of a deletion the last state.
    pub records: Vec<Arc<Record>>,
}

/// Why a transaction changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransactionError {
    /// The key was to be created.
    #[error("{key} exists already, at revision {revision}")]
    Exists {
        /// Which.
        key: Key,
        /// Where it was last changed.
        revision: Revision,
    },
    /// The key was to exist.
    #[error("{key} does not exist")]
    NotFound {
        /// Which.
        key: Key,
    },
    /// The key was changed meanwhile.
    #[error("{key} is at revision {actual}, not {expected}")]
    Conflict {
        /// Which.
        key: Key,
        /// What the writer had seen.
        expected: Revision,
        /// What it is.
        actual: Revision,
    },
    /// A key stands in the transaction twice.
    #[error("{key} stands in one transaction twice")]
    Repeated {
        /// Which.
        key: Key,
    },
}

impl TransactionError {
    /// The key over which it failed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Exists { key, .. } | Self::NotFound { key } | Self::Conflict { key, .. } | Self::Repeated { key } => {
                key
            }
        }
    }
}
