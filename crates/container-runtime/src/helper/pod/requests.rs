//! What the agent asks for.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};

use super::super::build::{self, Build};
use super::super::exec::{self, Exec};
use super::super::log::LogWriter;
use super::super::{CONTAINERS, clock, exit, in_child, open_path};
use super::{Held, Job, JobKind, Pending, Pod};
use crate::error::Refusal;
use crate::wire::{ExecRequest, Receiver, Reply, Request, RequestBody};
use crate::{ContainerId, ContainerSpec, ContainerState, ContainerStatus, Signal};

impl Pod {
    pub(super) fn request(&mut self, connection: u64, request: serde_json::Value, fds: Vec<OwnedFd>) {
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

    pub(super) fn dir(&self, container: &ContainerId) -> PathBuf {
        self.spawn.pod_dir.join(CONTAINERS).join(&container.0)
    }

    pub(super) fn cgroup(&self, container: &ContainerId) -> String {
        format!("{}/{container}", self.spawn.cgroup)
    }

    pub(super) fn create(
        &mut self,
        pending: Pending,
        spec: ContainerSpec,
        mounts: Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
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

    pub(super) fn start(&mut self, pending: Pending, id: &ContainerId) -> Result<(), Refusal> {
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
            let dir = open_path(&path)?;
            UnixStream::connect(crate::wire::short_path(&dir, "notify.sock"))?.write_all(b"start container")
        };
        notify().map_err(|error| Refusal::Start(format!("start the container's program: {error}")))?;
        held.starting = Some(pending);
        held.started_at = Some(clock::now());
        Ok(())
    }

    pub(super) fn signal(&mut self, pending: Pending, id: &ContainerId, signal: Signal) -> Result<(), Refusal> {
        let held = self.containers.get(id).ok_or(Refusal::NoContainer)?;
        if held.pid > 0 {
            // SAFETY: sends a signal to a child that was not waited for, so its number is still its own.
            unsafe { libc::kill(held.pid, signal.0) };
        }
        self.answer(pending, Ok(Reply::Done), Vec::new());
        Ok(())
    }

    pub(super) fn remove(&mut self, pending: Pending, id: &ContainerId) -> Result<(), Refusal> {
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

    pub(super) fn exec(
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

    pub(super) fn kill_container(&self, id: &ContainerId) {
        let Some(held) = self.containers.get(id).filter(|held| held.pid > 0) else { return };
        // SAFETY: sends a signal to a child that was not waited for.
        unsafe { libc::kill(held.pid, libc::SIGKILL) };
        if self.spawn.spec.host_pid {
            self.cgroups.signal_kill(&self.cgroup(id));
        }
    }

    pub(super) fn kill_all(&self) {
        for id in self.containers.keys() {
            self.kill_container(id);
        }
    }

    pub(super) fn end_if_empty(&mut self) {
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
        exit(0)
    }
}
