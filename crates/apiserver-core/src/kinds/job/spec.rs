//! The rules of a job's spec.

use serde_json::Value;

use super::{CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME, is_true, policies};
use crate::kinds::workload;
use crate::tree::{at, copy_member, flag, has, int, items, items_mut, member, remove, set, text};
use crate::validate::metadata::{validate_domain_prefixed, validate_immutable, validate_non_negative};
use crate::validate::{Errors, Path, go_quoted, names, selector};

const INDEXED_PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const MANY_COMPLETIONS_LIMIT: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;

/// Checks a new job.
pub(super) fn validate(job: &Value, errors: &mut Errors) {
    validate_generated_selector(job, errors);
    validate_selected(member(job, "spec"), errors);
    validate_indexed_name(job, errors);
}

/// Checks a changed job: most of the spec never changes.
pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (spec, old_spec) = (member(new, "spec"), member(old, "spec"));
    validate_selected(spec, errors);
    validate_completions(spec, old_spec, &path, errors);
    workload::validate_same_selector(new, old, errors);
    validate_template_update(spec, old, &path, errors);
    for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        validate_immutable(member(spec, key), member(old_spec, key), &path.child(key), errors);
    }
    validate_indexed_name(new, errors);
}

/// Checks the template of a cron job's jobs, whose selector is always generated.
pub(in crate::kinds) fn validate_template_spec(template: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (spec, path) = (member(template, "spec"), path.child("spec"));
    validate_spec(spec, &path, errors);
    let wanted = member(spec, "selector");
    if !wanted.is_null() {
        let detail = "`selector` will be auto-generated";
        errors.invalid_shown(&path.child("selector"), &selector::shown(wanted), detail);
    }
    if flag(spec, "manualSelector") {
        errors.not_supported_shown(&path.child("manualSelector"), "true", &["nil", "false"]);
    }
}

/// The labels that the server put there must be its own.
fn validate_generated_selector(job: &Value, errors: &mut Errors) {
    let spec = member(job, "spec");
    let wanted = member(spec, "selector");
    if flag(spec, "manualSelector") || wanted.is_null() {
        return;
    }
    let metadata = member(job, "metadata");
    let (name, uid) = (text(metadata, "name"), text(metadata, "uid"));
    let expected = [(OLD_CONTROLLER_UID, uid), (OLD_JOB_NAME, name), (CONTROLLER_UID, uid), (JOB_NAME, name)];
    let path = Path::root("spec");
    let path = path.child("template.metadata.labels");
    let labels = at(spec, &["template", "metadata", "labels"]);
    for (label, value) in expected {
        match labels.get(label).and_then(Value::as_str) {
            None => errors.required(&path.key(label), &format!("must be '{value}'")),
            Some(other) if other != value => {
                errors.invalid(&path.key(label), labels, &format!("must be '{value}'"));
            }
            Some(_) => {}
        }
    }
    let expected: serde_json::Map<String, Value> =
        expected.into_iter().map(|(label, value)| (label.to_owned(), value.into())).collect();
    if workload::selector_of(wanted).is_some_and(|selector| !selector.matches(&expected)) {
        let path = Path::root("spec");
        errors.invalid_shown(&path.child("selector"), &selector::shown(wanted), "`selector` not auto-generated");
    }
}

fn validate_selected(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    validate_spec(spec, &path, errors);
    let wanted = member(spec, "selector");
    if wanted.is_null() {
        errors.required(&path.child("selector"), "");
    } else {
        selector::validate(wanted, &path.child("selector"), errors);
    }
    if let Some(selector) = workload::selector_of(wanted) {
        workload::validate_labels_match(member(spec, "template"), &selector, &path.child("template"), errors);
    }
}

/// Pods of an indexed job have the index in their host name.
fn validate_indexed_name(job: &Value, errors: &mut Errors) {
    let spec = member(job, "spec");
    let completions = int(spec, "completions").filter(|completions| *completions > 0);
    let Some(completions) = completions.filter(|_| text(spec, "completionMode") == "Indexed") else { return };
    let name = text(member(job, "metadata"), "name");
    let longest = format!("{name}-{}", completions - 1);
    if !names::dns_label(&longest).is_empty() {
        let metadata = Path::root("metadata");
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.invalid_text(&metadata.child("name"), name, &detail);
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for key in counts {
        validate_non_negative(spec, key, path, errors);
    }
    if has(spec, "maxFailedIndexes") && !has(spec, "backoffLimitPerIndex") {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    validate_managed_by(spec, path, errors);
    validate_completion_mode(spec, path, errors);
    policies::validate_failure(spec, &path.child("podFailurePolicy"), errors);
    policies::validate_success(spec, &path.child("successPolicy"), errors);
    policies::validate_replacement(spec, &path.child("podReplacementPolicy"), errors);
    workload::validate_template(member(spec, "template"), &path.child("template"), errors);
    validate_restart(spec, &path.child("template.spec.restartPolicy"), errors);
}

fn validate_restart(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    match text(at(spec, &["template", "spec"]), "restartPolicy") {
        "" | "Always" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if has(spec, "podFailurePolicy") => {
            errors.invalid_text(path, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(path, other, &["OnFailure", "Never"]),
    }
}

fn validate_managed_by(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(manager) = spec.get("managedBy").and_then(Value::as_str) else { return };
    let path = path.child("managedBy");
    validate_domain_prefixed(manager, &path, errors);
    if manager.len() > MANAGED_BY_BYTES_MAX {
        errors.too_long(&path, MANAGED_BY_BYTES_MAX);
    }
}

fn validate_completion_mode(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let count = |key: &str| int(spec, key);
    match spec.get("completionMode").and_then(Value::as_str) {
        Some("Indexed") => validate_indexed(spec, path, errors),
        None | Some("NonIndexed") => {
            for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(given) = count(key) {
                    errors.invalid_int(&path.child(key), given, "requires indexed completion mode");
                }
            }
        }
        Some(other) => {
            errors.not_supported(&path.child("completionMode"), other, &["NonIndexed", "Indexed"]);
        }
    }
}

fn validate_indexed(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (completions, parallelism) = (int(spec, "completions"), int(spec, "parallelism"));
    let failed = int(spec, "maxFailedIndexes");
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let mut at_most = |key: &str, given: Option<i64>, limit: i64, detail: String| {
        if let Some(given) = given.filter(|given| *given > limit) {
            errors.invalid_int(&path.child(key), given, &detail);
        }
    };
    let detail = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
    at_most("parallelism", parallelism, INDEXED_PARALLELISM_MAX, detail);
    if let Some(completions) = completions {
        at_most("maxFailedIndexes", failed, completions, "must be less than or equal to completions".to_owned());
    }
    let detail = format!("must be less than or equal to {FAILED_INDEXES_MAX}");
    at_most("maxFailedIndexes", failed, FAILED_INDEXES_MAX, detail);
    if completions.is_none_or(|completions| completions <= MANY_COMPLETIONS) || !has(spec, "backoffLimitPerIndex") {
        return;
    }
    let detail = format!(
        "must be less than or equal to {MANY_COMPLETIONS_LIMIT} when completions are above {MANY_COMPLETIONS} and used \
         with backoff limit per index"
    );
    if failed.is_none() {
        let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.required(&path.child("maxFailedIndexes"), &detail);
    }
    for (key, given) in [("parallelism", parallelism), ("maxFailedIndexes", failed)] {
        if let Some(given) = given.filter(|given| *given > MANY_COMPLETIONS_LIMIT) {
            errors.invalid_int(&path.child(key), given, &detail);
        }
    }
}

/// Completions change with indexed jobs only, and together with parallelism.
fn validate_completions(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (after, before) = (member(new, "completions"), member(old, "completions"));
    let path = path.child("completions");
    if text(new, "completionMode") != "Indexed" {
        validate_immutable(after, before, &path, errors);
    } else if after != before && !after.is_null() && after != member(new, "parallelism") {
        errors.invalid(&path, after, "can only be modified in tandem with spec.parallelism");
    }
}

/// The template of a job that is suspended and has no pods may change where its pods run and what they may use.
fn validate_template_update(spec: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let old_spec = member(old, "spec");
    let status = member(old, "status");
    let is_suspended = flag(old_spec, "suspend");
    let is_still = !has(status, "startTime") || is_true(old, "Suspended");
    let is_free = is_suspended && is_still && int(status, "active").unwrap_or(0) == 0;
    let (new, mut allowed) = (member(spec, "template"), member(old_spec, "template").clone());
    if is_free {
        allow_placement(&mut allowed, new);
        allow_resources(&mut allowed, new);
    }
    if *new != allowed {
        let path = if is_free { path.child("template.spec") } else { path.child("template") };
        errors.invalid(&path, if is_free { member(new, "spec") } else { new }, "field is immutable");
    }
}

fn allow_placement(allowed: &mut Value, new: &Value) {
    let mut metadata = member(allowed, "metadata").clone();
    for key in ["labels", "annotations"] {
        copy_member(&mut metadata, member(new, "metadata"), key);
    }
    if metadata.as_object().is_some_and(|metadata| !metadata.is_empty()) {
        set(allowed, "metadata", metadata);
    }
    let new_spec = member(new, "spec");
    let mut spec = member(allowed, "spec").clone();
    for key in ["nodeSelector", "tolerations", "schedulingGates"] {
        copy_member(&mut spec, new_spec, key);
    }
    let mut affinity = member(&spec, "affinity").clone();
    copy_member(&mut affinity, member(new_spec, "affinity"), "nodeAffinity");
    match (affinity.as_object().is_some_and(|affinity| !affinity.is_empty()), new_spec.get("affinity")) {
        (false, None) => {
            remove(&mut spec, "affinity");
        }
        _ => set(&mut spec, "affinity", affinity),
    }
    set(allowed, "spec", spec);
}

fn allow_resources(allowed: &mut Value, new: &Value) {
    let new_spec = member(new, "spec");
    let mut spec = member(allowed, "spec").clone();
    for list in ["containers", "initContainers"] {
        let changed = items(new_spec, list);
        if changed.len() != items(&spec, list).len() {
            continue;
        }
        for (container, changed) in items_mut(&mut spec, list).zip(changed) {
            if text(container, "name") == text(changed, "name") {
                copy_member(container, changed, "resources");
            }
        }
    }
    set(allowed, "spec", spec);
}

/// How many indexes a list such as `1,3-5` names.
///
/// # Errors
/// Upstream's text.
pub(super) fn count_indexes(list: &str, completions: i64) -> Result<i64, String> {
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {}", go_quoted(text)))
    };
    let index = |text: &str| match number(text)? {
        index if index >= completions => Err(format!("too large index: {}", go_quoted(text))),
        index => Ok(index),
    };
    let (mut total, mut last) = (0, None);
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let limits: Vec<&str> = part.split('-').collect();
        let (first, end) = match limits.as_slice() {
            [one] => (index(one)?, index(one)?),
            [first, end] => (index(first)?, index(end)?),
            _ => {
                return Err(format!(
                    "the fragment {} violates the requirement that an index interval can have at most two parts \
                     separated by '-'",
                    go_quoted(part)
                ));
            }
        };
        let before = if limits.len() > 1 && first >= end { Some((first, end)) } else { None };
        let before = before.or_else(|| last.filter(|last| *last >= first).map(|last| (last, first)));
        if let Some((previous, current)) = before {
            return Err(format!("non-increasing order, previous: {previous}, current: {current}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The indexes in a list such as `1,3-5` as ranges; nothing of a broken list.
pub(super) fn ranges(list: &str) -> Vec<(i64, i64)> {
    let range = |part: &str| {
        let (first, end) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, end.parse().ok()?))
    };
    list.split(',').filter_map(range).collect()
}
