//! What `plan` says is what the controller does: a random walk of edits, each foretold and then carried out by the real
//! controller against the real API server.

use std::collections::BTreeSet;

use crate::bed::{Bed, set};
use api::resources::*;
use client::{Collection, Selection, WatchEvent, WatchStream};
use explain::forecast::{Forecast, Happening, forecast};
use explain::{Cluster, Ref};
use futures::StreamExt;
use serde_json::{Value, json};

/// Edits in a walk.
const EDITS: usize = 12;

/// Steps as `create web-0`, in the order in which they happened.
type Steps = Vec<String>;

/// A small generator, so that a seed names a walk.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The objects that a forecast looks at, and the revision after which everything else happens.
async fn copy(bed: &Bed) -> Cluster {
    let mut cluster = Cluster::default();
    let kinds = [
        (STATEFUL_SETS, "StatefulSet"),
        (PODS, "Pod"),
        (PERSISTENT_VOLUME_CLAIMS, "PersistentVolumeClaim"),
        (CONTROLLER_REVISIONS, "ControllerRevision"),
    ];
    for (resource, kind) in kinds {
        for mut object in bed.list(resource).await {
            object["kind"] = json!(kind);
            cluster.insert(object);
        }
    }
    cluster.insert(json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    cluster
}

fn foretold(forecast: &Forecast) -> Steps {
    let told = |what| match what {
        Happening::CreatePod => Some("create"),
        Happening::DeletePod => Some("delete"),
        Happening::CreateClaim | Happening::DeleteClaim => None,
    };
    forecast.steps.iter().filter_map(|step| Some(format!("{} {}", told(step.what)?, step.name))).collect()
}

/// Reads pods' creations and deletions until as many happened as were foretold.
async fn happened(watch: &mut WatchStream, count: usize) -> Steps {
    let mut leaving = BTreeSet::new();
    let mut steps = Vec::new();
    while steps.len() < count {
        let event = tokio::time::timeout(std::time::Duration::from_secs(20), watch.next()).await;
        let Ok(event) = event else { panic!("only {steps:?} happened") };
        let (object, added) = match event.unwrap().unwrap() {
            WatchEvent::Added(object) => (object, true),
            WatchEvent::Modified(object) => (object, false),
            _ => continue,
        };
        let name = object.tree()["metadata"]["name"].as_str().unwrap().to_owned();
        let leaves = !object.tree()["metadata"]["deletionTimestamp"].is_null();
        if added {
            steps.push(format!("create {name}"));
        } else if leaves && leaving.insert(object.uid()) {
            steps.push(format!("delete {name}"));
        }
    }
    steps
}

fn edit(spec: &mut Value, dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => {
            let replicas = dice.below(5);
            spec["replicas"] = json!(replicas);
            format!("replicas {replicas}")
        }
        1 | 2 => {
            let image = format!("v{}", dice.below(3));
            spec["template"]["spec"]["containers"][0]["image"] = json!(image);
            format!("image {image}")
        }
        _ => {
            let partition = dice.below(3);
            spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
            format!("partition {partition}")
        }
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn walk(seed: u64, policy: &str) {
    let bed = Bed::start().await;
    let mut first = set(3, "v0", true);
    first["spec"]["podManagementPolicy"] = json!(policy);
    first["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    bed.create(STATEFUL_SETS, first).await;
    bed.settled("web", 3).await;
    let mut dice = Dice(seed);
    for _ in 0..EDITS {
        let before = copy(&bed).await;
        let about = Ref::new("StatefulSet", "default", "web");
        let mut after = before.get(&about).unwrap().clone();
        let edited = edit(&mut after["spec"], &mut dice);
        let told = forecast(&before, &after, meta::Timestamp::now()).unwrap();
        let wanted = foretold(&told);
        let pods = Collection::in_namespace(PODS, "default");
        let list = bed.client.list(&pods, &Selection::default()).await.unwrap();
        let mut watch = bed.client.watch(&pods, &Selection::default(), list.resource_version).await.unwrap();
        bed.patch(STATEFUL_SETS, "web", json!({"spec": after["spec"]})).await;
        let mut done = happened(&mut watch, wanted.len()).await;
        let mut wanted = wanted;
        if policy == "Parallel" {
            // Those of one moment come in any order.
            done.sort();
            wanted.sort();
        }
        assert_eq!(done, wanted, "seed {seed}: {edited}");
        // And then nothing more: the set is as its status says, and a look at it foresees nothing.
        let replicas = after["spec"]["replicas"].as_u64().unwrap();
        // The pods first: a status may lag behind them and still show the right numbers.
        bed.until(PODS, "the pods settle", |pods| {
            let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() && is_ready(pod);
            pods.len() as u64 == replicas && pods.iter().filter(stays).count() == pods.len()
        })
        .await;
        // The claims of slots that went go with them; a new pod would wait for that.
        bed.until(PERSISTENT_VOLUME_CLAIMS, "the claims settle", |claims| {
            let stays = |claim: &&Value| claim["metadata"]["deletionTimestamp"].is_null();
            claims.len() as u64 == replicas && claims.iter().filter(stays).count() == claims.len()
        })
        .await;
        bed.until(STATEFUL_SETS, "the set settles", |sets| {
            let status = &sets[0]["status"];
            status["observedGeneration"] == sets[0]["metadata"]["generation"]
                && status["replicas"].as_u64() == Some(replicas)
                && status["readyReplicas"].as_u64().unwrap_or(0) == replicas
        })
        .await;
        let settled = copy(&bed).await;
        let again = forecast(&settled, settled.get(&about).unwrap(), meta::Timestamp::now()).unwrap();
        assert_eq!(foretold(&again), Steps::new(), "seed {seed}: {edited}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_set_does_what_plan_says_step_by_step() {
    for seed in 1..=4 {
        walk(seed, "OrderedReady").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parallel_set_does_what_plan_says() {
    for seed in 11..=13 {
        walk(seed, "Parallel").await;
    }
}
