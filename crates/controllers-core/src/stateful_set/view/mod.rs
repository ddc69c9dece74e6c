//! What the planner sees: facts about the set and everything near it, checked once where they enter.

mod belongings;
mod pod;
mod read;
mod set;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use belongings::{ClaimFacts, RevisionFacts};
pub use pod::{Phase, PodFacts, REPLACEMENT_AGE_SECS_MIN};
pub use read::ReadError;
pub use set::{
    ClaimTemplate, PodManagement, Retention, RetentionPolicy, RollingUpdate, SetFacts, StatusFacts, UpdateStrategy,
};

use super::wishes::HealRollout;
use crate::words::controller_of;

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
