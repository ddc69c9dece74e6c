//! What redb reads and writes: a file, or its simulated twin.
//!
//! In place of redb's own file, because of two things the engine must know or do: whether a *flush* failed (then
//! nothing can be trusted) or only a write (then the commit was not begun on disk), and that pages which a failed flush
//! left behind are never read again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use rustix::fs::Advice;

use crate::SimulatedDisk;
use crate::simulated_disk::SimulatedFile;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Medium {
    File(File),
    Simulated { file: SimulatedFile, disk: SimulatedDisk },
}

/// A medium that remembers a failed flush.
#[derive(Debug)]
pub(crate) struct RedbFile {
    pub(crate) medium: Medium,
    pub(crate) sync_failed: Arc<AtomicBool>,
}

impl Medium {
    /// After a failed flush Linux counts the pages it could not write as clean, and goes on to serve them: whoever
    /// opened the file next would take them for durable, and the next power cut would take them away.
    fn forget_pages(&self) {
        match self {
            // Nothing more can be done if the kernel does not want to.
            Self::File(file) => drop(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)),
            Self::Simulated { disk, .. } => disk.drop_cache(),
        }
    }
}

/// Bytes at the start of a file that redb keeps for its header, which begins with a magic number.
const HEADER_BYTES: u64 = 4_096;
const MAGIC_BYTES: usize = 9;
const CHUNK_BYTES: usize = 64 << 10;

impl RedbFile {
    /// Empties a file that was never made to the end, since the power went meanwhile: redb writes the magic number last,
    /// and refuses a file without. Such a file has nothing but zeros behind its header, so no data can be meant.
    pub(crate) fn discard_unmade(&self) -> io::Result<()> {
        let len = self.len()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut is_zero = |start: u64, bytes: usize| {
            self.read(start, &mut chunk[..bytes])?;
            Ok::<_, io::Error>(chunk[..bytes].iter().all(|byte| *byte == 0))
        };
        let magic_bytes = MAGIC_BYTES.min(len as usize);
        if len == 0 || !is_zero(0, magic_bytes)? {
            return Ok(());
        }
        let mut at = HEADER_BYTES;
        while at < len {
            let bytes = CHUNK_BYTES.min((len - at) as usize);
            if !is_zero(at, bytes)? {
                return Ok(());
            }
            at += bytes as u64;
        }
        tracing::warn!(bytes = len, "the store's file was never made to the end; it is made anew");
        self.set_len(0)
    }
}

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        match &self.medium {
            Medium::File(file) => file.metadata().map(|metadata| metadata.len()),
            Medium::Simulated { file, .. } => file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.medium {
            Medium::File(file) => file.read_exact_at(out, offset),
            Medium::Simulated { file, .. } => file.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.medium {
            Medium::File(file) => file.set_len(len),
            Medium::Simulated { file, .. } => file.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = match &self.medium {
            Medium::File(file) => file.sync_data(),
            Medium::Simulated { file, .. } => file.sync(),
        };
        if result.is_err() {
            self.sync_failed.store(true, Ordering::SeqCst);
            self.medium.forget_pages();
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &self.medium {
            Medium::File(file) => file.write_all_at(data, offset),
            Medium::Simulated { file, .. } => file.write(offset, data),
        }
    }
}
