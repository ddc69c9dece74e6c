//! The Node object, and the lease that says that its agent lives.

use std::sync::Arc;
use std::time::Duration;

use api::resources as res;
use client::{Collection, Patch, WriteOptions};
use meta::{ObjectId, Reason, Status, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Namespace of node leases.
const LEASES: &str = "kube-node-lease";
/// Time between renewals of the lease (Kubernetes documentation, node heartbeats).
const RENEWAL: Duration = Duration::from_secs(10);
/// Duration of the lease.
const LEASE_SECS: i64 = 40;
/// Time between writes of an unchanged node status.
const REPORT: Duration = Duration::from_secs(300);

fn node_id(shared: &Shared) -> ObjectId {
    ObjectId::cluster(res::NODES, &shared.config.node_name)
}

/// Whole seconds, as `metav1.Time` has them.
fn time(at: Timestamp) -> String {
    let seconds = at.as_second();
    Timestamp::from_second(seconds).unwrap_or(at).to_string()
}

/// Creates the Node, or brings the one that is there up to date.
pub(crate) async fn register(shared: &Shared) -> Result<(), Status> {
    let client = shared.parts.client.as_ref();
    let mut labels = json!({
        "kubernetes.io/hostname": shared.config.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch(),
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": arch(),
    });
    if shared.is_virtual() {
        // So that people can select them.
        labels[crate::VIRTUAL] = json!("true");
    }
    let annotations = json!({"roadstead.dev/volume-size-enforcement": enforcement(shared)});
    let metadata = json!({"labels": labels, "annotations": annotations});
    let patch = Patch::Merge(json!({"metadata": metadata}));
    match client.patch(&node_id(shared), None, patch, &WriteOptions::default()).await {
        Ok(_) => {}
        Err(status) if status.reason == Some(Reason::NotFound) => {
            let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}});
            node["metadata"]["name"] = json!(shared.config.node_name);
            client.create(&Collection::all(res::NODES), None, node, &WriteOptions::default()).await?;
        }
        Err(status) => return Err(status),
    }
    report(shared, None).await
}

/// What the volumes promise about sizes, for people who look at the node (D10).
fn enforcement(shared: &Shared) -> String {
    match shared.parts.volumes.size_enforcement() {
        volumes::SizeEnforcement::Enforced => "enforced".to_owned(),
        volumes::SizeEnforcement::NotEnforced(why) => format!("not enforced: {why}"),
    }
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes the node's status; `not_ready` is why it is not ready, if so.
async fn report(shared: &Shared, not_ready: Option<&str>) -> Result<(), Status> {
    let client = shared.parts.client.as_ref();
    let now = shared.now();
    let known = client.get(&node_id(shared)).await.map(|node| node.tree()["status"]["conditions"].clone());
    let known = known.unwrap_or_default();
    let condition = |name: &str, status: &str, reason: &str, message: &str| {
        let old = known.as_array().into_iter().flatten().find(|old| old["type"] == name);
        let since = match old {
            Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
            _ => json!(time(now)),
        };
        json!({"type": name, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": time(now), "lastTransitionTime": since})
    };
    let ready = match not_ready {
        None => condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        Some(why) => condition("Ready", "False", "KubeletNotReady", why),
    };
    let conditions = [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ];
    let body = json!({"status": status(shared, &conditions)});
    client.patch(&node_id(shared), Some("status"), Patch::Strategic(body), &WriteOptions::default()).await?;
    Ok(())
}

fn status(shared: &Shared, conditions: &[Value]) -> Value {
    let (config, machine) = (&shared.config, &shared.machine);
    let resources = json!({
        "cpu": cpu(machine.cpu_millis),
        "memory": format!("{}Ki", machine.memory_bytes / 1024),
        "ephemeral-storage": format!("{}Ki", machine.disk_bytes / 1024),
        "pods": config.pods_max.to_string(),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    });
    json!({
        "capacity": resources,
        "allocatable": resources,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": config.gateway.to_string()},
            {"type": "Hostname", "address": config.node_name},
        ],
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.machine_id,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": format!("{}://{}", crate::shared::RUNTIME_NAME, config.binary_version),
            "kubeletVersion": format!("v1.37.0+roadstead-{}", config.binary_version),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": arch(),
        },
    })
}

/// `2`, or `1500m` where it is not whole.
fn cpu(millis: i64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// Renews the lease and repeats the status for ever. A renewal that fails is tried again at the next turn.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut reported = shared.now();
    loop {
        if let Err(status) = renew(&shared, LEASE_SECS).await {
            tracing::warn!(%status, "the node's lease is not renewed");
        }
        let now = shared.now();
        if Duration::try_from(now.duration_since(reported)).unwrap_or_default() >= REPORT {
            reported = now;
            if let Err(status) = report(&shared, None).await {
                tracing::warn!(%status, "the node's status is not written");
            }
        }
        let next = now.checked_add(RENEWAL).unwrap_or(Timestamp::MAX);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = shared.clock.sleep_until(next) => {}
        }
    }
}

/// Renews the node's lease, or makes it.
pub(crate) async fn renew(shared: &Shared, lease_secs: i64) -> Result<(), Status> {
    let client = shared.parts.client.as_ref();
    let name = &shared.config.node_name;
    let id = ObjectId::namespaced(res::LEASES, LEASES, name);
    let renewed = format!("{:.6}", shared.now());
    let patch = Patch::Merge(json!({"spec": {"renewTime": renewed}}));
    match client.patch(&id, None, patch, &WriteOptions::default()).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Some(Reason::NotFound) => {
            let node = client.get(&node_id(shared)).await?;
            let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.uid().0});
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": LEASES, "ownerReferences": [owner]},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": lease_secs, "renewTime": renewed},
            });
            let target = Collection::in_namespace(res::LEASES, LEASES);
            client.create(&target, None, lease, &WriteOptions::default()).await.map(|_| ())
        }
        Err(status) => Err(status),
    }
}

/// Says that the node goes down; the next start says otherwise.
pub(crate) async fn say_not_ready(shared: &Shared) {
    if let Err(status) = report(shared, Some("node is shutting down")).await {
        tracing::warn!(%status, "the node's end is not told");
    }
}
