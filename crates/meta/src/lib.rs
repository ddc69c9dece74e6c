//! Words everybody uses.
//!
//! Here live the small value types that every room shares: identifiers, revisions, the `metav1.Status` error, label
//! selectors, quantities, schedules. Object types and the kind table are not here but in `api`. Start with [`Status`] and
//! [`ResourceId`].

pub mod clock;
pub mod cron;
mod identity;
pub mod mutants;
pub mod placement;
pub mod quantity;
pub mod selector;
mod status;

pub use identity::{ObjectId, ResourceId, ResourceVersion, Uid};
pub use quantity::{Quantity, QuantityError};
pub use selector::{LabelSelector, Labels, SelectorError};
pub use status::{Cause, Reason, Status, StatusDetails};

/// A moment in UTC; the API prints it as RFC 3339 with whole seconds.
pub type Timestamp = jiff::Timestamp;

/// A moment as the API writes times: in whole seconds.
pub fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// Condition of a pod: False until it is ready for the first time, True from then on, for all its life.
///
/// The node writes the True together with the first Ready. A pod without it was never seen by such a node: nothing is
/// known of it. Healing a rollout replaces only pods on which it is False.
pub const EVER_READY_CONDITION: &str = "roadstead.dev/EverReady";

/// Annotation of a Node, set to `true`: a virtual node, whose pods live by a script and without processes. Volumes that
/// are provisioned on one carry it, too: they hold nothing, and may go after their node.
pub const VIRTUAL_ANNOTATION: &str = "roadstead.dev/virtual";

/// Finalizer of a StatefulSet whose retention policy was changed to keep claims that it owns: it holds the set until the
/// claims have no owner any more, so that a deletion right after the change cannot take them along (S5).
pub const RETENTION_FINALIZER: &str = "roadstead.dev/retention-policy";
