//! Opening volumes for a container: in the agent's mount namespace, by descriptor, never by a path twice.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::OpenTreeFlags;

use crate::{Mount, Propagation, RuntimeError};

/// Mode of a `subPath` folder that was missing, as upstream makes it.
const SUB_PATH_MODE: u32 = 0o750;

/// A detached copy of each source, with what is mounted below it.
pub(super) fn open_all(mounts: &[Mount]) -> Result<Vec<OwnedFd>, RuntimeError> {
    mounts.iter().map(open).collect()
}

fn open(mount: &Mount) -> Result<OwnedFd, RuntimeError> {
    let refused = |what: &Path, error: io::Error| RuntimeError::Create {
        why: format!("volume for {}: open {}: {error}", mount.target.display(), what.display()),
    };
    let source = rustix::fs::open(&mount.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| refused(&mount.source, errno.into()))?;
    let source = match &mount.sub_path {
        None => source,
        Some(path) => below(&source, path).map_err(|errno| refused(path, errno.into()))?,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&source, "", flags).map_err(|errno| refused(&mount.source, errno.into()))?;
    let propagation = match mount.propagation {
        Propagation::None => libc::MS_PRIVATE,
        Propagation::HostToContainer => libc::MS_SLAVE,
        Propagation::Bidirectional => return Ok(tree),
    };
    set_propagation(&tree, propagation).map_err(|error| refused(&mount.source, error))?;
    Ok(tree)
}

/// A file or folder below `root`, wherever the volume's own symlinks lead, but never out of it.
fn below(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(rustix::io::Errno::NOENT) => crate::helper::make_dirs_in(root, path, SUB_PATH_MODE),
        other => other,
    }
}

/// Keeps later mounts of the host out of (or, as a slave, out of the host what is mounted in) the copy.
fn set_propagation(tree: &OwnedFd, propagation: libc::c_ulong) -> io::Result<()> {
    set_attributes(tree, &MountAttr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 })
}

/// A view of a program's file through which nobody can write to it.
///
/// A container that runs `/proc/self/exe`, or finds a process of ours in its namespaces, holds our own program in its
/// hands; if it could write to it, it would have the host with the next start (CVE-2019-5736).
pub(super) fn read_only_program(program: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, program, flags)?;
    let read_only =
        MountAttr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    set_attributes(&tree, &read_only)?;
    Ok(tree)
}

/// `struct mount_attr`, first version.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn set_attributes(tree: &OwnedFd, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a constant, the structure outlives the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *attr,
            std::mem::size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
