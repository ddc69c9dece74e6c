//! What the planner sees of a Job.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, SuccessPolicy};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::indexes::Indexes;
use crate::conditions::{self, Condition};
use crate::subject::{Facts, Kind, ReadError, Stored, Subject};

/// What a Job calls itself.
pub static KIND: Kind = Kind { api_version: "batch/v1", kind: "Job", resource: api::resources::JOBS };

/// The name under which our controller manages Jobs (`spec.managedBy`).
const MANAGER: &str = "kubernetes.io/job-controller";

/// Pods that have ended, and are in neither counter yet because they still have the finalizer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Uncounted {
    /// UIDs of pods that succeeded.
    pub succeeded: Vec<String>,
    /// UIDs of pods that failed.
    pub failed: Vec<String>,
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Pods that run or will run.
    pub active: i32,
    /// Active pods that are ready.
    pub ready: Option<i32>,
    /// Pods that are going away.
    pub terminating: Option<i32>,
    /// Pods that succeeded.
    pub succeeded: i32,
    /// Pods that failed.
    pub failed: i32,
    /// Pods on their way into the counters.
    pub uncounted_terminated_pods: Option<Uncounted>,
    /// Indexes that succeeded.
    pub completed_indexes: String,
    /// Indexes that failed.
    pub failed_indexes: Option<String>,
    /// Since when it runs.
    pub start_time: Option<Time>,
    /// When it was complete.
    pub completion_time: Option<Time>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A Job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.parallelism`.
    pub parallelism: i32,
    /// `spec.completions`; `None`: one success is enough.
    pub completions: Option<i32>,
    /// `spec.completionMode` is `Indexed`.
    pub indexed: bool,
    /// `spec.backoffLimit`.
    pub backoff_limit: i32,
    /// `spec.backoffLimitPerIndex`.
    pub backoff_limit_per_index: Option<i32>,
    /// `spec.maxFailedIndexes`.
    pub max_failed_indexes: Option<i32>,
    /// `spec.activeDeadlineSeconds`.
    pub active_deadline_secs: Option<i64>,
    /// `spec.ttlSecondsAfterFinished`.
    pub ttl_secs: Option<i32>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Somebody else's controller looks after it.
    pub managed_elsewhere: bool,
    /// `spec.podReplacementPolicy` is `Failed`: a pod is replaced only when it has ended.
    pub replaces_failed_only: bool,
    /// `spec.podFailurePolicy`.
    pub failure_policy: Option<PodFailurePolicy>,
    /// `spec.successPolicy`.
    pub success_policy: Option<SuccessPolicy>,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// `spec.template`.
    pub template: Value,
    /// The stored status.
    pub status: StatusFacts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    parallelism: Option<i32>,
    completions: Option<i32>,
    completion_mode: Option<String>,
    backoff_limit: Option<i32>,
    backoff_limit_per_index: Option<i32>,
    max_failed_indexes: Option<i32>,
    active_deadline_seconds: Option<i64>,
    ttl_seconds_after_finished: Option<i32>,
    suspend: Option<bool>,
    managed_by: Option<String>,
    pod_replacement_policy: Option<String>,
    pod_failure_policy: Option<PodFailurePolicy>,
    success_policy: Option<SuccessPolicy>,
    #[serde(default)]
    selector: Value,
    template: Value,
}

impl Facts for JobFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            parallelism: spec.parallelism.unwrap_or(1).max(0),
            completions: spec.completions,
            indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline_secs: spec.active_deadline_seconds,
            ttl_secs: spec.ttl_seconds_after_finished,
            suspended: spec.suspend.unwrap_or(false),
            managed_elsewhere: spec.managed_by.is_some_and(|manager| manager != MANAGER),
            replaces_failed_only: spec.pod_replacement_policy.as_deref() == Some("Failed"),
            failure_policy: spec.pod_failure_policy,
            success_policy: spec.success_policy,
            selector: LabelSelector::from_object(&spec.selector)?,
            template: spec.template,
            status,
        })
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn selector(&self) -> &LabelSelector {
        &self.selector
    }
}

impl JobFacts {
    /// `Complete` or `Failed`, with the time; `None` while it is at work.
    pub fn finished(&self) -> Option<&Condition> {
        let of = |kind| conditions::find(&self.status.conditions, kind).filter(|condition| condition.is_true());
        of("Complete").or_else(|| of("Failed"))
    }

    /// `spec.completions` of an Indexed Job.
    pub(super) fn index_count(&self) -> i32 {
        self.completions.unwrap_or(0)
    }

    /// Indexes that the status says have succeeded.
    pub(super) fn completed(&self) -> Indexes {
        Indexes::parse(&self.status.completed_indexes, self.index_count())
    }

    /// The template's restart policy lets containers be started again in the same pod.
    pub(super) fn restarts_in_place(&self) -> bool {
        self.template.pointer("/spec/restartPolicy").and_then(Value::as_str) == Some("OnFailure")
    }
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The Job.
    pub job: &'a JobFacts,
    /// Pods that it controls, and pods without a controller; others may be among them.
    pub pods: Vec<&'a Pod>,
}
