//! What the API server asks of the scheduler directly: a node for a pod that is about to be stored.

use meta::{ResourceVersion, Uid};
use serde_json::Value;

/// A place for a pod, and what it rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// Names and UIDs of the pod's claims, as they were known: the place is none if one is another by now.
    pub claims: Vec<(String, Uid)>,
}

/// Gives pods their places before they are stored (decision 24).
///
/// A place that was given is kept until the caches show the pod, or until it is given back.
pub trait Placer: Send + Sync + 'static {
    /// The place for a pod with its UID and all defaults; `None` if it has to wait for its turn, for volumes or for room:
    /// then it is stored without one.
    fn place(&self, pod: &Value) -> Option<Place>;

    /// The pod was stored, at this revision.
    fn stored(&self, pod: &Uid, revision: ResourceVersion);

    /// The pod was not stored, or nobody can tell.
    fn give_back(&self, pod: &Uid);
}
