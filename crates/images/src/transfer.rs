//! How far work on an image has come, told to whoever asks in whichever process.
//!
//! Whoever works keeps a small file in its scratch folder up to date; whoever shows it reads these files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often the file is written.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// The file's name in the scratch folder.
const FILE: &str = "transfer.json";

/// What is being done with an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// A compressed archive is read.
    Read,
    /// A layer comes from a registry.
    Pull,
    /// A layer is unpacked.
    Unpack,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Pull => "pulls",
            Self::Unpack => "unpacks",
        })
    }
}

/// An image on its way to this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// The process that works.
    pub pid: u32,
    /// Normal name of the image, or the archive's path as long as no image's name is known.
    pub name: String,
    /// What is being done.
    pub stage: Stage,
    /// Number of the layer, from 1.
    pub layer: usize,
    /// How many layers there are; 0 if that is not known yet.
    pub layers: usize,
    /// Bytes of this layer that are done, as they are stored or sent.
    pub bytes_done: u64,
    /// Bytes of this layer; 0 if that is not known.
    pub bytes: u64,
}

/// Keeps one transfer's file up to date.
#[derive(Debug)]
pub(crate) struct Meter {
    file: PathBuf,
    transfer: Transfer,
    written: Option<Instant>,
}

impl Meter {
    /// A meter whose file lies in a scratch folder.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let transfer = Transfer {
            pid: std::process::id(),
            name: name.to_owned(),
            stage: Stage::Read,
            layer: 0,
            layers: 0,
            bytes_done: 0,
            bytes: 0,
        };
        Self { file: folder.join(FILE), transfer, written: None }
    }

    /// The image's name is known by now, and how many layers it has.
    pub(crate) fn name(&mut self, name: &str, layers: usize) {
        name.clone_into(&mut self.transfer.name);
        self.transfer.layers = layers;
    }

    /// Something with so many bytes begins; `index` is the layer's, from 0.
    pub(crate) fn begin(&mut self, stage: Stage, index: usize, bytes: u64) {
        self.transfer.stage = stage;
        self.transfer.layer = index + 1;
        self.transfer.bytes_done = 0;
        self.transfer.bytes = bytes;
        self.write();
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.transfer.bytes_done += bytes;
        if self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
            self.write();
        }
    }

    /// Nobody depends on the file: a disk that refuses it refuses the work itself soon enough.
    fn write(&mut self) {
        self.written = Some(Instant::now());
        let unfinished = self.file.with_extension("new");
        let text = serde_json::to_vec(&self.transfer).unwrap_or_default();
        let _ = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &self.file));
    }
}

/// The transfer that goes on in a scratch folder.
pub(crate) fn read(folder: &Path) -> Option<Transfer> {
    serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
}

/// Counts what is read through it.
pub(crate) struct Metered<'m, R> {
    pub(crate) inner: R,
    pub(crate) meter: &'m mut Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.meter.advance(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_sees_what_begins_and_how_far_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), None);
        let mut meter = Meter::new(folder.path(), "a.tar");
        meter.name("docker.io/library/a:1", 2);
        meter.begin(Stage::Unpack, 1, 10);
        let mut bytes = Vec::new();
        Metered { inner: &b"0123"[..], meter: &mut meter }.read_to_end(&mut bytes).expect("read");
        meter.write();
        let seen = read(folder.path()).expect("a transfer");
        assert_eq!(
            (seen.name.as_str(), seen.stage, seen.layer, seen.layers),
            ("docker.io/library/a:1", Stage::Unpack, 2, 2)
        );
        assert_eq!((seen.bytes_done, seen.bytes, seen.pid), (4, 10, std::process::id()));
    }
}
