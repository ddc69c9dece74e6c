//! What belongs to the set beside its pods: claims and revisions.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meta::{ResourceVersion, Timestamp, Uid};
use serde_json::Value;

use super::{Labels, Owner, SetFacts};
use crate::words::{Target, is_terminating, version_of};

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
            selected: set.selects(revision.metadata.labels.as_ref()),
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
