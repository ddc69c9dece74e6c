//! The rules of standard conditions (`metav1.Condition`).

use serde_json::Value;

use super::field::{Errors, Path};
use super::names;
use crate::tree::{has, int, items, text};

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
const REASON_RULE: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
    alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or \
    'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
    '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// Checks the `conditions` of a status.
pub(crate) fn validate_conditions(status: &Value, path: &Path<'_>, errors: &mut Errors) {
    let conditions = items(status, "conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let (path, kind) = (path.index(index), text(condition, "type"));
        if conditions[..index].iter().any(|other| text(other, "type") == kind) {
            errors.duplicate_text(&path, kind);
        }
        validate_condition(condition, &path, errors);
    }
}

fn validate_condition(condition: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(condition, "type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "is required");
    } else {
        errors.invalid_each(&path.child("type"), kind, names::qualified_name(kind));
    }
    match text(condition, "status") {
        "" => errors.required(&path.child("status"), ""),
        "True" | "False" | "Unknown" => {}
        other => errors.not_supported(&path.child("status"), other, &["False", "True", "Unknown"]),
    }
    if let Some(generation) = int(condition, "observedGeneration").filter(|generation| *generation < 0) {
        let path = path.child("observedGeneration");
        errors.invalid_int(&path, generation, "must be greater than or equal to zero");
    }
    if !has(condition, "lastTransitionTime") {
        errors.required(&path.child("lastTransitionTime"), "");
    }
    let reason = text(condition, "reason");
    if reason.is_empty() {
        errors.required(&path.child("reason"), "");
    } else if !is_reason(reason) {
        errors.invalid_text(&path.child("reason"), reason, REASON_RULE);
    }
    if reason.len() > REASON_BYTES_MAX {
        errors.too_long(&path.child("reason"), REASON_BYTES_MAX);
    }
    if text(condition, "message").len() > MESSAGE_BYTES_MAX {
        errors.too_long(&path.child("message"), MESSAGE_BYTES_MAX);
    }
}

fn is_reason(reason: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    reason.starts_with(|first: char| first.is_ascii_alphabetic())
        && reason.bytes().last().is_some_and(word)
        && reason.bytes().all(|byte| word(byte) || matches!(byte, b',' | b':'))
}
