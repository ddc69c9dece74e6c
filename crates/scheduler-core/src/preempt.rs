//! Preemption: which pods of lower priority make room for one that fits nowhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use meta::{LabelSelector, Timestamp, Uid};

use crate::facts::{BudgetFacts, PodFacts};
use crate::filter::{Refusal, counted};
use crate::neighbours::Neighbourhood;
use crate::snapshot::{Key, Snapshot};
use crate::storage::Storage;

/// Nodes that are tried; upstream looks at a sample, too.
const CANDIDATES_MAX: usize = 100;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What preemption can do for a pod that fits nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Preemption {
    /// These pods go, then it fits on the node.
    Of { node: String, victims: Vec<(Key, Uid)> },
    /// Nothing, for the reason in the sentence.
    None(String),
    /// Nothing yet: pods that make room on this node are still ending.
    Ending(String),
}

/// One node with the pods that would have to go.
struct Candidate {
    node: String,
    victims: Vec<Arc<PodFacts>>,
    violations: usize,
}

impl Candidate {
    /// The best has the smallest: fewer budgets violated, less important victims, fewer of them, those that ran shortest.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<Option<Timestamp>>) {
        let highest = self.victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
        let sum = self.victims.iter().map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1).sum();
        let of_highest = self.victims.iter().filter(|victim| victim.priority == highest);
        let earliest = of_highest.map(|victim| victim.started_at).min().flatten();
        (self.violations, highest, sum, self.victims.len(), Reverse(earliest))
    }
}

impl Snapshot {
    /// Looks for the node on which the fewest and least important pods have to go. `refusals` are the answers of all
    /// nodes; if it is empty, the pod itself is the reason.
    pub(crate) fn preempt(&self, pod: &PodFacts, refusals: &BTreeMap<String, Refusal>) -> Preemption {
        if pod.never_preempts {
            return Preemption::None("not eligible due to preemptionPolicy=Never.".to_owned());
        }
        if let Some(node) = self.ending_for(pod) {
            return Preemption::Ending(node);
        }
        let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut candidates = Vec::new();
        let mut world: Option<Self> = None;
        for (node, info) in self.known_nodes() {
            let can_help = refusals.get(&node.name).is_some_and(|refusal| refusal.passes);
            let reason = if !can_help {
                NOT_HELPFUL.to_owned()
            } else if !info.pods.values().any(|other| other.priority < pod.priority) {
                NO_VICTIMS.to_owned()
            } else if candidates.len() >= CANDIDATES_MAX {
                continue;
            } else {
                match world.get_or_insert_with(|| self.clone()).clear(pod, &node.name) {
                    Ok(candidate) => {
                        candidates.push(candidate);
                        continue;
                    }
                    Err(reason) => reason,
                }
            };
            reasons.insert(node.name.clone(), vec![reason]);
        }
        let best = candidates.into_iter().min_by(|a, b| a.cost().cmp(&b.cost()).then(a.node.cmp(&b.node)));
        match best {
            Some(Candidate { node, victims, .. }) => {
                let victims = victims.iter().map(|victim| (victim.key.clone(), victim.uid.clone())).collect();
                Preemption::Of { node, victims }
            }
            None => Preemption::None(counted(self.known_nodes().count(), reasons.values().flatten())),
        }
    }

    /// The node that a pod was promised, while pods of lower priority are still ending there.
    fn ending_for(&self, pod: &PodFacts) -> Option<String> {
        let node = self.nominated.get(&pod.uid).map(|(node, _)| node.clone()).or_else(|| pod.nominated_node.clone())?;
        let info = self.nodes.get(&node)?;
        let is_ending = info.pods.values().any(|other| other.is_deleting && other.priority < pod.priority);
        is_ending.then_some(node)
    }

    /// Takes all pods of lower priority off a node, and puts back as many as can stay, the most important first, those
    /// that a budget protects before the others. The error is why that does not help. The snapshot is as before.
    fn clear(&mut self, pod: &PodFacts, node: &str) -> Result<Candidate, String> {
        let on_node = self.nodes.get(node).map(|info| info.pods.values().cloned().collect()).unwrap_or_default();
        let on_node: Vec<Arc<PodFacts>> = on_node;
        let mut lower: Vec<Arc<PodFacts>> = on_node.into_iter().filter(|other| other.priority < pod.priority).collect();
        lower.sort_by_key(|other| {
            (Reverse(other.priority), other.started_at.unwrap_or(Timestamp::MAX), other.uid.clone())
        });
        for victim in &lower {
            self.take_pod(&victim.uid);
        }
        let outcome = match self.refusal_of(pod, node) {
            Some(refusal) => Err(refusal.reasons.into_iter().next().unwrap_or_default()),
            None => Ok(self.reprieve(pod, node, &lower)),
        };
        for victim in lower {
            self.put_pod(victim, node);
        }
        outcome
    }

    fn reprieve(&mut self, pod: &PodFacts, node: &str, lower: &[Arc<PodFacts>]) -> Candidate {
        let (violating, free) = self.by_budgets(lower);
        let mut victims = Vec::new();
        let mut violations = 0;
        for (others, is_protected) in [(violating, true), (free, false)] {
            for other in others {
                self.put_pod(Arc::clone(&other), node);
                if self.refusal_of(pod, node).is_some() {
                    self.take_pod(&other.uid);
                    violations += usize::from(is_protected);
                    victims.push(other);
                }
            }
        }
        victims.sort_by_key(|victim| Reverse(victim.priority));
        Candidate { node: node.to_owned(), victims, violations }
    }

    /// Those whose disruption a budget does not allow, and the others.
    fn by_budgets(&self, pods: &[Arc<PodFacts>]) -> (Vec<Arc<PodFacts>>, Vec<Arc<PodFacts>>) {
        let mut left: BTreeMap<&Key, i32> = BTreeMap::new();
        pods.iter().cloned().partition(|pod| {
            let mut violates = false;
            for budget in self.budgets.values().filter(|budget| budget.protects(pod)) {
                let left = left.entry(&budget.key).or_insert(budget.disruptions_allowed);
                *left -= 1;
                violates |= *left < 0;
            }
            violates
        })
    }

    fn refusal_of(&self, pod: &PodFacts, node: &str) -> Option<Refusal> {
        let info = self.nodes.get(node)?;
        let facts = info.facts.as_ref()?;
        let Ok(storage) = Storage::of(self, pod) else { return Some(Refusal::lasting(NOT_HELPFUL)) };
        let hood = Neighbourhood::of(self, pod);
        self.refusal(pod, facts, info, &storage, &hood)
    }
}

impl BudgetFacts {
    fn protects(&self, pod: &PodFacts) -> bool {
        let selects = |selector: &LabelSelector| !selector.selects_everything() && selector.matches(&pod.labels);
        self.key.namespace == pod.key.namespace && selects(&self.selector) && !self.disrupted.contains(&pod.key.name)
    }
}
