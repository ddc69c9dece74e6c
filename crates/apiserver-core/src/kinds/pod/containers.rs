//! Containers: names, images, resources, security.

use meta::Quantity;
use serde_json::Value;

use super::resource_names::{is_hugepages, is_native, validate_container_resource};
use super::{environment, ports, probes, security, volumes};
use crate::kinds::persistent_volume_claim::quantity;
use crate::tree::{has, items, member, text};
use crate::validate::{Errors, Path, names};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];

/// Checks `containers` and `initContainers`.
pub(super) fn validate(spec: &Value, good_volumes: &[&str], grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    let containers = items(spec, "containers");
    let list = path.child("containers");
    if containers.is_empty() {
        errors.required(&list, "");
    }
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        validate_common(container, good_volumes, &path, errors);
        let name = text(container, "name");
        if containers[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate_text(&path.child("name"), name);
        }
        probes::validate_lifecycle(container, grace_secs, &path, errors);
        probes::validate_all(container, grace_secs, &path, errors);
        if has(container, "restartPolicy") {
            errors.forbidden(&path.child("restartPolicy"), "may not be set for non-init containers");
        }
    }
    ports::validate_host_ports(containers, &list, errors);
    validate_init(spec, good_volumes, grace_secs, path, errors);
}

fn validate_init(spec: &Value, good_volumes: &[&str], grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    let containers = items(spec, "initContainers");
    let list = path.child("initContainers");
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        validate_common(container, good_volumes, &path, errors);
        let name = text(container, "name");
        let is_same = |other: &Value| text(other, "name") == name && !name.is_empty();
        if items(spec, "containers").iter().any(is_same) || containers[..index].iter().any(is_same) {
            errors.duplicate_text(&path.child("name"), name);
        }
        match text(container, "restartPolicy") {
            "Always" => {
                probes::validate_lifecycle(container, grace_secs, &path, errors);
                probes::validate_all(container, grace_secs, &path, errors);
                continue;
            }
            "" => {}
            other => errors.not_supported(&path.child("restartPolicy"), other, &["Always"]),
        }
        for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if has(container, key) {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&path.child(key), detail);
            }
        }
    }
}

fn validate_common(container: &Value, good_volumes: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let name = text(container, "name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_each(&path.child("name"), name, names::dns_label(name));
    }
    if text(container, "image").is_empty() {
        errors.required(&path.child("image"), "");
    }
    match text(container, "terminationMessagePolicy") {
        "" => errors.required(&path.child("terminationMessagePolicy"), ""),
        "File" | "FallbackToLogsOnError" => {}
        other => {
            let allowed = &["FallbackToLogsOnError", "File"];
            errors.not_supported(&path.child("terminationMessagePolicy"), other, allowed);
        }
    }
    ports::validate(container, &path.child("ports"), errors);
    environment::validate_env(container, &path.child("env"), errors);
    environment::validate_env_from(container, &path.child("envFrom"), errors);
    volumes::validate_mounts(container, good_volumes, path, errors);
    match text(container, "imagePullPolicy") {
        "" => errors.required(&path.child("imagePullPolicy"), ""),
        known if PULL_POLICIES.contains(&known) => {}
        other => errors.not_supported(&path.child("imagePullPolicy"), other, PULL_POLICIES),
    }
    validate_resources(member(container, "resources"), &path.child("resources"), errors);
    security::validate_container(member(container, "securityContext"), &path.child("securityContext"), errors);
}

/// Requests and limits: known names, no negative amounts, no request above its limit.
pub(super) fn validate_resources(resources: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (limits, requests) = (member(resources, "limits"), member(resources, "requests"));
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    for name in limits.as_object().into_iter().flat_map(|list| list.keys()) {
        validate_amount(limits, name, &limits_path.key(name), errors);
    }
    for name in requests.as_object().into_iter().flat_map(|list| list.keys()) {
        validate_amount(requests, name, &requests_path.key(name), errors);
        let Some(request) = quantity(requests, name) else { continue };
        match quantity(limits, name) {
            Some(limit) if request != limit && !may_overcommit(name) => {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.invalid_text(&requests_path, &request.to_string(), &detail);
            }
            Some(limit) if request > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid_text(&requests_path, &request.to_string(), &detail);
            }
            None if !may_overcommit(name) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
}

fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_hugepages(name)
}

fn validate_amount(list: &Value, name: &str, path: &Path<'_>, errors: &mut Errors) {
    validate_container_resource(name, path, errors);
    let Some(amount) = quantity(list, name) else { return };
    validate_amount_value(name, amount, path, errors);
}

fn validate_amount_value(name: &str, amount: Quantity, path: &Path<'_>, errors: &mut Errors) {
    if amount.is_negative() {
        errors.invalid_text(path, &amount.to_string(), "must be greater than or equal to 0");
    }
    if !is_native(name) && !amount.is_whole() {
        errors.invalid_text(path, &amount.to_string(), "must be an integer");
    }
}
