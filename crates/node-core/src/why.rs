//! The one fact a pod waits for, as its own status tells it.

use std::fmt;

use k8s_openapi::api::core::v1 as core;

/// What a pod that is not ready waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// A node to run on; the scheduler's words, if it has any.
    Node(String),
    /// Its sandbox or volumes; what is in the way, if anything is.
    Preparation(String),
    /// A container that does not run: reason and message of its waiting state.
    Container {
        /// Name of the container.
        name: String,
        /// For example `ImagePullBackOff`.
        reason: String,
        /// A sentence for people; may be empty.
        message: String,
    },
    /// A container that ran and ended: reason and exit code.
    Ended {
        /// Name of the container.
        name: String,
        /// For example `Error`.
        reason: String,
        /// Exit code.
        code: i32,
    },
    /// An init container that runs.
    Init(String),
    /// A startup or readiness probe of a running container.
    Probe(String),
    /// A readiness gate: the condition's message.
    Gate(String),
    /// Its own end: it was deleted.
    End,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(text) if text.is_empty() => f.write_str("waits for a node"),
            Self::Node(text) => write!(f, "waits for a node: {text}"),
            Self::Preparation(text) if text.is_empty() => f.write_str("is being prepared: sandbox, network, volumes"),
            Self::Preparation(text) => write!(f, "cannot be prepared: {text}"),
            Self::Container { name, reason, message } => match (reason.as_str(), message.as_str()) {
                ("ContainerCreating", _) => write!(f, "container {name} is being created"),
                ("PodInitializing", _) => write!(f, "container {name} waits for the init containers"),
                (reason, "") => write!(f, "container {name}: {reason}"),
                (reason, message) => write!(f, "container {name}: {reason}: {message}"),
            },
            Self::Ended { name, reason, code } => write!(f, "container {name} ended: {reason}, exit code {code}"),
            Self::Init(name) => write!(f, "init container {name} runs"),
            Self::Probe(name) => write!(f, "container {name} runs; waits for its readiness probe"),
            Self::Gate(text) => write!(f, "waits for a readiness gate: {text}"),
            Self::End => f.write_str("is being stopped"),
        }
    }
}

fn condition<'a>(pod: &'a core::Pod, name: &str) -> Option<&'a core::PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == name)
}

/// The one fact that the pod waits for; `None` if it is ready or has done its work.
pub fn of_pod(pod: &core::Pod) -> Option<Why> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Why::End);
    }
    let is_ready = condition(pod, "Ready").is_some_and(|ready| ready.status == "True");
    if is_ready || phase == "Succeeded" {
        return None;
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty()) {
        let text = condition(pod, "PodScheduled").and_then(|scheduled| scheduled.message.clone());
        return Some(Why::Node(text.unwrap_or_default()));
    }
    if let Some(prepared) = condition(pod, "PodReadyToStartContainers")
        && prepared.status != "True"
        && phase == "Pending"
    {
        return Some(Why::Preparation(prepared.message.clone().unwrap_or_default()));
    }
    let inits = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    if let Some(why) = inits.filter(|one| !one.ready).find_map(|one| of_container(one, true)) {
        return Some(why);
    }
    let apps = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    if let Some(why) = apps.filter(|one| !one.ready).find_map(|one| of_container(one, false)) {
        return Some(why);
    }
    match condition(pod, "Ready") {
        Some(ready) => Some(Why::Gate(ready.message.clone().unwrap_or_default())),
        None => Some(Why::Preparation(String::new())),
    }
}

fn of_container(status: &core::ContainerStatus, is_init: bool) -> Option<Why> {
    let state = status.state.as_ref()?;
    let name = status.name.clone();
    if let Some(waiting) = &state.waiting {
        let (reason, message) = (waiting.reason.clone().unwrap_or_default(), waiting.message.clone());
        return Some(Why::Container { name, reason, message: message.unwrap_or_default() });
    }
    if let Some(ended) = &state.terminated {
        return Some(Why::Ended { name, reason: ended.reason.clone().unwrap_or_default(), code: ended.exit_code });
    }
    Some(if is_init { Why::Init(name) } else { Why::Probe(name) })
}
