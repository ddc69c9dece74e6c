//! A control plane in one process: the real API server on a store in memory, the real controllers, and a node whose
//! containers start at once.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::resources;
use apiserver::{ApiServer, Config as ServerConfig, Limits};
use client::{Client, Collection, DeleteOptions, Patch, Propagation, Selection, WriteOptions};
use controllers::{Config, Controllers};
use informer::{Cached, Informer, Informers, SystemClock};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use meta::{ObjectId, ResourceId};
use pki::{Pki, PkiRequest, ServingNames};
use serde_json::{Value, json};
use store::{MemoryDisk, MemoryEngine, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witness::Asked;

/// Longest wait for anything in these tests; far more than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const NODE: &str = "n1";

mod witness;

/// Whoever asks for a place gets the only one.
struct OnlyNode;

impl client::Placer for OnlyNode {
    fn place(&self, _pod: &Value) -> Option<client::Place> {
        Some(client::Place { node: NODE.to_owned(), claims: Vec::new() })
    }

    fn stored(&self, _pod: &meta::Uid, _revision: meta::ResourceVersion) {}

    fn give_back(&self, _pod: &meta::Uid) {}
}

/// Something put between a part and the API server.
pub type Wrap = Arc<dyn Fn(Arc<dyn Client>) -> Arc<dyn Client> + Send + Sync>;

pub struct Bed {
    /// What the controllers asked of the API.
    pub asked: Asked,
    pub client: Arc<dyn Client>,
    pub informers: Informers,
    server: Arc<ApiServer>,
    controllers: Option<Controllers>,
    acts: Wrap,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Bed {
    pub async fn start() -> Self {
        Self::start_behind(Arc::new(|client| client), Arc::new(|client| client)).await
    }

    /// As [`Self::start`], with something between the server and all caches, and between it and what controllers do.
    pub async fn start_behind(caches: Wrap, acts: Wrap) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = PkiRequest {
            cluster_name: "bed".to_owned(),
            serving: ServingNames { dns: Vec::new(), addresses: Vec::new() },
        };
        let pki = Arc::new(Pki::open(&folder.path().join("pki"), &request, meta::Timestamp::now()).unwrap());
        let store = Store::open(store::Config::standard(), MemoryEngine::open(&MemoryDisk::default())).unwrap();
        let config = ServerConfig {
            pki,
            service_range: "10.96.0.0/16".parse().unwrap(),
            advertise: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6443),
            admin_token: None,
            event_ttl: Duration::from_secs(3600),
            limits: Limits::STANDARD,
        };
        let server = Arc::new(ApiServer::start(config, store).await.unwrap());
        let cancel = CancellationToken::new();
        let informers = Informers::new(caches(server.client("system:roadstead")), TaskTracker::new(), cancel.clone());
        let mut bed = Self {
            asked: Asked::default(),
            client: server.client("admin"),
            informers,
            server,
            controllers: None,
            acts,
            cancel,
            _folder: folder,
        };
        bed.start_controllers();
        bed.start_node();
        bed
    }

    pub fn start_controllers(&mut self) {
        let (server, asked, acts) = (Arc::clone(&self.server), self.asked.clone(), Arc::clone(&self.acts));
        let clients = Arc::new(move |user: &str| asked.through(acts(server.client(user)), user));
        let config = Config::standard(PathBuf::from("/data/volumes"), "PEM".to_owned());
        let controllers =
            Controllers::start(clients, self.informers.clone(), Arc::new(SystemClock), config, &self.cancel);
        self.controllers = Some(controllers);
    }

    /// As [`Self::start_controllers`] in a new process: the caches are read anew, and know all that is stored by now.
    pub fn start_controllers_afresh(&mut self) {
        let client = self.server.client("system:roadstead");
        self.informers = Informers::new(client, TaskTracker::new(), self.cancel.clone());
        self.start_controllers();
    }

    pub async fn stop_controllers(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.stop().await;
        }
    }

    /// Binds pods once their claims are bound, makes them ready at once, and stops those that are deleted.
    fn start_node(&self) {
        let node = Node {
            client: self.server.client("system:node:n1"),
            pods: self.informers.of(),
            claims: self.informers.of(),
        };
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = node.run() => {}
            }
        });
    }

    /// Gives the API server somebody who knows a place for every pod: the node of this bed.
    pub fn know_a_place(&self) {
        self.server.set_placer(Arc::new(OnlyNode));
    }

    /// What the controllers show in `/metrics`.
    pub fn figures(&self) -> String {
        let (mut registry, mut text) = (prometheus_client::registry::Registry::default(), String::new());
        self.controllers.as_ref().unwrap().figures().register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    pub async fn create(&self, resource: ResourceId, body: Value) {
        self.try_create(resource, body).await.unwrap();
    }

    pub async fn try_create(&self, resource: ResourceId, body: Value) -> Result<(), meta::Status> {
        let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        let target = Collection { resource, namespace };
        self.client.create(&target, None, body, &WriteOptions::default()).await.map(drop)
    }

    pub async fn patch(&self, resource: ResourceId, name: &str, patch: Value) {
        let id = ObjectId::namespaced(resource, "default", name);
        self.client.patch(&id, None, Patch::Merge(patch), &WriteOptions::default()).await.unwrap();
    }

    /// As the node: a pod's containers end.
    pub async fn end_pod(&self, name: &str, phase: &str) {
        let id = ObjectId::namespaced(resources::PODS, "default", name);
        let patch = Patch::Merge(json!({"status": {"phase": phase, "conditions": []}}));
        self.client.patch(&id, Some("status"), patch, &WriteOptions::default()).await.unwrap();
    }

    pub async fn delete(&self, resource: ResourceId, name: &str, propagation: Option<Propagation>) {
        let id = ObjectId::namespaced(resource, "default", name);
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        self.client.delete(&id, &options).await.unwrap();
    }

    pub async fn delete_in(&self, namespace: &str, resource: ResourceId, name: &str, propagation: Propagation) {
        let id = ObjectId::namespaced(resource, namespace, name);
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        self.client.delete(&id, &options).await.unwrap();
    }

    pub async fn get(&self, resource: ResourceId, name: &str) -> Value {
        let id = ObjectId::namespaced(resource, "default", name);
        Value::clone(self.client.get(&id).await.unwrap().tree())
    }

    /// All objects of a resource in `default`.
    pub async fn list(&self, resource: ResourceId) -> Vec<Value> {
        let target = Collection::in_namespace(resource, "default");
        let list = self.client.list(&target, &Selection::default()).await.unwrap();
        list.items.iter().map(|object| Value::clone(object.tree())).collect()
    }

    pub async fn list_all(&self, resource: ResourceId) -> Vec<Value> {
        let list = self.client.list(&Collection::all(resource), &Selection::default()).await.unwrap();
        list.items.iter().map(|object| Value::clone(object.tree())).collect()
    }

    pub async fn names(&self, resource: ResourceId) -> Vec<String> {
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        self.list(resource).await.iter().map(name).collect()
    }

    /// Waits until `seen` is true of the objects of a resource in `default`.
    pub async fn until(&self, resource: ResourceId, what: &str, seen: impl Fn(&[Value]) -> bool) {
        let target = Collection::all(resource.clone());
        let start = tokio::time::Instant::now();
        loop {
            let list = self.client.list(&target, &Selection::default()).await.unwrap();
            let objects: Vec<Value> = list.items.iter().map(|object| Value::clone(object.tree())).collect();
            let objects: Vec<Value> = objects
                .into_iter()
                .filter(|o| o["metadata"]["namespace"].is_null() || o["metadata"]["namespace"] == "default")
                .collect();
            if seen(&objects) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {:#}", json!(objects));
            let mut watch = self.client.watch(&target, &Selection::default(), list.resource_version).await.unwrap();
            let _ = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut watch)).await;
        }
    }

    /// Waits until a set's pods are exactly these, all ready, and its status says so.
    pub async fn settled(&self, set: &str, replicas: usize) {
        self.until(resources::STATEFUL_SETS, "the set settles", |sets| {
            sets.iter().any(|found| {
                let status = &found["status"];
                found["metadata"]["name"] == set
                    && status["observedGeneration"] == found["metadata"]["generation"]
                    && status["replicas"] == replicas
                    && status["readyReplicas"].as_u64().unwrap_or(0) == replicas as u64
                    && status["updatedReplicas"].as_u64().unwrap_or(0) == replicas as u64
                    && status["currentRevision"] == status["updateRevision"]
            })
        })
        .await;
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct Node {
    client: Arc<dyn Client>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
}

impl Node {
    async fn run(self) {
        self.pods.synced().await;
        self.claims.synced().await;
        let (mut pods, mut claims) = (self.pods.changes(), self.claims.changes());
        loop {
            pods.mark_unchanged();
            claims.mark_unchanged();
            for pod in self.pods.list() {
                self.look(&pod).await;
            }
            tokio::select! {
                () = pods.changed() => {}
                () = claims.changed() => {}
            }
        }
    }

    async fn look(&self, pod: &Cached<Pod>) {
        let namespace = pod.metadata.namespace.as_deref().unwrap();
        let name = pod.metadata.name.as_deref().unwrap();
        let id = ObjectId::namespaced(resources::PODS, namespace, name);
        let spec = pod.spec.as_ref().unwrap();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if spec.node_name.is_none() {
            if !self.claims_bound(pod).await {
                return;
            }
            let body =
                json!({"metadata": {"name": name, "namespace": namespace}, "target": {"kind": "Node", "name": NODE}});
            let target = Collection::in_namespace(resources::PODS, namespace);
            let _again = self.client.create(&target, Some("binding"), body, &WriteOptions::default()).await;
        } else if pod.metadata.deletion_timestamp.is_some() {
            let options = DeleteOptions {
                uid: pod.metadata.uid.clone().map(meta::Uid),
                grace_period_secs: Some(0),
                ..DeleteOptions::default()
            };
            let _gone = self.client.delete(&id, &options).await;
        } else if spec.containers[0].image.as_deref() == Some("broken") {
            let ready =
                pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).find(|c| c.type_ == "Ready");
            if ready.is_none() {
                let unready = |name: &str| json!({"type": name, "status": "False"});
                let conditions = json!([unready("Ready"), unready(meta::EVER_READY_CONDITION)]);
                let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
                let container = json!({"name": spec.containers[0].name, "image": "broken", "imageID": "",
                    "ready": false, "restartCount": 0, "state": waiting});
                let patch = Patch::Strategic(json!({"metadata": {"uid": pod.metadata.uid},
                    "status": {"conditions": conditions, "containerStatuses": [container]}}));
                let _gone = self.client.patch(&id, Some("status"), patch, &WriteOptions::default()).await;
            }
        } else if phase == Some("Pending") {
            let now = meta::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let uid = pod.metadata.uid.as_deref().unwrap();
            let octet = 1 + pod.resource_version.0 % 250;
            let ip = format!("10.1.{}.{octet}", pod.resource_version.0 / 250 % 250);
            let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now},
                    {"type": meta::EVER_READY_CONDITION, "status": "True"}]});
            // Only of the state that was seen: somebody may have ended it since.
            let seen = json!({"uid": uid, "resourceVersion": pod.resource_version.to_string()});
            let patch = Patch::Merge(json!({"metadata": seen, "status": status}));
            let _changed = self.client.patch(&id, Some("status"), patch, &WriteOptions::default()).await;
        }
    }

    /// As the scheduler: tells the claims their node, and waits until all are bound.
    async fn claims_bound(&self, pod: &Cached<Pod>) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap();
        let mut all = true;
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let Some(source) = &volume.persistent_volume_claim else { continue };
            let Some(claim) = self.claims.get(namespace, &source.claim_name) else { return false };
            if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
                continue;
            }
            all = false;
            let key = "volume.kubernetes.io/selected-node";
            if claim.metadata.annotations.as_ref().is_none_or(|annotations| !annotations.contains_key(key)) {
                let id = ObjectId::namespaced(resources::PERSISTENT_VOLUME_CLAIMS, namespace, &source.claim_name);
                let patch = Patch::Merge(json!({"metadata": {"annotations": {key: NODE}}}));
                let _gone = self.client.patch(&id, None, patch, &WriteOptions::default()).await;
            }
        }
        all
    }
}

/// A StatefulSet `web` in `default`.
pub fn set(replicas: i32, image: &str, claims: bool) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": image}]},
            },
        },
    });
    if claims {
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }]);
    }
    set
}

/// A headless Service `web` in `default`.
pub fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
    })
}
