//! The helper's loop: one pod's containers, their logs and exit codes, and whoever is connected.

mod children;
mod containers;
mod requests;
mod serve;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use meta::Timestamp;
use rustix::event::{PollFd, PollFlags};

use super::log::LogWriter;
use super::{Ready, clock};
use crate::cgroup::Cgroups;
use crate::wire::{Receiver, Sender, Spawn};
use crate::{ContainerId, ContainerStatus};

/// Longest piece of output that is read at once, in bytes.
const LOG_BUFFER_BYTES: usize = 16 * 1024;

/// Name of a container's record in its folder.
pub(crate) const RECORD: &str = "record.json";

/// Whom to answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    connection: u64,
    request: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    code: i32,
    signal: Option<i32>,
}

struct Held {
    status: ContainerStatus,
    /// Its first process, as this process sees it; 0 while it is being made and after its end.
    pid: i32,
    /// The same process, as the host sees it.
    host_pid: u32,
    oom_score_adj: Option<i32>,
    exec_status: Option<OwnedFd>,
    /// Why its program could not be started.
    start_failure: Option<String>,
    starting: Option<Pending>,
    started_at: Option<Timestamp>,
    removing: Option<Option<Pending>>,
    log: Option<LogWriter>,
    /// The other end of its standard input, kept open.
    _stdin: Option<OwnedFd>,
}

enum JobKind {
    Build { container: ContainerId, pending: Pending },
    Exec { exec: u64, pending: Pending, forked: Option<i32>, terminal: Option<OwnedFd> },
    Clean { container: ContainerId, pending: Option<Pending> },
}

struct Job {
    pid: i32,
    socket: OwnedFd,
    receiver: Receiver,
    kind: JobKind,
}

struct Connection {
    id: u64,
    socket: OwnedFd,
    receiver: Receiver,
    sender: Sender,
}

struct Running {
    connection: u64,
    exec: u64,
    pid: i32,
}

pub(super) struct Pod {
    spawn: Spawn,
    cgroups: Cgroups,
    ready: Ready,
    signals: nix::sys::signalfd::SignalFd,
    started_at: Timestamp,
    containers: BTreeMap<ContainerId, Held>,
    jobs: Vec<Job>,
    execs: Vec<Running>,
    unclaimed: Vec<(i32, Ended)>,
    connections: Vec<Connection>,
    next_connection: u64,
    ending: Option<Pending>,
    buffer: Box<[u8]>,
}

enum Source {
    Signals,
    Listener,
    Connection(u64),
    Job(i32),
    Log(ContainerId),
    Start(ContainerId),
}

impl Pod {
    pub(super) fn new(spawn: Spawn, cgroups: Cgroups, ready: Ready) -> io::Result<Self> {
        let mut mask = nix::sys::signal::SigSet::empty();
        mask.add(nix::sys::signal::Signal::SIGCHLD);
        mask.thread_block()?;
        let flags = nix::sys::signalfd::SfdFlags::SFD_CLOEXEC | nix::sys::signalfd::SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            spawn,
            cgroups,
            ready,
            signals: nix::sys::signalfd::SignalFd::with_flags(&mask, flags)?,
            started_at: clock::now(),
            containers: BTreeMap::new(),
            jobs: Vec::new(),
            execs: Vec::new(),
            unclaimed: Vec::new(),
            connections: Vec::new(),
            next_connection: 0,
            ending: None,
            buffer: vec![0; LOG_BUFFER_BYTES].into_boxed_slice(),
        })
    }

    pub(super) fn run(&mut self, first: OwnedFd) -> ! {
        self.connect(first);
        loop {
            for source in self.wait() {
                match source {
                    Source::Signals => self.reap(),
                    Source::Listener => self.accept(),
                    Source::Connection(id) => self.serve(id),
                    Source::Job(pid) => self.hear(pid),
                    Source::Log(id) => self.pump(&id),
                    Source::Start(id) => self.program_started(&id),
                }
            }
            self.flush();
            self.end_if_empty();
        }
    }

    fn wait(&self) -> Vec<Source> {
        let mut fds: Vec<(BorrowedFd<'_>, PollFlags, Source)> = vec![
            (self.signals.as_fd(), PollFlags::IN, Source::Signals),
            (self.ready.listener.as_fd(), PollFlags::IN, Source::Listener),
        ];
        for c in &self.connections {
            let flags = if c.sender.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            fds.push((c.socket.as_fd(), flags, Source::Connection(c.id)));
        }
        for job in &self.jobs {
            fds.push((job.socket.as_fd(), PollFlags::IN, Source::Job(job.pid)));
        }
        for (id, held) in &self.containers {
            for fd in held.log.iter().flat_map(LogWriter::fds) {
                fds.push((fd, PollFlags::IN, Source::Log(id.clone())));
            }
            if let (Some(status), Some(_)) = (&held.exec_status, held.started_at) {
                fds.push((status.as_fd(), PollFlags::IN, Source::Start(id.clone())));
            }
        }
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|(fd, flags, _)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        if rustix::event::poll(&mut polled, None).is_err() {
            return Vec::new();
        }
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        fds.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((_, _, source), _)| source).collect()
    }
}
