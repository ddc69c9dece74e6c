//! The ReplicaSet planner: so many pods of a template, names as they come.
//!
//! [`plan`] looks at a [`View`] and returns a plan. It follows upstream's controller where clients can see it: which pods
//! go first in a scale-down ([`crate::rank`]), slow start, adoption and release, the condition `ReplicaFailure`. Deliberately
//! different: among pods that have been ready for about as long, restarts decide before the UID, so that the order is a
//! total one. Start with [`plan`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use meta::{LabelSelector, Timestamp};
use serde_json::{Value, json};

use crate::conditions::{self, Condition};
use crate::pods::{self, count};
use crate::replicas::{SetFacts, StatusFacts};
use crate::subject::{Candidate, Claim, claim, take_over};
use crate::writes::{BURST_MAX, Failure, Plan, create_pod, delete_pod, slow_start};

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a SetFacts,
    /// Pods that the set controls, and pods without a controller; others may be among them.
    pub pods: Vec<&'a Pod>,
    /// Active pods by node, of all ReplicaSets with the same controller: pods that share a node go first.
    pub neighbours: BTreeMap<String, usize>,
    /// What went wrong when the last plan was carried out.
    pub failure: Option<&'a Failure>,
}

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Pods are being taken over or let go first.
    Adoption,
    /// The set is being deleted.
    SetDeleted,
    /// More pods are to be made or deleted than one plan does.
    Burst {
        /// How many are left for later plans.
        left: usize,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adoption => f.write_str("pods are taken over or let go"),
            Self::SetDeleted => f.write_str("the set is being deleted"),
            Self::Burst { left } => write!(f, "{left} more pods follow"),
        }
    }
}

/// Decides the next steps for the set in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let set = view.set;
    let (active, rest): (Vec<&Pod>, Vec<&Pod>) = view.pods.iter().partition(|pod| pods::is_active(pod));
    let is_ours = |pod: &&Pod| claim(&set.subject, &set.selector, Candidate::of(&pod.metadata)) == Claim::Ours;
    let members: Vec<&Pod> = active.iter().copied().filter(is_ours).collect();
    let terminating =
        count(&rest, |pod| is_ours(pod) && !pods::has_ended(pod) && crate::words::is_terminating(&pod.metadata));
    let mut plan = Plan { status: status(view, &members, terminating, now), ..Plan::default() };
    if members.iter().any(|pod| !pods::is_available(pod, set.min_ready_secs, now)) {
        plan.at(pods::next_available(members.iter().copied(), set.min_ready_secs, now));
    }
    if set.subject.deleting {
        plan.waits.push(Wait::SetDeleted);
        return plan;
    }
    let candidates = active.iter().map(|pod| Candidate::of(&pod.metadata));
    let takeover = take_over(&set.subject, &set.selector, &api::resources::PODS, candidates);
    if !takeover.is_empty() {
        plan.stages = takeover;
        plan.waits.push(Wait::Adoption);
        return plan;
    }
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    let off = wanted.abs_diff(members.len());
    let now_done = off.min(BURST_MAX);
    if off > now_done {
        plan.waits.push(Wait::Burst { left: off - now_done });
    }
    if members.len() < wanted {
        let body = pods::from_template(&set.subject, &set.template);
        plan.stages = slow_start((0..now_done).map(|_| create_pod(body.clone())).collect());
    } else if now_done > 0 {
        let chosen = crate::rank::first_to_go(members, &view.neighbours, now);
        plan.stages = vec![chosen.into_iter().take(now_done).map(|pod| delete_pod(pods::target(pod))).collect()];
    }
    plan
}

/// The status counted anew, if it differs from the stored one.
fn status(view: &View<'_>, members: &[&Pod], terminating: i32, now: Timestamp) -> Option<crate::writes::Write> {
    let set = view.set;
    let labels = LabelSelector::from_labels(set.template_labels());
    let fits = |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|found| labels.matches(found));
    let replicas = count(members, |_| true);
    let after = StatusFacts {
        observed_generation: set.subject.generation,
        replicas,
        fully_labeled_replicas: count(members, |pod| fits(pod)),
        ready_replicas: count(members, |pod| pods::is_ready(pod)),
        available_replicas: count(members, |pod| pods::is_available(pod, set.min_ready_secs, now)),
        terminating_replicas: Some(terminating),
        conditions: conditions(view, replicas, now),
    };
    debug_assert!(after.available_replicas <= after.ready_replicas && after.ready_replicas <= after.replicas);
    if after == set.status {
        return None;
    }
    let unless_zero = |number: i32| if number == 0 { Value::Null } else { json!(number) };
    Some(set.subject.write_status(json!({
        "observedGeneration": after.observed_generation,
        "replicas": after.replicas,
        "fullyLabeledReplicas": unless_zero(after.fully_labeled_replicas),
        "readyReplicas": unless_zero(after.ready_replicas),
        "availableReplicas": unless_zero(after.available_replicas),
        "terminatingReplicas": terminating,
        "conditions": if after.conditions.is_empty() { Value::Null } else { json!(after.conditions) },
    })))
}

/// `ReplicaFailure` while pods cannot be made or deleted; conditions of others are left alone.
fn conditions(view: &View<'_>, replicas: i32, now: Timestamp) -> Vec<Condition> {
    const FAILURE: &str = "ReplicaFailure";
    let stored = &view.set.status.conditions;
    let Some(failure) = view.failure else { return conditions::without(stored, FAILURE) };
    if conditions::find(stored, FAILURE).is_some() {
        return stored.clone();
    }
    let reason = match replicas.cmp(&view.set.replicas) {
        std::cmp::Ordering::Less => "FailedCreate",
        std::cmp::Ordering::Greater => "FailedDelete",
        std::cmp::Ordering::Equal => return stored.clone(),
    };
    conditions::with(stored, Condition::new(FAILURE, true, reason, &failure.message, now))
}
