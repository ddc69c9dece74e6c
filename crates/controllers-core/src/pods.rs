//! What controllers read of pods: phases, readiness, availability; and pods made from templates.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use meta::Timestamp;
use serde_json::{Value, json};

use crate::conditions::Condition;
use crate::subject::Subject;
use crate::words::{Target, is_terminating};

/// `status.phase`, or `Pending`.
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .filter(|phase| !phase.is_empty())
        .unwrap_or("Pending")
}

/// Failed or Succeeded: it will never run again.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

/// Neither ended nor going away.
pub fn is_active(pod: &Pod) -> bool {
    !has_ended(pod) && !is_terminating(&pod.metadata)
}

/// A condition by type.
pub fn condition<'p>(pod: &'p Pod, wanted: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == wanted)
}

/// The conditions of a pod that is about to be disrupted: those that it has, and the reason, last.
pub fn disrupted(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Vec<Value> {
    let disruption = Condition::new("DisruptionTarget", true, reason, message, now);
    let stored = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let others = stored.into_iter().flatten().filter(|condition| condition.type_ != disruption.kind);
    others.map(|condition| json!(condition)).chain([json!(disruption)]).collect()
}

/// Since when the Ready condition is True; `None` if it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// The Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// From when on the pod counts as available: ready for `min_ready_secs`; `None` if it is not ready.
pub fn available_from(pod: &Pod, min_ready_secs: i32) -> Option<Timestamp> {
    available_after(ready_since(pod)?, min_ready_secs)
}

/// From when on a pod counts as available that has been ready since a moment.
pub fn available_after(ready_since: Timestamp, min_ready_secs: i32) -> Option<Timestamp> {
    if min_ready_secs <= 0 { Some(Timestamp::MIN) } else { after(ready_since, i64::from(min_ready_secs)) }
}

/// Ready for `min_ready_secs`.
pub fn is_available(pod: &Pod, min_ready_secs: i32, now: Timestamp) -> bool {
    available_from(pod, min_ready_secs).is_some_and(|from| from <= now)
}

/// The earliest later moment at which one of the pods becomes available.
pub fn next_available<'p>(
    pods: impl IntoIterator<Item = &'p Pod>,
    min_ready_secs: i32,
    now: Timestamp,
) -> Option<Timestamp> {
    pods.into_iter().filter_map(|pod| available_from(pod, min_ready_secs)).filter(|from| *from > now).min()
}

/// A moment so many seconds later, if time reaches that far.
pub fn after(moment: Timestamp, seconds: i64) -> Option<Timestamp> {
    moment.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
}

/// As the API writes times: whole seconds.
pub fn stamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metadata.name`, or nothing.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `metadata.uid`, or nothing.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// A label's value.
pub fn label<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// An annotation's value.
pub fn annotation<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The node that a pod is bound to; empty if none.
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// This state of a pod, as the precondition of a write.
pub fn target(pod: &Pod) -> Target {
    Target::of(&pod.metadata)
}

/// The number of things that are so.
pub fn count<T>(things: impl IntoIterator<Item = T>, mut is_so: impl FnMut(&T) -> bool) -> i32 {
    i32::try_from(things.into_iter().filter(|thing| is_so(thing)).count()).unwrap_or(i32::MAX)
}

/// A pod of `owner` made from a template: its labels, annotations, finalizers and spec, under a generated name.
pub fn from_template(owner: &Subject, template: &Value) -> Value {
    let mut metadata = json!({
        "generateName": format!("{}-", owner.name),
        "namespace": owner.namespace,
        "ownerReferences": [owner.owner_reference()],
    });
    for copied in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{copied}")).filter(|value| !value.is_null()) {
            metadata[copied] = value.clone();
        }
    }
    let spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}
