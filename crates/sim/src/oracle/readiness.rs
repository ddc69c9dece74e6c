//! S24: an agent that starts anew does not take a pod's readiness away before a probe has had the time to fail.
//!
//! Probes are not seen here, but a failure takes as many of them as the threshold says, one period apart. A container
//! that runs on under its id stays ready for that long at least.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use store_core::EventKind;
use tokio::time::Instant;

use super::Found;
use super::history::{History, PODS, State};
use super::writes::key;
use crate::wire::{Call, Verb};
use crate::world::agent;

/// The start of an agent.
#[derive(Clone, Copy, Debug)]
struct Start {
    at: Instant,
    /// Newest revision then.
    revision: u64,
}

/// Follows the agents' starts.
#[derive(Debug, Default)]
pub struct Readiness {
    /// The last one, by the name of the part.
    starts: BTreeMap<String, Start>,
    /// By incarnation: a request of one that is dead may still be on its way.
    incarnations: BTreeMap<u64, Start>,
}

/// The containers that run: id by name; `None` if one does not.
fn running(pod: &State) -> Option<BTreeMap<&str, &str>> {
    let statuses = pod.tree()["status"]["containerStatuses"].as_array()?;
    let id = |one: &'_ Value| one["state"]["running"].is_object() && one["containerID"].is_string();
    let all = statuses.iter().all(id);
    let ids = statuses.iter().filter_map(|one| Some((one["name"].as_str()?, one["containerID"].as_str()?)));
    all.then(|| ids.collect())
}

/// How long a pod whose containers run stays ready at least, whatever its probes say; `None` if that is not known.
fn patience(pod: &State) -> Option<Duration> {
    let spec = &pod.tree()["spec"];
    if spec["readinessGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return None;
    }
    let mut shortest = None;
    for container in spec["containers"].as_array()? {
        if !container["livenessProbe"].is_null() || !container["startupProbe"].is_null() {
            return None;
        }
        let probe = &container["readinessProbe"];
        if !probe.is_null() {
            let periods = probe["failureThreshold"].as_u64().unwrap_or(3).saturating_sub(1);
            let time = Duration::from_secs(periods * probe["periodSeconds"].as_u64().unwrap_or(10));
            shortest = Some(shortest.map_or(time, |other: Duration| other.min(time)));
        }
    }
    shortest
}

impl Readiness {
    /// An agent begins on a node.
    pub fn began(&mut self, node: &str, revision: u64, at: Instant) {
        self.starts.insert(agent(node), Start { at, revision });
    }

    /// A request reached the server.
    pub fn asked(&mut self, call: &Call) {
        if let Some(start) = self.starts.get(&call.part) {
            self.incarnations.entry(call.incarnation).or_insert(*start);
        }
    }

    /// An agent wrote something at `written`, after a revision, and it is `now`.
    pub fn done(&self, call: &Call, history: &History, from: u64, written: u64, now: Instant) -> Found {
        let is_status = call.resource.resource == "pods" && call.subresource == "status" && call.verb == Verb::Patch;
        let Some(start) = self.incarnations.get(&call.incarnation).filter(|_| is_status) else { return Found::new() };
        let key = key(call);
        let effect = history.since(from).iter().find(|past| past.revision == written && past.key == key);
        let Some(effect) = effect.filter(|effect| effect.kind == EventKind::Updated) else { return Found::new() };
        let (Some(before), after) = (&effect.before, &effect.after) else { return Found::new() };
        if before.is_terminating() || after.tree()["status"]["phase"] != "Running" {
            return Found::new();
        }
        let ids = running(after);
        let was_well = |state: &State| state.is_ready() && running(state) == ids;
        if ids.is_none() || after.is_ready() || !was_well(before) {
            return Found::new();
        }
        // What a dead incarnation wrote last may have come too late for this one's first look.
        let all = history.of_kind(PODS, 0, start.revision).filter(|past| past.key == key);
        let at_start = all.last().filter(|past| past.after.uid() == after.uid());
        if !at_start.is_some_and(|past| was_well(&past.after)) {
            return Found::new();
        }
        match patience(after) {
            // Its clock may run a little too fast.
            Some(patience) if now.saturating_duration_since(start.at) < patience * 9 / 10 => {
                let since = now.saturating_duration_since(start.at);
                vec![("S24", format!("{call} says not ready {since:?} after its start, and its containers run on"))]
            }
            _ => Found::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Play, call};
    use super::*;

    const POD: &str = "/registry/core/pods/default/web-0";

    fn pod(container: &str, ready: bool) -> Value {
        let word = if ready { "True" } else { "False" };
        json!({
            "metadata": {"namespace": "default", "name": "web-0", "uid": "a"},
            "spec": {"containers": [{"name": "c", "readinessProbe": {"periodSeconds": 1, "failureThreshold": 3}}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": word}],
                "containerStatuses": [{"name": "c", "containerID": container, "state": {"running": {}}}],
            },
        })
    }

    /// What is found if an agent starts, and says so late that a pod is not ready.
    fn flap(millis: u64, incarnation: u64, before: Value, after: Value) -> Found {
        let mut play = Play::default();
        play.put(POD, before);
        let (mut readiness, begun) = (Readiness::default(), Instant::now());
        let mut request = call(Verb::Patch, "pods", "web-0", "agent-n1", incarnation);
        request.subresource = "status".to_owned();
        let old = call(Verb::Get, "pods", "web-0", "agent-n1", 1);
        readiness.began("n1", 0, begun);
        readiness.asked(&old);
        let start = begun + Duration::from_secs(60);
        readiness.began("n1", play.history.revision(), start);
        readiness.asked(&request);
        let from = play.history.revision();
        let written = play.put(POD, after);
        readiness.done(&request, &play.history, from, written, start + Duration::from_millis(millis))
    }

    #[test]
    fn a_new_agent_says_not_ready_only_after_its_probes_can_have_failed() {
        for (millis, incarnation, before, after, is_right) in [
            (1700, 2, pod("c1", true), pod("c1", false), false),
            (2000, 2, pod("c1", true), pod("c1", false), true),
            // The one before had asked for a long time; its word came late.
            (10, 1, pod("c1", true), pod("c1", false), true),
            // Another container than the one that was ready.
            (10, 2, pod("c1", true), pod("c2", false), true),
            (10, 2, pod("c1", false), pod("c1", false), true),
            (10, 2, pod("c1", true), pod("c1", true), true),
        ] {
            let found = flap(millis, incarnation, before.clone(), after);
            assert_eq!(found.is_empty(), is_right, "{millis} {incarnation} {before}: {found:?}");
        }
    }
}
