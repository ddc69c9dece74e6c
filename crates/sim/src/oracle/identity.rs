//! S1 to S4, S24, S25: what runs, where, and under which UID.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use container_runtime::{ContainerId, ContainerState, SandboxStatus, Signal};
use meta::Uid;
use store_core::EventKind;
use tokio::time::Instant;
use volumes::{PodVolumes, VolumeSource};

use super::Found;
use super::history::{History, Past, State};
use super::readiness::Readiness;
use crate::wire::{Call, Verb};

/// What an agent does to its machine.
#[derive(Clone, Debug)]
pub enum Deed<'a> {
    /// Make a sandbox.
    RunSandbox {
        /// Of this pod.
        pod: &'a Uid,
    },
    /// Start a container.
    StartContainer {
        /// Of this pod.
        pod: &'a Uid,
        /// Which.
        container: &'a ContainerId,
    },
    /// Send a signal.
    Signal {
        /// To this pod.
        pod: &'a Uid,
        /// Which container.
        container: &'a ContainerId,
        /// Which signal.
        signal: Signal,
    },
    /// Kill everything of a pod.
    KillSandbox {
        /// Which.
        pod: &'a Uid,
    },
    /// Remove what is left of it.
    RemoveSandbox {
        /// Which.
        pod: &'a Uid,
    },
    /// Make volumes.
    Mount {
        /// Which.
        request: &'a PodVolumes,
    },
    /// Take volumes away.
    Unmount {
        /// Of this pod.
        pod: &'a Uid,
    },
    /// Delete the bytes of a persistent volume.
    DeleteData {
        /// Its name.
        volume: &'a str,
    },
}

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunSandbox { pod } => write!(f, "runs the sandbox of {pod}"),
            Self::StartContainer { pod, container } => write!(f, "starts {container} of {pod}"),
            Self::Signal { pod, container, signal } => write!(f, "signals {} to {container} of {pod}", signal.0),
            Self::KillSandbox { pod } => write!(f, "kills the sandbox of {pod}"),
            Self::RemoveSandbox { pod } => write!(f, "removes the sandbox of {pod}"),
            Self::Mount { request } => write!(f, "mounts the volumes of {}", request.pod),
            Self::Unmount { pod } => write!(f, "unmounts the volumes of {pod}"),
            Self::DeleteData { volume } => write!(f, "deletes the bytes of {volume}"),
        }
    }
}

/// One sandbox that lives.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Living {
    node: String,
    namespace: String,
    name: String,
    uid: String,
    has_running: bool,
}

/// Who runs where.
#[derive(Debug, Default)]
pub struct Identity {
    living: BTreeMap<String, Vec<Living>>,
    /// Pods that somebody deleted by force: S1 is waived for them.
    waived: BTreeSet<String>,
    /// Persistent volumes that are mounted: path to node and pod.
    mounted: BTreeMap<PathBuf, BTreeSet<(String, String)>>,
    addresses: BTreeMap<IpAddr, String>,
    /// Newest revision when the agent of a node began.
    agent_since: BTreeMap<String, u64>,
    /// Whether a new agent takes a pod's readiness away.
    pub readiness: Readiness,
    /// Pods that the agent of a node has read afresh since it began.
    fresh: BTreeSet<(String, String)>,
}

impl Identity {
    /// An agent begins on a node.
    pub fn agent_began(&mut self, node: &str, revision: u64) {
        self.agent_since.insert(node.to_owned(), revision);
        self.readiness.began(node, revision, Instant::now());
        self.fresh.retain(|(other, _)| other != node);
    }

    /// The server answered: an agent knows now what became of a pod.
    pub fn answered(&mut self, call: &Call, uid: &str) {
        if call.verb == Verb::Get
            && call.resource.resource == "pods"
            && let Some(node) = call.part.strip_prefix("agent-")
        {
            self.fresh.insert((node.to_owned(), uid.to_owned()));
        }
    }

    /// A request reached the server: a deletion by force waives S1 for its pod.
    pub fn asked(&mut self, call: &Call, history: &History) {
        let is_eviction = call.verb == Verb::Create && call.subresource == "eviction";
        let is_deletion = call.verb == Verb::Delete || is_eviction;
        if !is_deletion || call.resource.resource != "pods" || call.part.starts_with("agent") {
            return;
        }
        let name = if is_eviction { call.body["metadata"]["name"].as_str().unwrap_or_default() } else { &call.name };
        let Some(pod) = history.pod(&call.namespace, name) else { return };
        // A pod whose own grace is 0 is deleted by force each time (C-96d).
        let own = pod.tree()["spec"]["terminationGracePeriodSeconds"].as_i64();
        let asked = match &call.delete {
            Some(options) => options.grace_period_secs,
            None => call.body["deleteOptions"]["gracePeriodSeconds"].as_i64(),
        };
        if asked.or(own) == Some(0) {
            self.waived.insert(pod.uid().to_owned());
        }
    }

    /// Whether a pod was deleted by force.
    pub fn is_waived(&self, uid: &str) -> bool {
        self.waived.contains(uid)
    }

    /// S1: what runs on a node now.
    pub fn running(&mut self, node: &str, sandboxes: &[SandboxStatus]) -> Found {
        let living = sandboxes.iter().filter(|sandbox| sandbox.alive.is_some()).map(|sandbox| Living {
            node: node.to_owned(),
            namespace: sandbox.namespace.clone(),
            name: sandbox.name.clone(),
            uid: sandbox.pod.0.clone(),
            has_running: sandbox.containers.iter().any(|one| matches!(one.state, ContainerState::Running { .. })),
        });
        let living: Vec<Living> = living.collect();
        if self.living.get(node) == Some(&living) {
            return Found::new();
        }
        self.living.insert(node.to_owned(), living);
        let mut found = Found::new();
        let mut by_name: BTreeMap<(&str, &str), &Living> = BTreeMap::new();
        for one in self.living.values().flatten().filter(|one| !self.waived.contains(&one.uid)) {
            if let Some(other) = by_name.insert((&one.namespace, &one.name), one) {
                let what = format!(
                    "{}/{} runs as {} on {} and as {} on {}",
                    one.namespace, one.name, other.uid, other.node, one.uid, one.node
                );
                found.push(("S1", what));
            }
        }
        found
    }

    /// An agent is about to do something.
    pub fn doing(&mut self, node: &str, deed: &Deed<'_>, sandboxes: &[SandboxStatus], history: &History) -> Found {
        match deed {
            Deed::RunSandbox { pod } => {
                let mut found = self.starts(node, pod, history);
                if !self.waived.contains(&pod.0) && !self.fresh.contains(&(node.to_owned(), pod.0.clone())) {
                    found.push(("S3", format!("{node} starts {pod} without a fresh read of it since its agent began")));
                }
                found
            }
            Deed::StartContainer { pod, .. } => self.starts(node, pod, history),
            Deed::Signal { pod, .. } | Deed::KillSandbox { pod } | Deed::RemoveSandbox { pod } => {
                self.stops(node, pod, sandboxes, history)
            }
            Deed::Mount { request } => self.mounts(node, request, history),
            Deed::Unmount { pod } => {
                for users in self.mounted.values_mut() {
                    users.retain(|(_, user)| *user != pod.0);
                }
                Found::new()
            }
            Deed::DeleteData { volume } => self.deletes(node, volume, history),
        }
    }

    fn starts(&self, node: &str, pod: &Uid, history: &History) -> Found {
        if self.waived.contains(&pod.0) {
            return Found::new();
        }
        let Some(state) = find(history, &pod.0) else {
            return vec![("S3", format!("{node} starts {pod}, which is not in the API"))];
        };
        let mut found = Found::new();
        let bound = state.tree()["spec"]["nodeName"].as_str().unwrap_or_default();
        if bound != node {
            found.push(("S3", format!("{node} starts {}, which is bound to {bound:?}", state.name())));
        }
        let since = self.agent_since.get(node).copied().unwrap_or_default();
        if state.is_terminating() && deleted_at(history, state) <= since {
            found.push(("S3", format!("{node} starts {}, which was deleted before its agent began", state.name())));
        }
        let others = self
            .living
            .values()
            .flatten()
            .filter(|one| one.namespace == state.namespace() && one.name == state.name() && one.uid != pod.0);
        // Force says that nobody waits for another node; its own node knows better.
        for other in others.filter(|other| other.node == node || !self.waived.contains(&other.uid)) {
            let what = format!("{} starts while {} still runs on {}", state.name(), other.uid, other.node);
            found.push(("S2", what));
        }
        found
    }

    /// S24: nothing that runs is stopped unless its pod is to end.
    fn stops(&self, node: &str, pod: &Uid, sandboxes: &[SandboxStatus], history: &History) -> Found {
        let runs = sandboxes.iter().filter(|one| one.pod == *pod && one.alive.is_some());
        let runs = runs.flat_map(|one| &one.containers).any(|one| matches!(one.state, ContainerState::Running { .. }));
        let Some(state) = find(history, &pod.0).filter(|_| runs) else { return Found::new() };
        let phase = state.tree()["status"]["phase"].as_str().unwrap_or_default();
        if state.is_terminating() || matches!(phase, "Failed" | "Succeeded") {
            return Found::new();
        }
        vec![("S24", format!("{node} stops {}, which is wanted and runs", state.name()))]
    }

    fn mounts(&mut self, node: &str, request: &PodVolumes, history: &History) -> Found {
        let mut found = Found::new();
        if self.waived.contains(&request.pod.0) {
            return found;
        }
        for source in request.volumes.values() {
            let VolumeSource::Local { path, .. } = source else { continue };
            if let Some(home) = home_of(history, path)
                && home != node
            {
                found.push(("S4", format!("{} lies on {home} and is mounted on {node}", path.display())));
            }
            let users = self.mounted.entry(path.clone()).or_default();
            for (other, user) in users.iter().filter(|(_, user)| !self.waived.contains(user)) {
                if other != node {
                    let what = format!("{} is mounted on {other} and now on {node}", path.display());
                    found.push(("S4", what));
                }
                if other == node && *user != request.pod.0 {
                    let what = format!("{} is mounted for {} while {user} still has it", path.display(), request.pod);
                    found.push(("S2", what));
                }
                let (one, two) = (name_of(history, user), name_of(history, &request.pod.0));
                if one.is_some() && two.is_some() && one != two {
                    found.push(("S4", format!("{} is used by {one:?} and now by {two:?}", path.display())));
                }
            }
            users.insert((node.to_owned(), request.pod.0.clone()));
        }
        found
    }

    /// S5: bytes go only with a volume that is being deleted, under the policy that says so, and that nobody uses.
    fn deletes(&self, node: &str, volume: &str, history: &History) -> Found {
        let mut found = Found::new();
        let key = format!("/registry/core/persistentvolumes/{volume}");
        match history.get(&key) {
            None => {}
            Some(state) => {
                let policy = state.tree()["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap_or_default();
                if !state.is_terminating() || policy != "Delete" {
                    found.push(("S5", format!("{node} deletes the bytes of {volume}, whose policy is {policy}")));
                }
            }
        }
        let users = self.mounted.iter().filter(|(path, _)| path.ends_with(volume)).flat_map(|(_, users)| users);
        for (other, user) in users {
            found.push(("S5", format!("{node} deletes the bytes of {volume}, which {user} uses on {other}")));
        }
        found
    }

    /// S25: an address belongs to one pod.
    pub fn attached(&mut self, node: &str, pod: &Uid, address: IpAddr) -> Found {
        match self.addresses.insert(address, pod.0.clone()) {
            Some(other) if other != pod.0 => {
                vec![("S25", format!("{node} gives {address} to {pod} while {other} has it"))]
            }
            _ => Found::new(),
        }
    }

    /// A pod's address was taken away.
    pub fn detached(&mut self, pod: &Uid) {
        self.addresses.retain(|_, holder| *holder != pod.0);
    }

    /// S4: a claim is gone; no pod that runs may use it.
    pub fn claim_gone(&self, past: &Past, history: &History) -> Found {
        let mut found = Found::new();
        if past.kind != EventKind::Deleted || !past.key.starts_with("/registry/core/persistentvolumeclaims/") {
            return found;
        }
        for (key, pod) in history.all("/registry/core/pods/") {
            let volumes = pod.tree()["spec"]["volumes"].as_array();
            let uses =
                volumes.into_iter().flatten().any(|one| one["persistentVolumeClaim"]["claimName"] == past.after.name());
            let runs = self.living.values().flatten().any(|one| one.uid == pod.uid() && one.has_running);
            if uses && runs && pod.namespace() == past.after.namespace() {
                found.push(("S4", format!("{} is gone while {key} uses it", past.key)));
            }
        }
        found
    }

    /// S25: a pod's object is gone; nothing of it may be left.
    pub fn committed(&mut self, past: &Arc<Past>) -> Found {
        let mut found = Found::new();
        if past.kind != EventKind::Deleted || !past.key.starts_with("/registry/core/pods/") {
            return found;
        }
        let uid = past.after.uid();
        if self.waived.contains(uid) {
            return found;
        }
        let has_ended = matches!(past.after.tree()["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
        for one in self.living.values().flatten().filter(|one| one.uid == uid && (one.has_running || !has_ended)) {
            found.push(("S25", format!("{} is gone from the API and runs on {}", past.key, one.node)));
        }
        let is_mounted = self.mounted.values().flatten().any(|(_, user)| user == uid);
        if is_mounted && !has_ended {
            found.push(("S25", format!("{} is gone from the API and has volumes mounted", past.key)));
        }
        if self.addresses.values().any(|holder| holder == uid) && !has_ended {
            found.push(("S25", format!("{} is gone from the API and has an address", past.key)));
        }
        found
    }
}

/// The living pod of a UID.
fn find<'h>(history: &'h History, uid: &str) -> Option<&'h Arc<State>> {
    history.all("/registry/core/pods/").map(|(_, state)| state).find(|state| state.uid() == uid)
}

/// The node on which a volume's bytes lie.
fn home_of(history: &History, path: &std::path::Path) -> Option<String> {
    let key = format!("/registry/core/persistentvolumes/{}", path.file_name()?.to_str()?);
    let terms = history.get(&key)?.tree()["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].clone();
    Some(terms[0]["matchExpressions"][0]["values"][0].as_str()?.to_owned())
}

fn name_of(history: &History, uid: &str) -> Option<String> {
    find(history, uid).map(|state| format!("{}/{}", state.namespace(), state.name()))
}

/// The revision at which a pod's deletion began.
fn deleted_at(history: &History, state: &State) -> u64 {
    let key = format!("/registry/core/pods/{}/{}", state.namespace(), state.name());
    let mut begun = history
        .of_kind("/registry/core/pods/", 0, u64::MAX)
        .filter(|past| past.key == key && past.after.uid() == state.uid() && past.after.is_terminating());
    begun.next().map_or(u64::MAX, |past| past.revision)
}
