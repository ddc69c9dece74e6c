//! Strategic merge patch (P-20 to P-28).
//!
//! Maps merge, null deletes, scalars replace; lists merge by their merge key where the schema says so. Directives in
//! the patch (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`) steer this and never reach
//! the result.

use meta::Status;
use serde_json::{Map, Value};

use super::place::{Place, Shape, shape_of};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// The document after the patch.
///
/// # Errors
/// 400 with upstream's text if a directive or a merge key is wrong, 422 for a list of lists (P-25).
pub fn strategic_patch(place: Place, document: Value, patch: Value) -> Result<Value, Status> {
    let Value::Object(patch) = patch else { return Err(bad("invalid JSON document")) };
    let document = match document {
        Value::Object(document) => document,
        _ => Map::new(),
    };
    merge_objects(Some(place), document, patch).map(Value::Object)
}

fn bad(text: impl Into<String>) -> Status {
    Status::bad_request(text)
}

/// A map as Go prints it, which upstream's texts contain.
fn go_map(object: &Map<String, Value>) -> String {
    fn go(value: &Value) -> String {
        match value {
            Value::Null => "<nil>".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
            Value::Object(object) => go_map(object),
            scalar => scalar.to_string(),
        }
    }
    let members: Vec<String> = object.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect();
    format!("map[{}]", members.join(" "))
}

fn no_merge_key(object: &Map<String, Value>, key: &str) -> Status {
    bad(format!("map: {} does not contain declared merge key: {key}", go_map(object)))
}

fn unknown_directive(directive: &Value, object: &Map<String, Value>) -> Status {
    let directive = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    bad(format!("unknown patch type: {directive} in map: {}", go_map(object)))
}

/// Merges a patch into an object.
fn merge_objects(
    place: Option<Place>,
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<Map<String, Value>, Status> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => merge_objects(place, Map::new(), patch),
            Some("delete") => Ok(Map::new()),
            Some("merge") => merge_objects(place, original, patch),
            _ => {
                let mut whole = patch;
                whole.insert(DIRECTIVE.to_owned(), directive.clone());
                Err(unknown_directive(&directive, &whole))
            }
        };
    }
    if let Some(keys) = patch.remove(RETAIN_KEYS) {
        retain_keys(&mut original, &patch, &keys)?;
    }
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with('$')).cloned().collect();
    let mut orders = Vec::new();
    let mut deletions = Vec::new();
    for name in directives {
        let Some((directive, field)) = name.split_once('/') else {
            match name.as_str() {
                DELETE_FROM => return Err(bad("invalid patch format of primitive list")),
                SET_ORDER => return Err(bad("invalid patch format of setElementOrder list")),
                _ => continue,
            }
        };
        match (directive, patch.remove(&name)) {
            (SET_ORDER, Some(order)) => orders.push((field.to_owned(), order)),
            (DELETE_FROM, Some(values)) => deletions.push((field.to_owned(), values)),
            (_, Some(other)) => {
                patch.insert(name, other);
            }
            (_, None) => {}
        }
    }
    for (field, values) in deletions {
        delete_values(place, &mut original, &field, values)?;
    }
    for (field, order) in orders {
        let below = place.and_then(|place| place.member(&field));
        let patched = patch.remove(&field);
        merge_ordered(below, &mut original, field, patched, order)?;
    }
    for (name, value) in patch {
        merge_member(place, &mut original, name, value)?;
    }
    Ok(original)
}

/// `$retainKeys`: drops what is not listed; everything the patch sets must be listed (P-23).
fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>, keys: &Value) -> Result<(), Status> {
    let malformed = || bad("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(malformed)?;
    let kept = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let is_stray = |(name, value): (&String, &Value)| !value.is_null() && !name.starts_with('$') && !kept(name);
    if patch.iter().any(is_stray) {
        return Err(malformed());
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

/// `$deleteFromPrimitiveList/field`.
fn delete_values(
    place: Option<Place>,
    original: &mut Map<String, Value>,
    field: &str,
    values: Value,
) -> Result<(), Status> {
    let Value::Array(values) = values else { return Err(bad("invalid patch format of primitive list")) };
    let merges = place.and_then(|place| place.member(field)).is_some_and(Place::merges);
    match original.get_mut(field) {
        Some(Value::Array(items)) if merges => items.retain(|item| !values.contains(item)),
        // A list that is replaced as a whole takes what the directive lists, as upstream does.
        Some(Value::Array(items)) => *items = values,
        _ => {}
    }
    Ok(())
}

/// Merges one member that has no directive of its own.
fn merge_member(
    place: Option<Place>,
    original: &mut Map<String, Value>,
    name: String,
    value: Value,
) -> Result<(), Status> {
    if value.is_null() {
        original.remove(&name);
        return Ok(());
    }
    let below = place.and_then(|place| place.member(&name));
    let merged = match (original.remove(&name), value) {
        (Some(Value::Object(_)), Value::Object(patch)) if below.is_some_and(Place::replaces) => {
            Value::Object(merge_objects(below, Map::new(), patch)?)
        }
        (Some(Value::Object(before)), Value::Object(patch)) => Value::Object(merge_objects(below, before, patch)?),
        (Some(Value::Array(before)), Value::Array(patch)) if below.is_some_and(Place::merges) => {
            Value::Array(merge_lists(below, before, patch)?)
        }
        (Some(before), patch) if is_type_change(below, &before, &patch) => {
            return Err(bad(type_change(&before, &patch)));
        }
        (_, Value::Object(patch)) => Value::Object(merge_objects(below, Map::new(), patch)?),
        (_, Value::Array(patch)) if below.is_some_and(Place::merges) => {
            Value::Array(merge_lists(below, Vec::new(), patch)?)
        }
        (_, patch) => patch,
    };
    original.insert(name, merged);
    Ok(())
}

/// A merging list patched with something else, or the reverse (P-25).
fn is_type_change(place: Option<Place>, before: &Value, patch: &Value) -> bool {
    let is_container = |value: &Value| value.is_object() || value.is_array();
    let merges =
        place.is_some_and(Place::merges) || matches!(shape_of(place), Shape::Struct { .. } | Shape::Map { .. });
    merges && is_container(before) && is_container(patch) && before.is_object() != patch.is_object()
}

fn type_change(before: &Value, patch: &Value) -> String {
    let go = |value: &Value| if value.is_object() { "map[string]interface {}" } else { "[]interface {}" };
    format!("expected a {}, but received a {}", go(before), go(patch))
}

/// What the items of a list are, as far as merging goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Items {
    None,
    Objects,
    Scalars,
}

fn kind_of_items(lists: [&[Value]; 2]) -> Result<Items, Status> {
    let mut kind = Items::None;
    for item in lists.into_iter().flatten() {
        let this = match item {
            Value::Array(_) => {
                let mut status = Status::new(
                    meta::Reason::Invalid,
                    "the server rejected our request due to an error in our request",
                );
                status.details = Some(Box::default());
                return Err(status);
            }
            Value::Object(_) => Items::Objects,
            _ => Items::Scalars,
        };
        if kind != Items::None && kind != this {
            return Err(bad("list element types are not identical"));
        }
        kind = this;
    }
    Ok(kind)
}

/// Merges a list by its merge key, or as a set of scalars; the patch's order counts.
fn merge_lists(place: Option<Place>, before: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, Status> {
    let live = before.clone();
    match kind_of_items([&before, &patch])? {
        Items::None => Ok(before),
        Items::Scalars => {
            let merged = merge_scalars(before, &patch);
            Ok(arrange(merged, &patch, &live, &Identity::Scalar))
        }
        Items::Objects => {
            let Some(key) = place.and_then(Place::merge_key) else {
                return Err(bad("cannot merge lists without merge key for type struct"));
            };
            let (merged, order) = merge_keyed(place, before, patch, key)?;
            Ok(arrange(merged, &order, &live, &Identity::Key(key)))
        }
    }
}

fn merge_scalars(mut before: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    for value in patch {
        if !before.contains(value) {
            before.push(value.clone());
        }
    }
    before
}

/// Merges objects by key. Also returns the patch's items without directives, whose order counts.
fn merge_keyed(
    place: Option<Place>,
    mut before: Vec<Value>,
    patch: Vec<Value>,
    key: &'static str,
) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut order = Vec::with_capacity(patch.len());
    let mut replaces = false;
    let mut plain = Vec::with_capacity(patch.len());
    for item in patch {
        let Value::Object(object) = item else { return Err(bad("list element types are not identical")) };
        match object.get(DIRECTIVE) {
            None => plain.push(object),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let id = object.get(key).ok_or_else(|| no_merge_key(&object, key))?;
                    before.retain(|item| item.get(key) != Some(id));
                }
                Some("replace") => replaces = true,
                Some("merge") => return Err(bad("merging lists cannot yet be specified in the patch")),
                _ => return Err(unknown_directive(directive, &object)),
            },
        }
    }
    if replaces {
        before.clear();
    }
    for object in plain {
        let Some(id) = object.get(key).cloned() else { return Err(no_merge_key(&object, key)) };
        order.push(Value::Object(Map::from_iter([(key.to_owned(), id.clone())])));
        let at = before.iter().position(|item| item.get(key) == Some(&id));
        let original = match at.map(|at| before[at].take()) {
            Some(Value::Object(original)) => original,
            _ => Map::new(),
        };
        let item_place = place.and_then(Place::item);
        let merged = Value::Object(merge_objects(item_place, original, object)?);
        match at {
            Some(at) => before[at] = merged,
            None => before.push(merged),
        }
    }
    Ok((before, order))
}

/// How two items of a list are told to be the same.
enum Identity {
    Scalar,
    Key(&'static str),
}

impl Identity {
    fn position(&self, list: &[Value], item: &Value) -> Option<usize> {
        match self {
            Self::Scalar => list.iter().position(|other| other == item),
            Self::Key(key) => list.iter().position(|other| other.get(key).is_some() && other.get(key) == item.get(key)),
        }
    }
}

/// Puts merged items into order: those in `order` stand as there, the others as in `live`; one of the others comes
/// before an ordered one only if it does so in `live` (P-21).
fn arrange(merged: Vec<Value>, order: &[Value], live: &[Value], identity: &Identity) -> Vec<Value> {
    let mut ordered: Vec<(usize, Value)> = Vec::new();
    let mut others: Vec<(usize, Value)> = Vec::new();
    for item in merged {
        match identity.position(order, &item) {
            Some(at) => ordered.push((at, item)),
            None => others.push((identity.position(live, &item).unwrap_or(usize::MAX), item)),
        }
    }
    ordered.sort_by_key(|(at, _)| *at);
    others.sort_by_key(|(at, _)| *at);
    let mut out = Vec::with_capacity(ordered.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, item) in ordered {
        if let Some(here) = identity.position(live, &item) {
            while let Some((_, other)) = others.next_if(|(at, _)| *at < here) {
                out.push(other);
            }
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    out
}

/// Merges a list with its `$setElementOrder` (P-21, P-24).
fn merge_ordered(
    place: Option<Place>,
    original: &mut Map<String, Value>,
    field: String,
    patched: Option<Value>,
    order: Value,
) -> Result<(), Status> {
    let malformed = || bad("invalid patch format of setElementOrder list");
    let Value::Array(order) = order else { return Err(malformed()) };
    let patch = match patched {
        None => None,
        Some(Value::Null) => {
            original.remove(&field);
            return Ok(());
        }
        Some(Value::Array(patch)) => Some(patch),
        Some(_) => return Err(malformed()),
    };
    let before = match original.remove(&field) {
        None | Some(Value::Null) => None,
        Some(Value::Array(before)) => Some(before),
        Some(_) => return Err(malformed()),
    };
    if before.is_none() && patch.is_none() {
        return Ok(());
    }
    let identity = match place.and_then(Place::merge_key) {
        Some(key) => Identity::Key(key),
        None => Identity::Scalar,
    };
    if let Some(patch) = &patch {
        check_order(patch, &order, &identity)?;
    }
    let live = before.clone().unwrap_or_default();
    let merged = match (before, patch) {
        (before, Some(patch)) if place.is_some_and(Place::merges) => {
            merge_lists(place, before.unwrap_or_default(), patch)?
        }
        (_, Some(patch)) => patch,
        (before, None) => before.unwrap_or_default(),
    };
    original.insert(field, Value::Array(arrange(merged, &order, &live, &identity)));
    Ok(())
}

/// Every item that the patch does not delete stands in `$setElementOrder`, in the same relative order.
fn check_order(patch: &[Value], order: &[Value], identity: &Identity) -> Result<(), Status> {
    if order.is_empty() {
        return Ok(());
    }
    let mut from = 0;
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if let (Identity::Key(key), Value::Object(object)) = (identity, item)
            && !object.contains_key(*key)
        {
            return Err(no_merge_key(object, key));
        }
        match identity.position(&order[from..], item) {
            Some(at) => from += at + 1,
            None => {
                let go = |items: &[Value]| {
                    let items: Vec<String> =
                        items.iter().map(|i| i.as_object().map_or_else(|| i.to_string(), go_map)).collect();
                    format!("[{}]", items.join(" "))
                };
                return Err(bad(format!(
                    "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                    go(patch),
                    go(order)
                )));
            }
        }
    }
    Ok(())
}
