//! Objects that are being deleted: what holds them.

use controllers_core::persistent_volumes::uses;
use serde_json::Value;

use super::{Trail, Verdict, kubectl, node, spoken, typed};
use crate::cluster::{Ref, has_ended, list, text, time};

/// Follows what holds an object that is being deleted.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let finalizers: Vec<&str> = list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    match about.kind.as_str() {
        "Pod" => pod(trail, about, object, &finalizers),
        "Namespace" => namespace(trail, about, object),
        _ => held(trail, about, object, &finalizers),
    }
}

fn pod(trail: &mut Trail<'_>, about: &Ref, object: &Value, finalizers: &[&str]) -> Verdict {
    let node_name = text(object, "/spec/nodeName");
    if !node_name.is_empty() {
        let node = Ref::new("Node", "", node_name);
        if let Some(says) = node::is_away(trail.cluster.get(&node)) {
            trail.says(about, format!("is being deleted, and only its node {node_name:?} can say that it has stopped"));
            trail.says(&node, says);
            let force = kubectl(&about.namespace, &format!("delete pod {} --force --grace-period=0", about.name));
            return Verdict::stuck([
                format!("bring node {node_name:?} back"),
                format!("only if you know that the machine is off (else two pods write to one volume): `{force}`"),
            ]);
        }
    }
    let ended = has_ended(object);
    let until = time(object, "/metadata/deletionTimestamp").unwrap_or(trail.now);
    if !finalizers.is_empty() && (ended || node_name.is_empty() || until < trail.now) {
        return held(trail, about, object, finalizers);
    }
    let left = until.duration_since(trail.now);
    if left.is_positive() {
        trail.says(about, format!("is stopping: it has {} left of its grace", spoken(left)));
        return Verdict::working();
    }
    if let Some(message) = trail.warning(about, &["FailedKillPod"]) {
        trail.says(about, format!("cannot be stopped: {message}"));
        return Verdict::stuck([
            "the node tries again; its log says more: `roadstead status` names the file".to_owned()
        ]);
    }
    trail.says(about, "is being stopped by its node");
    Verdict::working()
}

fn namespace(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let told = ["NamespaceFinalizersRemaining", "NamespaceContentRemaining", "NamespaceDeletionContentFailure"]
        .iter()
        .filter_map(|kind| crate::cluster::condition(object, kind))
        .find(|condition| condition["status"] == "True");
    match told {
        Some(condition) => {
            trail.says(about, format!("is being deleted: {}", text(condition, "/message")));
            Verdict::stuck([format!(
                "`{}` shows what is left; an object with finalizers waits for the program that set them",
                kubectl(&about.name, "get all,pvc")
            )])
        }
        None => {
            trail.says(about, "is being deleted with everything in it");
            Verdict::working()
        }
    }
}

/// Somebody's finalizers.
fn held(trail: &mut Trail<'_>, about: &Ref, object: &Value, finalizers: &[&str]) -> Verdict {
    let Some(first) = finalizers.first() else {
        trail.says(about, "is being deleted");
        return Verdict::working();
    };
    match *first {
        "kubernetes.io/pvc-protection" => {
            if let Some(user) = claim_keeper(trail, object) {
                trail.says(about, format!("is being deleted, and kept while {user} uses it"));
                return Verdict::stuck([format!(
                    "its bytes go when that pod is gone: `{}`",
                    kubectl(&about.namespace, &format!("delete {}", user.to_string().replace('/', " ")))
                )]);
            }
            trail.says(about, "is being deleted");
            Verdict::working()
        }
        "foregroundDeletion" => match blocking_dependent(trail, about, object) {
            Some(dependent) => {
                trail.says(about, format!("is being deleted after what it owns: {dependent} is still there"));
                trail.follow(&dependent)
            }
            None => {
                trail.says(about, "is being deleted after what it owns");
                Verdict::working()
            }
        },
        finalizer => {
            trail.says(about, format!("is being deleted, and held by the finalizer {finalizer:?}"));
            let path = format!(
                "patch {} {} --type=json -p '[{{\"op\":\"remove\",\"path\":\"/metadata/finalizers/0\"}}]'",
                about.kind.to_lowercase(),
                about.name
            );
            Verdict::stuck([
                format!("start the program that set {finalizer:?}; it cleans up and lets the object go"),
                format!("if that program is gone for good: `{}`", kubectl(&about.namespace, &path)),
            ])
        }
    }
}

/// A pod that keeps a claim from going, also one that has ended (N-9).
fn claim_keeper(trail: &Trail<'_>, claim: &Value) -> Option<Ref> {
    let facts = typed(claim)?;
    let keeps = |pod: &&Value| typed(pod).is_some_and(|pod| uses(&pod, &facts));
    trail.cluster.list("Pod", text(claim, "/metadata/namespace")).find(keeps).map(Ref::of)
}

/// A pod that is to run and names the claim.
pub(super) fn claim_user(trail: &Trail<'_>, claim: &Ref) -> Option<Ref> {
    let uses = |pod: &&Value| {
        let volumes = list(pod, "/spec/volumes");
        volumes.iter().any(|volume| text(volume, "/persistentVolumeClaim/claimName") == claim.name) && !has_ended(pod)
    };
    trail.cluster.list("Pod", &claim.namespace).find(uses).map(Ref::of)
}

fn blocking_dependent(trail: &Trail<'_>, about: &Ref, object: &Value) -> Option<Ref> {
    let uid = text(object, "/metadata/uid");
    let owned = |object: &&Value| {
        list(object, "/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true)
    };
    ["Pod", "ReplicaSet", "PersistentVolumeClaim"]
        .iter()
        .find_map(|kind| trail.cluster.list(kind, &about.namespace).find(owned).map(Ref::of))
}
