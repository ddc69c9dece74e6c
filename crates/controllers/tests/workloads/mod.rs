//! Deployments, ReplicaSets and their neighbours against the real API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use api::resources::*;
use client::{Call, Hooked, Propagation};
use meta::{Reason, Status};
use serde_json::{Value, json};

use crate::bed::Bed;

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": image}]},
    })
}

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    })
}

/// Waits until a Deployment's rollout is complete, as `kubectl rollout status` sees it.
async fn rolled_out(bed: &Bed, replicas: i64) {
    bed.until(DEPLOYMENTS, "the rollout is complete", |found| {
        found.iter().any(|object| {
            let (spec, status) = (&object["spec"], &object["status"]);
            let is = |key: &str| status[key].as_i64().unwrap_or(0) == replicas;
            spec["replicas"] == replicas
                && status["observedGeneration"] == object["metadata"]["generation"]
                && is("replicas")
                && is("updatedReplicas")
                && is("availableReplicas")
                && status["terminatingReplicas"].as_i64().unwrap_or(0) == 0
        })
    })
    .await;
}

fn condition(object: &Value, kind: &str) -> String {
    let found = object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind);
    found.map_or_else(String::new, |c| format!("{} {}", c["status"].as_str().unwrap(), c["reason"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_and_back_and_remembers_its_revisions() {
    let bed = Bed::start().await;
    bed.create(DEPLOYMENTS, deployment(3, "v1")).await;
    rolled_out(&bed, 3).await;
    let first = bed.names(REPLICA_SETS).await;
    assert_eq!(first.len(), 1);
    let pods = bed.list(PODS).await;
    let hash = first[0].strip_prefix("web-").unwrap();
    for pod in &pods {
        assert!(pod["metadata"]["name"].as_str().unwrap().starts_with(&format!("{}-", first[0])));
        assert_eq!(pod["metadata"]["labels"], json!({"app": "web", "pod-template-hash": hash}));
    }
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    bed.patch(DEPLOYMENTS, "web", change).await;
    rolled_out(&bed, 3).await;
    assert!(bed.list(PODS).await.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "v2"));
    assert_eq!(bed.names(REPLICA_SETS).await.len(), 2);
    let back = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v1"}]}}}});
    bed.patch(DEPLOYMENTS, "web", back).await;
    rolled_out(&bed, 3).await;
    assert_eq!(bed.names(REPLICA_SETS).await.len(), 2, "the old ReplicaSet is used again");
    let set = bed.get(REPLICA_SETS, &first[0]).await;
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let web = bed.get(DEPLOYMENTS, "web").await;
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(web["metadata"]["generation"], 3, "the controller's annotation is no change of the Deployment");
    assert_eq!(condition(&web, "Progressing"), "True NewReplicaSetAvailable");
    assert_eq!(condition(&web, "Available"), "True MinimumReplicasAvailable");
    bed.until(EVENTS, "the scaling is told", |events| {
        let text = format!("Scaled up replica set {} from 0 to 3", first[0]);
        events.iter().any(|event| event["message"] == text && event["reason"] == "ScalingReplicaSet")
    })
    .await;
}

/// B4: the pod is made, the answer is lost, and the cache of pods stands still until somebody looks what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_creation_was_not_answered_is_not_made_twice() {
    let lost = || Status::new(Reason::ServiceUnavailable, "connection reset by peer");
    let (created, is_asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let so_far = Arc::clone(&created);
    let caches = move |client| {
        let (created, is_asked) = (Arc::clone(&so_far), Arc::clone(&is_asked));
        Hooked::before(client, move |call: &Call<'_>| match call.verb {
            "list" if *call.resource == PODS => {
                is_asked.fetch_or(created.load(Ordering::SeqCst) > 0, Ordering::SeqCst);
                Ok(())
            }
            "watch" if *call.resource == PODS && !is_asked.load(Ordering::SeqCst) => Err(lost()),
            _ => Ok(()),
        })
    };
    let counted = Arc::clone(&created);
    let acts = move |client| {
        let created = Arc::clone(&counted);
        Hooked::after(client, move |call: &Call<'_>| {
            let is_creation = call.verb == "create" && *call.resource == PODS;
            if is_creation && created.fetch_add(1, Ordering::SeqCst) == 0 { Err(lost()) } else { Ok(()) }
        })
    };
    let bed = Bed::start_behind(Arc::new(caches), Arc::new(acts)).await;
    bed.create(DEPLOYMENTS, deployment(1, "v1")).await;
    rolled_out(&bed, 1).await;
    assert_eq!(created.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_stops_a_rollout_and_a_good_one_heals_it() {
    let bed = Bed::start().await;
    bed.create(DEPLOYMENTS, deployment(4, "v1")).await;
    rolled_out(&bed, 4).await;
    let change = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    bed.patch(DEPLOYMENTS, "web", change("broken")).await;
    bed.until(DEPLOYMENTS, "the rollout gets as far as it may", |found| {
        found.iter().any(|object| {
            let status = &object["status"];
            status["updatedReplicas"] == 2 && status["availableReplicas"] == 3 && status["replicas"] == 5
        })
    })
    .await;
    assert_eq!(condition(&bed.get(DEPLOYMENTS, "web").await, "Available"), "True MinimumReplicasAvailable");
    bed.patch(DEPLOYMENTS, "web", change("v3")).await;
    rolled_out(&bed, 4).await;
    assert!(bed.list(PODS).await.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "v3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_pausing_and_recreating() {
    let bed = Bed::start().await;
    bed.create(DEPLOYMENTS, deployment(1, "v1")).await;
    rolled_out(&bed, 1).await;
    bed.patch(DEPLOYMENTS, "web", json!({"spec": {"paused": true, "replicas": 3}})).await;
    rolled_out(&bed, 3).await;
    let change = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    bed.patch(DEPLOYMENTS, "web", change("v2")).await;
    bed.until(DEPLOYMENTS, "it is paused", |found| {
        found.iter().any(|web| {
            condition(web, "Progressing") == "Unknown DeploymentPaused"
                && web["status"]["observedGeneration"] == web["metadata"]["generation"]
        })
    })
    .await;
    assert_eq!(bed.names(REPLICA_SETS).await.len(), 1);
    let resume = json!({"spec": {"paused": false, "strategy": {"type": "Recreate", "rollingUpdate": null}}});
    bed.patch(DEPLOYMENTS, "web", resume).await;
    rolled_out(&bed, 3).await;
    assert!(bed.list(PODS).await.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "v2"));
    bed.patch(DEPLOYMENTS, "web", json!({"spec": {"replicas": 0}})).await;
    rolled_out(&bed, 0).await;
    bed.until(PODS, "no pods", |pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_deployment_takes_everything_along_and_an_orphaned_one_is_adopted_again() {
    let bed = Bed::start().await;
    bed.create(DEPLOYMENTS, deployment(2, "v1")).await;
    rolled_out(&bed, 2).await;
    let names = bed.names(PODS).await;
    bed.delete(DEPLOYMENTS, "web", Some(Propagation::Orphan)).await;
    bed.until(DEPLOYMENTS, "the Deployment is gone", |found| found.is_empty()).await;
    bed.create(DEPLOYMENTS, deployment(2, "v1")).await;
    rolled_out(&bed, 2).await;
    assert_eq!(bed.names(PODS).await, names, "adopted, not replaced");
    bed.delete(DEPLOYMENTS, "web", Some(Propagation::Background)).await;
    bed.until(REPLICA_SETS, "no ReplicaSets", |found| found.is_empty()).await;
    bed.until(PODS, "no pods", |found| found.is_empty()).await;
    bed.create(DEPLOYMENTS, deployment(2, "v1")).await;
    rolled_out(&bed, 2).await;
    bed.delete(DEPLOYMENTS, "web", Some(Propagation::Foreground)).await;
    bed.until(DEPLOYMENTS, "the Deployment is gone", |found| found.is_empty()).await;
    assert_eq!(bed.names(PODS).await, Vec::<String>::new(), "its pods went first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_replaces_pods_and_a_budget_counts_them() {
    let bed = Bed::start().await;
    bed.create(DEPLOYMENTS, deployment(3, "v1")).await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "pdb", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    bed.create(POD_DISRUPTION_BUDGETS, budget).await;
    let counts = |allowed: i64, healthy: i64, expected: i64| {
        move |found: &[Value]| {
            found.iter().any(|pdb| {
                let status = &pdb["status"];
                status["disruptionsAllowed"] == allowed
                    && status["currentHealthy"] == healthy
                    && status["expectedPods"] == expected
                    && status["desiredHealthy"] == expected - 1
            })
        }
    };
    bed.until(POD_DISRUPTION_BUDGETS, "one may go", counts(1, 3, 3)).await;
    let victim = bed.names(PODS).await[0].clone();
    bed.delete(PODS, &victim, None).await;
    rolled_out(&bed, 3).await;
    bed.until(POD_DISRUPTION_BUDGETS, "one may go again", counts(1, 3, 3)).await;
    bed.patch(DEPLOYMENTS, "web", json!({"spec": {"replicas": 5}})).await;
    bed.until(POD_DISRUPTION_BUDGETS, "five are expected", counts(1, 5, 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_its_pods_and_lets_them_go() {
    let bed = Bed::start().await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "default"},
        "spec": {"completions": 3, "parallelism": 2, "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "v1"}]}}}});
    bed.create(JOBS, job).await;
    for done in 0..3 {
        bed.until(PODS, "somebody is at work", |pods| {
            pods.iter().filter(|pod| pod["status"]["phase"] == "Succeeded").count() == done
                && pods.iter().any(|pod| pod["status"]["phase"] == "Running")
        })
        .await;
        let pods = bed.list(PODS).await;
        let running = pods.iter().find(|pod| pod["status"]["phase"] == "Running").unwrap();
        bed.end_pod(running["metadata"]["name"].as_str().unwrap(), "Succeeded").await;
    }
    bed.until(JOBS, "the Job is complete", |jobs| {
        jobs.iter().any(|job| {
            let complete = condition(job, "Complete") == "True CompletionsReached";
            complete && job["status"]["succeeded"] == 3 && job["status"]["active"].is_null()
        })
    })
    .await;
    bed.until(PODS, "no pod is held", |pods| pods.iter().all(|pod| pod["metadata"]["finalizers"].is_null())).await;
    assert_eq!(bed.names(PODS).await.len(), 3, "pods of a finished Job stay for their logs");
    bed.delete(JOBS, "sum", Some(Propagation::Background)).await;
    bed.until(PODS, "they go with it", |pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_job_leaves_no_pod_behind() {
    let bed = Bed::start().await;
    let job = |name: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"parallelism": 2, "completions": 2, "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "v1"}]}}}})
    };
    for (name, propagation) in [("a", Propagation::Background), ("b", Propagation::Foreground)] {
        bed.create(JOBS, job(name)).await;
        bed.until(PODS, "at work", |pods| pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count() == 2)
            .await;
        bed.delete(JOBS, name, Some(propagation)).await;
        bed.until(JOBS, "the Job is gone", |jobs| jobs.is_empty()).await;
        bed.until(PODS, "its pods are gone", |pods| pods.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_makes_the_job_of_the_moment_that_has_passed() {
    let bed = Bed::start().await;
    let cron_job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": "@every 1s", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {"template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "v1"}]}}}}}});
    bed.create(CRON_JOBS, cron_job).await;
    bed.until(JOBS, "a Job", |jobs| jobs.len() == 1).await;
    bed.until(CRON_JOBS, "it is written down", |found| {
        found.iter().any(|tick| {
            tick["status"]["active"].as_array().is_some_and(|active| active.len() == 1)
                && tick["status"]["lastScheduleTime"].is_string()
        })
    })
    .await;
    bed.delete(CRON_JOBS, "tick", Some(Propagation::Foreground)).await;
    bed.until(CRON_JOBS, "all of it goes", |found| found.is_empty()).await;
    bed.until(PODS, "its pods too", |pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_has_a_pod_on_each_node_and_rolls() {
    let bed = Bed::start().await;
    bed.create(NODES, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).await;
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template("v1")}});
    bed.create(DAEMON_SETS, set).await;
    let settled = |found: &[Value]| {
        found.iter().any(|set| {
            let status = &set["status"];
            status["observedGeneration"] == set["metadata"]["generation"]
                && ["desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"]
                    .iter()
                    .all(|key| status[*key] == 1)
        })
    };
    bed.until(DAEMON_SETS, "one pod", settled).await;
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    bed.patch(DAEMON_SETS, "agent", change).await;
    bed.until(DAEMON_SETS, "the new one", settled).await;
    bed.until(PODS, "only the new one", |pods| pods.len() == 1 && pods[0]["spec"]["containers"][0]["image"] == "v2")
        .await;
    assert_eq!(bed.names(CONTROLLER_REVISIONS).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_proves_nothing_deletes_nothing() {
    let bed = Bed::start().await;
    bed.create(NAMESPACES, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})).await;
    let map = |namespace: &str, name: &str, owners: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners}})
    };
    bed.create(CONFIG_MAPS, map("other", "owner", json!([]))).await;
    let owners = bed.list_all(CONFIG_MAPS).await;
    let owner = owners.iter().find(|map| map["metadata"]["name"] == "owner").unwrap();
    let uid = &owner["metadata"]["uid"];
    let reference = |api: &str, kind: &str, uid: &Value| json!([{"apiVersion": api, "kind": kind, "name": "owner", "uid": uid, "blockOwnerDeletion": true}]);
    bed.create(CONFIG_MAPS, map("default", "abroad", reference("v1", "ConfigMap", uid))).await;
    bed.create(CONFIG_MAPS, map("other", "mistaken", reference("v1", "Secret", uid))).await;
    bed.create(CONFIG_MAPS, map("default", "strange", reference("example.com/v1", "Thing", &json!("u-1")))).await;
    bed.create(CONFIG_MAPS, map("default", "lost", reference("v1", "ConfigMap", &json!("u-2")))).await;
    bed.until(CONFIG_MAPS, "the one whose owner is nowhere goes", |maps| {
        maps.iter().all(|map| map["metadata"]["name"] != "lost")
    })
    .await;
    bed.until(EVENTS, "the others are told of", |events| {
        ["abroad", "strange"].iter().all(|name| {
            events
                .iter()
                .any(|event| event["reason"] == "OwnerRefInvalidNamespace" && event["involvedObject"]["name"] == *name)
        })
    })
    .await;
    // An owner that goes in the foreground does not wait for what is abroad, and does not take it along.
    bed.delete_in("other", CONFIG_MAPS, "owner", Propagation::Foreground).await;
    bed.create(CONFIG_MAPS, map("default", "marker", reference("v1", "ConfigMap", &json!("u-3")))).await;
    bed.until(CONFIG_MAPS, "the collector has come so far", |maps| {
        maps.iter().all(|map| map["metadata"]["name"] != "marker")
    })
    .await;
    let maps = bed.list_all(CONFIG_MAPS).await;
    let is_left = |name: &str| maps.iter().any(|map| map["metadata"]["name"] == name);
    assert!(is_left("abroad") && is_left("strange"));
}
