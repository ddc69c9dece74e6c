//! The status: counted anew from the pods, written if it differs (section 2.11).

use std::collections::BTreeSet;

use meta::Timestamp;
use serde_json::{Value, json};

use super::plan::Action;
use super::revision::Choice;
use super::view::{Ordinal, PodFacts, SetFacts, StatusFacts};

/// Counts the pods; those of the slots in `leaving` are about to be deleted.
pub(super) fn count(
    set: &SetFacts,
    choice: &Choice,
    members: &[&PodFacts<'_>],
    leaving: &BTreeSet<Ordinal>,
    now: Timestamp,
) -> StatusFacts {
    let number = |wanted: &dyn Fn(&PodFacts<'_>) -> bool| {
        i32::try_from(members.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    let stays = |pod: &PodFacts<'_>| !pod.terminating && !pod.ordinal.is_some_and(|ordinal| leaving.contains(&ordinal));
    let mut status = StatusFacts {
        observed_generation: set.generation,
        replicas: number(&|_| true),
        ready_replicas: number(&|pod| pod.is_ready()),
        available_replicas: number(&|pod| pod.is_ready() && pod.is_available(set.min_ready_secs, now)),
        current_replicas: number(&|pod| stays(pod) && pod.revision == choice.current),
        updated_replicas: number(&|pod| stays(pod) && pod.revision == choice.update),
        current_revision: choice.current.clone(),
        update_revision: choice.update.clone(),
        collision_count: choice.collision_count,
    };
    let counts = [status.updated_replicas, status.ready_replicas, status.replicas];
    let is_early = status.updated_replicas > 0 && meta::mutants::is_on("current-revision-moves-early");
    if is_early || counts.iter().all(|count| *count == set.replicas) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    debug_assert!(status.ready_replicas <= status.replicas && status.available_replicas <= status.ready_replicas);
    status
}

/// The write, if anything but the collision count differs (C-76). Conditions are left as they are.
pub(super) fn write(set: &SetFacts, after: &StatusFacts) -> Option<Action> {
    let mut same = after.clone();
    same.collision_count = set.status.collision_count;
    if !meta::mutants::is_on("status-is-always-written")
        && same == set.status
        && after.observed_generation <= set.status.observed_generation
    {
        return None;
    }
    let unless_zero = |count: i32| if count == 0 { Value::Null } else { json!(count) };
    let target = set.target();
    let patch = json!({
        "metadata": target.patch_metadata(),
        "status": {
            "observedGeneration": after.observed_generation,
            "replicas": after.replicas,
            "readyReplicas": unless_zero(after.ready_replicas),
            "currentReplicas": unless_zero(after.current_replicas),
            "updatedReplicas": unless_zero(after.updated_replicas),
            "availableReplicas": after.available_replicas,
            "currentRevision": after.current_revision,
            "updateRevision": after.update_revision,
            "collisionCount": after.collision_count.map_or(Value::Null, |count| json!(count)),
        },
    });
    Some(Action::WriteStatus { set: target, patch })
}
