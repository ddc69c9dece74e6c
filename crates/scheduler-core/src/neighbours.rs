//! Pod affinity, anti-affinity and topology spread: what the neighbours of each node say to one pod.

use std::collections::{BTreeMap, BTreeSet};

use crate::affinity::{selector_fits, untolerated};
use crate::facts::{NodeFacts, PodFacts};
use crate::filter::{HARD_EFFECTS, Refusal};
use crate::pods::{PodSet, Spread};
use crate::snapshot::Snapshot;
use crate::tally::{Counts, Force};

/// Worked out once for a pod, before any node is looked at.
#[derive(Default, Debug)]
pub(crate) struct Neighbourhood<'a> {
    /// Places (topology key and value) that pods which are there keep it out of.
    kept_out: BTreeSet<(&'a str, &'a str)>,
    /// For each of its anti-affinity terms: topology key, and the places with such pods.
    apart: Vec<(&'a str, BTreeSet<&'a str>)>,
    /// For each of its affinity terms: topology key, and the places with such pods.
    near: Vec<(&'a str, BTreeSet<&'a str>)>,
    /// Nobody is there whom it wants to be near, and it would be the first of its kind.
    is_first: bool,
    spread: Vec<Domains<'a>>,
    /// How much it is drawn to a place.
    wishes: BTreeMap<(&'a str, &'a str), i64>,
}

/// The places of one spread constraint.
#[derive(Debug)]
struct Domains<'a> {
    spread: &'a Spread,
    /// Pods by place, for places of nodes that count.
    pods: BTreeMap<&'a str, i64>,
    fewest: i64,
    /// The pod itself is one of those that are spread.
    is_one: bool,
}

impl<'a> Neighbourhood<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot, pod: &'a PodFacts) -> Self {
        let mut hood = Self::default();
        for (force, group) in snapshot.tallies.groups() {
            if !group.term.pods.selects(pod, &snapshot.namespaces) {
                continue;
            }
            let key = group.term.topology_key.as_str();
            for (place, count) in snapshot.by_place(key, &group.nodes) {
                match force {
                    Force::KeepsAway => {
                        hood.kept_out.insert((key, place));
                    }
                    Force::Draws(weight) => *hood.wishes.entry((key, place)).or_default() += weight * count,
                }
            }
        }
        let Some(neighbours) = &pod.neighbours else { return hood };
        let places =
            |key: &'a str, pods: &PodSet| -> BTreeMap<&'a str, i64> { snapshot.by_place(key, &snapshot.counts(pods)) };
        for term in &neighbours.apart {
            let key = term.topology_key.as_str();
            hood.apart.push((key, places(key, &term.pods).into_keys().collect()));
        }
        if let Some(all) = &neighbours.near_all {
            let counts = snapshot.counts(all);
            hood.is_first = counts.is_empty() && all.selects(pod, &snapshot.namespaces);
            for term in &neighbours.near {
                let key = term.topology_key.as_str();
                hood.near.push((key, snapshot.by_place(key, &counts).into_keys().collect()));
            }
        }
        for (weight, term) in &neighbours.wishes {
            let key = term.topology_key.as_str();
            for (place, count) in places(key, &term.pods) {
                *hood.wishes.entry((key, place)).or_default() += weight * count;
            }
        }
        hood.spread = neighbours.spread.iter().map(|spread| Domains::of(snapshot, pod, spread)).collect();
        hood
    }

    /// Why a node cannot have the pod; `None` if it can.
    pub(crate) fn problem(&self, node: &NodeFacts) -> Option<Refusal> {
        for domains in self.spread.iter().filter(|domains| domains.spread.is_required) {
            let text = "node(s) didn't match pod topology spread constraints";
            match domains.skew(node) {
                None => return Some(Refusal::lasting(format!("{text} (missing required label)"))),
                Some(skew) if skew > domains.spread.skew_max => return Some(Refusal::passing(text)),
                Some(_) => {}
            }
        }
        let place = |key: &str| node.labels.get(key).map(String::as_str);
        let is_near = self.near.iter().all(|(key, places)| place(key).is_some_and(|place| places.contains(place)));
        let may_be_first = self.is_first && self.near.iter().all(|(key, _)| place(key).is_some());
        if !is_near && !may_be_first {
            return Some(Refusal::lasting("node(s) didn't match pod affinity rules"));
        }
        if self.apart.iter().any(|(key, places)| place(key).is_some_and(|place| places.contains(place))) {
            return Some(Refusal::passing("node(s) didn't match pod anti-affinity rules"));
        }
        if self.kept_out.iter().any(|(key, kept)| place(key) == Some(*kept)) {
            return Some(Refusal::passing("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        None
    }

    /// Whether anything in here tells one node from another.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// How much the pod is drawn to a node; only comparable for one pod.
    pub(crate) fn draw(&self, node: &NodeFacts) -> i64 {
        let here = self.wishes.iter().filter(|((key, place), _)| node.labels.get(*key).is_some_and(|own| own == place));
        here.map(|(_, weight)| weight).sum()
    }

    /// Whether constraints that are only wishes tell one node from another.
    pub(crate) fn has_soft_spread(&self) -> bool {
        self.spread.iter().any(|domains| !domains.spread.is_required)
    }

    /// How crowded a node's places are, by the constraints that are only wishes; `None` if it lacks one of their labels.
    pub(crate) fn crowd(&self, node: &NodeFacts) -> Option<i64> {
        let soft = self.spread.iter().filter(|domains| !domains.spread.is_required);
        let mut crowd = 0;
        for domains in soft {
            let place = node.labels.get(&domains.spread.topology_key)?;
            let pods = domains.pods.get(place.as_str()).copied().unwrap_or(0);
            // With more places, a pod more in one of them weighs more (upstream: the logarithm of their count).
            let weight = ((domains.pods.len() as f64 + 2.0).ln() * 1000.0) as i64;
            crowd += pods * weight + (domains.spread.skew_max - 1) * 1000;
        }
        Some(crowd)
    }
}

impl<'a> Domains<'a> {
    fn of(snapshot: &'a Snapshot, pod: &'a PodFacts, spread: &'a Spread) -> Self {
        let counts = snapshot.counts(&spread.pods);
        let keys = pod.neighbours.iter().flat_map(|neighbours| &neighbours.spread);
        let keys: Vec<&str> =
            keys.filter(|other| other.is_required == spread.is_required).map(|one| one.topology_key.as_str()).collect();
        let mut pods: BTreeMap<&str, i64> = BTreeMap::new();
        for (node, _) in snapshot.known_nodes() {
            let is_labelled = keys.iter().all(|key| node.labels.contains_key(*key));
            let Some(place) = node.labels.get(&spread.topology_key).filter(|_| is_labelled) else { continue };
            if counts_for(spread, pod, node) {
                let here = counts.get(&node.name).map_or(0, |count| i64::try_from(*count).unwrap_or(i64::MAX));
                *pods.entry(place).or_default() += here;
            }
        }
        let has_few = i64::try_from(pods.len()).unwrap_or(i64::MAX) < spread.domains_min;
        let fewest = if has_few { 0 } else { pods.values().copied().min().unwrap_or(0) };
        Self { spread, pods, fewest, is_one: spread.pods.selects(pod, &snapshot.namespaces) }
    }

    /// The skew once the pod is on the node; `None` if the node has no such label.
    fn skew(&self, node: &NodeFacts) -> Option<i64> {
        let place = node.labels.get(&self.spread.topology_key)?;
        let here = self.pods.get(place.as_str()).copied().unwrap_or(0);
        Some(here + i64::from(self.is_one) - self.fewest)
    }
}

/// Whether a node's pods count for a constraint (`nodeAffinityPolicy`, `nodeTaintsPolicy`).
fn counts_for(spread: &Spread, pod: &PodFacts, node: &NodeFacts) -> bool {
    let is_selected = || {
        pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && pod.required_nodes.as_ref().is_none_or(|nodes| selector_fits(nodes, node))
    };
    let is_tolerated = || untolerated(&node.taints, &pod.tolerations, &HARD_EFFECTS).is_none();
    (!spread.honors_affinity || is_selected()) && (!spread.honors_taints || is_tolerated())
}

impl Snapshot {
    /// Counts by node as counts by the nodes' value of a label.
    fn by_place(&self, key: &str, counts: &Counts) -> BTreeMap<&str, i64> {
        let mut places = BTreeMap::new();
        for (node, count) in counts {
            let facts = self.nodes.get(node).and_then(|info| info.facts.as_ref());
            if let Some(place) = facts.and_then(|facts| facts.labels.get(key)) {
                *places.entry(place.as_str()).or_default() += i64::try_from(*count).unwrap_or(i64::MAX);
            }
        }
        places
    }
}
