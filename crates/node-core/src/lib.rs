//! The life of a pod on a node, as a machine that only decides.
//!
//! Here live [`PodMachine`] (events in, actions out, the pod's status at any time) and the pure functions around it:
//! a container's environment ([`mod@env`]), the files of its volumes ([`files`]), `/etc/hosts` and `/etc/resolv.conf`
//! ([`hosts`]), what a container runs as ([`run`]), its scripted life on a virtual node ([`script`]), admission on the node
//! ([`admit`]), and the order of a node's shutdown ([`shutdown`]). Not here: clocks, processes, files, sockets; those are
//! `node-agent`'s. Start with [`PodMachine`], then `container/mod.rs`.
//!
//! Two promises are kept here and nowhere else: no two instances of one container name are ever alive at once, and no
//! instance of a pod is started before the one that had its name is confirmed dead (S1, S2, D7).

pub mod admit;
mod alive;
mod backoff;
mod container;
pub mod env;
pub mod files;
pub mod hosts;
mod machine;
mod probe;
pub mod run;
pub mod script;
pub mod shutdown;
pub mod sources;
mod status;
mod step;
mod stop;

pub use backoff::Backoff;
pub use machine::{Found, FoundContainer, PodMachine, Settings};
pub use step::{
    Action, Confirmation, Event, EventType, Exit, ExitCause, Hook, ImageFact, ImageFailure, ProbeKind, ProbeOutcome,
    Pulled, Record, StartFailure, StopCause,
};

use std::time::Duration;

use meta::Timestamp;

/// The moment `wait` after `at`; the end of time if that overflows.
pub(crate) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
