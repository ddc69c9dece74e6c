//! The node agent between the real API server and the in-memory runtime, network, images and volumes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::resources;
use async_trait::async_trait;
use client::{Client, Collection, DeleteOptions, Patch, WriteOptions};
use container_runtime::{
    ContainerId, ContainerSpec, ContainerState, ContainerStatus, ExecSession, ExecSpec, Life, Runtime, RuntimeError,
    RuntimeEvent, Sandbox, SandboxSpec, SandboxStatus, Script, Signal, VirtualRuntime,
};
use images::{Image, MemoryImages};
use informer::{Informer, Informers};
use k8s_openapi::api::core::v1::{Event, PersistentVolume, Pod};
use meta::{ObjectId, ResourceId, Uid};
use node_agent::{Config, NodeAgent, Parts};
use pod_network::{MemoryNetwork, Ranges};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::{MemoryVolumes, Volumes};

use common::{PATIENCE, until};

const NODE: &str = "n1";
const IMAGE: &str = "docker.io/library/redis:7";

struct Bed {
    client: Arc<dyn Client>,
    volumes: Arc<MemoryVolumes>,
    pods: Informer<Pod>,
    events: Informer<Event>,
    persistent: Informer<PersistentVolume>,
    cancel: CancellationToken,
    runtime: Arc<VirtualRuntime>,
    config: Config,
    parts: Parts,
    agent: Option<(NodeAgent, CancellationToken)>,
    _folder: tempfile::TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Bed {
    /// A node whose agent does not run yet.
    async fn new(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = common::server(&folder).await;
        let cancel = CancellationToken::new();
        let images = MemoryImages::default();
        let image = Image { id: "sha256:1".to_owned(), cmd: vec!["redis-server".to_owned()], ..Image::default() };
        images.put(IMAGE, image).unwrap();
        let volumes = Arc::new(MemoryVolumes::default());
        let ranges = Ranges { pods: "10.1.0.0/24".parse().unwrap(), services: "10.96.0.0/16".parse().unwrap() };
        let runtime = Arc::new(VirtualRuntime::new(script));
        let parts = Parts {
            client: server.client("system:node:n1"),
            runtime: runtime.clone(),
            network: Arc::new(MemoryNetwork::new(ranges)),
            images: Arc::new(images),
            volumes: volumes.clone(),
        };
        let config = Config {
            node_name: NODE.to_owned(),
            cluster_id: "0badcafe".to_owned(),
            data_dir: folder.path().to_path_buf(),
            gateway: Ipv4Addr::new(10, 1, 0, 1).into(),
            dns_server: Ipv4Addr::new(10, 96, 0, 10).into(),
            cluster_domain: "cluster.local".to_owned(),
            host_resolv_conf: "/dev/null".into(),
            binary_version: "0".to_owned(),
            pods_max: 110,
        };
        let informers = Informers::new(server.client("system:roadstead"), TaskTracker::new(), cancel.clone());
        Self {
            client: server.client("admin"),
            volumes,
            pods: informers.of(),
            events: informers.of(),
            persistent: informers.of(),
            cancel,
            runtime,
            config,
            parts,
            agent: None,
            _folder: folder,
        }
    }

    async fn start() -> Self {
        let mut bed = Self::new(Script::default()).await;
        bed.start_agent().await;
        bed
    }

    async fn start_agent(&mut self) {
        let cancel = self.cancel.child_token();
        let agent = NodeAgent::start(self.config.clone(), self.parts.clone(), cancel.clone()).await.unwrap();
        self.agent = Some((agent, cancel));
    }

    /// Ends the agent wherever it is; returns when nothing of it is left.
    async fn kill_agent(&mut self) {
        let (_, cancel) = self.agent.take().unwrap();
        cancel.cancel();
        let (runtime, ours) = (Arc::clone(&self.runtime), 3);
        self.patiently("the agent has ended", async || Arc::strong_count(&runtime) == ours).await;
    }

    /// Waits for something that nobody tells of.
    async fn patiently(&self, what: &str, seen: impl AsyncFn() -> bool) {
        let wait = async {
            while !seen().await {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
    }

    async fn create(&self, resource: ResourceId, body: Value) {
        let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        let target = Collection { resource, namespace };
        self.client.create(&target, None, body, &WriteOptions::default()).await.unwrap();
    }

    async fn merge(&self, id: &ObjectId, subresource: Option<&str>, patch: Value) {
        self.client.patch(id, subresource, Patch::Merge(patch), &WriteOptions::default()).await.unwrap();
    }

    /// A claim `data` and the volume `pvc-1`, as provisioner and binder leave them.
    async fn provision(&self) {
        self.create(
            resources::PERSISTENT_VOLUMES,
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": "roadstead.dev/local"}},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                    "persistentVolumeReclaimPolicy": "Delete",
                    "local": {"path": self.volumes.data_path("pvc-1")},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]}},
                },
            }),
        )
        .await;
        self.create(
            resources::PERSISTENT_VOLUME_CLAIMS,
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": "default"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "volumeName": "pvc-1",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }),
        )
        .await;
        let claim = ObjectId::namespaced(resources::PERSISTENT_VOLUME_CLAIMS, "default", "data");
        self.merge(&claim, Some("status"), json!({"status": {"phase": "Bound"}})).await;
    }

    /// A pod `db` on the node that mounts the claim.
    async fn run_db(&self) {
        self.create(
            resources::PODS,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "db", "namespace": "default"},
                "spec": {
                    "nodeName": NODE, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never",
                        "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
                },
            }),
        )
        .await;
    }

    /// A pod on the node that mounts nothing.
    async fn run_plain(&self, name: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": NODE, "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never"}],
            },
        });
        self.create(resources::PODS, pod).await;
    }

    async fn delete_db(&self) {
        let id = ObjectId::namespaced(resources::PODS, "default", "db");
        self.client.delete(&id, &DeleteOptions::default()).await.unwrap();
        until(&self.pods, "the pod is gone", |pods| pods.is_empty()).await;
    }

    async fn until_db_runs(&self) {
        until(&self.pods, "the pod runs", |pods| pods.iter().any(|pod| phase(pod) == Some("Running"))).await;
    }
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Message of a pod's condition of this type and reason.
fn condition<'p>(pod: &'p Pod, wanted: &str, reason: &str) -> Option<&'p str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|one| one.type_ == wanted && one.reason.as_deref() == Some(reason))?;
    found.message.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_never_starts_on_an_empty_folder_in_place_of_one_that_was_used() {
    const MARK: &str = "roadstead.dev/used-since";
    let bed = Bed::start().await;
    bed.provision().await;
    bed.run_db().await;
    bed.until_db_runs().await;
    let is_marked =
        |volume: &PersistentVolume| volume.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(MARK));
    until(&bed.persistent, "the volume is noted as used", |all| all.iter().any(|volume| is_marked(volume))).await;

    bed.delete_db().await;
    bed.volumes.lose_data("pvc-1");
    bed.run_db().await;
    let says_all = |message: &str| {
        message.contains("volume \"v\"")
            && message.contains("\"/memory/volumes/pvc-1\" is missing")
            && message.contains(&format!("kubectl annotate pv pvc-1 {MARK}-"))
    };
    until(&bed.pods, "the pod waits and says why", |pods| {
        let why = |pod: &Pod| condition(pod, "PodReadyToStartContainers", "FailedMount").is_some_and(says_all);
        pods.iter().any(|pod| phase(pod) == Some("Pending") && why(pod))
    })
    .await;
    until(&bed.events, "an event says why", |events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some("FailedMount") && event.message.as_deref().is_some_and(says_all)
        })
    })
    .await;

    // The way out, in so many words.
    let volume = ObjectId::cluster(resources::PERSISTENT_VOLUMES, "pvc-1");
    bed.merge(&volume, None, json!({"metadata": {"annotations": {MARK: null}}})).await;
    bed.until_db_runs().await;
    until(&bed.persistent, "the volume is noted as used again", |all| all.iter().any(|volume| is_marked(volume))).await;
}

/// What an agent that was killed in the middle of a pod's preparation leaves: a sandbox without address, files and
/// volumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_a_killed_agent_left_half_made_is_made_whole() {
    let mut bed = Bed::new(Script::default()).await;
    bed.provision().await;
    bed.run_db().await;
    let id = ObjectId::namespaced(resources::PODS, "default", "db");
    let uid = bed.client.get(&id).await.unwrap().uid();
    bed.runtime.run_sandbox(SandboxSpec { pod: uid.clone(), ..SandboxSpec::default() }).await.unwrap();
    bed.start_agent().await;
    bed.until_db_runs().await;
    let has_address = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
    until(&bed.pods, "the pod has an address", |pods| pods.iter().any(|pod| has_address(pod))).await;
    assert_eq!(bed.volumes.pods().await.unwrap(), [uid]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_a_killed_agent_has_made_but_not_started_is_started_by_the_next() {
    let is_first = Arc::new(AtomicBool::new(true));
    let life = move |_: &SandboxSpec, _: &ContainerSpec| {
        let hour = Duration::from_secs(3600);
        let start_after = if is_first.swap(false, Ordering::Relaxed) { hour } else { Duration::ZERO };
        Life { start_after, ..Life::default() }
    };
    let mut bed = Bed::new(Script { life: Arc::new(life), ..Script::default() }).await;
    bed.provision().await;
    bed.run_db().await;
    bed.start_agent().await;
    bed.patiently("a container waits for its start", async || {
        let all = bed.runtime.list().await.unwrap();
        all.iter().any(|one| one.containers.iter().any(|c| c.state == ContainerState::Created))
    })
    .await;
    bed.kill_agent().await;
    bed.start_agent().await;
    bed.until_db_runs().await;
    let all = bed.runtime.list().await.unwrap();
    assert!(matches!(
        all[0].containers[..],
        [ContainerStatus { state: ContainerState::Running { .. }, attempt: 0, .. }]
    ));
}

/// Makes its first container, says that it failed, and loses the sandbox.
struct Liar {
    inner: Arc<VirtualRuntime>,
    has_lied: AtomicBool,
}

#[async_trait]
impl Runtime for Liar {
    async fn create_container(&self, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError> {
        self.inner.create_container(pod, spec).await?;
        if self.has_lied.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.lose_sandbox(pod).await;
        Err(RuntimeError::Create { why: "says the runtime".to_owned() })
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        self.inner.run_sandbox(spec).await
    }

    async fn start_container(&self, pod: &Uid, id: &ContainerId) -> Result<ContainerState, RuntimeError> {
        self.inner.start_container(pod, id).await
    }

    async fn signal(&self, pod: &Uid, id: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        self.inner.signal(pod, id, signal).await
    }

    async fn kill_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.inner.kill_sandbox(pod).await
    }

    async fn remove_container(&self, pod: &Uid, id: &ContainerId) -> Result<(), RuntimeError> {
        self.inner.remove_container(pod, id).await
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.inner.remove_sandbox(pod).await
    }

    async fn exec(&self, pod: &Uid, id: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        self.inner.exec(pod, id, spec).await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        self.inner.list().await
    }

    fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent> {
        self.inner.subscribe()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_died_with_its_sandbox_before_its_start_is_not_in_its_own_way() {
    let mut bed = Bed::new(Script::default()).await;
    bed.parts.runtime = Arc::new(Liar { inner: Arc::clone(&bed.runtime), has_lied: AtomicBool::new(false) });
    bed.provision().await;
    bed.run_db().await;
    bed.start_agent().await;
    bed.until_db_runs().await;
}

/// A pod that was deleted without grace is not in the API any more, so the scheduler has given its room away; that it
/// still runs for a moment is no reason to turn its successor away for good (S29 counts objects).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_deleted_without_grace_leaves_its_room_to_the_next() {
    // Containers that hear no signal, so that the first one is there until the node kills it.
    let life = |_: &SandboxSpec, _: &ContainerSpec| Life::default();
    let mut bed = Bed::new(Script { life: Arc::new(life), ..Script::default() }).await;
    bed.config.pods_max = 1;
    bed.start_agent().await;
    bed.run_plain("first").await;
    let runs = |name: &'static str| {
        move |pods: &[Arc<informer::Cached<Pod>>]| {
            pods.iter().any(|pod| pod.metadata.name.as_deref() == Some(name) && phase(pod) == Some("Running"))
        }
    };
    until(&bed.pods, "the first runs", runs("first")).await;
    let id = ObjectId::namespaced(resources::PODS, "default", "first");
    let at_once = DeleteOptions { grace_period_secs: Some(0), ..DeleteOptions::default() };
    bed.client.delete(&id, &at_once).await.unwrap();
    bed.run_plain("second").await;
    until(&bed.pods, "the second runs", runs("second")).await;
}
