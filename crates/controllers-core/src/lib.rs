//! One module per controller, each `plan(&View, now) -> Plan`; decides only.
//!
//! Here live the decisions of the controllers as pure functions: what they see is a value (`View`), what they want is a
//! value (`Plan`), and the time is an argument. What is not here: caches, clients, clocks, tasks; those are in
//! `controllers`. Modules do not import each other; what they share is in [`words`], [`writes`], [`subject`], [`pods`],
//! [`replicas`], [`conditions`], [`template`], [`node_fit`], [`rank`] and [`share`]. Start with [`stateful_set`], or with [`replica_set`] for the smallest of the workloads.

pub mod conditions;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage_collector;
pub mod job;
pub mod namespaces;
pub mod node_fit;
pub mod persistent_volumes;
pub mod pod_collector;
pub mod pods;
pub mod rank;
pub mod replica_set;
pub mod replicas;
pub mod share;
pub mod stateful_set;
pub mod subject;
pub mod taint_eviction;
pub mod template;
pub mod words;
pub mod writes;

#[cfg(test)]
mod testing;
