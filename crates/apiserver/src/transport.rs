//! Sockets, TLS and HTTP framing: everything below a request (D-1).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::user::User;

/// Bytes of response body that may wait in one HTTP/2 stream: large enough that a big list is not sent in dribbles,
/// small enough that many slow readers do not fill the memory.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Window that a client may fill before we acknowledge; a request body has 3 MiB at most.
const RECEIVE_WINDOW_BYTES: u32 = 1024 * 1024;
/// Largest HTTP/2 frame that we take.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Silence after which an HTTP/2 client is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Pause after `accept` failed, for example because there are no file descriptors left.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What is known of the peer of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The address that it reached us at.
    pub local: SocketAddr,
    /// The user of its client certificate.
    pub certificate_user: Option<Arc<User>>,
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request; errors are answers too.
    fn handle(&self, peer: Arc<Peer>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// What all listeners share.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Ends everything when cancelled: no new connections, open ones finish their requests.
    pub cancel: CancellationToken,
    /// Every connection is a task of it.
    pub tasks: TaskTracker,
    /// One permit for each connection.
    pub connections: Arc<Semaphore>,
    /// Named limits.
    pub limits: Arc<Limits>,
}

impl Transport {
    /// Accepts connections until cancelled.
    pub async fn accept(self, listener: TcpListener, tls: Arc<rustls::ServerConfig>, handler: impl Handler) {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            // The permit is taken before accepting: beyond the limit, clients wait in the kernel's queue.
            let permit = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return,
                permit = self.connections.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                    continue;
                }
            };
            let connection =
                Connection { transport: self.clone(), acceptor: acceptor.clone(), handler: handler.clone() };
            self.tasks.spawn(async move {
                connection.run(stream, address).await;
                drop(permit);
            });
        }
    }
}

struct Connection<H> {
    transport: Transport,
    acceptor: TlsAcceptor,
    handler: H,
}

impl<H: Handler> Connection<H> {
    async fn run(self, stream: TcpStream, address: SocketAddr) {
        let limits = &self.transport.limits;
        // Answers are written whole; waiting for more bytes would only delay watch events.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().unwrap_or(address);
        let handshake = tokio::time::timeout(limits.handshake_timeout, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake"),
            Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate_user = certificate.and_then(|der| crate::auth::certificate_user(der)).map(Arc::new);
        let peer = Arc::new(Peer { address, local, certificate_user });
        let handler = self.handler.clone();
        let service = service_fn(move |request| {
            let (handler, peer) = (handler.clone(), peer.clone());
            async move { Ok::<_, Infallible>(handler.handle(peer, request).await) }
        });
        let builder = http_builder(limits);
        let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(served);
        let outcome = tokio::select! {
            biased;
            outcome = served.as_mut() => outcome,
            () = self.transport.cancel.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%address, error, "connection ended");
        }
    }
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(limits.header_bytes_max as usize)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_bytes_max)
        .initial_stream_window_size(RECEIVE_WINDOW_BYTES)
        .initial_connection_window_size(4 * RECEIVE_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL);
    builder
}
