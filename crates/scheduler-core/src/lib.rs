//! Which pod goes to which node: snapshot, filter, score, bind; decides only.
//!
//! A [`Snapshot`] holds what counts about nodes, pods, claims, volumes and classes. [`Snapshot::place`] decides for one
//! pod and says why not, node by node. [`Scheduler`] is the machine around it: it keeps the snapshot, knows which pods
//! wait for what, remembers what it has given away but not yet seen, and returns [`Action`]s. What is not here: anything
//! that talks to the API (`scheduler`).
//!
//! Start with [`Scheduler::poll_actions`].

mod affinity;
mod facts;
mod filter;
mod machine;
#[cfg(test)]
mod neighbour_tests;
mod neighbours;
mod pods;
mod preempt;
mod resources;
mod score;
mod snapshot;
mod storage;
mod tally;
#[cfg(test)]
mod tests;

pub use facts::{BudgetFacts, ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
pub use filter::{Decision, Refusal, Unschedulable};
pub use machine::{Action, Ahead, Outcome, Scheduler};
pub use resources::Resources;
pub use snapshot::{Key, Snapshot};

/// The scheduler name of pods that are ours.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// The annotation by which a claim learns for which node its volume is to be made (N-2).
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
