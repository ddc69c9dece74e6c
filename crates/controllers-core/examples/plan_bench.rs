//! How long one look at a settled StatefulSet takes: the view made from cached objects, and the plan.
//!
//! `cargo run --release -p controllers-core --example plan_bench`; medians of many rounds, to show that the time grows
//! with the number of pods and no faster.

use std::error::Error;
use std::time::{Duration, Instant};

use controllers_core::stateful_set::{Action, SetFacts, View, plan};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use meta::Timestamp;
use serde_json::{Value, json};

const ROUNDS: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>9} {:>8} {:>12} {:>12} {:>12}", "replicas", "claims", "view", "plan", "both");
    let mut thousand = Duration::ZERO;
    for claims in [false, true] {
        for replicas in [10, 100, 1_000, 10_000] {
            let world = World::settled(replicas, claims)?;
            let (view, plan) = world.measure()?;
            println!("{replicas:>9} {claims:>8} {view:>12.1?} {plan:>12.1?} {:>12.1?}", view + plan);
            if replicas == 1_000 {
                thousand = thousand.max(view + plan);
            }
        }
    }
    // For `cargo xtask bench`: the slower of the two.
    println!("settled_1000_ms={:.3}", thousand.as_secs_f64() * 1000.0);
    Ok(())
}

struct World {
    set: SetFacts,
    pods: Vec<Pod>,
    claims: Vec<PersistentVolumeClaim>,
    revisions: Vec<ControllerRevision>,
    now: Timestamp,
}

impl World {
    /// A set whose pods are all ready and whose status says so.
    fn settled(replicas: i32, claims: bool) -> Result<Self, Box<dyn Error>> {
        let now = "2026-01-01T01:00:00Z".parse()?;
        let mut set = set(replicas, claims);
        let facts = SetFacts::read(set.to_string().as_bytes())?;
        let empty = View::of(&facts, &[], &[], &[], true);
        let first = plan(&empty, now);
        let Some(Action::CreateRevision { name, body }) = first.prepare.first() else {
            return Err("a new set gets a revision".into());
        };
        let mut revision = body.clone();
        revision["metadata"]["uid"] = json!("revision-1");
        revision["metadata"]["resourceVersion"] = json!("2");
        set["status"] = json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas,
            "currentReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
            "currentRevision": name, "updateRevision": name});
        let pods = (0..replicas).map(|ordinal| serde_json::from_value(pod(ordinal, name, claims)));
        let claims = (0..replicas).filter(|_| claims).map(|ordinal| {
            serde_json::from_value(json!({"metadata": {"name": format!("data-web-{ordinal}"), "namespace": "default",
                "uid": format!("claim-{ordinal}"), "resourceVersion": "3"}}))
        });
        Ok(Self {
            set: SetFacts::read(set.to_string().as_bytes())?,
            pods: pods.collect::<Result<_, _>>()?,
            claims: claims.collect::<Result<_, _>>()?,
            revisions: vec![serde_json::from_value(revision)?],
            now,
        })
    }

    /// The median time of making the view, and of the plan.
    fn measure(&self) -> Result<(Duration, Duration), Box<dyn Error>> {
        let (mut views, mut plans) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let view = View::of(&self.set, &self.pods, &self.claims, &self.revisions, true);
            let viewed = Instant::now();
            let plan = plan(&view, self.now);
            plans.push(viewed.elapsed());
            views.push(viewed - started);
            if !plan.is_settled() {
                return Err(format!("not settled: {plan:?}").into());
            }
        }
        Ok((median(views), median(plans)))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn set(replicas: i32, claims: bool) -> Value {
    let mut set = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set-1", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "replicas": replicas, "serviceName": "web", "podManagementPolicy": "OrderedReady",
            "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    if claims {
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    }
    set
}

fn pod(ordinal: i32, revision: &str, claims: bool) -> Value {
    let name = format!("web-{ordinal}");
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("pod-{ordinal}"), "resourceVersion": "9",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web", "controller-revision-hash": revision, "apps.kubernetes.io/pod-index": "0",
                "statefulset.kubernetes.io/pod-name": name},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set-1",
                "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
    });
    if claims {
        pod["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}}]);
    }
    pod
}
