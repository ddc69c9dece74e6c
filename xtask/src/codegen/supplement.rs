//! Defaults that upstream writes as code and not as data (api.md 4.1, statefulset.md 1.3): those that hang on nothing
//! but the field being absent. The others are functions (`api::defaults` and the kinds of `apiserver-core`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Defaults by definition package and name, then field.
pub(super) type Defaults = BTreeMap<(String, String), BTreeMap<String, Value>>;

/// All of our own defaults.
pub(super) fn defaults() -> Defaults {
    let mut all = Defaults::new();
    let groups = [
        ("io.k8s.api.core.v1", core()),
        ("io.k8s.api.apps.v1", apps()),
        ("io.k8s.api.batch.v1", batch()),
        ("io.k8s.api.storage.v1", storage()),
        ("io.k8s.api.discovery.v1", discovery()),
        ("io.k8s.api.networking.v1", networking()),
        ("io.k8s.api.scheduling.v1", scheduling()),
        ("io.k8s.api.authentication.v1", authentication()),
    ];
    for (package, rows) in groups {
        for (name, field, value) in rows {
            all.entry((package.to_owned(), name.to_owned())).or_default().insert(field.to_owned(), value);
        }
    }
    all
}

type Rows = Vec<(&'static str, &'static str, Value)>;

/// K-1 to K-5, K-8.
fn core() -> Rows {
    let mut rows = vec![
        ("PodSpec", "restartPolicy", json!("Always")),
        ("PodSpec", "dnsPolicy", json!("ClusterFirst")),
        ("PodSpec", "terminationGracePeriodSeconds", json!(30)),
        ("PodSpec", "securityContext", json!({})),
        ("PodSpec", "schedulerName", json!("default-scheduler")),
        ("Probe", "timeoutSeconds", json!(1)),
        ("Probe", "periodSeconds", json!(10)),
        ("Probe", "successThreshold", json!(1)),
        ("Probe", "failureThreshold", json!(3)),
        ("HTTPGetAction", "path", json!("/")),
        ("HTTPGetAction", "scheme", json!("HTTP")),
        ("GRPCAction", "service", json!("")),
        ("ObjectFieldSelector", "apiVersion", json!("v1")),
        ("SecretVolumeSource", "defaultMode", json!(420)),
        ("ConfigMapVolumeSource", "defaultMode", json!(420)),
        ("DownwardAPIVolumeSource", "defaultMode", json!(420)),
        ("ProjectedVolumeSource", "defaultMode", json!(420)),
        ("ServiceAccountTokenProjection", "expirationSeconds", json!(3600)),
        ("HostPathVolumeSource", "type", json!("")),
        ("ServiceSpec", "sessionAffinity", json!("None")),
        ("ServiceSpec", "type", json!("ClusterIP")),
        ("EndpointPort", "protocol", json!("TCP")),
        ("PersistentVolumeClaimSpec", "volumeMode", json!("Filesystem")),
        ("PersistentVolumeClaimStatus", "phase", json!("Pending")),
        ("PersistentVolumeSpec", "persistentVolumeReclaimPolicy", json!("Retain")),
        ("PersistentVolumeSpec", "volumeMode", json!("Filesystem")),
        ("PersistentVolumeStatus", "phase", json!("Pending")),
        ("PodStatus", "phase", json!("Pending")),
        ("NamespaceStatus", "phase", json!("Active")),
        ("Secret", "type", json!("Opaque")),
        ("ReplicationControllerSpec", "replicas", json!(1)),
    ];
    for container in ["Container", "EphemeralContainer", "EphemeralContainerCommon"] {
        rows.push((container, "terminationMessagePath", json!("/dev/termination-log")));
        rows.push((container, "terminationMessagePolicy", json!("File")));
    }
    rows
}

/// K-6, K-7.
fn apps() -> Rows {
    vec![
        ("StatefulSetSpec", "replicas", json!(1)),
        ("StatefulSetSpec", "podManagementPolicy", json!("OrderedReady")),
        ("StatefulSetSpec", "revisionHistoryLimit", json!(10)),
        (
            "StatefulSetSpec",
            "persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        ),
        ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted", json!("Retain")),
        ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled", json!("Retain")),
        ("DeploymentSpec", "replicas", json!(1)),
        ("DeploymentSpec", "revisionHistoryLimit", json!(10)),
        ("DeploymentSpec", "progressDeadlineSeconds", json!(600)),
        ("ReplicaSetSpec", "replicas", json!(1)),
        ("DaemonSetSpec", "revisionHistoryLimit", json!(10)),
    ]
}

/// K-7. Those of JobSpec hold for jobs, and not for the template in a cron job: they stand with the kind.
fn batch() -> Rows {
    vec![
        ("CronJobSpec", "concurrencyPolicy", json!("Allow")),
        ("CronJobSpec", "suspend", json!(false)),
        ("CronJobSpec", "successfulJobsHistoryLimit", json!(3)),
        ("CronJobSpec", "failedJobsHistoryLimit", json!(1)),
    ]
}

/// K-8.
fn storage() -> Rows {
    vec![("StorageClass", "reclaimPolicy", json!("Delete")), ("StorageClass", "volumeBindingMode", json!("Immediate"))]
}

/// K-8.
fn discovery() -> Rows {
    vec![("EndpointPort", "name", json!("")), ("EndpointPort", "protocol", json!("TCP"))]
}

fn networking() -> Rows {
    vec![("NetworkPolicyPort", "protocol", json!("TCP"))]
}

/// K-8.
fn scheduling() -> Rows {
    vec![("PriorityClass", "preemptionPolicy", json!("PreemptLowerPriority"))]
}

fn authentication() -> Rows {
    vec![("TokenRequestSpec", "expirationSeconds", json!(3600))]
}
