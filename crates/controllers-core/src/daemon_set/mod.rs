//! The DaemonSet planner: one pod on every node that the template asks for.
//!
//! [`plan`] looks at a [`View`] and returns a plan. A pod is pinned to its node by node affinity and placed by the
//! scheduler. It follows upstream's controller where clients can see it. Deliberately different: a pod that failed is
//! replaced when it is [`REPLACEMENT_AGE_SECS_MIN`] old, as a StatefulSet's is, and not after a pause that grows from
//! node to node in a memory. Start with [`plan`].

mod nodes;
mod revision;
mod update;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use meta::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub use view::{KIND, SetFacts, StatusFacts, UpdateStrategy, View};

use crate::pods;
use crate::subject::{Candidate, Claim, claim, take_over};
use crate::words::{Note, is_terminating};
use crate::writes::{BURST_MAX, Plan, Write, create_pod, delete_pod, slow_start};
use nodes::Fit;

/// Label of pods and revisions that holds the template's hash.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// Youngest age, in seconds, at which a pod that failed is replaced.
pub const REPLACEMENT_AGE_SECS_MIN: i64 = 2;

/// The one fact that a step waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Pods or revisions are being taken over or let go first.
    Adoption,
    /// The set is being deleted.
    Deleted,
    /// The selector selects everything, which is refused.
    SelectsEverything,
    /// The revision's name is taken by another template's; it gets another name.
    NameTaken(String),
    /// As many nodes are without an available pod as may be.
    BudgetSpent {
        /// Nodes without an available pod, or with two pods.
        used: i32,
        /// How many may be.
        allowed: i32,
    },
    /// The update strategy is OnDelete: somebody has to delete this pod.
    OnDelete(String),
    /// This pod failed so soon after it was made that it is replaced only at this time.
    FailedEarly(String, Timestamp),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adoption => f.write_str("pods or revisions are taken over or let go"),
            Self::Deleted => f.write_str("the set is being deleted"),
            Self::SelectsEverything => f.write_str("the selector selects everything"),
            Self::NameTaken(name) => write!(f, "revision {name} is of another template"),
            Self::BudgetSpent { used, allowed } => write!(f, "{used} of {allowed} nodes are being updated"),
            Self::OnDelete(pod) => write!(f, "{pod} has to be deleted by somebody"),
            Self::FailedEarly(pod, at) => write!(f, "{pod} failed at once and is replaced at {at}"),
        }
    }
}

/// The set's pods by node; within a node the oldest first.
type ByNode<'v> = BTreeMap<&'v str, Vec<&'v Pod>>;

/// What a plan is made of before it is one.
struct Walk<'v> {
    set: &'v SetFacts,
    nodes: Vec<(&'v Node, Fit)>,
    by_node: ByNode<'v>,
    hash: String,
    now: Timestamp,
    make: Vec<&'v str>,
    delete: Vec<&'v Pod>,
    plan: Plan<Wait>,
}

/// Decides the next steps for the set in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan<Wait> {
    let set = view.set;
    if set.selector.selects_everything() {
        let text = "This daemon set is selecting all pods. A non-empty selector is required.";
        let notes = vec![Note::warning("SelectingAll", text)];
        return Plan { notes, waits: vec![Wait::SelectsEverything], ..Plan::default() };
    }
    if set.subject.deleting {
        return Plan { waits: vec![Wait::Deleted], ..Plan::default() };
    }
    let revisions = view.revisions.iter().map(|revision| Candidate::of(&revision.metadata));
    let mut stages = take_over(&set.subject, &set.selector, &api::resources::CONTROLLER_REVISIONS, revisions);
    let pods = view.pods.iter().map(|pod| Candidate::of(&pod.metadata));
    stages.extend(take_over(&set.subject, &set.selector, &api::resources::PODS, pods));
    if !stages.is_empty() {
        return Plan { stages, waits: vec![Wait::Adoption], ..Plan::default() };
    }
    let (hash, prepare) = match revision::choose(view) {
        revision::Choice::Taken { name, status } => {
            return Plan { status: Some(*status), waits: vec![Wait::NameTaken(name)], ..Plan::default() };
        }
        revision::Choice::Hash { hash, prepare } => (hash, prepare),
    };
    let mut walk = Walk::new(view, hash, now);
    walk.visit_nodes();
    if walk.make.is_empty() && walk.delete.is_empty() {
        update::roll(&mut walk);
    }
    let tidy = revision::surplus(view, &walk.hash);
    walk.into_plan(prepare, tidy)
}

impl<'v> Walk<'v> {
    fn new(view: &View<'v>, hash: String, now: Timestamp) -> Self {
        let set = view.set;
        let mut template = set.template.clone();
        nodes::add_tolerations(&mut template["spec"]);
        let spec = PodSpec::deserialize(&template["spec"]).unwrap_or_default();
        let is_ours = |pod: &&&Pod| claim(&set.subject, &set.selector, Candidate::of(&pod.metadata)) == Claim::Ours;
        let is_left = |pod: &&&Pod| !(pods::has_ended(pod) && is_terminating(&pod.metadata));
        let mut by_node: ByNode<'v> = BTreeMap::new();
        for pod in view.pods.iter().filter(is_ours).filter(is_left).copied() {
            if let Some(node) = nodes::target_of(pod) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        for on_node in by_node.values_mut() {
            on_node.sort_by_key(|pod| (pods::node(pod).is_empty(), created(pod), pods::name(pod).to_owned()));
        }
        let nodes = view.nodes.iter().map(|node| (*node, nodes::fit(&spec, node))).collect();
        Self { set, nodes, by_node, hash, now, make: Vec::new(), delete: Vec::new(), plan: Plan::default() }
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        pods::label(pod, HASH_LABEL) == Some(self.hash.as_str())
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.set.min_ready_secs, self.now)
    }

    /// Nodes that lack a pod, and pods that should not be where they are.
    fn visit_nodes(&mut self) {
        for (node, fit) in self.nodes.clone() {
            let name = nodes::name(node);
            let here = self.by_node.get(name).cloned().unwrap_or_default();
            match fit {
                Fit::Runs if here.is_empty() => self.make.push(name),
                Fit::Runs | Fit::Stays => self.visit(name, &here, fit == Fit::Runs),
                Fit::Goes => self.delete.extend(here.iter().filter(|pod| !is_terminating(&pod.metadata))),
            }
        }
        // Pods for nodes that are gone, and that no node has taken yet.
        let known: Vec<&str> = self.nodes.iter().map(|(node, _)| nodes::name(node)).collect();
        let lost = self.by_node.iter().filter(|(node, _)| !known.contains(*node)).flat_map(|(_, pods)| pods);
        let lost = lost.filter(|pod| pods::node(pod).is_empty() && !is_terminating(&pod.metadata));
        self.delete.extend(lost.copied().collect::<Vec<_>>());
    }

    /// One node that may have pods: those that have ended go, and so do those that are too many.
    fn visit(&mut self, node: &'v str, here: &[&'v Pod], should_run: bool) {
        let mut running = Vec::new();
        for pod in here.iter().copied().filter(|pod| !is_terminating(&pod.metadata)) {
            match pods::phase(pod) {
                "Failed" => self.replace_failed(node, pod),
                "Succeeded" => {
                    let text =
                        format!("Found succeeded daemon pod {} on node {node}, will try to delete it", path(pod));
                    self.plan.notes.push(Note::normal("SucceededDaemonPod", text));
                    self.delete.push(pod);
                }
                _ => running.push(pod),
            }
        }
        if !self.set.allows_surge() {
            self.delete.extend(running.iter().skip(1));
            return;
        }
        if running.is_empty() && should_run {
            self.make.push(node);
            return;
        }
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().copied().partition(|pod| self.is_updated(pod));
        self.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pods::is_ready(old) || self.is_available(new))
        {
            self.delete.push(old);
        }
    }

    fn replace_failed(&mut self, node: &str, pod: &'v Pod) {
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
        let from = pods::after(created, REPLACEMENT_AGE_SECS_MIN).unwrap_or(Timestamp::MIN);
        if from > self.now {
            self.plan.at(Some(from));
            self.plan.waits.push(Wait::FailedEarly(pods::name(pod).to_owned(), from));
            return;
        }
        let text = format!("Found failed daemon pod {} on node {node}, will try to kill it", path(pod));
        self.plan.notes.push(Note::warning("FailedDaemonPod", text));
        self.delete.push(pod);
    }

    fn into_plan(mut self, prepare: Vec<Write>, tidy: Vec<Write>) -> Plan<Wait> {
        let status = self.status();
        let pods = self.by_node.values().flatten().copied();
        let next = pods::next_available(pods, self.set.min_ready_secs, self.now);
        self.plan.at(next);
        let make = self.make.iter().take(BURST_MAX).map(|node| create_pod(self.body(node))).collect();
        let delete: Vec<Write> = self.delete.iter().take(BURST_MAX).map(|pod| delete_pod(pods::target(pod))).collect();
        let mut plan = self.plan;
        plan.stages = prepare.into_iter().map(|write| vec![write]).collect();
        plan.stages.extend((!delete.is_empty()).then_some(delete));
        plan.stages.extend(slow_start(make));
        plan.stages.extend((!tidy.is_empty()).then_some(tidy));
        plan.status = status;
        plan
    }

    /// The pod of a node: the template, pinned to it.
    fn body(&self, node: &str) -> Value {
        let mut body = pods::from_template(&self.set.subject, &self.set.template);
        body["metadata"]["labels"][HASH_LABEL] = json!(self.hash);
        nodes::add_tolerations(&mut body["spec"]);
        nodes::pin(&mut body["spec"], node);
        body
    }

    fn status(&self) -> Option<Write> {
        let mut after = StatusFacts {
            observed_generation: self.set.subject.generation,
            collision_count: self.set.status.collision_count,
            ..StatusFacts::default()
        };
        for (node, fit) in &self.nodes {
            let first = self.by_node.get(nodes::name(node)).and_then(|pods| pods.first());
            match (fit, first) {
                (Fit::Runs, first) => {
                    after.desired_number_scheduled += 1;
                    let Some(pod) = first else { continue };
                    after.current_number_scheduled += 1;
                    after.number_ready += i32::from(pods::is_ready(pod));
                    after.number_available += i32::from(self.is_available(pod));
                    after.updated_number_scheduled += i32::from(self.is_updated(pod));
                }
                (Fit::Stays | Fit::Goes, Some(_)) => after.number_misscheduled += 1,
                (Fit::Stays | Fit::Goes, None) => {}
            }
        }
        after.number_unavailable = after.desired_number_scheduled - after.number_available;
        if after == self.set.status {
            return None;
        }
        let unless_zero = |count: i32| if count == 0 { Value::Null } else { json!(count) };
        Some(self.set.subject.write_status(json!({
            "observedGeneration": after.observed_generation,
            "desiredNumberScheduled": after.desired_number_scheduled,
            "currentNumberScheduled": after.current_number_scheduled,
            "numberMisscheduled": after.number_misscheduled,
            "numberReady": after.number_ready,
            "updatedNumberScheduled": unless_zero(after.updated_number_scheduled),
            "numberAvailable": unless_zero(after.number_available),
            "numberUnavailable": unless_zero(after.number_unavailable),
        })))
    }
}

fn path(pod: &Pod) -> String {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pods::name(pod))
}
