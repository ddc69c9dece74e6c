//! The agent's end of the zygote: the process that forks the helpers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::wire::{self, Spawn};

/// A running zygote; it ends when this is dropped.
pub(super) struct Zygote {
    socket: Option<OwnedFd>,
    child: Child,
}

impl Zygote {
    /// Runs the program as a zygote. Blocks for the length of an exec.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let program = super::mounts::read_only_program(program)?;
        // Helpers outlive the agent: they must not hold its output open.
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0("rs-runtime")
            .arg(crate::helper::ARGUMENT)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { socket: Some(ours), child })
    }

    /// Asks for a helper; returns the agent's end of its first connection.
    pub(super) fn spawn(&self, request: &Spawn) -> io::Result<OwnedFd> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        wire::send(&socket.as_fd(), request, vec![theirs])?;
        Ok(ours)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.socket = None;
        // It has nothing to do but to end.
        let _ = self.child.wait();
    }
}
