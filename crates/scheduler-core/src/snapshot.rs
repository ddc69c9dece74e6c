//! The cluster as the scheduler sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use meta::Uid;

use crate::facts::{BudgetFacts, ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
use crate::pods::{Namespaces, PodSet};
use crate::resources::Resources;
use crate::tally::{Counts, Tallies};

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A node and the pods on it, assumed ones included.
#[derive(Clone, Default, Debug)]
pub(crate) struct NodeInfo {
    /// `None` while only pods of the node are known.
    pub(crate) facts: Option<NodeFacts>,
    pub(crate) used: Resources,
    pub(crate) pods: BTreeMap<Uid, Arc<PodFacts>>,
}

/// Nodes, the pods on them, claims, volumes and classes.
#[derive(Clone, Default, Debug)]
pub struct Snapshot {
    pub(crate) nodes: BTreeMap<String, NodeInfo>,
    pub(crate) claims: BTreeMap<Key, ClaimFacts>,
    pub(crate) volumes: BTreeMap<String, VolumeFacts>,
    pub(crate) classes: BTreeMap<String, ClassFacts>,
    /// Where each pod counts.
    placed: BTreeMap<Uid, String>,
    pub(crate) budgets: BTreeMap<Key, BudgetFacts>,
    pub(crate) namespaces: Namespaces,
    pub(crate) tallies: Tallies,
    /// Pods for which others have to go, and the node that was promised to each.
    pub(crate) nominated: BTreeMap<Uid, (String, Arc<PodFacts>)>,
}

impl Snapshot {
    /// Learns a node; true if something that counts changed.
    pub fn set_node(&mut self, facts: NodeFacts) -> bool {
        let info = self.nodes.entry(facts.name.clone()).or_default();
        let changed = info.facts.as_ref() != Some(&facts);
        info.facts = Some(facts);
        changed
    }

    /// Forgets a node; the pods on it count on until they go.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.facts = None;
            if info.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// Counts a pod on a node, in place of wherever it counted before.
    pub fn put_pod(&mut self, pod: Arc<PodFacts>, node: &str) {
        self.take_pod(&pod.uid);
        self.tallies.put(&pod, node, &self.namespaces);
        let info = self.nodes.entry(node.to_owned()).or_default();
        info.used.add(&pod.requests);
        self.placed.insert(pod.uid.clone(), node.to_owned());
        info.pods.insert(pod.uid.clone(), pod);
    }

    /// No longer counts a pod; true if it counted.
    pub fn take_pod(&mut self, uid: &Uid) -> bool {
        let Some(node) = self.placed.remove(uid) else { return false };
        let Some(info) = self.nodes.get_mut(&node) else { return false };
        if let Some(pod) = info.pods.remove(uid) {
            info.used.subtract(&pod.requests);
            self.tallies.take(&pod, &node, &self.namespaces);
        }
        if info.pods.is_empty() && info.facts.is_none() {
            self.nodes.remove(&node);
        }
        true
    }

    /// The node on which a pod counts.
    pub fn node_of(&self, uid: &Uid) -> Option<&str> {
        self.placed.get(uid).map(String::as_str)
    }

    /// Learns a claim; true if something that counts changed.
    pub fn set_claim(&mut self, facts: ClaimFacts) -> bool {
        let key = facts.key.clone();
        self.claims.insert(key, facts.clone()).is_none_or(|before| before != facts)
    }

    /// Forgets a claim.
    pub fn remove_claim(&mut self, key: &Key) {
        self.claims.remove(key);
    }

    /// Claims with their UIDs.
    pub(crate) fn with_uids(&self, claims: impl IntoIterator<Item = Key>) -> Vec<(Key, Uid)> {
        let with_uid = |key: Key| {
            let uid = self.claims.get(&key).map(|claim| claim.uid.clone()).unwrap_or_default();
            (key, uid)
        };
        claims.into_iter().map(with_uid).collect()
    }

    /// Learns a volume; true if something that counts changed.
    pub fn set_volume(&mut self, facts: VolumeFacts) -> bool {
        let name = facts.name.clone();
        self.volumes.insert(name, facts.clone()).is_none_or(|before| before != facts)
    }

    /// Forgets a volume.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    /// Learns a storage class; true if something that counts changed.
    pub fn set_class(&mut self, facts: ClassFacts) -> bool {
        let name = facts.name.clone();
        self.classes.insert(name, facts.clone()).is_none_or(|before| before != facts)
    }

    /// Forgets a storage class.
    pub fn remove_class(&mut self, name: &str) {
        self.classes.remove(name);
    }

    /// Learns a budget.
    pub fn set_budget(&mut self, facts: BudgetFacts) {
        self.budgets.insert(facts.key.clone(), facts);
    }

    /// Forgets a budget.
    pub fn remove_budget(&mut self, key: &Key) {
        self.budgets.remove(key);
    }

    /// Learns the labels of a namespace, or with `None` that it is gone; true if that changed anything.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) -> bool {
        let before = self.namespaces.get(name);
        if before == labels.as_ref() {
            return false;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        self.tallies.forget_namespaces();
        true
    }

    /// The facts of a pod that counts somewhere.
    pub(crate) fn placed_pod(&self, uid: &Uid) -> Option<&Arc<PodFacts>> {
        self.nodes.get(self.placed.get(uid)?)?.pods.get(uid)
    }

    /// Begins to keep count of the pods that a pod asks for, so that placing it and those like it needs no count of all.
    pub fn prepare(&mut self, pod: &PodFacts) {
        for pods in pod.neighbours.iter().flat_map(|neighbours| neighbours.sets()) {
            self.tallies.count(pods, placed(&self.nodes), &self.namespaces);
        }
    }

    /// How many pods of a set stand on which node.
    pub(crate) fn counts(&self, pods: &PodSet) -> Cow<'_, Counts> {
        self.tallies.of(pods, placed(&self.nodes), &self.namespaces)
    }

    /// The nodes that exist, with what is on them.
    pub(crate) fn known_nodes(&self) -> impl Iterator<Item = (&NodeFacts, &NodeInfo)> {
        self.nodes.values().filter_map(|info| info.facts.as_ref().map(|facts| (facts, info)))
    }
}

fn placed(nodes: &BTreeMap<String, NodeInfo>) -> impl Iterator<Item = (&str, &PodFacts)> {
    nodes.iter().flat_map(|(node, info)| info.pods.values().map(move |pod| (node.as_str(), pod.as_ref())))
}
