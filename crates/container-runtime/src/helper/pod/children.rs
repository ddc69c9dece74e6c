//! The helper's child processes: what they say, and their ends.

use std::os::fd::{AsFd, OwnedFd};

use super::super::build::ChildMessage;
use super::super::exec;
use super::{Ended, JobKind, Pod, Running};
use crate::error::Refusal;
use crate::wire::{Message, Reply};

/// Ends of processes that nobody has asked for yet.
const UNCLAIMED_MAX: usize = 64;

impl Pod {
    pub(super) fn reap(&mut self) {
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

    pub(super) fn ended(&mut self, pid: i32, ended: Ended) {
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
    pub(super) fn hear(&mut self, pid: i32) {
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

    pub(super) fn child_said(&mut self, at: usize, message: ChildMessage, mut fds: Vec<OwnedFd>) {
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
    pub(super) fn socket_closed(&mut self, pid: i32) {
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
    pub(super) fn job_ended(&mut self, pid: i32) {
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
}
