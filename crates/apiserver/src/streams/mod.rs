//! Streaming subresources: exec over WebSocket and SPDY, and logs.
//!
//! [`remote`] knows what an exec is; [`websocket`] and [`spdy_exec`] bring it to the two wire protocols. What runs in
//! the container is the node agent's affair ([`client::NodeStreams`]).

pub mod remote;
pub mod spdy;
pub mod spdy_exec;
pub mod websocket;
