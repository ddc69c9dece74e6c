//! `POST pods/x/eviction`: a deletion that says why and that a disruption budget may refuse (K-33, S11).
//!
//! The decision says what becomes of the pod and of its budget; both are stored in one transaction or not at all, so
//! that a disruption is counted exactly once and no budget is ever overdrawn.

use meta::{Cause, LabelSelector, Reason, Status, Timestamp};
use serde_json::{Value, json};

use super::create::{time_text, track};
use super::delete::{Deletion, DeletionOptions, decide_delete};
use crate::kinds::KindDef;
use crate::tree::{as_object_mut, flag, has, int, items, member, object_mut, set, text};
use crate::validate::{Errors, Path};

/// Pods that may be on their way out under one budget before its controller has seen them go.
const DISRUPTED_PODS_MAX: usize = 2000;
const WOULD_VIOLATE: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// After how many seconds it makes sense to ask again while a budget is being looked at.
const RETRY_SECS: u32 = 10;
/// Who writes the status of budgets here.
const MANAGER: &str = "kube-apiserver";

/// An eviction that may go ahead.
#[derive(Clone, PartialEq, Debug)]
pub struct Eviction {
    /// What becomes of the pod.
    pub deletion: Deletion,
    /// The budget that is charged, with one disruption less; store it over the state that was decided upon.
    pub budget: Option<Value>,
}

/// Decides an eviction; `def` is the pod's row, `budget_def` that of the budgets, `budgets` all those in the namespace.
///
/// # Errors
/// 400 for another name in the body, 429 where the budget does not allow it now, 500 for several budgets, and what a
/// deletion may answer.
pub fn decide_eviction(
    def: &KindDef,
    pod: &Value,
    eviction: &Value,
    (budget_def, budgets): (&KindDef, &[&Value]),
    now: Timestamp,
) -> Result<Eviction, Status> {
    let name = text(member(pod, "metadata"), "name");
    if text(member(eviction, "metadata"), "name") != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = options_of(member(eviction, "deleteOptions"), name)?;
    let deletion = match decide_delete(def, &marked(pod, now), &options, now)? {
        // A pod that is going already still says that it was evicted.
        Deletion::Unchanged => {
            let mut marked = marked(pod, now);
            object_mut(&mut marked, "metadata").remove("resourceVersion");
            if member(&marked, "status") == member(pod, "status") {
                Deletion::Unchanged
            } else {
                Deletion::Mark(marked)
            }
        }
        deletion => deletion,
    };
    let budget = match budget_of(pod, budgets)? {
        Some(_) if meta::mutants::is_on("eviction-charges-nobody") => None,
        Some(budget) if !is_free(pod, budget) => {
            let mut charged = charge(budget, name, now)?;
            track(budget_def, Some(budget), &mut charged, MANAGER, "status", now);
            Some(charged)
        }
        Some(_) | None => None,
    };
    Ok(Eviction { deletion, budget })
}

fn options_of(options: &Value, name: &str) -> Result<DeletionOptions, Status> {
    let key = "ignoreStoreReadErrorWithClusterBreakingPotential";
    let mut errors = Errors::new();
    if flag(options, key) {
        let detail = "can not be set for pod eviction, try after removing the option";
        errors.invalid(&Path::root("deleteOptions").child(key), &Value::Bool(true), detail);
    }
    match errors.into_status("policy", "Eviction", name) {
        Some(status) => Err(status),
        None => DeletionOptions::from_tree(options),
    }
}

/// The pod with the condition that says why it goes.
fn marked(pod: &Value, now: Timestamp) -> Value {
    let mut marked = pod.clone();
    let status = object_mut(&mut marked, "status");
    let Value::Array(conditions) = status.entry("conditions").or_insert_with(|| json!([])) else { return marked };
    let old = conditions.iter().position(|old| text(old, "type") == "DisruptionTarget");
    let since = old
        .map(|index| &conditions[index])
        .filter(|old| text(old, "status") == "True")
        .map(|old| text(old, "lastTransitionTime").to_owned());
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| time_text(now)),
    });
    match old {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    marked
}

/// The budget that a running pod is under. Pods that do not run, and those that go anyway, ask nobody.
fn budget_of<'a>(pod: &Value, budgets: &[&'a Value]) -> Result<Option<&'a Value>, Status> {
    let phase = text(member(pod, "status"), "phase");
    let asks_nobody =
        matches!(phase, "Succeeded" | "Failed" | "Pending") || has(member(pod, "metadata"), "deletionTimestamp");
    if asks_nobody {
        return Ok(None);
    }
    let covers = |budget: &Value| {
        let wanted = member(member(budget, "spec"), "selector");
        let selector = LabelSelector::from_object(wanted).ok().filter(|_| !wanted.is_null());
        selector.is_some_and(|selector| !selector.selects_everything() && selector.matches_object(pod))
    };
    let covering: Vec<&Value> = budgets.iter().copied().filter(|budget| covers(budget)).collect();
    match covering.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Status {
            code: 500,
            reason: None,
            message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                .to_owned(),
            details: None,
            continue_token: None,
        }),
    }
}

/// True for a pod that is not ready and whose loss the budget does not mind: it is not counted among the healthy ones.
fn is_free(pod: &Value, budget: &Value) -> bool {
    let is_ready = items(member(pod, "status"), "conditions")
        .iter()
        .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True");
    let status = member(budget, "status");
    let [healthy, desired] = ["currentHealthy", "desiredHealthy"].map(|key| int(status, key).unwrap_or(0));
    let always = text(member(budget, "spec"), "unhealthyPodEvictionPolicy") == "AlwaysAllow";
    !is_ready && (always || healthy >= desired && desired > 0)
}

/// The budget with one disruption less, and the pod among those that are about to go.
fn charge(budget: &Value, pod: &str, now: Timestamp) -> Result<Value, Status> {
    let (metadata, status) = (member(budget, "metadata"), member(budget, "status"));
    let name = text(metadata, "name");
    let count = |key: &str| int(status, key).unwrap_or(0);
    if count("observedGeneration") < int(metadata, "generation").unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(RETRY_SECS, why));
    }
    let resource = meta::ResourceId::of("policy", "v1", "poddisruptionbudget");
    let forbidden = |short: &str, long: &str| {
        let mut refusal = Status::forbidden(&resource, name, short);
        let why = format!("The disruption budget {name} does not allow evicting pods currently: {long}");
        refusal.details.get_or_insert_default().causes.push(cause(why));
        Err(refusal)
    };
    let allowed = count("disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return forbidden(why, why);
    }
    if member(status, "disruptedPods").as_object().is_some_and(|pods| pods.len() > DISRUPTED_PODS_MAX) {
        return forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "too many pending evictions not confirmed by PDB controller",
        );
    }
    if allowed == 0 && !meta::mutants::is_on("eviction-overdraws") {
        return Err(refused(0, why_none(name, status)));
    }
    let mut charged = budget.clone();
    object_mut(&mut charged, "metadata").remove("resourceVersion");
    let new_status = as_object_mut(&mut charged).entry("status").or_insert_with(|| json!({}));
    set(new_status, "disruptionsAllowed", allowed - 1);
    object_mut(new_status, "disruptedPods").insert(pod.to_owned(), time_text(now).into());
    if allowed == 1 {
        say_that_none_is_left(new_status, now);
    }
    Ok(charged)
}

/// Why a budget allows no disruption.
fn why_none(name: &str, status: &Value) -> String {
    let condition = items(status, "conditions").iter().find(|condition| text(condition, "type") == "DisruptionAllowed");
    let [healthy, desired] = ["currentHealthy", "desiredHealthy"].map(|key| int(status, key).unwrap_or(0));
    let told = condition.filter(|it| text(it, "status") == "False" && !text(it, "message").is_empty());
    let told = told.map(|condition| (text(condition, "reason"), text(condition, "message")));
    match told {
        Some(("SyncFailed", message)) => {
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
            )
        }
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        Some((reason, message)) => {
            format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
        }
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// The condition as the budget's controller would write it.
fn say_that_none_is_left(status: &mut Value, now: Timestamp) {
    let generation = int(status, "observedGeneration").unwrap_or(0);
    let Value::Array(conditions) = as_object_mut(status).entry("conditions").or_insert_with(|| json!([])) else {
        return;
    };
    let old = conditions.iter().position(|condition| text(condition, "type") == "DisruptionAllowed");
    let since = old
        .map(|index| conditions.remove(index))
        .filter(|old| text(old, "status") == "False")
        .map(|old| text(&old, "lastTransitionTime").to_owned());
    conditions.push(json!({
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": since.unwrap_or_else(|| time_text(now)),
    }));
}

fn cause(why: String) -> Cause {
    Cause { reason: "DisruptionBudget".to_owned(), message: why, field: String::new() }
}

fn refused(retry_after_secs: u32, why: String) -> Status {
    let mut status = Status::new(Reason::TooManyRequests, WOULD_VIOLATE);
    let details = status.details.get_or_insert_default();
    details.retry_after_secs = retry_after_secs;
    details.causes.push(cause(why));
    status
}
