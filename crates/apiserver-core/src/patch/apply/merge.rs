//! Merging a configuration into a live tree, by the schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::patch::fields::{index_items, item_element};
use crate::patch::place::{ListType, Place, Shape, shape_of};

/// The live tree with the configuration laid over it: what the configuration states wins, all else stays.
pub(super) fn merged(place: Option<Place>, live: Option<&Value>, config: &Value) -> Value {
    let Some(place) = place else { return config.clone() };
    match (shape_of(Some(place)), live, config) {
        (Shape::Struct { atomic: false } | Shape::Map { atomic: false }, live, Value::Object(config)) => {
            let live = live.and_then(Value::as_object);
            Value::Object(merged_objects(place, live, config))
        }
        (Shape::Struct { atomic: false } | Shape::Map { atomic: false }, Some(Value::Object(live)), Value::Null)
            if !live.is_empty() =>
        {
            Value::Object(live.clone())
        }
        (Shape::List(kind @ (ListType::Set | ListType::Map)), Some(Value::Array(live)), Value::Array(config)) => {
            match merged_lists(place, kind, live, config) {
                Some(items) => Value::Array(items),
                None => Value::Array(config.clone()),
            }
        }
        (Shape::List(ListType::Set | ListType::Map), Some(Value::Array(live)), Value::Null) if !live.is_empty() => {
            Value::Array(live.clone())
        }
        _ => config.clone(),
    }
}

fn merged_objects(place: Place, live: Option<&Map<String, Value>>, config: &Map<String, Value>) -> Map<String, Value> {
    let mut out = live.cloned().unwrap_or_default();
    for (name, value) in config {
        let before = live.and_then(|live| live.get(name));
        out.insert(name.clone(), merged(place.member(name), before, value));
    }
    out
}

/// Items stand in the order of the configuration; an item that is only live stands before the next shared item that
/// follows it in the live list.
fn merged_lists(place: Place, kind: ListType, live: &[Value], config: &[Value]) -> Option<Vec<Value>> {
    let live_index = index_items(place, kind, live)?;
    let live_elements: Vec<String> =
        live.iter().map(|item| item_element(place, kind, item)).collect::<Result<_, _>>().ok()?;
    let elements: Vec<String> =
        config.iter().map(|item| item_element(place, kind, item)).collect::<Result<_, _>>().ok()?;
    let stated: BTreeMap<&str, usize> = elements.iter().enumerate().map(|(i, e)| (e.as_str(), i)).collect();
    let is_shared = |element: &str| live_index.contains_key(element);

    let mut out = Vec::with_capacity(live.len() + config.len());
    let mut cursor = 0;
    for (i, (element, item)) in elements.iter().zip(config).enumerate() {
        // Live items go first up to the next shared one, or to the end if that has been passed.
        let next_shared = elements[i..].iter().find(|e| is_shared(e));
        let stop = next_shared
            .and_then(|next| live_elements[cursor..].iter().position(|e| e == next).map(|at| cursor + at))
            .unwrap_or(live.len());
        let only_live = (cursor..stop).filter(|&at| !stated.contains_key(live_elements[at].as_str()));
        out.extend(only_live.map(|at| live[at].clone()));
        cursor = stop;
        if live_elements.get(cursor) == Some(element) {
            cursor += 1;
        }
        let before = match live_index.get(element).map(Vec::as_slice) {
            Some([only]) => Some(*only),
            _ => None,
        };
        out.push(merged(place.item(), before, item));
    }
    let only_live = (cursor..live.len()).filter(|&at| !stated.contains_key(live_elements[at].as_str()));
    out.extend(only_live.map(|at| live[at].clone()));
    Some(out)
}
