//! The pod collector: pods that nobody else will ever clear away.
//!
//! Ended pods beyond a number; pods bound to a node that is gone, after a while in which the node may come back and only
//! if a live read finds no such node; deleted pods of a node that somebody has taken out of service while it was not
//! ready; pods that were deleted before they were bound. A pod of a live node is never touched here: only its node knows
//! when it has stopped (D7). Start with [`plan`].

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod};
use meta::Timestamp;
use serde_json::json;

use crate::pods;
use crate::words::{Target, is_terminating};
use crate::writes::{Plan, Write};

/// Ended pods that are kept in a namespace.
pub const ENDED_MAX: usize = 12_500;
/// How long a node must be gone before its pods are taken for lost.
pub const NODE_ABSENCE_SECS: i64 = 40;

/// Everything the planner looks at.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// All pods of a namespace.
    pub pods: Vec<&'a Pod>,
    /// Names of all nodes.
    pub nodes: BTreeSet<&'a str>,
    /// Nodes that pods are bound to and that are missing, since when that has been seen; and whether a live read after
    /// the wait found no such node.
    pub missing: Vec<MissingNode>,
    /// Nodes that are [out of service](is_out_of_service).
    pub out_of_service: BTreeSet<&'a str>,
    /// Ended pods that are kept.
    pub ended_max: usize,
}

/// Taint by which somebody promises that nothing runs on a machine any more: the fence is theirs (N-46, D7).
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Whether a node has the taint and says itself that it is not ready, or says nothing.
pub fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    !is_ready && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// A node that pods are bound to and that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingNode {
    /// Its name.
    pub name: String,
    /// Since when it has been missed.
    pub since: Timestamp,
    /// A live read found no node of that name.
    pub is_confirmed: bool,
}

impl MissingNode {
    /// When it counts as gone.
    pub fn gone_from(&self) -> Timestamp {
        pods::after(self.since, NODE_ABSENCE_SECS).unwrap_or(Timestamp::MAX)
    }
}

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// A missing node may still come back.
    NodeMissing(String, Timestamp),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeMissing(node, until) => write!(f, "node {node} is missing; it counts as gone at {until}"),
        }
    }
}

/// Pods to clear away, each with what is written about it first.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let mut plan = Plan::default();
    for missing in view.missing.iter().filter(|missing| !missing.is_confirmed) {
        plan.at(Some(missing.gone_from()).filter(|from| *from > now));
        plan.waits.push(Wait::NodeMissing(missing.name.clone(), missing.gone_from()));
    }
    let (mut told, mut killed, mut done) = (Vec::new(), Vec::new(), BTreeSet::new());
    let is_gone = |node: &str| {
        !view.nodes.contains(node) && view.missing.iter().any(|missing| missing.is_confirmed && missing.name == node)
    };
    for pod in view.pods.iter().filter(|pod| is_gone(pods::node(pod))) {
        if !pods::has_ended(pod) {
            told.push(lost(pod, now));
        }
        done.insert(pods::uid(pod));
        killed.push(kill(pod));
    }
    let is_given_up = |pod: &Pod| is_terminating(&pod.metadata) && view.out_of_service.contains(pods::node(pod));
    for pod in view.pods.iter().filter(|pod| is_given_up(pod) && !is_gone(pods::node(pod))) {
        if !pods::has_ended(pod) {
            told.push(Write::status(api::resources::PODS, target(pod), json!({"phase": "Failed"})));
        }
        done.insert(pods::uid(pod));
        killed.push(kill(pod));
    }
    let never_bound = |pod: &&&Pod| is_terminating(&pod.metadata) && pods::node(pod).is_empty();
    for pod in view.pods.iter().filter(never_bound) {
        done.insert(pods::uid(pod));
        killed.push(kill(pod));
    }
    let mut ended: Vec<_> = view.pods.iter().filter(|pod| pods::has_ended(pod)).collect();
    let excess = ended.len().saturating_sub(view.ended_max);
    if excess > 0 {
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        ended.sort_by_key(|pod| (created(pod), pods::name(pod).to_owned()));
        killed.extend(ended[..excess].iter().filter(|pod| !done.contains(pods::uid(pod))).map(|pod| kill(pod)));
    }
    plan.stages = [told, killed].into_iter().filter(|stage| !stage.is_empty()).collect();
    plan
}

/// The pod in whatever state the stage before leaves it; its UID counts.
fn kill(pod: &Pod) -> Write {
    Write::kill(api::resources::PODS, target(pod)).in_any_state()
}

fn target(pod: &Pod) -> Target {
    pods::target(pod)
}

/// A lost pod has failed, and says why, before it is gone: a Job counts it, people read it.
fn lost(pod: &Pod, now: Timestamp) -> Write {
    let conditions = pods::disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists", now);
    Write::status(api::resources::PODS, target(pod), json!({"phase": "Failed", "conditions": conditions}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use api::resources::PODS;

    fn world() -> World {
        let mut world = World::new();
        for (name, node, phase) in
            [("a", "n1", "Running"), ("b", "gone", "Running"), ("c", "gone", "Failed"), ("d", "n1", "Succeeded")]
        {
            world.create(&PODS, json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": []}}));
            world.node(name, phase, false);
            world.later(1);
        }
        world.create(&PODS, json!({"metadata": {"name": "e", "deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        world
    }

    fn settle(world: &mut World, is_confirmed: bool, ended_max: usize) -> Plan<Wait> {
        let pods = world.pods();
        let missing = MissingNode { name: "gone".to_owned(), since: world.now, is_confirmed };
        let view = View {
            pods: pods.iter().collect(),
            nodes: BTreeSet::from(["n1"]),
            missing: vec![missing],
            out_of_service: BTreeSet::new(),
            ended_max,
        };
        let plan = plan(&view, world.now);
        world.obey(&plan);
        plan
    }

    #[test]
    fn pods_of_a_missing_node_wait_until_it_is_known_to_be_gone() {
        // N-46, N-47.
        let mut world = world();
        let plan = settle(&mut world, false, 10);
        assert_eq!(world.names(&PODS), ["a", "b", "c", "d"], "only the one that was never bound is cleared away");
        assert_eq!(plan.look_again, pods::after(world.now, NODE_ABSENCE_SECS));
        let plan = settle(&mut world, true, 10);
        assert_eq!(plan.stages[0].len(), 1, "the one that had not ended is told of first");
        assert_eq!(world.names(&PODS), ["a", "d"]);
    }

    #[test]
    fn deleted_pods_of_a_node_out_of_service_go_and_the_others_stay() {
        // N-46.
        let mut world = world();
        world.create(&PODS, json!({"metadata": {"name": "f"}, "spec": {"nodeName": "n1", "containers": []}}));
        world.delete(&PODS, "f", None);
        let pods = world.pods();
        let view = |out_of_service| View {
            pods: pods.iter().collect(),
            nodes: BTreeSet::from(["n1", "gone"]),
            missing: Vec::new(),
            out_of_service,
            ended_max: 10,
        };
        assert_eq!(plan(&view(BTreeSet::new()), world.now).writes().count(), 1, "only the one that was never bound");
        let given_up = plan(&view(BTreeSet::from(["n1"])), world.now);
        assert_eq!(given_up.stages[0].len(), 1, "it has failed before it is gone");
        world.obey(&given_up);
        assert_eq!(world.names(&PODS), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_node_is_out_of_service_when_somebody_says_so_and_it_is_not_ready() {
        // N-46.
        let node = |ready: &str, taint: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n1"}, "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap()
        };
        assert!(is_out_of_service(&node("False", OUT_OF_SERVICE)));
        assert!(is_out_of_service(&node("Unknown", OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("True", OUT_OF_SERVICE)), "its node lives and ends its pods itself");
        assert!(!is_out_of_service(&node("False", "node.kubernetes.io/not-ready")));
    }

    #[test]
    fn the_oldest_ended_pods_go_when_there_are_too_many() {
        // N-47.
        let mut world = world();
        settle(&mut world, false, 1);
        assert_eq!(world.names(&PODS), ["a", "b", "d"]);
        settle(&mut world, false, 0);
        assert_eq!(world.names(&PODS), ["a", "b"]);
    }
}
