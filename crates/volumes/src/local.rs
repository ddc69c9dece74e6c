//! Volumes on the machine's own file system.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use meta::Uid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{
    BindRequest, FileSet, FsGroup, FsGroupPolicy, HostPathKind, Medium, Origin, PodVolumes, SizeEnforcement,
    VolumeError, VolumeSource, Volumes, area, atomic, tree,
};

/// Volumes under a data folder.
///
/// `pods/<uid>/volumes/<name>` is the volume or a symbolic link to it; confidential files lie in `memory/<uid>/<name>`
/// on one tmpfs; bytes of persistent volumes in `volumes/<pv name>`. Containers never see those folders themselves, so
/// their path steps cannot be swapped.
#[derive(Clone, Debug)]
pub struct LocalVolumes {
    folders: Arc<Folders>,
}

#[derive(Debug)]
struct Folders {
    pods: PathBuf,
    memory: PathBuf,
    data: PathBuf,
    mount_name: String,
    /// Held while the folder of a persistent volume is made.
    making: Mutex<()>,
}

impl LocalVolumes {
    /// Opens the volumes of a cluster: makes the folders and, once, mounts the area in memory. Mounts carry the
    /// cluster's id as their source.
    ///
    /// # Errors
    /// If a folder cannot be made or the mount is refused.
    pub fn open(data_dir: &Path, cluster_id: &str) -> Result<Self, VolumeError> {
        let folders = Folders {
            pods: data_dir.join("pods"),
            memory: data_dir.join("memory"),
            data: data_dir.join("volumes"),
            mount_name: format!("roadstead-{cluster_id}"),
            making: Mutex::default(),
        };
        for (path, mode) in [(&folders.pods, 0o755), (&folders.memory, 0o700), (&folders.data, 0o755)] {
            make_folders(path, mode)?;
        }
        folders.mount_memory_area()?;
        Ok(Self { folders: Arc::new(folders) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folders) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let folders = self.folders.clone();
        match tokio::task::spawn_blocking(move || work(&folders)).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(VolumeError::Io {
                doing: "work on volumes".to_owned(),
                source: std::io::Error::other("the process is stopping"),
            }),
        }
    }
}

#[async_trait]
impl Volumes for LocalVolumes {
    async fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError> {
        let request = request.clone();
        self.blocking(move |folders| folders.set_up(&request)).await
    }

    async fn update_files(
        &self,
        pod: &Uid,
        volume: &str,
        files: &FileSet,
        group: Option<FsGroup>,
    ) -> Result<(), VolumeError> {
        let (pod, volume, files) = (pod.clone(), volume.to_owned(), files.clone());
        self.blocking(move |folders| folders.write_files(&pod, &volume, &files, group)).await
    }

    async fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError> {
        let request = request.clone();
        self.blocking(move |folders| folders.bind_source(&request)).await
    }

    async fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError> {
        let pod = pod.clone();
        self.blocking(move |folders| folders.tear_down(&pod)).await
    }

    async fn pods(&self) -> Result<Vec<Uid>, VolumeError> {
        self.blocking(|folders| {
            let mut found = Vec::new();
            for folder in [&folders.pods, &folders.memory] {
                let doing = || format!("list {}", folder.display());
                for entry in std::fs::read_dir(folder).map_err(|source| VolumeError::Io { doing: doing(), source })? {
                    let entry = entry.map_err(|source| VolumeError::Io { doing: doing(), source })?;
                    found.extend(entry.file_name().into_string().ok().map(Uid));
                }
            }
            found.sort();
            found.dedup();
            Ok(found)
        })
        .await
    }

    async fn close(&self) -> Result<(), VolumeError> {
        self.blocking(|folders| {
            area::unmount_below(&folders.pods)?;
            area::unmount_below(&folders.memory)
        })
        .await
    }

    async fn delete_data(&self, volume_name: &str) -> Result<(), VolumeError> {
        let name = volume_name.to_owned();
        self.blocking(move |folders| {
            let path = folders.data.join(&name);
            if !tree::is_plain_relative(&name) || name.contains('/') {
                return Err(VolumeError::NotOurs { path });
            }
            host_files::remove_tree(&path).map_err(VolumeError::io(format!("delete {}", path.display())))
        })
        .await
    }

    fn data_path(&self, volume_name: &str) -> PathBuf {
        self.folders.data.join(volume_name)
    }

    fn size_enforcement(&self) -> SizeEnforcement {
        SizeEnforcement::NotEnforced("volumes are plain folders of the data folder's file system")
    }
}

impl Folders {
    fn mount_memory_area(&self) -> Result<(), VolumeError> {
        if area::is_memory_mount(&self.memory) {
            return Ok(());
        }
        area::mount_memory(&self.mount_name, &self.memory, None, 0o711)
    }

    fn volume(&self, pod: &Uid, name: &str) -> PathBuf {
        self.pods.join(&pod.0).join("volumes").join(name)
    }

    fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError> {
        make_folders(&self.pods.join(&request.pod.0).join("volumes"), 0o755)?;
        for (name, source) in &request.volumes {
            let done = self.set_up_one(&request.pod, name, source, request.fs_group);
            done.map_err(VolumeError::of_volume(name))?;
        }
        Ok(())
    }

    fn set_up_one(
        &self,
        pod: &Uid,
        name: &str,
        source: &VolumeSource,
        group: Option<FsGroup>,
    ) -> Result<(), VolumeError> {
        match source {
            VolumeSource::EmptyDir { medium, size_limit_bytes } => {
                let path = self.volume(pod, name);
                make_folder(&path, 0o777)?;
                if *medium == Medium::Memory && !area::is_memory_mount(&path) {
                    area::mount_memory(&self.mount_name, &path, *size_limit_bytes, 0o1777)?;
                }
                // It begins empty, so its root is all there is to give; a kill before that is made good by the next try.
                own(&path, group.map(|group| FsGroup { policy: FsGroupPolicy::OnRootMismatch, ..group }))
            }
            VolumeSource::Files(files) => self.write_files(pod, name, files, group),
            VolumeSource::Local { path, origin } => {
                self.local_folder(path, *origin)?;
                own(path, group)?;
                self.point_at(pod, name, path)
            }
            VolumeSource::HostPath { path, kind } => {
                check_host_path(path, *kind)?;
                self.point_at(pod, name, path)
            }
        }
    }

    /// Makes sure that the folder of a persistent volume is there: by making it only if no pod has ever used it.
    fn local_folder(&self, path: &Path, origin: Origin) -> Result<(), VolumeError> {
        let is_there = path.is_dir();
        match origin {
            Origin::Foreign if is_there => return Ok(()),
            Origin::Foreign => return Err(VolumeError::LocalPathMissing { path: path.to_path_buf() }),
            Origin::Used | Origin::Unused if path.parent() != Some(self.data.as_path()) => {
                return Err(VolumeError::NotOurs { path: path.to_path_buf() });
            }
            Origin::Used if is_there => return Ok(()),
            Origin::Used => return Err(VolumeError::DataMissing { path: path.to_path_buf() }),
            Origin::Unused => {
                // One at a time: a second folder of the name must not take the place of one that a pod has opened.
                let _only_one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
                make_folder(path, 0o777)?;
            }
        }
        // Made durable here, also if it was made before a kill: the volume counts as used from now on.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.data, flags, Mode::empty());
        let doing = format!("make {} durable", path.display());
        folder.and_then(|folder| rustix::fs::fsync(&folder)).map_err(VolumeError::io(doing))
    }

    fn write_files(&self, pod: &Uid, name: &str, files: &FileSet, group: Option<FsGroup>) -> Result<(), VolumeError> {
        let path = if files.confidential {
            self.mount_memory_area()?;
            let area = self.memory.join(&pod.0);
            make_folder(&area, 0o755)?;
            area.join(name)
        } else {
            self.volume(pod, name)
        };
        make_folder(&path, 0o755)?;
        if let Some(group) = group {
            let gid = Some(rustix::fs::Gid::from_raw(group.gid));
            rustix::fs::chown(&path, None, gid).map_err(VolumeError::io(format!("own {}", path.display())))?;
        }
        atomic::write(&path, files, group, &stamp())?;
        if files.confidential { self.point_at(pod, name, &path) } else { Ok(()) }
    }

    /// Makes the volume a symbolic link to where its bytes are.
    fn point_at(&self, pod: &Uid, name: &str, target: &Path) -> Result<(), VolumeError> {
        let link = self.volume(pod, name);
        if std::fs::read_link(&link).is_ok_and(|old| old == target) {
            return Ok(());
        }
        rustix::fs::symlink(target, &link).map_err(VolumeError::io(format!("link {}", link.display())))
    }

    fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError> {
        let volume = self.volume(&request.pod, &request.volume);
        let root = match std::fs::symlink_metadata(&volume) {
            Ok(found) if found.is_symlink() => std::fs::read_link(&volume)
                .map_err(|source| VolumeError::Io { doing: format!("read {}", volume.display()), source })?,
            Ok(_) => volume,
            Err(_) => {
                return Err(VolumeError::NotSetUp { pod: request.pod.clone(), volume: request.volume.clone() });
            }
        };
        if !request.sub_path.is_empty() {
            Self::make_sub_path(request, &root)?;
        }
        Ok(root)
    }

    /// Makes the folder that a container wants to see instead of the volume's root, where there is nothing yet.
    fn make_sub_path(request: &BindRequest, root: &Path) -> Result<(), VolumeError> {
        let escapes =
            || VolumeError::SubPathEscapes { volume: request.volume.clone(), sub_path: request.sub_path.clone() };
        if !tree::is_plain_relative(&request.sub_path) {
            return Err(escapes());
        }
        let opened = tree::open_root(root)
            .and_then(|root| tree::make_in_root(root.as_fd(), &request.sub_path, request.fs_group));
        match opened {
            Ok(_) => Ok(()),
            Err(Errno::NOENT | Errno::LOOP | Errno::XDEV) => Err(escapes()),
            Err(errno) => {
                let doing = format!("open subPath {:?} of volume {:?}", request.sub_path, request.volume);
                Err(VolumeError::io(doing)(errno))
            }
        }
    }

    fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError> {
        if pod.0.is_empty() || !tree::is_plain_relative(&pod.0) {
            return Err(VolumeError::NotOurs { path: self.pods.join(&pod.0) });
        }
        let own = self.pods.join(&pod.0);
        area::unmount_below(&own)?;
        for path in [self.memory.join(&pod.0), own] {
            host_files::remove_tree(&path).map_err(VolumeError::io(format!("remove {}", path.display())))?;
        }
        Ok(())
    }
}

/// Names one content folder of a volume of files; unique as long as the clock does not stand still.
fn stamp() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}_{:09}", now.as_secs(), now.subsec_nanos())
}

/// Gives a volume to the pod's group, as its policy says. What a kill interrupts is done again: the root comes last.
fn own(path: &Path, group: Option<FsGroup>) -> Result<(), VolumeError> {
    let Some(group) = group else { return Ok(()) };
    let doing = || format!("give {} to group {}", path.display(), group.gid);
    let root = tree::open_root(path).map_err(VolumeError::io(doing()))?;
    if group.policy == FsGroupPolicy::OnRootMismatch
        && tree::is_owned(root.as_fd(), group.gid).map_err(VolumeError::io(doing()))?
    {
        return Ok(());
    }
    match tree::own_tree(root.as_fd(), group.gid) {
        Err(Errno::NAMETOOLONG) => {
            Err(VolumeError::TooDeep { path: path.to_path_buf(), levels_max: host_files::LEVELS_MAX })
        }
        done => done.map_err(VolumeError::io(doing())),
    }
}

/// Makes one folder with exactly this mode, unless something is there: under another name first, because a folder that
/// a kill left with the wrong mode would keep it.
fn make_folder(path: &Path, mode: u32) -> Result<(), VolumeError> {
    let doing = || format!("make folder {}", path.display());
    if std::fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.new"));
    let made = match rustix::fs::mkdir(&unfinished, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    };
    made.and_then(|()| rustix::fs::chmod(&unfinished, Mode::from_raw_mode(mode)))
        .and_then(|()| rustix::fs::rename(&unfinished, path))
        .map_err(VolumeError::io(doing()))
}

fn make_folders(path: &Path, mode: u32) -> Result<(), VolumeError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| VolumeError::Io { doing: format!("make folder {}", path.display()), source })
}

fn check_host_path(path: &Path, kind: HostPathKind) -> Result<(), VolumeError> {
    use std::os::unix::fs::FileTypeExt;
    let found = std::fs::metadata(path).ok();
    let wrong = |wanted| Err(VolumeError::HostPathType { path: path.to_path_buf(), wanted });
    let is = |test: fn(&std::fs::Metadata) -> bool| found.as_ref().is_some_and(test);
    match kind {
        HostPathKind::Any => Ok(()),
        HostPathKind::DirectoryOrCreate if found.is_none() => make_folders(path, 0o755),
        HostPathKind::DirectoryOrCreate | HostPathKind::Directory => {
            if is(std::fs::Metadata::is_dir) {
                Ok(())
            } else {
                wrong("directory")
            }
        }
        HostPathKind::FileOrCreate if found.is_none() => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))
                .map(|_| ())
                .map_err(VolumeError::io(format!("make file {}", path.display())))
        }
        HostPathKind::FileOrCreate | HostPathKind::File => {
            if is(std::fs::Metadata::is_file) {
                Ok(())
            } else {
                wrong("file")
            }
        }
        HostPathKind::Socket => {
            if is(|m| m.file_type().is_socket()) {
                Ok(())
            } else {
                wrong("socket")
            }
        }
        HostPathKind::CharDevice => {
            if is(|m| m.file_type().is_char_device()) {
                Ok(())
            } else {
                wrong("character device")
            }
        }
        HostPathKind::BlockDevice => {
            if is(|m| m.file_type().is_block_device()) {
                Ok(())
            } else {
                wrong("block device")
            }
        }
    }
}
