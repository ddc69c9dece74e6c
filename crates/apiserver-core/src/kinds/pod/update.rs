//! What may change in a pod after its creation (K-23).

use serde_json::Value;

use crate::kinds::persistent_volume_claim::with_changes;
use crate::tree::{copy_member, int, items, items_mut, member, remove, set, text};
use crate::validate::{Errors, Path};

const FORBIDDEN_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const SPACE_AROUND: &str = "must not have leading or trailing whitespace";

pub(super) fn validate(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (new_spec, old_spec) = (member(new, "spec"), member(old, "spec"));
    for key in ["containers", "initContainers"] {
        if items(new_spec, key).len() != items(old_spec, key).len() {
            errors.forbidden(&path.child(key), "pod updates may not add or remove containers");
            return;
        }
        validate_images(new_spec, key, &path, errors);
    }
    validate_deadline(new_spec, old_spec, &path, errors);
    validate_tolerations(new_spec, old_spec, &path, errors);
    let mut allowed = old_spec.clone();
    for key in ["containers", "initContainers"] {
        for (container, changed) in items_mut(&mut allowed, key).zip(items(new_spec, key)) {
            copy_member(container, changed, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations"] {
        copy_member(&mut allowed, new_spec, key);
    }
    let grace = "terminationGracePeriodSeconds";
    if int(old_spec, grace).is_some_and(|secs| secs < 0) && int(new_spec, grace) == Some(1) {
        copy_member(&mut allowed, new_spec, grace);
    }
    if !items(old_spec, "schedulingGates").is_empty() {
        allow_while_gated(&mut allowed, new_spec, old_spec);
    }
    if allowed != *new_spec {
        errors.forbidden(&path, &with_changes(FORBIDDEN_CHANGE, &allowed, new_spec));
    }
}

/// Images may change, but may not get empty or spaces around.
pub(super) fn validate_images(spec: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child(key);
    for (index, container) in items(spec, key).iter().enumerate() {
        let (path, image) = (list.index(index), text(container, "image"));
        if image.len() != image.trim().len() {
            errors.invalid_text(&path.child("image"), image, SPACE_AROUND);
        }
    }
}

fn validate_deadline(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = "activeDeadlineSeconds";
    let path = path.child(key);
    match (int(new, key), int(old, key)) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid_int(&path, new, "must be between 0 and 2147483647, inclusive");
        }
        (Some(new), Some(old)) if new > old => {
            errors.invalid_int(&path, new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => {
            errors.invalid(&path, &Value::Null, "must not update from a positive integer to nil value");
        }
        _ => {}
    }
}

/// Tolerations may be added; of those that exist only the time may change.
fn validate_tolerations(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let untimed = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    let new: Vec<Value> = items(new, "tolerations").iter().map(untimed).collect();
    if items(old, "tolerations").iter().any(|toleration| !new.contains(&untimed(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path.child("tolerations"), detail);
    }
}

/// A gated pod may lose gates and get a narrower node selector.
fn allow_while_gated(allowed: &mut Value, new: &Value, old: &Value) {
    let old_gates = items(old, "schedulingGates");
    if items(new, "schedulingGates").iter().all(|gate| old_gates.contains(gate)) {
        copy_member(allowed, new, "schedulingGates");
    }
    let old_selector = member(old, "nodeSelector");
    let narrower = old_selector
        .as_object()
        .is_none_or(|old| old.iter().all(|(key, value)| member(new, "nodeSelector").get(key) == Some(value)));
    if narrower && new.get("nodeSelector").is_some() {
        set(allowed, "nodeSelector", member(new, "nodeSelector").clone());
    }
}
