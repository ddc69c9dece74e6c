//! What kinds with a pod template have in common: selectors, templates, amounts that may be percentages.

use meta::LabelSelector;
use serde_json::Value;

use super::{cells, pod};
use crate::tree::{at, child_mut, has, int, member, text};
use crate::validate::metadata::{validate_immutable, validate_non_negative};
use crate::validate::{Errors, Path, names, selector};

/// Checks the selector and template of a ReplicaSet's or Deployment's spec; upstream's texts are the same for both.
pub(super) fn validate_replicas_of(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (wanted, selector_path) = (member(spec, "selector"), path.child("selector"));
    if wanted.is_null() {
        errors.required(&selector_path, "");
    } else {
        selector::validate(wanted, &selector_path, errors);
        if is_empty(wanted) {
            errors.invalid_shown(&selector_path, &selector::shown(wanted), "empty selector is invalid for deployment");
        }
    }
    let Some(selector) = selector_of(wanted) else {
        errors.invalid_shown(&selector_path, &selector::shown(wanted), "invalid label selector");
        return;
    };
    let template_path = path.child("template");
    let template = member(spec, "template");
    if !selector.selects_everything() {
        validate_labels_match(template, &selector, &template_path, errors);
    }
    validate_template(template, &template_path, errors);
    validate_runs_always(template, "ReplicaSet", &template_path, errors);
}

/// What a selector asks for; absent, it asks for what nothing has. `None` if it is broken.
pub(super) fn selector_of(wanted: &Value) -> Option<LabelSelector> {
    if wanted.is_null() { Some(LabelSelector::nothing()) } else { LabelSelector::from_object(wanted).ok() }
}

/// True for a selector that is there and asks for nothing.
pub(super) fn is_empty(wanted: &Value) -> bool {
    !wanted.is_null() && selector_of(wanted).is_some_and(|selector| selector.selects_everything())
}

/// The template's labels must meet the selector.
pub(super) fn validate_labels_match(template: &Value, selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    let labels = at(template, &["metadata", "labels"]);
    if !selector.matches(&labels.as_object()) {
        let path = path.child("metadata");
        errors.invalid_shown(&path.child("labels"), &labels.to_string(), "`selector` does not match template `labels`");
    }
}

/// Fills in what a spec's pod template leaves out.
pub(super) fn default_template(spec: &mut Value) {
    api::defaults::pod_template(child_mut(spec, "template"));
}

/// Checks a pod template.
pub(super) fn validate_template(template: &Value, path: &Path<'_>, errors: &mut Errors) {
    pod::validate_template(member(template, "metadata"), member(template, "spec"), path, errors);
}

/// Pods that are replaced when they end restart always, and have no end of their own.
pub(super) fn validate_runs_always(template: &Value, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let (spec, spec_path) = (member(template, "spec"), path.child("spec"));
    let restart = text(spec, "restartPolicy");
    if restart != "Always" {
        errors.not_supported(&spec_path.child("restartPolicy"), restart, &["Always"]);
    }
    if has(spec, "activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&spec_path.child("activeDeadlineSeconds"), &detail);
    }
}

/// A selector never changes.
pub(super) fn validate_same_selector(new: &Value, old: &Value, errors: &mut Errors) {
    let spec = Path::root("spec");
    let (new, old) = (at(new, &["spec", "selector"]), at(old, &["spec", "selector"]));
    if new == old {
        return;
    }
    match new {
        Value::Null => validate_immutable(new, old, &spec.child("selector"), errors),
        new => errors.invalid_shown(&spec.child("selector"), &selector::shown(new), "field is immutable"),
    }
}

/// Checks a whole number that is not negative, or a percentage.
pub(super) fn validate_amount(parent: &Value, key: &str, parent_path: &Path<'_>, errors: &mut Errors) {
    match parent.get(key) {
        Some(Value::String(text)) => errors.invalid_each(&parent_path.child(key), text, names::percent(text)),
        _ => validate_non_negative(parent, key, parent_path, errors),
    }
}

/// A percentage may be 100 at most.
pub(super) fn validate_at_most_all(parent: &Value, key: &str, parent_path: &Path<'_>, errors: &mut Errors) {
    if percent(member(parent, key)).is_some_and(|percent| percent > 100) {
        errors.invalid(&parent_path.child(key), member(parent, key), "must not be greater than 100%");
    }
}

/// The number in a number or a percentage; 0 for anything else.
pub(super) fn amount(value: &Value) -> i64 {
    percent(value).or_else(|| value.as_i64()).unwrap_or(0)
}

fn percent(value: &Value) -> Option<i64> {
    let text = value.as_str().filter(|text| names::percent(text).is_empty())?;
    Some(text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}

/// A strategy as upstream's errors show it: in its internal form.
pub(super) fn shown_strategy(kind: &str, rolling: &Value) -> String {
    let rolling = match rolling {
        Value::Null => "null".to_owned(),
        rolling => {
            let part = |key: &str| rolling.get(key).map_or_else(|| "0".to_owned(), Value::to_string);
            format!("{{\"MaxUnavailable\":{},\"MaxSurge\":{}}}", part("maxUnavailable"), part("maxSurge"))
        }
    };
    format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", Value::from(kind))
}

/// Counters of a status are not negative.
pub(super) fn validate_counters(status: &Value, keys: &[&str], errors: &mut Errors) {
    let path = Path::root("status");
    for key in keys {
        validate_non_negative(status, key, &path, errors);
    }
}

/// None of the counters is greater than `replicas`, and what is available is ready.
pub(super) fn validate_parts(status: &Value, keys: &[&str], errors: &mut Errors) {
    let path = Path::root("status");
    let count = |key: &str| int(status, key).unwrap_or(0);
    for key in keys {
        if count(key) > count("replicas") {
            errors.invalid_int(&path.child(key), count(key), "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let available = count("availableReplicas");
        errors.invalid_int(&path.child("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

/// `status.collisionCount` only grows.
pub(super) fn validate_collisions(new: &Value, old: &Value, errors: &mut Errors) {
    let count = |object: &Value| int(member(object, "status"), "collisionCount");
    if count(old).is_some_and(|before| count(new).unwrap_or(0) < before) {
        let path = Path::root("status");
        errors.invalid_int(&path.child("collisionCount"), count(new).unwrap_or(0), "cannot be decremented");
    }
}

/// Warns of a name that pods cannot have as their host name.
pub(super) fn warn_name(object: &Value, warnings: &mut Vec<String>) {
    let problems = names::dns_label(text(member(object, "metadata"), "name"));
    if !problems.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
             label is recommended: [{}]",
            problems.join(" ")
        ));
    }
}

/// Warns of what is in the template.
pub(super) fn warn_template(object: &Value, warnings: &mut Vec<String>) {
    pod::warn_spec(at(object, &["spec", "template", "spec"]), "spec.template.spec", warnings);
}

/// A selector as the wide columns show it.
pub(super) fn selector_cell(wanted: &Value) -> Value {
    match selector_of(wanted) {
        None => "<error>".into(),
        Some(selector) => cells::or_none(&selector.to_string()),
    }
}
