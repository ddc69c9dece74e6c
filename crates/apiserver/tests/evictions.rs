//! Evictions against a server: budgets are charged once per pod, whoever asks and how often (S11).
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::TestServer;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn ready_pod(server: &TestServer, name: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "here", "containers": [{"name": "a", "image": "a:1"}]},
    });
    assert_eq!(server.post(PODS, &pod).await.status, 201);
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(server.patch(&format!("{PODS}/{name}/status"), "merge-patch+json", &status).await.status, 200);
}

async fn budget(server: &TestServer, allowed: i64) {
    let budget = json!({
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    assert_eq!(server.post(BUDGETS, &budget).await.status, 201);
    allow(server, allowed).await;
}

async fn allow(server: &TestServer, allowed: i64) {
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": allowed + 1, "desiredHealthy": 1,
        "expectedPods": allowed + 1,
    }});
    assert_eq!(server.patch(&format!("{BUDGETS}/web/status"), "merge-patch+json", &status).await.status, 200);
}

async fn evict(server: &TestServer, name: &str, query: &str) -> (u16, Value, String) {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let answer = server.post(&format!("{PODS}/{name}/eviction{query}"), &body).await;
    (answer.status.as_u16(), answer.json(), answer.header("retry-after").to_owned())
}

async fn status(server: &TestServer) -> Value {
    server.get(&format!("{BUDGETS}/web")).await.json()["status"].take()
}

#[tokio::test]
async fn many_evictions_at_once_never_overdraw_a_budget() {
    let server = TestServer::start().await;
    let names: Vec<String> = (0..12).map(|n| format!("web-{n}")).collect();
    for name in &names {
        ready_pod(&server, name).await;
    }
    budget(&server, 5).await;
    let answers = futures::future::join_all(names.iter().map(|name| evict(&server, name, ""))).await;
    let codes = |code: u16| answers.iter().filter(|(answered, ..)| *answered == code).count();
    assert_eq!((codes(201), codes(429)), (5, 7), "{answers:?}");
    let status = status(&server).await;
    assert_eq!(status["disruptionsAllowed"], 0);
    assert_eq!(status["disruptedPods"].as_object().map(serde_json::Map::len), Some(5));
    assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
    let pods = server.get(PODS).await.json();
    let going = pods["items"].as_array().unwrap().iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(going.count(), 5);
}

#[tokio::test]
async fn a_dry_run_and_a_second_asking_cost_nothing() {
    let server = TestServer::start().await;
    ready_pod(&server, "web-0").await;
    budget(&server, 2).await;
    assert_eq!(evict(&server, "web-0", "?dryRun=All").await.0, 201);
    assert_eq!(status(&server).await["disruptionsAllowed"], 2);
    assert_eq!(evict(&server, "web-0", "").await.0, 201);
    assert_eq!(status(&server).await["disruptionsAllowed"], 1);
    assert_eq!(evict(&server, "web-0", "").await.0, 201, "it is going already");
    assert_eq!(status(&server).await["disruptionsAllowed"], 1);
}

#[tokio::test]
async fn a_refusal_says_which_budget_and_when_to_ask_again() {
    // N-53.
    let server = TestServer::start().await;
    ready_pod(&server, "web-0").await;
    budget(&server, 0).await;
    let (code, body, retry) = evict(&server, "web-0", "").await;
    assert_eq!((code, retry.as_str()), (429, ""));
    assert_eq!(body["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(body["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(
        body["details"]["causes"][0]["message"],
        "The disruption budget web needs 1 healthy pods and has 1 currently"
    );
    let changed = json!({"spec": {"minAvailable": 2}});
    assert_eq!(server.patch(&format!("{BUDGETS}/web"), "merge-patch+json", &changed).await.status, 200);
    let (code, body, retry) = evict(&server, "web-0", "").await;
    assert_eq!((code, retry.as_str()), (429, "10"));
    assert_eq!(
        body["details"]["causes"][0]["message"],
        "The disruption budget web is still being processed by the server."
    );
}

#[tokio::test]
async fn deleting_a_job_without_saying_what_becomes_of_its_pods_is_warned_of() {
    let server = TestServer::start().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({
        "metadata": {"name": "backup"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}}},
    });
    assert_eq!(server.post(jobs, &job).await.status, 201);
    let answer = server.delete(&format!("{jobs}/backup")).await;
    assert!(answer.header("warning").contains("child pods are preserved by default"), "{:?}", answer.headers);
    assert_eq!(answer.json()["metadata"]["finalizers"], json!(["orphan"]));
}
