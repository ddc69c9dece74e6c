//! `POST pods/x/eviction`: a deletion that says why (K-33).
//!
//! There are no disruption budgets yet, so an eviction is never refused; the place to ask them is here.

use meta::{Status, Timestamp};
use serde_json::{Value, json};

use super::create::time_text;
use super::delete::{Deletion, DeletionOptions, decide_delete};
use crate::kinds::KindDef;
use crate::tree::{has, member, object_mut, text};

/// Decides an eviction; `def` is the pod's row.
///
/// # Errors
/// 400 for another name in the body, and what a deletion may answer.
pub fn decide_eviction(def: &KindDef, pod: &Value, eviction: &Value, now: Timestamp) -> Result<Deletion, Status> {
    let name = text(member(pod, "metadata"), "name");
    let given = text(member(eviction, "metadata"), "name");
    if !given.is_empty() && given != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = DeletionOptions::from_tree(member(eviction, "deleteOptions"))?;
    let finished = matches!(text(member(pod, "status"), "phase"), "Succeeded" | "Failed");
    if finished || has(member(pod, "metadata"), "deletionTimestamp") {
        return decide_delete(def, pod, &options, now);
    }
    let mut marked = pod.clone();
    let status = object_mut(&mut marked, "status");
    if let Value::Array(conditions) = status.entry("conditions").or_insert_with(|| json!([])) {
        conditions.retain(|old| text(old, "type") != "DisruptionTarget");
        conditions.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastProbeTime": null,
            "lastTransitionTime": time_text(now),
        }));
    }
    decide_delete(def, &marked, &options, now)
}
