//! Reads the objects that an explanation looks at.

use anyhow::{Context, Result};
use controllers_core::stateful_set::{CLUSTER_NAMESPACE, HealRollout};
use explain::{Cluster, Ref};
use futures::future::try_join_all;
use kube::Client;
use serde_json::{Value, json};

/// Where objects of a namespace lie: kind, API version, plural.
const NAMESPACED: [(&str, &str, &str); 15] = [
    ("StatefulSet", "apps/v1", "statefulsets"),
    ("ControllerRevision", "apps/v1", "controllerrevisions"),
    ("Deployment", "apps/v1", "deployments"),
    ("ReplicaSet", "apps/v1", "replicasets"),
    ("DaemonSet", "apps/v1", "daemonsets"),
    ("Job", "batch/v1", "jobs"),
    ("Pod", "v1", "pods"),
    ("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
    ("Service", "v1", "services"),
    ("Event", "v1", "events"),
    ("ConfigMap", "v1", "configmaps"),
    ("Secret", "v1", "secrets"),
    ("ServiceAccount", "v1", "serviceaccounts"),
    ("ResourceQuota", "v1", "resourcequotas"),
    ("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
];

/// The same for objects of the cluster.
const OF_CLUSTER: [(&str, &str, &str); 4] = [
    ("Node", "v1", "nodes"),
    ("Namespace", "v1", "namespaces"),
    ("PersistentVolume", "v1", "persistentvolumes"),
    ("StorageClass", "storage.k8s.io/v1", "storageclasses"),
];

/// Short names that kubectl knows, and the kinds that they mean.
const SHORT_NAMES: [(&str, &str); 12] = [
    ("sts", "StatefulSet"),
    ("po", "Pod"),
    ("pvc", "PersistentVolumeClaim"),
    ("pv", "PersistentVolume"),
    ("no", "Node"),
    ("svc", "Service"),
    ("ns", "Namespace"),
    ("deploy", "Deployment"),
    ("rs", "ReplicaSet"),
    ("ds", "DaemonSet"),
    ("pdb", "PodDisruptionBudget"),
    ("quota", "ResourceQuota"),
];

/// Everything near the objects of a namespace.
///
/// # Errors
/// If the API does not answer.
pub async fn everything(client: &Client, namespace: &str) -> Result<Cluster> {
    let lists = NAMESPACED.iter().map(|row| (row, true)).chain(OF_CLUSTER.iter().map(|row| (row, false)));
    let lists = lists.map(|((kind, version, plural), namespaced)| async move {
        let root = if version.contains('/') { "apis" } else { "api" };
        let within = if namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        list(client, kind, version, &format!("/{root}/{version}{within}/{plural}")).await
    });
    let mut cluster = Cluster::default();
    for object in try_join_all(lists).await?.into_iter().flatten() {
        cluster.insert(object);
    }
    Ok(cluster)
}

/// Whether the server heals rollouts of sets that say nothing about it.
///
/// # Errors
/// If the API does not answer.
pub async fn heal_rollout(client: &Client) -> Result<HealRollout> {
    let path = format!("/api/v1/namespaces?fieldSelector=metadata.name={CLUSTER_NAMESPACE}");
    let mut cluster = Cluster::default();
    for namespace in list(client, "Namespace", "v1", &path).await? {
        cluster.insert(namespace);
    }
    Ok(cluster.heal_rollout())
}

/// Kinds without which an answer would be wrong, not only short.
const NEEDED: [&str; 4] = ["StatefulSet", "Pod", "PersistentVolumeClaim", "ControllerRevision"];

/// Whether a kind counts as having no objects when the answer to its list is this code.
fn may_lack(kind: &str, code: u16) -> bool {
    code == 404 || code == 403 && !NEEDED.contains(&kind)
}

/// The objects of a kind; none if the kind is not served, or not to be seen and not needed.
async fn list(client: &Client, kind: &str, version: &str, path: &str) -> Result<Vec<Value>> {
    let request = http::Request::get(path).body(Vec::new())?;
    let mut answer: Value = match client.request(request).await {
        Ok(answer) => answer,
        Err(kube::Error::Api(status)) if may_lack(kind, status.code) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {path}")),
    };
    let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) else { return Ok(Vec::new()) };
    let mut items = std::mem::take(items);
    for item in &mut items {
        item["kind"] = json!(kind);
        item["apiVersion"] = json!(version);
        if kind == "Secret" {
            // Only their names count, and what is not held cannot be shown by mistake.
            item["data"] = Value::Null;
        }
    }
    Ok(items)
}

/// Reads `sts/redis`, `pod/redis-0` or `redis`.
///
/// # Errors
/// If the type is not one that can be asked about: with those that can.
pub fn parse(object: &str, namespace: &str) -> Result<Ref> {
    let (word, name) = object.split_once('/').unwrap_or(("sts", object));
    let word = word.split('.').next().unwrap_or(word).to_lowercase();
    let known = |kind: &str| kind.to_lowercase();
    let mut kinds = NAMESPACED.iter().chain(&OF_CLUSTER);
    let by_short_name = SHORT_NAMES.iter().find(|(short, _)| *short == word).map(|(_, kind)| *kind);
    let kind = by_short_name
        .or_else(|| kinds.find(|(kind, _, plural)| known(kind) == word || *plural == word).map(|(kind, ..)| *kind));
    let Some(kind) = kind else {
        let types: Vec<String> = NAMESPACED.iter().chain(&OF_CLUSTER).map(|(kind, ..)| known(kind)).collect();
        anyhow::bail!("{word:?} is not a type that `why` knows; it knows {}", types.join(", "));
    };
    let of_cluster = OF_CLUSTER.iter().any(|(found, ..)| *found == kind);
    Ok(Ref::new(kind, if of_cluster { "" } else { namespace }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_seen_is_not_taken_for_empty_where_it_counts() {
        let cases = [("Pod", 404, true), ("Pod", 403, false), ("Secret", 403, true), ("Secret", 500, false)];
        for (kind, code, lacks) in cases {
            assert_eq!(may_lack(kind, code), lacks, "{kind} {code}");
        }
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        for (typed, shown) in [
            ("redis", "statefulset/redis"),
            ("sts/redis", "statefulset/redis"),
            ("statefulsets.apps/redis", "statefulset/redis"),
            ("po/redis-0", "pod/redis-0"),
            ("pods/redis-0", "pod/redis-0"),
            ("no/n1", "node/n1"),
        ] {
            assert_eq!(parse(typed, "default").expect("it is known").to_string(), shown, "{typed}");
        }
        let error = parse("widget/a", "default").expect_err("no such type");
        assert!(error.to_string().starts_with("\"widget\" is not a type that `why` knows; it knows statefulset, "));
    }
}
