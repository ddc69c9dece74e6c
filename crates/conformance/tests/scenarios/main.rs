//! The scenarios: the running binary judged by kubectl, redis and real containers.
//!
//! `cargo xtask ci` installs what they need and says which binary is judged.

mod bad_input;
mod clusters;
mod crashes;
mod drain;
mod healing;
mod helm;
mod kinds;
mod kubectl;
mod plan;
mod policies;
mod probes;
mod redis;
mod registry;
mod retention;
mod rollouts;
mod support;
mod virtual_nodes;
mod workloads;
