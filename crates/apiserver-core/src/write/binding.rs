//! `POST pods/x/binding`: a pod gets its node, once (K-32).

use meta::{ResourceId, Status, Timestamp};
use serde_json::{Value, json};

use super::create::time_text;
use crate::tree::{as_object_mut, has, items, member, object_mut, text};
use crate::validate::{Errors, Path};

const PODS_BINDING: ResourceId = ResourceId::of("", "v1", "pods/binding");

/// The pod with its node; store it over `pod`.
///
/// # Errors
/// 422 for a target that is no node, 409 where the pod cannot be bound (any more).
pub fn decide_binding(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Status> {
    let metadata = member(pod, "metadata");
    let name = text(metadata, "name");
    let node = checked_target(binding, name)?;
    let conflict = |why: String| Err(Status::conflict(&PODS_BINDING, name, why));
    let given = member(binding, "metadata");
    let (uid, given_uid) = (text(metadata, "uid"), text(given, "uid"));
    if !given_uid.is_empty() && given_uid != uid {
        return conflict(format!("Precondition failed: UID in precondition: {given_uid}, UID in object meta: {uid}"));
    }
    let (version, given_version) = (text(metadata, "resourceVersion"), text(given, "resourceVersion"));
    if !given_version.is_empty() && given_version != version {
        return conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {given_version}, ResourceVersion in object meta: \
             {version}"
        ));
    }
    if has(metadata, "deletionTimestamp") {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = member(pod, "spec");
    let assigned = text(spec, "nodeName");
    if !assigned.is_empty() {
        return conflict(format!("pod {name} is already assigned to node \"{assigned}\""));
    }
    if !items(spec, "schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut bound = pod.clone();
    copy_annotations(&mut bound, given);
    object_mut(&mut bound, "spec").insert("nodeName".to_owned(), node.into());
    set_scheduled(&mut bound, now);
    Ok(bound)
}

fn checked_target<'a>(binding: &'a Value, pod: &str) -> Result<&'a str, Status> {
    let target = member(binding, "target");
    let path = Path::root("target");
    let mut errors = Errors::new();
    let kind = text(target, "kind");
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&path.child("kind"), kind, &["Node", "<empty>"]);
    }
    let name = text(target, "name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    match errors.into_status("", "Binding", pod) {
        Some(status) => Err(status),
        None => Ok(name),
    }
}

fn copy_annotations(pod: &mut Value, binding: &Value) {
    let metadata = object_mut(pod, "metadata");
    metadata.remove("resourceVersion");
    for key in ["annotations", "labels"] {
        let Some(Value::Object(given)) = binding.get(key) else { continue };
        let kept = as_object_mut(metadata.entry(key).or_insert_with(|| json!({})));
        for (name, value) in given {
            kept.insert(name.clone(), value.clone());
        }
    }
}

fn set_scheduled(pod: &mut Value, now: Timestamp) {
    let generation = member(pod, "metadata").get("generation").cloned();
    let status = object_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let mut condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": time_text(now),
    });
    if let Some(generation) = generation {
        condition["observedGeneration"] = generation;
    }
    if let Value::Array(conditions) = conditions {
        conditions.retain(|old| text(old, "type") != "PodScheduled");
        conditions.push(condition);
    }
}
