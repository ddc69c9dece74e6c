//! Label selectors, as objects carry them (`matchLabels`, `matchExpressions`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A selector that cannot be understood; it selects nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{operator}\" is not a valid label selector operator")]
pub struct UnknownOperator {
    /// The operator as written.
    pub operator: String,
}

/// A checked label selector.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    /// `matchLabels`.
    pub match_labels: Labels,
    expressions: Vec<Expression>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Expression {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Selector {
    /// Checks a selector from an object.
    ///
    /// # Errors
    /// [`UnknownOperator`].
    pub fn parse(selector: &LabelSelector) -> Result<Self, UnknownOperator> {
        let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
            let key = requirement.key.clone();
            let values = requirement.values.clone().unwrap_or_default();
            match requirement.operator.as_str() {
                "In" => Ok(Expression::In(key, values)),
                "NotIn" => Ok(Expression::NotIn(key, values)),
                "Exists" => Ok(Expression::Exists(key)),
                "DoesNotExist" => Ok(Expression::DoesNotExist(key)),
                operator => Err(UnknownOperator { operator: operator.to_owned() }),
            }
        });
        Ok(Self {
            match_labels: selector.match_labels.clone().unwrap_or_default(),
            expressions: expressions.collect::<Result<_, _>>()?,
        })
    }

    /// A selector that wants exactly these labels; empty ones select everything.
    pub fn exactly(labels: &Labels) -> Self {
        Self { match_labels: labels.clone(), expressions: Vec::new() }
    }

    /// Whether an object with these labels is selected.
    pub fn selects(&self, labels: Option<&Labels>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.get(key));
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
            && self.expressions.iter().all(|expression| match expression {
                Expression::In(key, values) => value(key).is_some_and(|value| values.contains(value)),
                Expression::NotIn(key, values) => value(key).is_none_or(|value| !values.contains(value)),
                Expression::Exists(key) => value(key).is_some(),
                Expression::DoesNotExist(key) => value(key).is_none(),
            })
    }
}
