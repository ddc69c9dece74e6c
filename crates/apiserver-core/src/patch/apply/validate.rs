//! Does a configuration have the schema's shape (P-46, P-48, P-49)?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::patch::fields::{item_element, write_element};
use crate::patch::place::{ListType, Place, Shape};

/// Most problems that are told; one is enough to refuse.
const PROBLEMS_MAX: usize = 20;

/// Everything that does not fit, each as `.path: text`.
pub(super) fn problems(place: Place, config: &Value) -> Vec<String> {
    let mut walk = Walk { path: String::new(), problems: Vec::new() };
    walk.visit(Some(place), config);
    walk.problems
}

/// The problems in one text, as upstream joins them.
pub(super) fn joined(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    }
}

struct Walk {
    path: String,
    problems: Vec<String>,
}

impl Walk {
    fn problem(&mut self, text: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(match self.path.as_str() {
                "" => text.to_owned(),
                path => format!("{path}: {text}"),
            });
        }
    }

    fn below(&mut self, element: &str, place: Option<Place>, value: &Value) {
        let length = self.path.len();
        write_element(&mut self.path, element);
        self.visit(place, value);
        self.path.truncate(length);
    }

    fn visit(&mut self, place: Option<Place>, value: &Value) {
        let Some(place) = place else { return self.problem("field not declared in schema") };
        match (place.shape(), value) {
            (_, Value::Null) | (Shape::Opaque, _) => {}
            (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(object)) => {
                for (name, value) in object {
                    self.below(&format!("f:{name}"), place.member(name), value);
                }
            }
            (Shape::List(kind), Value::Array(items)) => self.visit_items(place, kind, items),
            (Shape::Text, Value::String(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Scalar, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
            (Shape::Struct { .. } | Shape::Map { .. }, other) => self.problem(&format!("expected map, got {other}")),
            (Shape::List(_), other) => self.problem(&format!("expected list, got {other}")),
            (Shape::Text, other) => self.problem(&format!("expected string, got {other}")),
            (Shape::Number, other) => {
                self.problem(&format!("expected numeric (int or float), got {}", go_type(other)));
            }
            (Shape::Boolean, other) => self.problem(&format!("expected boolean, got {other}")),
            (Shape::Scalar, other) => self.problem(&format!("expected any scalar, got {other}")),
        }
    }

    fn visit_items(&mut self, list: Place, kind: ListType, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let element = match kind {
                ListType::Atomic => format!("i:{index}"),
                ListType::Set | ListType::Map => match item_element(list, kind, item) {
                    Ok(element) => element,
                    Err(text) => {
                        self.problem(&format!("element {index}: {text}"));
                        continue;
                    }
                },
            };
            if !seen.insert(element.clone()) {
                let mut key = String::new();
                write_element(&mut key, &element);
                self.problem(&format!("duplicate entries for key {key}"));
            }
            self.below(&element, list.item(), item);
        }
    }
}

/// A value's type as Go names it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
