//! From trees to field sets: what a tree holds, and what a write changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::FieldSet;
use crate::patch::place::{ListType, Place, Shape, shape_of};

/// What differs between two trees.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Difference {
    /// Paths that appeared or have another value.
    pub changed: FieldSet,
    /// Paths that are gone.
    pub removed: FieldSet,
}

impl Difference {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }

    fn of_leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        match (old, new) {
            (None, None) => Self::default(),
            (Some(_), None) => Self { changed: FieldSet::default(), removed: FieldSet::leaf() },
            (Some(old), Some(new)) if old == new => Self::default(),
            (_, Some(_)) => Self { changed: FieldSet::leaf(), removed: FieldSet::default() },
        }
    }

    fn put(&mut self, element: impl FnOnce() -> String, child: Self) {
        if child.is_empty() {
            return;
        }
        let element = element();
        if !child.removed.is_empty() {
            self.removed.put(element.clone(), child.removed);
        }
        self.changed.put(element, child.changed);
    }

    /// A container that came or went is itself a path (`.`).
    fn mark_container(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.changed.member = true,
            (Some(_), None) => self.removed.member = true,
            _ => {}
        }
    }
}

static NO_MEMBERS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// An object's members; null has none. `None` if the value is something else.
fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    match value {
        None | Some(Value::Null) => Some(&NO_MEMBERS),
        Some(Value::Object(object)) => Some(object),
        Some(_) => None,
    }
}

/// A list's items; null has none. `None` if the value is something else.
fn items(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None | Some(Value::Null) => Some(&[]),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn field_element(name: &str) -> String {
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element
}

/// The element of one item of a [`ListType::Set`] or [`ListType::Map`]; an absent key takes its default (P-49).
///
/// # Errors
/// Upstream's sentence if the item cannot be told from others.
pub(crate) fn item_element(list: Place, kind: ListType, item: &Value) -> Result<String, String> {
    if kind == ListType::Set {
        return match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(format!("v:{scalar}")),
        };
    }
    let object = match item {
        Value::Object(object) => object,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let mut keys: Vec<(&str, &Value)> = Vec::with_capacity(list.keys().len());
    for &name in list.keys() {
        let default = || list.item().and_then(|item| item.field(name)).and_then(Place::default);
        match object.get(name).filter(|value| !value.is_null()).or_else(default) {
            Some(value) => keys.push((name, value)),
            None => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {name:?} (and doesn't have \
                     default value)"
                ));
            }
        }
    }
    keys.sort_unstable_by_key(|(name, _)| *name);
    let mut element = String::with_capacity(32);
    element.push_str("k:{");
    for (i, (name, value)) in keys.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string cannot fail; names of fields need no escapes.
        let _ = write!(element, "{comma}\"{name}\":{value}");
    }
    element.push('}');
    Ok(element)
}

/// The items of a list under their elements, repeated ones together; `None` if one has no element.
pub(crate) fn index_items(list: Place, kind: ListType, items: &[Value]) -> Option<BTreeMap<String, Vec<&Value>>> {
    let mut index: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in items {
        index.entry(item_element(list, kind, item).ok()?).or_default().push(item);
    }
    Some(index)
}

/// Compares two trees at a place.
///
/// Goes down only where they differ; text is made only for paths that do.
pub fn difference(place: Option<Place>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let shape = shape_of(place);
    match (place, shape) {
        (Some(place), Shape::Struct { atomic: false } | Shape::Map { atomic: false }) => {
            match (members(old), members(new)) {
                (Some(a), Some(b)) if !(a.is_empty() && b.is_empty()) => {
                    let mut found = difference_of_objects(place, a, b);
                    found.mark_container(old, new);
                    found
                }
                _ => Difference::of_leaf(old, new),
            }
        }
        (Some(place), Shape::List(kind @ (ListType::Set | ListType::Map))) => match (items(old), items(new)) {
            (Some(a), Some(b)) if !(a.is_empty() && b.is_empty()) => match difference_of_lists(place, kind, a, b) {
                Some(mut found) => {
                    found.mark_container(old, new);
                    found
                }
                None => Difference::of_leaf(old, new),
            },
            _ => Difference::of_leaf(old, new),
        },
        _ => Difference::of_leaf(old, new),
    }
}

fn difference_of_objects(place: Place, old: &Map<String, Value>, new: &Map<String, Value>) -> Difference {
    let mut found = Difference::default();
    let mut gone = old.iter().peekable();
    for (name, value) in new {
        while let Some((old_name, old_value)) = gone.next_if(|(old_name, _)| *old_name < name) {
            let child = difference(place.member(old_name), Some(old_value), None);
            found.put(|| field_element(old_name), child);
        }
        let before = gone.next_if(|(old_name, _)| *old_name == name).map(|(_, old_value)| old_value);
        // Most of an object is as it was: to see that takes no schema.
        if before == Some(value) {
            continue;
        }
        let child = difference(place.member(name), before, Some(value));
        found.put(|| field_element(name), child);
    }
    for (old_name, old_value) in gone {
        let child = difference(place.member(old_name), Some(old_value), None);
        found.put(|| field_element(old_name), child);
    }
    found
}

/// True if two items have the same keys, without making their elements.
fn same_item(list: Place, kind: ListType, old: &Value, new: &Value) -> bool {
    match kind {
        ListType::Map => {
            old.is_object()
                && new.is_object()
                && list.keys().iter().all(|&key| old.get(key).is_some() && old.get(key) == new.get(key))
        }
        ListType::Set | ListType::Atomic => old == new,
    }
}

fn difference_of_lists(list: Place, kind: ListType, old: &[Value], new: &[Value]) -> Option<Difference> {
    let mut found = Difference::default();
    let in_step = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same_item(list, kind, a, b));
    if in_step {
        for (a, b) in old.iter().zip(new) {
            let child = difference(list.item(), Some(a), Some(b));
            if !child.is_empty() {
                let element = item_element(list, kind, b).ok()?;
                found.put(|| element, child);
            }
        }
        return Some(found);
    }
    let old = index_items(list, kind, old)?;
    let mut new = index_items(list, kind, new)?;
    for (element, before) in old {
        let after = new.remove(&element).unwrap_or_default();
        let child = difference_of_items(list, &before, &after);
        found.put(|| element, child);
    }
    for (element, after) in new {
        let child = difference_of_items(list, &[], &after);
        found.put(|| element, child);
    }
    Some(found)
}

/// Compares the items of one element; repeated items count as one value (P-48).
fn difference_of_items(list: Place, old: &[&Value], new: &[&Value]) -> Difference {
    if old.len() <= 1 && new.len() <= 1 {
        return difference(list.item(), old.first().copied(), new.first().copied());
    }
    let mut found = Difference::default();
    if new.is_empty() {
        found.removed.member = true;
    } else if old != new {
        found.changed.member = true;
    }
    found
}

/// Every path that a configuration states: its leaves, the items of its lists and the keys of its maps (P-44).
pub fn stated(place: Option<Place>, value: &Value) -> FieldSet {
    let shape = shape_of(place);
    let Some(place) = place.filter(|_| !shape.is_leaf()) else { return FieldSet::leaf() };
    let mut set = FieldSet::default();
    match (shape, value) {
        (_, Value::Null) => {}
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(object)) => {
            for (name, value) in object {
                let mut child = stated(place.member(name), value);
                let is_declared = place.field(name).is_some();
                let is_bare = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                child.member |= is_bare || !is_declared;
                set.put(field_element(name), child);
            }
        }
        (Shape::List(kind), Value::Array(items)) => match index_items(place, kind, items) {
            Some(index) => {
                for (element, items) in index {
                    let mut child = match items.as_slice() {
                        [item] => stated(place.item(), item),
                        _ => FieldSet::default(),
                    };
                    child.member = true;
                    set.put(element, child);
                }
            }
            None => set.member = true,
        },
        _ => set.member = true,
    }
    set
}

/// Adds the structs on the way to the members of a set: whoever owns `a.b` owns the field `a` too, though not the map
/// `a`.
pub(crate) fn with_structs(place: Option<Place>, mut set: FieldSet) -> FieldSet {
    let Some(place) = place else { return set };
    for (element, child) in &mut set.children {
        let name = element.strip_prefix("f:");
        let below = match name {
            Some(name) => place.member(name),
            None => place.item(),
        };
        *child = with_structs(below, std::mem::take(child));
        child.member |= name.is_some_and(|name| place.field(name).is_some()) && !child.children.is_empty();
    }
    set
}

/// Cuts off what lies below an atomic value: who owned a part owns the whole (P-53).
pub(crate) fn fit_to_schema(place: Option<Place>, set: &mut FieldSet) {
    let shape = shape_of(place);
    match place {
        Some(place) if !shape.is_leaf() => {
            for (element, child) in &mut set.children {
                let below = match element.strip_prefix("f:") {
                    Some(name) => place.member(name),
                    None => place.item(),
                };
                fit_to_schema(below, child);
            }
        }
        _ if !set.children.is_empty() => *set = FieldSet::leaf(),
        _ => {}
    }
}
