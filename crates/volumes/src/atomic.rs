//! Writing a volume of files so that a reader sees all old or all new content.
//!
//! The layout is upstream's, because applications watch it: the content is in a folder with a time-like name, `..data`
//! is a symbolic link to it, and each user-visible name is a symbolic link through `..data`. Replacing `..data` by
//! rename is the one step in which the content changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::{FileContent, FileSet, FsGroup, VolumeError};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Brings the folder to exactly this content; returns whether anything changed. `stamp` names the new content folder.
pub(crate) fn write(folder: &Path, set: &FileSet, group: Option<FsGroup>, stamp: &str) -> Result<bool, VolumeError> {
    set.check()?;
    let current = std::fs::read_link(folder.join(DATA)).ok();
    if let Some(current) = &current
        && holds(&folder.join(current), set)
    {
        return Ok(false);
    }
    let fresh = format!("..{stamp}");
    let fresh_path = folder.join(&fresh);
    make_folder(&fresh_path, group)?;
    for (path, content) in &set.files {
        write_file(&fresh_path, path, content, group)?;
    }
    let new_link = folder.join(DATA_NEW);
    let doing = || format!("publish {}", folder.display());
    match rustix::fs::unlink(&new_link) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(VolumeError::io(doing())(errno)),
    }
    rustix::fs::symlink(fresh.as_str(), &new_link).map_err(VolumeError::io(doing()))?;
    link_names(folder, set)?;
    rustix::fs::rename(&new_link, folder.join(DATA)).map_err(VolumeError::io(doing()))?;
    unlink_stale(folder, set, &fresh)?;
    Ok(true)
}

/// True if the content folder holds exactly these files with these bytes; modes and owners are fixed for a pod's life.
fn holds(content: &Path, set: &FileSet) -> bool {
    let mut found = BTreeSet::new();
    if collect(content, content, &mut found).is_err() {
        return false;
    }
    if found.len() != set.files.len() || !set.files.keys().all(|path| found.contains(Path::new(path))) {
        return false;
    }
    set.files.iter().all(|(path, file)| std::fs::read(content.join(path)).is_ok_and(|bytes| bytes == file.bytes))
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(root, &entry.path(), found)?;
        } else if let Ok(relative) = entry.path().strip_prefix(root) {
            found.insert(relative.to_path_buf());
        }
    }
    Ok(())
}

fn make_folder(path: &Path, group: Option<FsGroup>) -> Result<(), VolumeError> {
    let doing = || format!("make folder {}", path.display());
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(VolumeError::io(doing())(errno)),
    }
    if let Some(group) = group {
        rustix::fs::chown(path, None, Some(Gid::from_raw(group.gid))).map_err(VolumeError::io(doing()))?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o2775)).map_err(VolumeError::io(doing()))?;
    }
    Ok(())
}

fn write_file(root: &Path, relative: &str, content: &FileContent, group: Option<FsGroup>) -> Result<(), VolumeError> {
    let path = root.join(relative);
    let mut parent = root.to_path_buf();
    let steps: Vec<&str> = relative.split('/').collect();
    for step in &steps[..steps.len() - 1] {
        parent.push(step);
        make_folder(&parent, group)?;
    }
    let doing = || format!("write {}", path.display());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).map_err(VolumeError::io(doing()))?;
    let mut rest: &[u8] = &content.bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(VolumeError::io(doing()))?;
        rest = &rest[written..];
    }
    let mut mode = content.mode & 0o777;
    if let Some(group) = group {
        // As upstream: with fsGroup the group may read what the owner may.
        mode |= (mode & 0o400) >> 3;
        rustix::fs::chownat(&file, c"", None, Some(Gid::from_raw(group.gid)), AtFlags::EMPTY_PATH)
            .map_err(VolumeError::io(doing()))?;
    }
    if let Some(owner) = content.owner {
        rustix::fs::chownat(&file, c"", Some(Uid::from_raw(owner)), None, AtFlags::EMPTY_PATH)
            .map_err(VolumeError::io(doing()))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(VolumeError::io(doing()))
}

fn first_step(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn link_names(folder: &Path, set: &FileSet) -> Result<(), VolumeError> {
    let names: BTreeSet<&str> = set.files.keys().map(|path| first_step(path)).collect();
    for name in names {
        let target = format!("{DATA}/{name}");
        let link = folder.join(name);
        if std::fs::read_link(&link).is_ok_and(|old| old == Path::new(&target)) {
            continue;
        }
        rustix::fs::symlink(target.as_str(), &link).map_err(VolumeError::io(format!("link {}", link.display())))?;
    }
    Ok(())
}

/// Removes names that the set no longer has, and content folders other than the fresh one.
fn unlink_stale(folder: &Path, set: &FileSet, fresh: &str) -> Result<(), VolumeError> {
    let doing = || format!("clean {}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(|source| VolumeError::Io { doing: doing(), source })?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == fresh || name == DATA {
            continue;
        }
        if name.starts_with("..") {
            host_files::remove_tree(&entry.path()).or_else(|_| rustix::fs::unlink(entry.path())).ok();
        } else if !set.files.keys().any(|path| first_step(path) == name) {
            rustix::fs::unlink(entry.path()).map_err(VolumeError::io(doing()))?;
        }
    }
    Ok(())
}
