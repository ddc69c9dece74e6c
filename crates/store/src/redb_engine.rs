//! The engine on disk: redb.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use store_core::Revision;

use crate::lock::FolderLock;
use crate::redb_file::{FilledFile, Medium, RedbFile};
use crate::{Batch, Engine, EngineCommitError, EngineError, EngineReader, OpenError, Room, SimulatedDisk};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const STATE: TableDefinition<u8, &[u8]> = TableDefinition::new("state");
/// The file's name in the data folder.
const FILE: &str = "store.redb";
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
        Self { dir: dir.into(), cache_bytes: 4 << 20, reserve_bytes: 64 << 20 }
    }
}

/// Records in a redb file, one flush a commit.
///
/// A process that is killed leaves a file that redb repairs when it is opened next: 0.3 s for 200 MiB, 1.4 s for 1 GiB
/// here. Its "quick repair" would halve that and cost a quarter of the commits a second (half of them with a single
/// writer), so it is off.
#[derive(Debug)]
pub struct RedbEngine {
    database: Arc<Slot>,
    place: Place,
    cache_bytes: usize,
    reserve_bytes: u64,
    room: Room,
    room_asked: u32,
    sync_failed: Arc<AtomicBool>,
}

/// The open database; `None` while it is opened anew.
type Slot = RwLock<Option<Database>>;

#[derive(Debug)]
enum Place {
    /// The lock is let go of last, when the file is closed.
    Folder {
        dir: PathBuf,
        _lock: FolderLock,
    },
    Simulated(SimulatedDisk),
}

impl RedbEngine {
    /// Opens or makes the store's file in the folder, which this process then holds alone.
    ///
    /// # Errors
    /// [`OpenError::Locked`] names the process that has the folder.
    pub fn open(config: RedbConfig) -> Result<Self, OpenError> {
        let RedbConfig { dir, cache_bytes, reserve_bytes } = config;
        let folder = |source| OpenError::Folder { dir: dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(folder)?;
        let lock = FolderLock::take(&dir)?;
        let fresh = !dir.join(FILE).exists();
        let engine = Self::on(Place::Folder { dir: dir.clone(), _lock: lock }, cache_bytes, reserve_bytes)?;
        if fresh {
            sync_folder(&dir).map_err(folder)?;
        }
        Ok(engine)
    }

    /// The same engine on a [`SimulatedDisk`], with the limits the product ships with.
    ///
    /// # Errors
    /// [`OpenError::Engine`] if the disk fails meanwhile.
    pub fn open_simulated(disk: &SimulatedDisk) -> Result<Self, OpenError> {
        let RedbConfig { cache_bytes, reserve_bytes, .. } = RedbConfig::standard("");
        Ok(Self::on(Place::Simulated(disk.clone()), cache_bytes, reserve_bytes)?)
    }

    fn on(place: Place, cache_bytes: usize, reserve_bytes: u64) -> Result<Self, EngineError> {
        let engine = Self {
            database: Arc::default(),
            place,
            cache_bytes,
            reserve_bytes,
            room: Room::Ample,
            room_asked: 0,
            sync_failed: Arc::default(),
        };
        engine.reopen()?;
        Ok(engine)
    }

    /// Opens the file, which repairs it if need be: all that is not of a whole commit is gone.
    fn reopen(&self) -> Result<(), EngineError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old one first: two must not have the file open.
        *slot = None;
        let medium = self.place.medium().map_err(|error| EngineError::new("open store.redb", error))?;
        let file = RedbFile { medium, sync_failed: self.sync_failed.clone() };
        file.discard_unmade().map_err(|error| EngineError::new("open store.redb", error))?;
        let database = Database::builder()
            .set_cache_size(self.cache_bytes)
            .create_with_backend(file)
            .map_err(|error| EngineError::new("open store.redb", error))?;
        *slot = Some(database);
        Ok(())
    }

    fn try_commit(&mut self, batch: &Batch<'_>) -> Result<(), redb::Error> {
        let slot = opened(&self.database);
        let database = slot.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let mut write = database.begin_write()?;
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

    /// What became of a commit that met a full disk: no flush was tried, so the file is opened anew and asked.
    fn after_full(&mut self, batch: &Batch<'_>) -> Result<(), EngineCommitError> {
        self.room = Room::Exhausted;
        self.reopen()?;
        let Some((last, _)) = batch.records.last() else { return Err(EngineCommitError::Full) };
        match self.reader().read(*last)? {
            Some(_) => Ok(()),
            None => Err(EngineCommitError::Full),
        }
    }
}

impl Place {
    fn medium(&self) -> io::Result<Medium> {
        match self {
            Self::Folder { dir, .. } => {
                // Ours alone from the first moment: it holds secrets.
                let mut options = fs::OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false).mode(0o600);
                Ok(Medium::File(FilledFile::new(options.open(dir.join(FILE))?)?))
            }
            Self::Simulated(disk) => Ok(Medium::Simulated { file: disk.open(), disk: disk.clone() }),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Folder { dir, .. } => {
                let status = rustix::fs::statvfs(dir).ok()?;
                Some(status.f_bavail.saturating_mul(status.f_frsize))
            }
            Self::Simulated(disk) => disk.free_bytes(),
        }
    }
}

fn opened(slot: &Slot) -> RwLockReadGuard<'_, Option<Database>> {
    slot.read().unwrap_or_else(PoisonError::into_inner)
}

/// True if the disk had no room for a write.
fn is_full(error: &redb::Error) -> bool {
    let redb::Error::Io(error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Engine for RedbEngine {
    fn state(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let slot = opened(&self.database);
            let database = slot.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            match database.begin_read()?.open_table(STATE) {
                Ok(table) => Ok(table.get(0)?.map(|bytes| bytes.value().to_vec())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        read().map_err(|error| EngineError::new("read the store's state", error))
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Revision, &[u8])) -> Result<(), EngineError> {
        let mut scan = || -> Result<(), redb::Error> {
            let slot = opened(&self.database);
            let database = slot.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            let table = match database.begin_read()?.open_table(RECORDS) {
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

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), EngineCommitError> {
        match self.try_commit(batch) {
            Err(error) if is_full(&error) && !self.sync_failed.load(Ordering::SeqCst) => self.after_full(batch),
            other => Ok(other.map_err(|error| EngineError::new("write to store.redb", error))?),
        }
    }

    fn reader(&self) -> Arc<dyn EngineReader> {
        let path = match &self.place {
            Place::Folder { dir, .. } => Some(dir.join(FILE)),
            Place::Simulated(_) => None,
        };
        Arc::new(RedbReader { database: Arc::downgrade(&self.database), path })
    }

    fn room(&mut self) -> Room {
        if self.room_asked.is_multiple_of(ROOM_EVERY) || self.room != Room::Ample {
            self.room = match self.place.free_bytes() {
                Some(free) if free < self.reserve_bytes / 4 => Room::Exhausted,
                Some(free) if free < self.reserve_bytes => Room::Low,
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
    database: Weak<Slot>,
    /// The file, if there is one.
    path: Option<PathBuf>,
}

impl EngineReader for RedbReader {
    fn read(&self, revision: Revision) -> Result<Option<Vec<u8>>, EngineError> {
        let closed = || EngineError::new("read a record", "the store is closed");
        let slot = self.database.upgrade().ok_or_else(closed)?;
        let opened = opened(&slot);
        let database = opened.as_ref().ok_or_else(closed)?;
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match database.begin_read()?.open_table(RECORDS) {
                Ok(table) => Ok(table.get(revision.0)?.map(|bytes| bytes.value().to_vec())),
                // Nothing was ever committed.
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        read().map_err(|error| EngineError::new("read a record", error))
    }

    fn bytes_on_disk(&self) -> u64 {
        let metadata = self.path.as_ref().and_then(|path| fs::metadata(path).ok());
        metadata.map_or(0, |metadata| metadata.blocks() * 512)
    }
}

/// Makes a new file's name as durable as its bytes.
fn sync_folder(dir: &Path) -> Result<(), std::io::Error> {
    fs::File::open(dir)?.sync_all()
}
