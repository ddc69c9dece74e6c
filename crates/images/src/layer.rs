//! Unpacking one layer into a folder that overlayfs can stack.
//!
//! The archive is somebody else's: every path is resolved by file descriptor below the layer's own folder, and an entry
//! that would leave it is refused with its name. Whiteouts become overlayfs' own marks. Device nodes are left out: a
//! container's `/dev` is made by the runtime.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use crate::ImageError;

/// Bounds of one layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerLimits {
    /// Entries of the archive.
    pub entries_max: u64,
    /// Bytes of all files, unpacked.
    pub bytes_max: u64,
    /// Bytes of one path.
    pub path_bytes_max: usize,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self { entries_max: 2_000_000, bytes_max: 64 << 30, path_bytes_max: 4095 }
    }
}

/// File name prefix by which a layer says that a lower file is gone.
const WHITEOUT: &str = ".wh.";
/// File name by which a layer says that everything lower in this folder is gone.
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks the archive into `folder`, which must be empty. Returns the bytes of all files.
///
/// # Errors
/// [`ImageError::Damaged`] for an archive that is broken, hostile or over a limit; [`ImageError::Disk`] if the disk
/// refuses. The folder is half filled then and must be thrown away.
pub fn unpack(archive: impl Read, folder: &Path, limits: LayerLimits) -> Result<u64, ImageError> {
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, open, Mode::empty()).map_err(|e| disk("open", folder, e))?;
    let mut unpacking = Unpacking { root, limits, entries: 0, bytes: 0, folders: Vec::new() };
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(|e| damaged(Path::new(""), e.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|e| damaged(Path::new(""), e.to_string()))?;
        unpacking.entry(&mut entry)?;
    }
    unpacking.finish()
}

struct Unpacking {
    root: OwnedFd,
    limits: LayerLimits,
    entries: u64,
    bytes: u64,
    /// Times of folders are set at the end: filling them changes them.
    folders: Vec<(PathBuf, i64)>,
}

/// What every entry carries.
struct Attributes {
    mode: Mode,
    owner: Uid,
    group: Gid,
    modified_secs: i64,
}

fn damaged(path: &Path, why: impl Into<String>) -> ImageError {
    ImageError::Damaged { what: format!("layer entry {:?}", path.display().to_string()), why: why.into() }
}

fn disk(doing: &str, path: &Path, error: impl Into<std::io::Error>) -> ImageError {
    ImageError::Disk { doing: format!("{doing} {}", path.display()), source: error.into() }
}

/// The path below the root, without `.` and leading `/`; an entry that climbs is refused.
fn below(path: &Path, limits: &LayerLimits) -> Result<PathBuf, ImageError> {
    if path.as_os_str().len() > limits.path_bytes_max {
        return Err(damaged(Path::new("…"), format!("a path longer than {} bytes", limits.path_bytes_max)));
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(damaged(path, "it would leave the layer's root folder"));
            }
        }
    }
    Ok(clean)
}

impl Unpacking {
    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), ImageError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(damaged(Path::new(""), format!("more than {} entries", self.limits.entries_max)));
        }
        let written = entry.path().map_err(|e| damaged(Path::new(""), e.to_string()))?.into_owned();
        let path = below(&written, &self.limits)?;
        let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else {
            if path.as_os_str().is_empty() {
                return self.root_attributes(entry);
            }
            return Err(damaged(&path, "its name is not UTF-8"));
        };
        let parent = self.folder(path.parent().unwrap_or(Path::new("")))?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&parent, &path, &name, hidden);
        }
        self.make(entry, &parent, &path, &name)
    }

    fn root_attributes<R: Read>(&mut self, entry: &tar::Entry<'_, R>) -> Result<(), ImageError> {
        let attributes = attributes(entry, Path::new("/"))?;
        let root =
            rustix::fs::openat(&self.root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| disk("open", Path::new("/"), e))?;
        rustix::fs::fchown(&root, Some(attributes.owner), Some(attributes.group))
            .and_then(|()| rustix::fs::fchmod(&root, attributes.mode))
            .map_err(|e| disk("set the owner of", Path::new("/"), e))
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        parent: &OwnedFd,
        path: &Path,
        name: &str,
    ) -> Result<(), ImageError> {
        let attributes = attributes(entry, path)?;
        match entry.header().entry_type() {
            EntryType::Directory => self.make_folder(parent, path, name, &attributes),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.make_file(entry, parent, path, name, &attributes)
            }
            EntryType::Symlink => {
                let target = link_target(entry, path)?;
                replace(parent, path, name)?;
                rustix::fs::symlinkat(&*target, parent, name).map_err(|e| disk("link", path, e))?;
                own(parent, path, name, &attributes)?;
                times(parent, path, name, attributes.modified_secs)
            }
            EntryType::Link => {
                let target = below(&link_target(entry, path)?, &self.limits)?;
                let Some(target_name) = target.file_name() else {
                    return Err(damaged(path, "it is a hard link to nothing"));
                };
                let source = self.folder(target.parent().unwrap_or(Path::new("")))?;
                replace(parent, path, name)?;
                match rustix::fs::linkat(&source, target_name, parent, name, AtFlags::empty()) {
                    Err(Errno::NOENT) => Err(damaged(
                        path,
                        format!("it is a hard link to {}, which the layer does not have", target.display()),
                    )),
                    linked => linked.map_err(|e| disk("link", path, e)),
                }
            }
            EntryType::Fifo => {
                replace(parent, path, name)?;
                rustix::fs::mknodat(parent, name, FileType::Fifo, attributes.mode, 0)
                    .map_err(|e| disk("make", path, e))?;
                own(parent, path, name, &attributes)
            }
            // Devices would be the host's own; global headers and unknown kinds carry no file.
            _ => Ok(()),
        }
    }

    fn make_folder(
        &mut self,
        parent: &OwnedFd,
        path: &Path,
        name: &str,
        attributes: &Attributes,
    ) -> Result<(), ImageError> {
        let is_folder = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if !is_folder {
            replace(parent, path, name)?;
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(|e| disk("make", path, e))?;
        }
        own(parent, path, name, attributes)?;
        rustix::fs::chmodat(parent, name, attributes.mode, AtFlags::empty())
            .map_err(|e| disk("set the mode of", path, e))?;
        self.folders.push((path.to_path_buf(), attributes.modified_secs));
        Ok(())
    }

    fn make_file<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        parent: &OwnedFd,
        path: &Path,
        name: &str,
        attributes: &Attributes,
    ) -> Result<(), ImageError> {
        replace(parent, path, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| disk("make", path, e))?;
        let mut file = File::from(file);
        let left = self.limits.bytes_max - self.bytes;
        let written =
            std::io::copy(&mut entry.by_ref().take(left + 1), &mut file).map_err(|e| disk("write", path, e))?;
        if written > left {
            return Err(damaged(path, format!("the layer has more than {} bytes", self.limits.bytes_max)));
        }
        self.bytes += written;
        file.flush().map_err(|e| disk("write", path, e))?;
        // Owner before mode: changing the owner clears set-user-id.
        rustix::fs::fchown(&file, Some(attributes.owner), Some(attributes.group))
            .and_then(|()| rustix::fs::fchmod(&file, attributes.mode))
            .map_err(|e| disk("set the owner of", path, e))?;
        extended_attributes(entry, &file, path)?;
        times(parent, path, name, attributes.modified_secs)
    }

    fn whiteout(&mut self, parent: &OwnedFd, path: &Path, name: &str, hidden: &str) -> Result<(), ImageError> {
        if name == OPAQUE {
            let folder =
                rustix::fs::openat(parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|e| disk("open", path, e))?;
            return rustix::fs::fsetxattr(&folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())
                .map_err(|e| disk("mark", path, e));
        }
        match hidden {
            "" | "." | ".." => Err(damaged(path, "it hides nothing that can be named")),
            // Names of the storage driver that invented whiteouts; they hide nothing.
            _ if hidden.starts_with(WHITEOUT) => Ok(()),
            _ => {
                replace(parent, path, hidden)?;
                rustix::fs::mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|e| disk("make the whiteout", path, e))
            }
        }
    }

    /// Opens a folder below the root, making what is missing; symbolic links are followed only as far as they stay below.
    fn folder(&self, path: &Path) -> Result<OwnedFd, ImageError> {
        match self.resolve(path) {
            Err(Errno::NOENT) => {}
            found => return found.map_err(|e| self.refusal(path, e)),
        }
        let parent = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(disk("make", path, error)),
        }
        self.resolve(path).map_err(|e| self.refusal(path, e))
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let strict = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), strict) {
            // An absolute link means the image's own root; a relative one that climbs out means mischief.
            Err(Errno::XDEV) if self.first_link_is_absolute(path) => {
                let rooted = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
                rustix::fs::openat2(&self.root, path, flags, Mode::empty(), rooted)
            }
            opened => opened,
        }
    }

    fn first_link_is_absolute(&self, path: &Path) -> bool {
        let mut walked = PathBuf::new();
        for component in path.components() {
            walked.push(component);
            if let Ok(target) = rustix::fs::readlinkat(&self.root, &walked, Vec::new()) {
                return target.to_bytes().starts_with(b"/");
            }
        }
        false
    }

    fn refusal(&self, path: &Path, error: Errno) -> ImageError {
        match error {
            Errno::XDEV | Errno::LOOP => {
                damaged(path, "it would leave the layer's root folder through a symbolic link")
            }
            Errno::NOTDIR | Errno::NOENT => damaged(path, "its folder is no folder"),
            other => disk("open", path, other),
        }
    }

    fn finish(self) -> Result<u64, ImageError> {
        for (path, modified_secs) in self.folders.iter().rev() {
            // A later entry may have replaced the folder.
            if let Ok(parent) = self.resolve(path.parent().unwrap_or(Path::new(""))) {
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or(".");
                let _ = times(&parent, path, name, *modified_secs);
            }
        }
        Ok(self.bytes)
    }
}

fn attributes<R: Read>(entry: &tar::Entry<'_, R>, path: &Path) -> Result<Attributes, ImageError> {
    let header = entry.header();
    let id = |value: std::io::Result<u64>, field: &[u8], what: &str| {
        // Some writers leave the field empty and mean 0.
        if field.iter().all(|b| matches!(b, 0 | b' ')) {
            return Ok(0);
        }
        let value = value.map_err(|e| damaged(path, e.to_string()))?;
        // The largest number means "leave as it is" to the kernel.
        u32::try_from(value)
            .ok()
            .filter(|v| *v != u32::MAX)
            .ok_or_else(|| damaged(path, format!("{what} {value} is out of range")))
    };
    let owner = Uid::from_raw(id(header.uid(), &header.as_old().uid, "owner")?);
    let group = Gid::from_raw(id(header.gid(), &header.as_old().gid, "group")?);
    let mode = header.mode().map_err(|e| damaged(path, e.to_string()))?;
    let modified_secs = header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0);
    Ok(Attributes { mode: Mode::from_raw_mode(mode & 0o7777), owner, group, modified_secs })
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>, path: &Path) -> Result<PathBuf, ImageError> {
    let target = entry.link_name().map_err(|e| damaged(path, e.to_string()))?;
    target.map(std::borrow::Cow::into_owned).ok_or_else(|| damaged(path, "it is a link to nothing"))
}

/// Makes room for an entry: a layer may name a path twice, and the later one counts.
fn replace(parent: &OwnedFd, path: &Path, name: &str) -> Result<(), ImageError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(disk("replace", path, error)),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(damaged(path, "it would replace a folder that has files")),
        Err(error) => Err(disk("replace", path, error)),
    }
}

fn own(parent: &OwnedFd, path: &Path, name: &str, attributes: &Attributes) -> Result<(), ImageError> {
    rustix::fs::chownat(parent, name, Some(attributes.owner), Some(attributes.group), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| disk("set the owner of", path, e))
}

fn times(parent: &OwnedFd, path: &Path, name: &str, modified_secs: i64) -> Result<(), ImageError> {
    let at = Timespec { tv_sec: modified_secs, tv_nsec: 0 };
    let both = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(parent, name, &both, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| disk("set the time of", path, e))
}

/// File capabilities and user attributes; `trusted.*` would speak to overlayfs in our name and is left out.
fn extended_attributes<R: Read>(entry: &mut tar::Entry<'_, R>, file: &File, path: &Path) -> Result<(), ImageError> {
    let Ok(Some(extensions)) = entry.pax_extensions() else {
        return Ok(());
    };
    for extension in extensions.flatten() {
        let Some(name) = extension.key().ok().and_then(|k| k.strip_prefix("SCHILY.xattr.")) else {
            continue;
        };
        if name == "security.capability" || name.starts_with("user.") {
            match rustix::fs::fsetxattr(file.as_fd(), name, extension.value_bytes(), XattrFlags::empty()) {
                // A file system without user attributes is no reason to refuse an image.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(disk("set an attribute of", path, error)),
            }
        }
    }
    Ok(())
}

/// Flushes everything below a folder to disk, before it gets its final name.
pub(crate) fn sync(folder: &Path) -> Result<(), ImageError> {
    let opened = rustix::fs::openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| disk("open", folder, e))?;
    rustix::fs::syncfs(&opened).map_err(|e| disk("flush", folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    /// Text form of an archive: one entry a line, `file PATH CONTENT`, `dir PATH`, `link PATH TARGET`, `hard PATH TARGET`.
    fn archive(text: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, path) = (words[0], words[1]);
            let extra = words.get(2).copied().unwrap_or("");
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            let (entry_type, content) = match kind {
                "file" => (EntryType::Regular, extra),
                "dir" => (EntryType::Directory, ""),
                "link" => (EntryType::Symlink, ""),
                "hard" => (EntryType::Link, ""),
                "dev" => (EntryType::Char, ""),
                other => panic!("{other}"),
            };
            if entry_type == EntryType::Directory {
                header.set_mode(0o755);
            }
            header.set_entry_type(entry_type);
            header.set_size(content.len() as u64);
            // Written by hand: the builder itself refuses what these tests are about.
            let name = header.as_old_mut();
            name.name[..path.len()].copy_from_slice(path.as_bytes());
            if matches!(kind, "link" | "hard") {
                name.linkname[..extra.len()].copy_from_slice(extra.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("append");
        }
        builder.into_inner().expect("finish")
    }

    fn unpacked(text: &str) -> (tempfile::TempDir, Result<u64, ImageError>) {
        let outer = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(outer.path().join("layer")).expect("a folder");
        let result = unpack(&archive(text)[..], &outer.path().join("layer"), LayerLimits::default());
        (outer, result)
    }

    #[test]
    fn files_folders_and_links_arrive_as_they_were() {
        let (outer, result) =
            unpacked("dir a\nfile a/b hello\nlink a/c b\nhard d a/b\nfile ./e/f/g x\nlink run /var/run\n");
        assert_eq!(result.expect("a good layer"), 6);
        let root = outer.path().join("layer");
        assert_eq!(std::fs::read_to_string(root.join("a/c")).expect("the link"), "hello");
        assert_eq!(std::fs::read_to_string(root.join("d")).expect("the hard link"), "hello");
        assert_eq!(std::fs::read_to_string(root.join("e/f/g")).expect("the file"), "x");
        let mode = std::fs::metadata(root.join("a/b")).expect("the file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }

    #[test]
    fn entries_that_would_leave_the_root_are_refused_and_nothing_is_written_outside() {
        for hostile in [
            "file ../out x",
            "file a/../../out x",
            "link up ..\nfile up/out x",
            "link up ../../..\nfile up/etc/out x",
            "dir a\nlink a/up ../..\nfile a/up/out x",
            "hard out ../../etc/passwd",
            "link up ..\nhard out up/secret",
            "file .wh... x",
            "file .wh. x",
            "file a/.wh..wh/../../x x",
        ] {
            let (outer, result) = unpacked(hostile);
            assert!(matches!(result, Err(ImageError::Damaged { .. })), "{hostile:?}: {result:?}");
            let outside: Vec<_> = std::fs::read_dir(outer.path()).expect("the folder").collect();
            assert_eq!(outside.len(), 1, "{hostile:?} wrote outside");
        }
    }

    #[test]
    fn an_absolute_link_means_the_images_own_root() {
        let (outer, result) = unpacked("dir run\nlink var /run\nfile var/out x\nlink etc /\nfile etc/hosts x\n");
        result.expect("a common layout");
        assert!(outer.path().join("layer/run/out").exists() && outer.path().join("layer/hosts").exists());
    }

    #[test]
    fn whiteouts_become_overlay_marks_and_devices_are_left_out() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: overlay marks need root");
            return;
        }
        let (outer, result) =
            unpacked("dir a\nfile a/.wh.gone x\ndir b\nfile b/.wh..wh..opq x\nfile .wh..wh.plnk x\ndev null\n");
        result.expect("a good layer");
        let root = outer.path().join("layer");
        let gone = std::fs::symlink_metadata(root.join("a/gone")).expect("the mark");
        assert!(gone.file_type().is_char_device());
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(root.join("b"), "trusted.overlay.opaque", &mut value).expect("the mark");
        assert_eq!(&value[..length], b"y");
        assert!(!root.join("null").exists() && !root.join(".wh..wh.plnk").exists());
    }

    #[test]
    fn a_layer_over_its_limits_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = LayerLimits { bytes_max: 4, ..LayerLimits::default() };
        let result = unpack(&archive("file a 12345")[..], folder.path(), limits);
        assert!(matches!(result, Err(ImageError::Damaged { .. })), "{result:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let limits = LayerLimits { entries_max: 1, ..LayerLimits::default() };
        assert!(unpack(&archive("file a 1\nfile b 2")[..], folder.path(), limits).is_err());
    }

    #[test]
    fn a_later_entry_of_the_same_path_counts() {
        let (outer, result) = unpacked("file a one\nfile a two\nlink b nowhere\nfile b three\n");
        result.expect("a good layer");
        let root = outer.path().join("layer");
        assert_eq!(std::fs::read_to_string(root.join("a")).expect("the file"), "two");
        assert_eq!(std::fs::read_to_string(root.join("b")).expect("the file"), "three");
        assert!(!root.join("nowhere").exists(), "a link is replaced, not written through");
    }
}
