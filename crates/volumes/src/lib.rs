//! The volumes of pods on this machine.
//!
//! Here live the [`Volumes`] trait, its implementation on the machine's file system ([`LocalVolumes`]), and the
//! in-memory twins ([`MemoryVolumes`], and [`VirtualVolumes`] for virtual nodes). A volume arrives here as a plain value: which files a ConfigMap becomes, or
//! where a claim's bytes lie, is decided elsewhere (`node-core`). Not here: bind mounts into containers, which the
//! runtime makes from the paths that this crate hands out. Start with [`Volumes`].
//!
//! Whatever a container can write is never walked by path: every step below a volume's root goes through a file
//! descriptor with `openat2`, without symbolic links and without leaving the mount (reliability.md 4.2).

mod area;
mod atomic;
mod local;
mod memory;
mod tree;
mod virtual_volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use meta::Uid;

pub use local::LocalVolumes;
pub use memory::MemoryVolumes;
pub use virtual_volumes::VirtualVolumes;

/// All volumes of one pod, ready to be made: nothing in here needs a further look-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodVolumes {
    /// The pod they belong to.
    pub pod: Uid,
    /// `spec.securityContext.fsGroup`, with its policy.
    pub fs_group: Option<FsGroup>,
    /// The volumes by their name in the pod.
    pub volumes: BTreeMap<String, VolumeSource>,
}

/// Group that owns a pod's writable volumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsGroup {
    /// The group id.
    pub gid: u32,
    /// When ownership is changed.
    pub policy: FsGroupPolicy,
}

/// `fsGroupChangePolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FsGroupPolicy {
    /// Each time the volume is set up.
    Always,
    /// Only when the volume's root does not have the right owner yet.
    OnRootMismatch,
}

/// What a volume is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VolumeSource {
    /// A folder that lives as long as the pod.
    EmptyDir {
        /// Disk or memory.
        medium: Medium,
        /// Most bytes it may hold; enforced in memory only.
        size_limit_bytes: Option<u64>,
    },
    /// Files whose content somebody else decides: config maps, secrets, tokens, the downward API.
    Files(FileSet),
    /// A persistent volume on this machine's disk.
    Local {
        /// Where its bytes are.
        path: PathBuf,
        /// What it means if they are not there.
        origin: Origin,
    },
    /// A path of the host.
    HostPath {
        /// The path.
        path: PathBuf,
        /// What must be there.
        kind: HostPathKind,
    },
}

/// Where the folder of a persistent volume comes from, and so what it means if it is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Our provisioner promised it and no pod has used it yet: it is made.
    Unused,
    /// Our provisioner's, and a pod has used it: its bytes are lost or not mounted, and an empty folder would hide that
    /// (S5).
    Used,
    /// An administrator's.
    Foreign,
}

/// The whole content of a volume of files.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FileSet {
    /// Content by relative path; checked by [`FileSet::check`].
    pub files: BTreeMap<String, FileContent>,
    /// Keep it in memory, never on disk: secrets and tokens.
    pub confidential: bool,
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner, if not root: a service-account token belongs to the container's user.
    pub owner: Option<u32>,
}

impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileContent({} bytes, {:o})", self.bytes.len(), self.mode)
    }
}

impl FileSet {
    /// Refuses paths that are absolute, have `..` or would hide the writer's own names.
    ///
    /// # Errors
    /// [`VolumeError::FilePath`] for the first bad path.
    pub fn check(&self) -> Result<(), VolumeError> {
        match self.files.keys().find(|path| !tree::is_plain_relative(path) || path.starts_with("..")) {
            Some(path) => Err(VolumeError::FilePath { path: path.clone() }),
            None => Ok(()),
        }
    }
}

/// Where an `emptyDir` lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// The data folder's disk.
    Disk,
    /// A file system in memory of its own.
    Memory,
}

/// `hostPath.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostPathKind {
    /// Not checked.
    Any,
    /// A folder, made (0755) if nothing is there.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, made (0644) if nothing is there.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One `volumeMounts` entry of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindRequest {
    /// The pod.
    pub pod: Uid,
    /// Name of the volume in the pod.
    pub volume: String,
    /// Path below the volume's root that the container wants to see; empty for the root. It is made if missing; the
    /// runtime resolves it once more, inside the root, when it binds.
    pub sub_path: String,
    /// Ownership for a `subPath` folder that has to be made.
    pub fs_group: Option<FsGroup>,
}

/// Whether a volume's size is a promise or a wish (D10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SizeEnforcement {
    /// Writes beyond the size fail.
    Enforced,
    /// The size is only a number; says why.
    NotEnforced(&'static str),
}

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file of a [`FileSet`] has a path that is not a plain relative path.
    #[error("{path:?} must be a relative path without '..'")]
    FilePath {
        /// The path.
        path: String,
    },
    /// A `subPath` leads out of its volume, or through a symbolic link.
    #[error("subPath {sub_path:?} of volume {volume:?} does not stay inside the volume")]
    SubPathEscapes {
        /// The volume.
        volume: String,
        /// The path as given.
        sub_path: String,
    },
    /// The volume was never set up.
    #[error("volume {volume:?} of pod {pod} is not set up")]
    NotSetUp {
        /// The pod.
        pod: Uid,
        /// The volume.
        volume: String,
    },
    /// `hostPath` finds something else than it wants.
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPathType {
        /// The path.
        path: PathBuf,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The folder of a volume that pods have used is gone.
    #[error(
        "folder {path:?} is missing, but the volume was used before: it is not made anew, for that would hide a loss"
    )]
    DataMissing {
        /// The path.
        path: PathBuf,
    },
    /// A tree is deeper than this crate walks.
    #[error("{path:?} has folders nested deeper than {levels_max} levels")]
    TooDeep {
        /// Root of the tree.
        path: PathBuf,
        /// The limit.
        levels_max: usize,
    },
    /// One of a pod's volumes could not be made.
    #[error("MountVolume.SetUp failed for volume {volume:?} ")]
    SetUp {
        /// Its name in the pod.
        volume: String,
        /// Why not.
        #[source]
        source: Box<VolumeError>,
    },
    /// The folder of an administrator's persistent volume is not there, and not ours to make.
    #[error("path {path:?} does not exist")]
    LocalPathMissing {
        /// The path.
        path: PathBuf,
    },
    /// A request to delete bytes outside of the volumes folder.
    #[error("{path} is not a volume of this cluster; nothing is deleted")]
    NotOurs {
        /// The path.
        path: PathBuf,
    },
    /// The machine refused.
    #[error("{doing}")]
    Io {
        /// What was being done, to which path.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl VolumeError {
    fn io(doing: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let doing = doing.into();
        move |errno| Self::Io { doing, source: errno.into() }
    }

    fn of_volume(name: &str) -> impl FnOnce(Self) -> Self {
        move |error| Self::SetUp { volume: name.to_owned(), source: Box::new(error) }
    }

    /// The error with its sources, in one line: what an event says.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            text.push_str(&format!(": {inner}"));
            source = inner.source();
        }
        text
    }

    /// The folder that is missing although pods have used its volume, if that is the reason.
    pub fn missing_data(&self) -> Option<&std::path::Path> {
        match self {
            Self::DataMissing { path } => Some(path),
            Self::SetUp { source, .. } => source.missing_data(),
            _ => None,
        }
    }
}

/// The volumes of one node, keyed by pod UID (D7).
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes every volume of the pod be there with its content. Repeating it changes nothing but the content of
    /// [`VolumeSource::Files`]. A folder that it makes for an [`Origin::Unused`] volume is durable when it returns.
    async fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError>;

    /// Replaces the content of a volume of files in one step; readers see all old or all new files.
    async fn update_files(
        &self,
        pod: &Uid,
        volume: &str,
        files: &FileSet,
        group: Option<FsGroup>,
    ) -> Result<(), VolumeError>;

    /// The root of the volume on the host, from which the runtime binds it (or `sub_path` below it) into a container.
    async fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError>;

    /// Removes everything of the pod except the bytes of persistent volumes and host paths. Nothing happens if there
    /// is nothing.
    async fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError>;

    /// Pods that have something here: also those that ended while nobody looked.
    async fn pods(&self) -> Result<Vec<Uid>, VolumeError>;

    /// Removes the bytes of a persistent volume that our provisioner made. The only way in which data goes (D10).
    async fn delete_data(&self, volume_name: &str) -> Result<(), VolumeError>;

    /// Unmounts what lives in memory: when the node shuts down and no process of a pod is left. It is made again by the
    /// next [`Volumes::set_up`].
    async fn close(&self) -> Result<(), VolumeError>;

    /// Where the bytes of a provisioned volume lie.
    fn data_path(&self, volume_name: &str) -> PathBuf;

    /// Whether sizes of persistent volumes are enforced here.
    fn size_enforcement(&self) -> SizeEnforcement;
}
