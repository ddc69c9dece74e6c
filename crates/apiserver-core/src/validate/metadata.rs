//! The rules of `metadata` (V-16, V-17, V-41).

use serde_json::Value;

use super::field::{Errors, Path, go_quoted};
use super::names::{self, NameRule};
use crate::tree::{entries, flag, has, int, items, member, text};

/// Most bytes that all annotations of an object may have together.
pub const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];
const FIELD_IMMUTABLE: &str = "field is immutable";

/// What a kind demands of `metadata`.
#[derive(Clone, Copy, Debug)]
pub struct MetadataRules {
    /// Whether objects have a namespace.
    pub namespaced: bool,
    /// The rule for names.
    pub name: NameRule,
}

/// Checks `metadata` of a new object.
pub fn validate(object: &Value, rules: MetadataRules, errors: &mut Errors) {
    let path = Path::root("metadata");
    let metadata = member(object, "metadata");
    let generate_name = text(metadata, "generateName");
    if !generate_name.is_empty() {
        // Upstream checks a prefix as a name with its trailing dashes replaced by a letter.
        let as_name = match generate_name.trim_end_matches('-') {
            trimmed if trimmed.len() < generate_name.len() => format!("{trimmed}a"),
            whole => whole.to_owned(),
        };
        errors.invalid_each(&path.child("generateName"), generate_name, (rules.name)(&as_name));
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_each(&path.child("name"), name, (rules.name)(name));
    }
    let namespace = text(metadata, "namespace");
    match (rules.namespaced, namespace) {
        (true, "") => errors.required(&path.child("namespace"), ""),
        (true, namespace) => {
            errors.invalid_each(&path.child("namespace"), namespace, names::dns_label(namespace));
        }
        (false, "") => {}
        (false, _) => errors.forbidden(&path.child("namespace"), "not allowed on this type"),
    }
    validate_free_part(metadata, &path, errors);
}

/// Checks what may change in `metadata`: labels, annotations, owners, finalizers.
fn validate_free_part(metadata: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(generation) = int(metadata, "generation").filter(|generation| *generation < 0) {
        errors.invalid_int(&path.child("generation"), generation, "must be greater than or equal to 0");
    }
    validate_labels(metadata, "labels", path, errors);
    validate_annotations(metadata, path, errors);
    validate_owner_references(metadata, &path.child("ownerReferences"), errors);
    validate_finalizers(metadata, &path.child("finalizers"), errors);
}

/// Checks a map of labels under `key` (also `nodeSelector`, `matchLabels`, a service's `selector`).
pub fn validate_labels(parent: &Value, key: &str, parent_path: &Path<'_>, errors: &mut Errors) {
    let path = parent_path.child(key);
    for (label, value) in entries(parent, key) {
        errors.invalid_each(&path, label, names::qualified_name(label));
        errors.invalid_each(&path, value, names::label_value(value));
    }
}

/// Checks `annotations`: keys as labels but in any case, 256 KiB in all.
pub fn validate_annotations(metadata: &Value, parent_path: &Path<'_>, errors: &mut Errors) {
    let path = parent_path.child("annotations");
    let mut bytes = 0;
    for (key, value) in entries(metadata, "annotations") {
        errors.invalid_each(&path, key, names::qualified_name(&key.to_lowercase()));
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATION_BYTES_MAX {
        errors.too_long(&path, ANNOTATION_BYTES_MAX);
    }
}

fn validate_owner_references(metadata: &Value, path: &Path<'_>, errors: &mut Errors) {
    let owners = items(metadata, "ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        let api_version = text(owner, "apiVersion");
        if api_version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.invalid_text(&path.child("apiVersion"), api_version, "version must not be empty");
        }
        for key in ["kind", "name", "uid"] {
            if text(owner, key).is_empty() {
                errors.invalid_text(&path.child(key), "", "must not be empty");
            }
        }
        if (api_version, text(owner, "kind")) == ("v1", "Event") {
            errors.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if flag(owner, "controller") {
            let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.invalid(
                    path,
                    member(metadata, "ownerReferences"),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {this}"
                    ),
                ),
            }
        }
    }
}

fn validate_finalizers(metadata: &Value, path: &Path<'_>, errors: &mut Errors) {
    let finalizers: Vec<&str> = items(metadata, "finalizers").iter().filter_map(Value::as_str).collect();
    for finalizer in &finalizers {
        errors.invalid_each(path, finalizer, names::qualified_name(finalizer));
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        errors.invalid(path, member(metadata, "finalizers"), "orphan and foregroundDeletion cannot be both set");
    }
    for (index, finalizer) in finalizers.iter().enumerate() {
        if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(finalizer) {
            errors.invalid_text(
                &path.index(index),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

/// Checks a change of `metadata`.
pub fn validate_update(new: &Value, old: &Value, rules: MetadataRules, errors: &mut Errors) {
    let path = Path::root("metadata");
    let (new, old) = (member(new, "metadata"), member(old, "metadata"));
    if has(old, "deletionTimestamp") {
        validate_no_new_finalizers(new, old, &path.child("finalizers"), errors);
    }
    if int(new, "generation").unwrap_or(0) < int(old, "generation").unwrap_or(0) {
        let generation = int(new, "generation").unwrap_or(0);
        errors.invalid_int(&path.child("generation"), generation, "must not be decremented");
    }
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if member(new, key) != member(old, key) {
            errors.invalid(&path.child(key), member(new, key), FIELD_IMMUTABLE);
        }
    }
    if !rules.namespaced && !text(new, "namespace").is_empty() {
        errors.forbidden(&path.child("namespace"), "not allowed on this type");
    }
    validate_free_part(new, &path, errors);
}

/// No finalizer may be added to an object that is being deleted (V-41).
fn validate_no_new_finalizers(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let old = items(old, "finalizers");
    let mut added: Vec<&str> = items(new, "finalizers")
        .iter()
        .filter(|finalizer| !old.contains(finalizer))
        .filter_map(Value::as_str)
        .collect();
    if added.is_empty() {
        return;
    }
    added.sort_unstable();
    added.dedup();
    let added: Vec<String> = added.into_iter().map(go_quoted).collect();
    let list = format!("[]string{{{}}}", added.join(", "));
    errors.forbidden(
        path,
        &format!("no new finalizers can be added if the object is being deleted, found new finalizers {list}"),
    );
}

/// A word in somebody's name: `example.com/word`.
pub fn validate_domain_prefixed(value: &str, path: &Path<'_>, errors: &mut Errors) {
    const PATH_RULE: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    match value.split_once('/') {
        _ if value.is_empty() => errors.required(path, ""),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            errors.invalid_each(path, domain, names::dns_subdomain(domain));
            if !rest.bytes().all(fits) {
                errors.invalid_text(path, rest, PATH_RULE);
            }
        }
        _ => errors.invalid_text(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// A field that may not change at all.
pub fn validate_immutable(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    if new != old {
        errors.invalid(path, new, FIELD_IMMUTABLE);
    }
}

/// A number at or under `path` that may not be negative.
pub fn validate_non_negative(parent: &Value, key: &str, parent_path: &Path<'_>, errors: &mut Errors) {
    if let Some(number) = int(parent, key).filter(|number| *number < 0) {
        errors.invalid_int(&parent_path.child(key), number, "must be greater than or equal to 0");
    }
}

/// The warnings that `metadata` earns (K-38).
pub fn warnings(object: &Value, warnings: &mut Vec<String>) {
    for finalizer in items(member(object, "metadata"), "finalizers").iter().filter_map(Value::as_str) {
        if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            warnings.push(format!(
                "metadata.finalizers: {}: prefer a domain-qualified finalizer name including a path (/) to avoid \
                 accidental conflicts with other finalizer writers",
                go_quoted(finalizer)
            ));
        }
    }
}
