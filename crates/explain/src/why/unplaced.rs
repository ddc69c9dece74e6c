//! Pods that no node takes.

use meta::Quantity;
use serde_json::Value;

use super::{Trail, Verdict};
use crate::cluster::{Ref, condition, is_terminating, list, text};

/// What a pod without a node waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Verdict {
    let gates: Vec<&str> = list(pod, "/spec/schedulingGates").iter().map(|gate| text(gate, "/name")).collect();
    if let Some(gate) = gates.first() {
        trail.says(about, format!("is held back by the scheduling gate {gate:?}"));
        return Verdict::stuck([format!("the program that set {gate:?} has to take it off spec.schedulingGates")]);
    }
    let scheduler = text(pod, "/spec/schedulerName");
    if !scheduler.is_empty() && scheduler != "default-scheduler" {
        trail.says(about, format!("is left to the scheduler {scheduler:?}, which is not part of Roadstead"));
        return Verdict::stuck([format!(
            "start the scheduler {scheduler:?}, or take spec.schedulerName out of the template"
        )]);
    }
    if let Some(verdict) = claims(trail, about, pod) {
        return verdict;
    }
    let Some(refused) = condition(pod, "PodScheduled").filter(|found| found["status"] == "False") else {
        trail.says(about, "waits for the scheduler");
        return Verdict::working();
    };
    let message = text(refused, "/message");
    if let Some(verdict) = promised(trail, about, pod, message) {
        return verdict;
    }
    trail.says(about, format!("fits on no node: {message}"));
    Verdict { next: remedies(trail, pod, message), ..Verdict::stuck([]) }
}

/// A node that less important pods are leaving for this one.
fn promised(trail: &mut Trail<'_>, about: &Ref, pod: &Value, message: &str) -> Option<Verdict> {
    let node = text(pod, "/status/nominatedNodeName");
    if node.is_empty() {
        return None;
    }
    let is_leaving = |other: &&Value| text(other, "/spec/nodeName") == node && is_terminating(other);
    let leaving = trail.cluster.list("Pod", &about.namespace).find(is_leaving).map(Ref::of);
    // Those of other namespaces are not shown here, but the scheduler knows of them.
    if leaving.is_none() && !message.contains("terminating pod on the nominated node") {
        return None;
    }
    trail.says(about, format!("has a place on node {node} as soon as less important pods have left it"));
    Some(leaving.map_or_else(Verdict::working, |pod| trail.follow(&pod)))
}

/// A claim of the pod that is in the way of placing it.
fn claims(trail: &mut Trail<'_>, about: &Ref, pod: &Value) -> Option<Verdict> {
    for volume in list(pod, "/spec/volumes") {
        let name = text(volume, "/persistentVolumeClaim/claimName");
        if name.is_empty() {
            continue;
        }
        let claim = Ref::new("PersistentVolumeClaim", &about.namespace, name);
        let Some(found) = trail.cluster.get(&claim) else {
            trail.says(about, format!("needs {claim}"));
            return Some(trail.follow(&claim));
        };
        if !is_terminating(found) && (text(found, "/status/phase") == "Bound" || waits_for_pod(trail, found)) {
            continue;
        }
        trail.says(about, format!("waits for {claim}"));
        return Some(trail.follow(&claim));
    }
    None
}

/// A claim that is provisioned when its pod is placed does not hold the pod back, unless making its volume fails.
fn waits_for_pod(trail: &Trail<'_>, claim: &Value) -> bool {
    let class = Ref::new("StorageClass", "", text(claim, "/spec/storageClassName"));
    let waits = trail.cluster.get(&class).is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer");
    waits
        && text(claim, "/spec/volumeName").is_empty()
        && trail.warning(&Ref::of(claim), &["ProvisioningFailed"]).is_none()
}

/// One piece of advice for each reason that the scheduler names.
fn remedies(trail: &Trail<'_>, pod: &Value, message: &str) -> Vec<String> {
    let mut next = Vec::new();
    if message.contains("no nodes available") {
        next.push("there is no node: `kubectl get nodes`; `roadstead up` makes this machine one".to_owned());
    }
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        if message.contains(&format!("Insufficient {resource}")) {
            next.push(resource_remedy(trail, pod, resource));
        }
    }
    if message.contains("Too many pods") {
        next.push("the node has as many pods as it takes: delete some".to_owned());
    }
    if message.contains("were unschedulable") {
        next.extend(cordon_remedy(trail, pod));
    }
    if let Some(taint) =
        between(message, "untolerated taint {", "}").or_else(|| between(message, "untolerated taint(s)", ","))
    {
        next.push(taint_remedy(taint));
    }
    if message.contains("node affinity/selector") {
        next.push(selector_remedy(trail, pod));
    }
    if message.contains("volume node affinity conflict") {
        next.push(
            "its volume lies on another node: bring that node back, or delete the claim to begin with an empty volume"
                .to_owned(),
        );
    }
    if message.contains("anti-affinity") {
        next.push(
            "its anti-affinity asks for more nodes than there are: add a node, or make the rule `preferred…`"
                .to_owned(),
        );
    } else if message.contains("pod affinity") {
        next.push(
            "no node runs a pod that its affinity asks for: start that one first, or make the rule `preferred…`"
                .to_owned(),
        );
    }
    if message.contains("topology spread") {
        next.push(
            "its topologySpreadConstraints allow no node: add one, or set whenUnsatisfiable: ScheduleAnyway".to_owned(),
        );
    }
    if message.contains("free ports") {
        next.push("another pod of the node has its hostPort: choose another port".to_owned());
    }
    if next.is_empty() {
        next.push("change what the message names, in the template or on the nodes".to_owned());
    }
    next
}

fn between<'t>(message: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner.trim())
}

/// Nothing if the pod is larger than each of the nodes that are cordoned.
fn cordon_remedy(trail: &Trail<'_>, pod: &Value) -> Option<String> {
    let cordoned: Vec<&Value> =
        trail.cluster.list("Node", "").filter(|node| node["spec"]["unschedulable"] == true).collect();
    let names: Vec<&str> =
        cordoned.iter().filter(|node| has_room_for(node, pod)).map(|node| text(node, "/metadata/name")).collect();
    match names[..] {
        [] if cordoned.is_empty() => Some("a node is cordoned: `kubectl uncordon NODE`".to_owned()),
        [] => None,
        [name] => Some(format!("node {name} is cordoned: when it may have pods again, `kubectl uncordon {name}`")),
        [first, ..] => Some(format!(
            "{} nodes are cordoned: when they may have pods again, `kubectl uncordon {first}`, or another one",
            names.len()
        )),
    }
}

/// Whether an empty node would have enough of what the pod's containers ask for.
fn has_room_for(node: &Value, pod: &Value) -> bool {
    ["cpu", "memory"].iter().all(|resource| {
        let Ok(has) = text(node, &format!("/status/allocatable/{resource}")).parse::<Quantity>() else { return true };
        let asked = asked(pod, resource).into_iter().filter_map(|asked| asked.parse::<Quantity>().ok());
        asked.reduce(|sum, one| sum + one).is_none_or(|asked| asked <= has)
    })
}

/// What each container asks for.
fn asked<'p>(pod: &'p Value, resource: &str) -> Vec<&'p str> {
    list(pod, "/spec/containers")
        .iter()
        .map(|container| text(container, &format!("/resources/requests/{resource}")))
        .filter(|asked| !asked.is_empty())
        .collect()
}

fn resource_remedy(trail: &Trail<'_>, pod: &Value, resource: &str) -> String {
    let has: Vec<String> = trail
        .cluster
        .list("Node", "")
        .map(|node| {
            format!("{} has {}", text(node, "/metadata/name"), text(node, &format!("/status/allocatable/{resource}")))
        })
        .take(3)
        .collect();
    format!(
        "it asks for {resource} {}, and of all that its pods may ask for, {}: lower resources.requests, or stop other pods",
        asked(pod, resource).join(" + "),
        has.join(", ")
    )
}

fn taint_remedy(taint: &str) -> String {
    let key = taint.split(':').next().unwrap_or(taint).trim();
    match key {
        "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
            "the node is not ready: `roadstead why node/NAME` tells more".to_owned()
        }
        _ => format!("let the pod tolerate {key:?} (spec.tolerations), or `kubectl taint node NAME {key}-`"),
    }
}

fn selector_remedy(trail: &Trail<'_>, pod: &Value) -> String {
    let wanted = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    for (key, value) in wanted.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let labels: Vec<&str> =
            trail.cluster.list("Node", "").map(|node| text(&node["metadata"]["labels"][key.as_str()], "")).collect();
        if !labels.contains(&value) {
            let found: Vec<&str> = labels.into_iter().filter(|label| !label.is_empty()).collect();
            let found = if found.is_empty() {
                "no node has this label".to_owned()
            } else {
                format!("nodes have {}", found.join(", "))
            };
            return format!("it wants a node labelled {key}={value}; {found}: `kubectl label node NAME {key}={value}`");
        }
    }
    "its node affinity fits no node: label a node, or change the rule".to_owned()
}
