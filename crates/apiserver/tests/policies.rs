//! Quotas, limits and reviews against a server.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{CONFIG_MAPS, TestServer};

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn quota(server: &TestServer, name: &str, hard: Value) -> Value {
    let answer = server.post(QUOTAS, &json!({"metadata": {"name": name}, "spec": {"hard": hard}})).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    answer.json()
}

async fn used(server: &TestServer, name: &str) -> String {
    server.get(&format!("{QUOTAS}/{name}")).await.json()["status"]["used"].to_string()
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}})
}

#[tokio::test]
async fn many_creations_at_once_never_use_more_than_a_quota_has() {
    let server = TestServer::start().await;
    server.post(PODS, &pod("old")).await;
    let quota = quota(&server, "few", json!({"pods": "5", "count/configmaps": "0", "resourcequotas": "1"})).await;
    assert_eq!(quota["status"]["used"], json!({"pods": "1", "count/configmaps": "0", "resourcequotas": "1"}));
    let pods: Vec<Value> = (0..12).map(|n| pod(&format!("web-{n}"))).collect();
    let answers = futures::future::join_all(pods.iter().map(|pod| server.post(PODS, pod))).await;
    let count = |code: u16| answers.iter().filter(|answer| answer.status == code).count();
    assert_eq!((count(201), count(403)), (4, 8));
    let refused = answers.iter().find(|answer| answer.status == 403).unwrap().json();
    let text = refused["message"].as_str().unwrap();
    assert!(
        text.ends_with("is forbidden: exceeded quota: few, requested: pods=1, used: pods=5, limited: pods=5"),
        "{text}"
    );
    assert_eq!(used(&server, "few").await, r#"{"count/configmaps":"0","pods":"5","resourcequotas":"1"}"#);
    let map = server.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        map.json()["message"],
        "configmaps \"a\" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=0, \
         limited: count/configmaps=0"
    );
    assert_eq!(server.post(QUOTAS, &json!({"metadata": {"name": "second"}, "spec": {}})).await.status, 403);
}

#[tokio::test]
async fn what_goes_is_given_back_at_once_and_a_dry_run_uses_nothing() {
    let server = TestServer::start().await;
    quota(&server, "few", json!({"pods": "1"})).await;
    assert_eq!(server.post(&format!("{PODS}?dryRun=All"), &pod("a")).await.status, 201);
    assert_eq!(used(&server, "few").await, r#"{"pods":"0"}"#);
    assert_eq!(server.post(PODS, &pod("a")).await.status, 201);
    assert_eq!(server.post(&format!("{PODS}?dryRun=All"), &pod("b")).await.status, 403);
    let over = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(server.patch(&format!("{PODS}/a/status"), "merge-patch+json", &over).await.status, 200);
    assert_eq!(used(&server, "few").await, r#"{"pods":"0"}"#);
    assert_eq!(server.post(PODS, &pod("b")).await.status, 201);
    assert_eq!(server.delete(&format!("{PODS}/a")).await.status, 200);
    assert_eq!(used(&server, "few").await, r#"{"pods":"1"}"#);
    assert_eq!(server.delete(&format!("{PODS}/b")).await.status, 200);
    assert_eq!(used(&server, "few").await, r#"{"pods":"0"}"#);
    let more = json!({"spec": {"hard": {"pods": "3", "secrets": "1"}}});
    let changed = server.patch(&format!("{QUOTAS}/few"), "merge-patch+json", &more).await.json();
    assert_eq!(
        changed["status"],
        json!({"hard": {"pods": "3", "secrets": "1"}, "used": {"pods": "0", "secrets": "0"}})
    );
    assert_eq!(server.delete(&format!("{QUOTAS}/few")).await.status, 200);
}

#[tokio::test]
async fn a_refused_creation_leaves_no_address_behind() {
    let server = TestServer::start().await;
    quota(&server, "none", json!({"services": "0"})).await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}});
    assert_eq!(server.post(services, &service).await.status, 403);
    assert_eq!(server.delete(&format!("{QUOTAS}/none")).await.status, 200);
    assert_eq!(server.post(services, &service).await.status, 201, "the address is free");
}

#[tokio::test]
async fn reviews_tell_the_truth() {
    let server = TestServer::start().await;
    let ask = async |path: &str, spec: Value| server.post(path, &json!({"spec": spec})).await;
    let access = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let answer = ask(access, json!({"user": "jane", "resourceAttributes": pods})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]["allowed"]), (201, &json!(true)));
    let answer = ask(access, json!({"user": "system:anonymous", "resourceAttributes": pods})).await;
    assert_eq!(answer.json()["status"]["allowed"], false);
    let path = json!({"verb": "get", "path": "/healthz"});
    let answer = ask(access, json!({"user": "system:anonymous", "nonResourceAttributes": path})).await;
    assert_eq!(answer.json()["status"]["allowed"], true);
    let answer = ask(access, json!({"resourceAttributes": pods})).await;
    assert_eq!(
        answer.json()["message"],
        "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user \
         or group must be specified"
    );
    let local = "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews";
    let answer = ask(local, json!({"user": "jane", "resourceAttributes": pods})).await;
    assert_eq!(
        answer.json()["message"],
        "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid \
         value: \"default\": must match metadata.namespace"
    );
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = ask(rules, json!({"namespace": "default"})).await.json();
    assert_eq!(answer["status"]["resourceRules"][0]["resources"], json!(["*"]));
    assert_eq!(answer["status"]["incomplete"], false);
    assert_eq!(ask(rules, json!({})).await.json()["message"], "no namespace on request");
    let me = ask("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!(null)).await.json();
    assert_eq!(me["status"]["userInfo"]["username"], "kubernetes-admin");
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = ask(tokens, json!({"token": support::TOKEN})).await.json();
    assert_eq!(answer["status"]["user"]["groups"], json!(["system:masters", "system:authenticated"]));
    let answer = ask(tokens, json!({"token": "wrong"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]["authenticated"]), (201, &Value::Null));
    assert_eq!(ask(tokens, json!({})).await.status, 400);
}

#[tokio::test]
async fn the_system_s_priority_classes_are_there_and_stay() {
    let server = TestServer::start().await;
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical";
    assert_eq!(server.get(path).await.json()["value"], 2_000_001_000);
    assert_eq!(server.delete(path).await.status, 403);
}
