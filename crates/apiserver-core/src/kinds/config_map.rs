//! ConfigMap.

use api::{Kind, Scope, resources};
use base64::Engine as _;
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{entries, flag};
use crate::validate::{Errors, Path, names};

/// Most bytes that the values of a config map or secret may have together (K-29).
pub(super) const DATA_BYTES_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["cm"],
            ..Kind::ordinary(resources::CONFIG_MAPS, Scope::Namespaced, "ConfigMap", "ConfigMapList", "configmap")
        },
        columns: const { &[Column::NAME, Column::int("Data", "Number of entries."), Column::AGE] },
        row: |object, now| {
            let count = data_count(object) + entries(object, "binaryData").count();
            Row::of([cells::name(object), count.into(), cells::age(object, now)])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            validate,
            validate_update: |new, old, errors| {
                validate_frozen(new, old, &["data", "binaryData"], errors);
                validate(new, errors);
            },
            ..Rules::PLAIN
        },
    }
}

/// How many entries `data` has.
pub(super) fn data_count(object: &Value) -> usize {
    entries(object, "data").count()
}

fn validate(object: &Value, errors: &mut Errors) {
    let mut bytes = 0;
    let (data, binary) = (Path::root("data"), Path::root("binaryData"));
    for (key, value) in entries(object, "data") {
        errors.invalid_each(&data.key(key), key, names::config_key(key));
        if entries(object, "binaryData").any(|(other, _)| other == key) {
            errors.invalid_text(&data.key(key), key, "duplicate of key present in binaryData");
        }
        bytes += value.len();
    }
    for (key, value) in entries(object, "binaryData") {
        errors.invalid_each(&binary.key(key), key, names::config_key(key));
        bytes += decoded_len(value);
    }
    if bytes > DATA_BYTES_MAX {
        errors.too_long(&Path::root(""), DATA_BYTES_MAX);
    }
}

/// Length of what a base64 text stands for.
pub(super) fn decoded_len(base64: &str) -> usize {
    base64::engine::general_purpose::STANDARD.decode(base64).map_or(base64.len(), |bytes| bytes.len())
}

/// `immutable: true` freezes itself and the data (K-29).
pub(super) fn validate_frozen(new: &Value, old: &Value, keys: &[&'static str], errors: &mut Errors) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.forbidden(&Path::root("immutable"), FROZEN);
    }
    for key in keys {
        if new.get(*key) != old.get(*key) {
            errors.forbidden(&Path::root(key), FROZEN);
        }
    }
}
