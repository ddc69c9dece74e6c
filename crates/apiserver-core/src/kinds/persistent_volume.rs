//! PersistentVolume (K-5, K-25, N-10).

use api::{DeleteAnswer, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::persistent_volume_claim::{ACCESS_MODES, add_finalizer, quantity, with_changes};
use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{at, child_mut, has, items, member, set, set_default, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path, names};

/// Keeps a volume that a claim is bound to.
pub const PROTECTION: &str = "kubernetes.io/pv-protection";
const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
/// The kinds of volume source, as their members are called.
const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["pv"],
            subresources: const { &[Subresource::status("PersistentVolume")] },
            delete_answer: DeleteAnswer::Object,
            ..Kind::ordinary(
                resources::PERSISTENT_VOLUMES,
                Scope::Cluster,
                "PersistentVolume",
                "PersistentVolumeList",
                "persistentvolume",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Capacity", "Its size."),
                Column::text("Access Modes", "How it may be mounted."),
                Column::text("Reclaim Policy", "What becomes of it when its claim goes."),
                Column::text("Status", "Whether a claim has it."),
                Column::text("Claim", "The claim that has it."),
                Column::text("StorageClass", "Its class."),
                Column::text("VolumeAttributesClass", "Class of volume attributes."),
                Column::text("Reason", "Why it is in this state."),
                Column::AGE,
                Column::text("VolumeMode", "File system or raw device.").wide(),
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default: |volume| {
                let spec = child_mut(volume, "spec");
                set_default(spec, "volumeMode", "Filesystem");
                set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
            },
            admit: |volume, _| {
                add_finalizer(volume, PROTECTION);
                Ok(())
            },
            prepare_create: |volume| set(volume, "status", json!({ "phase": "Pending" })),
            validate,
            validate_update,
            ..Rules::PLAIN
        },
    }
}

fn row(volume: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(volume, "spec"), member(volume, "status"));
    let deleting = has(member(volume, "metadata"), "deletionTimestamp");
    let claim = member(spec, "claimRef");
    let claim = match claim {
        Value::Null => String::new(),
        claim => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
    };
    Row::of([
        cells::name(volume),
        text(member(spec, "capacity"), "storage").into(),
        cells::access_modes(items(spec, "accessModes")),
        text(spec, "persistentVolumeReclaimPolicy").into(),
        if deleting { "Terminating" } else { text(status, "phase") }.into(),
        claim.into(),
        text(spec, "storageClassName").into(),
        cells::or(text(spec, "volumeAttributesClassName"), "<unset>"),
        text(status, "reason").into(),
        cells::age(volume, now),
        cells::or(text(spec, "volumeMode"), "<unset>"),
    ])
}

fn validate(volume: &Value, errors: &mut Errors) {
    let (spec, path) = (member(volume, "spec"), Path::root("spec"));
    let modes_path = path.child("accessModes");
    let modes = items(spec, "accessModes");
    if modes.is_empty() {
        errors.required(&modes_path, "");
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.not_supported(&modes_path, mode, ACCESS_MODES);
    }
    validate_capacity(spec, &path, errors);
    validate_source(spec, &path, errors);
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    if !RECLAIM_POLICIES.contains(&policy) {
        errors.not_supported(&path.child("persistentVolumeReclaimPolicy"), policy, RECLAIM_POLICIES);
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.invalid_each(&path.child("storageClassName"), class, names::dns_subdomain(class));
    }
    let mode = text(spec, "volumeMode");
    if !matches!(mode, "" | "Block" | "Filesystem") {
        errors.not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

fn validate_capacity(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (capacity, path) = (member(spec, "capacity"), path.child("capacity"));
    let count = capacity.as_object().map_or(0, serde_json::Map::len);
    if count == 0 {
        errors.required(&path, "");
    } else if !has(capacity, "storage") || count > 1 {
        errors.not_supported_value(&path, capacity, &["storage"]);
    }
    if let Some(storage) = quantity(capacity, "storage").filter(|storage| !storage.is_positive()) {
        errors.invalid_text(&path.key("storage"), &storage.to_string(), "must be greater than zero");
    }
}

fn validate_source(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let given: Vec<&str> = SOURCES.iter().copied().filter(|source| has(spec, source)).collect();
    if given.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for more in given.iter().skip(1) {
        errors.forbidden(&path.child(more), "may not specify more than 1 volume type");
    }
    for key in ["hostPath", "local"] {
        if !has(spec, key) {
            continue;
        }
        let path = path.child(key);
        let location = text(member(spec, key), "path");
        if location.is_empty() {
            errors.required(&path.child("path"), "");
        } else if location.split('/').any(|part| part == "..") {
            errors.invalid_text(&path.child("path"), location, "must not contain '..'");
        }
    }
    if has(spec, "local") && at(spec, &["nodeAffinity", "required"]).is_null() {
        errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
    }
    let recycles_root = text(member(spec, "hostPath"), "path").trim_end_matches('/').is_empty()
        && has(spec, "hostPath")
        && text(spec, "persistentVolumeReclaimPolicy") == "Recycle";
    if recycles_root {
        errors.forbidden(
            &path.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
}

/// The source never changes, the node affinity is written once (K-25).
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    validate(new, errors);
    let (new, old, path) = (member(new, "spec"), member(old, "spec"), Path::root("spec"));
    let sources = |spec: &Value| -> Value {
        let given = SOURCES.iter().filter_map(|key| Some(((*key).to_owned(), spec.get(*key)?.clone())));
        Value::Object(given.collect())
    };
    let (new_source, old_source) = (sources(new), sources(old));
    if new_source != old_source {
        let sentence = "spec.persistentvolumesource is immutable after creation";
        errors.forbidden(&path.child("persistentvolumesource"), &with_changes(sentence, &old_source, &new_source));
    }
    let mode = "volumeMode";
    validate_immutable(member(new, mode), member(old, mode), &path.child(mode), errors);
    if has(old, "nodeAffinity") {
        let key = "nodeAffinity";
        validate_immutable(member(new, key), member(old, key), &path.child(key), errors);
    }
}
