//! The order of things.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::ApiServer;
use client::{Client, Patch, WriteOptions};
use container_runtime::LibcontainerRuntime;
use controllers::Controllers;
use controllers_core::stateful_set::{CLUSTER_NAMESPACE, HEAL_ROLLOUT, HealRollout};
use images::DiskImages;
use informer::{Informers, SystemClock};
use meta::{ObjectId, ResourceId};
use node_agent::{NodeAgent, VirtualConfig, VirtualNodes};
use pki::{Pki, PkiRequest, ServingNames};
use pod_network::{NetlinkNetwork, PodNetwork};
use serde_json::{Value, json};
use store::{RedbConfig, RedbEngine, Store};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::LocalVolumes;

use crate::cluster::Cluster;
use crate::runtimes::Beside;
use crate::{Config, StartError, StopError, images_folder};

/// Domain of service and pod names.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Port of the API server towards pods, at the gateway's address, which is the cluster's own.
const POD_API_PORT: u16 = 6443;
/// Longest time for all pods to stop at `down`, beyond which they are killed.
const POD_GRACE: Duration = Duration::from_secs(110);
/// Longest time for requests to finish.
const REQUEST_GRACE: Duration = Duration::from_secs(2);
/// How long an Event is kept.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// What becomes of the pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// They are stopped, highest ordinal first (decision 6).
    StopPods,
    /// They go on; the next server adopts them.
    LeavePods,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    store: Store,
    api: Arc<ApiServer>,
    agent: NodeAgent,
    virtual_nodes: VirtualNodes,
    controllers: Controllers,
    scheduler: scheduler::Scheduler,
    tasks: TaskTracker,
    cancel: CancellationToken,
    _beside: [Beside; 2],
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts every part; the API answers when this returns.
    ///
    /// # Errors
    /// The part that does not start. What was started before it is stopped.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Another provider may be compiled in by a dependency; a second naming of ours is harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        make_folder(&config.data)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
        let cluster = Cluster::load_or_choose(&config.data)?;
        let folder = config.data.join("store");
        // Loading the store and preparing the network wait for different things.
        let opened = tokio::task::spawn_blocking(move || {
            Store::open(store::Config::standard(), RedbEngine::open(RedbConfig::standard(folder))?)
        });
        let network = NetlinkNetwork::open(pod_network::Config {
            cluster_id: cluster.id.clone(),
            ranges: cluster.ranges,
            state_dir: config.data.join("network"),
        })
        .await?;
        let store = opened.await.map_err(StartError::part("store"))??;

        let pki = Arc::new(open_pki(&config, &cluster, address)?);
        let tls = pki.server_tls()?;
        let api = Arc::new(start_api(&cluster, Arc::clone(&pki), store.clone()).await?);
        let front = Beside::front().map_err(StartError::part("threads for requests"))?;
        let background = Beside::background().map_err(StartError::part("background"))?;
        serve(&api, &front, listener, Arc::clone(&tls));
        let gateway = SocketAddr::from((cluster.ranges.gateway(), POD_API_PORT));
        let pod_listener =
            TcpListener::bind(gateway).await.map_err(|source| StartError::Listen { address: gateway, source })?;
        serve(&api, &front, pod_listener, tls);
        write_kubeconfig(&config, &pki, address)?;
        tell_heal_rollout(&config, &api).await?;

        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let informers = Informers::new(api.client("system:roadstead"), tasks.clone(), cancel.clone());
        let network: Arc<dyn PodNetwork> = Arc::new(network);
        let agent = start_agent(&config, &cluster, &api, Arc::clone(&network), &cancel).await?;
        let virtual_nodes = start_virtual_nodes(&config, &cluster, &api, &informers, [&front, &background], &cancel);
        api.set_node_streams(agent.streams_beside(&virtual_nodes));
        {
            let _there = background.enter();
            service_proxy::start(&informers, network, &tasks, cancel.clone());
        }
        start_dns(&cluster, &informers, &tasks, &cancel).await?;
        let scheduler = start_scheduler(&api, &informers, background.handle(), &cancel);
        api.set_placer(scheduler.placer());
        let controllers = start_controllers(&config, &pki, &api, &informers, background.handle().cloned(), &cancel);
        let figures = controllers.figures();
        api.set_figures(Box::new(move |registry| figures.register(registry)));
        tasks.close();
        tracing::info!(%address, cluster = cluster.id, data = %config.data.display(), "the cluster is up");
        Ok(Self {
            address,
            store,
            api,
            agent,
            virtual_nodes,
            controllers,
            scheduler,
            tasks,
            cancel,
            _beside: [front, background],
        })
    }

    /// Where people reach the API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the server cannot go on: the store lost its disk.
    pub async fn failed(&self) -> StopError {
        StopError::Store(self.store.until_broken().await)
    }

    /// Stops every part, in reverse.
    ///
    /// # Errors
    /// If the store could not be closed; everything acknowledged is on disk all the same.
    pub async fn stop(self, shutdown: Shutdown) -> Result<(), StopError> {
        // Nobody may replace or move pods that are about to stop.
        self.controllers.stop().await;
        self.scheduler.stop().await;
        self.virtual_nodes.stop().await;
        match shutdown {
            Shutdown::StopPods => self.agent.shutdown(POD_GRACE).await,
            Shutdown::LeavePods => {}
        }
        self.cancel.cancel();
        self.tasks.wait().await;
        self.api.stop(REQUEST_GRACE).await;
        self.store.close().await;
        tracing::info!("the cluster is down");
        Ok(())
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StartError::Folder { path: path.to_path_buf(), source })
}

fn open_pki(config: &Config, cluster: &Cluster, address: SocketAddr) -> Result<Pki, StartError> {
    let mut addresses = vec![IpAddr::V4(cluster.ranges.gateway()), IpAddr::V4(cluster.ranges.kubernetes_service())];
    if !address.ip().is_unspecified() {
        addresses.push(address.ip());
    }
    let request = PkiRequest {
        cluster_name: config.name.clone(),
        serving: ServingNames { dns: vec![config.node_name.clone()], addresses },
    };
    Ok(Pki::open(&config.data.join("pki"), &request, meta::Timestamp::now())?)
}

/// The kubeconfig is the key to everything: mode 0600, replaced in one step.
fn write_kubeconfig(config: &Config, pki: &Pki, address: SocketAddr) -> Result<(), StartError> {
    let host = if address.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { address.ip() };
    let url = format!("https://{}", SocketAddr::new(host, address.port()));
    let text = pki.admin_kubeconfig(&url, &format!("roadstead-{}", config.name));
    let path = config.data.join("kubeconfig");
    let unfinished = config.data.join("kubeconfig.new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.expose().as_bytes())?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|source| StartError::Folder { path: path.clone(), source })
}

async fn start_api(cluster: &Cluster, pki: Arc<Pki>, store: Store) -> Result<ApiServer, StartError> {
    let config = apiserver::Config {
        pki,
        service_range: cluster.ranges.services,
        advertise: SocketAddrV4::new(cluster.ranges.gateway(), POD_API_PORT),
        admin_token: None,
        event_ttl: EVENT_TTL,
        limits: apiserver::Limits::default(),
    };
    ApiServer::start(config, store).await.map_err(StartError::part("API server"))
}

/// Tells whoever sees only the API whether sets that say nothing about it are healed (docs/decisions/0016).
async fn tell_heal_rollout(config: &Config, api: &ApiServer) -> Result<(), StartError> {
    let told = match config.heal_rollout {
        HealRollout::Off => Value::Null,
        HealRollout::NeverReady => config.heal_rollout.to_string().into(),
    };
    let client = api.client("system:roadstead");
    let namespace = ObjectId::cluster(ResourceId::of("", "v1", "namespaces"), CLUSTER_NAMESPACE);
    let found = client.get(&namespace).await.map_err(StartError::part("API server"))?;
    if found.tree()["metadata"]["annotations"][HEAL_ROLLOUT] == told {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"metadata": {"annotations": {HEAL_ROLLOUT: told}}}));
    let written = client.patch(&namespace, None, patch, &WriteOptions::default()).await;
    written.map(drop).map_err(StartError::part("API server"))
}

/// Answers the requests that come in at a listener, on the threads for requests.
fn serve(api: &ApiServer, front: &Beside, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let _there = front.enter();
    api.serve(listener, tls);
}

async fn start_agent(
    config: &Config,
    cluster: &Cluster,
    api: &ApiServer,
    network: Arc<dyn PodNetwork>,
    cancel: &CancellationToken,
) -> Result<NodeAgent, StartError> {
    let program =
        std::env::current_exe().map_err(|source| StartError::Folder { path: "/proc/self/exe".into(), source })?;
    let runtime = LibcontainerRuntime::open(container_runtime::Config {
        cluster_id: cluster.id.clone(),
        state_dir: config.data.join("runtime"),
        volume_dirs: vec![config.data.clone()],
        program,
        logs: container_runtime::LogLimits::default(),
    })
    .await
    .map_err(StartError::part("container runtime"))?;
    let images = DiskImages::open(&images_folder(&config.data)).map_err(StartError::part("image store"))?;
    let volumes = LocalVolumes::open(&config.data, &cluster.id).map_err(StartError::part("volumes"))?;
    let gateway = IpAddr::V4(cluster.ranges.gateway());
    let agent_config = node_agent::Config {
        node_name: config.node_name.clone(),
        cluster_id: cluster.id.clone(),
        data_dir: config.data.clone(),
        gateway,
        dns_server: gateway,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        host_resolv_conf: "/etc/resolv.conf".into(),
        binary_version: env!("CARGO_PKG_VERSION").to_owned(),
        pods_max: config.pods_max,
    };
    let client: Arc<dyn Client> = api.client(&format!("system:node:{}", config.node_name));
    let parts = node_agent::Parts {
        client,
        runtime: Arc::new(runtime),
        network,
        images: Arc::new(images),
        volumes: Arc::new(volumes),
    };
    NodeAgent::start(agent_config, parts, cancel.child_token()).await.map_err(StartError::part("node agent"))
}

fn start_virtual_nodes(
    config: &Config,
    cluster: &Cluster,
    api: &ApiServer,
    informers: &Informers,
    [front, background]: [&Beside; 2],
    cancel: &CancellationToken,
) -> VirtualNodes {
    let settings = VirtualConfig {
        cluster_id: cluster.id.clone(),
        state_dir: config.data.join("network"),
        volumes_dir: config.data.join("volumes"),
        dns_server: IpAddr::V4(cluster.ranges.gateway()),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        binary_version: env!("CARGO_PKG_VERSION").to_owned(),
        machines: [config.node_name.clone()].into(),
        crowds: front.handle().cloned(),
        background: background.handle().cloned(),
    };
    VirtualNodes::start(settings, api.client("system:node:virtual"), informers, Arc::new(SystemClock), cancel)
}

async fn start_dns(
    cluster: &Cluster,
    informers: &Informers,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<(), StartError> {
    let config = dns_server::Config {
        listen: vec![SocketAddr::from((cluster.ranges.gateway(), 53))],
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        host_resolv_conf: "/etc/resolv.conf".into(),
        ranges: [cluster.ranges.pods, cluster.ranges.services].map(|r| (r.network(), r.prefix_len())).to_vec(),
    };
    let dns = dns_server::DnsServer::open(config).await.map_err(StartError::part("DNS server"))?;
    tasks.spawn(dns.serve(informers.clone(), cancel.clone()));
    Ok(())
}

fn start_scheduler(
    api: &ApiServer,
    informers: &Informers,
    background: Option<&Handle>,
    cancel: &CancellationToken,
) -> scheduler::Scheduler {
    let client = api.client("system:kube-scheduler");
    scheduler::Scheduler::start(client, informers.clone(), Arc::new(SystemClock), background, cancel)
}

fn start_controllers(
    config: &Config,
    pki: &Pki,
    api: &Arc<ApiServer>,
    informers: &Informers,
    background: Option<Handle>,
    cancel: &CancellationToken,
) -> Controllers {
    let api = Arc::clone(api);
    let clients: controllers::ClientFactory = Arc::new(move |user: &str| api.client(user));
    let standard = controllers::Config::standard(config.data.join("volumes"), pki.ca_pem().to_owned());
    let settings = controllers::Config { heal_rollout: config.heal_rollout, background, ..standard };
    Controllers::start(clients, informers.clone(), Arc::new(SystemClock), settings, cancel)
}
