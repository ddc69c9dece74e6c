//! Sizes of ReplicaSets: one at a time, or all in proportion when a rollout is under way.

use serde_json::json;

use super::sets::{DESIRED, MAX, NewSet, Sets};
use super::view::{DeploymentFacts, Strategy};
use crate::replicas::{KIND, SetFacts};
use crate::words::Note;
use crate::writes::Write;

/// Whether `spec.replicas` has changed since the active ReplicaSets were sized.
pub(super) fn is_asked_for(deployment: &DeploymentFacts, sets: &Sets<'_>) -> bool {
    let mut active = sets.all().filter(|set| set.replicas > 0);
    active.any(|set| annotation(set, DESIRED).is_some_and(|desired| desired != deployment.replicas))
}

/// The writes that bring the ReplicaSets to sizes that fit `spec.replicas`.
pub(super) fn scale(deployment: &DeploymentFacts, sets: &Sets<'_>) -> Vec<Write> {
    if let Some(only) = active_or_latest(sets) {
        return resize(deployment, only, deployment.replicas).into_iter().collect();
    }
    if is_saturated(deployment, sets) {
        let active = sets.old.iter().filter(|set| set.replicas > 0);
        return active.filter_map(|set| resize(deployment, set, 0)).collect();
    }
    match deployment.strategy {
        Strategy::RollingUpdate { .. } => in_proportion(deployment, sets),
        Strategy::Recreate => Vec::new(),
    }
}

/// The only active ReplicaSet, or, if none is active, the newest.
fn active_or_latest<'s>(sets: &Sets<'s>) -> Option<&'s SetFacts> {
    let active: Vec<_> = sets.all().filter(|set| set.replicas > 0).collect();
    match (active.as_slice(), &sets.new) {
        ([], NewSet::Found(new)) => Some(*new),
        ([], NewSet::Missing(_)) => sets.old.last().copied(),
        ([only], _) => Some(*only),
        (_, _) => None,
    }
}

/// The new ReplicaSet has all pods, and all of them are available.
fn is_saturated(deployment: &DeploymentFacts, sets: &Sets<'_>) -> bool {
    let NewSet::Found(new) = &sets.new else { return false };
    new.replicas == deployment.replicas
        && annotation(new, DESIRED) == Some(deployment.replicas)
        && new.status.available_replicas == deployment.replicas
}

/// Every active ReplicaSet gets its part of what is to be added or taken; the largest gets what rounding leaves.
fn in_proportion(deployment: &DeploymentFacts, sets: &Sets<'_>) -> Vec<Write> {
    let mut active: Vec<&SetFacts> = sets.all().filter(|set| set.replicas > 0).collect();
    let allowed = if deployment.replicas > 0 { deployment.replicas + deployment.max_surge() } else { 0 };
    let to_add = allowed - active.iter().map(|set| set.replicas).sum::<i32>();
    let age = |set: &SetFacts| (set.subject.created, set.subject.name.clone());
    // Larger ones first; among equals the newer one grows first, and the older one shrinks first.
    if to_add > 0 {
        active.sort_by(|a, b| b.replicas.cmp(&a.replicas).then_with(|| age(b).cmp(&age(a))));
    } else {
        active.sort_by(|a, b| b.replicas.cmp(&a.replicas).then_with(|| age(a).cmp(&age(b))));
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let part = part_of(deployment, set, to_add, added);
        sizes.push(set.replicas + part);
        added += part;
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    active.iter().zip(sizes).filter_map(|(set, size)| resize(deployment, set, size)).collect()
}

/// What one ReplicaSet gets of `to_add` when `added` is given away.
fn part_of(deployment: &DeploymentFacts, set: &SetFacts, to_add: i32, added: i32) -> i32 {
    let left = to_add - added;
    if to_add == 0 || left == 0 {
        return 0;
    }
    let fair = fair_share(deployment, set);
    if to_add > 0 { fair.min(left) } else { fair.max(left) }
}

/// The change that keeps the ReplicaSet's share of the whole.
fn fair_share(deployment: &DeploymentFacts, set: &SetFacts) -> i32 {
    if deployment.replicas == 0 {
        return -set.replicas;
    }
    let most = i64::from(deployment.replicas + deployment.max_surge());
    let most_before = annotation(set, MAX).filter(|most| *most != 0).unwrap_or(deployment.status.replicas);
    if most_before == 0 {
        return 0;
    }
    let (product, divisor) = (i64::from(set.replicas) * most, i64::from(most_before));
    // To the nearest, halves up; nothing here is negative.
    let size = (2 * product + divisor) / (2 * divisor);
    i32::try_from(size).unwrap_or(i32::MAX) - set.replicas
}

fn annotation(set: &SetFacts, key: &str) -> Option<i32> {
    set.subject.annotations.get(key)?.parse().ok()
}

/// Gives a ReplicaSet a size, and the annotations that say which size of the Deployment it was for; nothing if both are
/// right already.
pub(super) fn resize(deployment: &DeploymentFacts, set: &SetFacts, size: i32) -> Option<Write> {
    let (desired, most) = (deployment.replicas, deployment.replicas + deployment.max_surge());
    if set.replicas == size && annotation(set, DESIRED) == Some(desired) && annotation(set, MAX) == Some(most) {
        return None;
    }
    let fields = json!({
        "metadata": {"annotations": {DESIRED: desired.to_string(), MAX: most.to_string()}},
        "spec": {"replicas": size},
    });
    let write = Write::patch(KIND.resource.clone(), set.subject.target(), fields);
    if set.replicas == size {
        return Some(write);
    }
    Some(write.announcing(scaled(&set.subject.name, set.replicas, size)))
}

/// The event of a scaling.
pub(super) fn scaled(set: &str, from: i32, to: i32) -> Note {
    let way = if from < to { "up" } else { "down" };
    Note::normal("ScalingReplicaSet", format!("Scaled {way} replica set {set} from {from} to {to}"))
}
