//! Which nodes can have a pod, and why the others cannot.

use std::collections::BTreeMap;

use meta::Quantity;

use crate::affinity::{selector_fits, untolerated};
use crate::facts::{NodeFacts, PodFacts};
use crate::resources::PODS;
use crate::score::score;
use crate::snapshot::{Key, NodeInfo, Snapshot};
use crate::storage::Storage;

/// Taints with these effects keep pods away.
const HARD_EFFECTS: [&str; 2] = ["NoSchedule", "NoExecute"];

/// What is to be done with a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Bind it.
    Bind {
        /// To this node.
        node: String,
    },
    /// Tell these claims the node, then wait until they are bound (N-2).
    SelectNode {
        /// The node.
        node: String,
        /// The claims that do not know it.
        claims: Vec<Key>,
    },
    /// Wait: the claims know the node and are not bound yet.
    AwaitVolumes {
        /// The node.
        node: String,
    },
    /// No node can have it.
    Unschedulable(Unschedulable),
}

/// Why no node can have a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unschedulable {
    /// Upstream's sentence, for the condition and the event.
    pub message: String,
    /// The reasons of each node; empty if the pod itself is the reason.
    pub nodes: BTreeMap<String, Vec<String>>,
}

impl Snapshot {
    /// Decides for one pod. The pod must not count anywhere itself.
    ///
    /// Deterministic: equal snapshots give equal decisions; between equally good nodes the first name wins.
    pub fn place(&self, pod: &PodFacts) -> Decision {
        let storage = match Storage::of(self, pod) {
            Ok(storage) => storage,
            Err(reason) => return Decision::Unschedulable(self.unschedulable_pod(&reason)),
        };
        let mut refusals: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // The score, and at equal scores the fewer pods.
        let mut best: Option<((i64, std::cmp::Reverse<usize>), &NodeFacts)> = None;
        for (node, info) in self.known_nodes() {
            let problems = self.problems(pod, node, info, &storage);
            if !problems.is_empty() {
                refusals.insert(node.name.clone(), problems);
                continue;
            }
            let score = (score(pod, node, info), std::cmp::Reverse(info.pods.len()));
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, node));
            }
        }
        let Some((_, node)) = best else { return Decision::Unschedulable(unschedulable_nodes(refusals)) };
        let node = node.name.clone();
        let claims = storage.to_select(&node);
        if !claims.is_empty() {
            Decision::SelectNode { node, claims }
        } else if storage.is_ready() {
            Decision::Bind { node }
        } else {
            Decision::AwaitVolumes { node }
        }
    }

    /// Why a node cannot have a pod, in the words of the first rule that says no; empty if it can.
    fn problems(&self, pod: &PodFacts, node: &NodeFacts, info: &NodeInfo, storage: &Storage<'_>) -> Vec<String> {
        let is_cordon_tolerated = || {
            let taint = k8s_openapi::api::core::v1::Taint {
                key: "node.kubernetes.io/unschedulable".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Default::default()
            };
            untolerated(std::slice::from_ref(&taint), &pod.tolerations, &HARD_EFFECTS).is_none()
        };
        if node.is_unschedulable && !is_cordon_tolerated() {
            return vec!["node(s) were unschedulable".to_owned()];
        }
        if let Some(taint) = untolerated(&node.taints, &pod.tolerations, &HARD_EFFECTS) {
            let (key, value) = (&taint.key, taint.value.as_deref().unwrap_or_default());
            return vec![format!("node(s) had untolerated taint {{{key}: {value}}}")];
        }
        let selector_holds = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        if !selector_holds || pod.required_nodes.as_ref().is_some_and(|nodes| !selector_fits(nodes, node)) {
            return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
        }
        let shortages = shortages(pod, node, info);
        if !shortages.is_empty() {
            return shortages;
        }
        if let Some(problem) = storage.problem(self, node) {
            return vec![problem.to_owned()];
        }
        self.neighbour_problem(pod, node).map(str::to_owned).into_iter().collect()
    }

    /// Required pod affinity and anti-affinity, both ways.
    fn neighbour_problem(&self, pod: &PodFacts, node: &NodeFacts) -> Option<&'static str> {
        let same_place = |key: &str, other: &NodeFacts| {
            let value = node.labels.get(key);
            value.is_some() && other.labels.get(key) == value
        };
        let keeps_away = |(other_node, other): (&NodeFacts, &PodFacts)| {
            other.apart.iter().any(|term| same_place(&term.topology_key, other_node) && term.selects(pod))
        };
        if self.pods_that_keep_others_away().any(keeps_away) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        if pod.apart.is_empty() && pod.near.is_empty() {
            return None;
        }
        let pods = || self.known_nodes().flat_map(|(node, info)| info.pods.values().map(move |pod| (node, pod)));
        for term in &pod.apart {
            if pods().any(|(other_node, other)| same_place(&term.topology_key, other_node) && term.selects(other)) {
                return Some("node(s) didn't match pod anti-affinity rules");
            }
        }
        for term in &pod.near {
            let is_met =
                pods().any(|(other_node, other)| same_place(&term.topology_key, other_node) && term.selects(other));
            // The first pod of a group that wants to be together may go anywhere.
            let is_first = term.selects(pod)
                && node.labels.contains_key(&term.topology_key)
                && !pods().any(|(_, other)| term.selects(other));
            if !is_met && !is_first {
                return Some("node(s) didn't match pod affinity rules");
            }
        }
        None
    }

    fn unschedulable_pod(&self, reason: &str) -> Unschedulable {
        let nodes = self.known_nodes().count();
        Unschedulable { message: format!("0/{nodes} nodes are available: {reason}."), nodes: BTreeMap::new() }
    }
}

/// What a node has too little of.
fn shortages(pod: &PodFacts, node: &NodeFacts, info: &NodeInfo) -> Vec<String> {
    let is_short = |name: &str, amount: Quantity| {
        let mut needed = info.used.get(name);
        needed += amount;
        needed > node.allocatable.get(name)
    };
    let short = pod.requests.iter().filter(|(name, amount)| is_short(name, *amount));
    let mut texts: Vec<String> = short
        .map(|(name, _)| if name == PODS { "Too many pods".to_owned() } else { format!("Insufficient {name}") })
        .collect();
    texts.sort();
    texts
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn unschedulable_nodes(refusals: BTreeMap<String, Vec<String>>) -> Unschedulable {
    if refusals.is_empty() {
        return Unschedulable { message: "no nodes available to schedule pods".to_owned(), nodes: refusals };
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in refusals.values().flatten() {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    let message = format!("0/{} nodes are available: {}.", refusals.len(), reasons.join(", "));
    Unschedulable { message, nodes: refusals }
}
