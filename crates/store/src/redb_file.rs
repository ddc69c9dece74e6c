//! What redb reads and writes: a file, or its simulated twin.
//!
//! In place of redb's own file, because of two things the engine must know or do: whether a *flush* failed (then
//! nothing can be trusted) or only a write (then the commit was not begun on disk), and that pages which a failed flush
//! left behind are never read again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::StorageBackend;
use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;

use crate::SimulatedDisk;
use crate::simulated_disk::SimulatedFile;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Medium {
    File(FilledFile),
    Simulated { file: SimulatedFile, disk: SimulatedDisk },
}

/// A file that is filled with zeros a little further than it is written.
///
/// redb lengthens its file at a stroke. A flush of bytes that go into such a hole makes the file system write down where
/// they are, which takes twice as long as a flush of bytes over others (240 and 110 µs here).
#[derive(Debug)]
pub(crate) struct FilledFile {
    file: File,
    /// Up to here the file has no hole; beyond it, nothing but holes.
    filled: AtomicU64,
}

impl FilledFile {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        // Zeros must never go over data: they begin behind the last of it.
        let filled = match rustix::fs::seek(&file, SeekFrom::Hole(0)) {
            Ok(hole) if rustix::fs::seek(&file, SeekFrom::Data(hole)) == Err(Errno::NXIO) => hole,
            Ok(_) | Err(_) => len,
        };
        Ok(Self { file, filled: AtomicU64::new(filled) })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        // One writer at a time: redb's one transaction.
        let filled = self.filled.load(Ordering::Acquire);
        if end > filled {
            let to = end.next_multiple_of(FILL_BYTES).min(self.file.metadata()?.len()).max(end);
            self.fill(filled, to)?;
            self.filled.store(to, Ordering::Release);
        }
        self.file.write_all_at(data, offset)
    }

    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; CHUNK_BYTES];
        let mut at = from;
        while at < to {
            let bytes = CHUNK_BYTES.min((to - at) as usize);
            self.file.write_all_at(&zeros[..bytes], at)?;
            at += bytes as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.filled.fetch_min(len, Ordering::AcqRel);
        Ok(())
    }
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
            Self::File(FilledFile { file, .. }) => drop(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)),
            Self::Simulated { disk, .. } => disk.drop_cache(),
        }
    }
}

/// Bytes at the start of a file that redb keeps for its header, which begins with a magic number.
const HEADER_BYTES: u64 = 4_096;
const MAGIC_BYTES: usize = 9;
const CHUNK_BYTES: usize = 64 << 10;
/// The file is filled in steps of so many bytes.
const FILL_BYTES: u64 = 1 << 20;

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
            Medium::File(FilledFile { file, .. }) => file.metadata().map(|metadata| metadata.len()),
            Medium::Simulated { file, .. } => file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.medium {
            Medium::File(FilledFile { file, .. }) => file.read_exact_at(out, offset),
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
            Medium::File(FilledFile { file, .. }) => file.sync_data(),
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
            Medium::File(file) => file.write(offset, data),
            Medium::Simulated { file, .. } => file.write(offset, data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = FILL_BYTES;

    fn first_hole(file: &File) -> u64 {
        rustix::fs::seek(file, SeekFrom::Hole(0)).unwrap()
    }

    #[test]
    fn a_file_is_filled_ahead_and_again_after_it_was_opened_anew() {
        let file = tempfile::tempfile().unwrap();
        let filled = FilledFile::new(file.try_clone().unwrap()).unwrap();
        filled.set_len(8 * MIB).unwrap();
        filled.write(0, b"first").unwrap();
        assert_eq!(first_hole(&file), MIB);
        let filled = FilledFile::new(file.try_clone().unwrap()).unwrap();
        filled.write(MIB + 1, b"second").unwrap();
        assert_eq!(first_hole(&file), 2 * MIB);
        let mut found = [0; 5];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"first");
    }

    #[test]
    fn zeros_never_go_over_data_that_lies_behind_a_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * MIB).unwrap();
        file.write_all_at(b"there", 3 * MIB).unwrap();
        let filled = FilledFile::new(file.try_clone().unwrap()).unwrap();
        filled.write(0, b"first").unwrap();
        filled.write(4 * MIB, b"second").unwrap();
        let mut found = [0; 5];
        file.read_exact_at(&mut found, 3 * MIB).unwrap();
        assert_eq!(&found, b"there");
    }
}
