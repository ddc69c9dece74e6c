//! DNS over UDP and TCP for pods, answered by `dns-core`.
//!
//! Here live sockets, wire format (`hickory-proto`) and forwarding to the host's resolvers. What is not here: the meaning
//! of names. Start with [`DnsServer::open`]. Every bound has a name; see the constants.

mod forward;
mod message;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dns_core::{Answer, Question, View};
use informer::{Informer, Informers};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use message::{Query, parse};

/// Queries that are worked on at once; further ones are dropped, and the client asks again.
const QUERIES_MAX: usize = 512;
/// Connections at once.
const CONNECTIONS_MAX: usize = 128;
/// Longest silence on a connection.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Longest UDP query that is read; real ones are shorter.
const QUERY_BYTES_MAX: usize = 4096;

/// What a DNS server is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens, UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Domain of the cluster, without the last dot.
    pub cluster_domain: String,
    /// The host's `resolv.conf`, whose name servers answer what is not ours.
    pub host_resolv_conf: PathBuf,
    /// Ranges of pod and service addresses, as network and prefix length.
    pub ranges: Vec<(Ipv4Addr, u8)>,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be listened on.
    #[error("listen for DNS on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// A DNS server that listens and does not answer yet.
#[derive(Debug)]
pub struct DnsServer {
    config: Config,
    sockets: Vec<(UdpSocket, TcpListener)>,
}

/// What the tasks share.
struct Shared {
    config: Config,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    queries: Semaphore,
    connections: Semaphore,
}

impl DnsServer {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`OpenError::Listen`].
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let mut sockets = Vec::new();
        for address in &config.listen {
            let listen = |source| OpenError::Listen { address: *address, source };
            let udp = UdpSocket::bind(address).await.map_err(listen)?;
            // With port 0 both get the same one.
            let address = udp.local_addr().map_err(listen)?;
            sockets.push((udp, TcpListener::bind(address).await.map_err(listen)?));
        }
        Ok(Self { config, sockets })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect()
    }

    /// Answers until cancelled.
    pub async fn serve(self, informers: Informers, cancel: CancellationToken) {
        let shared = Arc::new(Shared {
            config: self.config,
            services: informers.of(),
            slices: informers.of(),
            queries: Semaphore::new(QUERIES_MAX),
            connections: Semaphore::new(CONNECTIONS_MAX),
        });
        let mut loops = tokio::task::JoinSet::new();
        for (udp, tcp) in self.sockets {
            loops.spawn(serve_udp(Arc::clone(&shared), Arc::new(udp)));
            loops.spawn(serve_tcp(Arc::clone(&shared), tcp));
        }
        cancel.cancelled().await;
    }
}

async fn serve_udp(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    let mut answering = tokio::task::JoinSet::new();
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // A client that is gone answers with ICMP, which arrives here; it concerns nobody else.
            Err(error) => {
                tracing::debug!(%error, "receive a DNS query");
                continue;
            }
        };
        while answering.try_join_next().is_some() {}
        let Some(query) = parse(&buffer[..length]) else {
            continue;
        };
        // Our own names need no waiting, so no task.
        if let Some(reply) = local(&shared, &query) {
            let _ = socket.send_to(&message::encode(&query, &reply, query.udp_bytes_max()), client).await;
            continue;
        }
        let bytes = buffer[..length].to_vec();
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        answering.spawn(async move {
            let Ok(_turn) = shared.queries.try_acquire() else {
                return;
            };
            let reply = remote(&shared, &query, &bytes, false).await;
            let _ = socket.send_to(&reply, client).await;
        });
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let Ok(_turn) = shared.connections.try_acquire() else {
                return;
            };
            let _ = serve_connection(&shared, stream).await;
        });
    }
}

async fn serve_connection(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let length = match tokio::time::timeout(IDLE_MAX, stream.read_u16()).await {
            Ok(length) => usize::from(length?),
            Err(_) => return Ok(()),
        };
        let mut bytes = vec![0; length];
        tokio::time::timeout(IDLE_MAX, stream.read_exact(&mut bytes)).await??;
        let Some(query) = parse(&bytes) else {
            return Ok(());
        };
        let reply = match local(shared, &query) {
            Some(reply) => message::encode(&query, &reply, usize::from(u16::MAX)),
            None => remote(shared, &query, &bytes, true).await,
        };
        stream.write_u16(u16::try_from(reply.len()).unwrap_or(u16::MAX)).await?;
        stream.write_all(&reply).await?;
    }
}

/// The answer, if it needs nobody else.
fn local(shared: &Shared, query: &Query) -> Option<Answer> {
    let answer = decide(shared, &query.name, query.record_type);
    match answer {
        Answer::Forward => None,
        // The target is often one of our own names.
        Answer::Alias { alias, target } => match decide(shared, &target, query.record_type) {
            Answer::Records { mut answers, additionals } => {
                answers.insert(0, alias);
                Some(Answer::Records { answers, additionals })
            }
            Answer::Forward | Answer::Alias { .. } => None,
            Answer::NoData | Answer::NoSuchName => {
                Some(Answer::Records { answers: vec![alias], additionals: Vec::new() })
            }
            Answer::NotYet => Some(Answer::NotYet),
        },
        other => Some(other),
    }
}

fn decide(shared: &Shared, name: &str, record_type: dns_core::RecordType) -> Answer {
    let config = &shared.config;
    let question = Question::parse(name, &config.cluster_domain);
    let synced = shared.services.seen().is_some() && shared.slices.seen().is_some();
    let (services, slices) = match (&question, question.namespace()) {
        (Question::Outside, _) => return Answer::Forward,
        (_, Some(namespace)) => (shared.services.in_namespace(namespace), shared.slices.in_namespace(namespace)),
        (Question::Address(_), None) => (shared.services.list(), shared.slices.list()),
        (_, None) => (Vec::new(), Vec::new()),
    };
    let services: Vec<&Service> = services.iter().map(|s| &*s.value).collect();
    let slices: Vec<&EndpointSlice> = slices.iter().map(|s| &*s.value).collect();
    let view =
        View { domain: &config.cluster_domain, synced, services: &services, slices: &slices, ranges: &config.ranges };
    dns_core::answer(&question, record_type, &view, rand::random())
}

/// Asks the host's resolvers, and puts an alias of ours in front where there is one.
async fn remote(shared: &Shared, query: &Query, bytes: &[u8], tcp: bool) -> Vec<u8> {
    let servers = forward::servers(&shared.config.host_resolv_conf, &shared.config.listen);
    if let Answer::Alias { alias, target } = decide(shared, &query.name, query.record_type) {
        let found = match message::question(query, &target) {
            Some(asked) => forward::ask(&servers, &asked, tcp).await,
            None => None,
        };
        return match found.as_deref().and_then(|reply| message::with_alias(query, &alias, reply)) {
            Some(reply) => reply,
            None => message::encode(query, &Answer::NotYet, query.udp_bytes_max()),
        };
    }
    match forward::ask(&servers, bytes, tcp).await {
        Some(reply) => reply,
        None => message::encode(query, &Answer::NotYet, query.udp_bytes_max()),
    }
}
