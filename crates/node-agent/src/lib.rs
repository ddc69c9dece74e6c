//! The node agent: one task per pod drives a `node_core::PodMachine` with the node's runtime, network, volumes and
//! images.
//!
//! Here live [`NodeAgent`] (start, graceful shutdown), [`VirtualNodes`] (the same for nodes without a machine), the
//! Node object and its heartbeat, the adoption of what an agent before this one has left, probes, service-account
//! tokens, and the node's half of `logs` and `exec`. Not here: what is to be done when (`node-core`), how a container or
//! a volume is made (`container-runtime`, `volumes`). Start with [`NodeAgent::start`], then `pod.rs`.
//!
//! Stopping the agent never touches a container: the next one finds each by pod UID and container id (D7).

mod acts;
mod adopt;
mod containers;
mod dispatch;
mod handles;
mod heartbeat;
mod logs;
mod mounts;
mod pod;
mod probe;
mod reclaim;
mod sandbox;
mod shared;
mod sources;
mod status;
mod streams;
mod virtual_nodes;
mod watches;

pub use virtual_nodes::{VIRTUAL, VirtualConfig, VirtualNodes};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Collection, NodeStreams, Selection};
use container_runtime::Runtime;
use images::Images;
use informer::{Clock, Informer, Scope, SystemClock};
use meta::Status;
use pod_network::PodNetwork;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::Volumes;

use dispatch::{Dispatcher, Start};
use handles::{Handles, Home, Homes};
use shared::Shared;

/// What is particular to this node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// Eight lower-case hex digits.
    pub cluster_id: String,
    /// The cluster's folder on this machine.
    pub data_dir: PathBuf,
    /// The node's own address towards pods: its InternalIP.
    pub gateway: IpAddr,
    /// The cluster's DNS server.
    pub dns_server: IpAddr,
    /// For example `cluster.local`.
    pub cluster_domain: String,
    /// The host's resolver configuration.
    pub host_resolv_conf: PathBuf,
    /// Version of this program, for `nodeInfo`.
    pub binary_version: String,
    /// Most pods on the node.
    pub pods_max: usize,
}

/// What the agent works with.
#[derive(Clone)]
pub struct Parts {
    /// The API, as `system:node:<name>`.
    pub client: Arc<dyn Client>,
    /// Sandboxes and containers.
    pub runtime: Arc<dyn Runtime>,
    /// Links and addresses.
    pub network: Arc<dyn PodNetwork>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Volumes.
    pub volumes: Arc<dyn Volumes>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Node object could not be written.
    #[error("register node {node}")]
    Register {
        /// Name of the node.
        node: String,
        /// What the API said.
        #[source]
        source: Status,
    },
    /// The runtime could not say what runs.
    #[error("list the sandboxes of this node")]
    Sandboxes(#[source] container_runtime::RuntimeError),
    /// The volumes could not be listed.
    #[error("list the volumes of this node")]
    Volumes(#[source] volumes::VolumeError),
}

/// A running agent. Dropping it does not stop it; its cancellation token does.
#[derive(Debug)]
pub struct NodeAgent {
    shared: Arc<Shared>,
    handles: Handles,
    commands: tokio::sync::mpsc::Sender<dispatch::Command>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl NodeAgent {
    /// Registers the node, adopts what is there, and begins to follow the node's pods. `cancel` stops the agent;
    /// containers go on.
    ///
    /// # Errors
    /// [`StartError`] if the API refuses the node or the machine cannot be read.
    pub async fn start(config: Config, parts: Parts, cancel: CancellationToken) -> Result<Self, StartError> {
        Self::start_with_clock(config, parts, Arc::new(SystemClock), cancel).await
    }

    /// As [`NodeAgent::start`], with the time from elsewhere.
    ///
    /// # Errors
    /// As [`NodeAgent::start`].
    pub async fn start_with_clock(
        config: Config,
        parts: Parts,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Self, StartError> {
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared::new(config, parts, clock, &tasks, &cancel));
        heartbeat::register(&shared)
            .await
            .map_err(|source| StartError::Register { node: shared.config.node_name.clone(), source })?;
        // Subscribed before listed, so that no exit falls between.
        let events = shared.parts.runtime.subscribe();
        let found = adopt::inventory(&shared).await?;
        let handles = Handles::default();
        let homes = Homes::default();
        homes.add(Home { shared: shared.clone(), cancel: cancel.clone() });
        let client = &shared.parts.client;
        let selection =
            Selection { fields: format!("spec.nodeName={}", shared.config.node_name), ..Selection::default() };
        let scope = Scope { target: Collection::all(api::resources::PODS), selection };
        let pods = Informer::start(client.clone(), scope, &tasks, cancel.clone());
        let scope = Scope::all(api::resources::PERSISTENT_VOLUMES);
        let volumes = Informer::start(client.clone(), scope, &tasks, cancel.clone());
        let start = Start {
            shared: shared.clone(),
            homes: homes.clone(),
            handles: handles.clone(),
            pods,
            events,
            found,
            crowds: None,
        };
        let commands = Dispatcher::spawn(start, &tasks, cancel.clone());
        tasks.spawn(heartbeat::run(shared.clone(), cancel.clone()));
        tasks.spawn(reclaim::run(
            shared.clone(),
            reclaim::Places::Machine(homes),
            handles.clone(),
            volumes,
            cancel.clone(),
        ));
        Ok(Self { shared, handles, commands, tasks, cancel })
    }

    /// Logs and exec of the node's pods.
    pub fn streams(&self) -> Arc<dyn NodeStreams> {
        Arc::new(streams::Streams { handles: vec![self.handles.clone()], tasks: self.tasks.clone() })
    }

    /// As [`NodeAgent::streams`], with the pods of virtual nodes: what is asked of them is refused with the reason.
    pub fn streams_beside(&self, nodes: &VirtualNodes) -> Arc<dyn NodeStreams> {
        let handles = vec![self.handles.clone(), nodes.handles.clone()];
        Arc::new(streams::Streams { handles, tasks: self.tasks.clone() })
    }

    /// Graceful node shutdown: stops all pods, those of a set from the highest ordinal down and sets side by side, each
    /// within its own grace period and all within `grace`. No API object is deleted. Pods with a controller end as
    /// Failed, so that they are replaced in order when the node is back; others start again in place. Ends the agent.
    pub async fn shutdown(&self, grace: Duration) {
        let (done, finished) = tokio::sync::oneshot::channel();
        if self.commands.send(dispatch::Command::Shutdown { grace, done }).await.is_ok() {
            // The dispatcher answers when the last pod is at rest; if it ended before, there is nothing to wait for.
            let _ended = finished.await;
        }
        heartbeat::say_not_ready(&self.shared).await;
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.shared.parts.volumes.close().await {
            tracing::warn!(error = error.sentence(), "volumes in memory stay mounted");
        }
    }
}
