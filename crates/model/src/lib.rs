//! The StatefulSet planner in every order of events, faults and stale reads.
//!
//! Here live a small store, nodes, a controller with caches of its own and people as a state machine whose every step may
//! come at any time, and the promises that must hold in every state it can reach. The planner is the real one; nothing of
//! it is imitated. What is not here: claims, time, the real node (the simulator has them). Start with [`Checked`], the
//! machine, and [`world`], what a state is.

mod checked;
mod promises;
pub mod world;

pub use checked::{Checked, Happening};
pub use world::{Bounds, World};
