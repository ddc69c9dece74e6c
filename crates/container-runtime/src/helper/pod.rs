//! The helper's loop: one pod's containers, their logs and exit codes, and whoever is connected.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use meta::Timestamp;
use rustix::event::{PollFd, PollFlags};

use super::build::{self, Build, ChildMessage};
use super::exec::{self, Exec};
use super::log::LogWriter;
use super::{Ready, clock, in_child, write_atomically};
use crate::cgroup::Cgroups;
use crate::error::Refusal;
use crate::wire::{
    ExecRequest, Hello, Message, Outgoing, PROTOCOL, Receiver, Reply, Request, RequestBody, Sender, Spawn,
};
use crate::{ContainerId, ContainerSpec, ContainerState, ContainerStatus, Exit, ExitReason, Signal};

/// Agents connected at the same time; one is usual, two during a restart.
const CONNECTIONS_MAX: usize = 8;
/// An agent that does not read is dropped when this much waits for it; it connects again and is told everything.
const UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Output taken from one container in one turn of the loop, so that none holds up the others.
const LOG_BUFFER_BYTES: usize = 16 * 1024;
/// Ends of processes that nobody has asked for yet.
const UNCLAIMED_MAX: usize = 64;

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

    // Connections.

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.ready.listener.accept() {
            if self.connections.len() < CONNECTIONS_MAX {
                self.connect(socket.into());
            }
        }
    }

    fn connect(&mut self, socket: OwnedFd) {
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        let id = self.next_connection;
        self.next_connection += 1;
        let hello = Hello {
            protocol: PROTOCOL,
            pid: exec::host_pid(&self.ready.host_proc, rustix::process::getpid().as_raw_nonzero().get()).unwrap_or(0),
            started_at: self.started_at,
            has_netns: !self.spawn.spec.host_network,
            containers: self.containers.values().filter(|h| h.removing.is_none()).map(|h| h.status.clone()).collect(),
        };
        let mut fds = Vec::new();
        let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
        fds.extend(own);
        if hello.has_netns {
            fds.extend(fs::File::open("/proc/self/ns/net").map(OwnedFd::from));
        }
        let mut connection = Connection { id, socket, receiver: Receiver::default(), sender: Sender::default() };
        if let Ok(frame) = Outgoing::new(&Message::Hello(Box::new(hello)), fds) {
            connection.sender.push(frame);
        }
        self.connections.push(connection);
    }

    fn disconnect(&mut self, id: u64) {
        self.connections.retain(|c| c.id != id);
        // Whoever ran these programs is gone, and their streams with it.
        for running in self.execs.iter().filter(|running| running.connection == id) {
            exec::kill(running.pid);
        }
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
        match connection.receiver.fill(connection.socket.as_fd()) {
            Ok(0) => return self.disconnect(id),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => return self.disconnect(id),
        }
        loop {
            let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
            match connection.receiver.next::<serde_json::Value>() {
                Ok(None) => return,
                Ok(Some((request, fds))) => self.request(id, request, fds),
                Err(_) => return self.disconnect(id),
            }
        }
    }

    fn send(&mut self, connection: u64, message: &Message, fds: Vec<OwnedFd>) {
        let Ok(frame) = Outgoing::new(message, fds) else { return };
        if let Some(connection) = self.connections.iter_mut().find(|c| c.id == connection) {
            connection.sender.push(frame);
        }
    }

    fn tell_all(&mut self, message: &Message) {
        for index in 0..self.connections.len() {
            self.send(self.connections[index].id, message, Vec::new());
        }
    }

    fn answer(&mut self, pending: Pending, result: Result<Reply, Refusal>, fds: Vec<OwnedFd>) {
        self.send(pending.connection, &Message::Reply { id: pending.request, result }, fds);
    }

    fn flush(&mut self) {
        let mut lost = Vec::new();
        for connection in &mut self.connections {
            let failed = connection.sender.flush(connection.socket.as_fd()).is_err();
            if failed || connection.sender.queued_bytes() > UNSENT_BYTES_MAX {
                lost.push(connection.id);
            }
        }
        for id in lost {
            self.disconnect(id);
        }
    }

    // Requests.

    fn request(&mut self, connection: u64, request: serde_json::Value, fds: Vec<OwnedFd>) {
        let id = request.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let pending = Pending { connection, request: id };
        let body = match serde_json::from_value::<Request>(request) {
            Ok(request) => request.body,
            Err(error) => return self.answer(pending, Err(Refusal::Other(format!("not understood: {error}"))), vec![]),
        };
        let result = match body {
            RequestBody::Create(spec) => self.create(pending, *spec, fds),
            RequestBody::Start { container } => self.start(pending, &container),
            RequestBody::Signal { container, signal } => self.signal(pending, &container, signal),
            RequestBody::Remove { container } => self.remove(pending, &container),
            RequestBody::Exec { container, exec, spec } => self.exec(pending, &container, exec, spec, fds),
            RequestBody::KillExec { exec } => {
                for r in self.execs.iter().filter(|r| r.connection == connection && r.exec == exec) {
                    exec::kill(r.pid);
                }
                self.answer(pending, Ok(Reply::Done), Vec::new());
                Ok(())
            }
            RequestBody::Shutdown => {
                self.ending = Some(pending);
                self.kill_all();
                Ok(())
            }
        };
        if let Err(refusal) = result {
            self.answer(pending, Err(refusal), Vec::new());
        }
    }

    fn dir(&self, container: &ContainerId) -> PathBuf {
        self.spawn.pod_dir.join(super::CONTAINERS).join(&container.0)
    }

    fn cgroup(&self, container: &ContainerId) -> String {
        format!("{}/{container}", self.spawn.cgroup)
    }

    fn create(&mut self, pending: Pending, spec: ContainerSpec, mounts: Vec<OwnedFd>) -> Result<(), Refusal> {
        if self.ending.is_some() {
            return Err(Refusal::Other("the sandbox is ending".to_owned()));
        }
        if self.containers.contains_key(&spec.id) {
            return Err(Refusal::WrongState("exists already".to_owned()));
        }
        if mounts.len() != spec.mounts.len() {
            return Err(Refusal::Create(format!("{} mounts came for {}", mounts.len(), spec.mounts.len())));
        }
        let dir = self.dir(&spec.id);
        fs::create_dir_all(&dir).map_err(|e| Refusal::Create(format!("make the container's folder: {e}")))?;
        let os = |error: io::Error| Refusal::Create(format!("make the container's streams: {error}"));
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from);
        let (status_read, status_write) = pipe().map_err(os)?;
        let mut streams = Vec::new();
        let (mut stdin, mut keep_stdin, mut stdout, mut stderr) = (None, None, None, None);
        if !spec.tty {
            let (out_read, out_write) = pipe().map_err(os)?;
            let (err_read, err_write) = pipe().map_err(os)?;
            streams = vec![("stdout", out_read), ("stderr", err_read)];
            (stdout, stderr) = (Some(out_write), Some(err_write));
            if spec.stdin {
                let (read, write) = pipe().map_err(os)?;
                (stdin, keep_stdin) = (Some(read), Some(write));
            } else {
                stdin = Some(fs::File::open("/dev/null").map_err(os)?.into());
            }
        }
        let log = LogWriter::open(&spec.log_path, self.spawn.logs, streams)
            .map_err(|e| Refusal::Create(format!("open the log {}: {e}", spec.log_path.display())))?;
        let build = Build {
            pod: &self.spawn.spec,
            spec: &spec,
            shm: self.spawn.pod_dir.join("shm"),
            cgroups: &self.cgroups,
            cgroup: self.cgroup(&spec.id),
            dir,
            mounts,
            stdin,
            stdout,
            stderr,
            exec_status: status_write,
        };
        let (pid, socket) = in_child(|socket| build::child(build, socket)).map_err(os)?;
        let kind = JobKind::Build { container: spec.id.clone(), pending };
        self.jobs.push(Job { pid, socket, receiver: Receiver::default(), kind });
        let status = ContainerStatus {
            id: spec.id.clone(),
            name: spec.name,
            attempt: spec.attempt,
            created_at: clock::now(),
            state: ContainerState::Created,
            log_path: spec.log_path,
            annotations: spec.annotations,
        };
        let held = Held {
            status,
            pid: 0,
            host_pid: 0,
            oom_score_adj: spec.oom_score_adj,
            exec_status: Some(status_read),
            start_failure: None,
            starting: None,
            started_at: None,
            removing: None,
            log: Some(log),
            _stdin: keep_stdin,
        };
        self.containers.insert(spec.id, held);
        Ok(())
    }

    fn start(&mut self, pending: Pending, id: &ContainerId) -> Result<(), Refusal> {
        let path = self.dir(id).join(build::RUN).join(&id.0);
        let held = self.containers.get_mut(id).ok_or(Refusal::NoContainer)?;
        match &held.status.state {
            ContainerState::Created if held.pid > 0 && held.starting.is_none() => {}
            ContainerState::Created => return Err(Refusal::WrongState("is not ready to be started".to_owned())),
            state => {
                let state = state.clone();
                self.answer(pending, Ok(Reply::State(state)), Vec::new());
                return Ok(());
            }
        }
        // libcontainer's first process waits on this socket, whatever comes.
        let notify = || -> io::Result<()> {
            let dir = super::open_path(&path)?;
            UnixStream::connect(crate::wire::short_path(&dir, "notify.sock"))?.write_all(b"start container")
        };
        notify().map_err(|error| Refusal::Start(format!("start the container's program: {error}")))?;
        held.starting = Some(pending);
        held.started_at = Some(clock::now());
        Ok(())
    }

    fn signal(&mut self, pending: Pending, id: &ContainerId, signal: Signal) -> Result<(), Refusal> {
        let held = self.containers.get(id).ok_or(Refusal::NoContainer)?;
        if held.pid > 0 {
            // SAFETY: sends a signal to a child that was not waited for, so its number is still its own.
            unsafe { libc::kill(held.pid, signal.0) };
        }
        self.answer(pending, Ok(Reply::Done), Vec::new());
        Ok(())
    }

    fn remove(&mut self, pending: Pending, id: &ContainerId) -> Result<(), Refusal> {
        let held = self.containers.get_mut(id).ok_or(Refusal::NoContainer)?;
        if held.removing.is_some() {
            return Err(Refusal::WrongState("is being removed".to_owned()));
        }
        held.removing = Some(Some(pending));
        let building = self.jobs.iter().any(|j| matches!(&j.kind, JobKind::Build { container, .. } if container == id));
        if held.pid > 0 {
            self.kill_container(id);
        } else if !building {
            self.clean(id);
        }
        Ok(())
    }

    fn exec(
        &mut self,
        pending: Pending,
        id: &ContainerId,
        exec: u64,
        request: ExecRequest,
        stdio: Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        let held = self.containers.get(id).ok_or(Refusal::NoContainer)?;
        if held.pid == 0 || !matches!(held.status.state, ContainerState::Running { .. }) {
            return Err(Refusal::WrongState("is not running".to_owned()));
        }
        let (dir, cgroup) = (self.dir(id), self.cgroup(id));
        let work = Exec {
            dir: &dir,
            init: held.pid,
            cgroups: &self.cgroups,
            cgroup: &cgroup,
            request,
            oom_score_adj: held.oom_score_adj,
            stdio,
        };
        let (pid, socket) =
            in_child(|socket| exec::child(work, socket)).map_err(|e| Refusal::Other(format!("fork: {e}")))?;
        let kind = JobKind::Exec { exec, pending, forked: None, terminal: None };
        self.jobs.push(Job { pid, socket, receiver: Receiver::default(), kind });
        Ok(())
    }

    fn kill_container(&self, id: &ContainerId) {
        let Some(held) = self.containers.get(id).filter(|held| held.pid > 0) else { return };
        // SAFETY: sends a signal to a child that was not waited for.
        unsafe { libc::kill(held.pid, libc::SIGKILL) };
        if self.spawn.spec.host_pid {
            for pid in self.cgroups.pids(&self.cgroup(id)) {
                // SAFETY: sends a signal to a process of the container's control group.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }

    fn kill_all(&self) {
        for id in self.containers.keys() {
            self.kill_container(id);
        }
    }

    fn end_if_empty(&mut self) {
        let Some(pending) = self.ending else { return };
        if !self.jobs.is_empty() || self.containers.values().any(|held| held.pid > 0) {
            return;
        }
        self.ending = None;
        self.answer(pending, Ok(Reply::Done), Vec::new());
        for connection in &mut self.connections {
            let mut waiting = [PollFd::new(&connection.socket, PollFlags::OUT)];
            let limit = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            while let Ok(false) = connection.sender.flush(connection.socket.as_fd()) {
                if !matches!(rustix::event::poll(&mut waiting, Some(&limit)), Ok(1..)) {
                    break;
                }
            }
        }
        super::exit(0)
    }

    // Children.

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let mut status: libc::c_int = 0;
            // SAFETY: the number outlives the call.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            let ended = if libc::WIFSIGNALED(status) {
                let signal = libc::WTERMSIG(status);
                Ended { code: 128 + signal, signal: Some(signal) }
            } else {
                Ended { code: libc::WEXITSTATUS(status), signal: None }
            };
            self.ended(pid, ended);
        }
    }

    fn ended(&mut self, pid: i32, ended: Ended) {
        if let Some(id) = self.containers.iter().find(|(_, held)| held.pid == pid).map(|(id, _)| id.clone()) {
            return self.container_ended(&id, ended);
        }
        if let Some(at) = self.execs.iter().position(|running| running.pid == pid) {
            let running = self.execs.swap_remove(at);
            let message = Message::ExecExited { exec: running.exec, code: ended.code };
            return self.send(running.connection, &message, Vec::new());
        }
        if self.jobs.iter().any(|job| job.pid == pid) {
            self.hear(pid);
            return self.job_ended(pid);
        }
        if self.unclaimed.len() == UNCLAIMED_MAX {
            self.unclaimed.remove(0);
        }
        self.unclaimed.push((pid, ended));
    }

    /// Takes what a job's child has said.
    fn hear(&mut self, pid: i32) {
        let Some(at) = self.jobs.iter().position(|job| job.pid == pid) else { return };
        let job = &mut self.jobs[at];
        let over = loop {
            match job.receiver.fill(job.socket.as_fd()) {
                Ok(0) => break true,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break false,
                Err(_) => break true,
            }
        };
        while let Some(at) = self.jobs.iter().position(|job| job.pid == pid) {
            match self.jobs[at].receiver.next::<ChildMessage>() {
                Ok(Some((message, fds))) => self.child_said(at, message, fds),
                Ok(None) | Err(_) => break,
            }
        }
        if over {
            self.socket_closed(pid);
        }
    }

    fn child_said(&mut self, at: usize, message: ChildMessage, mut fds: Vec<OwnedFd>) {
        match (&mut self.jobs[at].kind, message) {
            (JobKind::Build { .. }, ChildMessage::Built { pid, warnings }) => {
                let job = self.jobs.swap_remove(at);
                if let JobKind::Build { container, pending } = job.kind {
                    self.built(&container, pending, pid, warnings, fds.pop());
                }
            }
            (JobKind::Build { .. }, ChildMessage::Failed(refusal)) => {
                let job = self.jobs.swap_remove(at);
                if let JobKind::Build { container, pending } = job.kind {
                    self.build_failed(&container, pending, refusal);
                }
            }
            (JobKind::Exec { forked, .. }, ChildMessage::Forked { pid }) => *forked = Some(pid),
            (JobKind::Exec { terminal, .. }, ChildMessage::Terminal) => *terminal = fds.pop(),
            (JobKind::Exec { pending, .. }, ChildMessage::Failed(refusal)) => {
                let pending = *pending;
                self.jobs.swap_remove(at);
                self.answer(pending, Err(refusal), Vec::new());
            }
            _ => {}
        }
    }

    /// Nobody holds the other end of a job's socket any more.
    fn socket_closed(&mut self, pid: i32) {
        let Some(at) = self.jobs.iter().position(|job| job.pid == pid) else { return };
        match &mut self.jobs[at].kind {
            JobKind::Exec { exec, pending, forked, terminal } => {
                let (exec, pending, forked) = (*exec, *pending, *forked);
                let terminal: Vec<OwnedFd> = terminal.take().into_iter().collect();
                self.jobs.swap_remove(at);
                let Some(forked) = forked else {
                    return self.answer(pending, Err(Refusal::Other("the program's parent died".to_owned())), vec![]);
                };
                self.answer(pending, Ok(Reply::Done), terminal);
                self.execs.push(Running { connection: pending.connection, exec, pid: forked });
                if !self.connections.iter().any(|c| c.id == pending.connection) {
                    exec::kill(forked);
                }
                if let Some(at) = self.unclaimed.iter().position(|(pid, _)| *pid == forked) {
                    let (pid, ended) = self.unclaimed.swap_remove(at);
                    self.ended(pid, ended);
                }
            }
            // These say so, or are waited for.
            JobKind::Build { .. } | JobKind::Clean { .. } => {}
        }
    }

    /// A job's child is dead; what it had to say was heard.
    fn job_ended(&mut self, pid: i32) {
        let Some(at) = self.jobs.iter().position(|job| job.pid == pid) else { return };
        match &self.jobs[at].kind {
            // Its own child goes on.
            JobKind::Exec { forked: Some(_), .. } => {}
            JobKind::Exec { pending, .. } => {
                let pending = *pending;
                self.jobs.swap_remove(at);
                self.answer(pending, Err(Refusal::Other("the program's parent died".to_owned())), Vec::new());
            }
            JobKind::Build { container, pending } => {
                let (container, pending) = (container.clone(), *pending);
                self.jobs.swap_remove(at);
                let refusal = Refusal::Create("the process that makes the container died".to_owned());
                self.build_failed(&container, pending, refusal);
            }
            JobKind::Clean { container, pending } => {
                let (container, pending) = (container.clone(), *pending);
                self.jobs.swap_remove(at);
                self.containers.remove(&container);
                if let Some(pending) = pending {
                    self.answer(pending, Ok(Reply::Done), Vec::new());
                }
            }
        }
    }

    // Containers.

    fn built(
        &mut self,
        id: &ContainerId,
        pending: Pending,
        pid: i32,
        warnings: Vec<String>,
        terminal: Option<OwnedFd>,
    ) {
        let (cgroup, logs) = (self.cgroup(id), self.spawn.logs);
        let Some(held) = self.containers.get_mut(id) else { return };
        held.pid = pid;
        held.host_pid = exec::host_pid(&self.ready.host_proc, pid).unwrap_or(0);
        if let Some(terminal) = terminal {
            held.log = LogWriter::open(&held.status.log_path, logs, vec![("stdout", terminal)]).ok();
        }
        self.cgroups.kill_as_one(&cgroup);
        self.save(id);
        for text in warnings {
            self.send(pending.connection, &Message::Warning { text }, Vec::new());
        }
        self.answer(pending, Ok(Reply::Done), Vec::new());
        let unwanted = self.ending.is_some() || self.containers.get(id).is_some_and(|held| held.removing.is_some());
        if unwanted {
            self.kill_container(id);
        }
        if let Some(at) = self.unclaimed.iter().position(|(dead, _)| *dead == pid) {
            let (_, ended) = self.unclaimed.swap_remove(at);
            self.container_ended(id, ended);
        }
    }

    fn build_failed(&mut self, id: &ContainerId, pending: Pending, refusal: Refusal) {
        self.answer(pending, Err(refusal), Vec::new());
        if let Some(held) = self.containers.get_mut(id) {
            held.log = None;
            held.removing.get_or_insert(None);
        }
        self.clean(id);
    }

    /// The program runs, or said why it cannot.
    fn program_started(&mut self, id: &ContainerId) {
        let Some(held) = self.containers.get_mut(id) else { return };
        let Some(status) = held.exec_status.take() else { return };
        let count = rustix::io::read(&status, &mut self.buffer[..]).unwrap_or(0);
        if count > 0 {
            // Its end follows at once and tells it.
            held.start_failure = Some(String::from_utf8_lossy(&self.buffer[..count]).into_owned());
            return;
        }
        let started_at = held.started_at.unwrap_or_else(clock::now);
        held.status.state = ContainerState::Running { pid: held.host_pid, started_at };
        let state = held.status.state.clone();
        let pending = held.starting.take();
        self.save(id);
        if let Some(pending) = pending {
            self.answer(pending, Ok(Reply::State(state)), Vec::new());
        }
    }

    fn pump(&mut self, id: &ContainerId) {
        if let Some(log) = self.containers.get_mut(id).and_then(|held| held.log.as_mut()) {
            log.pump(&mut self.buffer);
        }
    }

    fn container_ended(&mut self, id: &ContainerId, ended: Ended) {
        if self.containers.get(id).is_some_and(|h| h.exec_status.is_some() && h.started_at.is_some()) {
            self.program_started(id);
        }
        let oom = self.cgroups.oom_kills(&self.cgroup(id)) > 0;
        let dir = self.dir(id);
        if self.spawn.spec.host_pid {
            self.kill_container(id);
        }
        let Some(held) = self.containers.get_mut(id) else { return };
        held.pid = 0;
        held.exec_status = None;
        if let Some(mut log) = held.log.take() {
            log.finish(&mut self.buffer);
        }
        let exit = match held.start_failure.take() {
            Some(message) => Exit {
                code: 128,
                signal: None,
                reason: ExitReason::StartError,
                message,
                started_at: None,
                finished_at: clock::now(),
            },
            None => Exit {
                code: ended.code,
                signal: ended.signal,
                reason: match ended.code {
                    0 => ExitReason::Completed,
                    _ if oom => ExitReason::OomKilled,
                    _ => ExitReason::Error,
                },
                message: build::termination_message(&dir),
                started_at: held.started_at,
                finished_at: clock::now(),
            },
        };
        held.status.state = ContainerState::Exited(exit.clone());
        let pending = held.starting.take();
        let removing = held.removing.is_some();
        self.save(id);
        if let Some(pending) = pending {
            let result = match exit.reason {
                ExitReason::StartError => Err(Refusal::Start(exit.message.clone())),
                _ => Ok(Reply::State(ContainerState::Exited(exit.clone()))),
            };
            self.answer(pending, result, Vec::new());
        }
        self.tell_all(&Message::Exited { container: id.clone(), exit });
        if removing {
            self.clean(id);
        }
    }

    fn save(&mut self, id: &ContainerId) {
        let path = self.dir(id).join(RECORD);
        let Some(held) = self.containers.get(id) else { return };
        if let Err(error) = write_atomically(&path, &held.status) {
            let text = format!(
                "write {}: {error}; an agent that starts after this helper's end will not know",
                path.display()
            );
            self.tell_all(&Message::Warning { text });
        }
    }

    fn clean(&mut self, id: &ContainerId) {
        let pending = self.containers.get_mut(id).and_then(|held| held.removing.as_mut()).and_then(Option::take);
        let (dir, cgroup) = (self.dir(id), self.cgroup(id));
        let cgroups = &self.cgroups;
        match in_child(|_socket| build::clean(&dir, cgroups, &cgroup)) {
            Ok((pid, socket)) => {
                let kind = JobKind::Clean { container: id.clone(), pending };
                self.jobs.push(Job { pid, socket, receiver: Receiver::default(), kind });
            }
            Err(error) => {
                if let Some(pending) = pending {
                    self.answer(pending, Err(Refusal::Other(format!("fork: {error}"))), Vec::new());
                }
            }
        }
    }
}
