//! Watches over TLS on loopback, with a store in memory.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use client::DeleteOptions;
use meta::{ObjectId, Uid};
use serde_json::{Value, json};
use support::{CONFIG_MAPS, TestServer};

#[tokio::test]
async fn a_watch_from_a_list_misses_and_repeats_nothing() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let list = server.get(CONFIG_MAPS).await.json();
    let from = support::version(&list);
    let path = format!("{CONFIG_MAPS}/a");
    server.patch(&path, "merge-patch+json", &json!({"data": {"k": "2"}})).await;
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}"), &[]).await;
    assert_eq!(watch.line().await, "MODIFIED a");
    let created = server.config_map("b", json!({})).await;
    let added = watch.next().await.unwrap();
    assert_eq!((&added["type"], support::version(&added["object"])), (&json!("ADDED"), created));
    assert_eq!(added["object"]["kind"], "ConfigMap");
    let before = server.store.revision().0;
    server.delete(&path).await;
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(support::version(&deleted["object"]), (before + 1).to_string(), "the revision of the deletion");
    assert_eq!(deleted["object"]["data"]["k"], "2", "the last state");
}

#[tokio::test]
async fn an_object_that_stops_to_match_is_deleted_for_the_watcher() {
    let server = TestServer::start().await;
    let from = server.config_map("a", json!({"l": "y"})).await;
    let query = format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}&labelSelector=l%3Dx");
    let mut watch = server.watch(&query, &[]).await;
    let path = format!("{CONFIG_MAPS}/a");
    let label = async |value: &str| {
        let patch = json!({"metadata": {"labels": {"l": value}}});
        support::version(&server.patch(&path, "merge-patch+json", &patch).await.json())
    };
    label("x").await;
    assert_eq!(watch.line().await, "ADDED a");
    server.patch(&path, "merge-patch+json", &json!({"data": {"k": "2"}})).await;
    assert_eq!(watch.line().await, "MODIFIED a");
    let left = label("y").await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["labels"]["l"]), (&json!("DELETED"), &json!("x")));
    assert_eq!(support::version(&event["object"]), left, "the previous body with the revision of the change");
    label("z").await;
    server.delete(&path).await;
    server.config_map("b", json!({"l": "x"})).await;
    assert_eq!(watch.line().await, "ADDED b", "nothing of what does not match");
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark_even_if_it_is_empty() {
    let server = TestServer::start().await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut empty = server.watch(&format!("{CONFIG_MAPS}?{query}"), &[]).await;
    let bookmark = empty.next().await.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    server.config_map("a", json!({})).await;
    assert_eq!(empty.line().await, "ADDED a");

    let mut full = server.watch(&format!("{CONFIG_MAPS}?{query}"), &[]).await;
    assert_eq!(full.line().await, "ADDED a");
    assert_eq!(full.line().await, "BOOKMARK -");
    server.config_map("b", json!({})).await;
    assert_eq!(full.line().await, "ADDED b");

    let refused = server.get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_the_current_state() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=true"), &[]).await;
    assert_eq!(watch.line().await, "ADDED a");
    let mut one = server.watch(&format!("{CONFIG_MAPS}/b?watch=true"), &[]).await;
    server.config_map("b", json!({})).await;
    assert_eq!(watch.line().await, "ADDED b");
    assert_eq!(one.line().await, "ADDED b");
    let mut old = server.watch("/api/v1/watch/namespaces/default/configmaps?resourceVersion=0", &[]).await;
    assert_eq!(old.line().await, "ADDED a");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_so_within_the_stream() {
    let server = TestServer::start().await;
    let from = server.config_map("a", json!({})).await;
    server.config_map("b", json!({})).await;
    server.store.compact(server.store.revision()).await.unwrap();
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}"), &[]).await;
    let error = watch.next().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    assert_eq!((&error["object"]["code"], &error["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!((&error["object"]["kind"], &error["object"]["apiVersion"]), (&json!("Status"), &json!("v1")));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_watch_ends_quietly_at_its_time_limit_after_a_last_bookmark() {
    let server = TestServer::start().await;
    let from = server.config_map("a", json!({})).await;
    server.post("/api/v1/namespaces", &json!({"metadata": {"name": "elsewhere"}})).await;
    let query = format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut watch = server.watch(&query, &[]).await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let at: u64 = support::version(&bookmark["object"]).parse().unwrap();
    assert!(at > from.parse().unwrap(), "a quiet kind advances with the whole store");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_table_watch_describes_its_columns_once() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    server.config_map("b", json!({})).await;
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1"), &[accept]).await;
    let first: Value = watch.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    let second = watch.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn both_groups_of_events_see_each_event_in_their_own_form() {
    let server = TestServer::start().await;
    let body = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Because", "message": "of this", "type": "Normal",
    });
    let answer = server.post("/api/v1/namespaces/default/events", &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let newer = server.get("/apis/events.k8s.io/v1/namespaces/default/events").await.json();
    let event = &newer["items"][0];
    assert_eq!((&event["note"], &event["regarding"]["name"]), (&json!("of this"), &json!("p")));
    assert_eq!(event["apiVersion"], "events.k8s.io/v1");
    let mut watch = server.watch("/apis/events.k8s.io/v1/events?watch=1", &[]).await;
    assert_eq!(watch.next().await.unwrap()["object"]["note"], "of this");
}

#[tokio::test]
async fn the_in_process_client_walks_the_same_path() {
    use client::{Collection, Patch, Selection, WatchEvent, WriteOptions};
    use futures::StreamExt as _;
    let server = TestServer::start().await;
    let client = server.server.client("system:serviceaccount:kube-system:tester");
    let target = Collection::in_namespace(api::resources::CONFIG_MAPS, "default");
    let list = client.list(&target, &Selection::default()).await.unwrap();
    let mut watch = client.watch(&target, &Selection::default(), list.resource_version).await.unwrap();
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let created = client.create(&target, None, body, &WriteOptions::default()).await.unwrap();
    let Some(Ok(WatchEvent::Added(seen))) = watch.next().await else { panic!("no event") };
    assert_eq!(seen.json, created.json);
    let id = meta::ObjectId::namespaced(api::resources::CONFIG_MAPS, "default", "a");
    let patch = Patch::Merge(json!({"data": {"k": "w"}}));
    let patched = client.patch(&id, None, patch, &WriteOptions::default()).await.unwrap();
    assert_eq!(patched.tree()["data"]["k"], "w");
    let managed = &patched.tree()["metadata"]["managedFields"][0]["manager"];
    assert_eq!(managed, "tester");
    client.delete(&id, &client::DeleteOptions::default()).await.unwrap();
    assert!(client.get(&id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_pod_ends_together_with_its_last_status_in_one_event_unless_a_finalizer_holds_it() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let server = TestServer::start().await;
    let node = server.server.client("system:node:here");
    for (name, finalizers) in [("free", json!([])), ("held", json!(["example.com/hold"]))] {
        let pod = json!({
            "metadata": {"name": name, "finalizers": finalizers},
            "spec": {"nodeName": "here", "containers": [{"name": "a", "image": "a:1"}]},
        });
        let created = server.post(PODS, &pod).await.json();
        let (path, from) = (format!("{PODS}/{name}"), support::version(&created));
        server.delete(&path).await;
        let query = format!("{PODS}?watch=1&resourceVersion={from}&fieldSelector=metadata.name%3D{name}");
        let mut watch = server.watch(&query, &[]).await;
        assert_eq!(watch.line().await, format!("MODIFIED {name}"), "its deletion is asked for");

        let id = ObjectId::namespaced(api::resources::PODS, "default", name);
        let uid = created["metadata"]["uid"].as_str().unwrap();
        let end = async |uid: &str, phase: &str| {
            let options = DeleteOptions {
                uid: Some(Uid(created["metadata"]["uid"].as_str().unwrap().to_owned())),
                grace_period_secs: Some(0),
                last_status: Some(json!({"metadata": {"uid": uid}, "status": {"phase": phase}})),
                ..DeleteOptions::default()
            };
            node.delete(&id, &options).await.map_err(|status| status.code)
        };
        // Both or neither.
        assert_eq!(end("another", "Succeeded").await, Err(409));
        assert_eq!(server.get(&path).await.json()["status"]["phase"], "Pending");

        end(uid, "Succeeded").await.unwrap();
        let event = watch.next().await.unwrap();
        assert_eq!(event["object"]["status"]["phase"], "Succeeded");
        let is_there = server.get(&path).await.status == 200;
        match name {
            "free" => assert_eq!((&event["type"], is_there), (&json!("DELETED"), false)),
            _ => assert_eq!((&event["type"], is_there), (&json!("MODIFIED"), true)),
        }
    }
}
