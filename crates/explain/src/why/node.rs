//! Nodes.

use serde_json::Value;

use super::{Trail, Verdict};
use crate::cluster::{Ref, condition, is_true, list, text};

/// Why a node cannot be heard: `None` if it can.
pub(super) fn is_away(node: Option<&Value>) -> Option<String> {
    let Some(node) = node else { return Some("is not in the cluster any more".to_owned()) };
    let ready = condition(node, "Ready")?;
    (ready["status"] == "Unknown").then(|| format!("has not been heard since {}", text(ready, "/lastHeartbeatTime")))
}

/// What a node waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, node: &Value) -> Verdict {
    let name = &about.name;
    if let Some(says) = is_away(Some(node)) {
        trail.says(about, says);
        return Verdict::stuck([format!("look whether `roadstead` runs on {name:?}: `roadstead status` there")]);
    }
    if !is_true(node, "Ready") {
        let message = condition(node, "Ready").map_or("it has not reported yet", |ready| text(ready, "/message"));
        trail.says(about, format!("is not ready: {message}"));
        return Verdict::stuck([format!(
            "the log of `roadstead` on {name:?} says more: `roadstead status` names the file"
        )]);
    }
    if node["spec"]["unschedulable"] == true {
        trail.says(about, "is cordoned: it keeps its pods and takes no new ones");
        return Verdict::stuck([format!("`kubectl uncordon {name}`")]);
    }
    for pressure in ["DiskPressure", "MemoryPressure", "PIDPressure"] {
        if is_true(node, pressure) {
            let message = condition(node, pressure).map_or("", |found| text(found, "/message"));
            trail.says(about, format!("has {pressure}: {message}"));
            return Verdict::stuck(["free what is short on the machine; the node sees it by itself".to_owned()]);
        }
    }
    let taints: Vec<String> = list(node, "/spec/taints").iter().map(taint).collect();
    if taints.is_empty() {
        trail.says(about, "is ready");
    } else {
        trail.says(about, format!("is ready, for pods that tolerate {}", taints.join(", ")));
    }
    Verdict::fine()
}

/// A taint as kubectl writes it.
fn taint(taint: &Value) -> String {
    let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}
