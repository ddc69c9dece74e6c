//! The set itself: what it asks for, and the names that it gives.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meta::{LabelSelector, ResourceVersion, Uid};
use serde::Deserialize;
use serde_json::Value;

use super::super::revision::RevisionData;
use super::{ClaimSlot, Labels, Ordinal};
use crate::share::Share;
use crate::words::Target;

/// `spec.podManagementPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PodManagement {
    /// One after the other.
    OrderedReady,
    /// All at once.
    Parallel,
}

/// `spec.updateStrategy`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpdateStrategy {
    /// A pod moves to the update revision when somebody deletes it.
    OnDelete,
    /// From the highest ordinal down.
    RollingUpdate(Option<RollingUpdate>),
}

/// `spec.updateStrategy.rollingUpdate`; absent and present differ (A-12, C-44).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RollingUpdate {
    /// Slots below this index (counted from `ordinals.start`) stay on the current revision.
    pub partition: i32,
    /// How many pods may be unavailable; `None` is 1.
    pub max_unavailable: Option<Share>,
}

/// What becomes of claims (section 2.9 of the specification).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// They stay.
    Retain,
    /// They go.
    Delete,
}

/// `spec.persistentVolumeClaimRetentionPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionPolicy {
    /// When the set is deleted.
    pub when_deleted: Retention,
    /// When the ordinal is scaled away.
    pub when_scaled: Retention,
}

impl RetentionPolicy {
    /// Whether claims never have an owner.
    pub(in super::super) fn is_retain(self) -> bool {
        self.when_deleted == Retention::Retain && self.when_scaled == Retention::Retain
    }
}

/// One entry of `spec.volumeClaimTemplates`.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimTemplate {
    /// Its name, which is the volume's name in the pod.
    pub name: String,
    /// The whole template.
    pub body: Value,
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Generation that the status is about.
    pub observed_generation: i64,
    /// Pods that exist (C-77).
    pub replicas: i32,
    /// Pods that are running and ready (C-78).
    pub ready_replicas: i32,
    /// Pods of the current revision (C-79).
    pub current_replicas: i32,
    /// Pods of the update revision (C-79).
    pub updated_replicas: i32,
    /// Pods that have been ready for `minReadySeconds` (C-78).
    pub available_replicas: i32,
    /// Name of the current revision.
    pub current_revision: String,
    /// Name of the update revision.
    pub update_revision: String,
    /// How often a revision's name was taken by another one's data.
    pub collision_count: Option<i32>,
}

/// A StatefulSet.
#[derive(Clone, PartialEq, Debug)]
pub struct SetFacts {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: Uid,
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// `metadata.generation`.
    pub generation: i64,
    /// Deletion has begun (C-13).
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `metadata.annotations`, copied to new revisions.
    pub annotations: Labels,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.ordinals.start`.
    pub start: i32,
    /// `spec.podManagementPolicy`.
    pub pod_management: PodManagement,
    /// `spec.updateStrategy`.
    pub update_strategy: UpdateStrategy,
    /// `spec.minReadySeconds`.
    pub min_ready_secs: i32,
    /// `spec.revisionHistoryLimit`; negative is no limit.
    pub history_limit: i32,
    /// `spec.persistentVolumeClaimRetentionPolicy`.
    pub retention: RetentionPolicy,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// `spec.selector.matchLabels`, which claims get.
    pub match_labels: Labels,
    /// `spec.serviceName`.
    pub service_name: String,
    /// Labels of the template.
    pub template_labels: Labels,
    /// What a revision of the template holds.
    pub data: RevisionData,
    /// `spec.volumeClaimTemplates`.
    pub claim_templates: Vec<ClaimTemplate>,
    /// The stored status.
    pub status: StatusFacts,
}

impl SetFacts {
    /// Whether the selector matches an object's labels.
    pub(super) fn selects(&self, labels: Option<&Labels>) -> bool {
        labels.map_or_else(|| self.selector.matches(&Labels::new()), |labels| self.selector.matches(labels))
    }

    /// The name of a slot's pod.
    pub fn pod_name(&self, ordinal: Ordinal) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The name of a slot's claim.
    pub fn claim_name(&self, template: &ClaimTemplate, ordinal: Ordinal) -> String {
        format!("{}-{}-{ordinal}", template.name, self.name)
    }

    /// Whose claim a name is, if it is one that this set gives.
    pub fn slot_of_claim(&self, claim: &str) -> Option<ClaimSlot> {
        self.claim_templates.iter().enumerate().find_map(|(template, body)| {
            let pod = claim.strip_prefix(body.name.as_str())?.strip_prefix('-')?;
            Some(ClaimSlot { ordinal: self.ordinal_of(pod)?, template })
        })
    }

    /// Whether the set must not go before its claims are as its retention policy says (S5).
    pub fn is_held_for_claims(&self) -> bool {
        self.finalizers.iter().any(|held| held == meta::RETENTION_FINALIZER)
    }

    /// The lowest slot that a rolling update replaces: the partition counts from the first ordinal (C-75).
    pub fn lowest_to_update(&self) -> Ordinal {
        let partition = match &self.update_strategy {
            UpdateStrategy::RollingUpdate(Some(block)) => block.partition.min(self.replicas),
            UpdateStrategy::RollingUpdate(None) | UpdateStrategy::OnDelete => 0,
        };
        Ordinal(self.start.saturating_add(partition))
    }

    /// The first ordinal after the range.
    pub fn end(&self) -> i32 {
        self.start.saturating_add(self.replicas)
    }

    /// Whether an ordinal is a slot: inside the desired range (C-34).
    pub fn has_slot(&self, ordinal: Ordinal) -> bool {
        ordinal.0 >= self.start && ordinal.0 < self.end()
    }

    /// The ordinal in a pod's name, if the name is one that this set gives (C-16).
    ///
    /// Unlike upstream `web-01` is not a name of ordinal 1 (C-36): a pod of that name is nobody's slot.
    pub fn ordinal_of(&self, pod_name: &str) -> Option<Ordinal> {
        let digits = pod_name.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
        if canonical { digits.parse().ok().map(Ordinal) } else { None }
    }

    /// This set as an owner (A-58, C-64).
    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name: self.name.clone(),
            uid: self.uid.0.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// This state, as the precondition of a write.
    pub fn target(&self) -> Target {
        Target { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version }
    }
}
