//! What the API server is started with.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use pki::{Pki, Secret};

/// Settings of one API server; the caller has checked them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Keys and certificates.
    pub pki: Arc<Pki>,
    /// Range of cluster addresses; its first host address is that of the Service `default/kubernetes`.
    pub service_range: Ipv4Net,
    /// Where pods reach this server behind the Service `default/kubernetes`.
    pub advertise: SocketAddrV4,
    /// A bearer token of the administrator, for clients without certificates.
    pub admin_token: Option<Secret>,
    /// How long an Event is kept.
    pub event_ttl: Duration,
    /// Named limits.
    pub limits: Limits,
}

/// Every bound of the server (D12).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open TCP connections, all addresses together.
    pub connections_max: usize,
    /// Streams of one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Bytes of a request's headers.
    pub header_bytes_max: u32,
    /// Bytes of a request's body (V-5).
    pub body_bytes_max: usize,
    /// Time for a TLS handshake, and for the headers of an HTTP/1 request.
    pub handshake_timeout: Duration,
    /// Time for a request that is not long-running (V-5).
    pub request_timeout: Duration,
    /// Requests that are not long-running, answered at once; more get 429.
    pub requests_max: usize,
    /// Open watches over HTTP; more get 429.
    pub watches_max: usize,
    /// Attempts of a write that lost a race and may be repeated (P-2).
    pub write_attempts_max: usize,
    /// Objects that one `deletecollection` works on at once.
    pub delete_parallel_max: usize,
}

impl Limits {
    /// The limits that the binary uses.
    pub const STANDARD: Self = Self {
        connections_max: 8192,
        streams_per_connection_max: 1000,
        header_bytes_max: 64 * 1024,
        body_bytes_max: 3 * 1024 * 1024,
        handshake_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(60),
        requests_max: 4096,
        watches_max: 20_000,
        write_attempts_max: 8,
        delete_parallel_max: 16,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::STANDARD
    }
}
