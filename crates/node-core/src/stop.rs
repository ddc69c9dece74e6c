//! The end of a pod: containers first, then sandbox and volumes, then the object.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;

use crate::after;
use crate::backoff::Backoff;
use crate::container::{Container, Role, Surroundings};
use crate::machine::{Once, PodMachine};
use crate::step::{Action, StopCause};

/// Time to end for a pod whose object was removed by force.
const GONE_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) cause: StopCause,
    /// Phase, reason and message that the pod keeps from now on; `None` while its containers decide.
    pub(crate) terminal: Option<Terminal>,
    deadline: Timestamp,
    torn: Once,
    torn_logs: bool,
    deleted: Once,
    backoff: Backoff,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Terminal {
    pub(crate) phase: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

impl Stop {
    /// The stop of a pod that the API says has ended: what may be left of it is cleaned away.
    pub(crate) fn at_rest(pod: &Pod, now: Timestamp) -> Self {
        let status = pod.status.as_ref();
        let terminal = status.map(|status| Terminal {
            phase: if status.phase.as_deref() == Some("Succeeded") { "Succeeded" } else { "Failed" },
            reason: status.reason.clone(),
            message: status.message.clone(),
        });
        Self { terminal, ..Self::new(StopCause::Completed, now) }
    }

    fn new(cause: StopCause, deadline: Timestamp) -> Self {
        Self {
            cause,
            terminal: None,
            deadline,
            torn: Once::Todo,
            torn_logs: false,
            deleted: Once::Todo,
            backoff: Backoff::step(),
        }
    }

    fn removes_logs(&self) -> bool {
        matches!(self.cause, StopCause::Deleted | StopCause::Gone)
    }

    pub(crate) fn is_torn(&self) -> bool {
        matches!(self.torn, Once::Done) && (self.torn_logs || !self.removes_logs())
    }

    pub(crate) fn deadlines(&self, out: &mut Vec<Timestamp>) {
        out.extend(self.torn.retry_at());
        out.extend(self.deleted.retry_at());
    }

    pub(crate) fn is_done(&self) -> bool {
        match self.cause {
            StopCause::Gone => self.is_torn(),
            StopCause::Deleted => self.is_torn() && matches!(self.deleted, Once::Done),
            StopCause::Completed | StopCause::Deadline | StopCause::Shutdown { .. } | StopCause::Rejected { .. } => {
                false
            }
        }
    }
}

/// True if a controller will replace the pod.
pub(crate) fn is_controlled(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

impl PodMachine {
    pub(crate) fn begin_stop(&mut self, cause: StopCause, now: Timestamp) {
        let own_secs = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let own = Duration::from_secs(u64::try_from(own_secs).unwrap_or(1));
        let grace = match &cause {
            StopCause::Gone => GONE_GRACE.min(own),
            StopCause::Shutdown { grace } => own.min(*grace),
            StopCause::Deleted | StopCause::Completed | StopCause::Deadline | StopCause::Rejected { .. } => own,
        };
        self.stop_by(cause, after(now, grace), now);
    }

    /// Begins the end, or hurries one that has begun: the deadline never moves back.
    pub(crate) fn stop_by(&mut self, cause: StopCause, deadline: Timestamp, now: Timestamp) {
        let terminal = self.terminal_for(&cause, now);
        match &mut self.stop {
            None => self.stop = Some(Stop { terminal, ..Stop::new(cause, deadline) }),
            Some(stop) => {
                stop.deadline = stop.deadline.min(deadline);
                let overrides = match (&stop.cause, &cause) {
                    (StopCause::Gone, _) => false,
                    (_, StopCause::Gone | StopCause::Deleted) => true,
                    _ => false,
                };
                if overrides {
                    stop.cause = cause;
                    if matches!(stop.torn, Once::Done) && !stop.torn_logs {
                        stop.torn = Once::Todo;
                    }
                }
            }
        }
    }

    fn terminal_for(&self, cause: &StopCause, now: Timestamp) -> Option<Terminal> {
        let text = |text: &str| Some(text.to_owned());
        match cause {
            StopCause::Deleted | StopCause::Gone => None,
            StopCause::Completed => Some(Terminal {
                phase: if self.outcome(now) == Some(true) { "Succeeded" } else { "Failed" },
                reason: None,
                message: None,
            }),
            StopCause::Deadline => Some(Terminal {
                phase: "Failed",
                reason: text("DeadlineExceeded"),
                message: text("Pod was active on the node longer than the specified deadline"),
            }),
            StopCause::Shutdown { .. } => is_controlled(&self.pod).then(|| Terminal {
                phase: "Failed",
                reason: text("Terminated"),
                message: text("Pod was terminated in response to imminent node shutdown."),
            }),
            StopCause::Rejected { reason, message } => Some(Terminal {
                phase: "Failed",
                reason: Some(reason.clone()),
                message: text(&format!("Pod was rejected: {message}")),
            }),
        }
    }

    /// One step towards the end.
    pub(crate) fn drive_stop(&mut self, now: Timestamp) {
        let mut out = Vec::new();
        self.drive_kills(now, &mut out);
        if !self.containers.iter().any(Container::may_live) {
            self.drive_removal(now, &mut out);
        }
        self.push_all(out);
    }

    /// Ordinary containers first, then sidecars, the last one first.
    fn drive_kills(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let Some(stop) = &self.stop else { return };
        let deadline = stop.deadline;
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        let mut waits = false;
        for role in [Role::App, Role::Init, Role::Sidecar] {
            for container in self.containers.iter_mut().rev().filter(|container| container.role == role) {
                if waits && role == Role::Sidecar {
                    container.drive_kill(&around, out);
                    continue;
                }
                let text = format!("Stopping container {}", container.name);
                container.kill_by(deadline, &text, out);
                container.drive_kill(&around, out);
                waits = waits || (role == Role::Sidecar && container.may_live());
            }
            waits = waits || self.containers.iter().any(|c| c.role == role && c.may_live());
        }
    }

    fn drive_removal(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if matches!(self.volumes, Once::Doing) || matches!(self.sandbox, Once::Doing) {
            return;
        }
        let Some(stop) = &mut self.stop else { return };
        let is_due = |step: &Once| match step {
            Once::Todo => true,
            Once::Failed { retry_at, .. } => *retry_at <= now,
            Once::Doing | Once::Done => false,
        };
        if !stop.is_torn() {
            if is_due(&stop.torn) {
                stop.torn = Once::Doing;
                let logs = stop.removes_logs();
                stop.torn_logs = logs;
                let stays = matches!(stop.cause, StopCause::Shutdown { .. }) && stop.terminal.is_none();
                out.push(Action::TearDown { volumes: !stays, logs });
            }
        } else if stop.cause == StopCause::Deleted && is_due(&stop.deleted) {
            stop.deleted = Once::Doing;
            out.push(Action::DeleteObject);
        }
    }

    pub(crate) fn torn_down(&mut self, result: Result<(), String>, now: Timestamp) {
        let Some(stop) = &mut self.stop else { return };
        match result {
            Ok(()) => {
                stop.backoff.reset();
                // What was asked for while it was being done is done in another round.
                stop.torn = if stop.removes_logs() && !stop.torn_logs { Once::Todo } else { Once::Done };
                self.ips.clear();
                self.sandbox = Once::Todo;
                self.volumes = Once::Todo;
            }
            Err(message) => {
                stop.torn = Once::Failed { message: message.clone(), retry_at: stop.backoff.fail(now) };
                self.warn("FailedKillPod", format!("error killing pod: {message}"));
            }
        }
    }

    pub(crate) fn deleted(&mut self, result: Result<(), String>, now: Timestamp) {
        let Some(stop) = &mut self.stop else { return };
        stop.deleted = match result {
            Ok(()) => Once::Done,
            Err(message) => Once::Failed { message, retry_at: stop.backoff.fail(now) },
        };
    }
}
