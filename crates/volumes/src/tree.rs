//! Opening, making and owning folders that a container can write to: by file descriptor, never by path twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use host_files::{LEVELS_MAX, open_child, retry};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::FsGroup;

/// A relative path whose every step is a plain name.
pub(crate) fn is_plain_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path).components().all(|step| matches!(step, std::path::Component::Normal(_)))
        && !path.starts_with('/')
}

/// Opens a folder by its absolute path; the path must be one that containers cannot change.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens something below `root`, following symbolic links only inside it (as a container sees its volume).
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    })
}

/// Opens `path` below `root`, making missing folders; each step is taken inside the folder opened before.
pub(crate) fn make_in_root(root: BorrowedFd<'_>, path: &str, group: Option<FsGroup>) -> Result<OwnedFd, Errno> {
    let mut done = String::new();
    let mut current = open_in_root(root, ".")?;
    for step in path.split('/').filter(|step| !step.is_empty()) {
        if !done.is_empty() {
            done.push('/');
        }
        done.push_str(step);
        current = match open_in_root(root, &done) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&current, step, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(other) => return Err(other),
                }
                let made = open_in_root(root, &done)?;
                if let Some(group) = group {
                    own_one(made.as_fd(), group.gid, FileType::Directory)?;
                }
                made
            }
            Err(other) => return Err(other),
        };
    }
    Ok(current)
}

/// Gives a tree to a group: group read and write (and search), and new files inherit the group. The root comes last, so
/// that [`is_owned`] is true of a whole tree only.
///
/// # Errors
/// `NAMETOOLONG` if folders are nested deeper than [`LEVELS_MAX`].
pub(crate) fn own_tree(folder: BorrowedFd<'_>, gid: u32) -> Result<(), Errno> {
    own_levels(folder, gid, 0)
}

fn own_levels(folder: BorrowedFd<'_>, gid: u32, level: usize) -> Result<(), Errno> {
    if level > LEVELS_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in Dir::new(open_child(folder, c".", OFlags::RDONLY | OFlags::DIRECTORY)?)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let child = match open_child(folder, name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(child) => child,
            Err(Errno::LOOP) => {
                let group = Some(rustix::fs::Gid::from_raw(gid));
                rustix::fs::chownat(folder, name, None, group, AtFlags::SYMLINK_NOFOLLOW)?;
                continue;
            }
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other),
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&child)?.st_mode) {
            FileType::Directory => own_levels(child.as_fd(), gid, level + 1)?,
            kind => own_one(child.as_fd(), gid, kind)?,
        }
    }
    own_one(folder, gid, FileType::Directory)
}

/// True if the folder already belongs to the group in the way [`own_tree`] leaves it.
pub(crate) fn is_owned(folder: BorrowedFd<'_>, gid: u32) -> Result<bool, Errno> {
    const WANTED: u32 = 0o2770;
    let stat = rustix::fs::fstat(folder)?;
    Ok(stat.st_gid == gid && stat.st_mode & WANTED == WANTED)
}

fn own_one(file: BorrowedFd<'_>, gid: u32, kind: FileType) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(file)?;
    if stat.st_gid != gid {
        rustix::fs::chownat(file, c"", None, Some(rustix::fs::Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    }
    let wanted = match kind {
        FileType::Directory => stat.st_mode | 0o2770,
        FileType::RegularFile => stat.st_mode | 0o660,
        _ => return Ok(()),
    };
    if wanted != stat.st_mode {
        // fchmod refuses O_PATH descriptors; the kernel's own link to the descriptor names the very same file.
        use std::os::fd::AsRawFd;
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::chmod(link, Mode::from_raw_mode(wanted & 0o7777))?;
    }
    Ok(())
}
