//! The object that a plan is for, and whose the objects near it are.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use meta::{LabelSelector, ResourceId, ResourceVersion, SelectorError, Timestamp, Uid};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::words::{Target, controller_of, is_terminating, version_of};
use crate::writes::Write;

/// Labels or annotations of an object.
pub type Labels = BTreeMap<String, String>;

/// What an object of a kind calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kind {
    /// `apps/v1`.
    pub api_version: &'static str,
    /// `ReplicaSet`.
    pub kind: &'static str,
    /// The resource it is served under.
    pub resource: ResourceId,
}

/// A stored object that cannot be planned for.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It does not have the shape of its kind.
    #[error("read the object")]
    Shape(#[from] serde_json::Error),
    /// The selector is not understood.
    #[error("read spec.selector")]
    Selector(#[from] SelectorError),
}

/// The parts of a stored object.
#[derive(Deserialize, Debug)]
pub struct Stored<S, T> {
    /// `metadata`.
    pub metadata: ObjectMeta,
    /// `spec`.
    pub spec: S,
    /// `status`.
    #[serde(default)]
    pub status: T,
}

/// What a controller knows of an object that it plans for.
pub trait Facts: Sized + Send + Sync + 'static {
    /// The kind of such objects.
    fn kind() -> &'static Kind;

    /// Reads an object from its stored JSON.
    ///
    /// # Errors
    /// [`ReadError`].
    fn read(json: &[u8]) -> Result<Self, ReadError>;

    /// Its metadata.
    fn subject(&self) -> &Subject;

    /// The labels that make a pod (or another object) one of its own.
    fn selector(&self) -> &LabelSelector;

    /// Whether it selects an object with these labels.
    fn selects(&self, labels: Option<&Labels>) -> bool {
        labels.map_or_else(|| self.selector().matches(&Labels::new()), |found| self.selector().matches(found))
    }
}

/// The metadata of the object that a plan is for.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    /// Its kind.
    pub kind: &'static Kind,
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
    /// Deletion has begun.
    pub deleting: bool,
    /// When it was made, in whole seconds.
    pub created: Timestamp,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Owner references.
    pub owners: Vec<OwnerReference>,
}

impl Subject {
    /// The subject that `meta` describes.
    pub fn of(kind: &'static Kind, meta: ObjectMeta) -> Self {
        Self {
            kind,
            deleting: is_terminating(&meta),
            resource_version: version_of(&meta),
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            uid: Uid(meta.uid.unwrap_or_default()),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.map_or(Timestamp::MIN, |time| time.0),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default(),
        }
    }

    /// This state, as the precondition of a write.
    pub fn target(&self) -> Target {
        Target { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version }
    }

    /// The owner reference with `controller: true`.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// This object as the controller of another.
    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.kind.api_version.to_owned(),
            kind: self.kind.kind.to_owned(),
            name: self.name.clone(),
            uid: self.uid.0.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Whether this very object (UID) controls the one with `meta`.
    pub fn controls(&self, meta: &ObjectMeta) -> bool {
        controller_of(meta).is_some_and(|owner| owner.uid == self.uid.0)
    }

    /// This object, as something that another one may own.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            uid: &self.uid.0,
            resource_version: self.resource_version,
            labels: Some(&self.labels),
            owners: &self.owners,
            terminating: self.deleting,
        }
    }

    /// Writes the status of this object.
    pub fn write_status(&self, status: Value) -> Write {
        Write::status(self.kind.resource.clone(), self.target(), status)
    }
}

/// Whose an object is, seen from one owner that selects by labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The owner controls it and selects it.
    Ours,
    /// Nobody controls it and the owner selects it: to be taken over.
    Adopt,
    /// The owner controls it and does not select it any more: to be let go.
    Release,
    /// None of the owner's business.
    Foreign,
}

/// What is looked at to tell whose an object is.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'o> {
    name: &'o str,
    uid: &'o str,
    resource_version: ResourceVersion,
    labels: Option<&'o Labels>,
    owners: &'o [OwnerReference],
    terminating: bool,
}

impl<'o> Candidate<'o> {
    /// The object with `meta`.
    pub fn of(meta: &'o ObjectMeta) -> Self {
        Self {
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
            resource_version: version_of(meta),
            labels: meta.labels.as_ref(),
            owners: meta.owner_references.as_deref().unwrap_or_default(),
            terminating: is_terminating(meta),
        }
    }

    fn target(&self) -> Target {
        Target { name: self.name.to_owned(), uid: Uid(self.uid.to_owned()), resource_version: self.resource_version }
    }
}

/// Whose an object is.
pub fn claim(owner: &Subject, selector: &LabelSelector, object: Candidate<'_>) -> Claim {
    let selected = object.labels.map_or_else(|| selector.matches(&Labels::new()), |found| selector.matches(found));
    match object.owners.iter().find(|found| found.controller == Some(true)) {
        Some(found) if found.uid != owner.uid.0 => Claim::Foreign,
        Some(_) if selected => Claim::Ours,
        Some(_) if owner.deleting => Claim::Foreign,
        Some(_) => Claim::Release,
        None if selected && !owner.deleting && !object.terminating => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// The writes that take over and let go, confirming first that the owner still is; empty if all is settled.
///
/// Everything else waits for the next plan, because each of these writes changes what it would be planned from.
pub fn take_over<'o>(
    owner: &Subject,
    selector: &LabelSelector,
    resource: &ResourceId,
    objects: impl IntoIterator<Item = Candidate<'o>>,
) -> Vec<Vec<Write>> {
    let mut adopts = false;
    let mut writes = Vec::new();
    for object in objects {
        let owners = object.owners.iter();
        let owners = match claim(owner, selector, object) {
            Claim::Adopt => {
                adopts = true;
                json!(owners.cloned().chain([owner.owner_reference()]).collect::<Vec<_>>())
            }
            Claim::Release => {
                let rest: Vec<_> = owners.filter(|found| found.uid != owner.uid.0).collect();
                if rest.is_empty() { Value::Null } else { json!(rest) }
            }
            Claim::Ours | Claim::Foreign => continue,
        };
        let fields = json!({"metadata": {"ownerReferences": owners}});
        writes.push(Write::patch(resource.clone(), object.target(), fields));
    }
    if writes.is_empty() {
        return Vec::new();
    }
    let confirm = adopts.then(|| vec![Write::confirm(owner.kind.resource.clone(), owner.target())]);
    confirm.into_iter().chain([writes]).collect()
}
