//! What a job's pods may come to: failure, success and replacement policies.

use serde_json::Value;

use super::spec::count_indexes;
use crate::tree::{at, has, int, items, member, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path, go_quoted, names};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];

/// Checks `podFailurePolicy`.
pub(super) fn validate_failure(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let policy = member(spec, "podFailurePolicy");
    if policy.is_null() {
        return;
    }
    let (rules, path) = (items(policy, "rules"), path.child("rules"));
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    let pod = at(spec, &["template", "spec"]);
    let containers: Vec<&str> =
        ["containers", "initContainers"].iter().flat_map(|list| items(pod, list)).map(|it| text(it, "name")).collect();
    for (index, rule) in rules.iter().enumerate() {
        validate_rule(spec, rule, &containers, &path.index(index), errors);
    }
}

fn validate_rule(spec: &Value, rule: &Value, containers: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let action_path = path.child("action");
    match text(rule, "action") {
        "FailIndex" if !has(spec, "backoffLimitPerIndex") => {
            errors.invalid_text(&action_path, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        action => validate_choice(action, ACTIONS, &action_path, errors),
    }
    let (codes, conditions) = (member(rule, "onExitCodes"), items(rule, "onPodConditions"));
    if !codes.is_null() {
        validate_exit_codes(codes, containers, &path.child("onExitCodes"), errors);
    }
    let conditions_path = path.child("onPodConditions");
    if conditions.len() > PATTERNS_MAX {
        errors.too_many(&conditions_path, conditions.len(), PATTERNS_MAX);
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let (path, kind) = (conditions_path.index(index), text(pattern, "type"));
        errors.invalid_each(&path.child("type"), kind, names::qualified_name(kind));
        validate_choice(text(pattern, "status"), &["False", "True", "Unknown"], &path.child("status"), errors);
    }
    match (codes.is_null(), conditions.is_empty()) {
        (false, false) => {
            errors.invalid_shown(path, "", "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (true, true) => errors.invalid_shown(path, "", "specifying one of OnExitCodes and OnPodConditions is required"),
        (true, false) | (false, true) => {}
    }
}

/// A word that must be there and one of a few.
fn validate_choice(given: &str, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if given.is_empty() {
        let quoted: Vec<String> = allowed.iter().map(|word| go_quoted(word)).collect();
        errors.required(path, &format!("valid values: [{}]", quoted.join(" ")));
    } else if !allowed.contains(&given) {
        errors.not_supported(path, given, allowed);
    }
}

fn validate_exit_codes(codes: &Value, containers: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let operator = text(codes, "operator");
    validate_choice(operator, &["In", "NotIn"], &path.child("operator"), errors);
    if let Some(name) = codes.get("containerName").and_then(Value::as_str).filter(|name| !containers.contains(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid_text(&path.child("containerName"), name, detail);
    }
    let values: Vec<i64> = items(codes, "values").iter().filter_map(Value::as_i64).collect();
    let values_path = path.child("values");
    let shown = if has(codes, "values") { member(codes, "values").to_string() } else { "null".to_owned() };
    if values.is_empty() {
        errors.invalid_shown(&values_path, &shown, "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&values_path, values.len(), EXIT_CODES_MAX);
    }
    for (index, value) in values.iter().enumerate() {
        let path = values_path.index(index);
        if operator == "In" && *value == 0 {
            errors.invalid_int(&path, 0, "must not be 0 for the In operator");
        }
        if values[..index].contains(value) {
            errors.duplicate_shown(&path, &value.to_string(), "");
        }
    }
    if !values.is_sorted() {
        errors.invalid_shown(&values_path, &shown, "must be ordered");
    }
}

/// Checks `successPolicy`.
pub(super) fn validate_success(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let policy = member(spec, "successPolicy");
    if policy.is_null() {
        return;
    }
    if text(spec, "completionMode") != "Indexed" {
        errors.invalid(path, policy, "requires indexed completion mode");
        return;
    }
    let (rules, path) = (items(policy, "rules"), path.child("rules"));
    if rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    let completions = int(spec, "completions").unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        validate_success_rule(rule, completions, &path.index(index), errors);
    }
}

fn validate_success_rule(rule: &Value, completions: i64, path: &Path<'_>, errors: &mut Errors) {
    let indexes = rule.get("succeededIndexes").and_then(Value::as_str);
    let count = int(rule, "succeededCount");
    if indexes.is_none() && count.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(indexes) = indexes {
        let path = path.child("succeededIndexes");
        if indexes.len() > INDEXES_BYTES_MAX {
            errors.too_long(&path, INDEXES_BYTES_MAX);
        }
        match count_indexes(indexes, completions) {
            Ok(named) => total = named,
            Err(why) => errors.invalid_text(&path, indexes, &format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = count else { return };
    validate_non_negative(rule, "succeededCount", path, errors);
    let path = path.child("succeededCount");
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid_int(&path, count, &detail);
    }
    if indexes.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid_int(&path, count, &detail);
    }
}

/// Checks `podReplacementPolicy`.
pub(super) fn validate_replacement(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(policy) = spec.get("podReplacementPolicy").and_then(Value::as_str) else { return };
    let allowed: &[&str] = if has(spec, "podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !allowed.contains(&policy) {
        errors.not_supported(path, policy, allowed);
    }
}
