//! The status: ended pods on their way into the counters, conditions, and the finalizers that may go.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;
use serde_json::{Value, json};

use super::failures::{Verdict, is_failed};
use super::manage::{Step, replaced};
use super::view::{JobFacts, StatusFacts, Uncounted};
use super::{Counts, Ending, has_finalizer, index_of, without_finalizer};
use crate::conditions::{self, Condition};
use crate::pods::{self, count};
use crate::words::{Note, time};
use crate::writes::Write;

/// Condition: the Job will have failed when its pods are gone.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// Condition: the Job will be complete when its pods are gone.
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
/// Most UIDs that a status holds at once.
const UNCOUNTED_MAX: usize = 500;

/// What is written down.
#[derive(Default)]
pub(super) struct Tracked {
    /// The status, if it differs.
    pub(super) status: Option<Write>,
    /// Pods that are counted with this status, and lose their finalizer after it.
    pub(super) finalizers: Vec<Write>,
    /// Events.
    pub(super) notes: Vec<Note>,
}

/// The status after a step, and which pods are let go once it is written.
pub(super) fn track(counts: &Counts<'_>, step: &Step<'_>, ending: Option<&Ending>, now: Timestamp) -> Tracked {
    let job = counts.job;
    let mut status = job.status.clone();
    let mut tracked = Tracked::default();
    let deleted_ready = count(&step.deleted, |pod| pods::is_ready(pod));
    status.active = step.active_after(counts);
    status.ready = Some(count(&counts.active, |pod| pods::is_ready(pod)) - deleted_ready);
    status.terminating = Some(counts.terminating + count(&step.deleted, |_| true));
    let told = starts(job, &mut status, ending, now);
    let counted = count_ended(counts, step, ending, &mut status);
    tracked.finalizers = counted.iter().map(|pod| without_finalizer(pod)).collect();
    let is_counted = tracked.finalizers.is_empty()
        && status.uncounted_terminated_pods.as_ref().is_none_or(|uncounted| *uncounted == Uncounted::default());
    let is_empty = step.deleted.is_empty() && counts.terminating == 0 && counts.active.is_empty();
    let note = ending.map_or(told, |ending| {
        let finishes = is_counted && is_empty;
        end(job, &mut status, ending, finishes, now, &mut tracked.notes)
    });
    if status != job.status {
        let write = job.subject.write_status(wire(&status));
        tracked.status = Some(match note {
            Some(note) => write.announcing(note),
            None => write,
        });
    }
    tracked
}

/// Start time and the condition `Suspended`.
fn starts(job: &JobFacts, status: &mut StatusFacts, ending: Option<&Ending>, now: Timestamp) -> Option<Note> {
    if status.start_time.is_none() && !job.suspended {
        status.start_time = Some(time(now));
    }
    if ending.is_some() || job.subject.deleting {
        return None;
    }
    let was = conditions::find(&status.conditions, "Suspended").map(Condition::is_true);
    let (reason, text, event) = match (job.suspended, was) {
        (true, None | Some(false)) => ("JobSuspended", "Job suspended", "Suspended"),
        (false, Some(true)) => ("JobResumed", "Job resumed", "Resumed"),
        (true, Some(true)) | (false, None | Some(false)) => return None,
    };
    put(&mut status.conditions, condition("Suspended", job.suspended, reason, text, now));
    status.start_time = (!job.suspended).then(|| time(now));
    Some(Note::normal(event, text))
}

/// A condition of a Job, which has a time of its last probe too.
fn condition(kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition { last_probe_time: Some(time(now)), ..Condition::new(kind, is_true, reason, message, now) }
}

/// Puts a condition in the place of that of its type, or last.
fn put(conditions: &mut Vec<Condition>, new: Condition) {
    match conditions.iter_mut().find(|condition| condition.kind == new.kind) {
        Some(found) => *found = new,
        None => conditions.push(new),
    }
}

/// Moves what has lost its finalizer from the lists into the counters, and puts newly ended pods into the lists; the
/// pods that may lose their finalizer when this is written.
fn count_ended<'v>(
    counts: &Counts<'v>,
    step: &Step<'v>,
    ending: Option<&Ending>,
    status: &mut StatusFacts,
) -> Vec<&'v Pod> {
    let job = counts.job;
    let held: BTreeSet<&str> =
        counts.members.iter().filter(|pod| has_finalizer(pod)).map(|pod| pods::uid(pod)).collect();
    let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let settle = |list: &mut Vec<String>, counter: &mut i32| {
        let before = list.len();
        list.retain(|uid| held.contains(uid.as_str()));
        *counter = counter.saturating_add(i32::try_from(before - list.len()).unwrap_or(i32::MAX));
    };
    settle(&mut uncounted.succeeded, &mut status.succeeded);
    settle(&mut uncounted.failed, &mut status.failed);
    let mut completed = job.completed();
    let waits = replaced(counts);
    let is_delayed = |pod: &Pod| {
        index_of(job, pod).and_then(|index| waits.get(&index)).is_some_and(|found| pods::uid(found) == pods::uid(pod))
    };
    let mut let_go = Vec::new();
    for pod in counts.members.iter().copied().filter(|pod| has_finalizer(pod)) {
        let is_deleted = step.deleted.iter().any(|deleted| pods::uid(deleted) == pods::uid(pod));
        let (succeeded, failed) = (pods::phase(pod) == "Succeeded", is_failed(job, pod));
        let may_go = job.subject.deleting || ending.is_some() || succeeded || failed && !is_delayed(pod);
        if is_deleted || !may_go {
            continue;
        }
        let uid = pods::uid(pod).to_owned();
        // A pod that is stopped because the Job has what it needs has not failed.
        let fails = match ending {
            Some(ending) if ending.succeeds => pods::phase(pod) == "Failed",
            Some(_) => true,
            None => failed,
        };
        if succeeded && !uncounted.failed.contains(&uid) {
            match index_of(job, pod) {
                Some(index) if job.indexed => completed.add(index),
                None if job.indexed => {}
                Some(_) | None if uncounted.succeeded.contains(&uid) => {}
                Some(_) | None => uncounted.succeeded.push(uid),
            }
        } else if fails
            && !uncounted.failed.contains(&uid)
            && (!job.indexed || index_of(job, pod).is_some())
            && Verdict::of(job, pod).counts()
        {
            uncounted.failed.push(uid);
        }
        let_go.push(pod);
        if uncounted.succeeded.len() + uncounted.failed.len() >= UNCOUNTED_MAX {
            break;
        }
    }
    if job.indexed {
        status.succeeded = completed.total();
        status.completed_indexes = completed.to_string();
        status.failed_indexes = counts.failed_indexes.as_ref().map(ToString::to_string);
    }
    status.uncounted_terminated_pods = Some(uncounted);
    let_go
}

/// The conditions of an ending; the last one only when everything is counted and gone.
fn end(
    job: &JobFacts,
    status: &mut StatusFacts,
    ending: &Ending,
    finishes: bool,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Option<Note> {
    let Ending { succeeds, reason, message } = ending;
    let target = if *succeeds { SUCCESS_CRITERIA_MET } else { FAILURE_TARGET };
    if !conditions::is_true(&status.conditions, target) {
        put(&mut status.conditions, condition(target, true, reason, message, now));
    }
    if !finishes {
        return None;
    }
    let last = if *succeeds { "Complete" } else { "Failed" };
    put(&mut status.conditions, condition(last, true, reason, message, now));
    if !succeeds {
        return Some(Note { reason: intern(reason), ..Note::warning("", message.clone()) });
    }
    status.completion_time = Some(time(now));
    if job.completions.is_some_and(|wanted| status.succeeded > wanted) {
        let text = "Too many succeeded pods running after completion count reached";
        notes.push(Note::warning("TooManySucceededPods", text));
    }
    Some(Note::normal("Completed", "Job completed"))
}

/// The reason of a failed Job as an event's.
fn intern(reason: &str) -> &'static str {
    const REASONS: [&str; 5] =
        ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "MaxFailedIndexesExceeded", "FailedIndexes"];
    REASONS.into_iter().find(|known| *known == reason).unwrap_or("Failed")
}

fn wire(status: &StatusFacts) -> Value {
    let unless_zero = |count: i32| if count == 0 { Value::Null } else { json!(count) };
    let unless_empty = |uids: &[String]| if uids.is_empty() { Value::Null } else { json!(uids) };
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    json!({
        "active": unless_zero(status.active),
        "ready": status.ready,
        "terminating": status.terminating,
        "succeeded": unless_zero(status.succeeded),
        "failed": unless_zero(status.failed),
        "uncountedTerminatedPods": {
            "succeeded": unless_empty(&uncounted.succeeded),
            "failed": unless_empty(&uncounted.failed),
        },
        "completedIndexes": if status.completed_indexes.is_empty() { Value::Null } else { json!(status.completed_indexes) },
        "failedIndexes": status.failed_indexes,
        "startTime": status.start_time,
        "completionTime": status.completion_time,
        "conditions": if status.conditions.is_empty() { Value::Null } else { json!(status.conditions) },
    })
}
