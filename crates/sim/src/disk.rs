//! The disk below the store: it outlives every server, keeps what was flushed, and can fail.

use store::{Config, MemoryDisk, MemoryEngine, OpenError, Room, Store, Writer};

/// What the control plane's store lies on.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    memory: MemoryDisk,
}

impl Disk {
    /// Opens a store on what the disk holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(&self, config: Config) -> Result<(Store, Writer), OpenError> {
        Store::open_stepped(config, MemoryEngine::open(&self.memory))
    }

    /// Lets so many flushes succeed; the next one fails, and all after it until [`Disk::heal`].
    pub fn fail_after(&self, flushes: u32) {
        self.memory.fail_after(flushes);
    }

    /// Nothing fails any more, and there is room.
    pub fn heal(&self) {
        self.memory.heal();
        self.memory.set_room(Room::Ample);
    }

    /// Pretends that there is little room, or none.
    pub fn set_room(&self, room: Room) {
        self.memory.set_room(room);
    }
}
