//! Reading and writing the files of the PKI folder, and what can go wrong with them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the PKI cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A folder or file could not be made.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} does not hold a usable {what}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate could not be issued.
    #[error("issue the {what} certificate")]
    Issue {
        /// Whose certificate.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refused the certificates.
    #[error("set up TLS: {0}")]
    Tls(String),
}

/// The folder; 0700.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, PkiError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| PkiError::Write { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of a file; `None` if there is none yet.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, PkiError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PkiError::Read { path, source }),
        }
    }

    /// Writes a file whole or not at all, with the given mode, durably.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), PkiError> {
        let path = self.path(name);
        let scratch = self.path(&format!(".{name}.new"));
        let outcome = (|| {
            match fs::remove_file(&scratch) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&scratch)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&scratch, &path)?;
            File::open(&self.0)?.sync_all()
        })();
        outcome.map_err(|source| PkiError::Write { path, source })
    }
}

/// Mode of files that hold a private key.
pub(crate) const SECRET_MODE: u32 = 0o600;
/// Mode of files that anybody may read.
pub(crate) const PUBLIC_MODE: u32 = 0o644;
