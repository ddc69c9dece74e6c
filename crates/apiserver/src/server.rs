//! The server: started, given its sockets, stopped.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, NodeStreams, Placer};
use meta::Status;
use store::{CommitError, Store};
use store_core::{Expected, Transaction};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bootstrap;
use crate::chance::TimeAndChance;
use crate::config::Config;
use crate::http::Api;
use crate::http::documents::Documents;
use crate::local::LocalClient;
use crate::metrics::{Figures, Metrics};
use crate::registry::Registry;
use crate::transport::Transport;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An object that must exist could not be written.
    #[error("write the objects that every cluster has")]
    Bootstrap(#[from] Status),
}

/// A running API server.
pub struct ApiServer {
    registry: Arc<Registry>,
    api: Api,
    transport: Transport,
}

impl ApiServer {
    /// Starts a server over an open store. When it returns, the objects that every cluster has exist, and in-process
    /// clients can be made.
    ///
    /// # Errors
    /// [`StartError::Bootstrap`] if the store takes no writes.
    pub async fn start(config: Config, store: Store) -> Result<Self, StartError> {
        Self::start_in(config, store, TimeAndChance::machine()).await
    }

    /// As [`ApiServer::start`], with time and chance from elsewhere.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub async fn start_in(config: Config, store: Store, chance: TimeAndChance) -> Result<Self, StartError> {
        let limits = Arc::new(config.limits.clone());
        let registry = Arc::new(Registry::new(store, config, Arc::new(Metrics::default()), chance));
        bootstrap::run(&registry).await?;
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(expire(registry.clone(), cancel.clone()));
        let connections = Arc::new(Semaphore::new(limits.connections_max));
        let documents = Arc::new(Documents::default());
        let api = Api { registry: registry.clone(), documents, cancel: cancel.clone(), tasks: tasks.clone() };
        let transport = Transport { cancel, tasks, connections, limits };
        Ok(Self { registry, api, transport })
    }

    /// Serves one address, from now until [`ApiServer::stop`]. May be called for any number of addresses.
    pub fn serve(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let accepting = self.transport.clone().accept(listener, tls, self.api.clone());
        self.transport.tasks.spawn(accepting);
    }

    /// A client in process, with the given user name, for example
    /// `system:serviceaccount:kube-system:statefulset-controller`.
    pub fn client(&self, user: &str) -> Arc<dyn Client> {
        Arc::new(LocalClient::new(self.registry.clone(), user))
    }

    /// Gives the server the node's logs and exec. Only the first call counts.
    pub fn set_node_streams(&self, streams: Arc<dyn NodeStreams>) {
        let _ = self.registry.streams.set(streams);
    }

    /// Gives the server somebody who places pods at their creation. Only the first call counts.
    pub fn set_placer(&self, placer: Arc<dyn Placer>) {
        let _ = self.registry.placer.set(placer);
    }

    /// Lets `/metrics` show the figures of other parts. Only the first call counts.
    pub fn set_figures(&self, figures: Figures) {
        let _ = self.registry.figures.set(figures);
    }

    /// Stops accepting, ends watches and streams, lets requests finish, at most for `grace`. The store stays open.
    pub async fn stop(&self, grace: Duration) {
        self.transport.cancel.cancel();
        self.transport.tasks.close();
        let _ = tokio::time::timeout(grace, self.transport.tasks.wait()).await;
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

/// Forgets Events whose time has come.
async fn expire(registry: Arc<Registry>, cancel: CancellationToken) {
    loop {
        let deadline = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            deadline = registry.expiry.next() => deadline,
        };
        let expected = Expected::At(deadline.revision);
        match registry.store.commit(Transaction::delete(deadline.key, expected, None)).await {
            Ok(_) => {
                registry.metrics.events_expired.inc();
            }
            // Changed or gone since: a later deadline is about the later state.
            Err(CommitError::Refused(_)) => {}
            Err(error) => tracing::warn!(%error, "forget an event"),
        }
    }
}
