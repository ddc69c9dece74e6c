//! What a node selector's operators and a toleration mean.

use std::cmp::Ordering;

/// Whether a requirement of a node selector holds for a label's (or field's) value; an unknown operator never does.
pub fn holds(operator: &str, values: &[String], value: Option<&str>) -> bool {
    let is_listed = value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let compares = |wanted: Ordering| {
        let number = value.and_then(|value| value.parse::<i64>().ok());
        let bound = values.first().and_then(|bound| bound.parse::<i64>().ok());
        number.zip(bound).is_some_and(|(number, bound)| number.cmp(&bound) == wanted)
    };
    match operator {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compares(Ordering::Greater),
        "Lt" => compares(Ordering::Less),
        _ => false,
    }
}

/// A toleration; what it does not say is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tolerated<'a> {
    /// Empty means every key.
    pub key: &'a str,
    /// `Exists`, or `Equal`, which is what empty means.
    pub operator: &'a str,
    /// The taint's value, with `Equal`.
    pub value: &'a str,
    /// Empty means every effect.
    pub effect: &'a str,
}

impl Tolerated<'_> {
    /// Whether it is for a taint.
    pub fn covers(&self, key: &str, value: &str, effect: &str) -> bool {
        if !self.effect.is_empty() && self.effect != effect || !self.key.is_empty() && self.key != key {
            return false;
        }
        match self.operator {
            "Exists" => true,
            "" | "Equal" => !self.key.is_empty() && self.value == value,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_mean_what_they_say() {
        let listed = |operator: &str, value: Option<&str>| holds(operator, &["5".to_owned(), "b".to_owned()], value);
        assert!(listed("In", Some("b")) && !listed("In", Some("c")) && !listed("In", None));
        assert!(listed("NotIn", Some("c")) && listed("NotIn", None) && !listed("NotIn", Some("5")));
        assert!(listed("Exists", Some("x")) && listed("DoesNotExist", None));
        assert!(listed("Gt", Some("6")) && !listed("Gt", Some("5")) && listed("Lt", Some("4")) && !listed("Lt", None));
        assert!(!listed("Odd", Some("5")));
    }

    #[test]
    fn a_toleration_covers_its_key_value_and_effect() {
        let covers = |key, operator, value, effect| {
            Tolerated { key, operator, value, effect }.covers("disk", "slow", "NoSchedule")
        };
        assert!(covers("disk", "", "slow", "") && covers("disk", "Equal", "slow", "NoSchedule"));
        assert!(covers("disk", "Exists", "", "NoSchedule") && covers("", "Exists", "", ""));
        assert!(!covers("disk", "Equal", "fast", "") && !covers("cpu", "Exists", "", ""));
        assert!(!covers("disk", "Exists", "", "NoExecute") && !covers("", "Equal", "slow", ""));
    }
}
