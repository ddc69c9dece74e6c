//! The planner's actions carried out on a copy of the cluster.

use std::collections::BTreeSet;

use controllers_core::persistent_volumes::{CLAIM_PROTECTION, uses};
use controllers_core::stateful_set::{Action, Plan, ReadError, SetFacts, Why};
use controllers_core::words::Target;
use jiff::SignedDuration;
use meta::Timestamp;
use serde_json::{Value, json};

use super::{End, Happening};
use crate::cluster::{Cluster, Ref, has_ended, is_terminating, is_true, list, text};
use crate::why::{State, planned, typed, why};

/// Plans that a rehearsal makes at most: a set of a thousand pods needs a few for each.
const PLANS_MAX: usize = 20_000;

/// A step as it happened: when, what, to whom, and who did not serve then.
pub(super) type Happened = (Timestamp, Happening, String, Vec<String>);

/// What came out.
pub(super) struct Outcome {
    pub(super) steps: Vec<Happened>,
    /// Pods that were deleted, each with why.
    pub(super) deleted: Vec<(String, Why)>,
    /// Claims that were deleted because their set is gone.
    pub(super) left_behind: Vec<String>,
    /// The template went back to an earlier one.
    pub(super) is_rolled_back: bool,
    pub(super) pods: Vec<String>,
    pub(super) end: End,
    pub(super) ended: Timestamp,
    pub(super) cluster: Cluster,
}

/// What others do later: ideal nodes, and those who look after claims.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Later {
    Gone(String),
    Ready(String),
    Swept,
}

/// A copy of the cluster in which the change has been made.
pub(super) struct Rehearsal {
    cluster: Cluster,
    set: Ref,
    now: Timestamp,
    ready_after: SignedDuration,
    later: BTreeSet<(Timestamp, Later)>,
    steps: Vec<Happened>,
    deleted: Vec<(String, Why)>,
    left_behind: Vec<String>,
    is_rolled_back: bool,
    writes: u64,
}

/// The pods with a name that the set gives and that it owns or would adopt, with their ordinals.
pub(super) fn pods_of<'c>(cluster: &'c Cluster, set: &Ref) -> impl Iterator<Item = (i64, &'c Value)> + use<'c> {
    let uid = cluster.get(set).map(|set| text(set, "/metadata/uid").to_owned()).unwrap_or_default();
    let set = set.clone();
    cluster.list("Pod", &set.namespace).filter_map(move |pod| {
        let owned = list(pod, "/metadata/ownerReferences").iter().any(|owner| owner["uid"] == uid.as_str());
        let ordinal = ordinal_in(&set, text(pod, "/metadata/name"))?;
        owned.then_some((ordinal, pod))
    })
}

/// The ordinal in a pod's name.
pub(super) fn ordinal_in(set: &Ref, name: &str) -> Option<i64> {
    name.strip_prefix(set.name.as_str())?.strip_prefix('-')?.parse().ok()
}

impl Rehearsal {
    /// Copies the cluster and makes the change.
    pub(super) fn begin(cluster: &Cluster, after: &Value, now: Timestamp, ready_after: SignedDuration) -> Self {
        let set = Ref::of(after);
        let mut copy = cluster.clone();
        let mut changed = after.clone();
        // As the API does: a change of the specification is a new generation; the status is the stored one.
        if let Some(before) = cluster.get(&set) {
            changed["status"] = before["status"].clone();
            changed["metadata"]["uid"] = before["metadata"]["uid"].clone();
            changed["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            let differs = before["spec"] != changed["spec"];
            changed["metadata"]["generation"] = json!(generation + i64::from(differs));
        } else {
            changed["metadata"]["uid"] = json!("planned");
            changed["metadata"]["resourceVersion"] = json!("1");
            changed["metadata"]["generation"] = json!(1);
        }
        copy.insert(changed);
        let mut this = Self {
            cluster: copy,
            set,
            now,
            ready_after,
            later: BTreeSet::new(),
            steps: Vec::new(),
            deleted: Vec::new(),
            left_behind: Vec::new(),
            is_rolled_back: false,
            writes: 1 << 60,
        };
        this.expect_of_present(cluster);
        this
    }

    /// Pods that are on their way go on; those that are stuck or have ended stay as they are. Claims may be on their way
    /// too, by what happened before.
    fn expect_of_present(&mut self, cluster: &Cluster) {
        self.later.insert((self.now, Later::Swept));
        let pods: Vec<&Value> = cluster.list("Pod", &self.set.namespace).collect();
        for pod in pods {
            let name = text(pod, "/metadata/name").to_owned();
            let is_terminating = is_terminating(pod);
            let stuck = why(cluster, &Ref::of(pod), self.now).state == State::Stuck;
            if is_terminating && !stuck {
                self.later.insert((self.now, Later::Gone(name)));
            } else if !is_terminating && !stuck && !has_ended(pod) && !is_true(pod, "Ready") {
                self.later.insert((self.soon(), Later::Ready(name)));
            }
        }
    }

    /// The moment as the API writes it.
    fn wall_time(&self) -> String {
        meta::whole_seconds(self.now).to_string()
    }

    fn soon(&self) -> Timestamp {
        self.now.checked_add(self.ready_after).unwrap_or(Timestamp::MAX)
    }

    /// Plans and obeys until nothing happens any more.
    pub(super) fn run(mut self) -> Result<Outcome, ReadError> {
        let mut end = End::TooLong;
        for _ in 0..PLANS_MAX {
            let Some(set) = self.cluster.get(&self.set) else { break };
            let facts = SetFacts::read(set.to_string().as_bytes())?;
            let plan = planned(&self.cluster, &facts, self.now);
            if !plan.is_settled() {
                self.obey(&facts, &plan);
                continue;
            }
            if let Some((at, later)) = self.later.pop_first() {
                self.now = self.now.max(at);
                self.others(&facts, &later);
                continue;
            }
            match plan.look_again.filter(|at| *at > self.now) {
                Some(at) => self.now = at,
                None => {
                    end = ending(&facts, &plan);
                    break;
                }
            }
        }
        let pods = pods_of(&self.cluster, &self.set).map(|(_, pod)| text(pod, "/metadata/name").to_owned()).collect();
        let Self { steps, deleted, left_behind, is_rolled_back, now: ended, cluster, .. } = self;
        Ok(Outcome { steps, deleted, left_behind, is_rolled_back, pods, end, ended, cluster })
    }

    fn obey(&mut self, set: &SetFacts, plan: &Plan) {
        for action in plan.actions().cloned().collect::<Vec<_>>() {
            self.act(set, &action);
        }
    }

    fn act(&mut self, set: &SetFacts, action: &Action) {
        match action {
            Action::ConfirmSet { .. } => {}
            Action::CreateRevision { body, .. } => self.insert(body.clone()),
            Action::CreateClaim { name, body, .. } => {
                self.insert(body.clone());
                self.happened(Happening::CreateClaim, name);
            }
            Action::CreatePod { name, body, .. } => {
                let mut pod = body.clone();
                pod["status"] = json!({"phase": "Pending"});
                pod["metadata"]["creationTimestamp"] = json!(self.wall_time());
                self.insert(pod);
                self.later.insert((self.soon(), Later::Ready(name.clone())));
                self.happened(Happening::CreatePod, name);
            }
            Action::RenumberRevision { revision, patch, .. }
            | Action::AnnotateRevision { revision, patch }
            | Action::AdoptRevision { revision, patch } => self.change("ControllerRevision", revision, patch),
            Action::DeleteRevision { revision } => {
                self.cluster.remove(&self.named("ControllerRevision", &revision.name));
            }
            Action::AdoptPod { pod, patch }
            | Action::ReleasePod { pod, patch }
            | Action::RepairPod { pod, patch, .. } => {
                self.change("Pod", pod, patch);
            }
            Action::SetClaimOwners { claim, patch, .. } => self.change("PersistentVolumeClaim", claim, patch),
            Action::DeletePod { pod, why, .. } => {
                self.deleted.push((pod.name.clone(), *why));
                let at = self.wall_time();
                self.change("Pod", pod, &json!({"metadata": {"deletionTimestamp": at}}));
                self.later.retain(|(_, later)| *later != Later::Ready(pod.name.clone()));
                self.later.insert((self.now, Later::Gone(pod.name.clone())));
                self.happened(Happening::DeletePod, &pod.name);
            }
            Action::RollBack { patch, .. } => self.roll_back(patch),
            Action::WriteStatus { patch, .. } | Action::ReleaseSet { patch, .. } => {
                self.change("StatefulSet", &set.target(), patch);
            }
        }
    }

    /// The template goes back: the patch replaces it as a whole.
    fn roll_back(&mut self, patch: &Value) {
        self.is_rolled_back = true;
        let which = self.set.clone();
        let Some(set) = self.cluster.get_mut(&which) else { return };
        let mut template = patch["spec"]["template"].clone();
        if let Some(fields) = template.as_object_mut() {
            fields.remove("$patch");
        }
        set["spec"]["template"] = template;
        let generation = set["metadata"]["generation"].as_i64().unwrap_or(1);
        self.merge(&which, &json!({"metadata": {"generation": generation + 1}}));
    }

    /// What an ideal node does: a pod is ready, or gone. And what follows for claims.
    fn others(&mut self, set: &SetFacts, later: &Later) {
        match later {
            Later::Ready(name) => {
                let at = self.now.to_string();
                let patch = json!({"status": {"phase": "Running", "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": at},
                ]}});
                let pod = self.named("Pod", name);
                self.merge(&pod, &patch);
            }
            Later::Gone(name) => {
                self.cluster.remove(&self.named("Pod", name));
                self.sweep(set);
            }
            Later::Swept => self.sweep(set),
        }
    }

    /// Deletes the set's claims whose owners are gone, as the garbage collector does, and takes those away that are
    /// deleted and used no more.
    fn sweep(&mut self, set: &SetFacts) {
        let all = self.cluster.list("PersistentVolumeClaim", &self.set.namespace).map(Ref::of);
        let own: Vec<Ref> = all.filter(|claim| set.slot_of_claim(&claim.name).is_some()).collect();
        for claim in own {
            if self.is_orphaned(&claim) {
                let owners = self.cluster.get(&claim).map(|claim| list(claim, "/metadata/ownerReferences"));
                if owners.into_iter().flatten().any(|owner| owner["kind"] == "StatefulSet") {
                    self.left_behind.push(claim.name.clone());
                }
                let at = self.wall_time();
                self.merge(&claim, &json!({"metadata": {"deletionTimestamp": at}}));
                self.happened(Happening::DeleteClaim, &claim.name);
            }
            if self.is_let_go(&claim) {
                self.cluster.remove(&claim);
            }
        }
    }

    /// A claim that nobody deletes yet, and none of whose owners is there any more.
    fn is_orphaned(&self, claim: &Ref) -> bool {
        let Some(claim) = self.cluster.get(claim).filter(|claim| !is_terminating(claim)) else { return false };
        let is_gone = |owner: &Value| {
            let kind = text(owner, "/kind");
            let is_known = [("v1", "Pod"), ("apps/v1", "StatefulSet")].contains(&(text(owner, "/apiVersion"), kind));
            let found = self.cluster.get(&self.named(kind, text(owner, "/name")));
            is_known && found.is_none_or(|it| it["metadata"]["uid"] != owner["uid"])
        };
        let owners = list(claim, "/metadata/ownerReferences");
        !owners.is_empty() && owners.iter().all(is_gone)
    }

    /// A claim that is deleted and that neither a pod nor anybody's finalizer keeps.
    fn is_let_go(&self, claim: &Ref) -> bool {
        let Some(found) = self.cluster.get(claim).filter(|claim| is_terminating(claim)) else { return false };
        let is_held = list(found, "/metadata/finalizers").iter().any(|holder| holder != CLAIM_PROTECTION);
        let Some(facts) = typed(found).filter(|_| !is_held) else { return false };
        !self.cluster.list("Pod", &claim.namespace).filter_map(typed).any(|pod| uses(&pod, &facts))
    }

    fn happened(&mut self, what: Happening, name: &str) {
        let unavailable = self.unavailable();
        self.steps.push((self.now, what, name.to_owned(), unavailable));
    }

    /// Pods of the wanted slots that are not there, not ready, or going.
    fn unavailable(&self) -> Vec<String> {
        let Some(set) = self.cluster.get(&self.set) else { return Vec::new() };
        let first = set.pointer("/spec/ordinals/start").and_then(Value::as_i64).unwrap_or(0);
        let count = set.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        (first..first + count)
            .map(|ordinal| format!("{}-{ordinal}", self.set.name))
            .filter(|name| {
                let pod = self.cluster.get(&self.named("Pod", name));
                pod.is_none_or(|pod| !is_true(pod, "Ready") || is_terminating(pod))
            })
            .collect()
    }

    fn named(&self, kind: &str, name: &str) -> Ref {
        Ref::new(kind, &self.set.namespace, name)
    }

    fn insert(&mut self, mut object: Value) {
        self.writes += 1;
        object["metadata"]["uid"] = json!(format!("planned-{}", self.writes));
        object["metadata"]["resourceVersion"] = json!(self.writes.to_string());
        object["metadata"]["namespace"] = json!(self.set.namespace);
        self.cluster.insert(object);
    }

    fn change(&mut self, kind: &str, target: &Target, patch: &Value) {
        let which = self.named(kind, &target.name);
        self.merge(&which, patch);
    }

    fn merge(&mut self, which: &Ref, patch: &Value) {
        self.writes += 1;
        let version = self.writes.to_string();
        if let Some(object) = self.cluster.get_mut(which) {
            json_patch::merge(object, patch);
            object["metadata"]["resourceVersion"] = json!(version);
        }
    }
}

fn ending(set: &SetFacts, plan: &Plan) -> End {
    let mut waits: Vec<String> = plan.waits.iter().map(|wait| wait.on.describe(set)).collect();
    waits.dedup();
    if waits.is_empty() { End::Settled } else { End::Waits(waits) }
}
