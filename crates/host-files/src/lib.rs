//! Walking and removing folders that a container can write to, on behalf of the host.
//!
//! Everything goes step by step through file descriptors with `openat2`: no symbolic link is followed, no mount is
//! entered, and depth is bounded, because a container can nest folders without end. So nothing outside the folder that
//! was named is ever touched: a volume that is still mounted below a folder keeps its bytes. Not here: what is to be
//! removed when. Start with [`remove_tree`].

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens one entry of a folder without any symbolic link and without leaving the mount.
///
/// # Errors
/// `LOOP` for a symbolic link, `XDEV` for a mount point, and the kernel's other answers.
pub fn open_child(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
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

/// Tries a look-up again when a rename raced with it (`EAGAIN`); bounded, because a container can rename for ever.
///
/// # Errors
/// The kernel's answer.
pub fn retry(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    const TRIES_MAX: u32 = 64;
    let mut tries = 0;
    loop {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
            other => return other,
        }
    }
}

/// Deepest nesting of folders that is walked: a container can nest without end, and each level holds two descriptors
/// and a stack frame.
pub const LEVELS_MAX: usize = 128;

/// Deletes what is in a folder. Symbolic links are removed, never followed; mounts are never entered. Folders nested
/// deeper than [`LEVELS_MAX`] are moved up and deleted from there.
///
/// # Errors
/// `XDEV` or `BUSY` if something is mounted below, and the kernel's other answers. What was removed until then is gone.
pub fn remove_content(folder: BorrowedFd<'_>) -> Result<(), Errno> {
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

/// Deletes a folder that lies at a path containers cannot change, with all that is in it; nothing happens if there is
/// none.
///
/// # Errors
/// As [`remove_content`].
pub fn remove_tree(path: &Path) -> Result<(), Errno> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// Nests folders by descriptor: the path becomes longer than any path may be.
    fn nest(root: &Path, levels: usize) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(root, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&folder, "d", Mode::from_raw_mode(0o755)).unwrap();
            folder = rustix::fs::openat(&folder, "d", flags, Mode::empty()).unwrap();
        }
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        (base, root)
    }

    #[test]
    fn folders_at_and_beyond_the_bound_are_removed() {
        for levels in [0, LEVELS_MAX - 1, LEVELS_MAX, LEVELS_MAX + 1, 20 * LEVELS_MAX] {
            let (_base, root) = tree();
            nest(&root, levels);
            fs::write(root.join(".removing-1"), "in the way").unwrap();
            remove_tree(&root).unwrap();
            assert!(!root.exists(), "{levels}");
            remove_tree(&root).unwrap();
        }
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (base, root) = tree();
        let outside = base.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        remove_tree(&root).unwrap();
        assert!(outside.join("kept").exists());
        std::os::unix::fs::symlink(&outside, &root).unwrap();
        assert!(remove_tree(&root).is_err(), "the folder itself must not be a link either");
        assert!(outside.join("kept").exists());
    }

    /// The bytes of a volume that could not be unmounted are not ours to delete.
    #[test]
    fn what_is_mounted_below_keeps_its_bytes() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: mounting needs root");
            return;
        }
        let (base, root) = tree();
        let (volume, target) = (base.path().join("volume"), root.join("m"));
        fs::create_dir(&volume).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(volume.join("data"), "").unwrap();
        rustix::mount::mount_bind(&volume, &target).unwrap();
        let refused = remove_tree(&root);
        rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert!(refused.is_err());
        assert!(volume.join("data").exists());
        remove_tree(&root).unwrap();
        assert!(volume.join("data").exists());
    }
}
