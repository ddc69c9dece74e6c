//! Security contexts of pods and containers.

use serde_json::Value;

use super::volumes::validate_descending;
use crate::tree::{flag, has, int, items, member, text};
use crate::validate::{Errors, Path, names};

/// `securityContext` of a container.
pub(super) fn validate_container(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    if context.is_null() {
        return;
    }
    validate_ids(context, &["runAsUser", "runAsGroup"], path, errors);
    validate_seccomp(context, path, errors);
    match text(context, "procMount") {
        "" | "Default" | "Unmasked" => {}
        other => errors.not_supported(&path.child("procMount"), other, &["Default", "Unmasked"]),
    }
    let escalation_refused = context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false));
    if !escalation_refused {
        return;
    }
    if flag(context, "privileged") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path, context, detail);
    }
    let added = items(member(context, "capabilities"), "add");
    if added.iter().any(|capability| capability == "CAP_SYS_ADMIN" || capability == "SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(path, context, detail);
    }
}

/// `securityContext` of a pod.
pub(super) fn validate_pod(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let context = member(spec, "securityContext");
    let path = path.child("securityContext");
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), &true.into(), detail);
    }
    if context.is_null() {
        return;
    }
    validate_ids(context, &["runAsUser", "runAsGroup", "fsGroup"], &path, errors);
    let groups = path.child("supplementalGroups");
    for (index, group) in items(context, "supplementalGroups").iter().filter_map(Value::as_i64).enumerate() {
        if let Some(message) = names::user_id(group) {
            errors.invalid_int(&groups.index(index), group, &message);
        }
    }
    let words: [(&str, &[&str]); 2] =
        [("fsGroupChangePolicy", &["Always", "OnRootMismatch"]), ("supplementalGroupsPolicy", &["Merge", "Strict"])];
    for (key, allowed) in words {
        let word = text(context, key);
        if !word.is_empty() && !allowed.contains(&word) {
            errors.not_supported(&path.child(key), word, allowed);
        }
    }
    validate_sysctls(context, &path.child("sysctls"), errors);
    validate_seccomp(context, &path, errors);
}

fn validate_ids(context: &Value, keys: &[&str], path: &Path<'_>, errors: &mut Errors) {
    for key in keys {
        if let Some(id) = int(context, key)
            && let Some(message) = names::user_id(id)
        {
            errors.invalid_int(&path.child(key), id, &message);
        }
    }
}

fn validate_sysctls(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    let sysctls = items(context, "sysctls");
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if sysctls[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate_text(&path.child("name"), name);
        }
    }
}

fn validate_seccomp(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !has(context, "seccompProfile") {
        return;
    }
    let (profile, path) = (member(context, "seccompProfile"), path.child("seccompProfile"));
    let file = text(profile, "localhostProfile");
    let file_path = path.child("localhostProfile");
    match text(profile, "type") {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        "Localhost" if file.is_empty() => {
            errors.required(&file_path, "must be set when seccomp type is Localhost");
        }
        "Localhost" => validate_descending(file, &file_path, errors),
        "RuntimeDefault" | "Unconfined" => {
            if !file.is_empty() {
                errors.invalid(&file_path, profile, "can only be set when seccomp type is Localhost");
            }
        }
        other => errors.not_supported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}
