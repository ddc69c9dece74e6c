//! What counts about each object, read once from its typed form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, PreferredSchedulingTerm, Taint,
    Toleration, TopologySelectorTerm,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use meta::{LabelSelector, Quantity, Timestamp, Uid};

use crate::pods::Neighbours;
use crate::resources::{PODS, Resources, of_pod};
use crate::snapshot::Key;
use crate::{SCHEDULER_NAME, SELECTED_NODE};

/// What counts about a pod.
#[derive(Clone, PartialEq, Debug)]
pub struct PodFacts {
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: Uid,
    /// The node it is bound to.
    pub node: Option<String>,
    /// It will never run again.
    pub is_terminal: bool,
    /// It waits for this scheduler: not bound, not being deleted, not held by a gate.
    pub is_ours_to_place: bool,
    /// What it asks of a node, itself as one pod included.
    pub requests: Resources,
    /// The message of its condition `PodScheduled=False`; empty without.
    pub unschedulable_message: String,
    /// Higher goes first.
    pub priority: i32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) required_nodes: Option<NodeSelector>,
    pub(crate) preferred_nodes: Vec<PreferredSchedulingTerm>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) claims: Vec<Key>,
    /// `preemptionPolicy: Never`.
    pub(crate) never_preempts: bool,
    /// The node that was promised to it (`status.nominatedNodeName`).
    pub(crate) nominated_node: Option<String>,
    pub(crate) is_deleting: bool,
    pub(crate) started_at: Option<Timestamp>,
    /// What it wants of its neighbours; `None` for the many that want nothing.
    pub(crate) neighbours: Option<Arc<Neighbours>>,
}

impl PodFacts {
    /// Reads a pod.
    pub fn of(pod: &Pod) -> Self {
        let key = key_of(&pod.metadata);
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let is_terminal = matches!(phase, "Succeeded" | "Failed");
        let node = spec.node_name.clone().filter(|name| !name.is_empty());
        let scheduler = spec.scheduler_name.as_deref().unwrap_or(SCHEDULER_NAME);
        let is_gated = spec.scheduling_gates.iter().flatten().next().is_some();
        let is_deleting = pod.metadata.deletion_timestamp.is_some();
        let mut requests = of_pod(spec);
        requests.set(PODS, Quantity::from_units(1));
        let affinity = spec.affinity.as_ref();
        let nodes = affinity.and_then(|a| a.node_affinity.as_ref());
        let status = pod.status.as_ref();
        let neighbours = Neighbours::of(spec, &key.namespace, pod.metadata.labels.as_ref().unwrap_or(&BTreeMap::new()));
        Self {
            uid: Uid(pod.metadata.uid.clone().unwrap_or_default()),
            is_ours_to_place: node.is_none()
                && !is_terminal
                && !is_deleting
                && !is_gated
                && scheduler == SCHEDULER_NAME,
            node,
            is_terminal,
            requests,
            unschedulable_message: unschedulable_message(pod),
            priority: spec.priority.unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required_nodes: nodes.and_then(|n| n.required_during_scheduling_ignored_during_execution.clone()),
            preferred_nodes: nodes
                .and_then(|n| n.preferred_during_scheduling_ignored_during_execution.clone())
                .unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            claims: claims_of(spec, &key),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            nominated_node: status.and_then(|status| status.nominated_node_name.clone()),
            is_deleting,
            started_at: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            neighbours,
            key,
        }
    }
}

fn unschedulable_message(pod: &Pod) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let scheduled = conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    scheduled.and_then(|condition| condition.message.clone()).unwrap_or_default()
}

/// Claims that the volumes name; an ephemeral volume's claim is called after pod and volume.
fn claims_of(spec: &PodSpec, pod: &Key) -> Vec<Key> {
    let named = |name: &str| Key::new(&pod.namespace, name);
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(named(&claim.claim_name)),
            (None, Some(_)) => Some(named(&format!("{}-{}", pod.name, volume.name))),
            (None, None) => None,
        })
        .collect()
}

fn key_of(metadata: &ObjectMeta) -> Key {
    Key::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What counts about a node.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeFacts {
    /// Name.
    pub name: String,
    /// What pods may use together.
    pub allocatable: Resources,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) is_unschedulable: bool,
}

impl NodeFacts {
    /// Reads a node.
    pub fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            allocatable: Resources::of(status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()))),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|s| s.taints.clone()).unwrap_or_default(),
            is_unschedulable: spec.and_then(|s| s.unschedulable).unwrap_or_default(),
        }
    }
}

/// What counts about a claim.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimFacts {
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: Uid,
    pub(crate) is_bound: bool,
    pub(crate) is_lost: bool,
    pub(crate) is_deleting: bool,
    pub(crate) volume: String,
    pub(crate) class: String,
    pub(crate) selected_node: String,
    pub(crate) access_modes: Vec<String>,
    pub(crate) request: Quantity,
}

impl ClaimFacts {
    /// Reads a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.as_ref();
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let annotations = claim.metadata.annotations.as_ref();
        let requests = spec.and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref());
        let volume = spec.and_then(|s| s.volume_name.clone()).unwrap_or_default();
        Self {
            key: key_of(&claim.metadata),
            uid: Uid(claim.metadata.uid.clone().unwrap_or_default()),
            is_bound: phase == "Bound" && !volume.is_empty(),
            is_lost: phase == "Lost",
            is_deleting: claim.metadata.deletion_timestamp.is_some(),
            volume,
            class: spec.and_then(|s| s.storage_class_name.clone()).unwrap_or_default(),
            selected_node: annotations.and_then(|a| a.get(SELECTED_NODE).cloned()).unwrap_or_default(),
            access_modes: spec.and_then(|s| s.access_modes.clone()).unwrap_or_default(),
            request: Resources::of(requests).get("storage"),
        }
    }

    /// True if only one pod may use it (N-8).
    pub(crate) fn is_for_one_pod(&self) -> bool {
        self.access_modes.iter().any(|mode| mode == "ReadWriteOncePod")
    }
}

/// What counts about a volume.
#[derive(Clone, PartialEq, Debug)]
pub struct VolumeFacts {
    /// Name.
    pub name: String,
    pub(crate) nodes: Option<NodeSelector>,
    pub(crate) is_available: bool,
    pub(crate) class: String,
    pub(crate) access_modes: Vec<String>,
    pub(crate) capacity: Quantity,
    /// The claim it is kept for.
    pub(crate) claim: Option<Key>,
}

impl VolumeFacts {
    /// Reads a volume.
    pub fn of(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let claim = spec.and_then(|s| s.claim_ref.as_ref()).map(|claim| {
            Key::new(claim.namespace.as_deref().unwrap_or_default(), claim.name.as_deref().unwrap_or_default())
        });
        Self {
            name: volume.metadata.name.clone().unwrap_or_default(),
            nodes: spec.and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.clone()),
            is_available: phase == "Available" && volume.metadata.deletion_timestamp.is_none(),
            class: spec.and_then(|s| s.storage_class_name.clone()).unwrap_or_default(),
            access_modes: spec.and_then(|s| s.access_modes.clone()).unwrap_or_default(),
            capacity: Resources::of(spec.and_then(|s| s.capacity.as_ref())).get("storage"),
            claim,
        }
    }
}

/// What counts about a storage class.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassFacts {
    /// Name.
    pub name: String,
    pub(crate) waits_for_consumer: bool,
    pub(crate) provisions: bool,
    pub(crate) topologies: Vec<TopologySelectorTerm>,
}

impl ClassFacts {
    /// Reads a storage class.
    pub fn of(class: &StorageClass) -> Self {
        Self {
            name: class.metadata.name.clone().unwrap_or_default(),
            waits_for_consumer: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            provisions: class.provisioner != "kubernetes.io/no-provisioner",
            topologies: class.allowed_topologies.clone().unwrap_or_default(),
        }
    }
}

/// What counts about a disruption budget.
#[derive(Clone, PartialEq, Debug)]
pub struct BudgetFacts {
    /// Namespace and name.
    pub key: Key,
    pub(crate) selector: LabelSelector,
    pub(crate) disruptions_allowed: i32,
    /// Names of pods that it was asked for and has allowed already.
    pub(crate) disrupted: BTreeSet<String>,
}

impl BudgetFacts {
    /// Reads a budget.
    pub fn of(budget: &PodDisruptionBudget) -> Self {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let tree = serde_json::to_value(selector).unwrap_or_default();
        let status = budget.status.as_ref();
        Self {
            key: key_of(&budget.metadata),
            selector: LabelSelector::from_object(&tree).unwrap_or_else(|_| LabelSelector::nothing()),
            disruptions_allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            disrupted: status
                .iter()
                .flat_map(|s| s.disrupted_pods.iter().flatten())
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}
