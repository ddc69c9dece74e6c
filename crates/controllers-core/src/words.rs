//! Words that several controllers share: references to objects, owner references, events.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use meta::{ResourceVersion, Timestamp, Uid};
use serde_json::{Value, json};

/// One state of one object, as the precondition of a write (S8): the write is refused if the object is another one
/// (UID) or has changed (resourceVersion).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Name; the namespace is the plan's.
    pub name: String,
    /// Only this incarnation.
    pub uid: Uid,
    /// Only this state.
    pub resource_version: ResourceVersion,
}

impl Target {
    /// The state that `meta` describes.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            resource_version: version_of(meta),
        }
    }

    /// A merge patch of `metadata` that carries the preconditions; put more fields into it.
    pub fn patch_metadata(&self) -> Value {
        if meta::mutants::is_on("patch-names-no-uid") {
            return json!({});
        }
        json!({"uid": self.uid.0, "resourceVersion": self.resource_version.to_string()})
    }
}

/// The owner reference with `controller: true`, if there is one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// `metadata.resourceVersion`; 0, which is never a live one (H-2), if it is not ours to read.
pub fn version_of(meta: &ObjectMeta) -> ResourceVersion {
    version(meta.resource_version.as_deref())
}

/// A resourceVersion from its text; 0 if there is none that can be read.
pub(crate) fn version(text: Option<&str>) -> ResourceVersion {
    ResourceVersion(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Whether deletion has begun.
pub fn is_terminating(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// A moment as the API keeps it: whole seconds.
pub fn time(moment: Timestamp) -> Time {
    Time(meta::whole_seconds(moment))
}

/// Decimal digits of a hash, mapped to letters and digits that spell no words.
pub fn safe_digits(number: u32) -> String {
    const SAFE: [char; 10] = ['4', '5', '6', '7', '8', '9', 'b', 'c', 'd', 'f'];
    number.to_string().bytes().map(|digit| SAFE[usize::from(digit - b'0')]).collect()
}

/// Good news or not, in an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tone {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// An event to record about the object that the plan is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Note {
    /// Good news or not.
    pub tone: Tone,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
}

impl Note {
    /// Good news.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { tone: Tone::Normal, reason, message: message.into() }
    }

    /// Bad news.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { tone: Tone::Warning, reason, message: message.into() }
    }
}
