//! Label selectors inside objects: whether they are well formed. What they match is `meta`'s.

use serde_json::Value;

use super::field::{Errors, Path};
use super::metadata::validate_labels;
use super::names;
use crate::tree::{items, text};

/// Checks a `LabelSelector`.
pub fn validate(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    validate_labels(selector, "matchLabels", path, errors);
    let expressions = path.child("matchExpressions");
    for (index, expression) in items(selector, "matchExpressions").iter().enumerate() {
        validate_expression(expression, &expressions.index(index), errors);
    }
}

fn validate_expression(expression: &Value, path: &Path<'_>, errors: &mut Errors) {
    let values = items(expression, "values");
    match text(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid_text(&path.child("operator"), other, "not a valid selector operator"),
    }
    let key = text(expression, "key");
    errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        errors.invalid_each(&path.child("values").index(index), value, names::label_value(value));
    }
}

/// The selector as upstream's errors show it: labels before expressions.
pub fn shown(selector: &Value) -> String {
    let parts: Vec<String> = ["matchLabels", "matchExpressions"]
        .iter()
        .filter_map(|key| Some(format!("\"{key}\":{}", selector.get(*key)?)))
        .collect();
    format!("{{{}}}", parts.join(","))
}
