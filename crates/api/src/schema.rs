//! What every object looks like: one table, generated from upstream's definitions.
pub mod wire;
