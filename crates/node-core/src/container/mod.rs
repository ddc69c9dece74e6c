//! One container of a pod: image, instances one after the other, hooks, probes, and how it is brought to its end.

mod adopt;
mod image;
mod instance;

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use meta::{Timestamp, Uid};

pub(crate) use adopt::Carried;
pub(crate) use image::Image;

use crate::after;
use crate::alive::Alive;
use crate::backoff::Backoff;
use crate::step::{Action, EventType, Exit, ProbeKind, Record};

/// How long a failed state is shown as it is before the back-off is shown in its place.
const SHOWN: Duration = Duration::from_secs(1);

/// What a container is in its pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that stays (`restartPolicy: Always`).
    Sidecar,
    /// An ordinary container.
    App,
}

/// What the pod's other parts contribute to a decision about one container.
pub(crate) struct Surroundings<'a> {
    pub(crate) pod: &'a core::Pod,
    pub(crate) uid: &'a Uid,
    pub(crate) now: Timestamp,
}

impl Surroundings<'_> {
    pub(crate) fn spec(&self) -> &core::PodSpec {
        // A pod without a spec is refused by the API server; a machine for one is never made.
        self.pod.spec.as_ref().expect("a pod on a node has a spec")
    }

    /// `name_namespace(uid)`: how messages name a pod.
    pub(crate) fn pod_text(&self) -> String {
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        format!("{name}_{namespace}({})", self.uid)
    }

    pub(crate) fn container(&self, name: &str) -> Option<&core::Container> {
        let spec = self.spec();
        spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Current {
    /// No instance, or the last one is of no interest any more.
    None,
    /// Asked for; not known to run.
    Starting { id: String, attempt: u32 },
    /// Its program runs.
    Alive(Box<Alive>),
    /// Its program has ended.
    Ended(Ended),
}

#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) exit: Exit,
    pub(crate) image_id: String,
    backoff_told: bool,
}

/// What an ended container means for its pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Another instance is due.
    Restart,
    /// It did its work.
    Succeeded,
    /// It failed for good.
    Failed,
}

/// The machine of one container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) image: Image,
    pub(crate) current: Current,
    pub(crate) last: Option<Ended>,
    /// Instances that were made.
    pub(crate) attempts: u32,
    /// Why there is no instance: reason and message of the waiting state.
    pub(crate) failure: Option<(&'static str, String)>,
    retry_at: Option<Timestamp>,
    crash: Backoff,
    pull: Backoff,
    start: Backoff,
}

impl Container {
    pub(crate) fn new(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            image: Image::Unknown,
            current: Current::None,
            last: None,
            attempts: 0,
            failure: None,
            retry_at: None,
            crash: Backoff::container(),
            pull: Backoff::container(),
            start: Backoff::step(),
        }
    }

    pub(crate) fn alive(&self) -> Option<&Alive> {
        match &self.current {
            Current::Alive(alive) => Some(alive),
            Current::None | Current::Starting { .. } | Current::Ended(_) => None,
        }
    }

    /// True unless it is certain that no instance lives or is coming to life.
    pub(crate) fn may_live(&self) -> bool {
        matches!(self.current, Current::Starting { .. } | Current::Alive(_))
    }

    pub(crate) fn current_id(&self) -> Option<&str> {
        match &self.current {
            Current::None => None,
            Current::Starting { id, .. } => Some(id),
            Current::Alive(alive) => Some(&alive.id),
            Current::Ended(ended) => Some(&ended.id),
        }
    }

    /// What becomes of it after its last instance ended; `None` while there is no ended one.
    pub(crate) fn fate(&self, around: &Surroundings<'_>) -> Option<Fate> {
        let Current::Ended(ended) = &self.current else { return None };
        let own = around.container(&self.name).and_then(|container| container.restart_policy.as_deref());
        let policy = own.or(around.spec().restart_policy.as_deref()).unwrap_or("Always");
        let failed = ended.exit.code != 0;
        Some(match (self.role, policy, failed) {
            (Role::Sidecar, _, _) | (Role::App, "Always", _) => Fate::Restart,
            (Role::Init | Role::App, _, false) => Fate::Succeeded,
            (_, "Never", true) => Fate::Failed,
            (Role::Init | Role::App, _, true) => Fate::Restart,
        })
    }

    /// Its startup probe, if any, has succeeded, and its post-start hook, if any, is done.
    pub(crate) fn is_started(&self) -> bool {
        self.alive().is_some_and(Alive::is_started)
    }

    /// Ready as the pod's conditions count it.
    pub(crate) fn is_ready(&self) -> bool {
        match (&self.current, self.role) {
            (Current::Alive(alive), Role::App | Role::Sidecar) => {
                alive.is_started()
                    && alive.held_until.is_none()
                    && alive.probes.iter().all(|p| p.kind != ProbeKind::Readiness || p.is_well())
            }
            (Current::Ended(ended), Role::Init) => ended.exit.code == 0,
            _ => false,
        }
    }

    /// Goes one step towards a running instance.
    pub(crate) fn drive(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        match &mut self.current {
            Current::Starting { .. } => {}
            Current::Alive(alive) => alive.drive(&self.name, around, out),
            Current::None => {
                if self.retry_at.is_none_or(|at| at <= around.now) {
                    self.fetch_and_start(around, out);
                }
            }
            Current::Ended(ended) => {
                let hold = self.crash.wait(ended.exit.finished_at);
                if after(ended.exit.finished_at, hold) <= around.now {
                    self.fetch_and_start(around, out);
                } else if !ended.backoff_told && after(ended.exit.finished_at, SHOWN) <= around.now {
                    ended.backoff_told = true;
                    let (wait, pod) = (go_duration(hold), around.pod_text());
                    let text = format!("back-off {wait} restarting failed container={} pod={pod}", self.name);
                    self.failure = Some(("CrashLoopBackOff", text));
                    let message = format!("Back-off restarting failed container {} in pod {pod}", self.name);
                    out.push(self.record(EventType::Warning, "BackOff", message));
                }
            }
        }
    }

    /// Begins to end the living instance, or ends it sooner.
    pub(crate) fn kill_by(&mut self, deadline: Timestamp, why: &str, out: &mut Vec<Action>) {
        let Current::Alive(alive) = &mut self.current else { return };
        let fresh = alive.kill.is_none();
        alive.kill_by(deadline);
        if fresh {
            out.push(self.record(EventType::Normal, "Killing", why.to_owned()));
        }
    }

    /// Goes one step towards the end of the living instance. Readiness goes on being probed (N-36).
    pub(crate) fn drive_kill(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        if let Current::Alive(alive) = &mut self.current {
            alive.drive_kill(&self.name, around, out);
            alive.drive_probes(&self.name, around.now, &[ProbeKind::Readiness], out);
        }
    }

    /// Takes the next try now instead of after its wait: what it waits for may have changed.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        if self.retry_at.is_some() {
            self.retry_at = Some(now);
        }
    }

    /// Forgets that it did its work: its sandbox is gone, and a new one begins from the first init container. One that
    /// failed keeps its back-off.
    pub(crate) fn begin_anew(&mut self) {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Ended(ended) if ended.exit.code == 0 => {
                self.last = Some(ended);
                self.image = Image::Unknown;
            }
            other => self.current = other,
        }
    }

    /// Every moment at which something may be due, past ones included.
    pub(crate) fn deadlines(&self, out: &mut Vec<Timestamp>) {
        if let Image::Failed { retry_at, at, .. } = &self.image {
            out.extend([after(*at, SHOWN), *retry_at]);
        }
        match &self.current {
            Current::None => out.extend(self.retry_at),
            Current::Starting { .. } => {}
            Current::Alive(alive) => alive.deadlines(out),
            Current::Ended(ended) => {
                let end = ended.exit.finished_at;
                out.extend([after(end, SHOWN), after(end, self.crash.wait(end))]);
            }
        }
    }

    fn record(&self, event_type: EventType, reason: &'static str, message: String) -> Action {
        Action::Record(Record { event_type, reason, message, container: Some(self.name.clone()) })
    }
}

/// Prints a time span as Go does, which messages of upstream are made of: `10s`, `2m40s`, `5m0s`, `1.234s`, `250ms`.
pub(crate) fn go_duration(span: Duration) -> String {
    let (secs, millis) = (span.as_secs(), span.subsec_millis());
    if secs == 0 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs}{fraction}s"),
        (0, mins, secs) => format!("{mins}m{secs}{fraction}s"),
        (hours, mins, secs) => format!("{hours}h{mins}m{secs}{fraction}s"),
    }
}
