//! Whole clusters in one thread, on virtual time, decided by one seed.
//!
//! The real API server over the real store, the real controllers, scheduler and node agents run on a tokio runtime of
//! one thread whose clock jumps from timer to timer. They meet through a client that loses, delays and repeats
//! ([`wire`]), on a disk that fails ([`disk`]), on machines that live in memory ([`twins`]). A seed decides what clients
//! do and what fails ([`scenario`], drawn in [`draw`]; some are written by hand: [`stories`]); judges look at every
//! commit, request and container ([`oracle`]); at the end faults stop and everything has to come right ([`liveness`]).
//! The same seed gives the same trace, byte for byte. What is not here: sockets, real containers, real files but the
//! pods' own. Start with [`run::run`].

pub mod branches;
pub mod clients;
pub mod control;
pub mod coverage;
pub mod disk;
pub mod draw;
pub mod ears;
pub mod ground;
pub mod liveness;
pub mod mutants;
pub mod oracle;
pub mod process;
pub mod replay;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod stories;
pub mod trace;
pub mod twins;
pub mod weather;
pub mod wire;
pub mod world;
