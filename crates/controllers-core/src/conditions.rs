//! Conditions in a status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::time;

/// A condition, with the fields that any of the kinds has.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// Generation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was last looked at (Job).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// When it was last found to be so (Deployment).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// Since when the status is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Machine-readable reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Condition {
    /// A condition that begins now.
    pub fn new(kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            status: if is_true { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(time(now)),
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            ..Self::default()
        }
    }

    /// Its status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Its reason is this one.
    pub fn is_because(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }
}

/// The condition of a type.
pub fn find<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether the condition of a type is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(Condition::is_true)
}

/// All but the condition of a type.
pub fn without(conditions: &[Condition], kind: &str) -> Vec<Condition> {
    conditions.iter().filter(|condition| condition.kind != kind).cloned().collect()
}

/// With a condition, last. One of the same status and reason stays as it is; one of the same status keeps its
/// transition time.
pub fn with(conditions: &[Condition], mut new: Condition) -> Vec<Condition> {
    if let Some(old) = find(conditions, &new.kind) {
        if old.status == new.status && old.reason == new.reason {
            return conditions.to_vec();
        }
        if old.status == new.status {
            new.last_transition_time.clone_from(&old.last_transition_time);
        }
    }
    let mut after = without(conditions, &new.kind);
    after.push(new);
    after
}
