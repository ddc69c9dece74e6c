//! StatefulSets over HTTP: statefulset.md section 1, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use apiserver_core::patch::merge_patch;
use expect_test::expect_file;
use serde_json::{Value, json};
use support::{Answer, TestServer, said, version, yaml};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";

/// A set that nothing is wrong with.
fn good(name: &str) -> Value {
    let mut set = yaml(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {namespace: default}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27', volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    set["metadata"]["name"] = name.into();
    set
}

/// The server with a set `web` and a revision `web-1` of somebody's.
async fn furnished() -> TestServer {
    let server = TestServer::start().await;
    assert_eq!(server.post(SETS, &good("web")).await.status, 201);
    let revision = json!({"metadata": {"name": "web-1"}, "data": {"a": "b"}, "revision": 1});
    assert_eq!(server.post(REVISIONS, &revision).await.status, 201);
    server
}

/// Sends a change through a door: to a new set, to the stored one, its status, its scale, or to revisions.
async fn send(server: &TestServer, door: &str, change: Value) -> Answer {
    let stored = async |path: String| server.get(&path).await.json();
    match door {
        "create" => server.post(SETS, &merge_patch(&good("new"), &change)).await,
        "create-strict" => {
            server.post(&format!("{SETS}?fieldValidation=Strict"), &merge_patch(&good("new"), &change)).await
        }
        "update" => {
            let path = format!("{SETS}/web");
            server.put(&path, &merge_patch(&stored(path.clone()).await, &change)).await
        }
        "status" | "scale" => {
            let path = format!("{SETS}/web/{door}");
            server.put(&path, &merge_patch(&stored(path.clone()).await, &change)).await
        }
        "patch-scale" => server.patch(&format!("{SETS}/web/scale"), "merge-patch+json", &change).await,
        "create-revision" => {
            let good = json!({"metadata": {"name": "new"}, "data": {"a": "b"}, "revision": 1});
            server.post(REVISIONS, &merge_patch(&good, &change)).await
        }
        "update-revision" => {
            let path = format!("{REVISIONS}/web-1");
            server.put(&path, &merge_patch(&stored(path.clone()).await, &change)).await
        }
        other => panic!("no such door: {other}"),
    }
}

/// Statements: each rule with upstream's answer, and nothing
/// changed by a refusal (S22).
///
/// The table holds the questions and the answers: a row is the statements, the door and the change to a good object;
/// below it stands what the server says. `UPDATE_EXPECT=1` writes the answers anew.
#[tokio::test]
async fn bad_sets_are_refused_with_upstreams_answers_and_change_nothing() {
    //
    let table = include_str!("bad_sets.txt");
    let server = furnished().await;
    let counted = json!({"status": {"collisionCount": 2}});
    assert_eq!(server.patch(&format!("{SETS}/web/status"), "merge-patch+json", &counted).await.status, 200);
    let uid = server.get(&format!("{SETS}/web")).await.json()["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut answers = String::new();
    for line in table.lines().filter(|line| !line.starts_with("  ")) {
        answers.push_str(&format!("{line}\n"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (_ids, rest) = line.split_once(' ').unwrap();
        let (door, change) = rest.split_once(' ').unwrap();
        let before = server.store.revision();
        let answer = send(&server, door, yaml(change)).await;
        assert!(answer.status.is_client_error(), "{line} is not refused: {}", said(&answer));
        assert_eq!(server.store.revision(), before, "{line} changed something");
        answers.push_str(&said(&answer).replace(&uid, "(its uid)"));
    }
    expect_file!["bad_sets.txt"].assert_eq(&answers);
}

///
#[tokio::test]
async fn sets_are_discovered_as_upstream_has_them() {
    let server = TestServer::start().await;
    let document = server.get("/apis/apps/v1").await.json();
    let row = |name: &str| {
        let all = document["resources"].as_array().unwrap();
        all.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let set = row("statefulsets");
    assert_eq!((&set["kind"], &set["singularName"]), (&json!("StatefulSet"), &json!("statefulset")));
    assert_eq!((&set["shortNames"], &set["categories"]), (&json!(["sts"]), &json!(["all"])));
    assert_eq!(set["namespaced"], true);
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    assert_eq!(set["verbs"], json!(verbs));
    assert_eq!(row("statefulsets/status")["verbs"], json!(["get", "patch", "update"]));
    let scale = row("statefulsets/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    assert_eq!(scale["verbs"], json!(["get", "patch", "update"]));
    assert_eq!(server.get(SETS).await.json()["kind"], "StatefulSetList");
}

///
#[tokio::test]
async fn a_set_is_put_only_where_it_exists_and_with_its_version_or_none() {
    let server = furnished().await;
    assert_eq!(server.put(&format!("{SETS}/none"), &good("none")).await.status, 404);
    let path = format!("{SETS}/web");
    let first = server.get(&path).await.json();
    let mut set = good("web");
    set["spec"]["replicas"] = json!(3);
    let written = server.put(&path, &set).await;
    assert_eq!((written.status.as_u16(), written.json()["spec"]["replicas"].clone()), (200, json!(3)));
    set["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"].clone();
    set["spec"]["replicas"] = json!(4);
    assert_eq!(server.put(&path, &set).await.status, 409, "a stale version");
    set["metadata"]["resourceVersion"] = version(&written.json()).into();
    assert_eq!(server.put(&path, &set).await.status, 200);
}

/// A-6, C-90: without a word about dependents the set is gone at once.
#[tokio::test]
async fn a_set_is_deleted_in_the_background_unless_asked_otherwise() {
    let server = furnished().await;
    assert_eq!(server.delete(&format!("{SETS}/web")).await.status, 200);
    assert_eq!(server.get(&format!("{SETS}/web")).await.status, 404);
    assert_eq!(server.post(SETS, &good("web")).await.status, 201);
    assert_eq!(server.delete(&format!("{SETS}/web?propagationPolicy=Orphan")).await.status, 200);
    let held = server.get(&format!("{SETS}/web")).await.json();
    assert_eq!(held["metadata"]["finalizers"], json!(["orphan"]));
}

///
#[tokio::test]
async fn a_status_sent_with_the_set_is_discarded_and_only_the_spec_counts_generations() {
    let server = TestServer::start().await;
    let mut set = good("web");
    set["status"] = json!({"replicas": 7});
    set["metadata"]["generation"] = json!(9);
    let created = server.post(SETS, &set).await.json();
    assert_eq!((&created["metadata"]["generation"], &created["status"]["replicas"]), (&json!(1), &json!(0)));
    let path = format!("{SETS}/web");
    let merge = async |change: Value| server.patch(&path, "merge-patch+json", &change).await.json();
    let labelled = merge(json!({"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 7}})).await;
    assert_eq!((&labelled["metadata"]["generation"], &labelled["status"]["replicas"]), (&json!(1), &json!(0)));
    assert_eq!(merge(json!({"spec": {"replicas": 2}})).await["metadata"]["generation"], 2);
}

/// strategic merge patch merges conditions by their type, merge patch replaces them.
#[tokio::test]
async fn conditions_are_merged_by_type_or_replaced_and_zeros_are_left_out() {
    let server = furnished().await;
    let path = format!("{SETS}/web/status");
    let condition = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
    let types = |answer: Answer| -> Vec<String> {
        let conditions = answer.json()["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().map(|condition| condition["type"].as_str().unwrap().to_owned()).collect()
    };
    let strategic = "strategic-merge-patch+json";
    assert_eq!(types(server.patch(&path, strategic, &condition("A")).await), ["A"]);
    assert_eq!(types(server.patch(&path, strategic, &condition("B")).await), ["B", "A"]);
    assert_eq!(types(server.patch(&path, "merge-patch+json", &condition("C")).await), ["C"]);
    let counts = json!({"status": {"replicas": 0, "availableReplicas": 0, "readyReplicas": 0, "currentReplicas": 0,
        "updatedReplicas": 0, "observedGeneration": 0, "currentRevision": "", "conditions": null}});
    let status = server.patch(&path, "merge-patch+json", &counts).await.json()["status"].clone();
    assert_eq!(status, json!({"replicas": 0, "availableReplicas": 0}));
    let marked =
        server.patch(&path, "merge-patch+json", &json!({"metadata": {"annotations": {"a": "b"}}})).await.json();
    assert_eq!(marked["metadata"]["annotations"]["a"], "b");
}

///
#[tokio::test]
async fn a_scale_takes_every_kind_of_patch_and_is_seen_at_once() {
    let server = furnished().await;
    let path = format!("{SETS}/web/scale");
    let set = async || server.get(&format!("{SETS}/web")).await.json();
    let replicas = json!({"spec": {"replicas": 2}});
    for (expected, kind) in (2..).zip(["merge-patch+json", "strategic-merge-patch+json", "json-patch+json"]) {
        let body = match kind {
            "json-patch+json" => json!([{"op": "replace", "path": "/spec/replicas", "value": expected}]),
            _ => merge_patch(&replicas, &json!({"spec": {"replicas": expected}})),
        };
        let answer = server.patch(&path, kind, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["kind"]), (200, &json!("Scale")), "{kind}");
        let set = set().await;
        assert_eq!(set["spec"]["replicas"], expected, "{kind}");
        assert_eq!(set["metadata"]["generation"], expected, "each is a generation");
    }
    let applied = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 9}});
    let answer = server.patch(&format!("{path}?fieldManager=me&force=true"), "apply-patch+yaml", &applied).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let set = set().await;
    assert_eq!(set["spec"]["replicas"], 9);
    let managers = set["metadata"]["managedFields"].as_array().unwrap().clone();
    let mine = managers.iter().find(|entry| entry["manager"] == "me").unwrap();
    assert_eq!((&mine["subresource"], &mine["apiVersion"]), (&json!("scale"), &json!("apps/v1")));
    let missing = server.patch(&format!("{SETS}/none/scale"), "merge-patch+json", &replicas).await;
    assert_eq!(missing.status, 404);
}
