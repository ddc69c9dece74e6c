//! One container of a pod: image, instances one after the other, hooks, probes, and how it is brought to its end.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use meta::{Timestamp, Uid};

use crate::after;
use crate::alive::{Alive, HookState, Kill, KillStep};
use crate::backoff::Backoff;
use crate::probe::Verdict;
use crate::step::{
    Action, EventType, Exit, ExitCause, Hook, ImageFact, ImageFailure, ProbeKind, ProbeOutcome, Pulled, Record,
    StartFailure, container_id,
};

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
pub(crate) enum Image {
    Unknown,
    Finding,
    Missing,
    Pulling,
    Present(ImageFact),
    Failed { reason: &'static str, message: String, at: Timestamp, retry_at: Timestamp, told: bool },
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

impl Ended {
    /// The better account of one end: the API only knows that it ran where the machine knows how it ended.
    fn or(self, found: Self) -> Self {
        if self.exit.cause == ExitCause::Sandbox { Self { image_id: self.image_id, ..found } } else { self }
    }
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

    fn fetch_and_start(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let Some(spec) = around.container(&self.name) else { return };
        let image = spec.image.as_deref().unwrap_or_default();
        let policy = spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        match &mut self.image {
            Image::Finding | Image::Pulling => {}
            Image::Unknown if policy == "Always" => self.begin_pull(image, out),
            Image::Unknown => {
                self.image = Image::Finding;
                out.push(Action::FindImage { container: self.name.clone() });
            }
            Image::Missing if policy == "Never" => {
                let message = format!("Container image {image:?} is not present with pull policy of Never");
                out.push(self.record(EventType::Warning, "ErrImageNeverPull", message.clone()));
                out.push(self.record(EventType::Warning, "Failed", "Error: ErrImageNeverPull".to_owned()));
                self.image_failed("ErrImageNeverPull", message, around.now);
            }
            Image::Missing => self.begin_pull(image, out),
            Image::Failed { retry_at, reason, .. } if *retry_at <= around.now => {
                if *reason == "ErrImagePull" {
                    self.begin_pull(image, out);
                } else {
                    self.image = Image::Finding;
                    out.push(Action::FindImage { container: self.name.clone() });
                }
            }
            Image::Failed { reason: "ErrImagePull", message, at, told, .. } => {
                if !*told && after(*at, SHOWN) <= around.now {
                    *told = true;
                    let text = format!("Back-off pulling image {image:?}");
                    self.failure = Some(("ImagePullBackOff", format!("{text}: ErrImagePull: {message}")));
                    out.push(self.record(EventType::Normal, "BackOff", text));
                    out.push(self.record(EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned()));
                }
            }
            Image::Failed { .. } => {}
            Image::Present(_) => self.begin_start(around, out),
        }
    }

    fn begin_pull(&mut self, image: &str, out: &mut Vec<Action>) {
        self.image = Image::Pulling;
        out.push(self.record(EventType::Normal, "Pulling", format!("Pulling image {image:?}")));
        out.push(Action::PullImage { container: self.name.clone() });
    }

    fn begin_start(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
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

    pub(crate) fn image_found(
        &mut self,
        found: Result<Option<ImageFact>, ImageFailure>,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.image, Image::Finding) {
            return;
        }
        match found {
            Ok(Some(image)) => {
                let name = self.image_name(around);
                let text =
                    format!("Container image {name:?} already present on machine and can be accessed by the pod");
                out.push(self.record(EventType::Normal, "Pulled", text));
                self.image_present(image);
            }
            Ok(None) => self.image = Image::Missing,
            Err(failure) => self.image_refused(failure, around, out),
        }
    }

    pub(crate) fn image_pulled(
        &mut self,
        pulled: Result<Pulled, ImageFailure>,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.image, Image::Pulling) {
            return;
        }
        match pulled {
            Ok(Pulled { image, took, size_bytes }) => {
                let took = go_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
                let name = self.image_name(around);
                let text = format!(
                    "Successfully pulled image {name:?} in {took} ({took} including waiting). \
                     Image size: {size_bytes} bytes."
                );
                out.push(self.record(EventType::Normal, "Pulled", text));
                self.image_present(image);
            }
            Err(failure) => self.image_refused(failure, around, out),
        }
    }

    fn image_name(&self, around: &Surroundings<'_>) -> String {
        around.container(&self.name).and_then(|spec| spec.image.clone()).unwrap_or_default()
    }

    fn image_present(&mut self, image: ImageFact) {
        self.image = Image::Present(image);
        self.pull.reset();
        self.failure = None;
    }

    fn image_refused(&mut self, failure: ImageFailure, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let image = self.image_name(around);
        match failure {
            ImageFailure::InvalidName(why) => {
                let message = format!("Failed to apply default image tag {image:?}: {why}");
                out.push(self.record(EventType::Warning, "InspectFailed", message.clone()));
                out.push(self.record(EventType::Warning, "Failed", "Error: InvalidImageName".to_owned()));
                self.image_failed("InvalidImageName", message, around.now);
            }
            ImageFailure::Pull(why) => {
                let message = format!("Failed to pull image {image:?}: {why}");
                out.push(self.record(EventType::Warning, "Failed", message));
                out.push(self.record(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned()));
                self.image_failed("ErrImagePull", why, around.now);
            }
        }
    }

    fn image_failed(&mut self, reason: &'static str, message: String, now: Timestamp) {
        let retry_at = self.pull.fail(now);
        self.failure = Some((reason, message.clone()));
        self.image = Image::Failed { reason, message, at: now, retry_at, told: false };
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

    fn image_id(&self) -> &str {
        match &self.image {
            Image::Present(image) => &image.id,
            _ => "",
        }
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

    fn end_as(&mut self, ended: Ended) {
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

    /// Makes the container as it was found on the node by an agent that has just started.
    pub(crate) fn adopt_alive(
        &mut self,
        id: String,
        attempt: u32,
        started_at: Timestamp,
        carried: Carried,
        around: &Surroundings<'_>,
    ) {
        let mut alive = Alive {
            id,
            attempt,
            started_at,
            image: self.image_name(around),
            image_id: carried.image_id,
            post_start: HookState::Done,
            probes: Vec::new(),
            kill: None,
            held_until: None,
        };
        if let Some(spec) = around.container(&self.name) {
            alive.arm_probes(spec, around.now);
            for probe in &mut alive.probes {
                let well = match probe.kind {
                    ProbeKind::Startup => carried.started,
                    ProbeKind::Readiness => carried.ready,
                    ProbeKind::Liveness => true,
                };
                probe.carry(well);
            }
        }
        self.attempts = attempt + 1;
        self.image = Image::Present(ImageFact { id: alive.image_id.clone() });
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Ended(known) if known.id != alive.id => self.last = Some(known),
            _ => {}
        }
        self.current = Current::Alive(Box::new(alive));
    }

    /// Takes note of an instance that was found dead: it becomes the current one, or, if a later one is known, the one
    /// before that.
    pub(crate) fn adopt_ended(&mut self, id: String, attempt: u32, exit: Exit, image_id: String) {
        self.attempts = self.attempts.max(attempt + 1);
        let found = Ended { id, attempt, exit, image_id, backoff_told: false };
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Ended(known) if known.id == found.id => self.end_as(known.or(found)),
            Current::Ended(known) if known.attempt > found.attempt => {
                let older = match self.last.take() {
                    Some(last) if last.id == found.id => last.or(found),
                    Some(last) if last.attempt > found.attempt => last,
                    _ => found,
                };
                self.last = Some(older);
                self.current = Current::Ended(known);
            }
            Current::Ended(known) => {
                self.last = Some(known);
                self.end_as(found);
            }
            Current::None | Current::Starting { .. } | Current::Alive(_) => self.end_as(found),
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

/// What an agent before this one had found out about an instance that still lives (S24).
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) ready: bool,
    pub(crate) started: bool,
    pub(crate) image_id: String,
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
