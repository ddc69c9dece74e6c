//! Nodes and the pods that are made for them.

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use serde_json::{Value, json};

use crate::node_fit::{is_asked_for, untolerated};
use crate::pods;

/// What becomes of a node's pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// It should have one.
    Runs,
    /// It gets none, and keeps the one that it has.
    Stays,
    /// It should have none.
    Goes,
}

/// What becomes of the pod of a node.
pub(super) fn fit(spec: &PodSpec, node: &Node) -> Fit {
    let is_other = spec.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name(node));
    if is_other || !is_asked_for(spec, node) || untolerated(spec, node, &["NoExecute"]).is_some() {
        Fit::Goes
    } else if untolerated(spec, node, &["NoSchedule"]).is_some() {
        Fit::Stays
    } else {
        Fit::Runs
    }
}

pub(super) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// Tolerations that every pod of a DaemonSet has: it stays where others have to go.
pub(super) fn add_tolerations(spec: &mut Value) {
    let mut wanted = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec["hostNetwork"] == true {
        wanted.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, effect) in wanted {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    if spec.is_null() {
        *spec = json!({});
    }
    spec["tolerations"] = json!(tolerations);
    spec.as_object_mut().expect("a spec is an object").retain(|_, value| !value.is_null());
}

/// Pins a pod to a node; what the template requires of nodes has been looked at already.
pub(super) fn pin(spec: &mut Value, node: &str) {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": [term]});
}

/// The node that a pod runs on, or was made for.
pub(super) fn target_of(pod: &Pod) -> Option<&str> {
    let bound = pods::node(pod);
    if !bound.is_empty() {
        return Some(bound);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut names = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    match names.next()?.values.as_deref()? {
        [only] => Some(only),
        _ => None,
    }
}
