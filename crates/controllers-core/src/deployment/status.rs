//! The status: counted from the ReplicaSets' statuses, with the conditions of a rollout.

use meta::Timestamp;
use serde_json::{Value, json};

use super::sets::{NewSet, Sets};
use super::view::{DeploymentFacts, StatusFacts, View};
use crate::conditions::{self, Condition};
use crate::pods::after;
use crate::replicas::{SetFacts, StatusFacts as SetStatus};
use crate::words::time;
use crate::writes::Write;

/// Conditions of a Deployment.
pub(super) type Conditions = Vec<Condition>;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The rollout is complete.
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
/// The new ReplicaSet could not be made.
pub(super) const CREATE_ERROR: &str = "ReplicaSetCreateError";

/// What a failed creation of a ReplicaSet says.
pub(super) fn create_error_text(name: &str, error: &str) -> String {
    format!("Failed to create new replica set \"{name}\": {error}")
}

/// A condition of a Deployment, which has a time of its last update too.
fn condition(kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition { last_update_time: Some(time(now)), ..Condition::new(kind, is_true, reason, message, now) }
}

/// The stored conditions, with what is known before anything is counted: paused or resumed, the new ReplicaSet found,
/// or its creation failed.
pub(super) fn base_conditions(view: &View<'_>, sets: &Sets<'_>, now: Timestamp) -> Conditions {
    let deployment = view.deployment;
    let stored = deployment.status.conditions.clone();
    if deployment.progress_deadline_secs.is_none() {
        return stored;
    }
    let unknown = |reason: &str, message: &str| Condition {
        status: "Unknown".to_owned(),
        ..condition(PROGRESSING, false, reason, message, now)
    };
    let progress = conditions::find(&stored, PROGRESSING);
    let is_because = |reason| progress.is_some_and(|condition| condition.is_because(reason));
    let mut base = stored.clone();
    if !is_because(TIMED_OUT) {
        match (deployment.paused, is_because(PAUSED)) {
            (true, false) => base = conditions::with(&base, unknown(PAUSED, "Deployment is paused")),
            (false, true) => base = conditions::with(&base, unknown("DeploymentResumed", "Deployment is resumed")),
            (true, true) | (false, false) => {}
        }
    }
    match (&sets.new, view.failure) {
        (NewSet::Found(new), _) if conditions::find(&base, PROGRESSING).is_none() => {
            let text = format!("Found new replica set \"{}\"", new.subject.name);
            conditions::with(&base, condition(PROGRESSING, true, "FoundNewReplicaSet", &text, now))
        }
        (NewSet::Missing(missing), Some(failure)) => {
            let text = create_error_text(&missing.name, &failure.message);
            conditions::with(&base, condition(PROGRESSING, false, CREATE_ERROR, &text, now))
        }
        (NewSet::Found(_) | NewSet::Missing(_), _) => base,
    }
}

fn sum<'s>(sets: impl Iterator<Item = &'s SetFacts>, number: fn(&SetStatus) -> i32) -> i32 {
    sets.map(|set| number(&set.status)).sum()
}

fn count(view: &View<'_>, sets: &Sets<'_>, base: &Conditions, now: Timestamp) -> StatusFacts {
    let deployment = view.deployment;
    let available = sum(sets.all(), |status| status.available_replicas);
    let wanted: i32 = sets.all().map(|set| set.replicas).sum();
    let updated = match &sets.new {
        NewSet::Found(new) => new.status.replicas,
        NewSet::Missing(_) => 0,
    };
    let minimum = deployment.replicas - deployment.max_unavailable();
    let availability = if available >= minimum {
        condition(AVAILABLE, true, "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    } else {
        let text = "Deployment does not have minimum availability.";
        condition(AVAILABLE, false, "MinimumReplicasUnavailable", text, now)
    };
    StatusFacts {
        observed_generation: deployment.subject.generation,
        replicas: sum(sets.all(), |status| status.replicas),
        updated_replicas: updated,
        ready_replicas: sum(sets.all(), |status| status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (wanted - available).max(0),
        terminating_replicas: sets
            .all()
            .filter(|set| has_reported(set))
            .map(|set| set.status.terminating_replicas)
            .sum(),
        collision_count: deployment.status.collision_count,
        conditions: conditions::with(base, availability),
    }
}

/// A ReplicaSet that its controller has never looked at has nothing terminating, and does not hide the others'.
fn has_reported(set: &SetFacts) -> bool {
    set.status.observed_generation > 0 || set.status.terminating_replicas.is_some()
}

/// The write, if the status differs from the stored one.
fn write(deployment: &DeploymentFacts, after: &StatusFacts) -> Option<Write> {
    if *after == deployment.status {
        return None;
    }
    let unless_zero = |count: i32| if count == 0 { Value::Null } else { json!(count) };
    Some(deployment.subject.write_status(json!({
        "observedGeneration": after.observed_generation,
        "replicas": unless_zero(after.replicas),
        "updatedReplicas": unless_zero(after.updated_replicas),
        "readyReplicas": unless_zero(after.ready_replicas),
        "availableReplicas": unless_zero(after.available_replicas),
        "unavailableReplicas": unless_zero(after.unavailable_replicas),
        "terminatingReplicas": after.terminating_replicas,
        "collisionCount": after.collision_count,
        "conditions": after.conditions,
    })))
}

/// The status outside of a rollout.
pub(super) fn plain(view: &View<'_>, sets: &Sets<'_>, base: &Conditions, now: Timestamp) -> Option<Write> {
    write(view.deployment, &count(view, sets, base, now))
}

/// The status after the new ReplicaSet was made.
pub(super) fn created(
    view: &View<'_>,
    sets: &Sets<'_>,
    base: &Conditions,
    name: &str,
    now: Timestamp,
) -> Option<Write> {
    let mut status = count(view, sets, base, now);
    if view.deployment.progress_deadline_secs.is_some() {
        let text = format!("Created new replica set \"{name}\"");
        let created = condition(PROGRESSING, true, "NewReplicaSetCreated", &text, now);
        status.conditions = conditions::with(&status.conditions, created);
    }
    write(view.deployment, &status)
}

/// Everything updated and available, and nothing old left.
pub(super) fn is_complete(deployment: &DeploymentFacts, status: &StatusFacts) -> bool {
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|n| *n == deployment.replicas)
        && status.observed_generation >= deployment.subject.generation
}

/// More updated, fewer old, more ready or more available pods than before.
fn has_progressed(before: &StatusFacts, after: &StatusFacts) -> bool {
    after.updated_replicas > before.updated_replicas
        || after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
}

/// The status during a rollout, and when its deadline passes.
pub(super) fn rollout(
    view: &View<'_>,
    sets: &Sets<'_>,
    base: &Conditions,
    now: Timestamp,
) -> (Option<Write>, Option<Timestamp>) {
    let deployment = view.deployment;
    let mut status = count(view, sets, base, now);
    let mut deadline = None;
    if let Some(seconds) = deployment.progress_deadline_secs {
        let current = conditions::find(base, PROGRESSING);
        let was_complete = current.is_some_and(|condition| condition.is_because(COMPLETE));
        if !(was_complete && status.replicas == status.updated_replicas) {
            status.conditions = progress(view, sets, &status, current, now);
        }
        deadline = deadline_of(&status.conditions, seconds).filter(|_| !is_complete(deployment, &status));
    } else {
        status.conditions = conditions::without(&status.conditions, PROGRESSING);
    }
    status.conditions = match failure_of(sets) {
        Some(failure) => conditions::with(&status.conditions, failure),
        None => conditions::without(&status.conditions, REPLICA_FAILURE),
    };
    (write(deployment, &status), deadline.filter(|deadline| *deadline > now))
}

/// When a rollout that makes no progress has failed.
fn deadline_of(found: &[Condition], seconds: i32) -> Option<Timestamp> {
    let progress = conditions::find(found, PROGRESSING)?;
    if progress.is_because(COMPLETE) || progress.is_because(TIMED_OUT) {
        return None;
    }
    after(progress.last_update_time.as_ref()?.0, i64::from(seconds))
}

fn progress(
    view: &View<'_>,
    sets: &Sets<'_>,
    status: &StatusFacts,
    current: Option<&Condition>,
    now: Timestamp,
) -> Conditions {
    let deployment = view.deployment;
    let what = match &sets.new {
        NewSet::Found(new) => format!("ReplicaSet \"{}\"", new.subject.name),
        NewSet::Missing(_) => format!("Deployment \"{}\"", deployment.subject.name),
    };
    if is_complete(deployment, status) {
        let text = format!("{what} has successfully progressed.");
        return conditions::with(&status.conditions, condition(PROGRESSING, true, COMPLETE, &text, now));
    }
    if has_progressed(&deployment.status, status) {
        let text = format!("{what} is progressing.");
        let mut new = condition(PROGRESSING, true, "ReplicaSetUpdated", &text, now);
        if let Some(current) = current.filter(|current| current.is_true()) {
            new.last_transition_time.clone_from(&current.last_transition_time);
        }
        // Even one of the same reason is replaced: its time of update says when there was progress last.
        return conditions::with(&conditions::without(&status.conditions, PROGRESSING), new);
    }
    let seconds = deployment.progress_deadline_secs.unwrap_or(i32::MAX);
    if deadline_of(&status.conditions, seconds).is_some_and(|deadline| deadline <= now) {
        let text = format!("{what} has timed out progressing.");
        return conditions::with(&status.conditions, condition(PROGRESSING, false, TIMED_OUT, &text, now));
    }
    status.conditions.clone()
}

/// The failure of a ReplicaSet, the new one's before all others.
fn failure_of(sets: &Sets<'_>) -> Option<Condition> {
    let new = match &sets.new {
        NewSet::Found(new) => Some(*new),
        NewSet::Missing(_) => None,
    };
    let of = |set: &SetFacts| conditions::find(&set.status.conditions, REPLICA_FAILURE).cloned();
    let found = new.and_then(of).or_else(|| sets.old.iter().find_map(|set| of(set)))?;
    Some(Condition { last_update_time: found.last_transition_time.clone(), ..found })
}
