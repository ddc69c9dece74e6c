//! The engine's twin in memory: for tests, the simulator and virtual clusters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store_core::Revision;

use crate::{Batch, Engine, EngineCommitError, EngineError, EngineReader, Room};

/// What a [`MemoryEngine`] writes to. It outlives the engine, so a store can be "killed" and opened again.
#[derive(Clone, Default, Debug)]
pub struct MemoryDisk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    state: Option<Vec<u8>>,
    records: BTreeMap<Revision, Vec<u8>>,
    flushes_before_failure: Option<u32>,
    room: Room,
    commits: u64,
}

impl Default for Platter {
    fn default() -> Self {
        Self { state: None, records: BTreeMap::new(), flushes_before_failure: None, room: Room::Ample, commits: 0 }
    }
}

impl MemoryDisk {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `flushes` more commits succeed; every later one fails without writing anything.
    pub fn fail_after(&self, flushes: u32) {
        self.platter().flushes_before_failure = Some(flushes);
    }

    /// Heals the disk.
    pub fn heal(&self) {
        self.platter().flushes_before_failure = None;
    }

    /// Pretends that space is scarce.
    pub fn set_room(&self, room: Room) {
        self.platter().room = room;
    }

    /// Flips one bit of a stored record; false if there is no such bit.
    pub fn flip_bit(&self, revision: Revision, bit: usize) -> bool {
        let mut platter = self.platter();
        let byte = platter.records.get_mut(&revision).and_then(|bytes| bytes.get_mut(bit / 8));
        byte.map(|byte| *byte ^= 1 << (bit % 8)).is_some()
    }

    /// Revisions of all records that are stored.
    pub fn revisions(&self) -> Vec<Revision> {
        self.platter().records.keys().copied().collect()
    }

    /// Bytes of one record; 0 if there is none.
    pub fn record_bytes(&self, revision: Revision) -> usize {
        self.platter().records.get(&revision).map_or(0, Vec::len)
    }

    /// Commits that succeeded.
    pub fn commits(&self) -> u64 {
        self.platter().commits
    }
}

/// An engine on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryEngine {
    disk: MemoryDisk,
}

impl MemoryEngine {
    /// An engine on this disk.
    pub fn open(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone() }
    }
}

impl Engine for MemoryEngine {
    fn state(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.disk.platter().state.clone())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Revision, &[u8])) -> Result<(), EngineError> {
        self.disk.platter().records.iter().for_each(|(revision, bytes)| visit(*revision, bytes));
        Ok(())
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), EngineCommitError> {
        let mut platter = self.disk.platter();
        if let Some(left) = &mut platter.flushes_before_failure {
            let Some(fewer) = left.checked_sub(1) else {
                return Err(EngineError::new("flush", "the disk was told to fail").into());
            };
            *left = fewer;
        }
        if let Some(state) = &batch.state {
            platter.state = Some(state.clone());
        }
        platter.records.extend(batch.records.iter().cloned());
        for revision in batch.dropped {
            platter.records.remove(revision);
        }
        platter.commits += 1;
        Ok(())
    }

    fn reader(&self) -> Arc<dyn EngineReader> {
        Arc::new(self.disk.clone())
    }

    fn room(&mut self) -> Room {
        self.disk.platter().room
    }
}

impl EngineReader for MemoryDisk {
    fn read(&self, revision: Revision) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.platter().records.get(&revision).cloned())
    }

    fn bytes_on_disk(&self) -> u64 {
        0
    }
}
