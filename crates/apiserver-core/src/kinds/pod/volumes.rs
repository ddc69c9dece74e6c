//! Volumes of a pod and their mounts.

use meta::Quantity;
use serde_json::Value;

use super::environment::{FILE_FIELDS, Where, validate_field_ref, validate_resource_ref};
use crate::tree::{flag, has, int, items, member, text};
use crate::validate::{Errors, Path, names};

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const TOKEN_SECS_MIN: i64 = 600;
const TOKEN_SECS_MAX: i64 = 1 << 32;

/// Checks `volumes`; returns the names of those that are fine, which is what mounts may name.
pub(super) fn validate<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Errors) -> Vec<&'a str> {
    let mut good: Vec<&str> = Vec::new();
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let path = path.index(index);
        let name = text(volume, "name");
        let before = errors.len();
        validate_source(volume, &path, errors);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_each(&path.child("name"), name, names::dns_label(name));
        }
        if good.contains(&name) {
            errors.duplicate_text(&path.child("name"), name);
        }
        if errors.len() == before {
            good.push(name);
        }
    }
    good
}

fn validate_source(volume: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(members) = volume.as_object() else { return };
    let sources: Vec<&String> = members.keys().filter(|key| *key != "name" && !members[*key].is_null()).collect();
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for (index, kind) in sources.iter().enumerate() {
        let path = path.child(kind);
        if index > 0 {
            errors.forbidden(&path, "may not specify more than 1 volume type");
            continue;
        }
        let source = &members[*kind];
        match kind.as_str() {
            "emptyDir" => validate_empty_dir(source, &path, errors),
            "hostPath" => validate_host_path(source, &path, errors),
            "secret" => validate_files(source, "secretName", &path, errors),
            "configMap" => validate_files(source, "name", &path, errors),
            "persistentVolumeClaim" => validate_name(source, "claimName", &path, errors),
            "downwardAPI" => {
                validate_mode(source, "defaultMode", &path, errors);
                validate_downward_items(source, &path, errors);
            }
            "projected" => validate_projected(source, &path, errors),
            "nfs" => {
                validate_name(source, "server", &path, errors);
                validate_name(source, "path", &path, errors);
                if !text(source, "path").is_empty() && !text(source, "path").starts_with('/') {
                    errors.invalid_text(&path.child("path"), text(source, "path"), "must be an absolute path");
                }
            }
            "csi" => validate_name(source, "driver", &path, errors),
            // The others are accepted as they are; the node says that it cannot mount them.
            _ => {}
        }
    }
}

fn validate_name(source: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if text(source, key).is_empty() {
        errors.required(&path.child(key), "");
    }
}

fn validate_empty_dir(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let size = Quantity::parse(text(source, "sizeLimit"));
    if size.is_ok_and(|size| size.is_negative()) {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn validate_host_path(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let location = text(source, "path");
    if location.is_empty() {
        errors.required(&path.child("path"), "");
        return;
    }
    no_steps_back(location, &path.child("path"), errors);
    let kind = text(source, "type");
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, HOST_PATH_TYPES);
    }
}

fn validate_files(source: &Value, name: &str, path: &Path<'_>, errors: &mut Errors) {
    validate_name(source, name, path, errors);
    validate_mode(source, "defaultMode", path, errors);
    validate_key_items(source, path, errors);
}

fn validate_mode(source: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = int(source, key).filter(|mode| !(0..=0o777).contains(mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid_int(&path.child(key), mode, detail);
    }
}

fn validate_key_items(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("items");
    for (index, item) in items(source, "items").iter().enumerate() {
        let path = path.index(index);
        validate_name(item, "key", &path, errors);
        validate_file_path(item, &path, errors);
        validate_mode(item, "mode", &path, errors);
    }
}

fn validate_file_path(item: &Value, path: &Path<'_>, errors: &mut Errors) {
    let file = text(item, "path");
    if file.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        below_the_volume(file, &path.child("path"), errors);
        if file.starts_with("..") && !file.starts_with("../") && file != ".." {
            errors.invalid_text(&path.child("path"), file, "must not start with '..'");
        }
    }
}

fn validate_downward_items(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("items");
    for (index, item) in items(source, "items").iter().enumerate() {
        let path = path.index(index);
        validate_file_path(item, &path, errors);
        let (field, resource) = (has(item, "fieldRef"), has(item, "resourceFieldRef"));
        if field {
            validate_field_ref(member(item, "fieldRef"), FILE_FIELDS, &path.child("fieldRef"), errors);
            if resource {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(&path, &Value::from("resource"), detail);
            }
        } else if resource {
            let reference = member(item, "resourceFieldRef");
            validate_resource_ref(reference, Where::Volume, &path.child("resourceFieldRef"), errors);
        } else {
            errors.required(&path.child("fieldRef"), "one of fieldRef and resourceFieldRef is required");
        }
        validate_mode(item, "mode", &path, errors);
    }
}

fn validate_projected(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    validate_mode(source, "defaultMode", path, errors);
    let sources_path = path.child("sources");
    for (index, projection) in items(source, "sources").iter().enumerate() {
        let path = sources_path.index(index);
        let Some(members) = projection.as_object() else { continue };
        for (index, (kind, part)) in members.iter().filter(|(_, part)| !part.is_null()).enumerate() {
            let path = path.child(kind);
            if index > 0 {
                errors.forbidden(&path, "may not specify more than 1 volume type per source");
                continue;
            }
            match kind.as_str() {
                "secret" | "configMap" => {
                    validate_name(part, "name", &path, errors);
                    validate_key_items(part, &path, errors);
                }
                "downwardAPI" => validate_downward_items(part, &path, errors),
                "serviceAccountToken" => validate_token(part, &path, errors),
                _ => {}
            }
        }
    }
}

fn validate_token(part: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(secs) = int(part, "expirationSeconds") {
        let path = path.child("expirationSeconds");
        if secs < TOKEN_SECS_MIN {
            errors.invalid_int(&path, secs, "may not specify a duration less than 10 minutes");
        } else if secs > TOKEN_SECS_MAX {
            errors.invalid_int(&path, secs, "may not specify a duration larger than 2^32 seconds");
        }
    }
    validate_file_path(part, path, errors);
}

fn below_the_volume(file: &str, path: &Path<'_>, errors: &mut Errors) {
    if file.starts_with('/') {
        errors.invalid_text(path, file, "must be a relative path");
    }
    no_steps_back(file, path, errors);
}

fn no_steps_back(file: &str, path: &Path<'_>, errors: &mut Errors) {
    if file.split('/').any(|part| part == "..") {
        errors.invalid_text(path, file, "must not contain '..'");
    }
}

/// A profile or a sub-path: relative and without steps back.
pub(super) fn validate_descending(file: &str, path: &Path<'_>, errors: &mut Errors) {
    below_the_volume(file, path, errors);
}

/// Checks `volumeMounts` and `volumeDevices` of a container.
pub(super) fn validate_mounts(container: &Value, volumes: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let (mounts, devices) = (items(container, "volumeMounts"), items(container, "volumeDevices"));
    let mounts_path = path.child("volumeMounts");
    for (index, mount) in mounts.iter().enumerate() {
        let path = mounts_path.index(index);
        let (name, target) = (text(mount, "name"), text(mount, "mountPath"));
        validate_volume_name(name, volumes, &path, errors);
        if target.is_empty() {
            errors.required(&path.child("mountPath"), "");
        }
        if mounts[..index].iter().any(|other| text(other, "mountPath") == target) {
            errors.invalid_text(&path.child("mountPath"), target, "must be unique");
        }
        if devices.iter().any(|device| text(device, "name") == name) {
            errors.invalid_text(&path.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| text(device, "devicePath") == target) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid_text(&path.child("mountPath"), target, detail);
        }
        validate_sub_path(mount, &path, &mounts_path, errors);
        validate_propagation(mount, container, &mounts_path, errors);
    }
    let path = path.child("volumeDevices");
    for (index, device) in devices.iter().enumerate() {
        let path = path.index(index);
        validate_volume_name(text(device, "name"), volumes, &path, errors);
        if text(device, "devicePath").is_empty() {
            errors.required(&path.child("devicePath"), "");
        }
    }
}

fn validate_volume_name(name: &str, volumes: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    if !volumes.contains(&name) {
        errors.not_found(&path.child("name"), name);
    }
}

/// Upstream prints the path of the list here, not of the item; so do we.
fn validate_sub_path(mount: &Value, path: &Path<'_>, list: &Path<'_>, errors: &mut Errors) {
    let (sub_path, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    if !sub_path.is_empty() {
        below_the_volume(sub_path, &list.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid_text(&path.child("subPathExpr"), expression, detail);
        }
        below_the_volume(expression, &list.child("subPathExpr"), errors);
    }
}

fn validate_propagation(mount: &Value, container: &Value, list: &Path<'_>, errors: &mut Errors) {
    let path = list.child("mountPropagation");
    match text(mount, "mountPropagation") {
        "" | "None" | "HostToContainer" => {}
        "Bidirectional" => {
            if !flag(member(container, "securityContext"), "privileged") {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.forbidden(&path, detail);
            }
        }
        other => errors.not_supported(&path, other, &["Bidirectional", "HostToContainer", "None"]),
    }
}
