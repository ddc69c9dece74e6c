//! Transactions that were decided and are not durable yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Event, Key, Record, Revision, StoreState};

/// Accepted transactions of one batch: what the next one is judged by, and what the engine has to make durable.
#[derive(Debug)]
pub struct Staged {
    /// The last revision that is spoken for.
    pub(crate) revision: Revision,
    pub(crate) base: Revision,
    /// The newest staged state of each key.
    pub(crate) newest: BTreeMap<Key, Arc<Record>>,
    /// Earlier states that were read from the engine for this batch; `None` could not be read.
    pub(crate) fetched: BTreeMap<Key, Option<Arc<Record>>>,
    pub(crate) events: Vec<Arc<Event>>,
    /// Where history is to reach back to once this is published.
    pub(crate) floor: Revision,
    /// Records that no reader can reach once this is published.
    pub(crate) dropped: Vec<Revision>,
}

impl Staged {
    /// What the store will know of itself once this is published.
    pub fn state(&self) -> StoreState {
        StoreState { base: self.base, floor: self.floor, last: self.revision }
    }

    /// True if there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.dropped.is_empty()
    }

    /// What the engine has to add, in the order of revisions.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.events.iter().map(|event| &event.record)
    }

    /// What the engine may forget.
    pub fn dropped(&self) -> &[Revision] {
        &self.dropped
    }

    /// Supplies an earlier state that [`Index::needs`](crate::Index::needs) asked for; `None` if it cannot be read.
    pub fn supply(&mut self, key: Key, record: Option<Arc<Record>>) {
        self.fetched.insert(key, record);
    }
}
