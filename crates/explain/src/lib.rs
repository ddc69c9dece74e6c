//! Why something is not ready, and what a change will do.
//!
//! Both are answered by the planner that acts: [`why::why`] follows what `controllers_core` waits for down to the one
//! fact that blocks it; [`forecast::forecast`] lets the planner run on a copy of the cluster. Nothing here asks an API:
//! the caller puts the objects into a [`Cluster`]. Start with [`Cluster`].

mod cluster;
pub mod forecast;
pub mod why;

pub use cluster::{Cluster, Ref};
