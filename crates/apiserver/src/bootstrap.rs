//! What exists before anybody asks: namespaces, the default storage class, `default/kubernetes` (M-15).

use std::sync::PoisonError;

use api::resources;
use apiserver_core::kinds::priority_class::SYSTEM_CLASSES;
use apiserver_core::kinds::{self, KindDef};
use meta::{ResourceId, Status, Timestamp};
use serde_json::{Value, json};
use store_core::Range;

use crate::keys;
use crate::registry::{Registry, object, read_status};
use crate::writing::{Changed, Target, WriteOptions, normalise};

/// The namespaces that always exist.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The priority classes of every cluster (M-8).
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (SYSTEM_CLASSES[0].0, SYSTEM_CLASSES[0].1, "For pods without which a node does not work."),
    (SYSTEM_CLASSES[1].0, SYSTEM_CLASSES[1].1, "For pods without which the cluster does not work."),
];
/// Name of the standard storage class.
const STORAGE_CLASS: &str = "roadstead";
/// Who writes all this.
const MANAGER: &str = "roadstead";

/// Makes what is missing, and brings up to date what describes this very server.
///
/// # Errors
/// The refusal of the first write that failed.
pub async fn run(registry: &Registry) -> Result<(), Status> {
    occupy_addresses(registry)?;
    queue_expiry(registry)?;
    for name in NAMESPACES {
        create(registry, &resources::NAMESPACES, None, json!({"metadata": {"name": name}})).await?;
    }
    create(registry, &resources::STORAGE_CLASSES, None, storage_class()).await?;
    for (name, value, what) in PRIORITY_CLASSES {
        let class = json!({
            "metadata": {"name": name}, "value": value, "description": what, "preemptionPolicy": "PreemptLowerPriority",
        });
        create(registry, &resources::PRIORITY_CLASSES, None, class).await?;
    }
    registry.recount_quotas().await?;
    kubernetes_service(registry).await
}

fn def(resource: &ResourceId) -> Result<&'static KindDef, Status> {
    kinds::by_resource(resource).ok_or_else(|| Status::internal(format!("no kind is served as {resource}")))
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: MANAGER.to_owned(), ..WriteOptions::default() }
}

/// Creates an object unless there is one.
async fn create(
    registry: &Registry,
    resource: &ResourceId,
    namespace: Option<&str>,
    tree: Value,
) -> Result<(), Status> {
    let def = def(resource)?;
    let name = tree["metadata"]["name"].as_str().unwrap_or_default();
    if registry.find(&def.kind, namespace, name)?.is_some() {
        return Ok(());
    }
    let (tree, _) = normalise(def, tree).map_err(|error| error.to_status())?;
    match registry.create(def, namespace, tree, &options()).await {
        Err(status) if !status.is_already_exists() => Err(status),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The class of claims that name none: folders on this machine. `Delete` as upstream's default classes: whoever
/// deletes a claim asks for its bytes to go; nothing else removes them (D10).
fn storage_class() -> Value {
    json!({
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "roadstead.dev/local",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": false,
    })
}

/// The Service through which pods reach this server, and its endpoints, which follow the server's address.
async fn kubernetes_service(registry: &Registry) -> Result<(), Status> {
    let first = registry.addresses.lock().unwrap_or_else(PoisonError::into_inner).first().to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let (address, port) = (registry.config.advertise.ip().to_string(), registry.config.advertise.port());
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": first,
            "clusterIPs": [first],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    });
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    put(registry, &resources::SERVICES, service, &["spec", "ports"]).await?;
    put(registry, &resources::ENDPOINTS, endpoints, &["subsets"]).await?;
    put(registry, &resources::ENDPOINT_SLICES, slice, &["endpoints"]).await?;
    Ok(())
}

/// Creates an object in the namespace `default`, or writes the member at `path` and `ports` of the one that is there.
async fn put(registry: &Registry, resource: &ResourceId, tree: Value, path: &[&str]) -> Result<(), Status> {
    let namespace = Some("default");
    create(registry, resource, namespace, tree.clone()).await?;
    let def = def(resource)?;
    let target = Target { namespace, name: "kubernetes", subresource: "" };
    let change = |current: &Value| {
        let mut new = current.clone();
        let pointer = format!("/{}", path.join("/"));
        for pointer in [pointer.as_str(), "/ports"] {
            if let (Some(old), Some(wanted)) = (new.pointer_mut(pointer), tree.pointer(pointer)) {
                *old = wanted.clone();
            }
        }
        let (tree, _) = normalise(def, new).map_err(|error| error.to_status())?;
        Ok(Changed { tree, applied: false, warnings: Vec::new(), decided: None })
    };
    registry.update(def, &target, &options(), change).await.map(|_| ())
}

/// Marks the addresses and ports of all stored services as taken.
fn occupy_addresses(registry: &Registry) -> Result<(), Status> {
    let services = def(&resources::SERVICES)?;
    let values = registry.store.range(&Range::prefix(keys::kind_prefix(&services.kind)));
    let values = values.map_err(|error| read_status(&error))?;
    let mut pool = registry.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    for record in &values.records {
        pool.occupy(object(services, record).tree());
    }
    Ok(())
}

/// Puts the Events of earlier runs into the queue of those to be forgotten, by the age that they say they have.
fn queue_expiry(registry: &Registry) -> Result<(), Status> {
    let events = def(&resources::EVENTS)?;
    let values = registry.store.range(&Range::prefix(keys::kind_prefix(&events.kind)));
    let values = values.map_err(|error| read_status(&error))?;
    let now = registry.now();
    let mut aged: Vec<_> =
        values.records.iter().map(|record| (last_seen(object(events, record).tree()).unwrap_or(now), record)).collect();
    aged.sort_by_key(|(seen, _)| *seen);
    for (seen, record) in aged {
        let age = std::time::Duration::try_from(now.duration_since(seen)).unwrap_or_default();
        let rest = registry.config.event_ttl.saturating_sub(age);
        registry.expiry.add(record.key.clone(), record.revision, rest);
    }
    Ok(())
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [&event["lastTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
    times.into_iter().find_map(|time| time.as_str()?.parse().ok())
}
