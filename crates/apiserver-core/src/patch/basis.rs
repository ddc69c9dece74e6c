//! Patches of stored objects, which need not see the whole object.

use std::sync::LazyLock;

use meta::Status;
use serde_json::{Value, json};

use super::merge::{copy_without, merge_copy};
use super::place::Place;
use super::strategic::strategic_patch;

/// Nothing.
static NOTHING: LazyLock<Value> = LazyLock::new(|| json!({}));
/// Members that no patch needs to see unless it names them.
static UNSEEN: LazyLock<Value> = LazyLock::new(|| json!({"metadata": {"managedFields": null}}));
/// The same for a patch of the status.
static UNSEEN_BY_STATUS: LazyLock<Value> = LazyLock::new(|| json!({"metadata": {"managedFields": null}, "spec": null}));

/// What a merge patch or strategic merge patch may leave out of the object that it is applied to, as a mask of nulls:
/// the write puts it back as it is stored. That is the record of managers (P-51) and, on `/status`, the spec (V-131);
/// both are larger than most statuses. A patch that names them, or replaces the whole object, sees them.
fn unseen_by(patch: &Value, subresource: &str) -> &'static Value {
    let Some(patch) = patch.as_object() else { return &NOTHING };
    // Directives name their field behind a slash.
    let is_record = |name: &String| name.ends_with("managedFields");
    let metadata = patch.get("metadata").and_then(Value::as_object);
    if patch.contains_key("$patch") || metadata.is_some_and(|metadata| metadata.keys().any(is_record)) {
        return &NOTHING;
    }
    match subresource {
        "" => &UNSEEN,
        "status" if patch.keys().any(|name| name.ends_with("spec")) => &UNSEEN,
        "status" => &UNSEEN_BY_STATUS,
        _ => &NOTHING,
    }
}

/// [`super::merge_patch`] of a stored object through a subresource (empty for the object itself), without what the
/// write puts back as it is stored.
pub fn merge_patch_object(current: &Value, patch: &Value, subresource: &str) -> Value {
    merge_copy(copy_without(current, &[patch, unseen_by(patch, subresource)]), patch)
}

/// [`strategic_patch`] of a stored object through a subresource (empty for the object itself), without what the write
/// puts back as it is stored.
///
/// # Errors
/// As [`strategic_patch`].
pub fn strategic_patch_object(
    place: Place,
    current: &Value,
    patch: &Value,
    subresource: &str,
) -> Result<Value, Status> {
    strategic_patch(place, copy_without(current, &[unseen_by(patch, subresource)]), patch.clone())
}
