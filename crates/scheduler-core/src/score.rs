//! Which of the nodes that can have a pod is best.

use crate::affinity::{term_fits, untolerated};
use crate::facts::{NodeFacts, PodFacts};
use crate::snapshot::NodeInfo;

/// What a rule gives a node at most; as upstream.
pub(crate) const SCORE_MAX: i64 = 100;
/// Weights of the rules; as upstream.
const TAINT_WEIGHT: i64 = 3;
const AFFINITY_WEIGHT: i64 = 2;

/// Larger is better: nodes with more left, that the pod prefers, and without taints that ask it to stay away.
pub(crate) fn score(pod: &PodFacts, node: &NodeFacts, info: &NodeInfo) -> i64 {
    let preferred: i64 = pod
        .preferred_nodes
        .iter()
        .filter(|term| term_fits(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum();
    let wanted: i64 = pod.preferred_nodes.iter().map(|term| i64::from(term.weight)).sum();
    let affinity = if wanted == 0 { 0 } else { preferred * SCORE_MAX / wanted };
    let is_unwelcome = untolerated(&node.taints, &pod.tolerations, &["PreferNoSchedule"]).is_some();
    let taint = if is_unwelcome { 0 } else { SCORE_MAX };
    let free = (free_share(pod, node, info, "cpu") + free_share(pod, node, info, "memory")) / 2;
    affinity * AFFINITY_WEIGHT + taint * TAINT_WEIGHT + free
}

/// How much of a resource is left once the pod is there, in hundredths.
fn free_share(pod: &PodFacts, node: &NodeFacts, info: &NodeInfo, resource: &str) -> i64 {
    let allocatable = node.allocatable.get(resource);
    let mut used = info.used.get(resource);
    used += pod.requests.get(resource);
    let mut left = allocatable;
    left -= used;
    let (left, all) = (i128::from(left.millis()), i128::from(allocatable.millis()));
    if all <= 0 { 0 } else { i64::try_from(left * i128::from(SCORE_MAX) / all).unwrap_or(0).max(0) }
}
