//! Field paths and field errors, printed as upstream prints them (V-9).

use std::fmt;

use meta::{Cause, Reason, Status, StatusDetails};
use serde_json::Value;

/// The place of a value in an object; lives on the stack and costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A member of the object itself. An empty name stands for the whole object and prints as `[]`.
    pub const fn root(name: &'a str) -> Self {
        Self { parent: None, part: Part::Field(name) }
    }

    /// A member.
    pub const fn child(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Field(name) }
    }

    /// A list item.
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), part: Part::Index(index) }
    }

    /// A map entry.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.part, self.parent) {
            (Part::Field(""), None) => f.write_str("[]"),
            (Part::Field(name), None) => f.write_str(name),
            (Part::Field(name), Some(_)) => write!(f, ".{name}"),
            (Part::Index(index), _) => write!(f, "[{index}]"),
            (Part::Key(key), _) => write!(f, "[{key}]"),
        }
    }
}

/// The kinds of field error; each has a word for people and one for machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Must be there and is not.
    Required,
    /// Breaks a rule.
    Invalid,
    /// None of the few words that are allowed.
    NotSupported,
    /// Must not be there, or must not change.
    Forbidden,
    /// Must be unique and is not.
    Duplicate,
    /// Names something that does not exist.
    NotFound,
    /// More bytes than allowed.
    TooLong,
    /// More items than allowed.
    TooMany,
}

impl ErrorKind {
    fn word(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }
}

/// One broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    /// What kind of rule.
    pub kind: ErrorKind,
    /// The field's path, printed.
    pub field: String,
    /// What is wrong, without the path: `Invalid value: -1: must be …`.
    pub body: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// The broken rules of one object, in the order they were found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// No errors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rules are broken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.0.iter()
    }

    fn push(&mut self, kind: ErrorKind, path: &Path<'_>, value: Option<String>, detail: &str) {
        let mut body = kind.word().to_owned();
        for part in [value.as_deref().unwrap_or_default(), detail] {
            if !part.is_empty() {
                body.push_str(": ");
                body.push_str(part);
            }
        }
        self.0.push(FieldError { kind, field: path.to_string(), body });
    }

    /// A value that must be there and is not; `detail` may be empty.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(ErrorKind::Required, path, None, detail);
    }

    /// A value that breaks a rule. `Null` prints as upstream's nil pointer does.
    pub fn invalid(&mut self, path: &Path<'_>, value: &Value, detail: &str) {
        self.push(ErrorKind::Invalid, path, Some(render(value)), detail);
    }

    /// A value that breaks a rule, printed already: where upstream's rendering is not that of the wire.
    pub fn invalid_shown(&mut self, path: &Path<'_>, shown: &str, detail: &str) {
        self.push(ErrorKind::Invalid, path, Some(shown.to_owned()), detail);
    }

    /// A text that breaks a rule.
    pub fn invalid_text(&mut self, path: &Path<'_>, value: &str, detail: &str) {
        self.push(ErrorKind::Invalid, path, Some(go_quoted(value)), detail);
    }

    /// A number that breaks a rule.
    pub fn invalid_int(&mut self, path: &Path<'_>, value: i64, detail: &str) {
        self.push(ErrorKind::Invalid, path, Some(value.to_string()), detail);
    }

    /// A text that is none of those allowed.
    pub fn not_supported(&mut self, path: &Path<'_>, value: &str, allowed: &[&str]) {
        let allowed: Vec<String> = allowed.iter().map(|word| go_quoted(word)).collect();
        let detail =
            if allowed.is_empty() { String::new() } else { format!("supported values: {}", allowed.join(", ")) };
        self.push(ErrorKind::NotSupported, path, Some(go_quoted(value)), &detail);
    }

    /// A structured value that is none of those allowed.
    pub fn not_supported_value(&mut self, path: &Path<'_>, value: &Value, allowed: &[&str]) {
        self.not_supported_shown(path, &render(value), allowed);
    }

    /// A value that is none of those allowed, printed already.
    pub fn not_supported_shown(&mut self, path: &Path<'_>, shown: &str, allowed: &[&str]) {
        let allowed: Vec<String> = allowed.iter().map(|word| go_quoted(word)).collect();
        let detail = format!("supported values: {}", allowed.join(", "));
        self.push(ErrorKind::NotSupported, path, Some(shown.to_owned()), &detail);
    }

    /// A value that must not be there, or must not change.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(ErrorKind::Forbidden, path, None, detail);
    }

    /// A value that must be unique and is not, printed already; `detail` may be empty.
    pub fn duplicate_shown(&mut self, path: &Path<'_>, shown: &str, detail: &str) {
        self.push(ErrorKind::Duplicate, path, Some(shown.to_owned()), detail);
    }

    /// A text that must be unique and is not.
    pub fn duplicate_text(&mut self, path: &Path<'_>, value: &str) {
        self.push(ErrorKind::Duplicate, path, Some(go_quoted(value)), "");
    }

    /// A name of something that does not exist.
    pub fn not_found(&mut self, path: &Path<'_>, value: &str) {
        self.push(ErrorKind::NotFound, path, Some(go_quoted(value)), "");
    }

    /// More bytes than `max`.
    pub fn too_long(&mut self, path: &Path<'_>, max: usize) {
        self.push(ErrorKind::TooLong, path, None, &format!("may not be more than {max} bytes"));
    }

    /// More items than `max`.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.push(ErrorKind::TooMany, path, Some(actual.to_string()), &format!("must have at most {max} {items}"));
    }

    /// Adds an error found elsewhere.
    pub fn add(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Each message of a name rule as an error of its own.
    pub fn invalid_each(&mut self, path: &Path<'_>, value: &str, messages: impl IntoIterator<Item = String>) {
        for message in messages {
            self.invalid_text(path, value, &message);
        }
    }

    /// The 422 that the client sees (V-7, K-37); `None` if nothing is wrong.
    pub fn into_status(self, group: &str, kind: &str, name: &str) -> Option<Status> {
        let mut messages: Vec<String> = Vec::with_capacity(self.0.len());
        for message in self.0.iter().map(FieldError::to_string) {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        let joined = match messages.as_slice() {
            [] => return None,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes = self
            .0
            .into_iter()
            .map(|error| Cause { reason: error.kind.reason().to_owned(), message: error.body, field: error.field })
            .collect();
        let mut status = Status::new(Reason::Invalid, format!("{qualified} {} is invalid: {joined}", go_quoted(name)));
        status.details = Some(Box::new(StatusDetails {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..StatusDetails::default()
        }));
        Some(status)
    }
}

/// A value as upstream's errors show it: texts quoted, everything else as JSON, nothing as `"null"`.
fn render(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::String(text) => go_quoted(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => escape_html(&value.to_string()),
    }
}

/// Go's JSON writes the characters that are special in HTML as escapes.
fn escape_html(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// A text as Go's `%q` prints it.
pub fn go_quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c if c.is_control()
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}') =>
            {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_print_members_indices_and_keys() {
        let spec = Path::root("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        let limits = first.child("limits");
        assert_eq!(limits.key("cpu").to_string(), "spec.containers[0].limits[cpu]");
        assert_eq!(Path::root("").to_string(), "[]");
    }

    #[test]
    fn one_error_stands_alone_and_several_stand_in_brackets() {
        let mut errors = Errors::new();
        let spec = Path::root("spec");
        errors.required(&spec.child("a"), "");
        let one = errors.clone().into_status("apps", "StatefulSet", "web").expect("an error");
        assert_eq!(one.message, "StatefulSet.apps \"web\" is invalid: spec.a: Required value");
        errors.invalid(&spec.child("b"), &json!({"k": "<v>"}), "no good");
        errors.not_supported(&spec.child("c"), "x", &["A", "B"]);
        errors.required(&spec.child("a"), "");
        let several = errors.into_status("", "Pod", "web").expect("errors");
        assert_eq!(
            several.message,
            "Pod \"web\" is invalid: [spec.a: Required value, spec.b: Invalid value: {\"k\":\"\\u003cv\\u003e\"}: no \
             good, spec.c: Unsupported value: \"x\": supported values: \"A\", \"B\"]"
        );
        let details = several.details.expect("details");
        assert_eq!((details.kind.as_str(), details.causes.len()), ("Pod", 4));
        assert_eq!(details.causes[0].reason, "FieldValueRequired");
        assert_eq!(details.causes[2].message, "Unsupported value: \"x\": supported values: \"A\", \"B\"");
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        assert_eq!(go_quoted("a\"b\\c\n\u{1}\u{7f}é"), "\"a\\\"b\\\\c\\n\\x01\\x7fé\"");
    }
}
