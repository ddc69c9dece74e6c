//! S6: the order in which a set's pods are created, deleted and updated, and how many may be away.
//!
//! A controller acts on caches that lag. It must not act on less than its own last write, so the rule is: between its
//! last write to the set's pods and this one there was a moment at which the step was right.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Object;
use meta::Status;
use serde_json::Value;
use store_core::EventKind;

use super::Found;
use super::history::{History, PODS, Past, REVISIONS, SETS, State};
use super::rollout::Rollout;
use super::writes::key;
use crate::process::EPOCH_SECS;
use crate::wire::{Call, Verb};

/// Clocks of two parts, and a plan and its write, are that close to each other.
const ROUNDING_MILLIS: u64 = 100;
/// How old what a controller acts on may be where nothing fails.
pub(super) const LAG_MILLIS_MAX: u64 = 3_000;

/// Follows the set controller's writes.
#[derive(Debug, Default)]
pub struct Order {
    /// Revision when the controllers that live now began.
    began: u64,
    incarnation: u64,
    /// Revision of their last write to the pods of a set.
    pods: BTreeMap<String, u64>,
    /// What they made and were told so: the UID by the key.
    made: BTreeMap<String, String>,
    /// Clocks are wrong: nothing is said about times.
    pub clocks_differ: bool,
    /// They are wrong by more than a drift.
    pub clocks_jumped: bool,
    /// Nothing fails in this run: caches lag by no more than [`LAG_MILLIS_MAX`].
    pub is_calm: bool,
    /// Of which revisions it makes pods.
    pub rollout: Rollout,
}

/// A pod at a moment.
#[derive(Clone, Debug)]
struct PodAt {
    ready_since: Option<u64>,
    ever_ready: bool,
    terminating: bool,
    ended: bool,
    revision: String,
}

/// A set at a moment.
#[derive(Clone, Debug)]
struct SetAt {
    replicas: u64,
    start: u64,
    parallel: bool,
    on_delete: bool,
    partition: u64,
    unavailable_max: u64,
    min_ready_millis: u64,
    /// Pods that were never ready are replaced whatever the budget.
    heals: bool,
    deleting: bool,
}

type Pods = BTreeMap<u64, PodAt>;

impl SetAt {
    fn of(set: &Value) -> Self {
        let spec = &set["spec"];
        let rolling = &spec["updateStrategy"]["rollingUpdate"];
        let replicas = spec["replicas"].as_u64().unwrap_or(1);
        let unavailable_max = match &rolling["maxUnavailable"] {
            Value::Number(number) => number.as_u64().unwrap_or(1),
            Value::String(text) => {
                let percent: Option<u64> = text.strip_suffix('%').and_then(|number| number.parse().ok());
                percent.map_or(1, |percent| replicas * percent / 100)
            }
            _ => 1,
        };
        Self {
            replicas,
            start: spec["ordinals"]["start"].as_u64().unwrap_or(0),
            parallel: spec["podManagementPolicy"] == "Parallel",
            on_delete: spec["updateStrategy"]["type"] == "OnDelete",
            partition: rolling["partition"].as_u64().unwrap_or(0),
            unavailable_max,
            min_ready_millis: spec["minReadySeconds"].as_u64().unwrap_or(0) * 1000,
            heals: heals(set),
            deleting: !set["metadata"]["deletionTimestamp"].is_null(),
        }
    }

    fn has(&self, ordinal: u64) -> bool {
        (self.start..self.start + self.replicas).contains(&ordinal)
    }

    fn available(&self, pod: Option<&PodAt>, now: u64, exact: bool) -> bool {
        let Some(pod) = pod.filter(|pod| !pod.terminating && !pod.ended) else { return false };
        pod.ready_since.is_some_and(|since| !exact || since + self.min_ready_millis <= now + ROUNDING_MILLIS)
    }
}

/// Whether a set asks that pods which never became ready are replaced without a person.
pub fn heals(set: &Value) -> bool {
    set["metadata"]["annotations"]["roadstead.dev/heal-rollout"] == "never-ready"
}

fn pod_at(past: &Past, before: Option<&PodAt>) -> PodAt {
    let tree = past.after.tree();
    let conditions = tree["status"]["conditions"].as_array();
    let condition = conditions.into_iter().flatten().find(|one| one["type"] == "Ready" && one["status"] == "True");
    let ready = condition.is_some();
    // The node's own time, which the controller goes by too: the write of it may have come later.
    let since = condition.and_then(|one| one["lastTransitionTime"].as_str()?.parse::<meta::Timestamp>().ok());
    let since = since.and_then(|since| u64::try_from(since.as_millisecond() - EPOCH_SECS * 1000).ok());
    let since = since.or(before.and_then(|before| before.ready_since)).unwrap_or(past.at_millis);
    PodAt {
        ready_since: ready.then_some(since),
        ever_ready: ready || before.is_some_and(|before| before.ever_ready),
        terminating: past.after.is_terminating(),
        ended: matches!(tree["status"]["phase"].as_str(), Some("Failed" | "Succeeded")),
        revision: tree["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The set that controls an object: name and UID.
pub(super) fn controller(object: &Value) -> Option<(&str, &str)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "StatefulSet")?;
    Some((owner["name"].as_str()?, owner["uid"].as_str()?))
}

pub(super) fn ordinal_of(pod: &str, set: &str) -> Option<u64> {
    pod.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

/// Every state of a set's pods from a revision on, with its time.
fn timeline(history: &History, namespace: &str, set: &str, uid: &str, from: u64, upto: u64) -> Vec<(u64, Pods)> {
    let mut pods = Pods::new();
    let mut states = Vec::new();
    let mut begun = from == 0;
    if begun {
        states.push((0, pods.clone()));
    }
    for past in history.of_kind(PODS, 0, upto) {
        if past.revision > from && !begun {
            begun = true;
            states.push((past.at_millis, pods.clone()));
        }
        let state: &State = &past.after;
        if state.namespace() != namespace {
            continue;
        }
        let Some(ordinal) = ordinal_of(state.name(), set) else { continue };
        if past.kind == EventKind::Deleted {
            pods.remove(&ordinal);
        } else if controller(state.tree()).is_some_and(|(_, owner)| owner == uid) {
            let at = pod_at(past, pods.get(&ordinal));
            pods.insert(ordinal, at);
        } else {
            pods.remove(&ordinal);
        }
        if begun {
            states.push((past.at_millis, pods.clone()));
        }
    }
    if states.is_empty() {
        states.push((0, pods));
    }
    states
}

/// Whether there was a moment in `[from, upto]` at which as many pods as a set wants were ready and of a revision.
pub(super) fn was_complete(history: &History, set: &State, revision: &str, from: u64, upto: u64) -> bool {
    let wanted = SetAt::of(set.tree()).replicas;
    let done = |pod: &&PodAt| pod.revision == revision && pod.ready_since.is_some() && !pod.terminating;
    let states = timeline(history, set.namespace(), set.name(), set.uid(), from, upto);
    states.iter().any(|(_, pods)| pods.values().filter(done).count() as u64 >= wanted)
}

/// Every state of a set that a controller may have acted on.
fn sets(history: &History, key: &str, uid: &str, from: u64, upto: u64) -> Vec<SetAt> {
    let mut seen = Vec::new();
    for past in history.of_kind(SETS, 0, upto).filter(|past| past.key == key && past.after.uid() == uid) {
        if past.revision <= from {
            seen.clear();
        }
        seen.push(SetAt::of(past.after.tree()));
    }
    seen
}

/// Names of the revisions that were the newest one of a set at some time from a revision on.
fn newest_revisions(history: &History, uid: &str, from: u64, upto: u64) -> Vec<String> {
    let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
    let mut seen: Vec<String> = Vec::new();
    for past in history.of_kind(REVISIONS, 0, upto) {
        let tree = past.after.tree();
        if controller(tree).is_none_or(|(_, owner)| owner != uid) {
            continue;
        }
        if past.kind == EventKind::Deleted {
            numbers.remove(past.after.name());
        } else {
            numbers.insert(past.after.name().to_owned(), tree["revision"].as_i64().unwrap_or(0));
        }
        if past.revision <= from {
            seen.clear();
        }
        if let Some((name, _)) = numbers.iter().max_by_key(|(_, number)| **number) {
            seen.push(name.clone());
        }
    }
    seen
}

/// A creation by the set controller.
#[derive(Clone, Debug)]
pub struct Made {
    incarnation: u64,
    key: String,
}

impl Made {
    /// What a request would make, if it is such a creation.
    pub fn of(call: &Call) -> Option<Self> {
        let counts = ["pods", "persistentvolumeclaims", "controllerrevisions"].contains(&&*call.resource.resource);
        let is_made = counts && call.verb == Verb::Create && call.subresource.is_empty();
        (is_made && call.user.ends_with(":statefulset-controller"))
            .then(|| Self { incarnation: call.incarnation, key: key(call) })
    }
}

impl Order {
    /// New controllers began.
    pub fn began(&mut self, incarnation: u64, revision: u64) {
        self.incarnation = incarnation;
        self.began = revision;
        self.pods.clear();
        self.made.clear();
        self.rollout.began(incarnation, revision);
    }

    /// The set controller was told that it made something.
    pub fn acknowledged(&mut self, call: &Made, uid: &str) {
        if call.incarnation == self.incarnation {
            self.made.insert(call.key.clone(), uid.to_owned());
        }
    }

    /// A request was refused: nobody makes what he knows he has made (B4).
    pub fn refused(&self, call: &Call, history: &History, why: &Status) -> Found {
        let Some(made) = Made::of(call).filter(|made| made.incarnation == self.incarnation) else {
            return Found::new();
        };
        let (there, mine) = (history.get(&made.key), self.made.get(&made.key));
        let is_mine = there.zip(mine).is_some_and(|(there, mine)| there.uid() == mine && !there.is_terminating());
        if is_mine && why.is_already_exists() {
            return vec![(
                "S6",
                format!("{call}, which it made itself and was told so: it acts on less than it wrote"),
            )];
        }
        Found::new()
    }

    /// A write of the set controller was done: where nothing fails, each changes something (B13).
    pub fn idle(&self, call: &Call, from: u64, object: &Object) -> Found {
        let is_status = call.verb == Verb::Patch && call.subresource == "status";
        let is_ours = is_status && call.user.ends_with(":statefulset-controller");
        if self.is_calm && is_ours && object.resource_version.0 <= from {
            return vec![("L2", format!("{call} changes nothing"))];
        }
        Found::new()
    }

    /// The set controller did something to a pod, between two revisions.
    pub fn done(&mut self, call: &Call, history: &History, from: u64) -> Found {
        let is_pod = call.resource.resource == "pods" && call.subresource.is_empty();
        if !is_pod || !call.user.ends_with(":statefulset-controller") || call.incarnation != self.incarnation {
            return Found::new();
        }
        let key = format!("{PODS}{}/{}", call.namespace, call.name);
        let mut effects = history.of_kind(PODS, from, history.revision()).filter(|past| past.key == key);
        let effect = match call.verb {
            Verb::Create => effects.find(|past| past.kind == EventKind::Created),
            Verb::Delete => effects.find(|past| past.kind == EventKind::Deleted || past.after.is_terminating()),
            _ => None,
        };
        let Some(effect) = effect.cloned() else { return Found::new() };
        let subject = if call.verb == Verb::Create { Some(&effect.after) } else { effect.before.as_ref() };
        let Some(subject) = subject.filter(|state| !(call.verb == Verb::Delete && state.is_terminating())) else {
            return Found::new();
        };
        let subject = Arc::clone(subject);
        let Some((set, uid)) = controller(subject.tree()) else {
            return vec![("S8", format!("{call} by the set controller, and no set owns it"))];
        };
        let base = self.pods.get(uid).copied().unwrap_or(self.began).min(effect.revision - 1);
        let found = self.judge(call.verb, history, &effect, (set, uid), base);
        self.pods.insert(uid.to_owned(), effect.revision);
        found
    }

    fn judge(&self, verb: Verb, history: &History, effect: &Past, (set, uid): (&str, &str), base: u64) -> Found {
        let state = &effect.after;
        let Some(ordinal) = ordinal_of(state.name(), set) else {
            return vec![("S6", format!("{} is no pod of {set}", state.name()))];
        };
        let upto = effect.revision - 1;
        let key = format!("{SETS}{}/{set}", state.namespace());
        let since = if self.is_calm {
            history.revision_at(effect.at_millis.saturating_sub(LAG_MILLIS_MAX))
        } else {
            self.began.min(base)
        };
        let specs = sets(history, &key, uid, since, upto);
        let pods = timeline(history, state.namespace(), set, uid, base, upto);
        let newest = newest_revisions(history, uid, base, upto);
        let now = effect.at_millis;
        let right = specs.iter().any(|spec| {
            pods.iter().any(|(_, pods)| match verb {
                Verb::Create => self.may_create(spec, pods, ordinal, now),
                _ => self.may_delete(spec, pods, ordinal, now, &newest),
            })
        });
        if right {
            return Found::new();
        }
        let word = if verb == Verb::Create { "created" } else { "deleted" };
        let what = format!(
            "{} is {word} at {} though it was never its turn since {base}: {:?}, {:?}",
            state.name(),
            effect.revision,
            specs.last(),
            pods.last().map(|(_, pods)| pods)
        );
        vec![("S6", what)]
    }

    fn may_create(&self, spec: &SetAt, pods: &Pods, ordinal: u64, now: u64) -> bool {
        let lower = spec.start..ordinal;
        let exact = !self.clocks_differ;
        spec.has(ordinal)
            && !spec.deleting
            && (spec.parallel || lower.into_iter().all(|one| spec.available(pods.get(&one), now, exact)))
    }

    fn may_delete(&self, spec: &SetAt, pods: &Pods, ordinal: u64, now: u64, newest: &[String]) -> bool {
        let Some(pod) = pods.get(&ordinal) else { return false };
        if spec.deleting {
            return false;
        }
        if pod.ended {
            return true;
        }
        let exact = !self.clocks_differ;
        if !spec.has(ordinal) {
            let higher = pods.iter().any(|(other, _)| *other > ordinal && !spec.has(*other));
            let mut lower = (spec.start..spec.start + spec.replicas).filter(|one| *one < ordinal);
            // A slot that is to go may go although it is not ready; those below it may not be waiting.
            return spec.parallel || !higher && lower.all(|one| spec.available(pods.get(&one), now, false));
        }
        let outdated = |pod: &PodAt| newest.iter().any(|name| pod.revision != *name);
        // Healing asks neither strategy nor budget nor order. Below the partition it is the newest revision that a slot
        // would not get, if a partition was raised meanwhile (docs/decisions/0016).
        let is_held_back = ordinal < spec.start + spec.partition;
        if spec.heals && !pod.ever_ready && (is_held_back || outdated(pod)) {
            return true;
        }
        if spec.on_delete || is_held_back || !outdated(pod) {
            return false;
        }
        // A Parallel set replaces a broken outdated pod whatever the budget: it serves nobody (C-75c).
        let unknown = self.clocks_differ && spec.min_ready_millis > 0;
        if spec.parallel && (unknown || !spec.available(Some(pod), now.saturating_sub(2 * ROUNDING_MILLIS), exact)) {
            return true;
        }
        let range = spec.start..spec.start + spec.replicas;
        let away = range.filter(|one| *one != ordinal && !spec.available(pods.get(one), now, exact)).count() as u64;
        let higher = pods.iter().any(|(other, pod)| {
            *other > ordinal && spec.has(*other) && newest.iter().all(|name| pod.revision != *name) && !pod.terminating
        });
        !higher && away < spec.unavailable_max.max(1)
    }
}
