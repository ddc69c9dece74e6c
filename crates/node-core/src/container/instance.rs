//! One instance of a container after the other: started, probed, ended.

use std::time::Duration;

use meta::Timestamp;

use super::{Container, Current, Ended, Image, Surroundings};
use crate::alive::{Alive, HookState, Kill, KillStep};
use crate::probe::Verdict;
use crate::step::{Action, EventType, Exit, ExitCause, Hook, ProbeKind, ProbeOutcome, StartFailure, container_id};

impl Container {
    pub(super) fn begin_start(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        if let Current::Ended(ended) = std::mem::replace(&mut self.current, Current::None) {
            self.crash.grow(around.now);
            if let Some(older) = self.last.replace(ended) {
                out.push(Action::RemoveContainer {
                    id: older.id,
                    attempt: older.attempt,
                    container: self.name.clone(),
                });
            }
        }
        let attempt = self.attempts;
        let id = container_id(around.uid, &self.name, attempt);
        out.push(Action::StartContainer { container: self.name.clone(), id: id.clone(), attempt });
        self.current = Current::Starting { id, attempt };
    }

    pub(crate) fn started(&mut self, id: &str, at: Timestamp, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let Current::Starting { id: wanted, attempt } = &self.current else { return };
        if wanted != id {
            return;
        }
        let attempt = *attempt;
        out.push(self.record(EventType::Normal, "Created", "Container created".to_owned()));
        out.push(self.record(EventType::Normal, "Started", "Container started".to_owned()));
        self.attempts = attempt + 1;
        self.failure = None;
        self.start.reset();
        let spec = around.container(&self.name);
        let has_hook =
            spec.and_then(|spec| spec.lifecycle.as_ref()).is_some_and(|lifecycle| lifecycle.post_start.is_some());
        let mut alive = Alive {
            id: id.to_owned(),
            attempt,
            started_at: at,
            image: self.image_name(around),
            image_id: self.image_id().to_owned(),
            post_start: if has_hook { HookState::Todo } else { HookState::Done },
            probes: Vec::new(),
            kill: None,
            held_until: None,
        };
        if !has_hook && let Some(spec) = spec {
            alive.arm_probes(spec, around.now);
        }
        self.current = Current::Alive(Box::new(alive));
    }

    pub(crate) fn hold_readiness(&mut self, id: &str, until: Timestamp) {
        if let Current::Alive(alive) = &mut self.current
            && alive.id == id
        {
            alive.held_until = Some(until);
        }
    }

    pub(crate) fn not_started(
        &mut self,
        id: &str,
        failure: StartFailure,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        let Current::Starting { id: wanted, attempt } = &self.current else { return };
        if wanted != id {
            return;
        }
        let attempt = *attempt;
        let (reason, message) = match failure {
            StartFailure::Config(why) => ("CreateContainerConfigError", why),
            StartFailure::Create(why) => ("CreateContainerError", why),
            StartFailure::Start(why) => {
                out.push(self.record(EventType::Normal, "Created", "Container created".to_owned()));
                out.push(self.record(EventType::Warning, "Failed", format!("Error: {why}")));
                self.attempts = attempt + 1;
                self.failure = Some(("RunContainerError", why.clone()));
                let exit = Exit {
                    code: 128,
                    signal: None,
                    cause: ExitCause::Start,
                    message: why,
                    started_at: None,
                    finished_at: around.now,
                };
                self.end(id.to_owned(), attempt, exit, self.image_id().to_owned());
                return;
            }
        };
        out.push(self.record(EventType::Warning, "Failed", format!("Error: {message}")));
        self.failure = Some((reason, message));
        self.retry_at = Some(self.start.fail(around.now));
        self.image = Image::Unknown;
        self.current = Current::None;
    }

    fn end(&mut self, id: String, attempt: u32, exit: Exit, image_id: String) {
        self.end_as(Ended { id, attempt, exit, image_id, backoff_told: false });
    }

    pub(super) fn end_as(&mut self, ended: Ended) {
        self.current = Current::Ended(ended);
        self.image = Image::Unknown;
    }

    pub(crate) fn exited(&mut self, id: &str, exit: Exit, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        if let Current::Starting { id: wanted, .. } = &self.current
            && wanted == id
        {
            if exit.cause == ExitCause::Start {
                self.not_started(id, StartFailure::Start(exit.message), around, out);
                return;
            }
            // It was so quick that its end overtook the news of its start.
            self.started(id, exit.started_at.unwrap_or(exit.finished_at), around, out);
        }
        let Current::Alive(alive) = &self.current else { return };
        if alive.id != id {
            return;
        }
        self.failure = None;
        self.end(id.to_owned(), alive.attempt, exit, alive.image_id.clone());
    }

    pub(crate) fn hook_done(
        &mut self,
        id: &str,
        hook: Hook,
        result: Result<(), String>,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        let Current::Alive(alive) = &mut self.current else { return };
        if alive.id != id {
            return;
        }
        let mut told = None;
        match (hook, result) {
            (Hook::PostStart, Ok(())) => {
                alive.post_start = HookState::Done;
                if let Some(spec) = around.container(&self.name) {
                    alive.arm_probes(spec, around.now);
                }
            }
            (Hook::PostStart, Err(why)) => {
                told = Some(("FailedPostStartHook", "PostStartHook failed".to_owned()));
                self.failure = Some(("PostStartHookError", why));
                alive.begin_kill(alive.own_grace(around), around.now);
            }
            (Hook::PreStop, result) => {
                if result.is_err() {
                    told = Some(("FailedPreStopHook", "PreStopHook failed".to_owned()));
                }
                if let Some(Kill { step: KillStep::Hook { done }, .. }) = &mut alive.kill {
                    *done = true;
                }
            }
        }
        if let Some((reason, message)) = told {
            out.push(self.record(EventType::Warning, reason, message));
            if reason == "FailedPostStartHook" {
                out.push(self.record(EventType::Normal, "Killing", "FailedPostStartHook".to_owned()));
            }
        }
    }

    pub(crate) fn probed(
        &mut self,
        id: &str,
        kind: ProbeKind,
        outcome: &ProbeOutcome,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        let Current::Alive(alive) = &mut self.current else { return };
        if alive.id != id {
            return;
        }
        let Some(probe) = alive.probes.iter_mut().find(|probe| probe.kind == kind) else { return };
        let (verdict, tell) = probe.take(outcome, around.now);
        if verdict == Verdict::Well && kind == ProbeKind::Startup {
            alive.probes.iter_mut().for_each(|probe| probe.hurry(around.now));
        }
        let mut told = Vec::new();
        if tell {
            let text = match outcome {
                ProbeOutcome::Success => String::new(),
                ProbeOutcome::Failure(why) => format!("{} probe failed: {why}", kind.title()),
                ProbeOutcome::Errored(why) => format!("{} probe errored: {why}", kind.title()),
            };
            told.push((EventType::Warning, "Unhealthy", text));
        }
        if verdict == Verdict::Failing && kind != ProbeKind::Readiness && alive.kill.is_none() {
            let probe = kind.title().to_lowercase();
            let text = format!("Container {} failed {probe} probe, will be restarted", self.name);
            told.push((EventType::Normal, "Killing", text));
            let own = around.container(&self.name).and_then(|spec| match kind {
                ProbeKind::Liveness => spec.liveness_probe.as_ref(),
                ProbeKind::Startup | ProbeKind::Readiness => spec.startup_probe.as_ref(),
            });
            let grace = own
                .and_then(|probe| probe.termination_grace_period_seconds)
                .and_then(|secs| u64::try_from(secs).ok())
                .map_or_else(|| alive.own_grace(around), Duration::from_secs);
            alive.begin_kill(grace, around.now);
        }
        for (event_type, reason, message) in told {
            out.push(self.record(event_type, reason, message));
        }
    }
}
