//! Reading and writing untyped trees without ceremony: absent and empty read the same.

use serde_json::{Map, Value};

/// A text member; empty if absent.
pub(crate) fn text<'a>(tree: &'a Value, key: &str) -> &'a str {
    tree.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number.
pub(crate) fn int(tree: &Value, key: &str) -> Option<i64> {
    tree.get(key).and_then(Value::as_i64)
}

/// True only for `true`.
pub(crate) fn flag(tree: &Value, key: &str) -> bool {
    tree.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of a list; none if absent.
pub(crate) fn items<'a>(tree: &'a Value, key: &str) -> &'a [Value] {
    tree.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The items of a list, to be changed; none if absent.
pub(crate) fn items_mut<'a>(tree: &'a mut Value, key: &str) -> std::slice::IterMut<'a, Value> {
    match tree.get_mut(key) {
        Some(Value::Array(items)) => items.iter_mut(),
        _ => [].iter_mut(),
    }
}

/// The entries of a map of texts (labels, annotations, selectors); none if absent.
pub(crate) fn entries<'a>(tree: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    tree.get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

/// A member; `Null` if absent.
pub(crate) fn member<'a>(tree: &'a Value, key: &str) -> &'a Value {
    tree.get(key).unwrap_or(&Value::Null)
}

/// The member at a path of names; `Null` if absent.
pub(crate) fn at<'a>(tree: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(tree, |tree, key| member(tree, key))
}

/// True if the member is there and not null.
pub(crate) fn has(tree: &Value, key: &str) -> bool {
    tree.get(key).is_some_and(|value| !value.is_null())
}

/// The object under a key, made if it is not there.
pub(crate) fn object_mut<'a>(tree: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    as_object_mut(child_mut(tree, key))
}

/// What is under a key, whatever it is; an empty object is put there if nothing is.
pub(crate) fn child_mut<'a>(tree: &'a mut Value, key: &str) -> &'a mut Value {
    as_object_mut(tree).entry(key).or_insert_with(|| Value::Object(Map::new()))
}

/// The tree as an object; anything else is replaced by an empty one.
pub(crate) fn as_object_mut(tree: &mut Value) -> &mut Map<String, Value> {
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    match tree {
        Value::Object(members) => members,
        _ => unreachable!("just made an object"),
    }
}

/// Removes a member, if the tree has members at all.
pub(crate) fn remove(tree: &mut Value, key: &str) -> Option<Value> {
    tree.as_object_mut().and_then(|members| members.remove(key))
}

/// Sets a member.
pub(crate) fn set(tree: &mut Value, key: &str, value: impl Into<Value>) {
    as_object_mut(tree).insert(key.to_owned(), value.into());
}

/// Sets a member unless it is there.
pub(crate) fn set_default(tree: &mut Value, key: &str, value: impl Into<Value>) {
    if !has(tree, key) {
        set(tree, key, value);
    }
}

/// Makes a member of `to` equal to that of `from`: set, or absent.
pub(crate) fn copy_member(to: &mut Value, from: &Value, key: &str) {
    match from.get(key) {
        Some(value) => set(to, key, value.clone()),
        None => {
            remove(to, key);
        }
    }
}
