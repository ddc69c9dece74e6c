//! The engine on disk: redb.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use store_core::Revision;

use crate::lock::FolderLock;
use crate::{Batch, Engine, EngineError, EngineReader, OpenError, Room};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const STATE: TableDefinition<u8, &[u8]> = TableDefinition::new("state");
/// Batches between two looks at the free space.
const ROOM_EVERY: u32 = 64;

/// Where and how the engine works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedbConfig {
    /// The data folder; made if it is missing. One process at a time.
    pub dir: PathBuf,
    /// Bytes of pages that the engine keeps in memory.
    pub cache_bytes: usize,
    /// Free bytes on the file system below which the store stops growing (S20).
    pub reserve_bytes: u64,
}

impl RedbConfig {
    /// The limits the product ships with.
    pub fn standard(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), cache_bytes: 8 << 20, reserve_bytes: 64 << 20 }
    }
}

/// Records in a redb file, one flush a commit.
///
/// A process that is killed leaves a file that redb repairs when it is opened next: 0.3 s for 200 MiB, 1.4 s for 1 GiB
/// here. Its "quick repair" would halve that and cost a quarter of the commits a second (half of them with a single
/// writer), so it is off.
#[derive(Debug)]
pub struct RedbEngine {
    database: Arc<Database>,
    config: RedbConfig,
    room: Room,
    room_asked: u32,
    /// Let go of last, when the file is closed.
    _lock: FolderLock,
}

impl RedbEngine {
    /// Opens or makes the store's file in the folder, which this process then holds alone.
    ///
    /// # Errors
    /// [`OpenError::Locked`] names the process that has the folder.
    pub fn open(config: RedbConfig) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { dir: config.dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.dir).map_err(folder)?;
        let lock = FolderLock::take(&config.dir)?;
        let path = config.dir.join("store.redb");
        let fresh = !path.exists();
        // The file is ours alone before redb makes it: it holds secrets.
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        drop(file.map_err(folder)?);
        let database = Database::builder()
            .set_cache_size(config.cache_bytes)
            .create(&path)
            .map_err(|error| EngineError::new("open store.redb", error))?;
        if fresh {
            sync_folder(&config.dir).map_err(folder)?;
        }
        Ok(Self { database: Arc::new(database), config, room: Room::Ample, room_asked: 0, _lock: lock })
    }

    fn try_commit(&mut self, batch: &Batch<'_>) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        if let Some(state) = &batch.state {
            write.open_table(STATE)?.insert(0, state.as_slice())?;
        }
        {
            let mut table = write.open_table(RECORDS)?;
            for (revision, bytes) in &batch.records {
                table.insert(revision.0, bytes.as_slice())?;
            }
            for revision in batch.dropped {
                table.remove(revision.0)?;
            }
        }
        write.commit()?;
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        let status = rustix::fs::statvfs(&self.config.dir).ok()?;
        Some(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

impl Engine for RedbEngine {
    fn state(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match self.database.begin_read()?.open_table(STATE) {
                Ok(table) => Ok(table.get(0)?.map(|bytes| bytes.value().to_vec())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        read().map_err(|error| EngineError::new("read the store's state", error))
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Revision, &[u8])) -> Result<(), EngineError> {
        let mut scan = || -> Result<(), redb::Error> {
            let table = match self.database.begin_read()?.open_table(RECORDS) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for entry in table.iter()? {
                let (revision, bytes) = entry?;
                visit(Revision(revision.value()), bytes.value());
            }
            Ok(())
        };
        scan().map_err(|error| EngineError::new("read the store's records", error))
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), EngineError> {
        self.try_commit(batch).map_err(|error| EngineError::new("write to store.redb", error))
    }

    fn reader(&self) -> Arc<dyn EngineReader> {
        Arc::new(RedbReader { database: Arc::downgrade(&self.database), path: self.config.dir.join("store.redb") })
    }

    fn room(&mut self) -> Room {
        if self.room_asked.is_multiple_of(ROOM_EVERY) || self.room != Room::Ample {
            self.room = match self.free_bytes() {
                Some(free) if free < self.config.reserve_bytes / 4 => Room::Exhausted,
                Some(free) if free < self.config.reserve_bytes => Room::Low,
                // A file system that does not say is taken to have room: a failed write is noticed anyway.
                Some(_) | None => Room::Ample,
            };
        }
        self.room_asked = self.room_asked.wrapping_add(1);
        self.room
    }
}

struct RedbReader {
    /// Weak, so that a reader does not keep the file open when the store closes.
    database: Weak<Database>,
    path: PathBuf,
}

impl EngineReader for RedbReader {
    fn read(&self, revision: Revision) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(database) = self.database.upgrade() else {
            return Err(EngineError::new("read a record", "the store is closed"));
        };
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok(table.get(revision.0)?.map(|bytes| bytes.value().to_vec()))
        };
        read().map_err(|error| EngineError::new("read a record", error))
    }

    fn bytes_on_disk(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.blocks() * 512)
    }
}

/// Makes a new file's name as durable as its bytes.
fn sync_folder(dir: &Path) -> Result<(), std::io::Error> {
    fs::File::open(dir)?.sync_all()
}
