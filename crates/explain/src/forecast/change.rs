//! Which fields differ.

use serde::Serialize;
use serde_json::Value;

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

/// The fields in which two trees differ. Items of lists are told apart by their `name` where all have one.
pub fn changes(before: &Value, after: &Value, path: &str) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare(before, after, path.to_owned(), &mut found);
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let pair = [old, new].map(|map| map.get(key).unwrap_or(&Value::Null));
                compare(pair[0], pair[1], format!("{path}.{key}"), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => match (by_name(old), by_name(new)) {
            (Some(old), Some(new)) => {
                let names: std::collections::BTreeSet<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
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
