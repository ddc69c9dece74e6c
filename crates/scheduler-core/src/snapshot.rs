//! The cluster as the scheduler sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use meta::Uid;

use crate::facts::{ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
use crate::resources::Resources;

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
    /// The few of them that have anti-affinity terms.
    keeping_away: BTreeSet<Uid>,
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
        let info = self.nodes.entry(node.to_owned()).or_default();
        info.used.add(&pod.requests);
        self.placed.insert(pod.uid.clone(), node.to_owned());
        if !pod.apart.is_empty() {
            self.keeping_away.insert(pod.uid.clone());
        }
        info.pods.insert(pod.uid.clone(), pod);
    }

    /// No longer counts a pod; true if it counted.
    pub fn take_pod(&mut self, uid: &Uid) -> bool {
        let Some(node) = self.placed.remove(uid) else { return false };
        self.keeping_away.remove(uid);
        let Some(info) = self.nodes.get_mut(&node) else { return false };
        if let Some(pod) = info.pods.remove(uid) {
            info.used.subtract(&pod.requests);
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

    /// The pods with anti-affinity terms, and where they are.
    pub(crate) fn pods_that_keep_others_away(&self) -> impl Iterator<Item = (&NodeFacts, &PodFacts)> {
        self.keeping_away.iter().filter_map(|uid| {
            let info = self.nodes.get(self.placed.get(uid)?)?;
            Some((info.facts.as_ref()?, info.pods.get(uid)?.as_ref()))
        })
    }

    /// The nodes that exist, with what is on them.
    pub(crate) fn known_nodes(&self) -> impl Iterator<Item = (&NodeFacts, &NodeInfo)> {
        self.nodes.values().filter_map(|info| info.facts.as_ref().map(|facts| (facts, info)))
    }
}
