//! Virtual nodes: the agent of every Node that carries an annotation, on in-memory twins (D8).
//!
//! One set of tasks serves all of them, however many there are: one look at the pods, one at the nodes, one clock for
//! their leases. A pod on one goes through the whole machine of `node-core`; what its containers do is the script of its
//! annotations ([`node_core::script`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, NodeStreams};
use container_runtime::{ContainerSpec, Life, SandboxSpec, Script, VirtualRuntime};
use futures::StreamExt;
use images::EveryImage;
use informer::events::{Source, reference_to};
use informer::{Cached, Clock, EventRecorder, EventType, Informer, Informers};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use meta::{Quantity, Timestamp, Uid};
use node_core::script;
use pod_network::VirtualNetwork;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::VirtualVolumes;

use crate::adopt::Inventory;
use crate::dispatch::{Command, Dispatcher, Start};
use crate::handles::{Handles, Home, Homes};
use crate::mounts::Mounts;
use crate::shared::{MachineFacts, Reality, Shared};
use crate::streams::Streams;
use crate::watches::Watches;
use crate::{Config, Parts, heartbeat, reclaim};

/// A Node with this annotation, set to `true`, is a virtual node.
pub const VIRTUAL: &str = meta::VIRTUAL_ANNOTATION;

/// Time between renewals of the leases of virtual nodes, and the time they run. Nobody doubts that a node without a
/// machine lives, so they are as rare as they can be.
const RENEWAL: Duration = Duration::from_secs(1200);
const LEASE_SECS: i64 = 3600;
/// Pause before a node that could not be written is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Nodes that are written at once.
const WRITES_MAX: usize = 32;
/// What a virtual node has, where its object does not say: as much as such nodes have elsewhere (kwok).
const CPU_MILLIS: i64 = 32_000;
const MEMORY_BYTES: i64 = 256 << 30;
const PODS_MAX: usize = 110;

/// What is the same for all virtual nodes of a cluster.
#[derive(Clone, Debug)]
pub struct VirtualConfig {
    /// Eight lower-case hex digits.
    pub cluster_id: String,
    /// Folder in which the count of virtual addresses is kept.
    pub state_dir: PathBuf,
    /// Where the volumes of this cluster would lie if there were a machine.
    pub volumes_dir: PathBuf,
    /// The cluster's DNS server.
    pub dns_server: IpAddr,
    /// For example `cluster.local`.
    pub cluster_domain: String,
    /// Version of this program, for `nodeInfo`.
    pub binary_version: String,
    /// Names of nodes that are machines, whatever their annotations say.
    pub machines: BTreeSet<String>,
    /// Where pods that come in a crowd run; `None`: on the runtime that [`VirtualNodes::start`] was called on.
    pub crowds: Option<tokio::runtime::Handle>,
    /// Where events are written; `None`: there, too.
    pub background: Option<tokio::runtime::Handle>,
}

/// The running agent of all virtual nodes.
#[derive(Debug)]
pub struct VirtualNodes {
    pub(crate) handles: Handles,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl VirtualNodes {
    /// Serves every Node that carries [`VIRTUAL`], from now on; costs next to nothing while there is none.
    ///
    /// `client` acts as a node. `cancel` stops it; pods stay as they are in the API, and their containers are started
    /// anew by the next one, as after a reboot.
    pub fn start(
        config: VirtualConfig,
        client: Arc<dyn Client>,
        informers: &Informers,
        clock: Arc<dyn Clock>,
        cancel: &CancellationToken,
    ) -> Self {
        let (tasks, cancel) = (TaskTracker::new(), cancel.child_token());
        let network = Arc::new(VirtualNetwork::new(config.state_dir.clone()));
        let runtime = Arc::new(VirtualRuntime::new(lives(clock.clone())));
        let events = container_runtime::Runtime::subscribe(runtime.as_ref());
        let source = Source { component: "kubelet".to_owned(), host: String::new() };
        let parts = Parts {
            client: client.clone(),
            runtime,
            network: network.clone(),
            images: Arc::new(EveryImage),
            volumes: Arc::new(VirtualVolumes::new(config.volumes_dir.clone())),
        };
        let recorder = {
            let _there = config.background.as_ref().map(tokio::runtime::Handle::enter);
            EventRecorder::start(client.clone(), source, clock.clone(), &tasks, cancel.clone())
        };
        let common = Arc::new(Shared {
            config: node_config(&config, String::new(), IpAddr::from([240, 0, 0, 0]), PODS_MAX),
            recorder,
            watches: Arc::new(Watches::new(client, tasks.clone(), cancel.clone())),
            machine: MachineFacts::default(),
            reality: Reality::Virtual,
            mounts: Mounts::default(),
            parts,
            clock,
        });
        let (homes, handles) = (Homes::default(), Handles::default());
        let start = Start {
            shared: common.clone(),
            homes: homes.clone(),
            handles: handles.clone(),
            pods: informers.of::<Pod>(),
            events,
            found: Inventory::default(),
            crowds: config.crowds.clone(),
        };
        let commands = Dispatcher::spawn(start, &tasks, cancel.clone());
        let places = reclaim::Places::Virtual { homes: homes.clone(), machines: config.machines.clone() };
        tasks.spawn(reclaim::run(common.clone(), places, handles.clone(), informers.of(), cancel.clone()));
        let fleet = Fleet {
            config,
            common,
            network,
            homes,
            nodes: informers.of(),
            commands,
            refused: BTreeSet::new(),
            cancel: cancel.clone(),
        };
        let stop = cancel.clone();
        tasks.spawn(async move { stop.run_until_cancelled(fleet.run()).await });
        tasks.close();
        Self { handles, tasks, cancel }
    }

    /// What is asked of virtual pods directly: refused with the reason.
    pub fn streams(&self) -> Arc<dyn NodeStreams> {
        Arc::new(Streams { handles: vec![self.handles.clone()], tasks: self.tasks.clone() })
    }

    /// Stops and waits.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

/// Containers that live by the annotations of their pods.
fn lives(clock: Arc<dyn Clock>) -> Script {
    let life = |_: &SandboxSpec, spec: &ContainerSpec| {
        // A script that cannot be read was refused before the container was made.
        let Ok(life) = script::Life::read(&spec.annotations, &spec.name) else { return Life::default() };
        let cannot_start = life.fault == Some(script::Fault::Start);
        Life {
            start_after: life.start_delay,
            start_failure: cannot_start.then(|| "as the pod's annotation roadstead.dev/fail says".to_owned()),
            ends: life.end(spec.attempt),
            obeys_after: life.stop_delay,
        }
    };
    Script { life: Arc::new(life), clock: Arc::new(move || clock.now()), ..Script::default() }
}

fn node_config(config: &VirtualConfig, node_name: String, address: IpAddr, pods_max: usize) -> Config {
    Config {
        node_name,
        cluster_id: config.cluster_id.clone(),
        data_dir: config.state_dir.clone(),
        gateway: address,
        dns_server: config.dns_server,
        cluster_domain: config.cluster_domain.clone(),
        host_resolv_conf: PathBuf::new(),
        binary_version: config.binary_version.clone(),
        pods_max,
    }
}

/// The task that follows the Node objects.
struct Fleet {
    config: VirtualConfig,
    /// What all nodes share; each gets a copy with its own name, address and capacity.
    common: Arc<Shared>,
    network: Arc<VirtualNetwork>,
    homes: Homes,
    nodes: Informer<Node>,
    commands: mpsc::Sender<Command>,
    /// Nodes whose annotation cannot be obeyed, and were told.
    refused: BTreeSet<Uid>,
    cancel: CancellationToken,
}

impl Fleet {
    /// If dropped, the nodes stay as they are in the API.
    async fn run(mut self) {
        self.nodes.synced().await;
        let mut changes = self.nodes.changes();
        let mut renew_at = self.next_renewal();
        loop {
            let has_failed = self.look().await;
            let now = self.common.now();
            if renew_at <= now {
                renew(self.homes.list()).await;
                renew_at = self.next_renewal();
            }
            let retry_at = now.checked_add(RETRY_PAUSE).unwrap_or(Timestamp::MAX);
            tokio::select! {
                biased;
                () = changes.changed() => {}
                () = self.common.clock.sleep_until(renew_at), if !self.homes.list().is_empty() => {}
                () = self.common.clock.sleep_until(retry_at), if has_failed => {}
            }
        }
    }

    fn next_renewal(&self) -> Timestamp {
        self.common.now().checked_add(RENEWAL).unwrap_or(Timestamp::MAX)
    }

    /// Takes in the nodes that are new, lets those go that are gone; returns whether one could not be written.
    async fn look(&mut self) -> bool {
        let mut wanted = BTreeMap::new();
        for node in self.nodes.list() {
            let name = node.metadata.name.clone().unwrap_or_default();
            if self.is_wanted(&node, &name) {
                wanted.insert(name, node);
            }
        }
        for home in self.homes.list() {
            let name = &home.shared.config.node_name;
            let uid = wanted.get(name).and_then(|node| node.metadata.uid.as_deref());
            if uid != Some(home.shared.machine.machine_id.as_str()) {
                tracing::info!(node = name, "a virtual node is gone");
                self.homes.remove(name);
                home.cancel.cancel();
            }
        }
        let mut new = Vec::new();
        for (name, node) in wanted.iter().filter(|(name, _)| !self.homes.has(name)) {
            match self.home(node, name) {
                Ok(home) => new.push(home),
                Err(error) => tracing::warn!(node = name, %error, "a virtual node has no address"),
            }
        }
        let joined = futures::stream::iter(new).map(join).buffer_unordered(WRITES_MAX).collect::<Vec<_>>().await;
        let mut has_failed = false;
        for home in joined {
            let Some(home) = home else {
                has_failed = true;
                continue;
            };
            let node = home.shared.config.node_name.clone();
            self.homes.add(home);
            // A dispatcher that has ended runs no pods any more.
            let _ended = self.commands.send(Command::Joined { node }).await;
        }
        has_failed
    }

    /// Whether a Node is a virtual one; says so where its annotation is neither yes nor no.
    fn is_wanted(&mut self, node: &Arc<Cached<Node>>, name: &str) -> bool {
        let Some(value) = node.metadata.annotations.as_ref().and_then(|notes| notes.get(VIRTUAL)) else { return false };
        let is_machine = self.config.machines.contains(name);
        if value == "true" && !is_machine {
            return true;
        }
        if value != "false" && self.refused.insert(Uid(node.metadata.uid.clone().unwrap_or_default())) {
            let why = if is_machine {
                format!(
                    "metadata.annotations[{VIRTUAL}]: Forbidden: node {name:?} is this machine; give a virtual node another name"
                )
            } else {
                format!("metadata.annotations[{VIRTUAL}]: Invalid value: {value:?}: must be \"true\" or absent")
            };
            self.common.recorder.record(reference_to(&*node.value), EventType::Warning, "InvalidAnnotation", why);
        }
        false
    }

    fn home(&self, node: &Node, name: &str) -> Result<Home, pod_network::NetworkError> {
        let uid = Uid(node.metadata.uid.clone().unwrap_or_default());
        let status = node.status.as_ref();
        let has = |resource: &str| {
            let amount: Option<&Text> = status.and_then(|status| status.capacity.as_ref()?.get(resource));
            amount.and_then(|amount| Quantity::parse(&amount.0).ok())
        };
        let pods_max = has("pods").and_then(|pods| usize::try_from(pods.units()).ok()).unwrap_or(PODS_MAX);
        let machine = MachineFacts {
            cpu_millis: has("cpu").map_or(CPU_MILLIS, |cpu| cpu.millis()),
            memory_bytes: has("memory").map_or(MEMORY_BYTES, |memory| memory.units()),
            disk_bytes: has("ephemeral-storage").and_then(|disk| u64::try_from(disk.units()).ok()).unwrap_or(1 << 40),
            kernel: "none".to_owned(),
            os_image: "virtual node, no machine".to_owned(),
            boot_id: uid.0.clone(),
            machine_id: uid.0.clone(),
        };
        let shared = Shared {
            config: node_config(&self.config, name.to_owned(), self.network.give(&uid)?, pods_max),
            parts: self.common.parts.clone(),
            clock: self.common.clock.clone(),
            recorder: self.common.recorder.on_host(name),
            watches: self.common.watches.clone(),
            machine,
            reality: Reality::Virtual,
            mounts: Mounts::default(),
        };
        Ok(Home { shared: Arc::new(shared), cancel: self.cancel.child_token() })
    }
}

/// Writes what a virtual node has, and its lease; `None` if that cannot be done now.
async fn join(home: Home) -> Option<Home> {
    let written = async {
        heartbeat::register(&home.shared).await?;
        heartbeat::renew(&home.shared, LEASE_SECS).await
    };
    match written.await {
        Ok(()) => Some(home),
        Err(status) => {
            tracing::warn!(node = home.shared.config.node_name, %status, "a virtual node is not registered");
            None
        }
    }
}

async fn renew(homes: Vec<Home>) {
    let renewal = async |home: Home| {
        if let Err(status) = heartbeat::renew(&home.shared, LEASE_SECS).await {
            tracing::warn!(node = home.shared.config.node_name, %status, "a virtual node's lease is not renewed");
        }
    };
    futures::stream::iter(homes).map(renewal).buffer_unordered(WRITES_MAX).collect::<Vec<()>>().await;
}
