//! The plan: what to do, what to write down, what each step that is not taken waits for.

use std::fmt;

use meta::Timestamp;
use serde_json::Value;

use super::view::{Ordinal, SetFacts, StatusFacts};
use crate::words::{Note, Target};

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Read the set live and go on only if it is the same one and not being deleted (C-18, S8).
    ConfirmSet {
        /// The set.
        set: Target,
    },
    /// Become the controller of an orphaned revision (C-21).
    AdoptRevision {
        /// The revision.
        revision: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Become the controller of an orphaned pod (C-18).
    AdoptPod {
        /// The pod.
        pod: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Let a pod go whose labels or name no longer match (C-17).
    ReleasePod {
        /// The pod.
        pod: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Write the template down (C-30).
    CreateRevision {
        /// Its name.
        name: String,
        /// The object.
        body: Value,
    },
    /// Make an older revision the latest (C-28).
    RenumberRevision {
        /// The revision.
        revision: Target,
        /// Its new number.
        number: i64,
        /// Merge patch.
        patch: Value,
    },
    /// Remember something about an update in its revision's annotations.
    AnnotateRevision {
        /// The revision.
        revision: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Forget a revision that nothing uses (C-32).
    DeleteRevision {
        /// The revision.
        revision: Target,
    },
    /// Create a slot's claim (C-60).
    CreateClaim {
        /// The slot.
        ordinal: Ordinal,
        /// Its name.
        name: String,
        /// The object.
        body: Value,
    },
    /// Set a claim's owners as the retention policy asks (section 2.9).
    SetClaimOwners {
        /// The slot.
        ordinal: Ordinal,
        /// The claim.
        claim: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Create a slot's pod (C-43).
    CreatePod {
        /// The slot.
        ordinal: Ordinal,
        /// Its name.
        name: String,
        /// Name of its revision.
        revision: String,
        /// The object.
        body: Value,
    },
    /// Put a pod's identity labels right (C-50).
    RepairPod {
        /// The slot.
        ordinal: Ordinal,
        /// The pod.
        pod: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Delete a pod, with its own grace.
    DeletePod {
        /// Its ordinal.
        ordinal: Ordinal,
        /// The pod.
        pod: Target,
        /// Why.
        why: Why,
    },
    /// Return the template to an earlier revision, because the update makes no progress.
    RollBack {
        /// The set.
        set: Target,
        /// Name of the revision to return to.
        revision: String,
        /// Strategic merge patch, with `$patch: replace` on the template.
        patch: Value,
        /// What happened, as a sentence.
        why: String,
    },
    /// Take the finalizer off the set that holds it until its claims are as its retention policy says (S5).
    ReleaseSet {
        /// The set.
        set: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Write the status.
    WriteStatus {
        /// The set.
        set: Target,
        /// Merge patch for `/status`.
        patch: Value,
    },
}

/// Why a pod is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It failed or ended, and is made anew (C-42).
    Ended,
    /// Its ordinal is outside the range (C-54).
    ScaledDown,
    /// Its revision is not the wanted one (C-75).
    Outdated,
    /// It never became ready, on a revision that is no longer wanted (H-16).
    NeverReady,
}

/// A step that is not taken now, and the one fact that it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What is not done yet.
    pub step: Step,
    /// What it waits for.
    pub on: Fact,
}

/// A step of the set's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Create this slot's pod.
    Create(Ordinal),
    /// Replace this slot's pod, which has ended.
    Replace(Ordinal),
    /// Delete this pod because of a scale-down.
    ScaleDown(Ordinal),
    /// Replace this slot's pod by one of the update revision.
    Update(Ordinal),
    /// Everything about this slot's pod is done except its becoming ready.
    Settle(Ordinal),
    /// Everything.
    All,
}

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// This pod is not running and ready.
    NotReady(Ordinal),
    /// This pod is ready, but not for `minReadySeconds` yet.
    NotAvailable(Ordinal, Timestamp),
    /// This pod is going away.
    Terminating(Ordinal),
    /// This pod has ended so soon after it was made that it is replaced only at this time.
    EndedEarly(Ordinal, Timestamp),
    /// This slot has no pod yet.
    Missing(Ordinal),
    /// As many pods are unavailable as may be.
    BudgetSpent {
        /// Unavailable slots.
        unavailable: i32,
        /// How many may be.
        allowed: i32,
    },
    /// The update strategy is OnDelete: somebody has to delete the pod.
    OnDelete(Ordinal),
    /// The partition holds the slot back.
    Partition(Ordinal),
    /// This claim is being deleted.
    ClaimTerminating(String),
    /// This claim still belongs to an earlier pod of the slot (C-62).
    ClaimStale(String),
    /// A pod that is not the set's has the slot's name (C-20).
    NameTaken(String),
    /// The pod's volumes are not the set's claims, and a pod's volumes cannot be changed (C-51).
    StorageMismatch(Ordinal),
    /// Pods or revisions are being taken over or let go first.
    Adoption,
    /// The template is being returned to an earlier revision.
    RollingBack,
    /// The set is being deleted.
    SetDeleted,
}

/// What to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// First, one after the other; a failure ends everything but the status.
    pub prepare: Vec<Action>,
    /// Then batch by batch; within a batch all chains at once, within a chain one action after the other. A failure ends
    /// its chain, and the batches after its own.
    pub batches: Vec<Vec<Vec<Action>>>,
    /// The status, whatever became of the rest (C-14); it does not wait for the batches.
    pub status: Option<Action>,
    /// Last, also after failures (C-15).
    pub tidy: Vec<Action>,
    /// Steps not taken, each with the fact that it waits for.
    pub waits: Vec<Wait>,
    /// Events about the plan itself.
    pub notes: Vec<Note>,
    /// When to look again though nothing happened: the earliest moment at which time alone changes something.
    pub look_again: Option<Timestamp>,
    /// Something is wrong that no event of ours announces the end of: look again with back-off.
    pub retry: bool,
    /// The status after the plan.
    pub status_after: StatusFacts,
}

impl Plan {
    /// All actions, in the order in which they may start.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.prepare.iter().chain(self.batches.iter().flatten().flatten()).chain(&self.status).chain(&self.tidy)
    }

    /// Whether there is nothing to do.
    pub fn is_settled(&self) -> bool {
        self.actions().next().is_none()
    }
}

impl Fact {
    /// The fact as a short sentence with whole names: `redis-0 is not ready`.
    pub fn describe(&self, set: &SetFacts) -> String {
        let pod = |ordinal: &Ordinal| set.pod_name(*ordinal);
        match self {
            Self::NotReady(ordinal) => format!("{} is not ready", pod(ordinal)),
            Self::NotAvailable(ordinal, until) => format!("{} is not available before {until}", pod(ordinal)),
            Self::Terminating(ordinal) => format!("{} is stopping", pod(ordinal)),
            Self::EndedEarly(ordinal, until) => format!("{} ended at once and is replaced at {until}", pod(ordinal)),
            Self::Missing(ordinal) => format!("{} does not exist yet", pod(ordinal)),
            Self::OnDelete(ordinal) => format!("{} is updated when somebody deletes it", pod(ordinal)),
            Self::Partition(ordinal) => format!("{} is held back by the partition", pod(ordinal)),
            Self::StorageMismatch(ordinal) => format!("{} has other volumes than the set's claims", pod(ordinal)),
            Self::ClaimTerminating(claim) => format!("claim {claim} is being deleted"),
            Self::BudgetSpent { .. }
            | Self::ClaimStale(_)
            | Self::NameTaken(_)
            | Self::Adoption
            | Self::RollingBack
            | Self::SetDeleted => self.to_string(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(ordinal) => write!(f, "create {ordinal}"),
            Self::Replace(ordinal) => write!(f, "replace {ordinal}"),
            Self::ScaleDown(ordinal) => write!(f, "scale down {ordinal}"),
            Self::Update(ordinal) => write!(f, "update {ordinal}"),
            Self::Settle(ordinal) => write!(f, "settle {ordinal}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(ordinal) => write!(f, "{ordinal} is not ready"),
            Self::NotAvailable(ordinal, until) => write!(f, "{ordinal} is not available before {until}"),
            Self::Terminating(ordinal) => write!(f, "{ordinal} is terminating"),
            Self::EndedEarly(ordinal, until) => write!(f, "{ordinal} ended at once and is replaced at {until}"),
            Self::Missing(ordinal) => write!(f, "{ordinal} does not exist"),
            Self::BudgetSpent { unavailable, allowed } => write!(f, "{unavailable} of {allowed} are unavailable"),
            Self::OnDelete(ordinal) => write!(f, "{ordinal} has to be deleted by somebody"),
            Self::Partition(ordinal) => write!(f, "{ordinal} is below the partition"),
            Self::ClaimTerminating(claim) => write!(f, "claim {claim} is terminating"),
            Self::ClaimStale(claim) => write!(f, "claim {claim} belongs to an earlier pod"),
            Self::NameTaken(pod) => write!(f, "pod {pod} is not the set's"),
            Self::StorageMismatch(ordinal) => write!(f, "{ordinal} has other volumes"),
            Self::Adoption => f.write_str("pods or revisions are taken over or let go"),
            Self::RollingBack => f.write_str("the template is returned to an earlier revision"),
            Self::SetDeleted => f.write_str("the set is being deleted"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfirmSet { .. } => f.write_str("confirm set"),
            Self::AdoptRevision { revision, .. } => write!(f, "adopt revision {}", revision.name),
            Self::AdoptPod { pod, .. } => write!(f, "adopt {}", pod.name),
            Self::ReleasePod { pod, .. } => write!(f, "release {}", pod.name),
            Self::CreateRevision { name, .. } => write!(f, "create revision {name}"),
            Self::RenumberRevision { revision, number, .. } => {
                write!(f, "renumber revision {} to {number}", revision.name)
            }
            Self::AnnotateRevision { revision, patch } => {
                write!(f, "annotate revision {}: {}", revision.name, patch["metadata"]["annotations"])
            }
            Self::RollBack { revision, .. } => write!(f, "roll back to {revision}"),
            Self::ReleaseSet { .. } => f.write_str("release set"),
            Self::DeleteRevision { revision } => write!(f, "delete revision {}", revision.name),
            Self::CreateClaim { name, .. } => write!(f, "create claim {name}"),
            Self::SetClaimOwners { claim, .. } => write!(f, "set owners of claim {}", claim.name),
            Self::CreatePod { ordinal, revision, .. } => write!(f, "create {ordinal} @{revision}"),
            Self::RepairPod { ordinal, .. } => write!(f, "repair {ordinal}"),
            Self::DeletePod { ordinal, why, .. } => write!(f, "delete {ordinal} ({why:?})"),
            Self::WriteStatus { .. } => f.write_str("write status"),
        }
    }
}
