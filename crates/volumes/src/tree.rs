//! Walking folders that a container can write to: by file descriptor, never by path twice.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

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

/// Opens one folder below another without any symbolic link and without leaving the mount.
pub(crate) fn open_child(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            parent,
            name,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
        )
    })
}

/// The kernel answers EAGAIN when a rename raced with the look-up; bounded, because a container can rename for ever.
fn retry(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    const TRIES_MAX: u32 = 64;
    let mut tries = 0;
    loop {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
            other => return other,
        }
    }
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

/// Deepest nesting of folders that is walked: a container can nest without end, and each level holds two descriptors
/// and a stack frame.
pub(crate) const LEVELS_MAX: usize = 128;

/// Deletes what is in a folder. Symbolic links are removed, never followed; mounts are never entered. Folders nested
/// deeper than [`LEVELS_MAX`] are moved up and deleted from there.
pub(crate) fn remove_content(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut moved_up = 0;
    loop {
        let before = moved_up;
        remove_levels(folder, folder, 0, &mut moved_up)?;
        if moved_up == before {
            return Ok(());
        }
    }
}

fn remove_levels(top: BorrowedFd<'_>, folder: BorrowedFd<'_>, level: usize, moved_up: &mut u64) -> Result<(), Errno> {
    for entry in Dir::new(open_child(folder, c".", OFlags::RDONLY | OFlags::DIRECTORY)?)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(other) => return Err(other),
        }
        if level == LEVELS_MAX {
            move_up(top, folder, name, moved_up)?;
            continue;
        }
        match open_child(folder, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(child) => remove_levels(top, child.as_fd(), level + 1, moved_up)?,
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other),
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

fn move_up(top: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &CStr, moved_up: &mut u64) -> Result<(), Errno> {
    loop {
        *moved_up += 1;
        match rustix::fs::renameat(folder, name, top, format!(".removing-{moved_up}")) {
            Ok(()) => return Ok(()),
            // Somebody's own file of that name is deleted in its turn.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(other) => return Err(other),
        }
    }
}

/// Deletes a folder that lies at a path containers cannot change, with all that is in it.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Errno> {
    let folder = match rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(other) => return Err(other),
    };
    remove_content(folder.as_fd())?;
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(other) => Err(other),
    }
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
