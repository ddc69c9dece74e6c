//! The events that tell what became of an action (section 2.12).

use super::plan::{Action, Why};
use super::view::SetFacts;
use crate::words::Note;

/// How an action failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The API's text.
    pub message: String,
    /// An object of that name exists: no event (C-87).
    pub already_exists: bool,
    /// The state it was planned from is no longer there; the next plan sees the new one: no event.
    pub conflict: bool,
}

/// The events for an action's outcome. `skipped` are the actions of its chain that did not happen because of it.
pub fn report(set: &SetFacts, action: &Action, outcome: Result<(), &Failure>, skipped: &[Action]) -> Vec<Note> {
    match outcome {
        Ok(()) => success(set, action),
        Err(failure) if failure.already_exists || failure.conflict => Vec::new(),
        Err(failure) => failed(set, action, &failure.message, skipped),
    }
}

fn success(set: &SetFacts, action: &Action) -> Vec<Note> {
    let pod_done = |verb: &str, reason, pod: &str| {
        Note::normal(reason, format!("{verb} Pod {pod} in StatefulSet {} successful", set.name))
    };
    match action {
        Action::CreatePod { name, .. } => vec![pod_done("Create", "SuccessfulCreate", name)],
        Action::DeletePod { pod, why, .. } => {
            let mut notes = vec![pod_done("Delete", "SuccessfulDelete", &pod.name)];
            if *why == Why::NeverReady {
                let text = format!("Pod {} never became ready and its revision is no longer wanted", pod.name);
                notes.push(Note::normal("RolloutHealed", text));
            }
            notes
        }
        Action::RepairPod { pod, .. } => vec![pod_done("Update", "SuccessfulUpdate", &pod.name)],
        Action::CreateClaim { name, ordinal, .. } => vec![Note::normal(
            "SuccessfulCreate",
            format!("Create Claim {name} Pod {} in StatefulSet {} success", set.pod_name(*ordinal), set.name),
        )],
        Action::RollBack { why, .. } => vec![Note::warning("RolledBack", why.clone())],
        Action::ConfirmSet { .. }
        | Action::AdoptRevision { .. }
        | Action::AdoptPod { .. }
        | Action::ReleasePod { .. }
        | Action::CreateRevision { .. }
        | Action::RenumberRevision { .. }
        | Action::AnnotateRevision { .. }
        | Action::DeleteRevision { .. }
        | Action::SetClaimOwners { .. }
        | Action::ReleaseSet { .. }
        | Action::WriteStatus { .. } => Vec::new(),
    }
}

fn failed(set: &SetFacts, action: &Action, error: &str, skipped: &[Action]) -> Vec<Note> {
    match action {
        Action::CreatePod { name, .. } => vec![pod_failed("Create", "FailedCreate", name, set, error)],
        Action::DeletePod { pod, .. } => vec![pod_failed("Delete", "FailedDelete", &pod.name, set, error)],
        Action::RepairPod { pod, .. } => vec![pod_failed("Update", "FailedUpdate", &pod.name, set, error)],
        Action::CreateClaim { name, ordinal, .. } => {
            let pod = set.pod_name(*ordinal);
            let text = format!("Create Claim {name} for Pod {pod} in StatefulSet {} failed error: {error}", set.name);
            let mut notes = vec![Note::warning("FailedCreate", text)];
            if skipped.iter().any(|action| matches!(action, Action::CreatePod { .. })) {
                let error = format!("failed to create PVC {name}: {error}");
                notes.push(pod_failed("Create", "FailedCreate", &pod, set, &error));
            }
            notes
        }
        Action::RollBack { why, .. } => {
            vec![Note::warning("FailedRollback", format!("{why}, but that failed: {error}"))]
        }
        Action::ConfirmSet { .. }
        | Action::AdoptRevision { .. }
        | Action::AdoptPod { .. }
        | Action::ReleasePod { .. }
        | Action::CreateRevision { .. }
        | Action::RenumberRevision { .. }
        | Action::AnnotateRevision { .. }
        | Action::DeleteRevision { .. }
        | Action::SetClaimOwners { .. }
        | Action::ReleaseSet { .. }
        | Action::WriteStatus { .. } => Vec::new(),
    }
}

/// The event of a pod that could not be created, deleted or updated.
pub(super) fn pod_failed(verb: &str, reason: &'static str, pod: &str, set: &SetFacts, error: &str) -> Note {
    Note::warning(reason, format!("{verb} Pod {pod} in StatefulSet {} failed error: {error}", set.name))
}

/// The event of a set whose Service does not exist; the set works all the same (H-8).
pub(super) fn service_missing(set: &SetFacts) -> Note {
    let text = format!(
        "service \"{}\" of spec.serviceName does not exist: its pods have no DNS names until it is created",
        set.service_name
    );
    Note::warning("ServiceNotFound", text)
}
