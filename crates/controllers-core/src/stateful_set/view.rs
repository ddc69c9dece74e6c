//! What the planner sees: facts about the set and everything near it, checked once where they enter.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::{LabelSelector, ResourceVersion, SelectorError, Timestamp, Uid};
use serde::Deserialize;
use serde_json::Value;

use super::revision::RevisionData;
use super::wishes::HealRollout;
use crate::words::{Target, controller_of, is_terminating, version_of};

/// Label that names a pod's ControllerRevision.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Label that repeats the pod's name.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Label that holds the pod's ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Labels or annotations of an object.
pub type Labels = BTreeMap<String, String>;

/// The number in a pod's name; the identity that outlives the pod.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ordinal(pub i32);

impl std::fmt::Display for Ordinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of a set's claims one is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClaimSlot {
    /// Ordinal of the pod that it is for.
    pub ordinal: Ordinal,
    /// Index of its template in `spec.volumeClaimTemplates`.
    pub template: usize,
}

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

/// A count, or percents of the replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// A count.
    Count(i32),
    /// Percents.
    Percent(i32),
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
    pub(super) fn is_retain(self) -> bool {
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

/// A stored StatefulSet that cannot be planned for.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not the shape of a StatefulSet.
    #[error("read a StatefulSet")]
    Shape(#[from] serde_json::Error),
    /// The selector is not understood (C-12: logged, not retried).
    #[error("read spec.selector")]
    Selector(#[from] SelectorError),
}

#[derive(Deserialize)]
struct RawSet {
    metadata: ObjectMeta,
    spec: RawSpec,
    #[serde(default)]
    status: StatusFacts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    replicas: Option<i32>,
    selector: Value,
    template: Value,
    #[serde(default)]
    volume_claim_templates: Option<Vec<Value>>,
    service_name: Option<String>,
    pod_management_policy: Option<String>,
    update_strategy: Option<RawStrategy>,
    revision_history_limit: Option<i32>,
    min_ready_seconds: Option<i32>,
    persistent_volume_claim_retention_policy: Option<RawRetention>,
    ordinals: Option<RawOrdinals>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawStrategy {
    r#type: Option<String>,
    rolling_update: Option<RawRolling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRolling {
    partition: Option<i32>,
    max_unavailable: Option<IntOrString>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawRetention {
    when_deleted: Option<String>,
    when_scaled: Option<String>,
}

#[derive(Deserialize)]
struct RawOrdinals {
    start: Option<i32>,
}

impl SetFacts {
    /// Reads a StatefulSet from its stored JSON.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(json: &[u8]) -> Result<Self, ReadError> {
        let RawSet { metadata, spec, status } = serde_json::from_slice(json)?;
        let retention = spec.persistent_volume_claim_retention_policy.unwrap_or_default();
        let template_labels = labels_at(&spec.template, "/metadata/labels")?;
        Ok(Self {
            deleting: is_terminating(&metadata),
            resource_version: version_of(&metadata),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: Uid(metadata.uid.unwrap_or_default()),
            generation: metadata.generation.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1).max(0),
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0).max(0),
            pod_management: match spec.pod_management_policy.as_deref() {
                Some("Parallel") => PodManagement::Parallel,
                _ => PodManagement::OrderedReady,
            },
            update_strategy: strategy(spec.update_strategy.unwrap_or_default()),
            min_ready_secs: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            retention: RetentionPolicy {
                when_deleted: retention_of(retention.when_deleted.as_deref()),
                when_scaled: retention_of(retention.when_scaled.as_deref()),
            },
            selector: LabelSelector::from_object(&spec.selector)?,
            match_labels: labels_at(&spec.selector, "/matchLabels")?,
            service_name: spec.service_name.unwrap_or_default(),
            template_labels,
            data: RevisionData::of_template(spec.template),
            claim_templates: spec.volume_claim_templates.into_iter().flatten().map(claim_template).collect(),
            status,
        })
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

fn labels_at(tree: &Value, path: &str) -> Result<Labels, serde_json::Error> {
    tree.pointer(path).filter(|labels| !labels.is_null()).map_or_else(|| Ok(Labels::new()), Labels::deserialize)
}

fn strategy(raw: RawStrategy) -> UpdateStrategy {
    if raw.r#type.as_deref() == Some("OnDelete") {
        return UpdateStrategy::OnDelete;
    }
    UpdateStrategy::RollingUpdate(raw.rolling_update.map(|block| RollingUpdate {
        partition: block.partition.unwrap_or(0).max(0),
        max_unavailable: block.max_unavailable.and_then(|share| match share {
            IntOrString::Int(count) => Some(Share::Count(count)),
            IntOrString::String(text) => text.strip_suffix('%')?.parse().ok().map(Share::Percent),
        }),
    }))
}

fn retention_of(word: Option<&str>) -> Retention {
    if word == Some("Delete") { Retention::Delete } else { Retention::Retain }
}

fn claim_template(body: Value) -> ClaimTemplate {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    ClaimTemplate { name, body }
}

/// Whose an object is, seen from one set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Its controller is this very set (UID).
    ThisSet,
    /// It has no controller.
    Nobody,
    /// Its controller is something else; hands off (C-19).
    Other,
}

impl Owner {
    /// Whose the object with `meta` is.
    pub fn of(meta: &ObjectMeta, set: &SetFacts) -> Self {
        match controller_of(meta) {
            None => Self::Nobody,
            Some(owner) if owner.uid == set.uid.0 => Self::ThisSet,
            Some(_) => Self::Other,
        }
    }
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not all containers have started.
    Pending,
    /// Bound and started.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly, or the pod was evicted or rejected.
    Failed,
    /// The node is not heard.
    Unknown,
}

impl Phase {
    fn of(word: &str) -> Self {
        match word {
            "" | "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

/// Youngest age, in seconds, at which a pod that has ended is replaced. A pod that a node refuses at once would else be
/// made anew hundreds of times a second (L2, H-11). Creation times have whole seconds.
pub const REPLACEMENT_AGE_SECS_MIN: i64 = 2;

/// A pod near the set: owned by it, or an orphan that it would adopt.
#[derive(Clone, PartialEq, Debug)]
pub struct PodFacts<'a> {
    /// Name.
    pub name: &'a str,
    /// UID.
    pub uid: &'a str,
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// The ordinal in its name; `None` if the set gives no such name.
    pub ordinal: Option<Ordinal>,
    /// Whose it is.
    pub owner: Owner,
    /// Its labels match the selector.
    pub selected: bool,
    /// Phase.
    pub phase: Phase,
    /// Since when its Ready condition is True; `None` if it is not.
    pub ready_since: Option<Timestamp>,
    /// When it was made, in whole seconds.
    pub created: Option<Timestamp>,
    /// Deletion has begun.
    pub terminating: bool,
    /// Revision label; empty if missing (C-23).
    pub revision: &'a str,
    /// Its pod-name label is its name (C-50).
    pub identity_matches: bool,
    /// It was certainly never ready: no node has it, or its node says so ([`meta::EVER_READY_CONDITION`]).
    pub never_ready: bool,
    /// Volume name and claim name of its claim volumes.
    pub claim_volumes: Vec<(&'a str, &'a str)>,
    /// Its owner references, for a release.
    pub owners: &'a [OwnerReference],
}

impl<'a> PodFacts<'a> {
    /// The facts of a pod.
    pub fn of(pod: &'a Pod, set: &SetFacts) -> Self {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).map_or("", String::as_str);
        let status = pod.status.as_ref();
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        Self {
            name,
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            resource_version: version_of(&pod.metadata),
            ordinal: set.ordinal_of(name),
            owner: Owner::of(&pod.metadata, set),
            selected: selects(set, labels),
            phase: Phase::of(status.and_then(|status| status.phase.as_deref()).unwrap_or_default()),
            ready_since: ready_since(pod),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            terminating: is_terminating(&pod.metadata),
            revision: label(REVISION_LABEL),
            identity_matches: label(POD_NAME_LABEL) == name,
            never_ready: is_never_ready(pod),
            claim_volumes: volumes
                .filter_map(|volume| {
                    Some((volume.name.as_str(), volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
                })
                .collect(),
            owners: pod.metadata.owner_references.as_deref().unwrap_or_default(),
        }
    }

    /// This state, as the precondition of a write.
    pub fn target(&self) -> Target {
        Target { name: self.name.to_owned(), uid: Uid(self.uid.to_owned()), resource_version: self.resource_version }
    }

    /// The set's own, or an orphan that the set would adopt (C-18).
    pub fn is_near(&self) -> bool {
        match self.owner {
            Owner::ThisSet => true,
            Owner::Nobody => self.selected && self.ordinal.is_some() && !self.terminating,
            Owner::Other => meta::mutants::is_on("pods-of-others-are-members"),
        }
    }

    /// Running, and its Ready condition is True (C-39).
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready_since.is_some()
    }

    /// From when on the pod counts as available (C-39); `None` if it is not ready.
    pub fn available_from(&self, min_ready_secs: i32) -> Option<Timestamp> {
        let since = self.ready_since?;
        if min_ready_secs <= 0 {
            return Some(Timestamp::MIN);
        }
        since.checked_add(jiff::SignedDuration::from_secs(i64::from(min_ready_secs))).ok()
    }

    /// Ready for `min_ready_secs` (C-39).
    pub fn is_available(&self, min_ready_secs: i32, now: Timestamp) -> bool {
        self.available_from(min_ready_secs).is_some_and(|from| from <= now)
    }

    /// When a pod that has ended may be replaced: at the earliest [`REPLACEMENT_AGE_SECS_MIN`] after it was made.
    pub fn replaceable_from(&self) -> Timestamp {
        let age = jiff::SignedDuration::from_secs(REPLACEMENT_AGE_SECS_MIN);
        self.created.and_then(|created| created.checked_add(age).ok()).unwrap_or(Timestamp::MIN)
    }

    /// Failed or Succeeded: it will never run again.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Succeeded)
    }
}

fn selects(set: &SetFacts, labels: Option<&Labels>) -> bool {
    labels.map_or_else(|| set.selector.matches(&Labels::new()), |labels| set.selector.matches(labels))
}

fn is_never_ready(pod: &Pod) -> bool {
    if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty) {
        return true;
    }
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == meta::EVER_READY_CONDITION && condition.status == "False")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// A claim with a name that the set would give.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimFacts<'a> {
    /// Name.
    pub name: &'a str,
    /// UID.
    pub uid: &'a str,
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// Deletion has begun.
    pub terminating: bool,
    /// Owner references.
    pub owners: &'a [OwnerReference],
}

impl<'a> ClaimFacts<'a> {
    /// The facts of a claim.
    pub fn of(claim: &'a PersistentVolumeClaim) -> Self {
        Self {
            name: claim.metadata.name.as_deref().unwrap_or_default(),
            uid: claim.metadata.uid.as_deref().unwrap_or_default(),
            resource_version: version_of(&claim.metadata),
            terminating: is_terminating(&claim.metadata),
            owners: claim.metadata.owner_references.as_deref().unwrap_or_default(),
        }
    }

    /// This state, as the precondition of a write.
    pub fn target(&self) -> Target {
        Target { name: self.name.to_owned(), uid: Uid(self.uid.to_owned()), resource_version: self.resource_version }
    }
}

/// A ControllerRevision of the set's namespace.
#[derive(Clone, PartialEq, Debug)]
pub struct RevisionFacts<'a> {
    /// Name.
    pub name: &'a str,
    /// UID.
    pub uid: &'a str,
    /// Revision of this state (of the store, not of the template).
    pub resource_version: ResourceVersion,
    /// Whose it is.
    pub owner: Owner,
    /// Its labels match the set's selector.
    pub selected: bool,
    /// Deletion has begun.
    pub terminating: bool,
    /// Its number: the highest is the latest.
    pub number: i64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its data.
    pub data: &'a Value,
    /// Its annotations.
    pub annotations: Option<&'a Labels>,
    /// Owner references.
    pub owners: &'a [OwnerReference],
}

impl<'a> RevisionFacts<'a> {
    /// The facts of a revision.
    pub fn of(revision: &'a ControllerRevision, set: &SetFacts) -> Self {
        Self {
            name: revision.metadata.name.as_deref().unwrap_or_default(),
            uid: revision.metadata.uid.as_deref().unwrap_or_default(),
            resource_version: version_of(&revision.metadata),
            owner: Owner::of(&revision.metadata, set),
            selected: selects(set, revision.metadata.labels.as_ref()),
            terminating: is_terminating(&revision.metadata),
            number: revision.revision.unwrap_or_default(),
            created: revision.metadata.creation_timestamp.as_ref().map(|time| time.0),
            data: &revision.data.0,
            annotations: revision.metadata.annotations.as_ref(),
            owners: revision.metadata.owner_references.as_deref().unwrap_or_default(),
        }
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations?.get(key).map(String::as_str)
    }

    /// This state, as the precondition of a write.
    pub fn target(&self) -> Target {
        Target { name: self.name.to_owned(), uid: Uid(self.uid.to_owned()), resource_version: self.resource_version }
    }
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a SetFacts,
    /// Pods that the set owns, and orphans that it would adopt.
    pub pods: Vec<PodFacts<'a>>,
    /// Existing claims with a name that the set gives, of scaled-away ordinals too.
    pub claims: BTreeMap<ClaimSlot, ClaimFacts<'a>>,
    /// ControllerRevisions of the namespace: the set's, its orphans, and those with a name that it might give.
    pub revisions: Vec<RevisionFacts<'a>>,
    /// Names of existing pods that are not in `pods` though the set would use the name (C-20).
    pub taken: BTreeSet<&'a str>,
    /// Whether the Service that `spec.serviceName` names exists; `true` also if it names none.
    pub service_exists: bool,
    /// Whether rollouts of sets that say nothing about it are healed.
    pub heal_rollout: HealRollout,
}

impl<'a> View<'a> {
    /// A view from objects of the set's namespace; objects that have nothing to do with the set may be among them.
    pub fn of(
        set: &'a SetFacts,
        pods: impl IntoIterator<Item = &'a Pod>,
        claims: impl IntoIterator<Item = &'a PersistentVolumeClaim>,
        revisions: impl IntoIterator<Item = &'a ControllerRevision>,
        service_exists: bool,
    ) -> Self {
        let all = pods.into_iter();
        let (mut pods, mut taken) = (Vec::with_capacity(all.size_hint().0), BTreeSet::new());
        for pod in all {
            let facts = PodFacts::of(pod, set);
            if facts.is_near() {
                pods.push(facts);
            } else if facts.ordinal.is_some() {
                taken.insert(facts.name);
            }
        }
        let claims = claims.into_iter().map(ClaimFacts::of);
        let claims = claims.filter_map(|claim| Some((set.slot_of_claim(claim.name)?, claim))).collect();
        let is_near = |revision: &RevisionFacts<'_>| match revision.owner {
            Owner::ThisSet => true,
            Owner::Nobody | Owner::Other => revision.selected || revision.name.starts_with(&set.name),
        };
        let revisions =
            revisions.into_iter().map(|revision| RevisionFacts::of(revision, set)).filter(is_near).collect();
        Self { set, pods, claims, revisions, taken, service_exists, heal_rollout: HealRollout::Off }
    }

    /// The view with another default for sets that say nothing about healing.
    #[must_use]
    pub fn with_heal_rollout(self, heal_rollout: HealRollout) -> Self {
        Self { heal_rollout, ..self }
    }
}

/// Most slots that one plan fills; the rest follow in the next (bounds a plan for absurd `replicas`).
pub const CREATIONS_MAX: usize = 500;
