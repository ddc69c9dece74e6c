//! Whose the claims are: the retention policy (section 2.9).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::plan::Action;
use super::view::{ClaimFacts, Ordinal, PodFacts, Retention, SetFacts};
use crate::words::Note;

/// What to do about a claim's owners.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Owners {
    /// Right as they are, or to be left alone.
    Keep,
    /// Write these; with a note if the policy cannot be followed.
    Write(Vec<OwnerReference>, Option<Note>),
}

/// The owners that the policy asks for on a claim of a slot (or, with `condemned`, of an ordinal outside the range).
pub(super) fn owners(set: &SetFacts, claim: &ClaimFacts<'_>, pod: Option<&PodFacts<'_>>, pod_name: &str) -> Owners {
    let condemned = pod.filter(|pod| pod.ordinal.is_some_and(|ordinal| !set.has_slot(ordinal)));
    let is_set = |owner: &OwnerReference| owner.uid == set.uid.0;
    let is_pod = |owner: &OwnerReference| pod.is_some_and(|pod| owner.uid == pod.uid);
    let looks_ours = |owner: &OwnerReference| {
        (owner.kind == "StatefulSet" && owner.api_version == "apps/v1" && owner.name == set.name)
            || (owner.kind == "Pod" && owner.api_version == "v1" && owner.name == pod_name)
    };
    // A reference to an earlier pod of the slot, though the policy is now to keep: taken off before the garbage
    // collector acts on it, so that the change of the policy wins (S5; upstream leaves it, C-69).
    let is_lapsed = |owner: &OwnerReference| {
        set.retention.when_scaled == Retention::Retain && owner.kind == "Pod" && looks_ours(owner) && !is_pod(owner)
    };
    // A reference to an earlier set or pod of the same name: the garbage collector has it (C-69).
    if claim.owners.iter().any(|owner| looks_ours(owner) && !is_set(owner) && !is_pod(owner) && !is_lapsed(owner)) {
        return Owners::Keep;
    }
    let is_foreign = |owner: &&OwnerReference| !is_set(owner) && !is_pod(owner) && !is_lapsed(owner);
    let foreign: Vec<_> = claim.owners.iter().filter(is_foreign).cloned().collect();
    let conflict = foreign.iter().any(|owner| owner.controller == Some(true));
    let mut wanted = foreign;
    let mut note = None;
    let asked = match condemned {
        Some(pod) if set.retention.when_scaled == Retention::Delete => Some(pod_reference(pod)),
        _ if set.retention.when_deleted == Retention::Delete => Some(set.owner_reference()),
        _ => None,
    };
    match asked {
        Some(_) if conflict => note = Some(conflicting(claim.name)),
        Some(reference) => wanted.push(reference),
        None => {}
    }
    if same(&wanted, claim.owners) { Owners::Keep } else { Owners::Write(wanted, note) }
}

/// The note that a claim has another controller (C-68).
pub(super) fn conflicting(claim: &str) -> Note {
    Note::warning(
        "ConflictingController",
        format!(
            "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a management controller, \
             the retention policy is ignored for this claim"
        ),
    )
}

/// Equal but for the order.
fn same(wanted: &[OwnerReference], found: &[OwnerReference]) -> bool {
    wanted.len() == found.len() && wanted.iter().all(|owner| found.contains(owner))
}

/// Owners of a claim that is made now: its slot is in range and its pod has no UID yet.
pub(super) fn owners_of_new(set: &SetFacts) -> Value {
    match set.retention.when_deleted {
        Retention::Delete => json!([set.owner_reference()]),
        Retention::Retain => json!([]),
    }
}

/// A claim that still belongs to an earlier pod of the slot, which is gone or going (C-62).
pub(super) fn is_stale(set: &SetFacts, claim: &ClaimFacts<'_>, pod_name: &str) -> bool {
    set.retention.when_scaled == Retention::Delete
        && claim.owners.iter().any(|owner| owner.kind == "Pod" && owner.api_version == "v1" && owner.name == pod_name)
}

/// The write that sets a claim's owners.
pub(super) fn set_owners(ordinal: Ordinal, claim: &ClaimFacts<'_>, owners: &[OwnerReference]) -> Action {
    let target = claim.target();
    let mut metadata = target.patch_metadata();
    metadata["ownerReferences"] = if owners.is_empty() { Value::Null } else { json!(owners) };
    Action::SetClaimOwners { ordinal, claim: target, patch: json!({"metadata": metadata}) }
}

fn pod_reference(pod: &PodFacts<'_>) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.name.to_owned(),
        uid: pod.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
