//! What the server adds to a new pod: limits, service account, its token, priority, tolerations (M-6 to M-8, M-12).

use meta::Status;
use serde_json::{Value, json};

use api::resources;

use crate::kinds::{limit_range, priority_class};
use crate::tree::{as_object_mut, child_mut, has, items, items_mut, member, object_mut, set, text};
use crate::write::{CreateContext, random_suffix};

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECS: i64 = 3607;
const UNREACHABLE_SECS: i64 = 300;
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn admit(pod: &mut Value, context: &CreateContext<'_>) -> Result<(), Status> {
    limit_range::admission::complete(pod, context.limit_ranges);
    let is_mirror = has(member(member(pod, "metadata"), "annotations"), MIRROR);
    if !is_mirror {
        admit_service_account(pod, context)?;
    }
    priority_class::admit_pod(pod, context.priority_classes)?;
    admit_tolerations(pod);
    Ok(())
}

/// M-6.
fn admit_service_account(pod: &mut Value, context: &CreateContext<'_>) -> Result<(), Status> {
    let pod_name = text(member(pod, "metadata"), "name").to_owned();
    let spec = child_mut(pod, "spec");
    if text(spec, "serviceAccountName").is_empty() {
        set(spec, "serviceAccountName", "default");
    }
    let account_name = text(spec, "serviceAccountName").to_owned();
    set(spec, "serviceAccount", account_name.clone());
    let Some(account) = context.service_account else {
        let why = format!(
            "error looking up service account {}/{account_name}: serviceaccount \"{account_name}\" not found",
            context.namespace
        );
        return Err(Status::forbidden(&resources::PODS, &pod_name, why));
    };
    let secrets = items(account, "imagePullSecrets");
    if items(spec, "imagePullSecrets").is_empty() && !secrets.is_empty() {
        set(spec, "imagePullSecrets", secrets.to_vec());
    }
    let wanted = |tree: &Value| tree.get("automountServiceAccountToken").and_then(Value::as_bool);
    if wanted(spec).or_else(|| wanted(account)).unwrap_or(true) {
        mount_token(spec, context.seed);
    }
    Ok(())
}

/// A volume with token, root certificate and namespace, mounted where containers do not mount something else.
fn mount_token(spec: &mut Value, seed: u64) {
    let existing = items(spec, "volumes").iter().find(|volume| text(volume, "name").starts_with("kube-api-access-"));
    let (name, is_new) = match existing {
        Some(volume) => (text(volume, "name").to_owned(), false),
        None => (format!("kube-api-access-{}", random_suffix(seed.wrapping_mul(31).wrapping_add(7))), true),
    };
    let mut mounted = false;
    for key in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, key) {
            if items(container, "volumeMounts").iter().any(|mount| text(mount, "mountPath") == TOKEN_PATH) {
                continue;
            }
            let mounts = as_object_mut(container).entry("volumeMounts").or_insert_with(|| json!([]));
            if let Value::Array(mounts) = mounts {
                mounts.push(json!({ "name": name, "readOnly": true, "mountPath": TOKEN_PATH }));
                mounted = true;
            }
        }
    }
    if !mounted || !is_new {
        return;
    }
    let volume = json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [
                    { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
                ] } },
            ],
        },
    });
    if let Value::Array(volumes) = as_object_mut(spec).entry("volumes").or_insert_with(|| json!([])) {
        volumes.push(volume);
    }
}

/// A pod stays five minutes on a node that went silent, unless it says otherwise (M-7, N-44).
fn admit_tolerations(pod: &mut Value) {
    let spec = object_mut(pod, "spec");
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Value::Array(tolerations) = tolerations else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = tolerations.iter().any(|toleration| {
            let (other, effect) = (text(toleration, "key"), text(toleration, "effect"));
            (other == key || other.is_empty()) && matches!(effect, "NoExecute" | "")
        });
        if !tolerates {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECS,
            }));
        }
    }
}
