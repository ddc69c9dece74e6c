//! The Deployment planner: ReplicaSets that replace each other.
//!
//! [`plan`] looks at a [`View`] and returns a plan. It follows upstream's controller where clients can see it: names and
//! hashes of ReplicaSets, annotations, the rolling update's arithmetic, proportional scaling, conditions with their
//! reasons and texts. One plan takes one step (a new ReplicaSet, or its annotations, or the next scaling); the next step
//! is planned from what that one made. Deliberately different: pods that a ReplicaSet is about to delete no longer count
//! as available, so that no stale count lets a rollout fall below its minimum. Start with [`plan`].

mod rolling;
mod scale;
mod sets;
mod status;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;
use serde_json::json;

pub use view::{DeploymentFacts, KIND, StatusFacts, Strategy, View};

use crate::pods;
use crate::subject::take_over;
use crate::words::{Note, controller_of};
use crate::writes::{Plan, Write};
use sets::{NewSet, Sets};

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// ReplicaSets are being taken over or let go first.
    Adoption,
    /// The Deployment is being deleted.
    Deleted,
    /// `spec.paused`: it scales, but does not roll.
    Paused,
    /// The selector selects everything, which is refused.
    SelectsEverything,
    /// The new ReplicaSet's name is taken by another template's; it gets another name.
    NameTaken(String),
    /// Recreate: old pods are still there.
    OldPodsRunning(usize),
    /// The new ReplicaSet has pods that are not available.
    NotAvailable {
        /// The new ReplicaSet.
        set: String,
        /// How many of its pods.
        unavailable: i32,
    },
    /// The new ReplicaSet is complete; old pods are still going.
    OldPodsLeft(i32),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adoption => f.write_str("replica sets are taken over or let go"),
            Self::Deleted => f.write_str("the deployment is being deleted"),
            Self::Paused => f.write_str("the deployment is paused"),
            Self::SelectsEverything => f.write_str("the selector selects everything"),
            Self::NameTaken(name) => write!(f, "replica set {name} is of another template"),
            Self::OldPodsRunning(count) => write!(f, "{count} old pods are still running"),
            Self::NotAvailable { set, unavailable } => write!(f, "{unavailable} pods of {set} are not available"),
            Self::OldPodsLeft(count) => write!(f, "{count} old pods are going"),
        }
    }
}

/// Decides the next step for the Deployment in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let deployment = view.deployment;
    if deployment.selector.selects_everything() {
        return refuse_everything(deployment);
    }
    let sets = Sets::sort(view);
    let base = status::base_conditions(view, &sets, now);
    if deployment.subject.deleting {
        let status = status::plain(view, &sets, &base, now);
        return Plan { status, waits: vec![Wait::Deleted], ..Plan::default() };
    }
    let candidates = view.sets.iter().map(|set| set.subject.candidate());
    let takeover = take_over(&deployment.subject, &deployment.selector, &crate::replicas::KIND.resource, candidates);
    if !takeover.is_empty() {
        return Plan { stages: takeover, waits: vec![Wait::Adoption], ..Plan::default() };
    }
    if let Some(plan) = sets::sync_revision(view, &sets) {
        return plan;
    }
    if deployment.paused || scale::is_asked_for(deployment, &sets) {
        return scale_only(view, &sets, &base, now);
    }
    match deployment.strategy {
        Strategy::RollingUpdate { .. } => roll(view, &sets, &base, now),
        Strategy::Recreate => recreate(view, &sets, &base, now),
    }
}

/// Upstream refuses such a Deployment with an event, and says only that it has seen it.
fn refuse_everything(deployment: &DeploymentFacts) -> Plan<Wait> {
    const TEXT: &str = "This deployment is selecting all pods. A non-empty selector is required.";
    let is_news = deployment.status.observed_generation < deployment.subject.generation;
    let observed = || deployment.subject.write_status(json!({"observedGeneration": deployment.subject.generation}));
    Plan {
        status: is_news.then(observed),
        notes: vec![Note::warning("SelectingAll", TEXT)],
        waits: vec![Wait::SelectsEverything],
        ..Plan::default()
    }
}

/// A paused Deployment, or one whose `spec.replicas` has changed: sizes only, in proportion.
fn scale_only(view: &View<'_>, sets: &Sets<'_>, base: &status::Conditions, now: Timestamp) -> Plan<Wait> {
    let deployment = view.deployment;
    let mut writes = scale::scale(deployment, sets);
    let mut waits = Vec::new();
    if deployment.paused {
        writes.extend(sets::surplus(deployment, sets, &writes));
        waits.push(Wait::Paused);
    }
    Plan { stages: stage(writes), status: status::plain(view, sets, base, now), waits, ..Plan::default() }
}

fn roll(view: &View<'_>, sets: &Sets<'_>, base: &status::Conditions, now: Timestamp) -> Plan<Wait> {
    let deployment = view.deployment;
    let new = match &sets.new {
        NewSet::Found(new) => *new,
        NewSet::Missing(missing) => return sets::make(view, sets, missing, base, now),
    };
    let mut writes: Vec<Write> = rolling::grow(deployment, sets, new).into_iter().collect();
    if writes.is_empty() {
        writes = rolling::shrink(deployment, sets, new);
    }
    finish(view, sets, base, writes, now)
}

fn recreate(view: &View<'_>, sets: &Sets<'_>, base: &status::Conditions, now: Timestamp) -> Plan<Wait> {
    let deployment = view.deployment;
    let active = sets.old.iter().filter(|set| set.replicas > 0);
    let down: Vec<Write> = active.filter_map(|set| scale::resize(deployment, set, 0)).collect();
    if !down.is_empty() {
        return finish(view, sets, base, down, now);
    }
    let running = old_pods_running(view, sets);
    if running > 0 {
        let mut plan = finish(view, sets, base, Vec::new(), now);
        plan.waits.insert(0, Wait::OldPodsRunning(running));
        return plan;
    }
    match &sets.new {
        NewSet::Missing(missing) => sets::make(view, sets, missing, base, now),
        NewSet::Found(new) if new.replicas != deployment.replicas => {
            let up = scale::resize(deployment, new, deployment.replicas).into_iter().collect();
            finish(view, sets, base, up, now)
        }
        NewSet::Found(_) => finish(view, sets, base, Vec::new(), now),
    }
}

/// Pods of old ReplicaSets that may still run; their own counts too, for a ReplicaSet that is behind.
fn old_pods_running(view: &View<'_>, sets: &Sets<'_>) -> usize {
    let is_old = |pod: &&&Pod| {
        let owner = controller_of(&pod.metadata).map(|owner| owner.uid.as_str());
        owner.is_some_and(|uid| sets.old.iter().any(|set| set.subject.uid.0 == uid))
    };
    let pods = view.pods.iter().filter(is_old).filter(|pod| !pods::has_ended(pod)).count();
    let counted: i32 = sets.old.iter().map(|set| set.status.replicas).sum();
    pods.max(usize::try_from(counted).unwrap_or(0))
}

/// A step of a rollout with the status that belongs to it; old ReplicaSets beyond the history limit go when it is done.
fn finish(
    view: &View<'_>,
    sets: &Sets<'_>,
    base: &status::Conditions,
    mut writes: Vec<Write>,
    now: Timestamp,
) -> Plan<Wait> {
    let deployment = view.deployment;
    let waits = waits(deployment, sets);
    if writes.is_empty() && status::is_complete(deployment, &deployment.status) {
        writes = sets::surplus(deployment, sets, &[]);
    }
    let (status, look_again) = status::rollout(view, sets, base, now);
    Plan { stages: stage(writes), status, waits, look_again, ..Plan::default() }
}

fn waits(deployment: &DeploymentFacts, sets: &Sets<'_>) -> Vec<Wait> {
    let NewSet::Found(new) = &sets.new else { return Vec::new() };
    let unavailable = new.replicas - new.status.available_replicas;
    let left = sets.old.iter().map(|set| set.status.replicas).sum();
    if unavailable > 0 {
        vec![Wait::NotAvailable { set: new.subject.name.clone(), unavailable }]
    } else if left > 0 && new.replicas == deployment.replicas {
        vec![Wait::OldPodsLeft(left)]
    } else {
        Vec::new()
    }
}

fn stage(writes: Vec<Write>) -> Vec<Vec<Write>> {
    if writes.is_empty() { Vec::new() } else { vec![writes] }
}
