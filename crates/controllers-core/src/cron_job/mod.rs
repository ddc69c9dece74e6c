//! The CronJob planner: Jobs at the moments of a schedule.
//!
//! [`plan`] looks at a [`View`] and returns a plan. It follows upstream's controller where clients can see it: names of
//! Jobs (the minute is in them, so that a moment has one Job however often it is tried), missed moments, concurrency,
//! history. Deliberately different: what the status lacks after a crash (an active Job, the last moment) is put right
//! from the Jobs that are there; without a time zone the schedule is in UTC. Start with [`plan`].

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;

use api::resources::JOBS;
use jiff::Zoned;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::cron::{Schedule, time_zone};
use meta::{LabelSelector, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pods::after;
use crate::subject::{Facts, Kind, ReadError, Stored, Subject};
use crate::words::{Note, Tone};
use crate::writes::{Plan, Write};

/// What a CronJob calls itself.
pub static KIND: Kind = Kind { api_version: "batch/v1", kind: "CronJob", resource: api::resources::CRON_JOBS };
/// Annotation of a Job: the moment that it was made for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed moments than this are worth an event.
const MISSED_MAX: i64 = 100;

/// `spec.concurrencyPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concurrency {
    /// Jobs may run side by side.
    Allow,
    /// A moment is skipped while a Job runs.
    Forbid,
    /// The running Job is deleted.
    Replace,
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// References to Jobs that run.
    pub active: Vec<Value>,
    /// The last moment that a Job was made for.
    pub last_schedule_time: Option<Time>,
    /// When a Job was complete last.
    pub last_successful_time: Option<Time>,
}

/// A CronJob.
#[derive(Clone, PartialEq, Debug)]
pub struct CronJobFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.schedule`.
    pub schedule: String,
    /// `spec.timeZone`.
    pub time_zone: Option<String>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `spec.concurrencyPolicy`.
    pub concurrency: Concurrency,
    /// `spec.startingDeadlineSeconds`.
    pub starting_deadline_secs: Option<i64>,
    /// `spec.successfulJobsHistoryLimit`.
    pub successful_limit: Option<usize>,
    /// `spec.failedJobsHistoryLimit`.
    pub failed_limit: Option<usize>,
    /// `spec.jobTemplate`.
    pub template: Value,
    /// The stored status.
    pub status: StatusFacts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    schedule: String,
    time_zone: Option<String>,
    suspend: Option<bool>,
    concurrency_policy: Option<String>,
    starting_deadline_seconds: Option<i64>,
    successful_jobs_history_limit: Option<usize>,
    failed_jobs_history_limit: Option<usize>,
    job_template: Value,
}

impl Facts for CronJobFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            schedule: spec.schedule,
            time_zone: spec.time_zone,
            suspended: spec.suspend.unwrap_or(false),
            concurrency: match spec.concurrency_policy.as_deref() {
                Some("Forbid") => Concurrency::Forbid,
                Some("Replace") => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            starting_deadline_secs: spec.starting_deadline_seconds,
            successful_limit: spec.successful_jobs_history_limit,
            failed_limit: spec.failed_jobs_history_limit,
            template: spec.job_template,
            status,
        })
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    /// It knows its Jobs by their controller, not by labels.
    fn selector(&self) -> &LabelSelector {
        static NOTHING: LazyLock<LabelSelector> = LazyLock::new(LabelSelector::nothing);
        &NOTHING
    }
}

impl CronJobFacts {
    /// The name of a moment's Job.
    fn job_name(&self, moment: &Zoned) -> String {
        format!("{}-{}", self.subject.name, moment.timestamp().as_second().div_euclid(60))
    }
}

/// How a Job ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// `Complete`.
    Complete,
    /// `Failed`.
    Failed,
}

/// A Job that the CronJob controls.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JobSeen<'a> {
    /// Its metadata.
    pub subject: &'a Subject,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// `status.completionTime`.
    pub completed: Option<Timestamp>,
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The CronJob.
    pub cron_job: &'a CronJobFacts,
    /// Jobs that it controls.
    pub jobs: Vec<JobSeen<'a>>,
}

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It is not time yet.
    NotYet(Timestamp),
    /// `spec.suspend`.
    Suspended,
    /// It is being deleted.
    Deleted,
    /// The schedule or the time zone is not understood.
    NotUnderstood,
    /// A Job still runs and `concurrencyPolicy` is Forbid.
    StillRunning(String),
    /// The schedule has no more moments.
    Never,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(at) => write!(f, "it is not time before {at}"),
            Self::Suspended => f.write_str("the cron job is suspended"),
            Self::Deleted => f.write_str("the cron job is being deleted"),
            Self::NotUnderstood => f.write_str("the schedule is not understood"),
            Self::StillRunning(job) => write!(f, "job {job} still runs"),
            Self::Never => f.write_str("the schedule has no more moments"),
        }
    }
}

/// Decides the next steps for the CronJob in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let cron_job = view.cron_job;
    let mut plan = Plan::default();
    let mut status = account(view, &mut plan.notes);
    let tidy = surplus(view);
    let mut stages = Vec::new();
    if cron_job.subject.deleting {
        plan.waits.push(Wait::Deleted);
    } else if cron_job.suspended {
        plan.waits.push(Wait::Suspended);
    } else {
        stages = start(view, &mut status, now, &mut plan);
    }
    plan.status = write(cron_job, &status);
    plan.stages = (!tidy.is_empty()).then_some(tidy).into_iter().chain(stages).collect();
    plan
}

/// The status as the Jobs that are there make it: who is active, who has succeeded last.
fn account(view: &View<'_>, notes: &mut Vec<Note>) -> StatusFacts {
    let mut status = view.cron_job.status.clone();
    let job_of = |reference: &Value| view.jobs.iter().find(|job| reference["uid"] == job.subject.uid.0);
    status.active.retain(|reference| {
        let name = reference["name"].as_str().unwrap_or_default();
        match job_of(reference) {
            Some(job) => {
                if let Some(ending) = job.ending {
                    let text = format!("Saw completed job: {name}, condition: {ending:?}");
                    notes.push(Note::normal("SawCompletedJob", text));
                }
                job.ending.is_none()
            }
            None => {
                notes.push(Note::normal("MissingJob", format!("Active job went missing: {name}")));
                false
            }
        }
    });
    let prefix = format!("{}-", view.cron_job.subject.name);
    for job in view.jobs.iter().filter(|job| job.ending.is_none() && !job.subject.deleting) {
        if status.active.iter().any(|reference| reference["uid"] == job.subject.uid.0) {
            continue;
        }
        let minute = job.subject.name.strip_prefix(&prefix).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        if minute.is_some() {
            status.active.push(reference(job.subject));
        } else {
            let text = format!("Saw a job that the controller did not create or forgot: {}", job.subject.name);
            notes.push(Note::warning("UnexpectedJob", text));
        }
    }
    let successes = view.jobs.iter().filter(|job| job.ending == Some(Ending::Complete)).filter_map(|job| job.completed);
    let before = status.last_successful_time.as_ref().map(|time| time.0);
    status.last_successful_time = successes.chain(before).max().map(Time);
    status
}

fn reference(job: &Subject) -> Value {
    json!({
        "apiVersion": job.kind.api_version,
        "kind": job.kind.kind,
        "namespace": job.namespace,
        "name": job.name,
        "uid": job.uid.0,
        "resourceVersion": job.resource_version.to_string(),
    })
}

/// Finished Jobs beyond the history limits, the earliest started first.
fn surplus(view: &View<'_>) -> Vec<Write> {
    let cron_job = view.cron_job;
    let mut writes = Vec::new();
    for (ending, limit) in [(Ending::Complete, cron_job.successful_limit), (Ending::Failed, cron_job.failed_limit)] {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<_> = view.jobs.iter().filter(|job| job.ending == Some(ending)).collect();
        ended.sort_by_key(|job| (job.started.is_none(), job.started, job.subject.name.clone()));
        let excess = ended.len().saturating_sub(limit);
        let chosen = ended[..excess].iter().filter(|job| !job.subject.deleting);
        writes.extend(chosen.map(|job| delete(job)));
    }
    writes
}

fn delete(job: &JobSeen<'_>) -> Write {
    let done = Note { tone: Tone::Normal, reason: "SuccessfulDelete", message: "Deleted job {}".to_owned() };
    let failed = Note { tone: Tone::Warning, reason: "FailedDelete", message: "Deleted job: {}".to_owned() };
    Write::delete(JOBS, job.subject.target()).telling(done, failed)
}

/// Makes the Job of the latest moment that has passed, if it has none.
fn start(view: &View<'_>, status: &mut StatusFacts, now: Timestamp, plan: &mut Plan<Wait>) -> Vec<Vec<Write>> {
    let cron_job = view.cron_job;
    let Some((schedule, zone)) = understand(cron_job, &mut plan.notes) else {
        plan.waits.push(Wait::NotUnderstood);
        return Vec::new();
    };
    let earliest = earliest(cron_job, now).to_zoned(zone);
    let moment = due(&schedule, &earliest, now, &mut plan.notes);
    let next = schedule.next(moment.as_ref().unwrap_or(&earliest));
    plan.at(next.as_ref().map(Zoned::timestamp));
    plan.waits.push(next.map_or(Wait::Never, |next| Wait::NotYet(next.timestamp())));
    let Some(moment) = moment else { return Vec::new() };
    let deadline = cron_job.starting_deadline_secs.and_then(|seconds| after(moment.timestamp(), seconds));
    if deadline.is_some_and(|deadline| deadline < now) {
        let utc = moment.with_time_zone(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        plan.notes.push(Note::warning("MissSchedule", format!("Missed scheduled time to start a job: {utc}")));
        return Vec::new();
    }
    let name = cron_job.job_name(&moment);
    if view.jobs.iter().any(|job| job.subject.name == name) {
        // It was made, but perhaps nobody lived to write it down.
        let before = status.last_schedule_time.as_ref().map(|time| time.0);
        status.last_schedule_time = before.max(Some(moment.timestamp())).map(Time);
        return Vec::new();
    }
    if status.last_schedule_time.as_ref().is_some_and(|last| last.0 >= moment.timestamp()) {
        return Vec::new();
    }
    let running: Vec<_> = view.jobs.iter().filter(|job| job.ending.is_none()).collect();
    match (cron_job.concurrency, running.first()) {
        (Concurrency::Forbid, Some(job)) => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.notes.push(Note::normal("JobAlreadyActive", text));
            plan.waits.insert(0, Wait::StillRunning(job.subject.name.clone()));
            Vec::new()
        }
        (Concurrency::Replace, Some(_)) => {
            let going = running.iter().filter(|job| !job.subject.deleting).map(|job| delete(job)).collect();
            vec![going, vec![create(cron_job, name, &moment)]]
        }
        (Concurrency::Allow, _) | (_, None) => vec![vec![create(cron_job, name, &moment)]],
    }
}

fn create(cron_job: &CronJobFacts, name: String, moment: &Zoned) -> Write {
    let mut metadata = json!({
        "name": name,
        "namespace": cron_job.subject.namespace,
        "ownerReferences": [cron_job.subject.owner_reference()],
    });
    for copied in ["labels", "annotations"] {
        if let Some(value) = cron_job.template.pointer(&format!("/metadata/{copied}")).filter(|v| !v.is_null()) {
            metadata[copied] = value.clone();
        }
    }
    let form = if moment.time_zone() == &TimeZone::UTC { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    metadata["annotations"][SCHEDULED] = json!(moment.strftime(form).to_string());
    let body =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": cron_job.template["spec"]});
    let done = Note { tone: Tone::Normal, reason: "SuccessfulCreate", message: "Created job {}".to_owned() };
    let failed = Note { tone: Tone::Warning, reason: "FailedCreate", message: "Error creating job: {}".to_owned() };
    Write::create(JOBS, body).telling(done, failed)
}

fn understand(cron_job: &CronJobFacts, notes: &mut Vec<Note>) -> Option<(Schedule, TimeZone)> {
    let schedule = match Schedule::parse(&cron_job.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let text = format!("unparseable schedule: \"{}\" : {why}", cron_job.schedule);
            notes.push(Note::warning("UnparseableSchedule", text));
            return None;
        }
    };
    let named = cron_job.time_zone.as_deref().or_else(|| schedule.zone()).filter(|name| !name.is_empty());
    let zone = match named {
        None => TimeZone::UTC,
        Some(name) => match time_zone(name) {
            Some(zone) => zone,
            None => {
                let text = format!("invalid timeZone: \"{name}\": unknown time zone {name}");
                notes.push(Note::warning("UnknownTimeZone", text));
                return None;
            }
        },
    };
    Some((schedule, zone))
}

/// Moments after this one may still get a Job.
fn earliest(cron_job: &CronJobFacts, now: Timestamp) -> Timestamp {
    let last = cron_job.status.last_schedule_time.as_ref().map(|time| time.0);
    let earliest = last.unwrap_or(cron_job.subject.created);
    let deadline = cron_job.starting_deadline_secs.and_then(|seconds| after(now, -seconds));
    deadline.map_or(earliest, |deadline| deadline.max(earliest))
}

/// The latest moment that has passed since `earliest`.
fn due(schedule: &Schedule, earliest: &Zoned, now: Timestamp, notes: &mut Vec<Note>) -> Option<Zoned> {
    let first = schedule.next(earliest)?;
    if now < first.timestamp() {
        return None;
    }
    let Some(second) = schedule.next(&first) else { return Some(first) };
    if now < second.timestamp() {
        return Some(first);
    }
    // Far behind: jump near the present before walking moment by moment.
    let step = (second.timestamp().as_second() - first.timestamp().as_second()).max(1);
    let missed = (now.as_second() - first.timestamp().as_second()) / step + 1;
    if missed > MISSED_MAX {
        let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        notes.push(Note::warning("TooManyMissedTimes", text));
    }
    let near = after(first.timestamp(), (missed - 2) * step)?;
    let mut latest = None;
    let mut moment = schedule.next(&near.to_zoned(earliest.time_zone().clone()))?;
    while moment.timestamp() <= now {
        let following = schedule.next(&moment);
        latest = Some(moment);
        moment = following?;
    }
    latest.or(Some(first))
}

fn write(cron_job: &CronJobFacts, after: &StatusFacts) -> Option<Write> {
    if *after == cron_job.status {
        return None;
    }
    Some(cron_job.subject.write_status(json!({
        "active": if after.active.is_empty() { Value::Null } else { json!(after.active) },
        "lastScheduleTime": after.last_schedule_time,
        "lastSuccessfulTime": after.last_successful_time,
    })))
}
