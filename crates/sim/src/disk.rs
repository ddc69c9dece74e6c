//! The disk below the store: it outlives every server, keeps what was flushed, and can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use store::simulated_disk::{SimulatedDisk, SyncFailure};
use store::{Config, MemoryDisk, MemoryEngine, OpenError, RedbEngine, Room, Store, Writer};

use crate::scenario::Scenario;

/// What the control plane's store lies on.
#[derive(Clone, Debug)]
pub enum Disk {
    /// A disk that keeps whole commits: quick.
    Memory(MemoryDisk),
    /// A disk below redb that loses and tears what was not flushed.
    Torn {
        /// The disk.
        disk: SimulatedDisk,
        /// Flushes until one fails; `u32::MAX` for never.
        flushes: Arc<AtomicU32>,
    },
}

impl Disk {
    /// The disk of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        if scenario.is_on_disk {
            Self::Torn { disk: SimulatedDisk::new(scenario.seed), flushes: Arc::new(AtomicU32::new(u32::MAX)) }
        } else {
            Self::Memory(MemoryDisk::default())
        }
    }

    /// Opens a store on what the disk holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(&self, config: Config) -> Result<(Store, Writer), OpenError> {
        match self {
            Self::Memory(disk) => Store::open_stepped(config, MemoryEngine::open(disk)),
            Self::Torn { disk, .. } => Store::open_stepped(config, RedbEngine::open_simulated(disk)?),
        }
    }

    /// The store is about to flush: a failure that was ordered may be due.
    pub fn before_flush(&self) {
        let Self::Torn { disk, flushes } = self else { return };
        let left = flushes.load(Ordering::Relaxed);
        if left == 0 {
            flushes.store(u32::MAX, Ordering::Relaxed);
            disk.fail_syncs(SyncFailure::Once);
        } else if left != u32::MAX {
            flushes.store(left - 1, Ordering::Relaxed);
        }
    }

    /// Lets so many flushes succeed; the next one fails.
    pub fn fail_after(&self, flushes: u32) {
        match self {
            Self::Memory(disk) => disk.fail_after(flushes),
            Self::Torn { flushes: left, .. } => left.store(flushes, Ordering::Relaxed),
        }
    }

    /// The power fails after so many operations. A disk in memory keeps whole commits: there it is a mere kill.
    pub fn cut_power_after(&self, operations: u64) {
        if let Self::Torn { disk, .. } = self {
            disk.cut_power_after(operations);
        }
    }

    /// Whether the power has to be cut now, if it is not yet: true on every disk.
    pub fn strike(&self) -> bool {
        if let Self::Torn { disk, .. } = self {
            disk.cut_power();
        }
        true
    }

    /// Nothing fails any more, and there is room. After a power cut the disk shows what it kept.
    pub fn heal(&self) {
        match self {
            Self::Memory(disk) => {
                disk.heal();
                disk.set_room(Room::Ample);
            }
            Self::Torn { disk, flushes } => {
                flushes.store(u32::MAX, Ordering::Relaxed);
                disk.fail_syncs(SyncFailure::Never);
                if disk.is_dark() {
                    disk.cut_power();
                }
                disk.set_capacity(None);
            }
        }
    }

    /// Pretends that there is little room, or none.
    pub fn set_room(&self, room: Room) {
        match self {
            Self::Memory(disk) => disk.set_room(room),
            Self::Torn { disk, .. } => {
                let used = disk.allocated_bytes();
                disk.set_capacity(match room {
                    Room::Ample => None,
                    Room::Low => Some(used + (64 << 10)),
                    Room::Exhausted => Some(used),
                });
            }
        }
    }
}
