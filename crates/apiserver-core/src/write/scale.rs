//! The `/scale` subresource (V-133, A-46 to A-50).

use meta::{LabelSelector, Status};
use serde_json::{Value, json};

use crate::kinds::KindDef;
use crate::tree::{at, int, member, object_mut, text};
use crate::validate::{Errors, Path};

/// The `autoscaling/v1 Scale` of a stateful set (or any kind with `spec.replicas` and `spec.selector`).
pub fn scale_of(object: &Value) -> Value {
    let metadata = member(object, "metadata");
    let mut scale_metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(key) {
            scale_metadata[key] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": scale_metadata,
        "spec": {},
        "status": { "replicas": int(member(object, "status"), "replicas").unwrap_or(0) },
    });
    // Both counts are left out when zero in `spec`, as upstream's omitempty does.
    if let Some(replicas) = int(member(object, "spec"), "replicas").filter(|replicas| *replicas != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = LabelSelector::from_object(at(object, &["spec", "selector"]));
    let query = selector.map_or_else(|_| String::new(), |selector| selector.to_string());
    if !query.is_empty() {
        scale["status"]["selector"] = query.into();
    }
    scale
}

/// The object with the replica count of `scale`; decide its update with the subresource `scale`.
///
/// # Errors
/// 409 for another UID or resourceVersion, 400 for another name, 422 for a negative count.
pub fn apply_scale(def: &KindDef, current: &Value, scale: &Value) -> Result<Value, Status> {
    let (stored, given) = (member(current, "metadata"), member(scale, "metadata"));
    let name = text(stored, "name");
    let given_name = text(given, "name");
    if !given_name.is_empty() && given_name != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given_name}) does not match the name on the URL ({name})"
        )));
    }
    let (uid, given_uid) = (text(stored, "uid"), text(given, "uid"));
    if !given_uid.is_empty() && given_uid != uid {
        let why = format!("Precondition failed: UID in precondition: {given_uid}, UID in object meta: {uid}");
        return Err(Status::conflict(&def.kind.resource, name, why));
    }
    let version = text(given, "resourceVersion");
    if !version.is_empty() && version != text(stored, "resourceVersion") {
        return Err(Status::modified(&def.kind.resource, name));
    }
    let replicas = int(member(scale, "spec"), "replicas").unwrap_or(0);
    let mut errors = Errors::new();
    if replicas < 0 {
        let spec = Path::root("spec");
        errors.invalid_int(&spec.child("replicas"), replicas, "must be greater than or equal to 0");
    }
    if let Some(status) = errors.into_status("autoscaling", "Scale", name) {
        return Err(status);
    }
    let mut scaled = current.clone();
    object_mut(&mut scaled, "metadata").remove("resourceVersion");
    object_mut(&mut scaled, "spec").insert("replicas".to_owned(), replicas.into());
    Ok(scaled)
}
