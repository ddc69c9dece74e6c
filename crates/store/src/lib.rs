//! The durable half of the store: `store-core` on an engine.
//!
//! One writer thread takes every waiting transaction, lets the core decide them in order, makes the whole batch durable
//! with one flush, and only then publishes and answers (group commit). Reads come from memory and see durable state
//! only. The engine is a small trait with two implementations that ship: [`RedbEngine`] on disk, and [`MemoryEngine`],
//! its twin for tests and simulation; [`simulated_disk`] stands below the
//! former and loses power. What the bytes mean is not known here. Start with [`Store`].

mod config;
mod engine;
mod error;
mod hub;
mod lock;
mod memory;
mod metrics;
mod redb_engine;
mod redb_file;
mod shared;
pub mod simulated_disk;
mod store;
mod watch;
mod writer;

pub use config::{Clock, Config, Haste, Timeline};
pub use engine::{Batch, Engine, EngineCommitError, EngineError, EngineReader, Room};
pub use error::{CommitError, OpenError, ReadError, WatchError};
pub use lock::{Holder, LockError};
pub use memory::{MemoryDisk, MemoryEngine};
pub use metrics::Metrics;
pub use redb_engine::{RedbConfig, RedbEngine};
pub use simulated_disk::SimulatedDisk;
pub use store::{Store, Values};
pub use watch::Watch;
pub use writer::Writer;
