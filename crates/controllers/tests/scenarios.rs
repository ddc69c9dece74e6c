//! The controllers against the real API server.
#![expect(clippy::unwrap_used, reason = "a test")]

mod bed;
mod workloads;

use std::time::{Duration, Instant};

use api::resources::*;
use bed::{Bed, service, set};
use client::Propagation;
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
    bed.until(PODS, "the first pod waits", |pods| pods.len() == 1).await;
    bed.until(STATEFUL_SETS, "the status says so", |sets| sets[0]["status"]["replicas"] == 1).await;
    bed.until(EVENTS, "both events are written", |events| events.len() >= 2).await;
    let revision = |bed: &Bed| {
        let client = bed.client.clone();
        async move {
            let target = client::Collection::all(STATEFUL_SETS);
            client.list(&target, &client::Selection::default()).await.unwrap().resource_version
        }
    };
    let before = revision(&bed).await;
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(revision(&bed).await, before, "quiescent (L2)");
    assert_eq!(bed.names(PODS).await, ["web-0"]);
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
