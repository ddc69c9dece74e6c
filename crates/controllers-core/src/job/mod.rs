//! The Job planner: pods until enough of them have succeeded, each counted exactly once.
//!
//! [`plan`] looks at a [`View`] and returns a plan. Every pod of a Job carries a finalizer. What becomes of an ended pod
//! is written in three steps, so that nothing is counted twice or never: its UID goes into the status
//! (`uncountedTerminatedPods`), then its finalizer goes, then the UID becomes a number. It follows upstream's controller
//! where clients can see it. Deliberately different: the pause after failures is told from the pods that are there and
//! not from a memory of the controller's, so that it survives a restart. Start with [`plan`].

mod failures;
mod indexes;
mod manage;
mod track;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;
use serde_json::{Value, json};

pub use view::{JobFacts, KIND, StatusFacts, Uncounted, View};

use crate::conditions::{self, Condition};
use crate::pods::{self, after, count};
use crate::subject::{Candidate, Claim, claim, take_over};
use crate::words::is_terminating;
use crate::writes::{Plan, Write};
use failures::{Verdict, is_failed, restarts};
use indexes::Indexes;

/// Finalizer of a Job's pods: they stay until they are counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label: which index a pod works on.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Pods are being taken over, let go, or given the finalizer first.
    Adoption,
    /// The Job has finished.
    Finished,
    /// `spec.suspend`.
    Suspended,
    /// Another controller looks after it.
    ManagedElsewhere,
    /// It is being deleted.
    Deleted,
    /// Pods failed; the next one is made at this time.
    Backoff(Timestamp),
    /// Pods are at work.
    Running(i32),
    /// Pods are going away.
    Terminating(i32),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adoption => f.write_str("pods are taken over or let go"),
            Self::Finished => f.write_str("the job has finished"),
            Self::Suspended => f.write_str("the job is suspended"),
            Self::ManagedElsewhere => f.write_str("another controller looks after the job"),
            Self::Deleted => f.write_str("the job is being deleted"),
            Self::Backoff(at) => write!(f, "pods failed; the next try is at {at}"),
            Self::Running(count) => write!(f, "{count} pods are at work"),
            Self::Terminating(count) => write!(f, "{count} pods are going away"),
        }
    }
}

/// How a Job ends.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ending {
    succeeds: bool,
    reason: String,
    message: String,
}

impl Ending {
    fn failure(reason: &str, message: &str) -> Self {
        Self { succeeds: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    fn success(reason: &str, message: &str) -> Self {
        Self { succeeds: true, reason: reason.to_owned(), message: message.to_owned() }
    }
}

/// What is counted before anything is decided.
struct Counts<'v> {
    job: &'v JobFacts,
    members: Vec<&'v Pod>,
    active: Vec<&'v Pod>,
    terminating: i32,
    succeeded: i32,
    failed: i32,
    succeeded_indexes: Indexes,
    failed_indexes: Option<Indexes>,
}

/// Decides the next steps for the Job in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let job = view.job;
    if let Some(end) = job.finished() {
        return after_the_end(view, end, now);
    }
    if job.managed_elsewhere {
        return Plan { waits: vec![Wait::ManagedElsewhere], ..Plan::default() };
    }
    if let Some(plan) = prepare(view) {
        return plan;
    }
    let counts = Counts::of(view);
    let mut plan = Plan::default();
    let mut ending = ending(&counts, now);
    let mut step = manage::Step::default();
    if ending.is_some() {
        step = manage::Step::delete(&counts.active);
    } else if job.subject.deleting {
        plan.waits.push(Wait::Deleted);
    } else {
        step = manage::manage(&counts, now, &mut plan);
        if is_complete(&counts, step.active_after(&counts)) {
            ending = Some(Ending::success("CompletionsReached", "Reached expected number of succeeded pods"));
        }
    }
    if ending.is_none() && !job.suspended {
        let started = job.status.start_time.as_ref().map_or(now, |time| time.0);
        plan.at(job.active_deadline_secs.and_then(|seconds| after(started, seconds)));
    }
    let tracked = track::track(&counts, &step, ending.as_ref(), now);
    plan.notes.extend(tracked.notes);
    plan.stages = tracked.status.into_iter().map(|write| vec![write]).collect();
    plan.stages.extend((!tracked.finalizers.is_empty()).then_some(tracked.finalizers));
    plan.stages.extend(step.stages);
    if plan.waits.is_empty() && plan.is_settled() {
        plan.waits.push(match counts.terminating {
            0 => Wait::Running(count(&counts.active, |_| true)),
            terminating => Wait::Terminating(terminating),
        });
    }
    plan
}

/// A finished Job's pods are counted: nothing holds them any more. The Job itself goes when its time to live is over.
fn after_the_end(view: &View<'_>, end: &Condition, now: Timestamp) -> Plan<Wait> {
    let job = view.job;
    let own = view.pods.iter().filter(|pod| job.subject.controls(&pod.metadata) && has_finalizer(pod));
    let releases: Vec<Write> = own.filter(|_| !job.managed_elsewhere).map(|pod| without_finalizer(pod)).collect();
    let mut plan = Plan { waits: vec![Wait::Finished], ..Plan::default() };
    plan.stages.extend((!releases.is_empty()).then_some(releases));
    let ended = end.last_transition_time.as_ref().map_or(now, |time| time.0);
    if let Some(expiry) = job.ttl_secs.and_then(|ttl| after(ended, i64::from(ttl))).filter(|_| !job.subject.deleting) {
        if expiry > now {
            plan.at(Some(expiry));
        } else {
            plan.stages.push(vec![Write::delete_with_dependents(KIND.resource.clone(), job.subject.target())]);
        }
    }
    plan
}

/// Takes pods over and lets pods go; gives the finalizer to active pods that lack it.
fn prepare(view: &View<'_>) -> Option<Plan<Wait>> {
    let job = view.job;
    let candidates = view.pods.iter().map(|pod| Candidate::of(&pod.metadata));
    let mut stages = take_over(&job.subject, &job.selector, &api::resources::PODS, candidates);
    if stages.is_empty() && !job.subject.deleting {
        let lacks = |pod: &&&Pod| is_ours(job, pod) && pods::is_active(pod) && !has_finalizer(pod);
        let given: Vec<Write> = view.pods.iter().filter(lacks).map(|pod| with_finalizer(pod)).collect();
        if !given.is_empty() {
            stages.push(given);
        }
    }
    if stages.is_empty() {
        return None;
    }
    Some(Plan { stages, waits: vec![Wait::Adoption], ..Plan::default() })
}

fn is_ours(job: &JobFacts, pod: &Pod) -> bool {
    claim(&job.subject, &job.selector, Candidate::of(&pod.metadata)) == Claim::Ours
}

fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|found| found == FINALIZER)
}

fn set_finalizers(pod: &Pod, finalizers: Vec<&str>) -> Write {
    let finalizers = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
    Write::patch(api::resources::PODS, pods::target(pod), json!({"metadata": {"finalizers": finalizers}}))
}

fn with_finalizer(pod: &Pod) -> Write {
    let present = pod.metadata.finalizers.iter().flatten().map(String::as_str);
    set_finalizers(pod, present.chain([FINALIZER]).collect())
}

/// Lets a pod go that is counted, or that nobody will count.
pub fn without_finalizer(pod: &Pod) -> Write {
    let present = pod.metadata.finalizers.iter().flatten().map(String::as_str);
    set_finalizers(pod, present.filter(|found| *found != FINALIZER).collect())
}

/// The index that a pod works on, if it is one of the Job's.
fn index_of(job: &JobFacts, pod: &Pod) -> Option<i32> {
    let index: i32 = pods::annotation(pod, INDEX)?.parse().ok()?;
    (index >= 0 && index < job.index_count()).then_some(index)
}

impl<'v> Counts<'v> {
    fn of(view: &View<'v>) -> Self {
        let job = view.job;
        let members: Vec<&Pod> = view.pods.iter().filter(|pod| is_ours(job, pod)).copied().collect();
        let active: Vec<&Pod> = members.iter().filter(|pod| pods::is_active(pod)).copied().collect();
        let none = Uncounted::default();
        let uncounted = job.status.uncounted_terminated_pods.as_ref().unwrap_or(&none);
        let has_place = |pod: &Pod| !job.indexed || index_of(job, pod).is_some();
        let is_new = |pod: &Pod, known: &[String]| {
            has_finalizer(pod) && has_place(pod) && !known.iter().any(|uid| uid == pods::uid(pod))
        };
        let succeeds = |pod: &Pod| pods::phase(pod) == "Succeeded";
        let fails = |pod: &Pod| is_failed(job, pod) && Verdict::of(job, pod).counts();
        let many = |known: &[String]| i32::try_from(known.len()).unwrap_or(i32::MAX);
        let successes = count(&members, |pod| is_new(pod, &uncounted.succeeded) && succeeds(pod));
        let failures = count(&members, |pod| is_new(pod, &uncounted.failed) && fails(pod));
        let mut counts = Self {
            terminating: count(&members, |pod| is_terminating(&pod.metadata) && !pods::has_ended(pod)),
            succeeded: job.status.succeeded + successes + many(&uncounted.succeeded),
            failed: job.status.failed + failures + many(&uncounted.failed),
            succeeded_indexes: Indexes::default(),
            failed_indexes: None,
            job,
            members,
            active,
        };
        if job.indexed {
            counts.count_indexes();
        }
        counts
    }

    fn count_indexes(&mut self) {
        let job = self.job;
        let mut succeeded = job.completed();
        let held = || self.members.iter().filter(|pod| has_finalizer(pod));
        for index in held().filter(|pod| pods::phase(pod) == "Succeeded").filter_map(|pod| index_of(job, pod)) {
            succeeded.add(index);
        }
        if let Some(limit) = job.backoff_limit_per_index {
            let stored = job.status.failed_indexes.as_deref().unwrap_or_default();
            let mut failed = Indexes::parse(stored, job.index_count());
            let gives_up = |pod: &&&Pod| match Verdict::of(job, pod) {
                _ if !is_failed(job, pod) => false,
                Verdict::FailsIndex => true,
                Verdict::Ignored => false,
                Verdict::Counts | Verdict::FailsJob(_) => failures::counted(pod, failures::INDEX_FAILURES) >= limit,
            };
            for index in held().filter(gives_up).filter_map(|pod| index_of(job, pod)) {
                failed.add(index);
            }
            self.failed_indexes = Some(failed);
        }
        self.succeeded = succeeded.total();
        self.succeeded_indexes = succeeded;
    }
}

/// Whether, and how, the Job ends, apart from having enough successes.
fn ending(counts: &Counts<'_>, now: Timestamp) -> Option<Ending> {
    let job = counts.job;
    let stored = |kind: &str| {
        let condition = conditions::find(&job.status.conditions, kind).filter(|condition| condition.is_true())?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(Ending {
            succeeds: kind == track::SUCCESS_CRITERIA_MET,
            reason: text(&condition.reason),
            message: text(&condition.message),
        })
    };
    stored(track::SUCCESS_CRITERIA_MET)
        .or_else(|| stored(track::FAILURE_TARGET))
        .or_else(|| failed_by_policy(counts))
        .or_else(|| past_limits(counts, now))
        .or_else(|| failed_by_indexes(counts))
        .or_else(|| succeeded_by_policy(counts))
}

fn failed_by_policy(counts: &Counts<'_>) -> Option<Ending> {
    let failed = counts.members.iter().filter(|pod| is_failed(counts.job, pod));
    failed.map(|pod| Verdict::of(counts.job, pod)).find_map(|verdict| match verdict {
        Verdict::FailsJob(message) => Some(Ending::failure("PodFailurePolicy", &message)),
        Verdict::Counts | Verdict::Ignored | Verdict::FailsIndex => None,
    })
}

fn past_limits(counts: &Counts<'_>, now: Timestamp) -> Option<Ending> {
    let job = counts.job;
    let restarted = if job.restarts_in_place() { restarts(&counts.members) } else { 0 };
    if counts.failed > job.backoff_limit || restarted > 0 && restarted >= job.backoff_limit {
        return Some(Ending::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let started = job.status.start_time.as_ref().filter(|_| !job.suspended)?;
    let end = after(started.0, job.active_deadline_secs?)?;
    (end <= now).then(|| Ending::failure("DeadlineExceeded", "Job was active longer than specified deadline"))
}

fn failed_by_indexes(counts: &Counts<'_>) -> Option<Ending> {
    let job = counts.job;
    let failed = counts.failed_indexes.as_ref()?.total();
    if job.max_failed_indexes.is_some_and(|limit| failed > limit) {
        let text = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Ending::failure("MaxFailedIndexesExceeded", text));
    }
    let is_over = failed > 0 && failed + counts.succeeded_indexes.total() >= job.index_count();
    is_over.then(|| Ending::failure("FailedIndexes", "Job has failed indexes"))
}

fn succeeded_by_policy(counts: &Counts<'_>) -> Option<Ending> {
    let job = counts.job;
    let done = &counts.succeeded_indexes;
    let rules = &job.success_policy.as_ref().filter(|_| job.indexed && done.total() > 0)?.rules;
    let is_met = rules.iter().position(|rule| match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(indexes), wanted) => {
            let required = Indexes::parse(indexes, job.index_count());
            let shared = required.shared_with(done);
            required.total() > 0 && (shared == required.total() || wanted.is_some_and(|wanted| shared >= wanted))
        }
        (None, Some(wanted)) => done.total() >= wanted,
        (None, None) => false,
    });
    is_met.map(|index| Ending::success("SuccessPolicy", &format!("Matched rules at index {index}")))
}

/// Enough successes, and nobody at work.
fn is_complete(counts: &Counts<'_>, active: i32) -> bool {
    active == 0
        && match counts.job.completions {
            Some(wanted) => counts.succeeded >= wanted,
            None => counts.succeeded > 0,
        }
}
