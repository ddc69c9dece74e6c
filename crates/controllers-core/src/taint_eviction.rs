//! Eviction by taint: a pod on a node with a `NoExecute` taint that it does not tolerate is deleted, and one that
//! tolerates it for a time is deleted after that time (N-45).
//!
//! The deletion is an ordinary one: only the pod's node says when it is over, so a StatefulSet waits for it (D7). Start
//! with [`plan`].

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint, Toleration};
use meta::Timestamp;

use crate::node_fit::tolerates;
use crate::pods;
use crate::words::{Note, Tone, is_terminating};
use crate::writes::{Plan, Write};

const EFFECT: &str = "NoExecute";

/// What tells taints of a node apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TaintId {
    key: String,
    value: String,
}

impl TaintId {
    fn of(taint: &Taint) -> Self {
        Self { key: taint.key.clone(), value: taint.value.clone().unwrap_or_default() }
    }
}

/// Everything the planner looks at.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The node that it is bound to, if there is such a node.
    pub node: Option<&'a Node>,
    /// Since when each taint of the node has been seen beside the pod, for those that do not say it.
    pub seen: &'a BTreeMap<TaintId, Timestamp>,
}

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The pod tolerates the taint until then.
    Tolerated {
        /// Key of the taint.
        taint: String,
        /// When the time that the pod asked for is over.
        until: Timestamp,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tolerated { taint, until } => write!(f, "taint {taint} is tolerated until {until}"),
        }
    }
}

/// The taints of a node that drive pods away.
pub fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == EFFECT)
}

/// Which taints are seen beside the pod now, each since when: what the next look is given.
pub fn seen(
    node: Option<&Node>,
    before: &BTreeMap<TaintId, Timestamp>,
    now: Timestamp,
) -> BTreeMap<TaintId, Timestamp> {
    let ids = node.into_iter().flat_map(evicting).map(TaintId::of);
    ids.map(|id| (before.get(&id).copied().unwrap_or(now), id)).map(|(since, id)| (id, since)).collect()
}

/// Whether the pod goes, and when.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let mut plan = Plan::default();
    let (Some(node), Some(spec)) = (view.node, view.pod.spec.as_ref()) else { return plan };
    if is_terminating(&view.pod.metadata) {
        return plan;
    }
    let ends = evicting(node).filter_map(|taint| Some((tolerated_until(view, spec, taint, now)?, taint)));
    let Some((until, taint)) = ends.min_by_key(|(until, _)| *until) else { return plan };
    if until > now {
        plan.at(Some(until));
        plan.waits.push(Wait::Tolerated { taint: taint.key.clone(), until });
        return plan;
    }
    plan.stages = evict(view.pod, now);
    plan
}

/// Until when the pod may stay though the node has the taint; `None` for as long as it likes.
fn tolerated_until(view: &View<'_>, spec: &PodSpec, taint: &Taint, now: Timestamp) -> Option<Timestamp> {
    let covers = |toleration: &&Toleration| tolerates(toleration, taint);
    let Some(toleration) = spec.tolerations.iter().flatten().find(covers) else { return Some(now) };
    let seconds = toleration.toleration_seconds?;
    let since = since(view, taint).unwrap_or(now);
    if seconds <= 0 { Some(now) } else { Some(pods::after(since, seconds).unwrap_or(Timestamp::MAX)) }
}

/// Since when pod and taint have been together: by the objects themselves, so that a restart begins no new time; else
/// since they were first seen.
fn since(view: &View<'_>, taint: &Taint) -> Option<Timestamp> {
    let started = view.pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    match (&taint.time_added, started) {
        (Some(added), Some(started)) => Some(added.0.max(started)),
        (None, _) | (_, None) => view.seen.get(&TaintId::of(taint)).copied(),
    }
}

fn evict(pod: &Pod, now: Timestamp) -> Vec<Vec<Write>> {
    let why = "Taint manager: deleting due to NoExecute taint";
    let told = pods::disrupted(pod, "DeletionByTaintManager", why, now);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let message = format!("Marking for deletion Pod {namespace}/{}", pods::name(pod));
    let done = Note { tone: Tone::Normal, reason: "TaintManagerEviction", message };
    let status = serde_json::json!({"conditions": told});
    let delete = Write::delete(api::resources::PODS, pods::target(pod)).in_any_state().announcing(done);
    vec![vec![Write::status(api::resources::PODS, pods::target(pod), status)], vec![delete]]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::World;
    use api::resources::PODS;

    fn at(seconds: i64) -> Timestamp {
        pods::after(World::new().now, seconds).unwrap()
    }

    fn node(taints: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}})).unwrap()
    }

    fn tolerating(tolerations: Value) -> World {
        let mut world = World::new();
        let spec = json!({"nodeName": "n1", "containers": [], "tolerations": tolerations});
        world.create(&PODS, json!({"metadata": {"name": "web-0"}, "spec": spec}));
        world.node("web-0", "Running", true);
        world
    }

    fn planned(world: &World, node: &Node, seen: &BTreeMap<TaintId, Timestamp>) -> Plan<Wait> {
        plan(&View { pod: &world.pods()[0], node: Some(node), seen }, world.now)
    }

    #[test]
    fn a_pod_that_does_not_tolerate_a_taint_is_deleted_and_says_why() {
        // N-45.
        let taint = node(json!([{"key": "gone", "effect": "NoExecute"}]));
        let mut world = tolerating(json!([]));
        let plan = planned(&world, &taint, &BTreeMap::new());
        world.obey(&plan);
        let pod = world.get(&PODS, "web-0").clone();
        let reason = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert!(pod["status"]["conditions"].as_array().unwrap().contains(&reason), "{pod}");
        assert_eq!(pod["status"]["conditions"][0]["type"], "Ready", "what the node said stays");
        assert!(!pod["metadata"]["deletionTimestamp"].is_null(), "an ordinary deletion: its node ends it");
        assert_eq!(world.events, ["TaintManagerEviction Marking for deletion Pod default/web-0"]);
        assert!(planned(&world, &taint, &BTreeMap::new()).is_settled(), "once");
    }

    #[test]
    fn only_taints_that_drive_away_count_and_a_toleration_without_a_time_lasts() {
        let drives = node(json!([{"key": "gone", "value": "yes", "effect": "NoExecute"}]));
        let keeps_out = node(json!([{"key": "gone", "effect": "NoSchedule"}]));
        let evicts = |tolerations: Value, node: &Node| {
            let world = tolerating(tolerations);
            let plan = planned(&world, node, &BTreeMap::new());
            assert!(plan.waits.is_empty());
            !plan.is_settled()
        };
        assert!(!evicts(json!([]), &keeps_out));
        assert!(!evicts(json!([{"key": "gone", "operator": "Exists"}]), &drives));
        assert!(!evicts(json!([{"operator": "Exists", "effect": "NoExecute"}]), &drives));
        assert!(evicts(json!([{"key": "gone", "value": "no", "effect": "NoExecute"}]), &drives));
        assert!(evicts(json!([{"key": "gone", "operator": "Exists", "effect": "NoSchedule"}]), &drives));
        assert!(evicts(json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]), &drives));
    }

    #[test]
    fn a_pod_stays_for_as_long_as_it_tolerates_the_taint() {
        // N-44, N-45.
        let for_300 = json!([{"key": "gone", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
        let taint = node(json!([{"key": "gone", "effect": "NoExecute"}]));
        let mut world = tolerating(for_300.clone());
        let first = seen(Some(&taint), &BTreeMap::new(), world.now);
        let plan = planned(&world, &taint, &first);
        assert!(plan.is_settled());
        assert_eq!(plan.look_again, Some(at(300)));
        assert_eq!(plan.waits[0].to_string(), "taint gone is tolerated until 2026-01-01T00:05:00Z");
        world.later(299);
        let later = seen(Some(&taint), &first, world.now);
        assert!(planned(&world, &taint, &later).is_settled());
        world.later(1);
        assert!(!planned(&world, &taint, &later).is_settled());
        assert!(seen(Some(&node(json!([]))), &later, world.now).is_empty(), "a taint that comes back begins anew");

        // What the objects say of the time holds over a restart.
        let dated = node(json!([{"key": "gone", "effect": "NoExecute", "timeAdded": "2026-01-01T00:01:00Z"}]));
        let mut world = tolerating(for_300);
        world.edit(&PODS, "web-0", |pod| pod["status"]["startTime"] = json!("2026-01-01T00:00:00Z"));
        world.later(200);
        assert_eq!(planned(&world, &dated, &seen(Some(&dated), &BTreeMap::new(), world.now)).look_again, Some(at(360)));
    }
}
