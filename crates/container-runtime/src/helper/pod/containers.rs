//! The stations of a container's life.

use std::os::fd::OwnedFd;

use super::super::log::LogWriter;
use super::super::{build, clock, exec, in_child, write_atomically};
use super::{Ended, Job, JobKind, Pending, Pod, RECORD};
use crate::error::Refusal;
use crate::wire::{Message, Receiver, Reply};
use crate::{ContainerId, ContainerState, Exit, ExitReason};

impl Pod {
    pub(super) fn built(
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

    pub(super) fn build_failed(&mut self, id: &ContainerId, pending: Pending, refusal: Refusal) {
        self.answer(pending, Err(refusal), Vec::new());
        if let Some(held) = self.containers.get_mut(id) {
            held.log = None;
            held.removing.get_or_insert(None);
        }
        self.clean(id);
    }

    /// The program runs, or said why it cannot.
    pub(super) fn program_started(&mut self, id: &ContainerId) {
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

    pub(super) fn pump(&mut self, id: &ContainerId) {
        if let Some(log) = self.containers.get_mut(id).and_then(|held| held.log.as_mut()) {
            log.pump(&mut self.buffer);
        }
    }

    pub(super) fn container_ended(&mut self, id: &ContainerId, ended: Ended) {
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

    pub(super) fn save(&mut self, id: &ContainerId) {
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

    pub(super) fn clean(&mut self, id: &ContainerId) {
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
