//! Whose the claims are: the retention policy (section 2.9).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::plan::Action;
use super::view::{ClaimFacts, Ordinal, PodFacts, Retention, SetFacts};
use crate::words::Note;

/// What to do about a claim's owners.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Owners {
    /// Write these; `None` if they are right as they are, or to be left alone.
    pub(super) write: Option<Vec<OwnerReference>>,
    /// The policy cannot be followed: the claim has another controller (C-68).
    pub(super) note: Option<Note>,
}

/// The owners that the policy asks for on a claim of a slot, or of an ordinal outside the range.
pub(super) fn owners(set: &SetFacts, claim: &ClaimFacts<'_>, ordinal: Ordinal, pod: Option<&PodFacts<'_>>) -> Owners {
    if claim.owners.is_empty() && set.retention.is_retain() {
        return Owners::default();
    }
    let pod_name = set.pod_name(ordinal);
    let condemned = pod.filter(|_| !set.has_slot(ordinal));
    let is_set = |owner: &OwnerReference| owner.uid == set.uid.0;
    let is_pod = |owner: &OwnerReference| pod.is_some_and(|pod| owner.uid == pod.uid);
    let looks_ours = |owner: &OwnerReference| {
        (owner.kind == "StatefulSet" && owner.api_version == "apps/v1" && owner.name == set.name)
            || is_pod_named(owner, &pod_name)
    };
    // A reference to an earlier pod of the slot, though the policy is now to keep: taken off before the garbage
    // collector acts on it, so that the change of the policy wins (S5; upstream leaves it, C-69).
    let is_lapsed = |owner: &OwnerReference| {
        set.retention.when_scaled == Retention::Retain && is_pod_named(owner, &pod_name) && !is_pod(owner)
    };
    // A reference to an earlier set or pod of the same name: the garbage collector has it (C-69).
    if claim.owners.iter().any(|owner| looks_ours(owner) && !is_set(owner) && !is_pod(owner) && !is_lapsed(owner)) {
        return Owners::default();
    }
    let is_foreign = |owner: &&OwnerReference| !is_set(owner) && !is_pod(owner) && !is_lapsed(owner);
    let mut wanted: Vec<_> = claim.owners.iter().filter(is_foreign).cloned().collect();
    let has_conflict = wanted.iter().any(|owner| owner.controller == Some(true));
    // The claim of an ordinal that was scaled away and whose pod is gone gets no new owner.
    let may_get_one = set.has_slot(ordinal) || pod.is_some() || claim.owners.iter().any(is_set);
    let asked = match condemned {
        Some(pod)
            if set.retention.when_scaled == Retention::Delete || meta::mutants::is_on("scaled-claims-go-always") =>
        {
            Some(pod_reference(pod))
        }
        _ if set.retention.when_deleted == Retention::Delete
            || meta::mutants::is_on("deleted-sets-claims-go-always") =>
        {
            Some(set.owner_reference())
        }
        _ => None,
    };
    let asked = asked.filter(|_| may_get_one);
    let note = (asked.is_some() && has_conflict).then(|| conflicting(claim.name));
    wanted.extend(asked.filter(|_| !has_conflict));
    Owners { write: (!same(&wanted, claim.owners)).then_some(wanted), note }
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

/// Whether a write takes a reference off that must not be there a moment longer: the garbage collector would act on it.
/// References that only take the place of others wait for their turn (C-65).
pub(super) fn is_urgent(claim: &ClaimFacts<'_>, wanted: &[OwnerReference]) -> bool {
    let mut lost = claim.owners.iter().filter(|owner| wanted.iter().all(|kept| kept.uid != owner.uid)).peekable();
    let adds_nothing = wanted.iter().all(|owner| claim.owners.contains(owner));
    lost.peek().is_some() && (adds_nothing || lost.any(|owner| owner.kind == "Pod"))
}

fn is_pod_named(owner: &OwnerReference, name: &str) -> bool {
    owner.kind == "Pod" && owner.api_version == "v1" && owner.name == name
}

/// Whether a set's policy keeps a claim although an owner that the claim names, a pod of the set or the set itself, is
/// gone or going (S5).
///
/// The garbage collector asks this of the set as it is now, because the reference may have been written under an earlier
/// policy, and acted on before the controller has taken it off. Or the pod was another set's of this name, with other
/// claim templates: this set took it over, and did not ask for its bytes to go.
pub fn keeps_claim(set: &SetFacts, claim: &str, owner: &OwnerReference) -> bool {
    if owner.uid == set.uid.0 {
        return set.slot_of_claim(claim).is_some() && set.retention.when_deleted == Retention::Retain;
    }
    let is_of_slot = set.ordinal_of(&owner.name).is_some_and(|ordinal| is_pod_named(owner, &set.pod_name(ordinal)));
    let is_claim_of_pod = claim.strip_suffix(&owner.name).is_some_and(|template| template.ends_with('-'));
    set.retention.when_scaled == Retention::Retain && is_of_slot && is_claim_of_pod
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
    set.retention.when_scaled == Retention::Delete && claim.owners.iter().any(|owner| is_pod_named(owner, pod_name))
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
