//! Virtual nodes between the real API server and their twins: any Node with the annotation runs pods by their scripts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::resources;
use client::{Call, Client, Collection, DeleteOptions, Hooked, LogRequest, NodeStreams, Patch, WriteOptions};
use informer::{Cached, Clock, Informer, Informers, ManualClock, SystemClock};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, PersistentVolume, Pod};
use meta::{ObjectId, Reason, ResourceId, Status, Uid};
use node_agent::{VIRTUAL, VirtualConfig, VirtualNodes};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use common::until;

struct Bed {
    client: Arc<dyn Client>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: Informer<Event>,
    informers: Informers,
    streams: Arc<dyn NodeStreams>,
    cancel: CancellationToken,
    _agent: VirtualNodes,
    _folder: tempfile::TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Bed {
    async fn start() -> Self {
        Self::start_with(None, |client| client).await
    }

    /// Time stands still on its nodes until the clock is moved. The waits of the runtime below them are real.
    async fn start_at(clock: &ManualClock) -> Self {
        let bed = Self::start_whole(Arc::new(clock.clone()), None, |client| client).await;
        bed.node("v", "true", json!({})).await;
        bed
    }

    /// The agent asks through a client made of the server's, and runs crowds of pods there.
    async fn start_with(crowds: Option<Handle>, wrap: impl FnOnce(Arc<dyn Client>) -> Arc<dyn Client>) -> Self {
        Self::start_whole(Arc::new(SystemClock), crowds, wrap).await
    }

    async fn start_whole(
        clock: Arc<dyn Clock>,
        crowds: Option<Handle>,
        wrap: impl FnOnce(Arc<dyn Client>) -> Arc<dyn Client>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = common::server(&folder).await;
        let cancel = CancellationToken::new();
        let informers = Informers::new(server.client("system:roadstead"), TaskTracker::new(), cancel.clone());
        let config = VirtualConfig {
            cluster_id: "0badcafe".to_owned(),
            state_dir: folder.path().join("network"),
            volumes_dir: folder.path().join("volumes"),
            dns_server: "10.96.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            binary_version: "0".to_owned(),
            machines: BTreeSet::from(["machine".to_owned()]),
            background: None,
            crowds,
        };
        let client = wrap(server.client("system:node:virtual"));
        let agent = VirtualNodes::start(config, client, &informers, clock, &cancel);
        Self {
            client: server.client("admin"),
            nodes: informers.of(),
            pods: informers.of(),
            events: informers.of(),
            informers,
            streams: agent.streams(),
            cancel,
            _agent: agent,
            _folder: folder,
        }
    }

    async fn create(&self, resource: ResourceId, body: Value) {
        let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        let target = Collection { resource, namespace };
        self.client.create(&target, None, body, &WriteOptions::default()).await.unwrap();
    }

    async fn node(&self, name: &str, value: &str, status: Value) {
        let metadata = json!({"name": name, "annotations": {VIRTUAL: value}});
        self.create(
            resources::NODES,
            json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}),
        )
        .await;
    }

    /// A pod that is bound already, with a script.
    async fn pod(&self, name: &str, node: &str, notes: Value) {
        self.pod_of(name, node, notes, &["c"], json!({})).await;
    }

    /// As [`Bed::pod`], with these containers; each has the same probes.
    async fn pod_of(&self, name: &str, node: &str, notes: Value, containers: &[&str], probes: Value) {
        let container = |name: &&str| {
            let mut container = json!({"name": name, "image": "example.com/none:1"});
            container.as_object_mut().unwrap().extend(probes.as_object().unwrap().clone());
            container
        };
        self.create(
            resources::PODS,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "annotations": notes},
                "spec": {
                    "nodeName": node, "automountServiceAccountToken": false, "restartPolicy": "Never",
                    "containers": containers.iter().map(container).collect::<Vec<_>>(),
                },
            }),
        )
        .await;
    }

    async fn until_event(&self, text: &str) {
        until(&self.events, text, |events| {
            events.iter().any(|event| event.message.as_deref().is_some_and(|message| message.contains(text)))
        })
        .await;
    }

    /// The pod `p`, as the informer has it now.
    fn p(&self) -> Arc<Cached<Pod>> {
        self.pods.get("default", "p").unwrap()
    }

    async fn until_pod(&self, name: &str, what: &str, seen: impl Fn(&Pod) -> bool) {
        let is_it = |pod: &Pod| pod.metadata.name.as_deref() == Some(name) && seen(pod);
        until(&self.pods, what, |pods| pods.iter().any(|pod| is_it(pod))).await;
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// What the status says of a container.
fn container<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    pod.status.as_ref()?.container_statuses.iter().flatten().find(|one| one.name == name)
}

fn runs(pod: &Pod, name: &str) -> bool {
    container(pod, name).is_some_and(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
}

fn container_is_ready(pod: &Pod, name: &str) -> bool {
    container(pod, name).is_some_and(|one| one.ready)
}

/// A probe that asks once a second and believes every answer. Nobody is there to answer but the script.
fn probe() -> Value {
    json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1})
}

fn a_clock() -> ManualClock {
    ManualClock::at("2026-11-21T07:00:00Z".parse().unwrap())
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// Reason and message of the container's waiting state.
fn waits(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.clone()?, waiting.message.clone().unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_on_a_node_with_the_annotation_live_by_their_scripts() {
    let bed = Bed::start().await;
    bed.node("v", "true", json!({"capacity": {"cpu": "8", "pods": "3"}, "allocatable": {"cpu": "8", "pods": "3"}}))
        .await;
    until(&bed.nodes, "the node is ready and keeps its capacity", |nodes| {
        nodes.iter().any(|node| {
            let status = node.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
            ready && status.capacity.is_some_and(|all| all["cpu"].0 == "8" && all["pods"].0 == "3")
        })
    })
    .await;
    bed.pod("runs", "v", json!({})).await;
    bed.until_pod("runs", "it is ready at an address of its own", |pod| {
        is_ready(pod) && address(pod).is_some_and(pod_network::is_virtual)
    })
    .await;
    bed.pod("ends", "v", json!({"roadstead.dev/fail": "exit 3 after 10ms"})).await;
    bed.until_pod("ends", "it fails as it is told", |pod| {
        let states = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let codes = states.filter_map(|one| one.state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code));
        codes.into_iter().any(|code| code == 3)
    })
    .await;
    bed.pod("missing", "v", json!({"roadstead.dev/fail": "image"})).await;
    bed.until_pod("missing", "its image is not there", |pod| {
        waits(pod).is_some_and(|(reason, _)| reason == "ErrImagePull" || reason == "ImagePullBackOff")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_not_ready_before_its_readiness_delay_is_over() {
    let clock = a_clock();
    let bed = Bed::start_at(&clock).await;
    let notes = json!({"roadstead.dev/ready-delay": "1h", "roadstead.dev/ready-delay.quick": "10s"});
    bed.pod_of("p", "v", notes, &["quick", "slow"], json!({})).await;
    bed.until_pod("p", "both run", |pod| runs(pod, "quick") && runs(pod, "slow")).await;
    assert!(!container_is_ready(&bed.p(), "quick"), "its ten seconds have not begun to pass");

    // What is ready is decided for both at once: the status that says so of the one says what it is of the other.
    clock.advance(secs(3599));
    bed.until_pod("p", "the quick one is ready", |pod| container_is_ready(pod, "quick")).await;
    assert!(!container_is_ready(&bed.p(), "slow") && !is_ready(&bed.p()), "a second is left");
    clock.advance(secs(1));
    bed.until_pod("p", "the pod is ready", |pod| container_is_ready(pod, "slow") && is_ready(pod)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_only_after_its_start_delay_and_ends_only_after_its_stop_delay() {
    // The runtime waits in real time: what took less was not waited for.
    const DELAY: Duration = Duration::from_millis(500);
    let bed = Bed::start().await;
    bed.node("v", "true", json!({})).await;
    bed.pod("before", "v", json!({})).await;
    bed.until_pod("before", "the node runs pods", is_ready).await;
    let notes = json!({"roadstead.dev/start-delay": "500ms", "roadstead.dev/stop-delay": "500ms"});
    let created = Instant::now();
    bed.pod("p", "v", notes).await;
    bed.until_pod("p", "it runs", |pod| runs(pod, "c")).await;
    assert!(created.elapsed() >= DELAY, "it ran after {:?}", created.elapsed());

    let id = ObjectId::namespaced(resources::PODS, "default", "p");
    let deleted = Instant::now();
    bed.client.delete(&id, &DeleteOptions::default()).await.unwrap();
    until(&bed.pods, "it is gone", |pods| pods.iter().all(|pod| pod.metadata.name.as_deref() != Some("p"))).await;
    assert!(deleted.elapsed() >= DELAY, "it was gone after {:?}", deleted.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_cannot_be_started_fails_its_container_and_says_why() {
    let bed = Bed::start().await;
    bed.node("v", "true", json!({})).await;
    bed.pod_of("p", "v", json!({"roadstead.dev/fail.broken": "start"}), &["whole", "broken"], json!({})).await;
    bed.until_pod("p", "one runs, the other could not be started", |pod| {
        let states = container(pod, "broken").and_then(|one| one.state.as_ref()?.terminated.clone());
        runs(pod, "whole")
            && states.is_some_and(|ended| {
                ended.exit_code == 128
                    && ended.reason.as_deref() == Some("StartError")
                    && ended.message.as_deref().is_some_and(|text| text.contains("annotation roadstead.dev/fail"))
            })
    })
    .await;
    bed.until_event("as the pod's annotation roadstead.dev/fail says").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_readiness_probe_finds_what_the_script_says_for_the_age_of_the_container() {
    let clock = a_clock();
    let bed = Bed::start_at(&clock).await;
    let notes = json!({
        "roadstead.dev/readiness-probe.late": "fail for 10s",
        "roadstead.dev/readiness-probe.short": "fail after 10s",
        "roadstead.dev/readiness-probe.never": "fail",
    });
    bed.pod_of("p", "v", notes, &["late", "never", "short"], json!({"readinessProbe": probe()})).await;
    let ready = |pod: &Pod| ["late", "never", "short"].map(|name| container_is_ready(pod, name));
    bed.until_pod("p", "the one that will fail is ready", |pod| ready(pod) == [false, false, true]).await;
    clock.advance(secs(10));
    bed.until_pod("p", "the late one is ready in its place", |pod| ready(pod) == [true, false, false]).await;
    bed.until_event("Readiness probe failed: as the pod's annotations say").await;
    assert!(!is_ready(&bed.p()), "one never is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_startup_probe_that_the_script_fails_keeps_the_container_from_being_started() {
    let clock = a_clock();
    let bed = Bed::start_at(&clock).await;
    let mut patient = probe();
    patient["failureThreshold"] = json!(60);
    let notes = json!({"roadstead.dev/startup-probe.late": "fail for 10s"});
    bed.pod_of("p", "v", notes, &["late", "plain"], json!({"startupProbe": patient})).await;
    let started = |pod: &Pod| ["late", "plain"].map(|name| container(pod, name).and_then(|one| one.started));
    bed.until_pod("p", "only the one without a script is started", |pod| {
        runs(pod, "late") && started(pod) == [Some(false), Some(true)]
    })
    .await;
    assert!(!is_ready(&bed.p()));
    clock.advance(secs(10));
    bed.until_pod("p", "both are started", |pod| started(pod) == [Some(true); 2] && is_ready(pod)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liveness_probe_that_the_script_fails_has_the_container_killed() {
    let clock = a_clock();
    let bed = Bed::start_at(&clock).await;
    let notes = json!({"roadstead.dev/liveness-probe.sick": "fail after 10s"});
    bed.pod_of("p", "v", notes, &["sick", "well"], json!({"livenessProbe": probe()})).await;
    bed.until_pod("p", "both run", |pod| is_ready(pod) && runs(pod, "sick")).await;
    clock.advance(secs(10));
    bed.until_pod("p", "the sick one has ended, the other runs on", |pod| {
        let ended = container(pod, "sick").and_then(|one| one.state.as_ref()?.terminated.clone());
        ended.is_some() && runs(pod, "well")
    })
    .await;
    bed.until_event("Liveness probe failed: as the pod's annotations say").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_cannot_be_read_is_told_and_may_be_repaired() {
    let bed = Bed::start().await;
    bed.node("v", "true", json!({})).await;
    bed.pod("p", "v", json!({"roadstead.dev/start-delay": "soon"})).await;
    let says =
        |text: &str| text.contains("roadstead.dev/start-delay") && text.contains("\"soon\"") && text.contains("50ms");
    bed.until_pod("p", "it waits and says why", |pod| {
        waits(pod).is_some_and(|(reason, message)| reason == "CreateContainerConfigError" && says(&message))
    })
    .await;
    until(&bed.events, "an event says why", |events| {
        events
            .iter()
            .any(|event| event.reason.as_deref() == Some("Failed") && event.message.as_deref().is_some_and(says))
    })
    .await;
    let id = ObjectId::namespaced(resources::PODS, "default", "p");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"roadstead.dev/start-delay": "1ms"}}}));
    bed.client.patch(&id, None, patch, &WriteOptions::default()).await.unwrap();
    bed.until_pod("p", "it is ready", is_ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_of_images_and_containers_that_are_not_there() {
    // docs/decisions/0022.
    let bed = Bed::start().await;
    bed.node("v", "true", json!({})).await;
    bed.pod("p", "v", json!({})).await;
    bed.until_pod("p", "it is ready", is_ready).await;
    // Events are written one after the other: what was told of the first pod is there before what fails on the second.
    bed.pod("odd", "v", json!({"roadstead.dev/start-delay": "soon"})).await;
    until(&bed.events, "the second pod's failure is told", |events| {
        events.iter().any(|event| event.reason.as_deref() == Some("Failed"))
    })
    .await;
    let untrue = ["Pulled", "Created", "Started"];
    let told =
        bed.events.matching(None, |event| event.reason.as_deref().is_some_and(|reason| untrue.contains(&reason)));
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_status_that_is_refused_does_not_keep_the_pod() {
    // docs/decisions/0023; L5.
    let refusals = Arc::new(AtomicUsize::new(0));
    let refused = Arc::clone(&refusals);
    let bed = Bed::start_with(None, |client| {
        Hooked::before(client, move |call: &Call<'_>| {
            if call.deletion.is_none_or(|deletion| deletion.last_status.is_none()) {
                return Ok(());
            }
            refused.fetch_add(1, Ordering::Relaxed);
            Err(Status::new(Reason::Invalid, "no status of this kind"))
        })
    })
    .await;
    bed.node("v", "true", json!({})).await;
    bed.pod("p", "v", json!({})).await;
    bed.until_pod("p", "it is ready", is_ready).await;
    let id = ObjectId::namespaced(resources::PODS, "default", "p");
    bed.client.delete(&id, &DeleteOptions::default()).await.unwrap();
    until(&bed.pods, "it is gone", |pods| pods.is_empty()).await;
    assert_eq!(refusals.load(Ordering::Relaxed), 1, "it was tried");
}

#[test]
fn pods_that_come_in_a_crowd_live_on_the_runtime_that_is_meant_for_crowds() {
    // docs/decisions/0023. The agent starts on a runtime of its own, which has nothing to do with the crowd's.
    let crowds = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let main = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    main.block_on(async {
        let bed = Bed::start_with(Some(crowds.handle().clone()), |client| client).await;
        bed.pod("alone", "v", json!({})).await;
        for number in 0..64 {
            bed.pod(&format!("p{number}"), "w", json!({})).await;
        }
        let is_ready = |name: &str, pods: &[Arc<Cached<Pod>>]| {
            pods.iter().filter(|pod| pod.metadata.name.as_deref().unwrap().starts_with(name) && is_ready(pod)).count()
        };
        bed.node("v", "true", json!({})).await;
        until(&bed.pods, "the one is ready", |pods| is_ready("alone", pods) == 1).await;
        assert_eq!(crowds.metrics().num_alive_tasks(), 0, "it is no crowd");
        bed.node("w", "true", json!({})).await;
        until(&bed.pods, "all are ready", |pods| is_ready("p", pods) == 64).await;
        assert!(crowds.metrics().num_alive_tasks() >= 64, "a node that joins brings its pods at once");
    });
    crowds.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_a_virtual_pod_are_refused_with_the_reason() {
    let bed = Bed::start().await;
    bed.node("v", "true", json!({})).await;
    bed.pod("p", "v", json!({})).await;
    bed.until_pod("p", "it is ready", is_ready).await;
    let uid = Uid(bed.pods.get("default", "p").unwrap().metadata.uid.clone().unwrap());
    let request = LogRequest { pod: "p".to_owned(), pod_uid: uid, container: "c".to_owned(), ..LogRequest::default() };
    let Err(status) = bed.streams.logs(request).await else { panic!("there are no logs") };
    assert!(status.message.contains("virtual node \"v\"") && status.message.contains("no process"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_deleted_takes_its_pods_along() {
    let bed = Bed::start().await;
    for name in ["v", "w"] {
        bed.node(name, "true", json!({})).await;
        bed.pod(&format!("on-{name}"), name, json!({"roadstead.dev/stop-delay": "never"})).await;
        bed.until_pod(&format!("on-{name}"), "it is ready", is_ready).await;
    }
    bed.client.delete(&ObjectId::cluster(resources::NODES, "v"), &DeleteOptions::default()).await.unwrap();
    until(&bed.pods, "its pod is gone, the other's stays", |pods| {
        pods.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).eq(["on-w"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_volume_of_a_virtual_node_goes_though_its_node_went_before() {
    let bed = Bed::start().await;
    for (name, node) in [("pv", "v"), ("of-machine", "machine")] {
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "finalizers": ["roadstead.dev/local-volume"], "annotations": {
                VIRTUAL: "true", "pv.kubernetes.io/provisioned-by": "roadstead.dev/local"}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": "/nowhere"},
                "persistentVolumeReclaimPolicy": "Delete",
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
            },
        });
        bed.create(resources::PERSISTENT_VOLUMES, volume).await;
        let id = ObjectId::cluster(resources::PERSISTENT_VOLUMES, name);
        bed.client.delete(&id, &DeleteOptions::default()).await.unwrap();
        // As the volume controller does when no claim has it any more.
        let unprotected = json!({"metadata": {"finalizers": ["roadstead.dev/local-volume"]}});
        bed.client.patch(&id, None, Patch::Merge(unprotected), &WriteOptions::default()).await.unwrap();
    }
    let volumes = bed.informers.of::<PersistentVolume>();
    until(&volumes, "only the machine's is left", |volumes| {
        volumes.iter().map(|volume| volume.metadata.name.as_deref().unwrap()).eq(["of-machine"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_that_cannot_be_obeyed_are_told() {
    let bed = Bed::start().await;
    bed.node("machine", "true", json!({})).await;
    bed.node("odd", "yes", json!({})).await;
    for text in ["node \"machine\" is this machine", "\"yes\": must be \"true\" or absent"] {
        bed.until_event(text).await;
    }
}
