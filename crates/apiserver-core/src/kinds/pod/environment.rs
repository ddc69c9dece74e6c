//! Environment variables and where their values come from.

use meta::Quantity;
use serde_json::Value;

use crate::tree::{has, items, member, text};
use crate::validate::{Errors, Path, names};

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that files of the downward API may show.
pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that exist at all; others are no fields of a pod.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const CPU_DIVISORS: &[&str] = &["1m", "1"];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// `env` of a container.
pub(super) fn validate_env(container: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, variable) in items(container, "env").iter().enumerate() {
        let path = path.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_each(&path.child("name"), name, names::env_name(name));
        }
        if has(variable, "valueFrom") {
            validate_source(variable, &path.child("valueFrom"), errors);
        }
    }
}

fn validate_source(variable: &Value, path: &Path<'_>, errors: &mut Errors) {
    let source = member(variable, "valueFrom");
    let mut given = 0;
    if has(source, "fieldRef") {
        given += 1;
        validate_field_ref(member(source, "fieldRef"), FIELDS, &path.child("fieldRef"), errors);
    }
    if has(source, "resourceFieldRef") {
        given += 1;
        validate_resource_ref(member(source, "resourceFieldRef"), Where::Env, &path.child("resourceFieldRef"), errors);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if has(source, key) {
            given += 1;
            let (reference, path) = (member(source, key), path.child(key));
            let wanted = text(reference, "key");
            if wanted.is_empty() {
                errors.required(&path.child("key"), "");
            } else {
                errors.invalid_each(&path.child("key"), wanted, names::config_key(wanted));
            }
        }
    }
    if given == 0 {
        errors.invalid_text(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        );
    } else if !text(variable, "value").is_empty() {
        errors.invalid_text(path, "", "may not be specified when `value` is not empty");
    } else if given > 1 {
        errors.invalid_text(path, "", "may not have more than one field specified at a time");
    }
}

/// A field of the pod itself.
pub(super) fn validate_field_ref(reference: &Value, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if text(reference, "apiVersion").is_empty() {
        errors.required(&path.child("apiVersion"), "");
        return;
    }
    let field = text(reference, "fieldPath");
    let field_path = path.child("fieldPath");
    if field.is_empty() {
        errors.required(&field_path, "");
        return;
    }
    if let Some((map, key)) = field.strip_suffix("']").and_then(|field| field.split_once("['")) {
        match map {
            "metadata.annotations" => errors.invalid_each(path, key, names::qualified_name(&key.to_lowercase())),
            "metadata.labels" => errors.invalid_each(path, key, names::qualified_name(key)),
            other => errors.invalid_text(path, other, "does not support subscript"),
        }
    } else if !KNOWN_FIELDS.contains(&field) {
        let detail = format!("error converting fieldPath: field label not supported: {field}");
        errors.invalid_text(&field_path, field, &detail);
    } else if !allowed.contains(&field) {
        errors.not_supported(&field_path, field, allowed);
    }
}

/// Where a resource reference stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In the environment of the container it speaks of.
    Env,
    /// In a volume, so that it has to name the container.
    Volume,
}

/// A limit or request of a container.
pub(super) fn validate_resource_ref(reference: &Value, place: Where, path: &Path<'_>, errors: &mut Errors) {
    let resource = text(reference, "resource");
    if place == Where::Volume && text(reference, "containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !is_hugepages(resource) {
        errors.not_supported(&path.child("resource"), resource, RESOURCES);
    }
    let divisor = text(reference, "divisor");
    let Ok(amount) = Quantity::parse(if divisor.is_empty() { "0" } else { divisor }) else { return };
    let (allowed, what) = match resource.rsplit('.').next().unwrap_or_default() {
        "cpu" => (CPU_DIVISORS, "cpu"),
        "memory" => (BYTE_DIVISORS, "memory"),
        "ephemeral-storage" => (BYTE_DIVISORS, "local ephemeral storage"),
        _ => return,
    };
    if !amount.is_zero() && !allowed.iter().any(|one| Quantity::parse(one) == Ok(amount)) {
        let values = match allowed.split_last() {
            Some((last, rest)) if rest.len() == 1 => format!("{} and {last}", rest.join(", ")),
            _ => allowed.join(", "),
        };
        let detail = format!("only divisor's values {values} are supported with the {what} resource");
        errors.invalid_text(&path.child("divisor"), resource, &detail);
    }
}

fn is_hugepages(resource: &str) -> bool {
    resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-")
}

/// `envFrom` of a container.
pub(super) fn validate_env_from(container: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, source) in items(container, "envFrom").iter().enumerate() {
        let item = path.index(index);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            errors.invalid_each(&item.child("prefix"), prefix, names::env_name(prefix));
        }
        let mut given = 0;
        for key in ["configMapRef", "secretRef"] {
            if !has(source, key) {
                continue;
            }
            given += 1;
            let name = text(member(source, key), "name");
            let path = item.child(key);
            if name.is_empty() {
                errors.required(&path.child("name"), "");
            } else {
                errors.invalid_each(&path.child("name"), name, names::dns_subdomain(name));
            }
        }
        match given {
            0 => errors.invalid_text(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_text(path, "", "may not have more than one field specified at a time"),
        }
    }
}
