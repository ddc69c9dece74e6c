//! StorageClass.

use api::{DeleteAnswer, Kind, Scope, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{at, entries, flag, member, set_default, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path, names};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const DEFAULT_CLASS_BETA: &str = "storageclass.beta.kubernetes.io/is-default-class";
const PARAMETER_BYTES_MAX: usize = 256 * 1024;

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["sc"],
            delete_answer: DeleteAnswer::Object,
            ..Kind::ordinary(
                resources::STORAGE_CLASSES,
                Scope::Cluster,
                "StorageClass",
                "StorageClassList",
                "storageclass",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Provisioner", "Who makes the volumes."),
                Column::text("ReclaimPolicy", "What becomes of a volume when its claim goes."),
                Column::text("VolumeBindingMode", "When a claim gets its volume."),
                Column::text("AllowVolumeExpansion", "Whether volumes may grow."),
                Column::AGE,
            ]
        },
        row: |object, now| {
            let name = text(member(object, "metadata"), "name");
            let shown = if is_default(object) { format!("{name} (default)") } else { name.to_owned() };
            Row::of([
                shown.into(),
                text(object, "provisioner").into(),
                cells::or(text(object, "reclaimPolicy"), "Delete"),
                cells::or(text(object, "volumeBindingMode"), "Immediate"),
                flag(object, "allowVolumeExpansion").into(),
                cells::age(object, now),
            ])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default: |object| {
                set_default(object, "reclaimPolicy", "Delete");
                set_default(object, "volumeBindingMode", "Immediate");
            },
            validate,
            validate_update,
            ..Rules::PLAIN
        },
    }
}

/// True for a class that claims get when they name none (N-5).
pub(super) fn is_default(class: &Value) -> bool {
    let annotations = at(class, &["metadata", "annotations"]);
    [DEFAULT_CLASS, DEFAULT_CLASS_BETA].iter().any(|key| text(annotations, key) == "true")
}

fn validate(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner");
    let path = Path::root("provisioner");
    if provisioner.is_empty() {
        errors.required(&path, "");
    } else {
        errors.invalid_each(&path, provisioner, names::qualified_name(&provisioner.to_lowercase()));
    }
    let parameters = Path::root("parameters");
    let mut bytes = 0;
    for (key, value) in entries(object, "parameters") {
        if key.is_empty() {
            errors.invalid_text(&parameters, key, "field can not be empty.");
        }
        bytes += key.len() + value.len();
    }
    if bytes > PARAMETER_BYTES_MAX {
        errors.too_long(&parameters, PARAMETER_BYTES_MAX);
    }
    let policy = text(object, "reclaimPolicy");
    if !matches!(policy, "Delete" | "Retain") {
        errors.not_supported(&Path::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let mode = text(object, "volumeBindingMode");
    if !matches!(mode, "Immediate" | "WaitForFirstConsumer") {
        errors.not_supported(&Path::root("volumeBindingMode"), mode, &["Immediate", "WaitForFirstConsumer"]);
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        if new.get(key) != old.get(key) {
            errors.forbidden(&Path::root(key), &format!("updates to {key} are forbidden."));
        }
    }
    let key = "volumeBindingMode";
    validate_immutable(member(new, key), member(old, key), &Path::root(key), errors);
}
