//! One module per controller, each `plan(&View, now) -> Plan`; decides only.
//!
//! Here live the decisions of the controllers as pure functions: what they see is a value (`View`), what they want is a
//! value (`Plan`), and the time is an argument. What is not here: caches, clients, clocks, tasks; those are in
//! `controllers`. Modules do not import each other; the words they share are in [`words`]. Start with
//! [`stateful_set`].

pub mod endpoints;
pub mod garbage_collector;
pub mod namespaces;
pub mod persistent_volumes;
pub mod stateful_set;
pub mod words;
