//! The write path as decisions over trees: create, update, delete and the subresources.
//!
//! Every function takes what it needs to know as values (the current state, the time, a seed) and returns what is to
//! be written, or the refusal. Reading, committing and retrying are the shell's. The order of steps is upstream's
//! (V-26). Start with [`decide_create`].

mod addresses;
mod binding;
mod context;
mod create;
mod delete;
mod eviction;
mod scale;
mod update;

pub(crate) use addresses::node_ports_of;
pub use addresses::{AddressPool, NODE_PORT_MAX, NODE_PORT_MIN};
pub use binding::decide_binding;
pub use context::{CreateContext, NamespaceState, UpdateContext};
pub use create::{CreatePlan, decide_create, random_suffix};
pub(crate) use create::{scramble, track};
pub use delete::{Deletion, DeletionOptions, Propagation, decide_delete};
pub use eviction::{Eviction, decide_eviction};
pub use scale::{apply_scale, scale_of};
pub use update::{Outcome, UpdatePlan, decide_finalize, decide_update};
