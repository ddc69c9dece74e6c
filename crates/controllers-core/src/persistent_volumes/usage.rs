//! Which pods use a claim (N-9).

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::garbage_collector::FOREGROUND;
use crate::words::is_terminating;

/// Whether a pod keeps a claim: it is scheduled and names it, however far gone it is (N-9).
///
/// Except a pod that is shut down and only waits for its dependents to go, of which the claim is one (C-68 with C-91):
/// each would wait for the other.
pub fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let is_scheduled =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    let is_named = claims_of(pod).any(|name| Some(name) == claim.metadata.name.as_deref());
    is_scheduled && is_named && !(is_shut_down(pod) && waits_for(pod, claim))
}

/// Names of the claims that a pod's volumes use.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// Its node has said that nothing of the pod is left, or somebody has deleted it by force: only finalizers keep it.
pub fn is_shut_down(pod: &Pod) -> bool {
    is_terminating(&pod.metadata) && pod.metadata.deletion_grace_period_seconds == Some(0)
}

fn waits_for(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    if meta::mutants::is_on("claim-waits-for-its-owner") {
        return false;
    }
    let finalizers = pod.metadata.finalizers.as_deref().unwrap_or_default();
    let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
    finalizers.iter().any(|finalizer| finalizer == FOREGROUND)
        && owners.iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}
