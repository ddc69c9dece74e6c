//! How many pods of a set stand on which node, kept up to date instead of counted anew for every pod that is placed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::facts::PodFacts;
use crate::pods::{Namespaces, PodSet, PodTerm};

/// Sets that are counted; the one that was asked for longest ago makes room.
const SETS_MAX: usize = 256;

/// Pods by the name of their node.
pub(crate) type Counts = BTreeMap<String, usize>;

/// The counts.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tallies {
    sets: BTreeMap<Arc<str>, Tally>,
    /// Terms of pods that are placed, which concern those that come after them.
    groups: BTreeMap<(Force, Arc<str>, String), Group>,
    asked: u64,
}

#[derive(Clone, Debug)]
struct Tally {
    pods: PodSet,
    counts: Counts,
    asked: u64,
}

/// What a term of a placed pod does to the pods that it means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Force {
    /// Keeps them out of its place.
    KeepsAway,
    /// Draws them to its place, or with a negative weight not.
    Draws(i64),
}

/// Equal terms of placed pods.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) term: PodTerm,
    /// How many pods on which node have it.
    pub(crate) nodes: Counts,
}

impl Tallies {
    /// A pod is placed.
    pub(crate) fn put(&mut self, pod: &PodFacts, node: &str, namespaces: &Namespaces) {
        for tally in self.sets.values_mut().filter(|tally| tally.pods.selects(pod, namespaces)) {
            *tally.counts.entry(node.to_owned()).or_default() += 1;
        }
        for (force, term) in forces(pod) {
            let key = (force, Arc::clone(&term.pods.key), term.topology_key.clone());
            let group = self.groups.entry(key).or_insert_with(|| Group { term: term.clone(), nodes: Counts::new() });
            *group.nodes.entry(node.to_owned()).or_default() += 1;
        }
    }

    /// A pod is no longer there.
    pub(crate) fn take(&mut self, pod: &PodFacts, node: &str, namespaces: &Namespaces) {
        for tally in self.sets.values_mut().filter(|tally| tally.pods.selects(pod, namespaces)) {
            decrease(&mut tally.counts, node);
        }
        for (force, term) in forces(pod) {
            let key = (force, Arc::clone(&term.pods.key), term.topology_key.clone());
            let Some(group) = self.groups.get_mut(&key) else { continue };
            decrease(&mut group.nodes, node);
            if group.nodes.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// Begins to count a set, if it is not counted yet; `placed` are all pods with their nodes.
    pub(crate) fn count<'a>(
        &mut self,
        pods: &PodSet,
        placed: impl Iterator<Item = (&'a str, &'a PodFacts)>,
        namespaces: &Namespaces,
    ) {
        self.asked += 1;
        if let Some(tally) = self.sets.get_mut(&pods.key) {
            tally.asked = self.asked;
            return;
        }
        if self.sets.len() >= SETS_MAX {
            let oldest = self.sets.iter().min_by_key(|(_, tally)| tally.asked).map(|(key, _)| Arc::clone(key));
            oldest.and_then(|key| self.sets.remove(&key));
        }
        let counts = count(pods, placed, namespaces);
        self.sets.insert(Arc::clone(&pods.key), Tally { pods: pods.clone(), counts, asked: self.asked });
    }

    /// The pods of a set by node: as counted, or counted now.
    pub(crate) fn of<'s, 'a>(
        &'s self,
        pods: &PodSet,
        placed: impl Iterator<Item = (&'a str, &'a PodFacts)>,
        namespaces: &Namespaces,
    ) -> Cow<'s, Counts> {
        match self.sets.get(&pods.key) {
            Some(tally) => Cow::Borrowed(&tally.counts),
            None => Cow::Owned(count(pods, placed, namespaces)),
        }
    }

    /// Labels of namespaces have changed: what depends on them is counted anew when it is asked for.
    pub(crate) fn forget_namespaces(&mut self) {
        self.sets.retain(|_, tally| !tally.pods.reads_namespaces());
    }

    /// The terms of placed pods.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Force, &Group)> {
        self.groups.iter().map(|((force, _, _), group)| (*force, group))
    }
}

fn count<'a>(pods: &PodSet, placed: impl Iterator<Item = (&'a str, &'a PodFacts)>, namespaces: &Namespaces) -> Counts {
    let mut counts = Counts::new();
    for (node, _) in placed.filter(|(_, pod)| pods.selects(pod, namespaces)) {
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    counts
}

fn decrease(counts: &mut Counts, node: &str) {
    if let Some(count) = counts.get_mut(node) {
        *count -= 1;
        if *count == 0 {
            counts.remove(node);
        }
    }
}

/// The terms by which a placed pod concerns others. A required affinity draws with the weight 1, as upstream.
fn forces(pod: &PodFacts) -> impl Iterator<Item = (Force, &PodTerm)> {
    let neighbours = pod.neighbours.iter();
    neighbours.flat_map(|neighbours| {
        let apart = neighbours.apart.iter().map(|term| (Force::KeepsAway, term));
        let near = neighbours.near.iter().map(|term| (Force::Draws(1), term));
        apart.chain(near).chain(neighbours.wishes.iter().map(|(weight, term)| (Force::Draws(*weight), term)))
    })
}
