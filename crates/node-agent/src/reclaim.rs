//! Deleting the bytes of persistent volumes: the only place where data goes (D10, S5).
//!
//! A volume's bytes are removed when its PersistentVolume was made by our provisioner, has the reclaim policy Delete,
//! is being deleted, lies on this node, and is mounted by no pod here. Then, and not before, its finalizer goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::resources as res;
use client::{Patch, WriteOptions};
use informer::Informer;
use k8s_openapi::api::core::v1::PersistentVolume;
use meta::{ObjectId, Reason};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::handles::{Handles, Homes};
use crate::mounts;
use crate::shared::Shared;
use crate::sources::{PROVISIONED_BY, PROVISIONER};

/// Finalizer that holds a PersistentVolume until its bytes are gone.
pub(crate) const FINALIZER: &str = "roadstead.dev/local-volume";
/// Pause before a removal that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Which nodes' volumes are cleared here.
pub(crate) enum Places {
    /// Those of this machine.
    Machine(Homes),
    /// Those of virtual nodes, also after their Node objects are gone: nothing lies anywhere.
    Virtual {
        homes: Homes,
        /// Names of nodes that are machines: theirs are never cleared here, whatever a volume says of itself.
        machines: BTreeSet<String>,
    },
}

impl Places {
    fn has(&self, volume: &PersistentVolume, node: &str) -> bool {
        match self {
            Self::Machine(homes) => homes.has(node),
            Self::Virtual { homes, machines } => homes.has(node) || is_virtual(volume) && !machines.contains(node),
        }
    }
}

/// Provisioned on a virtual node.
fn is_virtual(volume: &PersistentVolume) -> bool {
    let notes = volume.metadata.annotations.as_ref();
    notes.and_then(|notes| notes.get(meta::VIRTUAL_ANNOTATION)).is_some_and(|value| value == "true")
}

/// Follows persistent volumes for ever, and removes the bytes of those that lie on one of the nodes.
pub(crate) async fn run(
    shared: Arc<Shared>,
    places: Places,
    handles: Handles,
    volumes: Informer<PersistentVolume>,
    cancel: CancellationToken,
) {
    let mut changes = volumes.changes();
    loop {
        let mut has_failed = false;
        for volume in volumes.list().into_iter().filter(|volume| wants_removal(volume, |node| places.has(volume, node)))
        {
            if let Err(why) = remove(&shared, &handles, &volume).await {
                tracing::warn!(volume = volume.metadata.name, why, "the bytes of a volume are not removed yet");
                has_failed = true;
            }
        }
        let retry_at = shared.now().checked_add(RETRY_PAUSE).unwrap_or(meta::Timestamp::MAX);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = changes.changed() => {}
            () = shared.clock.sleep_until(retry_at), if has_failed => {}
        }
    }
}

fn wants_removal(volume: &PersistentVolume, is_ours_to_clear: impl Fn(&str) -> bool) -> bool {
    let metadata = &volume.metadata;
    let is_ours =
        metadata.annotations.as_ref().and_then(|notes| notes.get(PROVISIONED_BY)).is_some_and(|by| by == PROVISIONER);
    let is_held = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    // Other finalizers, above all pv-protection, say that somebody still uses it.
    let is_last = metadata.finalizers.as_ref().is_some_and(|all| all.len() == 1);
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    metadata.deletion_timestamp.is_some()
        && is_ours
        && is_held
        && is_last
        && is_here(volume, is_ours_to_clear)
        && matches!(policy, Some("Delete" | "Retain"))
}

fn is_here(volume: &PersistentVolume, is_here: impl Fn(&str) -> bool) -> bool {
    let required = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref())
        .and_then(|affinity| affinity.required.as_ref());
    required.into_iter().flat_map(|required| &required.node_selector_terms).any(|term| {
        term.match_expressions.iter().flatten().any(|expression| {
            expression.key == "kubernetes.io/hostname"
                && expression.operator == "In"
                && expression.values.iter().flatten().any(|value| is_here(value))
        })
    })
}

async fn remove(shared: &Shared, handles: &Handles, volume: &PersistentVolume) -> Result<(), String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if policy == Some("Delete") || meta::mutants::is_on("bytes-go-always") {
        if let Some(pod) = mounts::user(shared, handles, volume).await? {
            return Err(format!("pod {pod} ends and still has it mounted"));
        }
        tracing::info!(volume = name, "removing the bytes of a released volume");
        shared.parts.volumes.delete_data(name).await.map_err(|error| error.sentence())?;
    } else {
        tracing::info!(volume = name, "a volume object is deleted; its bytes stay, as its reclaim policy says");
    }
    let finalizers: Vec<&String> =
        volume.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({"metadata": {
        "uid": volume.metadata.uid, "resourceVersion": volume.metadata.resource_version, "finalizers": finalizers,
    }});
    let id = ObjectId::cluster(res::PERSISTENT_VOLUMES, name);
    match shared.parts.client.patch(&id, None, Patch::Merge(patch), &WriteOptions::default()).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Some(Reason::NotFound) => Ok(()),
        Err(status) => Err(status.message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn volume(change: impl FnOnce(&mut Value)) -> PersistentVolume {
        let mut tree = json!({
            "metadata": {"name": "pv", "deletionTimestamp": "2026-11-21T07:00:00Z", "finalizers": [FINALIZER],
                "annotations": {PROVISIONED_BY: PROVISIONER}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete", "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}}},
        });
        change(&mut tree);
        serde_json::from_value(tree).unwrap()
    }

    #[test]
    fn a_volume_of_a_virtual_node_may_go_after_its_node_and_one_of_a_machine_never_here() {
        let machines = BTreeSet::from(["machine".to_owned()]);
        let places = Places::Virtual { homes: Homes::default(), machines };
        let real = volume(|_| {});
        let virtual_one = volume(|pv| pv["metadata"]["annotations"][meta::VIRTUAL_ANNOTATION] = json!("true"));
        assert!(places.has(&virtual_one, "n1"));
        assert!(!places.has(&virtual_one, "machine"));
        assert!(!places.has(&real, "n1"));
        assert!(!Places::Machine(Homes::default()).has(&virtual_one, "n1"));
    }

    #[test]
    fn bytes_go_only_when_every_condition_holds() {
        assert!(wants_removal(&volume(|_| {}), |node| node == "n1"));
        assert!(!wants_removal(&volume(|_| {}), |node| node == "n2"));
        assert!(!wants_removal(&volume(|pv| pv["metadata"]["deletionTimestamp"] = Value::Null), |node| node == "n1"));
        assert!(!wants_removal(&volume(|pv| pv["metadata"]["annotations"] = json!({})), |node| node == "n1"));
        let protected = json!([FINALIZER, "kubernetes.io/pv-protection"]);
        assert!(!wants_removal(&volume(|pv| pv["metadata"]["finalizers"] = protected), |node| node == "n1"));
    }
}
