//! The scheduler against a real API server on a store in memory: what becomes of pods, conditions, events and claims.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Config, Limits};
use client::{Client, Collection, DeleteOptions, Hooked, Object, Patch, Selection, WatchEvent, WriteOptions};
use futures::StreamExt;
use informer::{Informers, SystemClock};
use meta::{ObjectId, Reason, ResourceId, Status};
use pki::{Pki, PkiRequest, ServingNames};
use scheduler::Scheduler;
use serde_json::{Value, json};
use store::{MemoryDisk, MemoryEngine, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PODS: ResourceId = ResourceId::of("", "v1", "pods");
const NODES: ResourceId = ResourceId::of("", "v1", "nodes");
const CLAIMS: ResourceId = ResourceId::of("", "v1", "persistentvolumeclaims");
const VOLUMES: ResourceId = ResourceId::of("", "v1", "persistentvolumes");
const CLASSES: ResourceId = ResourceId::of("storage.k8s.io", "v1", "storageclasses");
const BUDGETS: ResourceId = ResourceId::of("policy", "v1", "poddisruptionbudgets");
const PRIORITIES: ResourceId = ResourceId::of("scheduling.k8s.io", "v1", "priorityclasses");
const EVENTS: ResourceId = ResourceId::of("", "v1", "events");
/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    client: Arc<dyn Client>,
    scheduler: Option<Scheduler>,
    server: ApiServer,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let mut world = Self::without_scheduler().await;
        world.schedule();
        world
    }

    async fn without_scheduler() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = PkiRequest {
            cluster_name: "test".to_owned(),
            serving: ServingNames { dns: vec!["localhost".to_owned()], addresses: vec![Ipv4Addr::LOCALHOST.into()] },
        };
        let pki = Arc::new(Pki::open(folder.path(), &request, jiff::Timestamp::now()).unwrap());
        let config = Config {
            pki,
            service_range: "10.0.0.0/24".parse().unwrap(),
            advertise: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6443),
            admin_token: None,
            event_ttl: Duration::from_secs(3600),
            limits: Limits::STANDARD,
        };
        let store = Store::open(store::Config::standard(), MemoryEngine::open(&MemoryDisk::default())).unwrap();
        let server = ApiServer::start(config, store).await.unwrap();
        Self { client: server.client("admin"), scheduler: None, server, _folder: folder }
    }

    /// Starts the scheduler: it decides nothing before it knows all that is there now.
    fn schedule(&mut self) {
        self.schedule_with(self.server.client("system:roadstead"), self.server.client("system:kube-scheduler"));
    }

    /// Starts the scheduler with these clients: for its caches, and for what it does.
    fn schedule_with(&mut self, for_caches: Arc<dyn Client>, client: Arc<dyn Client>) {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let informers = Informers::new(for_caches, tasks, cancel.clone());
        let scheduler = Scheduler::start(client, informers, Arc::new(SystemClock), None, &cancel);
        self.server.set_placer(scheduler.placer());
        self.scheduler = Some(scheduler);
    }

    async fn create(&self, resource: ResourceId, body: Value) -> Arc<Object> {
        let is_in_cluster = [NODES, CLASSES, PRIORITIES, VOLUMES].contains(&resource);
        let target =
            if is_in_cluster { Collection::all(resource) } else { Collection::in_namespace(resource, "default") };
        self.client.create(&target, None, body, &WriteOptions::default()).await.unwrap()
    }

    async fn node(&self, name: &str, cpu: &str, unschedulable: bool) {
        let body = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": { "unschedulable": unschedulable },
            "status": {
                "allocatable": { "cpu": cpu, "memory": "64Gi", "pods": "2000" },
                "capacity": { "cpu": cpu, "memory": "64Gi", "pods": "2000" },
            },
        });
        self.create(NODES, body).await;
    }

    async fn pod(&self, name: &str, cpu: &str, claim: Option<&str>) {
        self.create(PODS, pod(name, cpu, claim)).await;
    }

    /// As a controller creates one: it takes its place along, if there is one.
    async fn placed(&self, body: Value) -> Result<Arc<Object>, Status> {
        let options = WriteOptions { place: true, ..WriteOptions::default() };
        self.client.create(&Collection::in_namespace(PODS, "default"), None, body, &options).await
    }

    /// A pod that wants all of a node of one core.
    async fn whole_node_pod(&self, name: &str, labels: Value, class: &str, node: Option<&str>) {
        let body = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
            "spec": {
                "automountServiceAccountToken": false,
                "nodeName": node,
                "priorityClassName": class,
                "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": "1" } } }],
            },
        });
        self.create(PODS, body).await;
    }

    /// Waits until `count` objects of a resource satisfy `wanted`, and gives them.
    async fn wait(&self, resource: ResourceId, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Arc<Value>> {
        let target = Collection::all(resource.clone());
        let found = tokio::time::timeout(PATIENCE, async {
            let list = self.client.list(&target, &Selection::default()).await.unwrap();
            let mut watch = self.client.watch(&target, &Selection::default(), list.resource_version).await.unwrap();
            let mut found: BTreeMap<String, Arc<Value>> = list
                .items
                .iter()
                .filter(|item| wanted(item.tree()))
                .map(|item| (item.name().to_owned(), Arc::clone(item.tree())))
                .collect();
            while found.len() < count {
                match watch.next().await.unwrap().unwrap() {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) if wanted(object.tree()) => {
                        found.insert(object.name().to_owned(), Arc::clone(object.tree()));
                    }
                    _ => {}
                }
            }
            found.into_values().collect()
        });
        found.await.unwrap_or_else(|_| panic!("{count} {resource} did not come to be as wanted"))
    }
}

fn pod(name: &str, cpu: &str, claim: Option<&str>) -> Value {
    let mut body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu } } }],
        },
    });
    if let Some(claim) = claim {
        body["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }]);
    }
    body
}

/// The claim `data` of the class `late`, with a volume or without.
fn claim(volume: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
        "spec": {
            "storageClassName": "late", "accessModes": ["ReadWriteOnce"], "volumeName": volume,
            "resources": { "requests": { "storage": "1Gi" } },
        },
    })
}

fn late_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "late" },
        "provisioner": "example.com/x", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn node_of(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

fn condition(pod: &Value) -> Value {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|c| c["type"] == "PodScheduled").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_bound_and_an_event_says_so() {
    let world = World::start().await;
    world.node("n1", "4", false).await;
    world.pod("a", "100m", None).await;
    let pods = world.wait(PODS, 1, |pod| node_of(pod) == "n1").await;
    assert_eq!(condition(&pods[0])["status"], "True");
    let events = world.wait(EVENTS, 1, |event| event["reason"] == "Scheduled").await;
    assert_eq!(events[0]["message"], "Successfully assigned default/a to n1");
}

/// B4: the server binds a pod and goes away before it says so, and the cache of pods stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_a_pod_whose_binding_was_not_answered_is_not_given_to_another() {
    let mut world = World::without_scheduler().await;
    world.node("n1", "1", false).await;
    world.whole_node_pod("a", json!({}), "", None).await;
    world.whole_node_pod("b", json!({}), "", None).await;
    let lost = || Status::new(Reason::ServiceUnavailable, "connection reset by peer");
    let stale = Hooked::before(world.server.client("system:roadstead"), move |call| {
        if call.verb == "watch" && *call.resource == PODS { Err(lost()) } else { Ok(()) }
    });
    let is_first = AtomicBool::new(true);
    let deaf = Hooked::after(world.server.client("system:kube-scheduler"), move |call| {
        let is_lost = call.subresource == Some("binding") && is_first.swap(false, Ordering::Relaxed);
        if is_lost { Err(lost()) } else { Ok(()) }
    });
    world.schedule_with(stale, deaf);
    let events = world.wait(EVENTS, 1, |event| event["reason"] == "Scheduled").await;
    assert_eq!(events[0]["message"], "Successfully assigned default/a to n1");
    world.node("n2", "1", false).await;
    let bound = world.wait(PODS, 2, |pod| !node_of(pod).is_empty()).await;
    assert_eq!(bound.iter().map(|pod| node_of(pod)).collect::<Vec<_>>(), ["n1", "n2"]);
}

/// Decision 24.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_a_controller_is_stored_with_its_place_and_an_event_says_so() {
    let world = World::start().await;
    world.node("n1", "1", false).await;
    let create = |name: &str, cpu: &str| world.placed(pod(name, cpu, None));
    // The scheduler serves once it has seen the node: until then it takes what comes as ever.
    world.pod("warm", "1m", None).await;
    world.wait(PODS, 1, |pod| node_of(pod) == "n1").await;

    let trial = WriteOptions { place: true, dry_run: true, ..WriteOptions::default() };
    let here = Collection::in_namespace(PODS, "default");
    let tried = world.client.create(&here, None, pod("a", "600m", None), &trial).await.unwrap();
    assert_eq!(node_of(tried.tree()), "", "a trial takes no place");
    let stored = create("a", "600m").await.unwrap();
    assert_eq!((node_of(stored.tree()), &condition(stored.tree())["status"]), ("n1", &json!("True")));
    let events = world.wait(EVENTS, 2, |event| event["reason"] == "Scheduled").await;
    assert!(events.iter().any(|event| event["message"] == "Successfully assigned default/a to n1"));

    // A refused creation holds nothing: the next pod finds the place that is left, and not one less.
    assert!(create("a", "300m").await.unwrap_err().is_already_exists());
    assert_eq!(node_of(create("d", "300m").await.unwrap().tree()), "n1");
    let now = DeleteOptions { grace_period_secs: Some(0), ..DeleteOptions::default() };
    world.client.delete(&ObjectId::namespaced(PODS, "default", "a"), &now).await.unwrap();
    create("b", "600m").await.unwrap();
    world.wait(PODS, 1, |pod| node_of(pod) == "n1" && pod["metadata"]["name"] == "b").await;
    let waits = create("c", "600m").await.unwrap();
    assert_eq!(node_of(waits.tree()), "", "there is no room");
    world.wait(PODS, 1, |pod| condition(pod)["reason"] == "Unschedulable").await;
}

/// Seed 8535: the claim that the scheduler knows is gone, and another has its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_rests_on_a_claim_of_the_past_is_not_taken() {
    let mut world = World::without_scheduler().await;
    world.node("n1", "4", false).await;
    world.create(CLASSES, late_class()).await;
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "v" },
        "spec": {
            "storageClassName": "late", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" },
            "hostPath": { "path": "/v" }, "claimRef": { "namespace": "default", "name": "data" },
        },
    });
    world.create(VOLUMES, volume).await;
    world.create(CLAIMS, claim("v")).await;
    let data = ObjectId::namespaced(CLAIMS, "default", "data");
    let bound = Patch::Merge(json!({ "status": { "phase": "Bound" } }));
    world.client.patch(&data, Some("status"), bound, &WriteOptions::default()).await.unwrap();
    let stale = Hooked::before(world.server.client("system:roadstead"), |call| {
        let is_told = call.verb != "watch" || *call.resource != CLAIMS;
        if is_told { Ok(()) } else { Err(Status::new(Reason::ServiceUnavailable, "connection reset by peer")) }
    });
    world.schedule_with(stale, world.server.client("system:kube-scheduler"));
    // The scheduler serves once it has seen the node.
    world.pod("warm", "1m", None).await;
    world.wait(PODS, 1, |pod| node_of(pod) == "n1").await;
    let first = world.placed(pod("a", "1m", Some("data"))).await.unwrap();
    assert_eq!(node_of(first.tree()), "n1", "its claim is the one that was bound");

    let unprotected = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    world.client.patch(&data, None, unprotected, &WriteOptions::default()).await.unwrap();
    world.client.delete(&data, &DeleteOptions::default()).await.unwrap();
    world.create(CLAIMS, claim("")).await;
    // Some try of its own may bind it later, as upstream's scheduler would: what is stored says that it came without.
    let second = world.placed(pod("b", "1m", Some("data"))).await.unwrap();
    assert_eq!(node_of(second.tree()), "", "its claim is another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_says_why_and_is_bound_once_it_fits() {
    let world = World::start().await;
    world.node("n1", "4", true).await;
    world.pod("a", "100m", None).await;
    let why = "0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 \
               Preemption is not helpful for scheduling.";
    let pods = world.wait(PODS, 1, |pod| condition(pod)["message"] == why).await;
    let told = condition(&pods[0]);
    assert_eq!((&told["status"], &told["reason"]), (&json!("False"), &json!("Unschedulable")));
    // Another may say that there are no nodes: the caches of pods and of nodes are filled on their own.
    let events = world.wait(EVENTS, 1, |event| event["message"] == why).await;
    assert_eq!((&events[0]["reason"], &events[0]["type"]), (&json!("FailedScheduling"), &json!("Warning")));
    let uncordon = Patch::Merge(json!({ "spec": { "unschedulable": null } }));
    world.client.patch(&ObjectId::cluster(NODES, "n1"), None, uncordon, &WriteOptions::default()).await.unwrap();
    world.wait(PODS, 1, |pod| node_of(pod) == "n1" && condition(pod)["status"] == "True").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_makes_room_for_the_next() {
    let world = World::start().await;
    world.node("n1", "1", false).await;
    world.pod("a", "1", None).await;
    world.wait(PODS, 1, |pod| node_of(pod) == "n1").await;
    world.pod("b", "1", None).await;
    let why = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims \
               found for incoming pod.";
    world.wait(PODS, 1, |pod| condition(pod)["message"] == why).await;
    let now = DeleteOptions { grace_period_secs: Some(0), ..DeleteOptions::default() };
    world.client.delete(&ObjectId::namespaced(PODS, "default", "a"), &now).await.unwrap();
    world.wait(PODS, 1, |pod| node_of(pod) == "n1" && pod["metadata"]["name"] == "b").await;
}

/// Victims without grace are gone from every cache before anything can be said of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_victim_is_told_who_took_its_place_however_fast_it_goes() {
    let world = World::start().await;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "high" }, "value": 1000,
    });
    world.create(PRIORITIES, class).await;
    world.node("n1", "16", false).await;
    let pod = |name: &str, class: &str, cpu: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": {
                "automountServiceAccountToken": false, "priorityClassName": class, "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu } } }],
            },
        })
    };
    for n in 0..16 {
        world.create(PODS, pod(&format!("low-{n}"), "", "1")).await;
    }
    world.wait(PODS, 16, |pod| node_of(pod) == "n1").await;
    let high = world.create(PODS, pod("high", "high", "16")).await;
    world.wait(PODS, 1, |pod| node_of(pod) == "n1" && pod["metadata"]["name"] == "high").await;
    let events = world.wait(EVENTS, 16, |event| event["reason"] == "Preempted").await;
    assert_eq!(events[0]["message"], format!("Preempted by pod {} on node n1", high.uid().0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_learns_its_node_before_the_pod_is_bound() {
    let world = World::start().await;
    world.node("n1", "4", false).await;
    world.create(CLASSES, late_class()).await;
    world.create(CLAIMS, claim("")).await;
    world.pod("a", "100m", Some("data")).await;
    let selected = |claim: &Value| claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n1";
    world.wait(CLAIMS, 1, selected).await;
    let pod = world.client.get(&ObjectId::namespaced(PODS, "default", "a")).await.unwrap();
    assert_eq!(node_of(pod.tree()), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pods_at_once_are_all_bound_and_no_node_gets_too_many() {
    const COUNT: usize = 1_000;
    let world = World::start().await;
    for name in ["n1", "n2", "n3"] {
        world.node(name, "350", false).await;
    }
    let begin = Instant::now();
    let creates = (0..COUNT).map(|i| {
        let world = &world;
        async move { world.pod(&format!("p{i}"), "1", None).await }
    });
    futures::stream::iter(creates).buffer_unordered(64).collect::<Vec<_>>().await;
    let created = begin.elapsed();
    let pods = world.wait(PODS, COUNT, |pod| !node_of(pod).is_empty()).await;
    println!("{COUNT} pods created in {created:?}, all bound {:?} later", begin.elapsed() - created);
    for node in ["n1", "n2", "n3"] {
        let count = pods.iter().filter(|pod| node_of(pod) == node).count();
        assert!((300..=350).contains(&count), "{node} has {count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preemption_leaves_alone_what_a_budget_protects_while_another_can_go() {
    let mut world = World::without_scheduler().await;
    for (name, value) in [("middle", 5), ("high", 10)] {
        let class = json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name }, "value": value });
        world.create(PRIORITIES, class).await;
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "guarded" } } },
    });
    world.create(BUDGETS, budget).await;
    for (node, name, labels, class) in
        [("n1", "guarded", json!({ "app": "guarded" }), ""), ("n2", "free", json!({}), "middle")]
    {
        world.node(node, "1", false).await;
        world.whole_node_pod(name, labels, class, Some(node)).await;
    }
    world.whole_node_pod("urgent", json!({}), "high", None).await;
    world.schedule();

    // By priority alone the guarded pod would have to go.
    let going = world.wait(PODS, 1, |pod| !pod["metadata"]["deletionTimestamp"].is_null()).await;
    assert_eq!(going[0]["metadata"]["name"], "free");
    let nominated = world.wait(PODS, 1, |pod| pod["status"]["nominatedNodeName"] == "n2").await;
    assert_eq!(nominated[0]["metadata"]["name"], "urgent");
}
