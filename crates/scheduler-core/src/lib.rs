//! Which pod goes to which node: snapshot, filter, score, bind; decides only.
//!
//! A [`Snapshot`] holds what counts about nodes, pods, claims, volumes and classes. [`Snapshot::place`] decides for one
//! pod and says why not, node by node. [`Scheduler`] is the machine around it: it keeps the snapshot, knows which pods
//! wait for what, remembers what it has given away but not yet seen, and returns [`Action`]s. What is not here: anything
//! that talks to the API (`scheduler`). Preemption, priorities and topology spread are not served.
//!
//! Start with [`Scheduler::poll_actions`].

mod affinity;
mod facts;
mod filter;
mod machine;
mod resources;
mod score;
mod snapshot;
mod storage;
#[cfg(test)]
mod tests;

pub use facts::{ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
pub use filter::{Decision, Unschedulable};
pub use machine::{Action, Outcome, Scheduler};
pub use resources::Resources;
pub use snapshot::{Key, Snapshot};

/// The scheduler name of pods that are ours.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// The annotation by which a claim learns for which node its volume is to be made (N-2).
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
