//! The image store on disk.
//!
//! ```text
//! index.json          what is here; replaced in one step
//! lock                held by whoever changes something, in whichever process
//! layers/<hex>/       one unpacked layer, by the digest of its uncompressed archive
//! layers/<hex>.size   bytes of its files
//! new/                work in progress; emptied by the next writer after a crash
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::archive::{Archive, decompressed};
use crate::layer::{self, LayerLimits};
use crate::name::{normal, parse};
use crate::pull::Registry;
use crate::record::{Index, Record, hex_of, read_config};
use crate::transfer::{self, Meter, Metered, Stage, Transfer};
use crate::{Image, ImageError, Images, RegistryAuth};

/// The image store of one node. Several processes may use one folder at a time.
#[derive(Clone, Debug)]
pub struct DiskImages {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    folder: PathBuf,
    limits: LayerLimits,
    /// The list as last read, with the file's identity then.
    known: Mutex<(Option<FileIdentity>, Arc<Index>)>,
    registry: Registry,
}

/// Inode, length and time: a replaced file has another.
type FileIdentity = (u64, u64, i64, i64);

fn disk(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let doing = format!("{doing} {}", path.display());
    move |source| ImageError::Disk { doing, source }
}

/// A layer's archive as it is stored, with its length in bytes.
pub(crate) struct Packed {
    pub(crate) reader: Box<dyn Read + Send>,
    pub(crate) bytes: u64,
}

/// Layer contents that are on their way in: opened when the layer is not here yet.
pub(crate) type OpenLayer<'a> = dyn FnMut(usize) -> Result<Packed, ImageError> + 'a;

impl DiskImages {
    /// Opens the store, making the folder if it is missing; reads nothing else yet.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, ImageError> {
        for path in [folder.to_path_buf(), folder.join("layers"), folder.join("new")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(disk("create", &path))?;
        }
        let shared = Shared {
            folder: folder.to_path_buf(),
            limits: LayerLimits::default(),
            known: Mutex::default(),
            registry: Registry::new(folder),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Imports every image of an archive: docker-archive or OCI layout, packed, compressed or as a folder.
    ///
    /// # Errors
    /// If the archive is damaged or hostile, or the disk refuses. Images before the bad one are here then.
    pub async fn import(&self, archive: &Path) -> Result<Vec<Image>, ImageError> {
        let (shared, archive) = (Arc::clone(&self.shared), archive.to_path_buf());
        blocking(move || shared.import(&archive)).await
    }

    /// What is being imported or pulled into this store now, by whichever process, by name.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn transfers(&self) -> Result<Vec<Transfer>, ImageError> {
        let new = self.shared.folder.join("new");
        let entries = fs::read_dir(&new).map_err(disk("read", &new))?;
        let mut found: Vec<_> = entries
            .flatten()
            .filter_map(|entry| transfer::read(&entry.path()))
            .filter(|transfer| Path::new("/proc").join(transfer.pid.to_string()).exists())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Removes a name; the image goes with its last name, and its layers with the last image that has them.
    ///
    /// # Errors
    /// [`ImageError::NotPresent`] if there is no such name.
    pub async fn remove(&self, name: &str) -> Result<(), ImageError> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        blocking(move || shared.remove(&name)).await
    }
}

/// Runs disk work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ImageError::Disk { doing: "work on images".to_owned(), source: std::io::Error::other(error) })
    })
}

#[async_trait]
impl Images for DiskImages {
    async fn find(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let key = if hex_of(name).is_some() { name.to_owned() } else { normal(&parse(name)?) };
        let index = self.shared.index()?;
        Ok(index.find(&key).map(|(id, record)| record.image(id, &self.shared.layers())))
    }

    async fn pull(&self, name: &str, auths: &BTreeMap<String, RegistryAuth>) -> Result<Image, ImageError> {
        self.shared.registry.pull(&self.shared, name, auths).await
    }

    async fn list(&self) -> Result<Vec<Image>, ImageError> {
        let index = self.shared.index()?;
        Ok(index.images.iter().map(|(id, record)| record.image(id, &self.shared.layers())).collect())
    }
}

impl Shared {
    fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// The list as it is now; read again only if another process, or this one, has replaced it.
    fn index(&self) -> Result<Arc<Index>, ImageError> {
        let path = self.folder.join("index.json");
        let identity = match fs::metadata(&path) {
            Ok(m) => Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk("read", &path)(error)),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != identity || identity.is_none() {
            let index = match identity {
                None => Index::default(),
                Some(_) => {
                    let bytes = fs::read(&path).map_err(disk("read", &path))?;
                    serde_json::from_slice(&bytes).map_err(|e| ImageError::Damaged {
                        what: path.display().to_string(),
                        why: format!("{e}; move the file away and import the images again"),
                    })?
                }
            };
            *known = (identity, Arc::new(index));
        }
        Ok(Arc::clone(&known.1))
    }

    /// Changes the list under the lock, and puts the new one on disk in one step.
    fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let path = self.folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(disk("open", &path))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| disk("lock", &path)(e.into()))?;
        let mut index = (*self.index()?).clone();
        let result = change(&mut index)?;
        let (path, unfinished) = (self.folder.join("index.json"), self.folder.join("index.json.new"));
        let bytes = serde_json::to_vec(&index).map_err(|e| disk("encode", &path)(e.into()))?;
        let write = || -> std::io::Result<()> {
            fs::write(&unfinished, bytes)?;
            File::open(&unfinished)?.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(disk("write", &path))?;
        Ok(result)
    }

    fn import(&self, path: &Path) -> Result<Vec<Image>, ImageError> {
        let scratch = self.scratch()?;
        let mut meter = Meter::new(scratch.path(), &path.display().to_string());
        let archive = Archive::open(path, scratch.path(), &mut meter)?;
        let mut imported = Vec::new();
        for archived in archive.images(path)? {
            let config = archive.document(&archived.config)?;
            let mut open = |n: usize| {
                let name = archived.layers.get(n).ok_or_else(|| ImageError::Damaged {
                    what: path.display().to_string(),
                    why: format!("{} layers, but the configuration has more", archived.layers.len()),
                })?;
                archive.reader(name)
            };
            imported.push(self.add(&config, archived.names.clone(), None, &mut meter, &mut open)?);
        }
        Ok(imported)
    }

    /// Makes an image: unpacks the layers that are not here, then lists it.
    pub(crate) fn add(
        &self,
        config: &[u8],
        names: Vec<String>,
        repo_digest: Option<String>,
        meter: &mut Meter,
        open: &mut OpenLayer<'_>,
    ) -> Result<Image, ImageError> {
        let id = format!("sha256:{:x}", Sha256::digest(config));
        let (run, layers) = read_config(config, names.first().map_or(id.as_str(), String::as_str))?;
        meter.name(names.first().map_or(id.as_str(), String::as_str), layers.len());
        let mut size_bytes = 0;
        for (n, digest) in layers.iter().enumerate() {
            let begin = |meter: &mut Meter| {
                let packed = open(n)?;
                meter.begin(Stage::Unpack, n, packed.bytes);
                Ok(packed.reader)
            };
            size_bytes += self.unpack(digest, meter, begin)?;
        }
        let record = Record { names, repo_digest, layers, size_bytes, config: run };
        self.change(|index| {
            index.add(&id, record);
            match index.images.get(&id) {
                Some(record) => Ok(record.image(&id, &self.layers())),
                None => Err(ImageError::NotPresent { name: id.clone() }),
            }
        })
    }

    /// True if the layer is here.
    pub(crate) fn has_layer(&self, digest: &str) -> bool {
        hex_of(digest).is_some_and(|hex| self.layers().join(hex).is_dir())
    }

    /// Unpacks a layer unless it is here; returns its bytes. The archive's digest is checked before it gets its name.
    fn unpack(
        &self,
        digest: &str,
        meter: &mut Meter,
        open: impl FnOnce(&mut Meter) -> Result<Box<dyn Read + Send>, ImageError>,
    ) -> Result<u64, ImageError> {
        let hex = hex_of(digest).unwrap_or_default();
        let (home, size_path) = (self.layers().join(hex), self.layers().join(format!("{hex}.size")));
        if home.is_dir() {
            let size = fs::read_to_string(&size_path).ok().and_then(|t| t.parse().ok());
            return Ok(size.unwrap_or(0));
        }
        let scratch = self.scratch()?;
        let root = scratch.path().join("root");
        fs::DirBuilder::new().mode(0o755).create(&root).map_err(disk("create", &root))?;
        let inner = open(meter)?;
        let plain = decompressed(Metered { inner, meter }).map_err(disk("read the layer", Path::new(digest)))?;
        let mut hashing = Hashing { inner: plain, digest: Sha256::new() };
        let bytes = layer::unpack(&mut hashing, &root, self.limits)?;
        // What stands behind the archive's end belongs to its digest too.
        std::io::copy(&mut hashing, &mut std::io::sink()).map_err(disk("read the layer", Path::new(digest)))?;
        let found = format!("sha256:{:x}", hashing.digest.finalize());
        if found != digest {
            return Err(ImageError::Damaged { what: format!("layer {digest}"), why: format!("its digest is {found}") });
        }
        layer::sync(&root)?;
        fs::write(&size_path, bytes.to_string()).map_err(disk("write", &size_path))?;
        match fs::rename(&root, &home) {
            // Another process was faster; its layer is the same.
            Err(_) if home.is_dir() => Ok(bytes),
            renamed => renamed.map(|()| bytes).map_err(disk("create", &home)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ImageError> {
        let key = if hex_of(name).is_some() { name.to_owned() } else { normal(&parse(name)?) };
        self.change(|index| {
            let Some((id, _)) = index.find(&key) else {
                return Err(ImageError::NotPresent { name: name.to_owned() });
            };
            let id = id.clone();
            if let Some(record) = index.images.get_mut(&id) {
                record.names.retain(|n| *n != key);
                if record.names.is_empty() || key == id {
                    index.images.remove(&id);
                }
            }
            let used: std::collections::BTreeSet<&str> =
                index.images.values().flat_map(|r| &r.layers).filter_map(|l| hex_of(l)).collect();
            for entry in fs::read_dir(self.layers()).map_err(disk("read", &self.layers()))?.flatten() {
                let file_name = entry.file_name().to_string_lossy().into_owned();
                if !used.contains(file_name.trim_end_matches(".size")) {
                    let path = entry.path();
                    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.map_err(disk("remove", &path))?;
                }
            }
            Ok(())
        })
    }

    /// A folder for work in progress, removed when dropped.
    pub(crate) fn scratch(&self) -> Result<Scratch, ImageError> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let new = self.folder.join("new");
        sweep(&new);
        let path = new.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(disk("create", &path))?;
        Ok(Scratch(path))
    }
}

/// Removes what processes that are gone left behind.
fn sweep(new: &Path) {
    for entry in fs::read_dir(new).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A folder that goes when it is no longer needed.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Hashes what is read through it.
pub(crate) struct Hashing<R> {
    pub(crate) inner: R,
    pub(crate) digest: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.digest.update(&buffer[..n]);
        Ok(n)
    }
}
