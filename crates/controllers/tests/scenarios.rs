//! The controllers against the real API server.
#![expect(clippy::unwrap_used, reason = "a test")]

mod bed;
mod plans;
mod workloads;

use std::time::{Duration, Instant};

use api::resources::*;
use bed::{Bed, service, set};
use client::Propagation;
use futures::StreamExt as _;
use serde_json::{Value, json};

fn labels(object: &Value, key: &str) -> String {
    object["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_gets_its_pods_claims_volumes_and_names() {
    let bed = Bed::start().await;
    bed.create(SERVICES, service()).await;
    bed.create(STATEFUL_SETS, set(3, "v1", true)).await;
    bed.settled("web", 3).await;
    let pods = bed.list(PODS).await;
    let created: Vec<_> =
        pods.iter().map(|pod| pod["metadata"]["creationTimestamp"].as_str().unwrap().to_owned()).collect();
    assert!(created.is_sorted(), "in order: {created:?}");
    for (ordinal, pod) in pods.iter().enumerate() {
        let name = format!("web-{ordinal}");
        assert_eq!(pod["metadata"]["name"], name);
        assert_eq!(labels(pod, "apps.kubernetes.io/pod-index"), ordinal.to_string());
        assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!(name), &json!("web")));
    }
    let claims = bed.list(PERSISTENT_VOLUME_CLAIMS).await;
    assert_eq!(claims.len(), 3);
    for claim in &claims {
        assert_eq!(claim["status"]["phase"], "Bound");
        assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    }
    bed.until(PERSISTENT_VOLUMES, "volumes are bound", |volumes| {
        volumes.len() == 3 && volumes.iter().all(|volume| volume["status"]["phase"] == "Bound")
    })
    .await;
    bed.until(ENDPOINT_SLICES, "three ready endpoints", |slices| {
        slices.iter().any(|slice| {
            labels(slice, "kubernetes.io/service-name") == "web"
                && slice["endpoints"].as_array().is_some_and(|endpoints| {
                    endpoints.len() == 3 && endpoints.iter().all(|e| e["conditions"]["ready"] == true)
                })
        })
    })
    .await;
    bed.until(EVENTS, "the creations are told", |events| {
        (0..3).all(|ordinal| {
            let text = format!("Create Pod web-{ordinal} in StatefulSet web successful");
            events.iter().any(|event| event["message"] == text && event["reason"] == "SuccessfulCreate")
        })
    })
    .await;
    assert_eq!(bed.names(CONTROLLER_REVISIONS).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_comes_back_with_its_claim_and_a_scaled_set_keeps_its_data() {
    // C-2, C-96b.
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(3, "v1", true)).await;
    bed.settled("web", 3).await;
    let before = bed.get(PODS, "web-1").await;
    bed.delete(PODS, "web-1", None).await;
    bed.until(PODS, "another web-1", |pods| {
        pods.iter().any(|pod| {
            pod["metadata"]["name"] == "web-1"
                && pod["metadata"]["uid"] != before["metadata"]["uid"]
                && pod["status"]["phase"] == "Running"
        })
    })
    .await;
    bed.settled("web", 3).await;
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"replicas": 1}})).await;
    bed.settled("web", 1).await;
    assert_eq!(bed.names(PODS).await, ["web-0"]);
    assert_eq!(bed.names(PERSISTENT_VOLUME_CLAIMS).await.len(), 3, "data is kept");
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"replicas": 2}})).await;
    bed.settled("web", 2).await;
    bed.until(EVENTS, "the missing Service is told", |events| {
        events.iter().any(|event| event["reason"] == "ServiceNotFound" && event["count"] == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_a_pod_that_names_its_node_itself_gets_its_volume_there() {
    // Upstream lets it wait for ever (decision 12). Whichever comes first: the claim, the pod, or the node.
    let bed = Bed::start().await;
    let claim = |name: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let pod = |claim: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": claim, "namespace": "default"},
            "spec": {"nodeName": bed::NODE, "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "v1"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
    };
    let bound = |count: usize| {
        bed.until(PERSISTENT_VOLUME_CLAIMS, "the claims are bound", move |claims| {
            claims.iter().filter(|claim| claim["status"]["phase"] == "Bound").count() == count
        })
    };
    bed.create(PODS, pod("before-its-claim")).await;
    bed.create(PERSISTENT_VOLUME_CLAIMS, claim("before-its-claim")).await;
    bed.until(EVENTS, "the claim waits", |events| events.iter().any(|event| event["reason"] == "WaitForFirstConsumer"))
        .await;
    bed.create(NODES, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": bed::NODE}})).await;
    bound(1).await;
    bed.create(PERSISTENT_VOLUME_CLAIMS, claim("after-its-claim")).await;
    bed.create(PODS, pod("after-its-claim")).await;
    bound(2).await;
    for volume in bed.list_all(PERSISTENT_VOLUMES).await {
        let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchExpressions"][0]["values"], json!([bed::NODE]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_how_many_pods_a_set_lacks_and_how_many_it_may() {
    // C-98, under upstream's names.
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(3, "v1", false)).await;
    bed.settled("web", 3).await;
    let text = bed.figures();
    let labels = r#"{statefulset_namespace="default",statefulset_name="web",pod_management_policy="OrderedReady"}"#;
    for line in [
        format!("statefulset_controller_statefulset_max_unavailable{labels} 1"),
        format!("statefulset_controller_statefulset_unavailable_replicas{labels} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_rolls_and_a_rollback_reuses_the_revision() {
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(3, "v1", false)).await;
    bed.settled("web", 3).await;
    let first = bed.get(STATEFUL_SETS, "web").await["status"]["currentRevision"].clone();
    let template =
        |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    bed.patch(STATEFUL_SETS, "web", template("v2")).await;
    bed.settled("web", 3).await;
    let second = bed.get(STATEFUL_SETS, "web").await["status"]["currentRevision"].clone();
    assert_ne!(first, second);
    for pod in bed.list(PODS).await {
        assert_eq!(labels(&pod, "controller-revision-hash"), second.as_str().unwrap());
        assert_eq!(pod["spec"]["containers"][0]["image"], "v2");
    }
    bed.patch(STATEFUL_SETS, "web", template("v1")).await;
    bed.settled("web", 3).await;
    let third = bed.get(STATEFUL_SETS, "web").await["status"]["currentRevision"].clone();
    assert_eq!(first, third);
    assert_eq!(bed.names(CONTROLLER_REVISIONS).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_set_takes_its_pods_along_and_leaves_its_data() {
    // C-90, C-95.
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "v1", true)).await;
    bed.settled("web", 2).await;
    bed.delete(STATEFUL_SETS, "web", Some(Propagation::Background)).await;
    bed.until(PODS, "the pods are gone", |pods| pods.is_empty()).await;
    bed.until(CONTROLLER_REVISIONS, "the revisions are gone", |revisions| revisions.is_empty()).await;
    assert_eq!(bed.names(PERSISTENT_VOLUME_CLAIMS).await.len(), 2);
    bed.create(STATEFUL_SETS, set(2, "v1", true)).await;
    bed.settled("web", 2).await;
    assert_eq!(bed.list_all(PERSISTENT_VOLUMES).await.len(), 2, "the same volumes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_waits_for_the_pods_and_orphans_stay_and_are_adopted() {
    // C-91, C-92.
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "v1", false)).await;
    bed.settled("web", 2).await;
    let uids = |pods: Vec<Value>| -> Vec<Value> { pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect() };
    let before = uids(bed.list(PODS).await);
    bed.delete(STATEFUL_SETS, "web", Some(Propagation::Orphan)).await;
    bed.until(STATEFUL_SETS, "the set is gone", |sets| sets.is_empty()).await;
    let orphans = bed.list(PODS).await;
    assert!(orphans.iter().all(|pod| pod["metadata"]["ownerReferences"].is_null()), "{orphans:#?}");
    bed.create(STATEFUL_SETS, set(2, "v1", false)).await;
    bed.settled("web", 2).await;
    assert_eq!(uids(bed.list(PODS).await), before, "adopted, not replaced (C-22)");
    bed.delete(STATEFUL_SETS, "web", Some(Propagation::Foreground)).await;
    bed.until(STATEFUL_SETS, "the set is gone", |sets| sets.is_empty()).await;
    assert_eq!(bed.names(PODS).await, Vec::<String>::new(), "its pods went first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_policies_delete_exactly_what_they_say() {
    // C-71, C-95.
    let bed = Bed::start().await;
    let mut wanted = set(3, "v1", true);
    wanted["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    bed.create(STATEFUL_SETS, wanted).await;
    bed.settled("web", 3).await;
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"replicas": 2}})).await;
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the claim of ordinal 2 goes", |claims| claims.len() == 2).await;
    bed.settled("web", 2).await;
    bed.until(PERSISTENT_VOLUMES, "its volume is deleted, held for the node", |volumes| {
        let deleting: Vec<_> =
            volumes.iter().filter(|volume| !volume["metadata"]["deletionTimestamp"].is_null()).collect();
        deleting.len() == 1
            && volumes.len() == 3
            && deleting[0]["metadata"]["finalizers"] == json!(["roadstead.dev/local-volume"])
            && deleting[0]["spec"]["claimRef"]["name"] == "data-web-2"
    })
    .await;
    let policy = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}});
    bed.patch(STATEFUL_SETS, "web", policy).await;
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the set owns its claims", |claims| {
        claims.iter().all(|claim| claim["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet")
    })
    .await;
    bed.delete(STATEFUL_SETS, "web", None).await;
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the claims go", |claims| claims.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_controller_asks_for_no_more_than_a_role_for_it_would_give() {
    // C-99: the rights that its role upstream has, and those that our planner needs beyond them.
    let role = [
        "create controllerrevisions",
        "create events",
        "create persistentvolumeclaims",
        "create pods",
        "delete controllerrevisions",
        "delete pods",
        "get statefulsets",
        "patch controllerrevisions",
        "patch events",
        "patch persistentvolumeclaims",
        "patch pods",
        "patch statefulsets/status",
    ];
    // A set is held while its claims are let go, and rolled back where it asks for it (decisions 16 and 17).
    let beyond = ["patch statefulsets"];
    let bed = Bed::start().await;
    let mut wanted = set(3, "v1", true);
    wanted["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    wanted["spec"]["revisionHistoryLimit"] = json!(0);
    bed.create(STATEFUL_SETS, wanted).await;
    bed.settled("web", 3).await;
    let containers = json!([{"name": "c", "image": "v2"}]);
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    bed.settled("web", 3).await;
    bed.until(CONTROLLER_REVISIONS, "the old one goes", |revisions| revisions.len() == 1).await;
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"replicas": 2}})).await;
    bed.settled("web", 2).await;
    let keep =
        json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}});
    bed.patch(STATEFUL_SETS, "web", keep).await;
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the claims are nobody's", |claims| {
        claims.len() == 2 && claims.iter().all(|claim| claim["metadata"]["ownerReferences"].is_null())
    })
    .await;
    bed.delete(STATEFUL_SETS, "web", Some(Propagation::Orphan)).await;
    bed.until(STATEFUL_SETS, "the set is gone", |sets| sets.is_empty()).await;
    bed.create(STATEFUL_SETS, set(2, "v2", true)).await;
    bed.until(PODS, "the orphans are taken over", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet")
    })
    .await;
    let asked = bed.asked.by("statefulset-controller");
    for right in &asked {
        assert!(role.contains(&right.as_str()) || beyond.contains(&right.as_str()), "{right} is in no role");
    }
    for used in ["create pods", "delete pods", "patch pods", "patch statefulsets/status", "get statefulsets"] {
        assert!(asked.iter().any(|right| right == used), "{used} was asked for: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taint_drives_pods_away_that_do_not_tolerate_it() {
    // N-45.
    let bed = Bed::start().await;
    bed.create(NODES, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).await;
    let pod = |name: &str, tolerations: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"tolerations": tolerations, "containers": [{"name": "c", "image": "v1"}]}})
    };
    bed.create(PODS, pod("stays", json!([{"key": "broken", "operator": "Exists"}]))).await;
    bed.create(PODS, pod("goes", json!([]))).await;
    bed.create(
        PODS,
        pod(
            "goes-soon",
            json!([{"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]),
        ),
    )
    .await;
    bed.until(PODS, "all run", |pods| pods.len() == 3 && pods.iter().all(|pod| pod["status"]["phase"] == "Running"))
        .await;
    let taints = json!({"spec": {"taints": [{"key": "broken", "value": "disk", "effect": "NoExecute"}]}});
    let node = meta::ObjectId::cluster(NODES, "n1");
    bed.client.patch(&node, None, client::Patch::Merge(taints), &client::WriteOptions::default()).await.unwrap();
    bed.until(PODS, "one is left", |pods| pods.len() == 1 && pods[0]["metadata"]["name"] == "stays").await;
    bed.until(EVENTS, "both are told of", |events| {
        ["goes", "goes-soon"].iter().all(|name| {
            events.iter().any(|event| {
                event["reason"] == "TaintManagerEviction"
                    && event["message"] == format!("Marking for deletion Pod default/{name}")
            })
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_furnished_and_emptied() {
    let bed = Bed::start().await;
    bed.create(NAMESPACES, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})).await;
    let is_furnished = |objects: &[Value]| objects.iter().any(|o| o["metadata"]["namespace"] == "default");
    bed.until(SERVICE_ACCOUNTS, "default has its account", is_furnished).await;
    bed.until(CONFIG_MAPS, "default has the CA", |maps| maps.iter().any(|map| map["data"]["ca.crt"] == "PEM")).await;
    let mut in_team = set(2, "v1", true);
    in_team["metadata"]["namespace"] = json!("team");
    let started = Instant::now();
    while let Err(error) = bed.try_create(STATEFUL_SETS, in_team.clone()).await {
        assert!(started.elapsed() < Duration::from_secs(5), "{error}");
    }
    let count = |bed: &Bed, resource| {
        let client = bed.client.clone();
        async move {
            let target = client::Collection::in_namespace(resource, "team");
            client.list(&target, &client::Selection::default()).await.unwrap().items.len()
        }
    };
    while count(&bed, PODS).await < 2 {
        tokio::task::yield_now().await;
    }
    let id = meta::ObjectId::cluster(NAMESPACES, "team");
    bed.client.delete(&id, &client::DeleteOptions::default()).await.unwrap();
    bed.until(NAMESPACES, "team is gone", |all| all.iter().all(|one| one["metadata"]["name"] != "team")).await;
    assert_eq!(count(&bed, PODS).await + count(&bed, PERSISTENT_VOLUME_CLAIMS).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_that_start_again_go_on_where_they_were() {
    let mut bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(5, "v1", true)).await;
    bed.until(PODS, "half way", |pods| pods.len() >= 2).await;
    bed.stop_controllers().await;
    bed.start_controllers();
    bed.settled("web", 5).await;
    assert_eq!(bed.names(PODS).await.len(), 5);
    assert_eq!(bed.list_all(PERSISTENT_VOLUMES).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_holds_an_ordered_set_and_nothing_is_written_while_it_waits() {
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "broken", false)).await;
    bed.until(PODS, "the first pod waits", |pods| pods.len() == 1 && is_unready(&pods[0])).await;
    bed.until(STATEFUL_SETS, "the status says so", |sets| sets[0]["status"]["replicas"] == 1).await;
    bed.until(EVENTS, "both events are written", |events| events.len() >= 2).await;
    let revision = |bed: &Bed| {
        let client = bed.client.clone();
        async move {
            let target = client::Collection::all(STATEFUL_SETS);
            client.list(&target, &client::Selection::default()).await.unwrap().resource_version
        }
    };
    // The last of the writes about it may be on its way yet; who goes on writing never comes to rest.
    let rest = async {
        let mut last = revision(&bed).await;
        loop {
            for _ in 0..2000 {
                tokio::task::yield_now().await;
            }
            match revision(&bed).await {
                now if now == last => return,
                now => last = now,
            }
        }
    };
    tokio::time::timeout(bed::PATIENCE, rest).await.expect("quiescent (L2)");
    assert_eq!(bed.names(PODS).await, ["web-0"]);
}

/// Decision 24: a set's pod takes its node along, where the bed's node has to wait for the claims before it binds one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_known_is_in_the_first_event_of_a_pod() {
    let bed = Bed::start().await;
    bed.know_a_place();
    let (pods, all) = (client::Collection::in_namespace(PODS, "default"), client::Selection::default());
    let begun = bed.client.list(&pods, &all).await.unwrap().resource_version;
    bed.create(STATEFUL_SETS, set(1, "v1", true)).await;
    let mut events = bed.client.watch(&pods, &all, begun).await.unwrap();
    let first = tokio::time::timeout(bed::PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    let client::WatchEvent::Added(pod) = first else { panic!("{first:?}") };
    assert_eq!(pod.tree()["spec"]["nodeName"], bed::NODE);
    bed.settled("web", 1).await;
}

/// The node has said that the pod is not ready.
fn is_unready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "False")
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn annotation(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_rollout_is_stuck_until_somebody_asks_for_healing() {
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "v1", true)).await;
    bed.settled("web", 2).await;
    let first = bed.get(PODS, "web-0").await["metadata"]["uid"].clone();
    bed.patch(STATEFUL_SETS, "web", image("broken")).await;
    bed.until(PODS, "web-1 is broken", |pods| pods.iter().any(is_unready)).await;
    bed.patch(STATEFUL_SETS, "web", image("v1")).await;
    bed.until(STATEFUL_SETS, "the set has seen the mended template", |sets| {
        sets[0]["status"]["observedGeneration"] == sets[0]["metadata"]["generation"]
    })
    .await;
    assert!(is_unready(&bed.get(PODS, "web-1").await), "as upstream (C-75a)");
    bed.patch(STATEFUL_SETS, "web", annotation("roadstead.dev/heal-rollout", "never-ready")).await;
    bed.settled("web", 2).await;
    assert_eq!(bed.get(PODS, "web-0").await["metadata"]["uid"], first, "the sound pod was not touched");
    bed.until(EVENTS, "the healing is told", |events| events.iter().any(|event| event["reason"] == "RolloutHealed"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_without_progress_is_rolled_back() {
    let bed = Bed::start().await;
    let mut wanted = set(2, "v1", false);
    wanted["metadata"]["annotations"] = json!({"roadstead.dev/rollback-after": "1s"});
    bed.create(STATEFUL_SETS, wanted).await;
    bed.settled("web", 2).await;
    bed.until(CONTROLLER_REVISIONS, "the good revision is remembered", |revisions| {
        revisions.iter().all(|revision| revision["metadata"]["annotations"]["roadstead.dev/available-at"].is_string())
    })
    .await;
    bed.patch(STATEFUL_SETS, "web", image("broken")).await;
    bed.until(EVENTS, "the rollback is told", |events| events.iter().any(|event| event["reason"] == "RolledBack"))
        .await;
    bed.settled("web", 2).await;
    for pod in bed.list(PODS).await {
        assert_eq!(pod["spec"]["containers"][0]["image"], "v1");
    }
    assert_eq!(bed.names(CONTROLLER_REVISIONS).await.len(), 2, "no revision is made for it");
}

/// C-14, C-15: what becomes of the pods holds up neither the status nor the end of old revisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_history_go_on_although_pods_are_refused() {
    let bed = Bed::start().await;
    let mut wanted = set(2, "v1", false);
    wanted["spec"]["template"]["spec"]["serviceAccountName"] = json!("nobody");
    wanted["spec"]["revisionHistoryLimit"] = json!(0);
    bed.create(STATEFUL_SETS, wanted).await;
    bed.until(EVENTS, "the refusal is told", |events| {
        events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == "FailedCreate"
                && message.starts_with("Create Pod web-0 in StatefulSet web failed error: ")
        })
    })
    .await;
    let observed = |generation: i64| {
        move |sets: &[Value]| {
            let status = &sets[0]["status"];
            status["observedGeneration"] == generation
                && status["replicas"] == 0
                && status["updateRevision"].is_string()
        }
    };
    bed.until(STATEFUL_SETS, "the status is written", observed(1)).await;
    let first = bed.get(STATEFUL_SETS, "web").await["status"]["updateRevision"].clone();
    for (generation, image_name) in [(2, "v2"), (3, "v3")] {
        bed.patch(STATEFUL_SETS, "web", image(image_name)).await;
        bed.until(STATEFUL_SETS, "the edit is seen", observed(generation)).await;
    }
    bed.until(CONTROLLER_REVISIONS, "only live revisions are left", |revisions| {
        let names: Vec<&Value> = revisions.iter().map(|revision| &revision["metadata"]["name"]).collect();
        names.len() == 2 && names.contains(&&first)
    })
    .await;
}

/// C-2 to C-4, C-17, C-20 (T-2): owner references and labels decide whose a pod is, and their changes are noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphaned_pod_is_taken_back_and_a_relabelled_one_let_go() {
    let bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "v1", false)).await;
    bed.settled("web", 2).await;
    let uid = bed.get(PODS, "web-1").await["metadata"]["uid"].clone();
    let owner = |pods: &[Value], name: &str| {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name);
        pod.map(|pod| pod["metadata"]["ownerReferences"][0]["name"].clone())
    };
    bed.patch(PODS, "web-1", json!({"metadata": {"ownerReferences": null}})).await;
    bed.until(PODS, "the orphan is taken back", |pods| owner(pods, "web-1") == Some(json!("web"))).await;
    bed.patch(PODS, "web-1", json!({"metadata": {"labels": {"app": "other"}}})).await;
    bed.until(PODS, "the stranger is let go", |pods| owner(pods, "web-1") == Some(Value::Null)).await;
    bed.until(STATEFUL_SETS, "it is not counted", |sets| sets[0]["status"]["replicas"] == 1).await;
    bed.patch(PODS, "web-1", json!({"metadata": {"labels": {"app": "web"}}})).await;
    bed.until(PODS, "it is taken back", |pods| owner(pods, "web-1") == Some(json!("web"))).await;
    bed.settled("web", 2).await;
    assert_eq!(bed.get(PODS, "web-1").await["metadata"]["uid"], uid, "the same pod all the time");
}

/// A-62.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_too_long_for_its_pods_is_accepted_and_told() {
    let bed = Bed::start().await;
    let mut wanted = set(1, "v1", false);
    wanted["metadata"]["name"] = json!("n".repeat(60));
    bed.create(STATEFUL_SETS, wanted).await;
    bed.until(EVENTS, "the refusal is told", |events| {
        events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == "FailedCreate" && message.contains("must be no more than 63 ")
        })
    })
    .await;
    assert_eq!(bed.names(PODS).await, Vec::<String>::new());
}

fn policy(deleted: &str, scaled: &str) -> Value {
    json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}}})
}

/// S5: whatever the garbage collector knows from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_changes_to_retain_after_the_pod_is_gone_keeps_the_data() {
    let mut bed = Bed::start().await;
    bed.create(STATEFUL_SETS, set(2, "v1", true)).await;
    bed.patch(STATEFUL_SETS, "web", policy("Retain", "Delete")).await;
    bed.settled("web", 2).await;
    bed.patch(PODS, "web-1", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    bed.patch(STATEFUL_SETS, "web", json!({"spec": {"replicas": 1}})).await;
    let owner = |claims: &[Value], kind: &Value| {
        claims.iter().any(|claim| {
            claim["metadata"]["name"] == "data-web-1" && claim["metadata"]["ownerReferences"][0]["kind"] == *kind
        })
    };
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the pod owns its claim", |claims| owner(claims, &json!("Pod"))).await;
    bed.until(PODS, "the pod stops", |pods| pods.iter().any(|pod| !pod["metadata"]["deletionTimestamp"].is_null()))
        .await;
    bed.stop_controllers().await;
    bed.patch(PODS, "web-1", json!({"metadata": {"finalizers": null}})).await;
    bed.until(PODS, "the pod is gone", |pods| pods.len() == 1).await;
    bed.patch(STATEFUL_SETS, "web", policy("Retain", "Retain")).await;
    bed.start_controllers();
    bed.until(PERSISTENT_VOLUME_CLAIMS, "the claim is free", |claims| owner(claims, &Value::Null)).await;
    assert!(bed.get(PERSISTENT_VOLUME_CLAIMS, "data-web-1").await["metadata"]["deletionTimestamp"].is_null());
}

/// S5: a deletion right after the change does not overtake it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_deleted_right_after_its_policy_changed_to_retain_leaves_its_data() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let mut bed = Bed::start().await;
        bed.create(STATEFUL_SETS, set(2, "v1", true)).await;
        bed.patch(STATEFUL_SETS, "web", policy("Delete", "Retain")).await;
        bed.settled("web", 2).await;
        bed.until(PERSISTENT_VOLUME_CLAIMS, "the set owns its claims", |claims| {
            claims.len() == 2
                && claims.iter().all(|claim| claim["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet")
        })
        .await;
        bed.stop_controllers().await;
        bed.patch(STATEFUL_SETS, "web", policy("Retain", "Retain")).await;
        bed.delete(STATEFUL_SETS, "web", Some(propagation)).await;
        bed.start_controllers();
        bed.until(STATEFUL_SETS, "the set is gone", |sets| sets.is_empty()).await;
        bed.until(PODS, "its pods are gone", |pods| pods.is_empty()).await;
        let claims = bed.list(PERSISTENT_VOLUME_CLAIMS).await;
        assert_eq!(claims.len(), 2);
        for claim in claims {
            assert!(claim["metadata"]["ownerReferences"].is_null() && claim["metadata"]["deletionTimestamp"].is_null());
        }
    }
}

/// Prints our share of an ordered rollout: the containers of this node start at once, the disk is memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_share_of_an_ordered_rollout_is_a_few_milliseconds_a_pod() {
    let bed = Bed::start().await;
    bed.create(SERVICES, service()).await;
    let started = Instant::now();
    bed.create(STATEFUL_SETS, set(50, "v1", true)).await;
    bed.settled("web", 50).await;
    let create = started.elapsed() / 50;
    let started = Instant::now();
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    bed.patch(STATEFUL_SETS, "web", image).await;
    bed.settled("web", 50).await;
    let update = started.elapsed() / 50;
    println!("ordered create {create:?} a pod, rolling update {update:?} a pod");
    assert!(create < Duration::from_millis(50) && update < Duration::from_millis(50));
}
