//! The pod's status as the API shows it, worked out anew each time from what the machine knows.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::{EVER_READY_CONDITION as EVER_READY, Timestamp};

use crate::container::{Container, Current, Ended, Fate, Role, Surroundings};
use crate::machine::{Once, PodMachine};
use crate::step::ExitCause;

const READY_TO_START: &str = "PodReadyToStartContainers";
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const CONTAINERS_READY: &str = "ContainersReady";
const SCHEDULED: &str = "PodScheduled";
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Clocks of two machines differ by no more, if both are right.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(2);

/// Conditions of the object with their last transitions, so that they are not reported as new.
pub(crate) fn known_conditions(pod: &core::Pod) -> BTreeMap<&'static str, (String, Timestamp)> {
    let ours = [READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED, DISRUPTION_TARGET, EVER_READY];
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| {
            let name = ours.into_iter().find(|name| *name == condition.type_)?;
            let since = condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            Some((name, (condition.status.clone(), since)))
        })
        .collect()
}

struct Condition {
    name: &'static str,
    holds: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Condition {
    fn yes(name: &'static str) -> Self {
        Self { name, holds: true, reason: None, message: None }
    }

    fn no(name: &'static str, reason: &str, message: impl Into<String>) -> Self {
        let message = Some(message.into()).filter(|message: &String| !message.is_empty());
        Self { name, holds: false, reason: Some(reason.to_owned()).filter(|r| !r.is_empty()), message }
    }
}

/// As the API writes it: a status that was read back is equal.
fn time(moment: Timestamp) -> Time {
    Time(meta::whole_seconds(moment))
}

impl PodMachine {
    /// The status at `now`. Fields that other parts own (other conditions, `qosClass`) are not in it.
    pub fn status(&mut self, now: Timestamp) -> core::PodStatus {
        let phase = self.phase(now);
        let conditions = self.conditions(phase, now);
        let terminal = self.stop.as_ref().and_then(|stop| stop.terminal.as_ref());
        let (reason, message) =
            terminal.map_or((None, None), |terminal| (terminal.reason.clone(), terminal.message.clone()));
        let pod = self.pod.clone();
        let around = Surroundings { pod: &pod, uid: &self.uid, now };
        let statuses = |wanted: fn(Role) -> bool| {
            let all = self.containers.iter().filter(|container| wanted(container.role));
            let all: Vec<_> = all.map(|container| self.container_status(container, phase, &around)).collect();
            (!all.is_empty()).then_some(all)
        };
        let hosts: Vec<String> = self.settings.host_ips.iter().map(ToString::to_string).collect();
        let ips = self.shown_ips();
        core::PodStatus {
            phase: Some(phase.to_owned()),
            reason,
            message,
            init_container_statuses: statuses(|role| role != Role::App),
            container_statuses: statuses(|role| role == Role::App),
            host_ip: hosts.first().cloned(),
            host_ips: Some(hosts.iter().map(|ip| core::HostIP { ip: ip.clone() }).collect()),
            pod_ip: ips.first().cloned(),
            pod_ips: (!ips.is_empty()).then(|| ips.iter().map(|ip| core::PodIP { ip: ip.clone() }).collect()),
            start_time: Some(time(self.seen_at)),
            observed_generation: self.pod.metadata.generation,
            conditions: Some(conditions),
            ..core::PodStatus::default()
        }
    }

    /// The addresses to show: a pod that has ended keeps those it had.
    fn shown_ips(&self) -> Vec<String> {
        if self.ips.is_empty() && self.stop.is_some() {
            let status = self.pod.status.as_ref();
            let ips = status.and_then(|status| status.pod_ips.as_ref());
            return ips.into_iter().flatten().map(|ip| ip.ip.clone()).collect();
        }
        self.ips.iter().map(ToString::to_string).collect()
    }

    fn phase(&self, now: Timestamp) -> &'static str {
        if let Some(stop) = &self.stop {
            if let Some(terminal) = &stop.terminal {
                return terminal.phase;
            }
            let alive = self.containers.iter().any(Container::may_live);
            let apps = || self.containers.iter().filter(|container| container.role == Role::App);
            let ended = apps().filter_map(|container| match &container.current {
                Current::Ended(ended) => Some(ended.exit.code == 0),
                _ => None,
            });
            let ended: Vec<bool> = ended.collect();
            let stays = matches!(stop.cause, crate::step::StopCause::Shutdown { .. });
            if !alive && !stays && !ended.is_empty() && ended.len() == apps().count() {
                return if ended.iter().all(|well| *well) { "Succeeded" } else { "Failed" };
            }
        }
        match self.outcome(now) {
            Some(true) => return "Succeeded",
            Some(false) => return "Failed",
            None => {}
        }
        if !self.is_initialized() {
            return "Pending";
        }
        let never_ran = |container: &&Container| {
            matches!(container.current, Current::None | Current::Starting { .. }) && container.last.is_none()
        };
        let mut apps = self.containers.iter().filter(|container| container.role == Role::App);
        if apps.any(|container| never_ran(&container)) { "Pending" } else { "Running" }
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.containers.iter().all(|container| match container.role {
            Role::Init => container.is_ready(),
            Role::Sidecar => container.is_started() || container.last.is_some(),
            Role::App => true,
        })
    }

    fn conditions(&mut self, phase: &str, now: Timestamp) -> Vec<core::PodCondition> {
        let mut all = vec![self.ready_to_start(), self.initialized(phase)];
        let containers = self.containers_ready(phase);
        let ready = self.ready(&containers);
        let ever_ready = self.ever_ready(ready.holds);
        all.push(ready);
        all.push(containers);
        all.push(Condition::yes(SCHEDULED));
        let shuts_down = self.stop.as_ref().is_some_and(|stop| {
            matches!(stop.cause, crate::step::StopCause::Shutdown { .. }) && stop.terminal.is_some()
        });
        if shuts_down {
            all.push(Condition {
                name: DISRUPTION_TARGET,
                holds: true,
                reason: Some("TerminationByKubelet".to_owned()),
                message: Some("Pod was terminated in response to imminent node shutdown.".to_owned()),
            });
        }
        all.extend(ever_ready);
        let generation = self.pod.metadata.generation;
        let creation = self.pod.metadata.creation_timestamp.as_ref();
        let is_after_creation = creation.is_none_or(|creation| creation.0 <= now);
        let mut shown = Vec::new();
        for condition in all {
            let status = if condition.holds { "True" } else { "False" };
            let known = self.conditions.entry(condition.name).or_insert_with(|| (String::new(), now));
            // A transition in the future was told by a clock that was ahead: whoever waits from then on would wait for
            // years, so it counts from now (S27). Before the pod was made it is our own clock that is wrong.
            let is_ahead = is_after_creation
                && known.1 > crate::after(now, CLOCK_SKEW_MAX)
                && !meta::mutants::is_on("future-is-believed");
            if known.0 != status || is_ahead {
                *known = (status.to_owned(), now);
            }
            shown.push(core::PodCondition {
                type_: condition.name.to_owned(),
                status: status.to_owned(),
                reason: condition.reason,
                message: condition.message,
                last_transition_time: Some(time(known.1)),
                observed_generation: generation,
                ..core::PodCondition::default()
            });
        }
        shown
    }

    /// Says what the sandbox waits for, which upstream keeps to its events.
    fn ready_to_start(&self) -> Condition {
        match (&self.sandbox, &self.volumes) {
            (Once::Done, Once::Done) => Condition::yes(READY_TO_START),
            (_, Once::Failed { message, .. }) => Condition::no(READY_TO_START, "FailedMount", message.as_str()),
            (Once::Failed { message, .. }, _) => {
                Condition::no(READY_TO_START, "FailedCreatePodSandBox", message.as_str())
            }
            _ => Condition::no(READY_TO_START, "", ""),
        }
    }

    fn initialized(&self, phase: &str) -> Condition {
        if phase == "Succeeded" {
            return Condition { reason: Some("PodCompleted".to_owned()), ..Condition::yes(INITIALIZED) };
        }
        if self.is_initialized() {
            return Condition::yes(INITIALIZED);
        }
        let missing = self.names(|container| match container.role {
            Role::Init => !container.is_ready(),
            Role::Sidecar => !container.is_started(),
            Role::App => false,
        });
        Condition::no(INITIALIZED, "ContainersNotInitialized", format!("containers with incomplete status: {missing}"))
    }

    fn containers_ready(&self, phase: &str) -> Condition {
        match phase {
            "Succeeded" => return Condition::no(CONTAINERS_READY, "PodCompleted", ""),
            "Failed" => return Condition::no(CONTAINERS_READY, "PodFailed", ""),
            _ => {}
        }
        let unready = |container: &Container| container.role != Role::Init && !container.is_ready();
        if !self.containers.iter().any(unready) {
            return Condition::yes(CONTAINERS_READY);
        }
        let text = format!("containers with unready status: {}", self.names(unready));
        Condition::no(CONTAINERS_READY, "ContainersNotReady", text)
    }

    /// Ready = ContainersReady and every readiness gate True (N-35).
    fn ready(&self, containers: &Condition) -> Condition {
        if !containers.holds {
            return Condition {
                name: READY,
                holds: false,
                reason: containers.reason.clone(),
                message: containers.message.clone(),
            };
        }
        let spec = self.pod.spec.as_ref();
        let conditions = self.pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut complaints = Vec::new();
        for gate in spec.and_then(|spec| spec.readiness_gates.as_ref()).into_iter().flatten() {
            let name = &gate.condition_type;
            match conditions.into_iter().flatten().find(|condition| condition.type_ == *name) {
                None => {
                    complaints.push(format!("corresponding condition of pod readiness gate {name:?} does not exist."));
                }
                Some(condition) if condition.status != "True" => complaints.push(format!(
                    "the status of pod readiness gate {name:?} is not \"True\", but {}",
                    condition.status
                )),
                Some(_) => {}
            }
        }
        if complaints.is_empty() {
            Condition::yes(READY)
        } else {
            Condition::no(READY, "ReadinessGatesNotReady", complaints.join(", "))
        }
    }

    /// Whether the pod was ever ready: it stays so, whatever comes after, restarts of the agent included. Of a pod on
    /// which an agent without this condition has reported nothing is said until it is ready again.
    fn ever_ready(&self, is_ready: bool) -> Option<Condition> {
        let known = |name| self.conditions.get(name).map(|(status, _)| status == "True");
        let (ever, before) = (known(EVER_READY), known(READY));
        if is_ready || ever == Some(true) || before == Some(true) {
            return Some(Condition::yes(EVER_READY));
        }
        (ever.is_some() || before.is_none()).then(|| Condition::no(EVER_READY, "", ""))
    }

    /// `[a b]`: how upstream's conditions list containers.
    fn names(&self, wanted: impl Fn(&Container) -> bool) -> String {
        let names: Vec<&str> = self.containers.iter().filter(|c| wanted(c)).map(|c| c.name.as_str()).collect();
        format!("[{}]", names.join(" "))
    }

    fn container_status(&self, container: &Container, phase: &str, around: &Surroundings<'_>) -> core::ContainerStatus {
        let spec = around.pod.spec.as_ref();
        let image = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
            .find(|one| one.name == container.name)
            .and_then(|one| one.image.clone())
            .unwrap_or_default();
        let ended_id = |ended: &Ended| ended.image_id.clone();
        let image_id = match (&container.current, &container.last) {
            (Current::Alive(alive), _) => alive.image_id().to_owned(),
            (Current::Ended(ended), _) | (_, Some(ended)) => ended_id(ended),
            (Current::None | Current::Starting { .. }, None) => String::new(),
        };
        let (state, last, shown) = self.states(container, phase, around);
        core::ContainerStatus {
            name: container.name.clone(),
            image,
            image_id,
            container_id: shown.map(|id| self.container_url(id)),
            restart_count: i32::try_from(container.attempts.saturating_sub(1)).unwrap_or(i32::MAX),
            ready: container.is_ready(),
            started: Some(container.is_started()),
            state: Some(state),
            last_state: Some(last),
            ..core::ContainerStatus::default()
        }
    }

    fn container_url(&self, id: &str) -> String {
        format!("{}://{id}", self.settings.runtime_name)
    }

    /// State, last state, and the id of the instance they are about.
    fn states<'a>(
        &self,
        container: &'a Container,
        phase: &str,
        around: &Surroundings<'_>,
    ) -> (core::ContainerState, core::ContainerState, Option<&'a str>) {
        let none = core::ContainerState::default();
        let last = || container.last.as_ref().map_or(none.clone(), |ended| self.terminated(ended));
        match &container.current {
            Current::Alive(alive) => {
                let running = core::ContainerStateRunning { started_at: Some(time(alive.started_at)) };
                let state = core::ContainerState { running: Some(running), ..none.clone() };
                (state, last(), Some(&alive.id))
            }
            Current::Ended(ended) => {
                let over = self.stop.is_some()
                    || !matches!(container.fate(around), Some(Fate::Restart))
                    || matches!(phase, "Succeeded" | "Failed");
                match &container.failure {
                    Some((reason, message)) if !over && *reason != "RunContainerError" => {
                        (waiting(reason, message), self.terminated(ended), Some(&ended.id))
                    }
                    _ => (self.terminated(ended), last(), Some(&ended.id)),
                }
            }
            Current::None | Current::Starting { .. } => {
                let id = container.last.as_ref().map(|ended| ended.id.as_str());
                let state = match &container.failure {
                    Some((reason, message)) => waiting(reason, message),
                    None => {
                        let initializes = self.containers.iter().any(|one| one.role != Role::App);
                        let waits = initializes && !(container.role == Role::App && self.is_initialized());
                        waiting(if waits { "PodInitializing" } else { "ContainerCreating" }, "")
                    }
                };
                (state, last(), id)
            }
        }
    }

    fn terminated(&self, ended: &Ended) -> core::ContainerState {
        let exit = &ended.exit;
        let reason = match (exit.cause, exit.code) {
            (ExitCause::OutOfMemory, _) => "OOMKilled",
            (ExitCause::Start, _) => "StartError",
            (ExitCause::Sandbox, _) => "ContainerStatusUnknown",
            (ExitCause::Program, 0) => "Completed",
            (ExitCause::Program, _) => "Error",
        };
        let terminated = core::ContainerStateTerminated {
            container_id: Some(self.container_url(&ended.id)),
            exit_code: exit.code,
            signal: None,
            reason: Some(reason.to_owned()),
            message: Some(exit.message.clone()).filter(|message| !message.is_empty()),
            started_at: exit.started_at.map(time),
            finished_at: Some(time(exit.finished_at)),
        };
        core::ContainerState { terminated: Some(terminated), ..core::ContainerState::default() }
    }
}

fn waiting(reason: &str, message: &str) -> core::ContainerState {
    let waiting = core::ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()).filter(|message| !message.is_empty()),
    };
    core::ContainerState { waiting: Some(waiting), ..core::ContainerState::default() }
}
