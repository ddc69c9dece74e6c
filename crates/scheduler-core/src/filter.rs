//! Which nodes can have a pod, and why the others cannot.

use std::collections::BTreeMap;

use meta::Quantity;

use crate::affinity::{selector_fits, untolerated};
use crate::facts::{NodeFacts, PodFacts};
use crate::neighbours::Neighbourhood;
use crate::resources::{PODS, Resources};
use crate::score::{SCORE_MAX, score};
use crate::snapshot::{Key, NodeInfo, Snapshot};
use crate::storage::Storage;

/// Taints with these effects keep pods away.
pub(crate) const HARD_EFFECTS: [&str; 2] = ["NoSchedule", "NoExecute"];

/// Weight of what neighbours say, beside the others; as upstream.
const NEIGHBOUR_WEIGHT: i64 = 2;
/// The sentence where there are no nodes at all.
pub(crate) const NO_NODES: &str = "no nodes available to schedule pods";

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
    /// The answer of each node; empty if the pod itself is the reason.
    pub nodes: BTreeMap<String, Refusal>,
}

/// Why one node cannot have a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// In upstream's words.
    pub reasons: Vec<String>,
    /// It may pass when other pods go.
    pub passes: bool,
}

impl Refusal {
    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], passes: true }
    }

    pub(crate) fn lasting(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], passes: false }
    }
}

/// A node that can have the pod.
struct Fitting<'a> {
    facts: &'a NodeFacts,
    info: &'a NodeInfo,
    score: i64,
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
        let hood = Neighbourhood::of(self, pod);
        let mut refusals = BTreeMap::new();
        let mut fitting = Vec::new();
        for (facts, info) in self.known_nodes() {
            match self.refusal(pod, facts, info, &storage, &hood) {
                Some(refusal) => {
                    refusals.insert(facts.name.clone(), refusal);
                }
                None => fitting.push(Fitting { facts, info, score: score(pod, facts, info) }),
            }
        }
        add_neighbour_scores(&mut fitting, &hood);
        let mut best: Option<&Fitting<'_>> = None;
        for one in &fitting {
            // The score, and at equal scores the fewer pods.
            let rank = |one: &Fitting<'_>| (one.score, std::cmp::Reverse(one.info.pods.len()));
            if best.is_none_or(|other| rank(one) > rank(other)) {
                best = Some(one);
            }
        }
        let Some(Fitting { facts: node, .. }) = best else {
            return Decision::Unschedulable(unschedulable_nodes(refusals));
        };
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

    /// Why a node cannot have a pod, in the words of the first rule that says no; `None` if it can.
    pub(crate) fn refusal(
        &self,
        pod: &PodFacts,
        node: &NodeFacts,
        info: &NodeInfo,
        storage: &Storage<'_>,
        hood: &Neighbourhood<'_>,
    ) -> Option<Refusal> {
        let is_cordon_tolerated = || {
            let taint = k8s_openapi::api::core::v1::Taint {
                key: "node.kubernetes.io/unschedulable".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Default::default()
            };
            untolerated(std::slice::from_ref(&taint), &pod.tolerations, &HARD_EFFECTS).is_none()
        };
        if node.is_unschedulable && !is_cordon_tolerated() {
            return Some(Refusal::lasting("node(s) were unschedulable"));
        }
        if let Some(taint) = untolerated(&node.taints, &pod.tolerations, &HARD_EFFECTS) {
            let (key, value) = (&taint.key, taint.value.as_deref().unwrap_or_default());
            return Some(Refusal::lasting(format!("node(s) had untolerated taint {{{key}: {value}}}")));
        }
        let selector_holds = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        if !selector_holds || pod.required_nodes.as_ref().is_some_and(|nodes| !selector_fits(nodes, node)) {
            return Some(Refusal::lasting("node(s) didn't match Pod's node affinity/selector"));
        }
        let shortages = self.shortages(pod, node, info);
        if !shortages.is_empty() {
            // More than the node has at all: nobody's going would help.
            let passes = pod.requests.iter().all(|(name, amount)| amount <= node.allocatable.get(name));
            return Some(Refusal { reasons: shortages, passes });
        }
        if let Some(problem) = storage.problem(self, node) {
            return Some(Refusal::lasting(problem));
        }
        hood.problem(node)
    }

    /// What a node has too little of.
    fn shortages(&self, pod: &PodFacts, node: &NodeFacts, info: &NodeInfo) -> Vec<String> {
        let promised = self.promised(pod, &node.name);
        let is_short = |name: &str, amount: Quantity| {
            let mut needed = info.used.get(name);
            needed += amount;
            if let Some(promised) = &promised {
                needed += promised.get(name);
            }
            needed > node.allocatable.get(name)
        };
        let short = pod.requests.iter().filter(|(name, amount)| is_short(name, *amount));
        let mut texts: Vec<String> = short
            .map(|(name, _)| if name == PODS { "Too many pods".to_owned() } else { format!("Insufficient {name}") })
            .collect();
        texts.sort();
        texts
    }

    /// What is kept on a node for pods that are at least as important and for which others had to go.
    fn promised(&self, pod: &PodFacts, node: &str) -> Option<Resources> {
        let mut promised: Option<Resources> = None;
        for (uid, (promised_node, other)) in &self.nominated {
            if promised_node == node && *uid != pod.uid && other.priority >= pod.priority {
                promised.get_or_insert_default().add(&other.requests);
            }
        }
        promised
    }

    fn unschedulable_pod(&self, reason: &str) -> Unschedulable {
        let nodes = self.known_nodes().count();
        Unschedulable { message: format!("0/{nodes} nodes are available: {reason}."), nodes: BTreeMap::new() }
    }
}

/// What neighbours add to the scores of nodes, on upstream's scale of 0 to 100 and with its weights.
fn add_neighbour_scores(fitting: &mut [Fitting<'_>], hood: &Neighbourhood<'_>) {
    if hood.has_wishes() {
        let draws: Vec<i64> = fitting.iter().map(|one| hood.draw(one.facts)).collect();
        let (least, most) = (draws.iter().min().copied().unwrap_or(0), draws.iter().max().copied().unwrap_or(0));
        for (one, draw) in fitting.iter_mut().zip(draws).filter(|_| most > least) {
            one.score += NEIGHBOUR_WEIGHT * SCORE_MAX * (draw - least) / (most - least);
        }
    }
    if hood.has_soft_spread() {
        let crowds: Vec<Option<i64>> = fitting.iter().map(|one| hood.crowd(one.facts)).collect();
        let known = || crowds.iter().flatten().copied();
        let (least, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
        for (one, crowd) in fitting.iter_mut().zip(&crowds) {
            let Some(crowd) = crowd else { continue };
            let share = if most == 0 { SCORE_MAX } else { SCORE_MAX * (most + least - crowd) / most };
            one.score += NEIGHBOUR_WEIGHT * share;
        }
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn unschedulable_nodes(refusals: BTreeMap<String, Refusal>) -> Unschedulable {
    if refusals.is_empty() {
        return Unschedulable { message: NO_NODES.to_owned(), nodes: refusals };
    }
    let message = counted(refusals.len(), refusals.values().flat_map(|refusal| &refusal.reasons));
    Unschedulable { message, nodes: refusals }
}

/// The sentence that counts the reasons of nodes.
pub(crate) fn counted<'a>(nodes: usize, reasons: impl Iterator<Item = &'a String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}
