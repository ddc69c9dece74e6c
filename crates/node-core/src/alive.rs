//! One living container instance: its post-start hook, its probes, and the way to its end (hook, `SIGTERM`, grace,
//! `SIGKILL`, in that order).

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use meta::Timestamp;

use crate::after;
use crate::container::Surroundings;
use crate::probe::Probe;
use crate::step::{Action, EventType, Hook, ProbeKind, Record};

/// Time between `SIGTERM` and `SIGKILL` that a hook cannot eat up.
const TERM_WINDOW: Duration = Duration::from_secs(2);
/// Time after which a kill that changed nothing is repeated.
const KILL_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Alive {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) post_start: HookState,
    pub(crate) probes: Vec<Probe>,
    pub(crate) kill: Option<Kill>,
    /// Not ready before this moment, whatever the probes say.
    pub(crate) held_until: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HookState {
    Todo,
    Doing,
    Done,
}

#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) deadline: Timestamp,
    /// End of the time that `SIGTERM` gets after a hook; the deadline is not moved before it.
    window_end: Option<Timestamp>,
    pub(crate) step: KillStep,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum KillStep {
    Begin,
    Hook { done: bool },
    Terminated,
    Killed { again_at: Timestamp },
}

impl Alive {
    pub(crate) fn image_id(&self) -> &str {
        &self.image_id
    }

    pub(crate) fn is_started(&self) -> bool {
        self.post_start == HookState::Done
            && self.probes.iter().all(|probe| probe.kind != ProbeKind::Startup || probe.is_well())
    }

    pub(crate) fn arm_probes(&mut self, spec: &core::Container, now: Timestamp) {
        let kinds = [
            (ProbeKind::Startup, &spec.startup_probe, false),
            (ProbeKind::Liveness, &spec.liveness_probe, true),
            (ProbeKind::Readiness, &spec.readiness_probe, false),
        ];
        for (kind, probe, well) in kinds {
            if let Some(probe) = probe {
                self.probes.push(Probe::new(kind, probe, self.started_at, now, well));
            }
        }
    }

    pub(crate) fn own_grace(&self, around: &Surroundings<'_>) -> Duration {
        let secs = around.spec().termination_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(u64::try_from(secs).unwrap_or(1))
    }

    pub(crate) fn begin_kill(&mut self, grace: Duration, now: Timestamp) {
        self.kill_by(after(now, grace));
    }

    pub(crate) fn kill_by(&mut self, deadline: Timestamp) {
        match &mut self.kill {
            Some(kill) => {
                let earliest = kill.window_end.map_or(deadline, |end| deadline.max(end));
                kill.deadline = kill.deadline.min(earliest);
            }
            None => self.kill = Some(Kill { deadline, window_end: None, step: KillStep::Begin }),
        }
    }

    pub(crate) fn drive(&mut self, name: &str, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        self.held_until = self.held_until.filter(|until| *until > around.now);
        let spec = around.container(name);
        if self.post_start == HookState::Todo {
            self.post_start = HookState::Doing;
            let limit = Duration::from_secs(u64::from(u32::MAX));
            out.push(Action::RunHook { container: name.to_owned(), id: self.id.clone(), hook: Hook::PostStart, limit });
        }
        if let Some(spec) = spec
            && self.kill.is_none()
            && spec.image.as_deref().is_some_and(|image| image != self.image)
        {
            let message = format!("Container {name} definition changed, will be restarted");
            let record = Record { event_type: EventType::Normal, reason: "Killing", message, container: None };
            out.push(Action::Record(Record { container: Some(name.to_owned()), ..record }));
            self.begin_kill(self.own_grace(around), around.now);
        }
        if self.kill.is_some() {
            self.drive_kill(name, around, out);
            self.drive_probes(name, around.now, &[ProbeKind::Readiness], out);
        } else {
            let all = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
            self.drive_probes(name, around.now, &all, out);
        }
    }

    pub(crate) fn drive_probes(&mut self, name: &str, now: Timestamp, kinds: &[ProbeKind], out: &mut Vec<Action>) {
        if self.post_start != HookState::Done {
            return;
        }
        let started = self.is_started();
        for probe in &mut self.probes {
            let is_its_turn = (probe.kind == ProbeKind::Startup) != started;
            if !is_its_turn || !kinds.contains(&probe.kind) {
                continue;
            }
            if let Some(limit) = probe.begin(now) {
                out.push(Action::Probe { container: name.to_owned(), id: self.id.clone(), kind: probe.kind, limit });
            }
        }
    }

    pub(crate) fn drive_kill(&mut self, name: &str, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let (now, container, id) = (around.now, name.to_owned(), self.id.clone());
        let has_hook = around
            .container(name)
            .and_then(|spec| spec.lifecycle.as_ref())
            .is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
        let Some(kill) = &mut self.kill else { return };
        let over = kill.deadline <= now;
        match kill.step {
            KillStep::Begin if over => {
                kill.step = KillStep::Killed { again_at: after(now, KILL_AGAIN) };
                out.push(Action::Kill { container, id });
            }
            KillStep::Begin if has_hook => {
                kill.step = KillStep::Hook { done: false };
                let limit = Duration::try_from(kill.deadline.duration_since(now)).unwrap_or_default();
                out.push(Action::RunHook { container, id, hook: Hook::PreStop, limit });
            }
            KillStep::Hook { done } if !done && !over => {}
            KillStep::Begin | KillStep::Hook { .. } => {
                if has_hook {
                    kill.deadline = kill.deadline.max(after(now, TERM_WINDOW));
                    kill.window_end = Some(kill.deadline);
                }
                kill.step = KillStep::Terminated;
                out.push(Action::Terminate { container, id });
            }
            KillStep::Terminated if over => {
                kill.step = KillStep::Killed { again_at: after(now, KILL_AGAIN) };
                out.push(Action::Kill { container, id });
            }
            KillStep::Killed { again_at } if again_at <= now => {
                kill.step = KillStep::Killed { again_at: after(now, KILL_AGAIN) };
                out.push(Action::Kill { container, id });
            }
            KillStep::Terminated | KillStep::Killed { .. } => {}
        }
    }

    pub(crate) fn deadlines(&self, out: &mut Vec<Timestamp>) {
        out.extend(self.kill.as_ref().map(|kill| match kill.step {
            KillStep::Killed { again_at } => again_at,
            KillStep::Begin | KillStep::Hook { .. } | KillStep::Terminated => kill.deadline,
        }));
        out.extend(self.held_until);
        out.extend(self.probes.iter().filter_map(Probe::next_at));
    }
}
