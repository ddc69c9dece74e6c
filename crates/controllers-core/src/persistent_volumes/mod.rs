//! Claims and volumes: binding, provisioning for the local class, phases, reclaim, protection (section 3.1).
//!
//! [`plan_claim`] looks after one claim, [`plan_volume`] after one volume; the two meet in the objects only. A volume
//! is bound to at most one claim and the other way round (S4): the volume's `claimRef` carries the claim's UID and is
//! written first, the claim's `volumeName` second; a crash between the two is mended from either side. Nothing here
//! deletes bytes: a volume with reclaim policy Delete is deleted as an object, after its claim is known to be gone by a
//! live read, and the node removes the folder ([`VOLUME_FINALIZER`]).

mod claim;
mod matching;
mod usage;
mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use crate::words::{Note, Target};

pub use claim::plan_claim;
pub use usage::{claims_of, is_shut_down, uses};
pub use volume::plan_volume;

/// The provisioner of the default class.
pub const PROVISIONER: &str = "roadstead.dev/local";
/// Finalizer of provisioned volumes; the node takes it off after it removed the folder.
pub const VOLUME_FINALIZER: &str = "roadstead.dev/local-volume";
/// Finalizer of claims (N-9).
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Finalizer of volumes (N-9).
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// Annotation of a claim: the node that its first consumer was given (N-2).
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Annotation of a claim: who provisions it (N-3).
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The older form of [`STORAGE_PROVISIONER`].
pub const STORAGE_PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// Annotation of a volume: who provisioned it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Annotation of a claim: binding was completed once.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Annotation of both: the binder, not a user, chose the other side.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Annotation of a class: claims without a class get this one (N-5).
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// What the planner of a claim looks at.
#[derive(Clone, Debug)]
pub struct ClaimView<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// All volumes.
    pub volumes: Vec<&'a PersistentVolume>,
    /// All classes.
    pub classes: Vec<&'a StorageClass>,
    /// Names of the nodes that are there, for classes that bind at once.
    pub nodes: BTreeSet<&'a str>,
    /// Names of those that are virtual: what is provisioned there is marked, so that it may go after its node.
    pub virtual_nodes: BTreeSet<&'a str>,
    /// The pods that are scheduled and use the claim ([`uses`]); looked at for a claim that has no volume yet, and for one
    /// that is being deleted.
    pub users: Vec<&'a Pod>,
    /// Absolute path of the folder below which local volumes live.
    pub volume_root: &'a str,
}

/// What the planner of a volume looks at.
#[derive(Clone, Debug)]
pub struct VolumeView<'a> {
    /// The volume.
    pub volume: &'a PersistentVolume,
    /// The claim that its `claimRef` names, if there is one of that name.
    pub claim: Option<&'a PersistentVolumeClaim>,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Create a volume.
    CreateVolume {
        /// Its name.
        name: String,
        /// The object.
        body: Value,
    },
    /// Change a volume.
    PatchVolume {
        /// The volume.
        volume: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Change a volume's status.
    PatchVolumeStatus {
        /// The volume; no resourceVersion is asked for, the phase follows from the spec.
        volume: Target,
        /// Merge patch for `/status`.
        patch: Value,
    },
    /// Change a claim.
    PatchClaim {
        /// The claim.
        claim: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Change a claim's status.
    PatchClaimStatus {
        /// The claim; no resourceVersion is asked for, the phase follows from the spec.
        claim: Target,
        /// Merge patch for `/status`.
        patch: Value,
    },
    /// Read live that no claim of this UID exists; go on only then (S5).
    ConfirmClaimGone {
        /// Namespace of the claim.
        namespace: String,
        /// Name of the claim.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Read live that no scheduled pod uses the claim; go on only then (N-9).
    ConfirmUnused {
        /// Namespace of the claim.
        namespace: String,
        /// Name of the claim.
        name: String,
    },
    /// Delete a volume; its finalizers hold it until the node has removed the bytes.
    DeleteVolume {
        /// The volume.
        volume: Target,
    },
}

/// What to do, one action after the other; a failure ends it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The writes.
    pub actions: Vec<Action>,
    /// Events about the claim or volume.
    pub notes: Vec<Note>,
}
