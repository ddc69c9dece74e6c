//! The PodDisruptionBudget planner: how many pods may be evicted now (S11).
//!
//! The budget's status is what the eviction API spends from. [`plan`] counts it anew from the pods; what an eviction has
//! taken (`disruptedPods`) is kept until its pod is going, or for [`DELETION_WAIT_SECS`]. The status is written with the
//! revision that it was counted from, so that a count never overwrites a spending that it has not seen. Start with
//! [`plan`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::{LabelSelector, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::conditions::{self, Condition};
use crate::pods::{self, after, count};
use crate::share::Share;
use crate::subject::{Facts, Kind, ReadError, Stored, Subject};
use crate::words::{Note, controller_of, is_terminating};
use crate::writes::{Plan, Write};

/// What a PodDisruptionBudget calls itself.
pub static KIND: Kind =
    Kind { api_version: "policy/v1", kind: "PodDisruptionBudget", resource: api::resources::POD_DISRUPTION_BUDGETS };

/// How long an evicted pod may take until its deletion begins; after that the eviction is forgotten.
pub const DELETION_WAIT_SECS: i64 = 120;
const ALLOWED: &str = "DisruptionAllowed";

/// How much must stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// `spec.minAvailable`.
    MinAvailable(Share),
    /// `spec.maxUnavailable`.
    MaxUnavailable(Share),
    /// Neither.
    None,
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Generation that the status is about.
    pub observed_generation: i64,
    /// Pods that an eviction has taken and that are not going yet, with the time of the eviction.
    pub disrupted_pods: BTreeMap<String, Time>,
    /// Evictions that may happen now.
    pub disruptions_allowed: i32,
    /// Healthy pods.
    pub current_healthy: i32,
    /// Healthy pods that must stay.
    pub desired_healthy: i32,
    /// Pods that there should be.
    pub expected_pods: i32,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A PodDisruptionBudget.
#[derive(Clone, PartialEq, Debug)]
pub struct BudgetFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// `spec.selector`, as it is written.
    pub selector_tree: Value,
    /// How much must stay.
    pub limit: Limit,
    /// The stored status.
    pub status: StatusFacts,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    #[serde(default)]
    selector: Value,
    min_available: Option<IntOrString>,
    max_unavailable: Option<IntOrString>,
}

impl Facts for BudgetFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        let most = spec.max_unavailable.as_ref().and_then(Share::of).map(Limit::MaxUnavailable);
        let least = spec.min_available.as_ref().and_then(Share::of).map(Limit::MinAvailable);
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            selector: LabelSelector::from_object(&spec.selector)?,
            selector_tree: spec.selector,
            limit: most.or(least).unwrap_or(Limit::None),
            status,
        })
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn selector(&self) -> &LabelSelector {
        &self.selector
    }
}

/// How many pods a controller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scale {
    /// So many.
    Wanted(i32),
    /// The controller is not there, or is another one by now.
    NotFound,
    /// The kind (as `jobs.batch`) has no scale.
    Unscalable(String),
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The budget.
    pub budget: &'a BudgetFacts,
    /// Pods that it selects.
    pub pods: Vec<&'a Pod>,
    /// Scales of the controllers of these pods, by the UID in the pods' references; a ReplicaSet that belongs to a
    /// Deployment stands for the Deployment: its entry holds the Deployment's UID and scale.
    pub scales: BTreeMap<String, (String, Scale)>,
}

/// The one fact that keeps evictions from being allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// So few pods are healthy.
    TooFewHealthy {
        /// Healthy pods.
        healthy: i32,
        /// Healthy pods that must stay.
        desired: i32,
    },
    /// It selects no pods.
    NoPods,
    /// The number of wanted pods is not known.
    NotCounted(String),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewHealthy { healthy, desired } => write!(f, "{healthy} pods are healthy and {desired} must stay"),
            Self::NoPods => f.write_str("no pod is selected"),
            Self::NotCounted(why) => f.write_str(why),
        }
    }
}

/// Counts the budget in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let budget = view.budget;
    let mut plan = Plan::default();
    if view.pods.is_empty() {
        plan.notes.push(Note::normal("NoPods", "No matching pods found"));
        plan.waits.push(Wait::NoPods);
    }
    let (expected, desired) = match expectation(view, &mut plan) {
        Ok(counts) => counts,
        Err(why) => {
            let text = format!("Failed to calculate the number of expected pods: {why}");
            plan.notes.push(Note::warning("CalculateExpectedPodCountFailed", text));
            plan.status = fail_safe(budget, &why, now);
            plan.waits.push(Wait::NotCounted(why));
            return plan;
        }
    };
    let (disrupted, forgotten) = still_disrupted(view, now);
    plan.at(disrupted.values().filter_map(|time| after(time.0, DELETION_WAIT_SECS)).min());
    for pod in forgotten {
        let budget = format!("{}/{}", budget.subject.namespace, budget.subject.name);
        let text = format!("Pod {pod} was expected by PDB {budget} to be deleted but it wasn't");
        plan.notes.push(Note::warning("NotDeleted", text));
    }
    let healthy = count(&view.pods, |pod| {
        !is_terminating(&pod.metadata) && !disrupted.contains_key(pods::name(pod)) && pods::is_ready(pod)
    });
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    if allowed == 0 {
        plan.waits.push(Wait::TooFewHealthy { healthy, desired });
    }
    plan.status = write(
        budget,
        StatusFacts {
            observed_generation: budget.subject.generation,
            disrupted_pods: disrupted,
            disruptions_allowed: allowed,
            current_healthy: healthy,
            desired_healthy: desired,
            expected_pods: expected,
            conditions: allowed_condition(budget, allowed, now),
        },
    );
    plan
}

/// How many pods there should be, and how many of them must stay healthy.
fn expectation(view: &View<'_>, plan: &mut Plan<Wait>) -> Result<(i32, i32), String> {
    match view.budget.limit {
        Limit::MinAvailable(Share::Count(least)) => Ok((count(&view.pods, |_| true), least)),
        Limit::MinAvailable(share) => {
            let expected = expected_scale(view, plan)?;
            Ok((expected, share.rounded_up(expected)))
        }
        Limit::MaxUnavailable(share) => {
            let expected = expected_scale(view, plan)?;
            Ok((expected, (expected - share.rounded_up(expected)).max(0)))
        }
        Limit::None => Ok((0, 0)),
    }
}

/// The sum of what the controllers of the pods want; pods without a controller are told of and not counted.
fn expected_scale(view: &View<'_>, plan: &mut Plan<Wait>) -> Result<i32, String> {
    let mut wanted: BTreeMap<&str, i32> = BTreeMap::new();
    let mut has_unmanaged = false;
    for pod in &view.pods {
        let Some(OwnerReference { uid, .. }) = controller_of(&pod.metadata) else {
            has_unmanaged = true;
            continue;
        };
        match view.scales.get(uid) {
            Some((controller, Scale::Wanted(scale))) => {
                wanted.insert(controller, *scale);
            }
            Some((_, Scale::Unscalable(resource))) => {
                return Err(format!("{resource} does not implement the scale subresource"));
            }
            Some((_, Scale::NotFound)) | None => {
                return Err(format!("found no controllers for pod \"{}\"", pods::name(pod)));
            }
        }
    }
    if has_unmanaged {
        let text = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status \
             of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
             pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
            go_selector(&view.budget.selector_tree)
        );
        plan.notes.push(Note::warning("UnmanagedPods", text));
    }
    Ok(wanted.values().fold(0, |sum, scale| sum.saturating_add(*scale)))
}

/// The selector as upstream's event prints it.
fn go_selector(selector: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {},", text(value))).collect();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten().map(|expression| {
        let values: Vec<String> = expression["values"].as_array().into_iter().flatten().map(text).collect();
        let (key, operator) = (text(&expression["key"]), text(&expression["operator"]));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
    });
    let expressions: String = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// Pods that an eviction took and whose deletion has not begun, and the names of those that had too long for it.
fn still_disrupted(view: &View<'_>, now: Timestamp) -> (BTreeMap<String, Time>, Vec<String>) {
    let (mut still, mut forgotten) = (BTreeMap::new(), Vec::new());
    for pod in view.pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
        let name = pods::name(pod);
        let Some(time) = view.budget.status.disrupted_pods.get(name) else { continue };
        if after(time.0, DELETION_WAIT_SECS).is_some_and(|end| end > now) {
            still.insert(name.to_owned(), time.clone());
        } else {
            forgotten.push(name.to_owned());
        }
    }
    (still, forgotten)
}

fn allowed_condition(budget: &BudgetFacts, allowed: i32, now: Timestamp) -> Vec<Condition> {
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    renewed(budget, Condition::new(ALLOWED, allowed > 0, reason, "", now))
}

/// With the condition, its generation brought up to date, and a message though it is empty (the field is required).
fn renewed(budget: &BudgetFacts, new: Condition) -> Vec<Condition> {
    let message = new.message.clone().unwrap_or_default();
    let mut renewed = conditions::with(&budget.status.conditions, new);
    for condition in renewed.iter_mut().filter(|condition| condition.kind == ALLOWED) {
        condition.observed_generation = Some(budget.subject.generation);
        condition.message = Some(message.clone());
    }
    renewed
}

/// When nothing can be counted, nothing may be evicted.
fn fail_safe(budget: &BudgetFacts, why: &str, now: Timestamp) -> Option<Write> {
    let status = StatusFacts {
        observed_generation: budget.subject.generation,
        disruptions_allowed: 0,
        conditions: renewed(budget, Condition::new(ALLOWED, false, "SyncFailed", why, now)),
        ..budget.status.clone()
    };
    write(budget, status)
}

fn write(budget: &BudgetFacts, after: StatusFacts) -> Option<Write> {
    assert!(after.disruptions_allowed >= 0, "a budget is never overdrawn (S11)");
    if after == budget.status {
        return None;
    }
    // A merge patch keeps what it does not name: names that are no longer disrupted are taken off one by one.
    let mut disrupted = json!({});
    for name in budget.status.disrupted_pods.keys() {
        disrupted[name] = Value::Null;
    }
    for (name, time) in &after.disrupted_pods {
        disrupted[name] = json!(time);
    }
    Some(budget.subject.write_status(json!({
        "observedGeneration": after.observed_generation,
        "disruptedPods": if after.disrupted_pods.is_empty() { Value::Null } else { disrupted },
        "disruptionsAllowed": after.disruptions_allowed,
        "currentHealthy": after.current_healthy,
        "desiredHealthy": after.desired_healthy,
        "expectedPods": after.expected_pods,
        "conditions": after.conditions,
    })))
}
