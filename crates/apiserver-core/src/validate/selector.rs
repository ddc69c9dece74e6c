//! Label selectors inside objects: whether they are well formed, and whether they match.

use serde_json::Value;

use super::field::{Errors, Path};
use super::metadata::validate_labels;
use super::names;
use crate::tree::{entries, items, text};

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

/// True if neither labels nor expressions are given.
pub fn is_empty(selector: &Value) -> bool {
    entries(selector, "matchLabels").next().is_none() && items(selector, "matchExpressions").is_empty()
}

/// True if the selector says something that can be asked.
pub fn is_well_formed(selector: &Value) -> bool {
    let mut errors = Errors::new();
    validate(selector, &Path::root("selector"), &mut errors);
    errors.is_empty()
}

/// The selector as upstream's errors show it: labels before expressions.
pub fn shown(selector: &Value) -> String {
    let parts: Vec<String> = ["matchLabels", "matchExpressions"]
        .iter()
        .filter_map(|key| Some(format!("\"{key}\":{}", selector.get(*key)?)))
        .collect();
    format!("{{{}}}", parts.join(","))
}

/// True if the labels satisfy the selector. An empty selector matches everything, an unknown operator nothing.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    entries(selector, "matchLabels").all(|(key, value)| label(key) == Some(value))
        && items(selector, "matchExpressions").iter().all(|expression| {
            let value = label(text(expression, "key"));
            let listed = value.is_some_and(|value| items(expression, "values").iter().any(|item| item == value));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// The selector in the form of a query: `a=b,c in (d,e),!f` (V-133).
pub fn to_query(selector: &Value) -> String {
    let mut requirements: Vec<(String, String)> =
        entries(selector, "matchLabels").map(|(key, value)| (key.to_owned(), format!("{key}={value}"))).collect();
    for expression in items(selector, "matchExpressions") {
        let key = text(expression, "key");
        let mut values: Vec<&str> = items(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let requirement = match text(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        requirements.push((key.to_owned(), requirement));
    }
    requirements.sort_by(|a, b| a.0.cmp(&b.0));
    let requirements: Vec<String> = requirements.into_iter().map(|(_, requirement)| requirement).collect();
    requirements.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_and_print() {
        let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]},
            {"key": "d", "operator": "DoesNotExist"},
        ]});
        assert_eq!(to_query(&selector), "a=1,b=2,c in (x,y),!d");
        assert!(matches(&selector, &json!({"a": "1", "b": "2", "c": "x"})));
        assert!(!matches(&selector, &json!({"a": "1", "b": "2", "c": "z"})));
        assert!(!matches(&selector, &json!({"a": "1", "b": "2", "c": "x", "d": ""})));
        assert!(is_empty(&json!({})) && matches(&json!({}), &json!({})));
    }
}
