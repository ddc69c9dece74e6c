//! Sets of field paths, as `managedFields` writes them (P-41).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A set of paths, held as a tree.
///
/// Elements of paths are held in their `FieldsV1` spelling: `f:name`, `k:{"name":"web"}`, `v:"x"`, `i:0`. A node without
/// members below it is never kept.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FieldSet {
    /// The path that leads here is in the set (`.`, or a leaf).
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

/// Why a `fieldsV1` is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("field set has an element {element:?} that is not a field path")]
pub struct FieldSetError {
    /// The bad element.
    pub element: String,
}

impl FieldSet {
    /// A set that holds only the path that leads to it.
    pub(crate) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// True if no path is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts a set under an element, unless it is empty.
    pub(crate) fn put(&mut self, element: String, child: FieldSet) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    /// Adds one path of field names.
    pub fn insert_fields(&mut self, path: &[&str]) {
        let node = path.iter().fold(self, |node, name| node.children.entry(format!("f:{name}")).or_default());
        node.member = true;
    }

    /// True if a path of field names is in the set.
    pub fn has_fields(&self, path: &[&str]) -> bool {
        let mut node = self;
        for name in path {
            let Some(child) = node.children.get(&format!("f:{name}")) else { return false };
            node = child;
        }
        node.member
    }

    /// Reads a `fieldsV1` tree.
    ///
    /// # Errors
    /// [`FieldSetError`] if an element is none of the four kinds.
    pub fn from_json(value: &Value) -> Result<Self, FieldSetError> {
        let bad = |element: &str| FieldSetError { element: element.to_owned() };
        let object = value.as_object().ok_or_else(|| bad(&value.to_string()))?;
        let mut set = Self::default();
        for (element, child) in object {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut below = Self::from_json(child)?;
            if below.children.is_empty() {
                below.member = true;
            }
            set.children.insert(canonical(element).ok_or_else(|| bad(element))?, below);
        }
        Ok(set)
    }

    /// Writes a `fieldsV1` tree.
    pub fn into_json(self) -> Value {
        let mut object = Map::new();
        if self.member && !self.children.is_empty() {
            object.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in self.children {
            object.insert(element, child.into_json());
        }
        Value::Object(object)
    }

    /// Adds every path of `other`.
    pub fn union(&mut self, other: Self) {
        self.member |= other.member;
        for (element, child) in other.children {
            match self.children.entry(element) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(child);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().union(child),
            }
        }
    }

    /// Takes away exactly the paths of `other`; paths below them stay.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        if other.children.is_empty() {
            return;
        }
        self.children.retain(|element, child| {
            if let Some(gone) = other.children.get(element) {
                child.subtract(gone);
            }
            !child.is_empty()
        });
    }

    /// Takes away the paths of `other` and everything below them.
    pub fn subtract_below(&mut self, other: &Self) {
        if other.member {
            *self = Self::default();
            return;
        }
        if other.children.is_empty() {
            return;
        }
        self.children.retain(|element, child| {
            if let Some(gone) = other.children.get(element) {
                child.subtract_below(gone);
            }
            !child.is_empty()
        });
    }

    /// The paths in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: BTreeMap::new() };
        let (few, many) = if self.children.len() <= other.children.len() { (self, other) } else { (other, self) };
        for (element, child) in &few.children {
            if let Some(same) = many.children.get(element) {
                both.put(element.clone(), child.intersection(same));
            }
        }
        both
    }

    /// True if some path is in both.
    pub fn intersects(&self, other: &Self) -> bool {
        if self.member && other.member {
            return true;
        }
        let (few, many) = if self.children.len() <= other.children.len() { (self, other) } else { (other, self) };
        few.children
            .iter()
            .any(|(element, child)| many.children.get(element).is_some_and(|same| child.intersects(same)))
    }

    /// Every path as error texts print it, `.spec.containers[name="web"].image`: at each level the members first.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(&mut String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut String, paths: &mut Vec<String>) {
        let length = prefix.len();
        for (element, child) in &self.children {
            if child.member {
                write_element(prefix, element);
                paths.push(prefix.clone());
                prefix.truncate(length);
            }
        }
        for (element, child) in &self.children {
            if !child.children.is_empty() {
                write_element(prefix, element);
                child.collect_paths(prefix, paths);
                prefix.truncate(length);
            }
        }
    }
}

/// Appends an element as error texts print it.
pub(crate) fn write_element(out: &mut String, element: &str) {
    let (kind, rest) = element.split_at(element.len().min(2));
    // Writing to a string cannot fail.
    let _ = match kind {
        "k:" => match serde_json::from_str::<Map<String, Value>>(rest) {
            Ok(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(out, "[{}]", keys.join(","))
            }
            Err(_) => write!(out, "[{rest}]"),
        },
        "v:" => write!(out, "[={rest}]"),
        "i:" => write!(out, "[{rest}]"),
        _ => write!(out, ".{rest}"),
    };
}

/// The one spelling of an element; `None` if it is none. Elements of other kinds that a newer version may know are
/// refused, as their meaning is unknown.
fn canonical(element: &str) -> Option<String> {
    match element.get(..2)? {
        "f:" => Some(element.to_owned()),
        "i:" => element[2..].parse::<i64>().ok().map(|_| element.to_owned()),
        "v:" => serde_json::from_str::<Value>(&element[2..]).ok().map(|value| format!("v:{value}")),
        "k:" => serde_json::from_str::<Map<String, Value>>(&element[2..])
            .ok()
            .filter(|keys| !keys.is_empty())
            .map(|keys| format!("k:{}", Value::Object(keys))),
        _ => None,
    }
}
