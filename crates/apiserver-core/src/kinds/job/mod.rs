//! Job: its row, defaults and rules (K-7, K-22).

mod policies;
mod spec;
mod status;

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, DeletionRules, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{
    as_object_mut, at, child_mut, entries, flag, has, int, items, items_mut, member, object_mut, set, set_default, text,
};

pub(super) use spec::validate_template_spec;

const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const OLD_JOB_NAME: &str = "job-name";
const OLD_CONTROLLER_UID: &str = "controller-uid";
const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
    remove them or set propagationPolicy=Orphan to suppress this warning";

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            categories: &["all"],
            subresources: const { &[Subresource::status("Job")] },
            generation: Generation::Spec,
            selectable_fields: &["status.successful"],
            ..Kind::ordinary(resources::JOBS, Scope::Namespaced, "Job", "JobList", "job")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Status", "What became of the job."),
                Column::text("Completions", "Successful pods of the wanted ones."),
                Column::text("Duration", "How long it runs, or took."),
                Column::AGE,
                Column::CONTAINERS,
                Column::IMAGES,
                Column::SELECTOR,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            prepare_create: |job| {
                if !flag(member(job, "spec"), "manualSelector") {
                    generate_selector(job);
                }
                take_template_labels(job);
                set(job, "status", json!({}));
            },
            validate: spec::validate,
            validate_update: spec::validate_update,
            validate_status: status::validate,
            warn_create: workload::warn_name,
            warn: |job, warnings| warn_spec(member(job, "spec"), "spec", warnings),
            deletion: DeletionRules { orphans: Some(ORPHANS), ..DeletionRules::PLAIN },
            ..Rules::PLAIN
        },
    }
}

/// Whether a condition is there and true.
fn is_true(job: &Value, condition: &str) -> bool {
    items(member(job, "status"), "conditions")
        .iter()
        .any(|other| text(other, "type") == condition && text(other, "status") == "True")
}

fn row(job: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(job, "spec"), member(job, "status"));
    let succeeded = int(status, "succeeded").unwrap_or(0);
    let completions = match (int(spec, "completions"), int(spec, "parallelism").unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let time = |key: &str| text(status, key).parse::<Timestamp>().ok();
    let duration = time("startTime").map_or_else(String::new, |start| {
        let end = time("completionTime").unwrap_or(now);
        cells::human_duration(end.as_second() - start.as_second())
    });
    let known = ["Complete", "Failed", "", "Suspended", "FailureTarget", "SuccessCriteriaMet"];
    let is_deleted = has(member(job, "metadata"), "deletionTimestamp");
    let found = known.into_iter().find(|kind| if kind.is_empty() { is_deleted } else { is_true(job, kind) });
    let what = match found {
        Some("") => "Terminating",
        Some(condition) => condition,
        None => "Running",
    };
    let (containers, images) = cells::containers_and_images(at(spec, &["template", "spec"]));
    Row::of([
        cells::name(job),
        what.into(),
        completions.into(),
        duration.into(),
        cells::age(job, now),
        containers,
        images,
        workload::selector_cell(member(spec, "selector")),
    ])
}

fn default(job: &mut Value) {
    take_template_labels(job);
    let spec = child_mut(job, "spec");
    if !has(spec, "completions") && !has(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    set_default(spec, "parallelism", 1);
    let tries = if has(spec, "backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    set_default(spec, "backoffLimit", tries);
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    set_default(spec, "manualSelector", false);
    let replacement = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replacement);
    default_template(spec);
}

/// The defaults that the template of a cron job's jobs gets too.
pub(super) fn default_template(spec: &mut Value) {
    if let Some(policy) = spec.get_mut("podFailurePolicy") {
        for pattern in items_mut(policy, "rules").flat_map(|rule| items_mut(rule, "onPodConditions")) {
            set_default(pattern, "status", "True");
        }
    }
    workload::default_template(spec);
}

/// A job without labels has those of its template.
fn take_template_labels(job: &mut Value) {
    let labels = at(job, &["spec", "template", "metadata", "labels"]).clone();
    let is_bare = entries(member(job, "metadata"), "labels").next().is_none();
    if is_bare && labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        object_mut(job, "metadata").insert("labels".to_owned(), labels);
    }
}

/// A selector that only this job's pods meet, and the labels to meet it.
fn generate_selector(job: &mut Value) {
    let metadata = member(job, "metadata");
    let (name, uid) = (text(metadata, "name").to_owned(), text(metadata, "uid").to_owned());
    let spec = child_mut(job, "spec");
    let template = child_mut(spec, "template");
    let labels = object_mut(template, "metadata").entry("labels").or_insert_with(|| json!({}));
    for (label, value) in [(OLD_JOB_NAME, &name), (JOB_NAME, &name), (OLD_CONTROLLER_UID, &uid), (CONTROLLER_UID, &uid)]
    {
        // A label that the user chose stays, and is refused if it says something else.
        as_object_mut(labels).entry(label).or_insert_with(|| value.as_str().into());
    }
    let selector = child_mut(spec, "selector");
    object_mut(selector, "matchLabels").entry(CONTROLLER_UID).or_insert_with(|| uid.into());
}

/// What is legal in a job and probably a mistake.
pub(super) fn warn_spec(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    let is_above = |key: &str, limit: i64| int(spec, key).is_some_and(|count| count > limit);
    if text(spec, "completionMode") == "Indexed" && is_above("completions", 100_000) && is_above("parallelism", 10_000)
    {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    super::pod::warn_spec(at(spec, &["template", "spec"]), &format!("{path}.template.spec"), warnings);
}
