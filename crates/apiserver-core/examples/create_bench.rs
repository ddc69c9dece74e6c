//! How long the decisions of a create take, per object: `cargo run --release -p apiserver-core --example create_bench`.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop at the first mistake")]

use std::time::Instant;

use api::codec::{Expected, Media, Mode, decode};
use apiserver_core::kinds;
use apiserver_core::write::{CreateContext, NamespaceState, Outcome, UpdateContext, decide_create, decide_update};
use serde_json::json;

const ROUNDS: u32 = 20_000;

fn main() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default",
        "labels": {"app": "bench"}}, "data": {"payload": "x".repeat(1024)}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": {
        "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}]}}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}, "spec": {
        "containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}]}});
    for object in [map, set, pod] {
        measure(&object);
    }
}

fn measure(object: &serde_json::Value) {
    let gvk = api::Gvk::parse(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let def = kinds::by_gvk(gvk).unwrap();
    let body = object.to_string();
    let account = json!({"metadata": {"name": "default"}});
    let context = CreateContext {
        now: "2026-11-21T07:00:00Z".parse().unwrap(),
        uid: "11111111-2222-4333-8444-555555555555",
        seed: 7,
        field_manager: "bench",
        namespace: "default",
        namespace_state: NamespaceState::Active,
        service_account: Some(&account),
        storage_classes: &[],
        limit_ranges: &[],
        priority_classes: &[],
        addresses: None,
        applied: false,
    };
    let decoded = || decode(body.as_bytes(), Media::Json, Expected::exactly(gvk), Mode::Typed).unwrap().tree;
    let mut current = decide_create(def, decoded(), &context).unwrap().object;
    current["metadata"]["resourceVersion"] = "7".into();
    let update = UpdateContext {
        now: context.now,
        field_manager: "bench",
        subresource: "",
        limit_ranges: &[],
        addresses: None,
        seed: 7,
        applied: false,
    };

    let start = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(decoded());
    }
    let decoding = start.elapsed() / ROUNDS;
    let trees: Vec<_> = (0..ROUNDS).map(|_| decoded()).collect();
    let start = Instant::now();
    for tree in trees {
        std::hint::black_box(decide_create(def, tree, &context).unwrap());
    }
    let creating = start.elapsed() / ROUNDS;
    let trees: Vec<_> = (0..ROUNDS).map(|_| current.clone()).collect();
    let start = Instant::now();
    for mut tree in trees {
        tree["metadata"]["labels"] = json!({"a": "b"});
        let plan = decide_update(def, &current, tree, &update).unwrap();
        assert!(matches!(plan.outcome, Outcome::Write(_)));
    }
    let updating = start.elapsed() / ROUNDS;
    println!("{}: decode {decoding:?}, create {creating:?}, update {updating:?}", gvk.kind);
}
