//! Pods.

use serde_json::Value;

use super::{Trail, Verdict, container, kubectl, node, since, unplaced};
use crate::cluster::{Ref, condition, is_true, list, text};

/// What a pod waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Verdict {
    match text(pod, "/status/phase") {
        "Succeeded" => {
            trail.says(about, "has done its work");
            return Verdict::fine();
        }
        "Failed" => return failed(trail, about, pod),
        _ => {}
    }
    let node_name = text(pod, "/spec/nodeName");
    if node_name.is_empty() {
        return unplaced::follow(trail, about, pod);
    }
    let node = Ref::new("Node", "", node_name);
    if let Some(says) = node::is_away(trail.cluster.get(&node)) {
        trail.says(about, format!("runs on a node that is not heard: {node_name:?}"));
        trail.says(&node, says);
        return Verdict::stuck([
            format!("bring node {node_name:?} back: `roadstead status` there"),
            format!(
                "if the machine is off for good: `kubectl taint node {node_name} node.kubernetes.io/out-of-service=:NoExecute`"
            ),
        ]);
    }
    if is_true(pod, "Ready") {
        let ready = condition(pod, "Ready").unwrap_or(&Value::Null);
        trail.says(about, format!("is ready{}", since(ready, "/lastTransitionTime", trail.now)));
        return Verdict::fine();
    }
    if let Some(verdict) = unprepared(trail, about, pod) {
        return verdict;
    }
    let unfinished = list(pod, "/status/initContainerStatuses").iter().find(|status| !is_complete(status));
    if let Some(status) = unfinished {
        return container::follow(trail, about, pod, status, true);
    }
    if let Some(status) = list(pod, "/status/containerStatuses").iter().find(|status| status["ready"] != true) {
        return container::follow(trail, about, pod, status, false);
    }
    gate(trail, about, pod)
}

/// An init container that has ended well, or a sidecar that is ready.
fn is_complete(status: &Value) -> bool {
    status.pointer("/state/terminated/exitCode") == Some(&Value::from(0))
        || (status["ready"] == true && status.pointer("/state/running").is_some())
}

fn failed(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Verdict {
    let (reason, message) = (text(pod, "/status/reason"), text(pod, "/status/message"));
    let told = [reason, message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let told = if told.is_empty() { "a container ended with an error".to_owned() } else { told };
    trail.says(about, format!("has failed: {told}"));
    let owned = list(pod, "/metadata/ownerReferences").iter().any(|owner| owner["controller"] == true);
    if owned && reason == "Evicted" {
        return Verdict::stuck([
            "free what was short on the node, or give the pod requests; it is made anew by itself".to_owned(),
        ]);
    }
    if owned {
        return Verdict::working();
    }
    Verdict::stuck([format!(
        "nobody makes a bare pod anew: `{}`, then create it again",
        kubectl(&about.namespace, &format!("delete pod {}", about.name))
    )])
}

/// Sandbox and volumes.
fn unprepared(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Option<Verdict> {
    let prepared = condition(pod, "PodReadyToStartContainers");
    if text(pod, "/status/phase") != "Pending" || prepared.is_some_and(|prepared| prepared["status"] == "True") {
        return None;
    }
    if list(pod, "/status/conditions").is_empty() {
        trail.says(
            about,
            format!("has been given to node {:?}, which has not taken it yet", text(pod, "/spec/nodeName")),
        );
        return Some(Verdict::working());
    }
    let message = prepared
        .map(|prepared| text(prepared, "/message"))
        .filter(|message| !message.is_empty())
        .or_else(|| trail.warning(about, &["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"]))?;
    trail.says(about, format!("cannot be prepared: {message}"));
    Some(missing_source(about, pod, message))
}

fn missing_source(about: &Ref, pod: &Value, message: &str) -> Verdict {
    let describe = format!("`{}` shows its events", kubectl(&about.namespace, &format!("describe pod {}", about.name)));
    if !message.contains("not found") {
        return Verdict::stuck([format!("remove the cause; the node tries again by itself. {describe}")]);
    }
    for volume in list(pod, "/spec/volumes") {
        for (field, name, kind) in [("configMap", "name", "configmap"), ("secret", "secretName", "secret generic")] {
            let named = text(&volume[field], &format!("/{name}"));
            if !named.is_empty() && message.contains(&format!("\"{named}\"")) {
                let create = kubectl(&about.namespace, &format!("create {kind} {named} --from-file=FILE"));
                return Verdict::stuck([format!("create it, or mark the volume `optional: true`: `{create}`")]);
            }
        }
    }
    Verdict::stuck([format!("create what is missing; the node tries again by itself. {describe}")])
}

/// Everything runs; a readiness gate holds it.
fn gate(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Verdict {
    let closed = list(pod, "/spec/readinessGates")
        .iter()
        .map(|gate| text(gate, "/conditionType"))
        .find(|gate| !is_true(pod, gate));
    if let Some(gate) = closed {
        trail.says(about, format!("runs, and waits for its readiness gate {gate:?}"));
        return Verdict::stuck([format!(
            "the program that sets the condition {gate:?} has to run; or take the gate out of the template"
        )]);
    }
    trail.says(about, "is being started");
    Verdict::working()
}
