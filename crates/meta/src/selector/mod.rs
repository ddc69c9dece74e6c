//! Label selectors: the string form of queries and the object form of specs (V-110).
//!
//! Start with [`LabelSelector`].

mod names;
mod parse;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

pub use names::{label_value_problems, qualified_name_problems};

/// Anything that label values can be read from.
pub trait Labels {
    /// The value of a label, if it is there.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(key))
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// How a requirement relates a label to its values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`.
    DoubleEquals,
    /// `key!=value`; also matches where the label is absent.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`; also matches where the label is absent.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`, for labels that are integers.
    GreaterThan,
    /// `key<1`, for labels that are integers.
    LessThan,
}

/// One term of a selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
    /// The value of `GreaterThan` and `LessThan` as a number.
    bound: i64,
}

impl Requirement {
    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The relation.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted and without repetition.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// True if labels that hold `value` for the key meet the requirement.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let holds = |value: &str| self.values.iter().any(|v| v == value);
        let number = |value: &str| value.parse::<i64>().ok();
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(holds),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(holds),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => value.and_then(number).is_some_and(|n| n > self.bound),
            Operator::LessThan => value.and_then(number).is_some_and(|n| n < self.bound),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// A parsed label selector: every requirement must be met.
///
/// The default selects everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LabelSelector {
    /// Sorted by key.
    requirements: Vec<Requirement>,
    /// An absent object-form selector selects nothing.
    selects_nothing: bool,
}

/// Why a selector is not one; the text is upstream's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

impl SelectorError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl LabelSelector {
    /// A selector without requirements.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A selector that no labels meet.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), selects_nothing: true }
    }

    /// Reads the string form, as in `?labelSelector=`.
    ///
    /// # Errors
    /// [`SelectorError`] with upstream's text, for a 400 answer.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Self::of)
    }

    /// Exactly these labels, as in a Service's `spec.selector` or `matchLabels`; unchecked.
    pub fn from_labels<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let equals = |(key, value): (K, V)| Requirement {
            key: key.into(),
            operator: Operator::Equals,
            values: vec![value.into()],
            bound: 0,
        };
        Self::of(labels.into_iter().map(equals).collect())
    }

    /// Reads a `metav1.LabelSelector` tree; `null` selects nothing, `{}` everything.
    ///
    /// # Errors
    /// [`SelectorError`] if an expression is not valid.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let Some(selector) = selector.as_object() else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(parse::requirement(key, Operator::Equals, vec![value])?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default();
            let operator = expression["operator"].as_str().unwrap_or_default();
            let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
            let values = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(Self::expression(key, operator, values)?);
        }
        Ok(Self::of(requirements))
    }

    /// One `matchExpressions` item.
    ///
    /// # Errors
    /// [`SelectorError`] if the operator, key or values are not valid.
    pub fn expression(key: &str, operator: &str, values: Vec<String>) -> Result<Requirement, SelectorError> {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(SelectorError::new(format!("{other:?} is not a valid label selector operator"))),
        };
        parse::requirement(key, operator, values)
    }

    /// A selector of ready-made requirements.
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, selects_nothing: false }
    }

    /// True if these labels meet every requirement.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        !self.selects_nothing && self.requirements.iter().all(|r| r.matches(labels.label(&r.key)))
    }

    /// True if the labels of a whole object meet every requirement.
    pub fn matches_object(&self, object: &Value) -> bool {
        if self.selects_everything() {
            return true;
        }
        let labels = object.get("metadata").and_then(|m| m.get("labels")).and_then(Value::as_object);
        self.matches(&labels)
    }

    /// True if nothing is required.
    pub fn selects_everything(&self) -> bool {
        self.requirements.is_empty() && !self.selects_nothing
    }

    /// True if no labels can meet it.
    pub fn selects_nothing(&self) -> bool {
        self.selects_nothing
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}
