//! `plan`: what a change does before it does it.
//!
//! The planner that acts runs on a copy of the cluster, whose nodes are ideal: a pod that is made becomes ready after
//! the time that this set's pods took so far, one that is deleted is gone at once, and one that is stuck now stays so.
//! Start with [`forecast`].

mod cause;
mod change;
mod rehearsal;
mod words;

use jiff::SignedDuration;
use meta::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use change::{FieldChange, changed_fields};

use crate::cluster::{Cluster, Ref, text};
use crate::why::why;
use cause::Causes;
use rehearsal::Rehearsal;

/// What a change of a StatefulSet does.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The set as it is typed after `kubectl get`.
    pub set: String,
    /// The fields that differ.
    pub fields: Vec<FieldChange>,
    /// What becomes of each pod, by ordinal.
    pub pods: Vec<PodFate>,
    /// Claims that are made or deleted; all others stay as they are.
    pub claims: Vec<ClaimFate>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// How it ends.
    pub end: End,
    /// What somebody has to do then, most likely first, if it does not go on by itself.
    pub next: Vec<String>,
    /// How long a pod took from its creation to readiness so far, in milliseconds: the median of the set's ready pods.
    /// `None` if no pod tells.
    pub ready_after_ms: Option<i64>,
    /// How long it takes by that history, in milliseconds, without the time that pods need to stop.
    pub takes_ms: Option<i64>,
}

/// What becomes of a pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFate {
    /// Its name.
    pub pod: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The fields that cause it: those that change, and those that ask for it all the time.
    pub because: Vec<String>,
}

/// What becomes of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It stays as it is.
    Nothing,
    /// It is new.
    Created,
    /// It is deleted and made anew, with its name and its volumes, but for those whose claim is `Created`: they are empty.
    Recreated,
    /// It is deleted.
    Deleted,
}

/// What becomes of a claim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimFate {
    /// Its name.
    pub claim: String,
    /// `Created`, or `Deleted`: its bytes are gone then.
    pub fate: Fate,
    /// The fields that cause it, as with a pod.
    pub because: Vec<String>,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What.
    pub what: Happening,
    /// The pod or claim.
    pub name: String,
    /// When, in milliseconds after the change; `None` where no history tells.
    pub after_ms: Option<i64>,
    /// Pods of the set that do not serve right after it.
    pub unavailable: Vec<String>,
}

/// What happens in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Happening {
    /// A claim is made.
    CreateClaim,
    /// A claim and its bytes are deleted, as the retention policy asks, or asked.
    DeleteClaim,
    /// A pod is made.
    CreatePod,
    /// A pod is deleted.
    DeletePod,
}

/// How it ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Everything is as the change asks.
    Settled,
    /// It comes to a standstill: what it waits for, each a sentence.
    Waits(Vec<String>),
    /// More happens than is looked at here.
    TooLong,
}

/// What a change of a set to `after` does to the objects in `cluster`, which holds the set as it is now (if it is there
/// at all) and its pods, claims, revisions, service, nodes and events. `after` is the object as the API would store it.
///
/// # Errors
/// If the set cannot be read.
pub fn forecast(
    cluster: &Cluster,
    after: &Value,
    now: Timestamp,
) -> Result<Forecast, controllers_core::stateful_set::ReadError> {
    let about = Ref::of(after);
    let before = cluster.get(&about);
    let fields = before.map_or_else(Vec::new, |before| changed_fields(before, after));
    let ready_after = history(cluster, &about);
    let rehearsal = Rehearsal::begin(cluster, after, now, ready_after.unwrap_or(SignedDuration::from_secs(1)));
    let outcome = rehearsal.run()?;
    let timed = |at: Timestamp| ready_after.map(|_| millis(at.duration_since(now)));
    let causes = Causes {
        fields: &fields,
        after,
        deleted: &outcome.deleted,
        left_behind: &outcome.left_behind,
        is_rolled_back: outcome.is_rolled_back,
    };
    let steps: Vec<Step> = outcome
        .steps
        .into_iter()
        .map(|(at, what, name, unavailable)| Step { what, name, after_ms: timed(at), unavailable })
        .collect();
    Ok(Forecast {
        set: about.to_string(),
        pods: fates(cluster, &about, &outcome.pods, &steps, &causes),
        claims: claim_fates(&steps, &causes),
        fields,
        steps,
        ready_after_ms: ready_after.map(millis),
        next: if matches!(outcome.end, End::Waits(_)) {
            why(&outcome.cluster, &about, outcome.ended).next
        } else {
            Vec::new()
        },
        takes_ms: if outcome.end == End::Settled { timed(outcome.ended) } else { None },
        end: outcome.end,
    })
}

/// The cluster after the change of a set has been carried out on it by ideal nodes.
///
/// # Errors
/// If the set cannot be read.
pub fn rehearse(
    cluster: &Cluster,
    after: &Value,
    now: Timestamp,
) -> Result<Cluster, controllers_core::stateful_set::ReadError> {
    Ok(Rehearsal::begin(cluster, after, now, SignedDuration::from_secs(1)).run()?.cluster)
}

fn millis(length: SignedDuration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// The median time from creation to readiness of the set's pods that have not been restarted.
fn history(cluster: &Cluster, set: &Ref) -> Option<SignedDuration> {
    let mut taken: Vec<SignedDuration> =
        rehearsal::pods_of(cluster, set).filter_map(|(_, pod)| readiness_time(pod)).collect();
    taken.sort();
    taken.get(taken.len() / 2).copied()
}

fn readiness_time(pod: &Value) -> Option<SignedDuration> {
    let ready = crate::cluster::condition(pod, "Ready").filter(|ready| ready["status"] == "True")?;
    let restarted = crate::cluster::list(pod, "/status/containerStatuses").iter().any(|one| one["restartCount"] != 0);
    if restarted {
        return None;
    }
    let from = crate::cluster::time(pod, "/metadata/creationTimestamp")?;
    let until = crate::cluster::time(ready, "/lastTransitionTime")?;
    Some(until.duration_since(from)).filter(|taken| !taken.is_negative())
}

fn fates(cluster: &Cluster, set: &Ref, after: &[String], steps: &[Step], causes: &Causes<'_>) -> Vec<PodFate> {
    let mut names: Vec<(i64, String)> = rehearsal::pods_of(cluster, set)
        .map(|(ordinal, pod)| (ordinal, text(pod, "/metadata/name").to_owned()))
        .collect();
    names.extend(after.iter().filter_map(|name| Some((rehearsal::ordinal_in(set, name)?, name.clone()))));
    names.sort();
    names.dedup();
    let does = |what, name: &str| steps.iter().any(|step| step.what == what && step.name == name);
    names
        .into_iter()
        .map(|(_, pod)| {
            let fate = match (does(Happening::DeletePod, &pod), does(Happening::CreatePod, &pod)) {
                (false, false) => Fate::Nothing,
                (false, true) => Fate::Created,
                (true, true) => Fate::Recreated,
                (true, false) => Fate::Deleted,
            };
            let because = causes.of_pod(&pod, fate);
            PodFate { pod, fate, because }
        })
        .collect()
}

fn claim_fates(steps: &[Step], causes: &Causes<'_>) -> Vec<ClaimFate> {
    steps
        .iter()
        .filter_map(|step| {
            let fate = match step.what {
                Happening::CreateClaim => Fate::Created,
                Happening::DeleteClaim => Fate::Deleted,
                Happening::CreatePod | Happening::DeletePod => return None,
            };
            Some(ClaimFate { claim: step.name.clone(), fate, because: causes.of_claim(&step.name, fate) })
        })
        .collect()
}

impl Forecast {
    /// Whether the change does nothing at all.
    pub fn is_nothing(&self) -> bool {
        self.fields.is_empty() && self.steps.is_empty()
    }
}
