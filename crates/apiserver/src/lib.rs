//! The API server: HTTP, TLS, authentication, watch, streaming; and the in-process client.
//!
//! A thin shell around `apiserver-core`, which decides, and `store`, which remembers. [`ApiServer`] is started with a
//! store and given sockets; [`registry`] reads and watches, [`writing`] decides and commits, both without any
//! transport; [`http`] brings them to HTTP and [`local`] to callers in process. What is not here: what a kind is and
//! what is a valid object (`apiserver-core`, `api`), and everything that acts on objects (`controllers`).

mod auth;
mod bootstrap;
mod chance;
mod changes;
mod config;
mod eviction;
mod expiry;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod keys;
mod local;
mod metrics;
mod negotiate;
mod placing;
mod query;
mod quotas;
mod registry;
mod request;
mod reviews;
mod server;
mod stored;
mod streams;
mod tokens;
mod transport;
mod user;
mod writing;

pub use chance::TimeAndChance;
pub use config::{Config, Limits};
pub use server::{ApiServer, StartError};
