//! Removing what a manager applied before and applies no longer (P-44 step 3).

use serde_json::{Map, Value};

use crate::patch::fields::{FieldSet, item_element, stated, with_structs};
use crate::patch::place::{ListType, Place, Shape};

/// The merged object without the fields of `last` that are in nobody's set of `owned` (the new configuration's own set
/// included).
///
/// A struct that only `last` held together goes with everything in it, also with fields that nobody owns, such as
/// defaults.
pub(super) fn pruned(place: Place, merged: Value, last: FieldSet, owned: FieldSet) -> Value {
    let root = Some(place);
    let last = with_structs(root, last);
    let all = with_structs(root, stated(root, &merged));

    let without_last = without(root, &merged, &last).unwrap_or(Value::Null);
    let mut gone = all.clone();
    gone.subtract(&with_structs(root, stated(root, &without_last)));
    gone.subtract(&with_structs(root, owned));

    let without_unowned = without(root, &merged, &gone).unwrap_or(Value::Null);
    let mut gone = all;
    gone.subtract(&with_structs(root, stated(root, &without_unowned)));
    let gone = gone.intersection(&last);
    without(root, &merged, &gone).unwrap_or(Value::Object(Map::new()))
}

/// A tree without the paths of a set; `None` if nothing is left of it.
fn without(place: Option<Place>, value: &Value, set: &FieldSet) -> Option<Value> {
    if set.is_empty() {
        return Some(value.clone());
    }
    let Some(place) = place.filter(|place| !place.shape().is_leaf()) else { return Some(value.clone()) };
    match value {
        Value::Object(object) => {
            let mut out = Map::new();
            for (name, value) in object {
                let kept = match set.children.get(&format!("f:{name}")) {
                    None => Some(value.clone()),
                    Some(child) if child.member => None,
                    Some(child) => without(place.member(name), value, child),
                };
                if let Some(kept) = kept {
                    out.insert(name.clone(), kept);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Value::Array(items) => {
            let Shape::List(kind @ (ListType::Set | ListType::Map)) = place.shape() else { return Some(value.clone()) };
            let keep = |item: &Value| {
                let child = item_element(place, kind, item).ok().and_then(|element| set.children.get(&element));
                match child {
                    None => Some(item.clone()),
                    Some(child) if child.member => None,
                    Some(child) => without(place.item(), item, child),
                }
            };
            let items: Vec<Value> = items.iter().filter_map(keep).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        _ => Some(value.clone()),
    }
}
