//! Words everybody uses.
//!
//! Here live the small value types that every room shares: identifiers, revisions, the `metav1.Status` error, label
//! selectors, quantities, schedules. Object types and the kind table are not here but in `api`. Start with [`Status`] and
//! [`ResourceId`].

pub mod cron;
mod identity;
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
