//! Which pods count as failed, what the failure policy says to them, and how long to wait before the next try.

use k8s_openapi::api::batch::v1::{PodFailurePolicyOnExitCodesRequirement as ExitCodes, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use meta::Timestamp;

use super::view::JobFacts;
use crate::pods::{self, after};
use crate::words::is_terminating;

/// Pause after the first failure; doubled with each further one.
const BACKOFF_SECS: i64 = 10;
/// Longest pause.
const BACKOFF_SECS_MAX: i64 = 600;
/// Annotation: how often the pod's index has failed before.
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: how often it has failed in ways that do not count.
pub(super) const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Failed, or going away without having succeeded; with `podReplacementPolicy: Failed` only the former.
pub(super) fn is_failed(job: &JobFacts, pod: &Pod) -> bool {
    let phase = pods::phase(pod);
    phase == "Failed" || (!job.replaces_failed_only && is_terminating(&pod.metadata) && phase != "Succeeded")
}

/// What the failure policy says to a failed pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It counts.
    Counts,
    /// It does not count.
    Ignored,
    /// Its index has failed for good.
    FailsIndex,
    /// The Job has failed, with this message.
    FailsJob(String),
}

impl Verdict {
    /// Of the first rule that matches.
    pub(super) fn of(job: &JobFacts, pod: &Pod) -> Self {
        let rules = job.failure_policy.iter().flat_map(|policy| policy.rules.iter());
        for (index, rule) in rules.enumerate() {
            let Some(why) = matched(rule, pod, index) else { continue };
            return match rule.action.as_str() {
                "Ignore" => Self::Ignored,
                "FailIndex" => Self::FailsIndex,
                "FailJob" => Self::FailsJob(why),
                _ => Self::Counts,
            };
        }
        Self::Counts
    }

    /// Whether the pod is one of those that `status.failed` counts.
    pub(super) fn counts(&self) -> bool {
        *self != Self::Ignored
    }
}

/// Why a rule matches a pod, as the Job's condition tells it.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod, index: usize) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (name, action) = (pods::name(pod), &rule.action);
    if let Some(wanted) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let statuses = |list: &Option<Vec<ContainerStatus>>| {
            list.iter().flatten().find_map(|status| Some((status.name.clone(), matching_exit(wanted, status)?)))
        };
        let found = statuses(&status.container_statuses).or_else(|| statuses(&status.init_container_statuses));
        return found.map(|(container, code)| {
            format!(
                "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {action} rule at \
                 index {index}"
            )
        });
    }
    let wanted = rule.on_pod_conditions.iter().flatten();
    let found = wanted.filter_map(|pattern| pods::condition(pod, &pattern.type_).map(|found| (pattern, found)));
    let mut found = found.filter(|(pattern, found)| found.status == pattern.status.as_deref().unwrap_or("True"));
    let (pattern, _) = found.next()?;
    Some(format!("Pod {namespace}/{name} has condition {} matching {action} rule at index {index}", pattern.type_))
}

/// The exit code of a container that the requirement is about.
fn matching_exit(wanted: &ExitCodes, status: &ContainerStatus) -> Option<i32> {
    let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
    if code == 0 || wanted.container_name.as_ref().is_some_and(|name| *name != status.name) {
        return None;
    }
    let listed = wanted.values.contains(&code);
    let is_match = match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    is_match.then_some(code)
}

/// When a pod ended, as well as can be told.
pub(super) fn finish_time(pod: &Pod) -> Timestamp {
    let ends = |status: &ContainerStatus| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|t| t.0);
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let all: Option<Vec<Timestamp>> =
        statuses.filter(|all| !all.is_empty()).and_then(|all| all.iter().map(ends).collect());
    let by_containers = all.and_then(|times| times.into_iter().max());
    let by_condition = || {
        let unready = pods::condition(pod, "Ready").filter(|condition| condition.status == "False")?;
        unready.last_transition_time.as_ref().map(|time| time.0)
    };
    let by_deletion = || pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    by_containers.or_else(by_condition).or_else(by_deletion).or_else(created).unwrap_or(Timestamp::MIN)
}

/// When the next pod may be made after so many failures in a row, the last of them at `last`.
pub(super) fn next_try(failures: usize, last: Timestamp) -> Option<Timestamp> {
    let doublings = u32::try_from(failures.checked_sub(1)?).unwrap_or(u32::MAX).min(16);
    after(last, (BACKOFF_SECS << doublings).min(BACKOFF_SECS_MAX))
}

/// When the Job may make its next pod: its failures since its last success decide.
pub(super) fn next_try_of_job(job: &JobFacts, members: &[&Pod]) -> Option<Timestamp> {
    let succeeded = members.iter().filter(|pod| pods::phase(pod) == "Succeeded").map(|pod| finish_time(pod)).max();
    let failed = members.iter().filter(|pod| is_failed(job, pod)).map(|pod| finish_time(pod));
    let since: Vec<_> = failed.filter(|time| succeeded.is_none_or(|success| *time > success)).collect();
    next_try(since.len(), since.iter().max().copied()?)
}

/// An annotation that counts.
pub(super) fn counted(pod: &Pod, key: &str) -> i32 {
    pods::annotation(pod, key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Restarts of all containers of the pods that still run.
pub(super) fn restarts(members: &[&Pod]) -> i32 {
    let running = members.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let statuses = running.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    statuses.fold(0, |sum, status| sum.saturating_add(status.restart_count))
}
