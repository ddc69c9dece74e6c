//! The rolling update: up within the surge, down within what may be unavailable.

use super::scale::resize;
use super::sets::Sets;
use super::view::{DeploymentFacts, Strategy};
use crate::replicas::SetFacts;
use crate::writes::Write;

/// The size that the new ReplicaSet may have now.
pub(super) fn new_size(deployment: &DeploymentFacts, all_replicas: i32, new_replicas: i32) -> i32 {
    let Strategy::RollingUpdate { max_surge, .. } = deployment.strategy else { return deployment.replicas };
    let room = deployment.replicas.saturating_add(max_surge.rounded_up(deployment.replicas)) - all_replicas;
    if room <= 0 { new_replicas } else { new_replicas + room.min(deployment.replicas - new_replicas) }
}

/// Brings the new ReplicaSet nearer to `spec.replicas`.
pub(super) fn grow(deployment: &DeploymentFacts, sets: &Sets<'_>, new: &SetFacts) -> Option<Write> {
    if new.replicas == deployment.replicas {
        return None;
    }
    if new.replicas > deployment.replicas {
        return resize(deployment, new, deployment.replicas);
    }
    let size = new_size(deployment, sets.old_replicas() + new.replicas, new.replicas);
    if size == new.replicas { None } else { resize(deployment, new, size) }
}

/// Takes pods off the old ReplicaSets: those that are not available first, then as many as the new one has made
/// dispensable.
pub(super) fn shrink(deployment: &DeploymentFacts, sets: &Sets<'_>, new: &SetFacts) -> Vec<Write> {
    let minimum = deployment.replicas - deployment.max_unavailable();
    let new_unavailable = new.replicas - available(new);
    let most = sets.old_replicas() + new.replicas - minimum - new_unavailable;
    if sets.old_replicas() == 0 || most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|set| set.replicas).collect();
    let mut left = most;
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).min(left).max(0);
        *size -= broken;
        left -= broken;
    }
    let still: i32 = sets.old.iter().zip(&sizes).map(|(set, size)| available(set).min(*size)).sum();
    let mut spare = (still + available(new) - minimum).max(0);
    for size in &mut sizes {
        let taken = spare.min(*size);
        *size -= taken;
        spare -= taken;
    }
    sets.old.iter().zip(sizes).filter_map(|(set, size)| resize(deployment, set, size)).collect()
}

/// Available pods that the ReplicaSet is not about to delete.
fn available(set: &SetFacts) -> i32 {
    set.status.available_replicas.min(set.replicas)
}
