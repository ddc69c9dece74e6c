//! Living with the annotation of client-side apply (P-54, P-57).

use serde_json::Value;

use super::annotations;
use crate::patch::fields::{FieldSet, difference, stated};
use crate::patch::place::Place;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Most bytes of all annotations of one object.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// The fields that client-side apply wrote and that still have its values: kubectl may take these without `--force`.
pub(super) fn allowed_conflicts(place: Place, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotations(live)?.get(ANNOTATION)?.as_str()?).ok()?;
    let root = Some(place);
    let mut allowed = stated(root, &last);
    let found = difference(root, Some(&last), Some(live));
    allowed.subtract(&found.changed);
    allowed.subtract(&found.removed);
    Some(allowed)
}

/// Writes the configuration into the annotation if the object has it, so that a later client-side apply knows.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotations(object).is_none_or(|all| !all.contains_key(ANNOTATION)) {
        return;
    }
    let mut config = config.clone();
    if let Some(all) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        all.remove(ANNOTATION);
    }
    let text = format!("{config}\n");
    let Some(all) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    let others: usize =
        all.iter().filter(|(name, _)| *name != ANNOTATION).map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if others + ANNOTATION.len() + text.len() > ANNOTATION_BYTES_MAX {
        all.remove(ANNOTATION);
    } else {
        all.insert(ANNOTATION.to_owned(), Value::String(text));
    }
}
