//! Which fields differ.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

/// Parts of an object's metadata that people write.
const METADATA: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];
/// Annotations in which kubectl, and `up` as it does, keep what they need themselves.
const OF_KUBECTL: &str = "metadata.annotations.kubectl.kubernetes.io/";
/// What stands for a value that is not told.
const HIDDEN: &str = "***";

/// A field that differs between two objects.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Where it is: `spec.template.spec.containers[redis].image`.
    pub path: String,
    /// What it was; `null` if it was not there.
    pub before: Value,
    /// What it becomes; `null` if it goes away.
    pub after: Value,
}

/// The fields in which an object differs from what it becomes: all that people write, so not the status. Values of
/// Secrets are not told.
pub fn changed_fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    for part in METADATA {
        parts(&before["metadata"][part], &after["metadata"][part], format!("metadata.{part}"), &mut found);
    }
    found.retain(|field| !field.path.starts_with(OF_KUBECTL));
    let names = [before, after].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    for name in names.collect::<BTreeSet<&String>>() {
        match name.as_str() {
            "apiVersion" | "kind" | "metadata" | "status" => {}
            "data" | "stringData" if after["kind"] == "Secret" => {
                let first = found.len();
                parts(&before[name], &after[name], name.clone(), &mut found);
                found[first..].iter_mut().for_each(hide);
            }
            _ => parts(&before[name], &after[name], name.clone(), &mut found),
        }
    }
    found
}

/// Compares a part of an object: the first of its fields is a change of that field, not of the part.
fn parts(before: &Value, after: &Value, path: String, found: &mut Vec<FieldChange>) {
    let nothing = Value::Object(Map::new());
    match (before, after) {
        (Value::Null, Value::Object(_)) => compare(&nothing, after, path, found),
        (Value::Object(_), Value::Null) => compare(before, &nothing, path, found),
        _ => compare(before, after, path, found),
    }
}

/// Takes the values away; that there is one is told.
fn hide(field: &mut FieldChange) {
    for value in [&mut field.before, &mut field.after].into_iter().filter(|value| !value.is_null()) {
        *value = HIDDEN.into();
    }
}

/// Finds the fields in which two trees differ. Items of lists are told apart by their `name` where all have one.
fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let pair = [old, new].map(|map| map.get(key).unwrap_or(&Value::Null));
                compare(pair[0], pair[1], format!("{path}.{key}"), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => match (by_name(old), by_name(new)) {
            (Some(old), Some(new)) => {
                let names: BTreeSet<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
                for name in names {
                    let pair = [&old, &new].map(|items| item(items, name));
                    compare(pair[0], pair[1], format!("{path}[{name}]"), found);
                }
            }
            _ => found.push(FieldChange { path, before: before.clone(), after: after.clone() }),
        },
        _ => found.push(FieldChange { path, before: before.clone(), after: after.clone() }),
    }
}

/// The items of a list with their names, if every one has one.
fn by_name(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    items.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect()
}

fn item<'v>(items: &[(&str, &'v Value)], name: &str) -> &'v Value {
    items.iter().find(|(found, _)| *found == name).map_or(&Value::Null, |(_, item)| item)
}
