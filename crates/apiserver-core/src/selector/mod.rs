//! Which objects a request is about: label and field selectors together (V-110 to V-113).
//!
//! Parsed once per request or watch; matching reads the tree and allocates nothing for texts, so that an event can be
//! tried against thousands of watchers.

mod fields;

use api::Kind;
use meta::{LabelSelector, Status};
use serde_json::Value;

pub use fields::FieldSelector;

/// Both selectors of a list, watch or collection delete.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selector {
    /// `labelSelector`.
    pub labels: LabelSelector,
    /// `fieldSelector`.
    pub fields: FieldSelector,
}

impl Selector {
    /// Reads both query parameters; empty ones select everything.
    ///
    /// # Errors
    /// 400 with upstream's text, also for a field that the kind does not select by (V-111: never ignored).
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = LabelSelector::parse(labels).map_err(|error| Status::bad_request(error.to_string()))?;
        Ok(Self { labels, fields: FieldSelector::parse(kind, fields)? })
    }

    /// True if every object matches.
    pub fn selects_everything(&self) -> bool {
        self.labels.selects_everything() && self.fields.selects_everything()
    }

    /// True if the object matches both.
    pub fn matches(&self, object: &Value) -> bool {
        self.fields.matches(object) && self.labels.matches_object(object)
    }

    /// The one name that can match, if the fields say so (V-86).
    pub fn exact_name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }
}
