//! Mounts that this crate makes on the host: the memory area, and memory-backed `emptyDir`s.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::VolumeError;

/// Magic number of tmpfs in `statfs`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// True if `path` is the root of a tmpfs of its own.
pub(crate) fn is_memory_mount(path: &Path) -> bool {
    let Some(parent) = path.parent() else { return false };
    let (Ok(own), Ok(above), Ok(statfs)) = (rustix::fs::stat(path), rustix::fs::stat(parent), rustix::fs::statfs(path))
    else {
        return false;
    };
    #[expect(clippy::unnecessary_cast, reason = "the width of f_type differs between architectures")]
    let kind = statfs.f_type as i64;
    own.st_dev != above.st_dev && kind == TMPFS_MAGIC
}

/// Mounts a file system in memory on an empty folder.
pub(crate) fn mount_memory(name: &str, path: &Path, size_bytes: Option<u64>, mode: u32) -> Result<(), VolumeError> {
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size_bytes {
        options.push_str(&format!(",size={size}"));
    }
    let doing = format!("mount a memory file system on {}", path.display());
    let options = CString::new(options).map_err(|_| VolumeError::NotOurs { path: path.to_path_buf() })?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(name, path, "tmpfs", flags, Some(options.as_c_str())).map_err(VolumeError::io(doing))
}

/// Unmounts everything at or below a path, deepest first.
pub(crate) fn unmount_below(path: &Path) -> Result<(), VolumeError> {
    for mount in mounts_below(path) {
        match rustix::mount::unmount(&mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(VolumeError::io(format!("unmount {}", mount.display()))(errno)),
        }
    }
    Ok(())
}

/// Mount points at or below a path, deepest first.
pub(crate) fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") else { return Vec::new() };
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|mount| mount.starts_with(path))
        .collect();
    found.reverse();
    found
}

/// Undoes the octal escapes of `/proc/self/mountinfo`.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], octal.and_then(|digits| u8::from_str_radix(digits, 8).ok())) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_in_mount_points_are_read_back() {
        assert_eq!(unescape("/a\\040b/c\\134"), PathBuf::from("/a b/c\\"));
    }
}
