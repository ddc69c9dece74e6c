//! One pod on this node, from the moment it is seen until nothing of it is left.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{self as core, Pod};
use meta::{Timestamp, Uid};

use crate::after;
use crate::backoff::Backoff;
use crate::container::{Carried, Container, Current, Fate, Role, Surroundings};
use crate::step::{Action, Confirmation, Event, EventType, Exit, ExitCause, Record, StopCause};
use crate::stop::Stop;

/// What is the same for every pod of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Addresses of the node.
    pub host_ips: Vec<IpAddr>,
    /// How container ids are prefixed in the status, for example `roadstead`.
    pub runtime_name: String,
}

/// What an agent that has just started finds of a pod on its machine.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Addresses of the living sandbox; `None` if it is dead, was never made, or may be half made.
    pub sandbox: Option<Vec<IpAddr>>,
    /// Containers on record, oldest first.
    pub containers: Vec<FoundContainer>,
}

/// One container that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundContainer {
    /// Its id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Instances of this name before it.
    pub attempt: u32,
    /// When it was started, if it lives; else how it ended.
    pub state: Result<Timestamp, Exit>,
}

/// A step that the pod needs once, and that may have to be tried again.
#[derive(Clone, Debug)]
pub(crate) enum Once {
    Todo,
    Doing,
    Done,
    Failed { message: String, retry_at: Timestamp },
}

impl Once {
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Failed { retry_at, .. } => Some(*retry_at),
            Self::Todo | Self::Doing | Self::Done => None,
        }
    }
}

/// Before anything is started: the predecessor's death, then the linearizable read (S2, S3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Predecessor,
    Ask { not_before: Timestamp },
    Asked,
    Open,
}

/// The machine of one pod.
#[derive(Clone, Debug)]
pub struct PodMachine {
    pub(crate) pod: Arc<Pod>,
    pub(crate) uid: Uid,
    pub(crate) settings: Settings,
    gate: Gate,
    pub(crate) volumes: Once,
    volumes_backoff: Backoff,
    pub(crate) sandbox: Once,
    sandbox_backoff: Backoff,
    /// A sandbox died while one was being made: perhaps the one whose making is yet to be told.
    sandbox_died_meanwhile: bool,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) containers: Vec<Container>,
    pub(crate) seen_at: Timestamp,
    pub(crate) stop: Option<Stop>,
    pub(crate) conditions: BTreeMap<&'static str, (String, Timestamp)>,
    pending: Vec<Action>,
    polled_at: Timestamp,
}

impl PodMachine {
    /// A machine for a pod that is new to this agent. With `predecessor`, another pod of the same name may still live
    /// here: nothing is started before [`Event::PredecessorGone`].
    pub fn new(pod: Arc<Pod>, settings: Settings, predecessor: bool, now: Timestamp) -> Self {
        let spec = pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().map(|container| {
            let stays = container.restart_policy.as_deref() == Some("Always");
            Container::new(&container.name, if stays { Role::Sidecar } else { Role::Init })
        });
        let apps = spec.iter().flat_map(|spec| &spec.containers).map(|c| Container::new(&c.name, Role::App));
        let containers = inits.chain(apps).collect();
        let status = pod.status.as_ref();
        let started = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let mut machine = Self {
            uid: Uid(pod.metadata.uid.clone().unwrap_or_default()),
            settings,
            gate: if predecessor && !meta::mutants::is_on("successor-does-not-wait") {
                Gate::Predecessor
            } else {
                Gate::Ask { not_before: now }
            },
            volumes: Once::Todo,
            volumes_backoff: Backoff::step(),
            sandbox: Once::Todo,
            sandbox_backoff: Backoff::step(),
            sandbox_died_meanwhile: false,
            ips: Vec::new(),
            containers,
            seen_at: started.unwrap_or(now),
            stop: None,
            conditions: crate::status::known_conditions(&pod),
            pending: Vec::new(),
            polled_at: Timestamp::MIN,
            pod,
        };
        machine.recall(now);
        machine.note_deletion(now, true);
        machine
    }

    /// Takes over what an agent before this one has left: living containers are not touched (S24), dead ones are
    /// treated by the restart policy.
    pub fn adopt(&mut self, found: Found, now: Timestamp) {
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        for one in found.containers {
            let Some(container) = self.containers.iter_mut().find(|container| container.name == one.name) else {
                continue;
            };
            let known = status_of(&pod, &one.name)
                .filter(|status| status.container_id.as_deref().is_some_and(|id| id.ends_with(&one.id)));
            let image_id = known.map(|status| status.image_id.clone()).unwrap_or_default();
            match one.state {
                Ok(started_at) if found.sandbox.is_some() => {
                    let carried = Carried {
                        ready: known.is_some_and(|status| status.ready)
                            && !meta::mutants::is_on("agent-forgets-readiness"),
                        started: known.is_some_and(|status| status.started == Some(true)),
                        image_id,
                    };
                    container.adopt_alive(one.id, one.attempt, started_at, carried, &around);
                }
                Ok(started_at) => {
                    container.adopt_ended(one.id, one.attempt, lost(Some(started_at), now), image_id);
                }
                Err(exit) => container.adopt_ended(one.id, one.attempt, exit, image_id),
            }
        }
        match found.sandbox {
            Some(ips) => {
                self.ips = ips;
                self.sandbox = Once::Done;
                self.volumes = Once::Done;
            }
            None => self.sandbox_lost(now),
        }
    }

    /// What the API remembers of containers that this machine may know nothing about any more.
    fn recall(&mut self, now: Timestamp) {
        let pod = self.pod.clone();
        for container in &mut self.containers {
            let Some(status) = status_of(&pod, &container.name) else { continue };
            let Some(id) = status.container_id.as_deref() else { continue };
            let id = id.rsplit('/').next().unwrap_or(id).to_owned();
            let attempt = u32::try_from(status.restart_count).unwrap_or(0);
            if let Some(last) = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()) {
                let last_id = last.container_id.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or_default();
                let exit = recalled(last, now);
                container.adopt_ended(last_id.to_owned(), attempt.saturating_sub(1), exit, status.image_id.clone());
            }
            let state = status.state.as_ref();
            let exit = match state.and_then(|state| state.terminated.as_ref()) {
                Some(terminated) => recalled(terminated, now),
                None if state.is_some_and(|state| state.running.is_some()) => {
                    let started = state.and_then(|s| s.running.as_ref()).and_then(|r| r.started_at.as_ref());
                    lost(started.map(|time| time.0), now)
                }
                None => continue,
            };
            container.adopt_ended(id, attempt, exit, status.image_id.clone());
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.stop = Some(Stop::at_rest(&pod, now));
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Timestamp) {
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        let out = &mut self.pending;
        match event {
            Event::Updated(pod) => self.updated(pod, now),
            Event::Gone => self.begin_stop(StopCause::Gone, now),
            Event::PredecessorGone => {
                if self.gate == Gate::Predecessor {
                    self.gate = Gate::Ask { not_before: now };
                }
            }
            Event::Confirmed(answer) => self.confirmed(answer, now),
            Event::Volumes(result) => self.volumes_answered(result, now),
            Event::Sandbox(result) => self.sandbox_answered(result, now),
            Event::SandboxDied => self.sandbox_lost(now),
            Event::ImageFound { container, image } => {
                if let Some(container) = self.containers.iter_mut().find(|c| c.name == container) {
                    container.image_found(image, &around, out);
                }
            }
            Event::ImagePulled { container, image } => {
                if let Some(container) = self.containers.iter_mut().find(|c| c.name == container) {
                    container.image_pulled(image, &around, out);
                }
            }
            Event::Started { id, at } => self.containers.iter_mut().for_each(|c| c.started(&id, at, &around, out)),
            Event::NotStarted { id, failure } => {
                self.containers.iter_mut().for_each(|c| c.not_started(&id, failure.clone(), &around, out));
            }
            Event::Exited { id, exit } => {
                self.containers.iter_mut().for_each(|c| c.exited(&id, exit.clone(), &around, out));
            }
            Event::HookDone { id, hook, result } => {
                self.containers.iter_mut().for_each(|c| c.hook_done(&id, hook, result.clone(), &around, out));
            }
            Event::Probed { id, kind, outcome } => {
                self.containers.iter_mut().for_each(|c| c.probed(&id, kind, &outcome, &around, out));
            }
            Event::HoldReadiness { id, until } => self.containers.iter_mut().for_each(|c| c.hold_readiness(&id, until)),
            Event::SourcesChanged => self.hurry(now),
            Event::Stop(cause) => self.begin_stop(cause, now),
            Event::TornDown(result) => self.torn_down(result, now),
            Event::Deleted(result) => self.deleted(result, now),
        }
    }

    fn updated(&mut self, pod: Arc<Pod>, now: Timestamp) {
        self.pod = pod;
        self.note_deletion(now, false);
    }

    /// Begins the end if the API asks for it; a later request can only shorten the grace (N-40).
    fn note_deletion(&mut self, now: Timestamp, at_first_sight: bool) {
        let metadata = &self.pod.metadata;
        let Some(deletion) = &metadata.deletion_timestamp else { return };
        let secs = metadata.deletion_grace_period_seconds.unwrap_or(0);
        let mut deadline = after(now, Duration::from_secs(u64::try_from(secs).unwrap_or(0)));
        if at_first_sight {
            // An agent before this one may have begun: the grace must not start again (S24). The API's moment has
            // whole seconds, hence one more.
            deadline = deadline.min(after(deletion.0, Duration::from_secs(1)).max(now));
        }
        self.stop_by(StopCause::Deleted, deadline, now);
    }

    fn confirmed(&mut self, answer: Confirmation, now: Timestamp) {
        if self.gate != Gate::Asked {
            return;
        }
        match answer {
            Confirmation::Wanted => self.gate = Gate::Open,
            Confirmation::NotWanted => self.begin_stop(StopCause::Gone, now),
            Confirmation::Unknown => self.gate = Gate::Ask { not_before: after(now, Duration::from_secs(1)) },
        }
    }

    fn volumes_answered(&mut self, result: Result<(), String>, now: Timestamp) {
        self.volumes = match result {
            Ok(()) => {
                self.volumes_backoff.reset();
                Once::Done
            }
            Err(message) => {
                self.warn("FailedMount", message.clone());
                Once::Failed { message, retry_at: self.volumes_backoff.fail(now) }
            }
        };
    }

    fn sandbox_answered(&mut self, result: Result<Vec<IpAddr>, String>, now: Timestamp) {
        let died_meanwhile = std::mem::take(&mut self.sandbox_died_meanwhile);
        self.sandbox = match result {
            // One that lives is found by the next try.
            Ok(_) if died_meanwhile => Once::Todo,
            Ok(ips) => {
                self.sandbox_backoff.reset();
                self.ips = ips;
                Once::Done
            }
            Err(why) => {
                self.warn("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {why}"));
                Once::Failed { message: why, retry_at: self.sandbox_backoff.fail(now) }
            }
        };
    }

    /// Every process of the pod is dead: what is to run again runs in a new sandbox, from the first init container,
    /// and only after a new confirmation.
    fn sandbox_lost(&mut self, now: Timestamp) {
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        for container in &mut self.containers {
            if let Some(alive) = container.alive() {
                let (id, exit) = (alive.id.clone(), lost(Some(alive.started_at), now));
                container.exited(&id, exit, &around, &mut self.pending);
            }
        }
        match self.sandbox {
            Once::Doing => self.sandbox_died_meanwhile = true,
            Once::Todo | Once::Failed { .. } | Once::Done => self.sandbox = Once::Todo,
        }
        self.ips.clear();
        if self.gate != Gate::Predecessor {
            self.gate = Gate::Ask { not_before: now };
        }
        if self.stop.is_none() && self.outcome(now).is_none() {
            let ran = self.containers.iter().any(|container| container.current_id().is_some());
            self.containers.iter_mut().filter(|c| c.role == Role::Init).for_each(Container::begin_anew);
            // The volumes may have gone with the machine's memory.
            self.volumes = if matches!(self.volumes, Once::Doing) { Once::Doing } else { Once::Todo };
            if ran {
                self.warn_normal("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
            }
        }
    }

    fn hurry(&mut self, now: Timestamp) {
        for step in [&mut self.volumes, &mut self.sandbox] {
            if let Once::Failed { retry_at, .. } = step {
                *retry_at = now;
            }
        }
        self.containers.iter_mut().for_each(|container| container.hurry(now));
    }

    pub(crate) fn warn(&mut self, reason: &'static str, message: String) {
        self.pending.push(Action::Record(Record { event_type: EventType::Warning, reason, message, container: None }));
    }

    pub(crate) fn push_all(&mut self, actions: Vec<Action>) {
        self.pending.extend(actions);
    }

    fn warn_normal(&mut self, reason: &'static str, message: &str) {
        self.pending.push(Action::Record(Record {
            event_type: EventType::Normal,
            reason,
            message: message.to_owned(),
            container: None,
        }));
    }

    /// What is to be done now. Asking again without a new event or a passed deadline gives nothing.
    pub fn poll_actions(&mut self, now: Timestamp) -> Vec<Action> {
        self.polled_at = now;
        if self.stop.is_none() {
            self.go_on(now);
        }
        if self.stop.is_some() {
            self.drive_stop(now);
        }
        std::mem::take(&mut self.pending)
    }

    /// One step towards running, or the discovery that there is nothing left to run.
    fn go_on(&mut self, now: Timestamp) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.begin_stop(StopCause::Deadline, now);
            return;
        }
        if self.outcome(now).is_some() {
            self.begin_stop(StopCause::Completed, now);
            return;
        }
        match self.gate {
            Gate::Ask { not_before } if not_before <= now => {
                if meta::mutants::is_on("agent-starts-what-its-cache-shows") {
                    self.gate = Gate::Open;
                } else {
                    self.gate = Gate::Asked;
                    self.pending.push(Action::Confirm);
                }
            }
            Gate::Predecessor | Gate::Ask { .. } | Gate::Asked | Gate::Open => {}
        }
        if self.gate == Gate::Open {
            self.begin_once(now);
        }
        if matches!((&self.sandbox, &self.volumes), (Once::Done, Once::Done)) {
            self.drive_containers(now);
        }
    }

    fn begin_once(&mut self, now: Timestamp) {
        for (step, action) in [(&mut self.volumes, Action::SetUpVolumes), (&mut self.sandbox, Action::SetUpSandbox)] {
            let is_due = match step {
                Once::Todo => true,
                Once::Failed { retry_at, .. } => *retry_at <= now,
                Once::Doing | Once::Done => false,
            };
            if is_due {
                *step = Once::Doing;
                self.pending.push(action);
            }
        }
    }

    /// Init containers one after the other, then the others in order; one that is being started holds back those
    /// behind it.
    fn drive_containers(&mut self, now: Timestamp) {
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        let may_start = self.gate == Gate::Open;
        let mut is_turn = may_start;
        for container in &mut self.containers {
            let is_over = matches!(container.fate(&around), Some(Fate::Succeeded | Fate::Failed));
            if container.alive().is_some() || (is_turn && !is_over) {
                container.drive(&around, &mut self.pending);
            }
            let lets_pass = match (container.role, &container.current) {
                (Role::Init, Current::Ended(_)) => is_over && container.is_ready(),
                (Role::Init, _) => false,
                (Role::Sidecar, _) => container.is_started(),
                (Role::App, Current::Alive(_)) => true,
                (Role::App, Current::Starting { .. }) => false,
                (Role::App, Current::Ended(_)) => true,
                (Role::App, Current::None) => container.failure.is_some(),
            };
            is_turn = is_turn && lets_pass;
        }
    }

    /// How the pod ended, if all that it was to do is done: true for success.
    pub(crate) fn outcome(&self, now: Timestamp) -> Option<bool> {
        let around = Surroundings { pod: &self.pod, uid: &self.uid, now };
        let fates = |role: Role| self.containers.iter().filter(move |c| c.role == role).map(|c| c.fate(&around));
        if fates(Role::Init).any(|fate| fate == Some(Fate::Failed)) {
            return Some(false);
        }
        let apps: Vec<Option<Fate>> = fates(Role::App).collect();
        let is_over = !apps.is_empty() && apps.iter().all(|fate| matches!(fate, Some(Fate::Succeeded | Fate::Failed)));
        is_over.then(|| apps.iter().all(|fate| *fate == Some(Fate::Succeeded)))
    }

    fn deadline(&self) -> Option<Timestamp> {
        let secs = self.pod.spec.as_ref()?.active_deadline_seconds?;
        Some(after(self.seen_at, Duration::from_secs(u64::try_from(secs).ok()?)))
    }

    /// When [`PodMachine::poll_actions`] may have something to do without an event; `None` if never. What was due at the
    /// last poll was done then, or waits for an event: only later moments count.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let mut all = Vec::new();
        for container in &self.containers {
            container.deadlines(&mut all);
        }
        match &self.stop {
            Some(stop) => stop.deadlines(&mut all),
            None => {
                if let Gate::Ask { not_before } = self.gate {
                    all.push(not_before);
                }
                for step in [&self.volumes, &self.sandbox] {
                    all.extend(step.retry_at());
                }
                all.extend(self.deadline());
            }
        }
        all.into_iter().filter(|at| *at > self.polled_at).min()
    }

    /// The pod as last seen.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// Its addresses, once it has some.
    pub fn ips(&self) -> &[IpAddr] {
        &self.ips
    }

    /// True when nothing of the pod is left, neither here nor in the API.
    pub fn is_done(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::is_done)
    }

    /// True when the pod's processes are dead and its sandbox is gone, whether or not its object stays.
    pub fn is_at_rest(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::is_torn)
    }

    /// The id of the instance whose log is asked for: the current one, or the one before.
    pub fn log_attempt(&self, container: &str, previous: bool) -> Option<u32> {
        let container = self.containers.iter().find(|one| one.name == container)?;
        let last = container.last.as_ref().map(|ended| ended.attempt);
        match (&container.current, previous) {
            (Current::Alive(alive), false) => Some(alive.attempt),
            (Current::Ended(ended), false) => Some(ended.attempt),
            // While the status shows a back-off, the instance that crashed is its last state.
            (Current::Ended(ended), true) if container.failure.is_some() => Some(ended.attempt),
            (Current::Ended(_) | Current::Alive(_), true) => last,
            (Current::None | Current::Starting { .. }, _) => last,
        }
    }

    /// Why a container has no instance, in one word; `None` if it runs or ran.
    pub fn waiting_reason(&self, container: &str) -> Option<&'static str> {
        let container = self.containers.iter().find(|one| one.name == container)?;
        match (&container.current, &container.failure) {
            (Current::Alive(_) | Current::Ended(_), _) => None,
            (_, Some((reason, _))) => Some(reason),
            (_, None) if container.role != Role::App || !self.is_initialized() => Some("PodInitializing"),
            (_, None) => Some("ContainerCreating"),
        }
    }

    /// When the instance that runs was started.
    pub fn started_at(&self, container: &str) -> Option<Timestamp> {
        let container = self.containers.iter().find(|one| one.name == container)?;
        container.alive().map(|alive| alive.started_at)
    }

    /// The id of a running container.
    pub fn running_id(&self, container: &str) -> Option<&str> {
        let container = self.containers.iter().find(|one| one.name == container)?;
        container.alive().map(|alive| alive.id.as_str())
    }
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a core::ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == name)
}

/// The end of an instance of which nobody saw the end.
fn lost(started_at: Option<Timestamp>, now: Timestamp) -> Exit {
    Exit {
        code: 137,
        signal: None,
        cause: ExitCause::Sandbox,
        message: "The container could not be located when the pod was restarted".to_owned(),
        started_at,
        finished_at: now,
    }
}

fn recalled(state: &core::ContainerStateTerminated, now: Timestamp) -> Exit {
    let cause = match state.reason.as_deref() {
        Some("OOMKilled") => ExitCause::OutOfMemory,
        Some("StartError") => ExitCause::Start,
        Some("ContainerStatusUnknown") => ExitCause::Sandbox,
        _ => ExitCause::Program,
    };
    Exit {
        code: state.exit_code,
        signal: state.signal,
        cause,
        message: state.message.clone().unwrap_or_default(),
        started_at: state.started_at.as_ref().map(|time| time.0),
        finished_at: state.finished_at.as_ref().map_or(now, |time| time.0),
    }
}
