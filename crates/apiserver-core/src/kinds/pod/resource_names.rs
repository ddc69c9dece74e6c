//! Names of resources: what containers may ask for, and what means something elsewhere.

use crate::validate::{Errors, Path, names};

const OF_CONTAINERS: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Names without a prefix that mean something somewhere.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "storage",
    "pods",
    "services",
    "services.nodeports",
    "services.loadbalancers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
];

/// Checks the name of a resource of any kind.
pub(in crate::kinds) fn validate_resource(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let problems = names::qualified_name(name);
    if problems.is_empty() && !name.contains('/') && !is_standard(name) {
        errors.invalid_text(path, name, "must be a standard resource type or fully qualified");
    }
    errors.invalid_each(path, name, problems);
}

/// Checks the name of a resource that containers ask for.
pub(in crate::kinds) fn validate_container_resource(name: &str, path: &Path<'_>, errors: &mut Errors) {
    validate_resource(name, path, errors);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_hugepages(name) {
            errors.invalid_text(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && name.starts_with("requests.") {
        errors.invalid_text(path, name, "doesn't follow extended resource name standard");
    }
}

/// True for what upstream itself counts.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// True for huge pages of some size.
pub(super) fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_hugepages(name) || name.starts_with("requests.") || name.starts_with("limits.")
}
