//! PersistentVolumeClaim (K-5, K-24, M-10, M-11, N-9 to N-12).

use api::{DeleteAnswer, Kind, Scope, Subresource, resources};
use meta::{Quantity, Status, Timestamp};
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, limit_range, storage_class};
use crate::tree::{at, child_mut, has, items, member, object_mut, set, set_default, text};
use crate::validate::{Errors, Path, names, selector};
use crate::write::CreateContext;

/// Keeps a claim that a pod uses (N-9).
pub const PROTECTION: &str = "kubernetes.io/pvc-protection";
pub(super) const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const NOT_POSITIVE: &str = "must be greater than zero";
const IMMUTABLE: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["pvc"],
            subresources: const { &[Subresource::status("PersistentVolumeClaim")] },
            delete_answer: DeleteAnswer::Object,
            ..Kind::ordinary(
                resources::PERSISTENT_VOLUME_CLAIMS,
                Scope::Namespaced,
                "PersistentVolumeClaim",
                "PersistentVolumeClaimList",
                "persistentvolumeclaim",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Status", "Whether it has a volume."),
                Column::text("Volume", "The volume it is bound to."),
                Column::text("Capacity", "Size of that volume."),
                Column::text("Access Modes", "How it may be mounted."),
                Column::text("StorageClass", "Class it asks for."),
                Column::text("VolumeAttributesClass", "Class of volume attributes."),
                Column::AGE,
                Column::text("VolumeMode", "File system or raw device.").wide(),
            ]
        },
        row,
        needs: Needs::ClaimSurroundings,
        conversion: None,
        rules: Rules {
            default: |claim| default_spec(child_mut(claim, "spec")),
            admit,
            permit: |claim, context| limit_range::admission::check_claim(claim, None, context.limit_ranges),
            permit_update: |new, old, context| {
                limit_range::admission::check_claim(new, Some(old), context.limit_ranges)
            },
            prepare_create: |claim| set(claim, "status", json!({ "phase": "Pending" })),
            validate: |claim, errors| {
                let path = Path::root("spec");
                validate_spec(member(claim, "spec"), &path, errors);
            },
            validate_update,
            validate_status: |_, _, _| {},
            ..Rules::PLAIN
        },
    }
}

/// Defaults of a claim's spec; claim templates have them too.
pub(super) fn default_spec(spec: &mut Value) {
    set_default(spec, "volumeMode", "Filesystem");
    if let Some(requests) = spec.pointer_mut("/resources/requests") {
        api::defaults::round_quantities(requests);
    }
}

fn row(claim: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(claim, "spec"), member(claim, "status"));
    let deleting = has(member(claim, "metadata"), "deletionTimestamp");
    let phase = if deleting { "Terminating" } else { text(status, "phase") };
    let volume = text(spec, "volumeName");
    let (capacity, modes) = if volume.is_empty() {
        ("", Value::from(""))
    } else {
        (text(member(status, "capacity"), "storage"), cells::access_modes(items(status, "accessModes")))
    };
    let attributes = text(spec, "volumeAttributesClassName");
    Row::of([
        cells::name(claim),
        phase.into(),
        volume.into(),
        capacity.into(),
        modes,
        text(spec, "storageClassName").into(),
        cells::or(attributes, "<unset>"),
        cells::age(claim, now),
        cells::or(text(spec, "volumeMode"), "<unset>"),
    ])
}

/// The protecting finalizer, and the default class where none is named (M-10, M-11).
fn admit(claim: &mut Value, context: &CreateContext<'_>) -> Result<(), Status> {
    add_finalizer(claim, PROTECTION);
    let spec = member(claim, "spec");
    let has_class = has(spec, "storageClassName")
        || has(at(claim, &["metadata", "annotations"]), "volume.beta.kubernetes.io/storage-class");
    if has_class {
        return Ok(());
    }
    if let Some(class) = default_class(context.storage_classes) {
        object_mut(claim, "spec").insert("storageClassName".to_owned(), class.into());
    }
    Ok(())
}

pub(super) fn add_finalizer(object: &mut Value, finalizer: &str) {
    let finalizers = object_mut(object, "metadata").entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(finalizers) = finalizers
        && !finalizers.iter().any(|other| other == finalizer)
    {
        finalizers.push(finalizer.into());
    }
}

/// The newest default class; of equally old ones the first by name (N-5).
pub fn default_class<'a>(classes: &[&'a Value]) -> Option<&'a str> {
    let created = |class: &Value| text(member(class, "metadata"), "creationTimestamp").to_owned();
    let name = |class: &&'a Value| text(member(class, "metadata"), "name");
    let mut defaults: Vec<&'a Value> =
        classes.iter().copied().filter(|class| storage_class::is_default(class)).collect();
    defaults.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| name(a).cmp(name(b))));
    defaults.first().map(name)
}

/// Checks the spec of a claim, or of a claim template.
pub(super) fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let modes_path = path.child("accessModes");
    let modes: Vec<&str> = items(spec, "accessModes").iter().filter_map(Value::as_str).collect();
    if modes.is_empty() {
        errors.required(&modes_path, "at least 1 access mode is required");
    }
    if has(spec, "selector") {
        selector::validate(member(spec, "selector"), &path.child("selector"), errors);
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.not_supported(&modes_path, mode, ACCESS_MODES);
    }
    let of_one_pod = modes.iter().filter(|mode| **mode == "ReadWriteOncePod").count();
    if of_one_pod > 0 && of_one_pod < modes.len() {
        errors.forbidden(&modes_path, "may not use ReadWriteOncePod with other access modes");
    }
    validate_requests(spec, path, errors);
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.invalid_each(&path.child("storageClassName"), class, names::dns_subdomain(class));
    }
    let mode = text(spec, "volumeMode");
    if !matches!(mode, "" | "Block" | "Filesystem") {
        errors.not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
    for key in ["dataSource", "dataSourceRef"] {
        validate_source(spec, key, path, errors);
    }
    validate_sources_together(spec, path, errors);
    let attributes = text(spec, "volumeAttributesClassName");
    if !attributes.is_empty() {
        errors.invalid_each(&path.child("volumeAttributesClassName"), attributes, names::dns_subdomain(attributes));
    }
}

fn validate_requests(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let resources = path.child("resources");
    let storage_path = resources.key("storage");
    let requests = at(spec, &["resources", "requests"]);
    match quantity(requests, "storage") {
        None => errors.required(&storage_path, ""),
        Some(storage) if !storage.is_positive() => {
            errors.invalid_text(&storage_path, &storage.to_string(), NOT_POSITIVE);
        }
        Some(_) => {}
    }
}

fn validate_source(spec: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if !has(spec, key) {
        return;
    }
    let (source, path) = (member(spec, key), path.child(key));
    for part in ["name", "kind"] {
        if text(source, part).is_empty() {
            errors.required(&path.child(part), "");
        }
    }
    let group = text(source, "apiGroup");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
        errors.invalid_text(
            &path,
            text(source, "kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    if !group.is_empty() {
        errors.invalid_each(&path.child("apiGroup"), group, names::dns_subdomain(group));
    }
    let namespace = text(source, "namespace");
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("namespace"), namespace, names::dns_label(namespace));
    }
}

/// The two ways to name a source say the same; only the newer one can name another namespace.
fn validate_sources_together(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (old, new) = (member(spec, "dataSource"), member(spec, "dataSourceRef"));
    if old.is_null() || new.is_null() {
        return;
    }
    // Upstream prints the value of these two as an empty structure.
    if !text(new, "namespace").is_empty() {
        errors.invalid_shown(path, "{}", "may not be specified when dataSourceRef.namespace is specified");
    } else if member(old, "apiGroup") != member(new, "apiGroup")
        || ["kind", "name"].iter().any(|part| text(old, part) != text(new, part))
    {
        errors.invalid_shown(path, "{}", "must match dataSourceRef");
    }
}

/// A quantity in a resource list.
pub(super) fn quantity(list: &Value, name: &str) -> Option<Quantity> {
    match list.get(name)? {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// After creation only the size of a bound claim may grow; the binder writes the volume's name once (K-24, N-12).
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new_spec, old_spec) = (member(new, "spec"), member(old, "spec"));
    let mut allowed = old_spec.clone();
    let bound = text(member(old, "status"), "phase") == "Bound";
    if text(old_spec, "volumeName").is_empty() {
        crate::tree::copy_member(&mut allowed, new_spec, "volumeName");
    }
    if !has(old_spec, "storageClassName") {
        crate::tree::copy_member(&mut allowed, new_spec, "storageClassName");
    }
    if bound {
        crate::tree::copy_member(&mut allowed, new_spec, "volumeAttributesClassName");
        let requests = at(new_spec, &["resources", "requests"]).clone();
        let resources = object_mut(&mut allowed, "resources");
        if requests.is_null() {
            resources.remove("requests");
        } else {
            resources.insert("requests".to_owned(), requests);
        }
    }
    let path = Path::root("spec");
    if allowed != *new_spec {
        errors.forbidden(&path, &with_changes(IMMUTABLE, old_spec, new_spec));
        return;
    }
    let storage = |spec: &Value| quantity(at(spec, &["resources", "requests"]), "storage");
    let capacity = quantity(at(old, &["status", "capacity"]), "storage");
    let (new_size, old_size) = (storage(new_spec), storage(old_spec));
    if bound && new_size < old_size && capacity.is_none_or(|capacity| new_size < Some(capacity)) {
        let (resources, detail) = (path.child("resources"), "field can not be less than status.capacity");
        errors.forbidden(&resources.child("requests").child("storage"), detail);
    }
}

/// The sentence, followed by the members that differ, one in each line.
pub(super) fn with_changes(sentence: &str, old: &Value, new: &Value) -> String {
    use std::fmt::Write as _;
    let mut text = sentence.to_owned();
    let keys =
        |tree: &Value| tree.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut names = keys(old);
    names.extend(keys(new));
    names.sort();
    names.dedup();
    for name in names.iter().filter(|name| old.get(name.as_str()) != new.get(name.as_str())) {
        let shown = |tree: &Value| tree.get(name.as_str()).map_or_else(|| "unset".to_owned(), Value::to_string);
        let _ = write!(text, "\n{name}: {} -> {}", shown(old), shown(new));
    }
    text
}

/// Marks a claim template as what it is and gives it a claim's defaults.
pub(super) fn default_template(template: &mut Value) {
    set(template, "kind", "PersistentVolumeClaim");
    set(template, "apiVersion", "v1");
    default_spec(child_mut(template, "spec"));
    let status = object_mut(template, "status");
    status.entry("phase").or_insert_with(|| "Pending".into());
}
