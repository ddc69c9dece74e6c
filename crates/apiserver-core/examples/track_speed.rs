//! How long the bookkeeping of a write takes: `cargo run --release -p apiserver-core --example track_speed`.

use std::time::Instant;

use api::Gvk;
use apiserver_core::patch::{Place, Writer, settle, track};
use meta::Timestamp;
use serde_json::{Value, json};

const ROUNDS: u32 = 20_000;

fn main() {
    let value = "x".repeat(1_000);
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "data": { "key": value },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "a", "namespace": "default", "uid": "u", "labels": { "app": "db", "tier": "x" } },
        "spec": { "containers": [{
            "name": "redis", "image": "redis", "imagePullPolicy": "IfNotPresent", "resources": { "limits": { "cpu": "1" } },
            "ports": [{ "containerPort": 6379, "protocol": "TCP" }], "env": [{ "name": "A", "value": "B" }],
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }], "volumes": [{ "name": "data", "emptyDir": {} }], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst" },
        "status": { "phase": "Pending" },
    });
    let mut ready = pod.clone();
    ready["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    show("create of a 1 KiB ConfigMap", Gvk::of("", "v1", "ConfigMap"), None, &map);
    show("create of a pod", Gvk::of("", "v1", "Pod"), None, &pod);
    show("status of a pod", Gvk::of("", "v1", "Pod"), Some(&pod), &ready);
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "v1", subresource: "", ignored: &[], now: Timestamp::UNIX_EPOCH }
}

fn show(what: &str, gvk: Gvk<'_>, live: Option<&Value>, new: &Value) {
    let Some(place) = Place::root(gvk) else { return };
    let live = live.map(|live| {
        let mut live = live.clone();
        track(place, None, &mut live, &writer("creator"));
        live
    });
    let copies: Vec<Value> = vec![new.clone(); ROUNDS as usize];
    let begin = Instant::now();
    for mut new in copies {
        track(place, live.as_ref(), &mut new, &writer("kubelet"));
        if let Some(live) = &live {
            settle(live, &mut new);
        }
        std::hint::black_box(new);
    }
    println!("{what}: {:?} with the drop of the tree", begin.elapsed() / ROUNDS);
}
