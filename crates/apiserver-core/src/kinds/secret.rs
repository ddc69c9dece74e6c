//! Secret.

use api::{Kind, Scope, resources};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::config_map::{DATA_BYTES_MAX, data_count, decoded_len, validate_frozen};
use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{at, entries, has, member, object_mut, remove, set, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path, names};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            selectable_fields: &["type"],
            ..Kind::ordinary(resources::SECRETS, Scope::Namespaced, "Secret", "SecretList", "secret")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Type", "What the entries mean."),
                Column::int("Data", "Number of entries."),
                Column::AGE,
            ]
        },
        row: |object, now| {
            Row::of([
                cells::name(object),
                text(object, "type").into(),
                data_count(object).into(),
                cells::age(object, now),
            ])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            validate,
            validate_update: |new, old, errors| {
                validate_immutable(member(new, "type"), member(old, "type"), &Path::root("type"), errors);
                validate_frozen(new, old, &["data"], errors);
                validate(new, errors);
            },
            ..Rules::PLAIN
        },
    }
}

/// `stringData` is written into `data` and never stored (K-8).
fn default(object: &mut Value) {
    if text(object, "type").is_empty() {
        set(object, "type", "Opaque");
    }
    let Some(Value::Object(plain)) = remove(object, "stringData") else { return };
    if plain.is_empty() {
        return;
    }
    let data = object_mut(object, "data");
    for (key, value) in plain {
        let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, encoded.into());
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let data = Path::root("data");
    let mut bytes = 0;
    for (key, value) in entries(object, "data") {
        errors.invalid_each(&data.key(key), key, names::config_key(key));
        bytes += decoded_len(value);
    }
    if bytes > DATA_BYTES_MAX {
        errors.too_long(&data, DATA_BYTES_MAX);
    }
    validate_typed(object, &data, errors);
}

/// Secrets of a known type need the keys of that type.
fn validate_typed(object: &Value, path: &Path<'_>, errors: &mut Errors) {
    let data = member(object, "data");
    let mut needs = |key: &str| {
        if !has(data, key) {
            errors.required(&path.key(key), "");
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let name = text(at(object, &["metadata", "annotations"]), "kubernetes.io/service-account.name");
            if name.is_empty() {
                let metadata = Path::root("metadata");
                errors.required(&metadata.child("annotations").key("kubernetes.io/service-account.name"), "");
            }
        }
        "kubernetes.io/tls" => {
            needs("tls.crt");
            needs("tls.key");
        }
        "kubernetes.io/ssh-auth" => needs("ssh-privatekey"),
        "kubernetes.io/basic-auth" if !has(data, "username") && !has(data, "password") => {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
        "kubernetes.io/dockercfg" => validate_json_entry(data, ".dockercfg", path, errors),
        "kubernetes.io/dockerconfigjson" => validate_json_entry(data, ".dockerconfigjson", path, errors),
        _ => {}
    }
}

fn validate_json_entry(data: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(encoded) = data.get(key).and_then(Value::as_str) else {
        errors.required(&path.key(key), "");
        return;
    };
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        // The content stays out of the message: it is a secret.
        errors.invalid_text(&path.key(key), "<secret contents redacted>", &error.to_string());
    }
}
