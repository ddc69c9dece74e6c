//! What agent and helper say to each other, and how it crosses a socket.
//!
//! A frame is a header (length of the text, number of file descriptors; both 32-bit, big-endian) and JSON text. The
//! descriptors travel with the header. Fields are only ever added, with defaults; a change that an old helper cannot
//! bear raises [`PROTOCOL`], and a new agent goes on speaking the old one to it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use meta::Timestamp;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::LogLimits;
use crate::error::Refusal;
use crate::{ContainerId, ContainerSpec, ContainerState, ContainerStatus, Exit, SandboxSpec, Signal};

/// Version of the protocol that this program speaks.
pub(crate) const PROTOCOL: u32 = 1;
/// Longest text of one frame, in bytes: a container's environment may be large (an object is at most 3 MiB).
const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most descriptors in one frame; the kernel's own limit is 253.
pub(crate) const FRAME_FDS_MAX: usize = 250;
const HEADER_BYTES: usize = 8;

/// Asks the zygote for a new sandbox. Its one descriptor becomes the helper's first connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spawn {
    pub(crate) spec: SandboxSpec,
    pub(crate) pod_dir: PathBuf,
    /// Cgroup of the pod, from the root of each hierarchy: `/roadstead-<cluster id>/pod<uid>`.
    pub(crate) cgroup: String,
    pub(crate) hide_mounts_below: Vec<PathBuf>,
    pub(crate) logs: LogLimits,
}

/// Agent to helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Chosen by the agent; the reply carries it.
    pub(crate) id: u64,
    pub(crate) body: RequestBody,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RequestBody {
    /// Carries one detached mount for each of the spec's mounts, in order.
    Create(Box<ContainerSpec>),
    Start {
        container: ContainerId,
    },
    Signal {
        container: ContainerId,
        signal: Signal,
    },
    Remove {
        container: ContainerId,
    },
    /// Carries the child's ends of stdin, stdout, stderr, as far as wanted; none on a terminal.
    Exec {
        container: ContainerId,
        exec: u64,
        spec: ExecRequest,
    },
    KillExec {
        exec: u64,
    },
    /// Kill everything, then end.
    Shutdown,
}

#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ExecRequest {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// Helper to agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// First on every connection. Carries a pidfd of the helper and, unless the host's network is used, the network
    /// namespace.
    Hello(Box<Hello>),
    /// Instead of a hello: the sandbox could not be made.
    Failed {
        doing: String,
        why: String,
    },
    /// An exec's reply carries the terminal's master, if there is a terminal.
    Reply {
        id: u64,
        result: Result<Reply, Refusal>,
    },
    Exited {
        container: ContainerId,
        exit: Exit,
    },
    ExecExited {
        exec: u64,
        code: i32,
    },
    /// An operator should know; nothing fails.
    Warning {
        text: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    State(ContainerState),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) pid: u32,
    pub(crate) started_at: Timestamp,
    #[serde(default)]
    pub(crate) has_netns: bool,
    #[serde(default)]
    pub(crate) containers: Vec<ContainerStatus>,
}

/// What stays on disk of a sandbox, for the time after its helper.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SandboxRecord {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A frame on its way out.
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Outgoing {
    pub(crate) fn new(message: &impl Serialize, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut bytes, message)?;
        let length = bytes.len() - HEADER_BYTES;
        if length > FRAME_BYTES_MAX || fds.len() > FRAME_FDS_MAX {
            let text = format!("a message of {length} bytes and {} descriptors is too large", fds.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
        bytes[4..8].copy_from_slice(&(fds.len() as u32).to_be_bytes());
        Ok(Self { bytes, fds })
    }
}

/// Frames waiting to be sent on one socket.
#[derive(Default)]
pub(crate) struct Sender {
    queue: VecDeque<Outgoing>,
    sent: usize,
    queued_bytes: usize,
}

impl Sender {
    pub(crate) fn push(&mut self, frame: Outgoing) {
        self.queued_bytes += frame.bytes.len();
        self.queue.push_back(frame);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of all frames that are not wholly sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Sends as much as the socket takes; `Ok(true)` when nothing is left.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while let Some(frame) = self.queue.front_mut() {
            let sent = send_some(socket, &frame.bytes[self.sent..], &frame.fds);
            let sent = match sent {
                Ok(sent) => sent,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            frame.fds.clear();
            self.sent += sent;
            if self.sent == frame.bytes.len() {
                self.queued_bytes -= frame.bytes.len();
                self.queue.pop_front();
                self.sent = 0;
            }
        }
        self.queue.shrink_to(4);
        Ok(true)
    }
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> rustix::io::Result<usize> {
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = vec![std::mem::MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(&borrowed).size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(rustix::io::Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Frames arriving on one socket.
#[derive(Default)]
pub(crate) struct Receiver {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Receiver {
    /// Takes what the socket has, once; `Ok(0)` is the other side's end.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> rustix::io::Result<usize> {
        let mut chunk = [0u8; 8192];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result =
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut chunk)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.bytes.extend_from_slice(&chunk[..result.bytes]);
        Ok(result.bytes)
    }

    /// A descriptor that came outside of any frame.
    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let count = u32::from_be_bytes([e, f, g, h]) as usize;
        if length > FRAME_BYTES_MAX || count > FRAME_FDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes, {count} fds")));
        }
        let end = HEADER_BYTES + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        if self.fds.len() < count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a descriptor was lost on the way"));
        }
        let message = serde_json::from_slice(&self.bytes[HEADER_BYTES..end])?;
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(0);
        }
        Ok(Some((message, self.fds.drain(..count).collect())))
    }
}

/// Waits for the next frame on a blocking socket; `None` is the other side's end.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: &impl AsFd,
    receiver: &mut Receiver,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    loop {
        if let Some(frame) = receiver.next()? {
            return Ok(Some(frame));
        }
        match receiver.fill(socket.as_fd()) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends one frame on a blocking socket.
pub(crate) fn send(socket: &impl AsFd, message: &impl Serialize, fds: Vec<OwnedFd>) -> io::Result<()> {
    let mut sender = Sender::default();
    sender.push(Outgoing::new(message, fds)?);
    while !sender.flush(socket.as_fd())? {
        let mut waiting = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)];
        rustix::event::poll(&mut waiting, None)?;
    }
    Ok(())
}

/// A path to `name` in the folder behind `dir` that fits a socket address, whatever the folder's own path.
pub(crate) fn short_path(dir: &impl AsFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_frame_arrives_whole_with_its_descriptors_however_it_was_cut() {
        let (a, b) = UnixStream::pair().unwrap();
        let (c, _d) = UnixStream::pair().unwrap();
        let big = "x".repeat(100_000);
        let writer = std::thread::spawn(move || {
            send(&a, &"first", vec![c.into()]).unwrap();
            send(&a, &big, Vec::new()).unwrap();
            send(&a, &"third", vec![std::io::stdin().as_fd().try_clone_to_owned().unwrap()]).unwrap();
        });
        let mut receiver = Receiver::default();
        let lengths: Vec<(usize, usize)> = std::iter::from_fn(|| receive::<String>(&b, &mut receiver).unwrap())
            .map(|(text, fds)| (text.len(), fds.len()))
            .collect();
        writer.join().unwrap();
        assert_eq!(lengths, [(5, 1), (100_000, 0), (5, 1)]);
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let mut receiver = Receiver::default();
        receiver.bytes.extend_from_slice(&[0xff; 8]);
        assert!(receiver.next::<String>().is_err());
    }
}
