//! S11: an eviction is charged to the budget that the pod is under, once, and no budget is overdrawn.

use store_core::EventKind;

use super::Found;
use super::history::{History, PODS, Past, State};
use crate::wire::Call;

const BUDGETS: &str = "/registry/policy/poddisruptionbudgets/";
/// An eviction changes a pod and a budget in one transaction: their revisions lie side by side.
const SIDE_BY_SIDE: u64 = 2;

fn allowed(budget: &State) -> i64 {
    budget.tree()["status"]["disruptionsAllowed"].as_i64().unwrap_or(0)
}

/// A budget was committed.
pub fn committed(past: &Past) -> Found {
    if past.key.starts_with(BUDGETS) && allowed(&past.after) < 0 {
        return vec![("S11", format!("{} allows {} disruptions", past.key, allowed(&past.after)))];
    }
    Found::new()
}

fn covers(budget: &State, pod: &State) -> bool {
    let wanted = budget.tree()["spec"]["selector"]["matchLabels"].as_object();
    let labels = &pod.tree()["metadata"]["labels"];
    budget.namespace() == pod.namespace()
        && wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// An eviction was granted.
pub fn answered(call: &Call, history: &History, from: u64) -> Found {
    if call.subresource != "eviction" {
        return Found::new();
    }
    let key = format!("{PODS}{}/{}", call.namespace, call.name);
    let mut effects = history.of_kind(PODS, from, history.revision()).filter(|past| past.key == key);
    let Some(effect) = effects.find(|past| past.kind == EventKind::Deleted || past.after.is_terminating()) else {
        return Found::new();
    };
    let runs = |pod: &&std::sync::Arc<State>| {
        !pod.is_terminating() && pod.tree()["status"]["phase"] == "Running" && pod.is_ready()
    };
    let Some(before) = effect.before.as_ref().filter(runs) else { return Found::new() };
    let budgets = history.snapshot(BUDGETS, effect.revision.saturating_sub(1 + SIDE_BY_SIDE));
    let mut found = Found::new();
    for (budget, _) in budgets.iter().filter(|(_, budget)| covers(budget, before)) {
        let near = effect.revision.saturating_sub(SIDE_BY_SIDE + 1);
        let mut charges = history.of_kind(BUDGETS, near, effect.revision + SIDE_BY_SIDE).filter(|past| {
            let counted = past.before.as_ref().is_some_and(|before| allowed(&past.after) == allowed(before) - 1);
            past.key == **budget && counted && past.after.tree()["status"]["disruptedPods"][&call.name].is_string()
        });
        if charges.next().is_none() {
            found.push(("S11", format!("{} is evicted at {} and {budget} is not charged", call.name, effect.revision)));
        }
    }
    found
}
