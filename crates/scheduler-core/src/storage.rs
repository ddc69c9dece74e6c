//! Claims of a pod: which nodes can have their volumes (N-2, N-6, N-7, N-8).

use crate::affinity::{selector_fits, topology_fits};
use crate::facts::{ClaimFacts, NodeFacts, PodFacts};
use crate::snapshot::{Key, Snapshot};

/// The claims of a pod, looked at once before any node.
#[derive(Default, Debug)]
pub(crate) struct Storage<'a> {
    /// Bound: their volumes say which nodes.
    bound: Vec<&'a ClaimFacts>,
    /// To be bound once a node is chosen.
    waiting: Vec<&'a ClaimFacts>,
}

impl<'a> Storage<'a> {
    /// Looks at the claims; the error is why no node can do (N-6).
    pub(crate) fn of(snapshot: &'a Snapshot, pod: &PodFacts) -> Result<Self, String> {
        let mut storage = Self::default();
        let mut has_unbound_immediate = false;
        for key in &pod.claims {
            let name = &key.name;
            let Some(claim) = snapshot.claims.get(key) else {
                return Err(format!("persistentvolumeclaim {name:?} not found"));
            };
            if claim.is_lost {
                let volume = &claim.volume;
                return Err(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                ));
            }
            if claim.is_deleting {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            if claim.is_for_one_pod() && snapshot.is_claim_used_by_other(key, pod) {
                return Err(
                    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
                        .to_owned(),
                );
            }
            let waits = snapshot.classes.get(&claim.class).is_some_and(|class| class.waits_for_consumer);
            if claim.is_bound {
                storage.bound.push(claim);
            } else if waits {
                // Also one that has its volume's name and is not Bound yet: the binder is between its two writes.
                storage.waiting.push(claim);
            } else {
                has_unbound_immediate = true;
            }
        }
        if has_unbound_immediate {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        Ok(storage)
    }

    /// Why a node cannot have the volumes; `None` if it can.
    pub(crate) fn problem(&self, snapshot: &Snapshot, node: &NodeFacts) -> Option<&'static str> {
        for claim in &self.bound {
            let Some(volume) = snapshot.volumes.get(&claim.volume) else {
                return Some("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
            };
            if !meta::mutants::is_on("pod-away-from-its-volume")
                && volume.nodes.as_ref().is_some_and(|nodes| !selector_fits(nodes, node))
            {
                return Some("node(s) had volume node affinity conflict");
            }
        }
        // A claim that has been promised to a node is made there; another node would have to wait for ever.
        let is_elsewhere = |claim: &&ClaimFacts| {
            !claim.selected_node.is_empty()
                && claim.selected_node != node.name
                && snapshot.nodes.get(&claim.selected_node).is_some_and(|info| info.facts.is_some())
        };
        if self.waiting.iter().any(is_elsewhere) {
            return Some("node(s) had volume node affinity conflict");
        }
        let is_available = |claim: &&ClaimFacts| match snapshot.volumes.get(&claim.volume) {
            Some(volume) => volume.nodes.as_ref().is_none_or(|nodes| selector_fits(nodes, node)),
            None => snapshot.can_have_volume(claim, node),
        };
        if !self.waiting.iter().all(is_available) {
            return Some("node(s) didn't find available persistent volumes to bind");
        }
        None
    }

    /// The claims that do not know yet that they go to that node.
    pub(crate) fn to_select(&self, node: &str) -> Vec<Key> {
        let unaware = self.waiting.iter().filter(|claim| claim.selected_node != node);
        unaware.map(|claim| claim.key.clone()).collect()
    }

    /// True if every claim is bound.
    pub(crate) fn is_ready(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Snapshot {
    /// True if a volume for the claim is there or can be made on the node.
    fn can_have_volume(&self, claim: &ClaimFacts, node: &NodeFacts) -> bool {
        let provisions = self
            .classes
            .get(&claim.class)
            .is_some_and(|class| class.provisions && topology_fits(&class.topologies, node));
        provisions
            || self.volumes.values().any(|volume| {
                volume.is_available
                    && volume.claim.as_ref().is_none_or(|kept_for| *kept_for == claim.key)
                    && volume.class == claim.class
                    && volume.capacity >= claim.request
                    && claim.access_modes.iter().all(|mode| volume.access_modes.contains(mode))
                    && volume.nodes.as_ref().is_none_or(|nodes| selector_fits(nodes, node))
            })
    }

    /// True if another pod that counts somewhere uses the claim.
    fn is_claim_used_by_other(&self, claim: &Key, pod: &PodFacts) -> bool {
        let uses = |other: &PodFacts| other.uid != pod.uid && other.claims.contains(claim);
        self.nodes.values().any(|info| info.pods.values().any(|other| uses(other)))
    }
}
