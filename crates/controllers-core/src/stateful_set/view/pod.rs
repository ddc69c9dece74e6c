//! A pod near the set.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meta::{ResourceVersion, Timestamp, Uid};

use super::{Ordinal, Owner, POD_NAME_LABEL, REVISION_LABEL, SetFacts};
use crate::pods;
use crate::words::{Target, is_terminating, version_of};

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
            "Pending" => Self::Pending,
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
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        Self {
            name,
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            resource_version: version_of(&pod.metadata),
            ordinal: set.ordinal_of(name),
            owner: Owner::of(&pod.metadata, set),
            selected: set.selects(labels),
            phase: Phase::of(pods::phase(pod)),
            ready_since: pods::ready_since(pod),
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
        pods::available_after(self.ready_since?, min_ready_secs)
    }

    /// Ready for `min_ready_secs` (C-39).
    pub fn is_available(&self, min_ready_secs: i32, now: Timestamp) -> bool {
        self.available_from(min_ready_secs).is_some_and(|from| from <= now)
    }

    /// When a pod that has ended may be replaced: at the earliest [`REPLACEMENT_AGE_SECS_MIN`] after it was made.
    pub fn replaceable_from(&self) -> Timestamp {
        self.created.and_then(|created| pods::after(created, REPLACEMENT_AGE_SECS_MIN)).unwrap_or(Timestamp::MIN)
    }

    /// Failed or Succeeded: it will never run again.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Succeeded)
    }
}

fn is_never_ready(pod: &Pod) -> bool {
    let ever_ready = pods::condition(pod, meta::EVER_READY_CONDITION);
    pods::node(pod).is_empty() || ever_ready.is_some_and(|condition| condition.status == "False")
}
