//! Which pods a Job makes and deletes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;
use serde_json::{Value, json};

use super::failures::{INDEX_FAILURES, INDEX_IGNORED_FAILURES, Verdict, counted, finish_time, is_failed};
use super::failures::{next_try, next_try_of_job};
use super::{Counts, FINALIZER, INDEX, Wait, has_finalizer, index_of, without_finalizer};
use crate::pods::{self, count};
use crate::rank::first_to_go;
use crate::words::is_terminating;
use crate::writes::{BURST_MAX, Plan, Write, create_pod, delete_pod, slow_start};

/// Longest name that the server makes a generated one from.
const GENERATE_NAME_BYTES_MAX: usize = 58;
/// Environment variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Pods to make or to delete.
#[derive(Default)]
pub(super) struct Step<'v> {
    pub(super) stages: Vec<Vec<Write>>,
    pub(super) deleted: Vec<&'v Pod>,
    pub(super) created: i32,
}

impl<'v> Step<'v> {
    /// Deletes pods; they are counted when they are gone.
    pub(super) fn delete(chosen: &[&'v Pod]) -> Self {
        if chosen.is_empty() {
            return Self::default();
        }
        let stage = chosen.iter().map(|pod| delete_pod(pods::target(pod))).collect();
        Self { stages: vec![stage], deleted: chosen.to_vec(), created: 0 }
    }

    /// Deletes pods that are not wanted any more: they lose the finalizer first, and are never counted.
    fn discard(chosen: Vec<&'v Pod>) -> Self {
        if chosen.is_empty() {
            return Self::default();
        }
        let release = chosen.iter().filter(|pod| has_finalizer(pod)).map(|pod| without_finalizer(pod)).collect();
        let delete = chosen.iter().map(|pod| delete_pod(pods::target(pod)).in_any_state()).collect();
        Self { stages: vec![release, delete], deleted: chosen, created: 0 }
    }

    /// Pods at work when the step is done.
    pub(super) fn active_after(&self, counts: &Counts<'_>) -> i32 {
        count(&counts.active, |_| true) - count(&self.deleted, |_| true) + self.created
    }
}

/// Brings the number of pods at work to what is wanted.
pub(super) fn manage<'v>(counts: &Counts<'v>, now: Timestamp, plan: &mut Plan<Wait>) -> Step<'v> {
    let job = counts.job;
    if job.suspended {
        plan.waits.push(Wait::Suspended);
        return Step::discard(counts.active.clone());
    }
    let active = count(&counts.active, |_| true);
    let wanted = match job.completions {
        None if counts.succeeded > 0 => active,
        None => job.parallelism,
        Some(completions) => (completions - counts.succeeded).clamp(0, job.parallelism),
    };
    let surplus = surplus(counts, usize::try_from(active - wanted).unwrap_or(0));
    if !surplus.is_empty() {
        return Step::discard(surplus);
    }
    let leaving = if job.replaces_failed_only { counts.terminating } else { 0 };
    let missing = usize::try_from(wanted - leaving - active).unwrap_or(0).min(BURST_MAX);
    if missing == 0 {
        return Step::default();
    }
    if job.backoff_limit_per_index.is_none()
        && let Some(next) = next_try_of_job(job, &counts.members).filter(|next| *next > now)
    {
        plan.at(Some(next));
        plan.waits.push(Wait::Backoff(next));
        return Step::default();
    }
    let bodies = if job.indexed { indexed(counts, missing, now, plan) } else { vec![body(counts); missing] };
    let created = count(&bodies, |_| true);
    Step { stages: slow_start(bodies.into_iter().map(create_pod).collect()), deleted: Vec::new(), created }
}

/// Pods to take off: those of no index or of one that another pod works on, then those that are missed least.
fn surplus<'v>(counts: &Counts<'v>, at_least: usize) -> Vec<&'v Pod> {
    let job = counts.job;
    let ordered = first_to_go(counts.active.clone(), &BTreeMap::new(), Timestamp::MAX);
    let mut taken = BTreeSet::new();
    let (mut chosen, mut rest) = (Vec::new(), Vec::new());
    // From the most valuable down, so that of two pods of an index the better one stays.
    for pod in ordered.into_iter().rev() {
        let stays = !job.indexed || index_of(job, pod).is_some_and(|index| taken.insert(index));
        if stays { rest.push(pod) } else { chosen.push(pod) }
    }
    while chosen.len() < at_least {
        let Some(pod) = rest.pop() else { break };
        chosen.push(pod);
    }
    chosen.truncate(BURST_MAX);
    chosen
}

/// The pod of a Job that is not Indexed.
fn body(counts: &Counts<'_>) -> Value {
    let job = counts.job;
    let mut body = pods::from_template(&job.subject, &job.template);
    let finalizers = &mut body["metadata"]["finalizers"];
    let mut all: Vec<Value> = finalizers.as_array().cloned().unwrap_or_default();
    if !all.contains(&json!(FINALIZER)) {
        all.push(json!(FINALIZER));
    }
    *finalizers = json!(all);
    body
}

/// Pods for the first indexes that nobody works on.
fn indexed(counts: &Counts<'_>, missing: usize, now: Timestamp, plan: &mut Plan<Wait>) -> Vec<Value> {
    let job = counts.job;
    let is_busy = |pod: &&&Pod| {
        pods::is_active(pod) || job.replaces_failed_only && is_terminating(&pod.metadata) && !pods::has_ended(pod)
    };
    let busy: BTreeSet<i32> = counts.members.iter().filter(is_busy).filter_map(|pod| index_of(job, pod)).collect();
    let is_over = |index: i32| {
        counts.succeeded_indexes.has(index) || counts.failed_indexes.as_ref().is_some_and(|failed| failed.has(index))
    };
    let free = (0..job.index_count()).filter(|index| !busy.contains(index) && !is_over(*index)).take(missing);
    if job.backoff_limit_per_index.is_none() {
        return free.map(|index| indexed_body(counts, index, None)).collect();
    }
    let before = replaced(counts);
    let (mut bodies, mut earliest) = (Vec::new(), None::<Timestamp>);
    for index in free {
        let pod = before.get(&index).copied();
        match pod.and_then(next_try_of_index).filter(|next| *next > now) {
            Some(next) => earliest = Some(earliest.map_or(next, |found| found.min(next))),
            None => bodies.push(indexed_body(counts, index, pod)),
        }
    }
    if let Some(next) = earliest {
        plan.at(Some(next));
        plan.waits.push(Wait::Backoff(next));
    }
    bodies
}

fn next_try_of_index(pod: &Pod) -> Option<Timestamp> {
    let failures = counted(pod, INDEX_FAILURES) + counted(pod, INDEX_IGNORED_FAILURES) + 1;
    next_try(usize::try_from(failures).unwrap_or(0), finish_time(pod))
}

/// The last failed pod of each index that is to be tried again. It keeps its finalizer until its successor is there,
/// because it says how often the index has failed.
pub(super) fn replaced<'v>(counts: &Counts<'v>) -> BTreeMap<i32, &'v Pod> {
    let job = counts.job;
    let mut last: BTreeMap<i32, &Pod> = BTreeMap::new();
    if job.backoff_limit_per_index.is_none() {
        return last;
    }
    let active: BTreeSet<i32> = counts.active.iter().filter_map(|pod| index_of(job, pod)).collect();
    let failures = |pod: &Pod| counted(pod, INDEX_FAILURES) + counted(pod, INDEX_IGNORED_FAILURES);
    for pod in counts.members.iter().filter(|pod| has_finalizer(pod) && is_failed(job, pod)) {
        let Some(index) = index_of(job, pod) else { continue };
        let gave_up = counts.failed_indexes.as_ref().is_some_and(|failed| failed.has(index));
        if gave_up || active.contains(&index) || counts.succeeded_indexes.has(index) {
            continue;
        }
        let rank = |pod: &Pod| (failures(pod), finish_time(pod));
        if last.get(&index).is_none_or(|found| rank(found) <= rank(pod)) {
            last.insert(index, pod);
        }
    }
    last
}

fn indexed_body(counts: &Counts<'_>, index: i32, replaced: Option<&Pod>) -> Value {
    let job = counts.job;
    let mut body = body(counts);
    let suffix = format!("-{index}-");
    let mut cut = job.subject.name.len().min(GENERATE_NAME_BYTES_MAX - suffix.len());
    while !job.subject.name.is_char_boundary(cut) {
        cut -= 1;
    }
    let metadata = &mut body["metadata"];
    metadata["generateName"] = json!(format!("{}{suffix}", &job.subject.name[..cut]));
    metadata["annotations"][INDEX] = json!(index.to_string());
    metadata["labels"][INDEX] = json!(index.to_string());
    if job.backoff_limit_per_index.is_some() {
        let ignored = replaced.is_some_and(|pod| Verdict::of(job, pod) == Verdict::Ignored);
        let before = |key: &str| replaced.map_or(0, |pod| counted(pod, key));
        let more = |so: bool| i32::from(so && replaced.is_some());
        metadata["annotations"][INDEX_FAILURES] = json!((before(INDEX_FAILURES) + more(!ignored)).to_string());
        let ignored_failures = before(INDEX_IGNORED_FAILURES) + more(ignored);
        if ignored_failures > 0 {
            metadata["annotations"][INDEX_IGNORED_FAILURES] = json!(ignored_failures.to_string());
        }
    }
    let spec = &mut body["spec"];
    spec["hostname"] = json!(format!("{}-{index}", job.subject.name));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            tell_index(container);
        }
    }
    body["spec"].as_object_mut().expect("a pod has a spec").retain(|_, value| !value.is_null());
    body
}

/// Gives a container the variable that holds its index, unless it has one of that name.
fn tell_index(container: &mut Value) {
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    if env.iter().any(|variable| variable["name"] == INDEX_VARIABLE) {
        return;
    }
    let path = format!("metadata.labels['{INDEX}']");
    env.push(json!({"name": INDEX_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
    container["env"] = json!(env);
}
