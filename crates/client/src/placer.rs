//! What the API server asks of the scheduler directly: a node for a pod that is about to be stored.

use meta::{ResourceVersion, Uid};
use serde_json::Value;

/// Gives pods their places before they are stored (decision 24).
///
/// A place that was given is kept until the caches show the pod, or until it is given back.
pub trait Placer: Send + Sync + 'static {
    /// The node for a pod with its UID and all defaults; `None` if it has to wait for its turn, for volumes or for room:
    /// then it is stored without one.
    fn place(&self, pod: &Value) -> Option<String>;

    /// The pod was stored, at this revision.
    fn stored(&self, pod: &Uid, revision: ResourceVersion);

    /// The pod was not stored, or nobody can tell.
    fn give_back(&self, pod: &Uid);
}
