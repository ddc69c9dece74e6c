//! The objects as last seen, and what `up` says of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use controllers_core::stateful_set::{Fact, HealRollout, Ordinal, SetFacts, Step, View, Wait, plan};
use explain::Ref;
use images::Transfer;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::DynamicObject;
use meta::Timestamp;

/// Namespace and name.
pub(super) type Key = (String, String);

/// Everything `up` waits for, as last seen.
#[derive(Default, Debug)]
pub struct World {
    /// Sets that were applied; their pods are waited for.
    pub awaited_sets: Vec<Key>,
    /// Pods that were applied without a set.
    pub awaited_pods: Vec<Key>,
    /// Whether the server heals rollouts of sets that say nothing about it.
    pub heal_rollout: HealRollout,
    /// Images on their way to this machine.
    pub transfers: Vec<Transfer>,
    sets: BTreeMap<Key, SetFacts>,
    pub(super) pods: BTreeMap<Key, Pod>,
    claims: BTreeMap<Key, PersistentVolumeClaim>,
    revisions: BTreeMap<Key, ControllerRevision>,
    pub(super) warnings: BTreeMap<Key, String>,
}

/// One line: who, and what it is doing or waiting for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Line {
    /// Name of the pod.
    pub name: String,
    /// What it does, or the one thing it waits for.
    pub doing: String,
    /// How far it is with that; changes too often to be printed each time.
    pub so_far: Option<String>,
    /// Ready.
    pub done: bool,
    /// It will not get further by itself: what to do about it.
    pub stuck: Option<Remedy>,
}

/// Where it stands what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Here.
    Words(&'static str),
    /// In the answer of `why` about this object.
    Why(Ref),
}

/// A change that a follower saw; `true` if the object is there.
pub(super) enum Seen {
    Set(Box<DynamicObject>, bool),
    Pod(Box<Pod>, bool),
    Claim(Box<PersistentVolumeClaim>, bool),
    Revision(Box<ControllerRevision>, bool),
    Event(Box<Event>),
}

impl World {
    /// The lines, sets in the order applied, pods by ordinal.
    pub fn report(&self, now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        for set in self.awaited_sets.iter().filter_map(|key| self.sets.get(key)) {
            self.report_set(set, now, &mut lines);
        }
        for key in &self.awaited_pods {
            lines.push(self.pod_line(key));
        }
        lines
    }

    /// An awaited set that is not there: it was applied, so somebody has deleted it.
    pub fn vanished_set(&self) -> Option<&str> {
        self.awaited_sets.iter().find(|key| !self.sets.contains_key(*key)).map(|key| key.1.as_str())
    }

    fn report_set(&self, set: &SetFacts, now: Timestamp, lines: &mut Vec<Line>) {
        let pods = in_namespace(&self.pods, &set.namespace);
        let claims = in_namespace(&self.claims, &set.namespace);
        let revisions = in_namespace(&self.revisions, &set.namespace);
        // Whether its Service exists changes notes only, and `up` has already said so.
        let view = View::of(set, pods, claims, revisions, true).with_heal_rollout(self.heal_rollout);
        let waits = plan(&view, now).waits;
        let present: BTreeSet<Ordinal> = view.pods.iter().filter_map(|pod| pod.ordinal).collect();
        let slots: BTreeSet<Ordinal> = (set.start..set.end()).map(Ordinal).collect();
        for ordinal in slots.union(&present) {
            let of_it = waits.iter().find(|wait| concerns(wait.step, *ordinal));
            let condemned = !set.has_slot(*ordinal);
            lines.push(self.slot_line(set, *ordinal, present.contains(ordinal), condemned, of_it));
        }
    }

    /// The line of a slot, or of a pod above the range.
    fn slot_line(&self, set: &SetFacts, ordinal: Ordinal, present: bool, condemned: bool, wait: Option<&Wait>) -> Line {
        let key = (set.namespace.clone(), set.pod_name(ordinal));
        let mut line = if present { self.pod_line(&key) } else { Line { name: key.1.clone(), ..Line::default() } };
        let Some(Wait { step, on }) = wait else {
            if condemned {
                line.done = false;
                line.doing = "waits for its removal".to_owned();
            } else if !present {
                line.doing = "waits for its creation".to_owned();
            }
            return line;
        };
        match (step, on) {
            // These hold for good until somebody changes the set or the pod: such a pod is as it was asked to be.
            (Step::Update(_), Fact::OnDelete(_) | Fact::Partition(_)) => {}
            (Step::Settle(_), Fact::Missing(_)) => {
                let warning = self.warnings.get(&(set.namespace.clone(), set.name.clone()));
                let warning = warning.map(|w| format!(": {w}")).unwrap_or_default();
                line.doing = format!("waits for its creation{warning}");
            }
            // What the pod itself does says more than that it is not ready, and a ready one is ready.
            (Step::Settle(_), Fact::NotReady(_) | Fact::NotAvailable(..) | Fact::Terminating(_)) => {}
            (Step::ScaleDown(_), Fact::Terminating(of)) if *of == ordinal => {
                line.done = false;
                line.doing = "stopping: the set is smaller now".to_owned();
            }
            (Step::Update(_), Fact::Terminating(of)) if *of == ordinal => {
                line.done = false;
                line.doing = "stopping for its update".to_owned();
                // Whatever was wrong with it goes with it.
                line.stuck = None;
            }
            (step, on) => {
                line.done = false;
                line.doing = format!("{}: {}", waiting(*step), on.describe(set));
                let about = || Remedy::Why(Ref::new("StatefulSet", &set.namespace, &set.name));
                line.stuck = needs_somebody(on).then(about);
            }
        }
        line
    }

    pub(super) fn take(&mut self, seen: Seen) -> Result<()> {
        match seen {
            Seen::Set(set, true) => {
                let json = serde_json::to_vec(&set)?;
                let name = set.name_any();
                let facts = SetFacts::read(&json).with_context(|| format!("StatefulSet {name} cannot be followed"))?;
                self.sets.insert(key_of(&*set), facts);
            }
            Seen::Set(set, false) => drop(self.sets.remove(&key_of(&*set))),
            Seen::Pod(pod, there) => put(&mut self.pods, *pod, there),
            Seen::Claim(claim, there) => put(&mut self.claims, *claim, there),
            Seen::Revision(revision, there) => put(&mut self.revisions, *revision, there),
            Seen::Event(event) => {
                if event.type_.as_deref() == Some("Warning") {
                    let about = &event.involved_object;
                    let key = (about.namespace.clone().unwrap_or_default(), about.name.clone().unwrap_or_default());
                    self.warnings.insert(key, event.message.clone().unwrap_or_default());
                }
            }
        }
        Ok(())
    }
}

/// Whether a step that is not taken is this slot's.
fn concerns(step: Step, ordinal: Ordinal) -> bool {
    match step {
        Step::Create(of) | Step::Replace(of) | Step::ScaleDown(of) | Step::Update(of) | Step::Settle(of) => {
            of == ordinal
        }
        Step::All => true,
    }
}

/// What a step that is not taken keeps a pod from.
fn waiting(step: Step) -> &'static str {
    match step {
        Step::Create(_) => "waits for its creation",
        Step::Replace(_) => "waits for its replacement",
        Step::ScaleDown(_) => "waits for its removal",
        Step::Update(_) => "waits for its update",
        Step::Settle(_) | Step::All => "waits",
    }
}

/// Whether a fact does not come by itself.
fn needs_somebody(on: &Fact) -> bool {
    match on {
        Fact::NameTaken(_) | Fact::StorageMismatch(_) => true,
        Fact::NotReady(_)
        | Fact::NotAvailable(..)
        | Fact::Terminating(_)
        | Fact::EndedEarly(..)
        | Fact::Missing(_)
        | Fact::BudgetSpent { .. }
        | Fact::OnDelete(_)
        | Fact::Partition(_)
        | Fact::ClaimTerminating(_)
        | Fact::ClaimStale(_)
        | Fact::Adoption
        | Fact::RollingBack
        | Fact::SetDeleted => false,
    }
}

fn in_namespace<'m, K>(objects: &'m BTreeMap<Key, K>, namespace: &str) -> impl Iterator<Item = &'m K> + use<'m, K> {
    let first = (namespace.to_owned(), String::new());
    let namespace = namespace.to_owned();
    objects.range(first..).take_while(move |(key, _)| key.0 == namespace).map(|(_, object)| object)
}

fn put<K: ResourceExt>(objects: &mut BTreeMap<Key, K>, object: K, there: bool) {
    let key = key_of(&object);
    if there {
        objects.insert(key, object);
    } else {
        objects.remove(&key);
    }
}

fn key_of<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn set(spec: &Value) -> DynamicObject {
        let mut whole = json!({
            "replicas": 3, "serviceName": "redis",
            "selector": {"matchLabels": {"app": "redis"}},
            "template": {"metadata": {"labels": {"app": "redis"}}, "spec": {"containers": []}},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "redis", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": "5"},
            "spec": whole,
            "status": {"replicas": 0, "observedGeneration": 1},
        }))
        .expect("a set")
    }

    /// A pod of the set's own template unless its revision is said to be another.
    fn pod(name: &str, status: &Value, revision: &str) -> Pod {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "uid": "u", "controller": true});
        let ordinal = name.strip_prefix("redis-").unwrap_or_default();
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "default", "uid": name, "resourceVersion": "6", "ownerReferences": [owner],
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {
                    "app": "redis", "controller-revision-hash": revision,
                    "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": ordinal,
                },
            },
            "spec": {"containers": [], "nodeName": "n", "hostname": name, "subdomain": "redis"},
            "status": status,
        }))
        .expect("a pod")
    }

    fn revision_of(set: &DynamicObject) -> String {
        let facts = SetFacts::read(&serde_json::to_vec(set).expect("json")).expect("facts");
        let view = View::of(&facts, [], [], [], true);
        plan(&view, Timestamp::UNIX_EPOCH).status_after.update_revision
    }

    fn ready() -> Value {
        let since = "2026-01-01T00:00:10Z";
        json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        })
    }

    fn check(spec: &Value, pods: &[(&str, Value, Option<&str>)], expected: &Expect) {
        let set = set(spec);
        let current = revision_of(&set);
        let mut world = World { awaited_sets: vec![("default".into(), "redis".into())], ..World::default() };
        world.take(Seen::Set(Box::new(set), true)).expect("the set is read");
        for (name, status, revision) in pods {
            let pod = pod(name, status, revision.unwrap_or(&current));
            world.take(Seen::Pod(Box::new(pod), true)).expect("the pod is taken");
        }
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        let mut text = String::new();
        for line in world.report(now) {
            let mark = if line.done { "+" } else { "-" };
            text.push_str(&format!("{mark} {}: {}\n", line.name, line.doing));
            if let Some(Remedy::Why(about)) = line.stuck {
                text.push_str(&format!("  do: as why says of {about}\n"));
            }
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn pods_that_are_not_there_wait_for_what_the_planner_waits_for() {
        check(
            &json!({}),
            &[("redis-0", ready(), None)],
            &expect![[r#"
                + redis-0: ready
                - redis-1: waits for its creation
                - redis-2: waits for its creation: redis-1 does not exist yet
            "#]],
        );
        check(
            &json!({"podManagementPolicy": "Parallel"}),
            &[("redis-0", ready(), None)],
            &expect![[r#"
                + redis-0: ready
                - redis-1: waits for its creation
                - redis-2: waits for its creation
            "#]],
        );
    }

    #[test]
    fn a_missing_image_is_a_verdict_with_a_remedy() {
        let status = json!({"phase": "Pending", "containerStatuses": [{
            "name": "redis", "image": "redis:nope", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
        }]});
        check(
            &json!({}),
            &[("redis-0", status, None)],
            &expect![[r#"
                - redis-0: container redis: ErrImagePull: not found
                  do: as why says of pod/redis-0
                - redis-1: waits for its creation: redis-0 is not ready
                - redis-2: waits for its creation: redis-0 is not ready
            "#]],
        );
    }

    #[test]
    fn a_broken_pod_that_the_server_heals_is_no_verdict() {
        let set = set(&json!({"replicas": 1}));
        let mut world = World { awaited_sets: vec![("default".into(), "redis".into())], ..World::default() };
        world.take(Seen::Set(Box::new(set), true)).expect("the set is read");
        let status = json!({
            "phase": "Pending",
            "conditions": [{"type": meta::EVER_READY_CONDITION, "status": "False"}],
            "containerStatuses": [{
                "name": "redis", "image": "redis:nope", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
            }],
        });
        world.take(Seen::Pod(Box::new(pod("redis-0", &status, "redis-old")), true)).expect("the pod is taken");
        assert!(world.report(Timestamp::UNIX_EPOCH)[0].stuck.is_some(), "upstream leaves it in the way");
        world.heal_rollout = HealRollout::NeverReady;
        let lines = world.report(Timestamp::UNIX_EPOCH);
        assert_eq!((lines[0].doing.as_str(), &lines[0].stuck), ("stopping for its update", &None));
    }

    #[test]
    fn outdated_pods_wait_for_their_update_from_the_highest_ordinal_down() {
        let pods = [
            ("redis-0", ready(), Some("redis-old")),
            ("redis-1", ready(), Some("redis-old")),
            ("redis-2", ready(), None),
        ];
        check(
            &json!({}),
            &pods,
            &expect![[r#"
                - redis-0: waits for its update: redis-1 is stopping
                - redis-1: stopping for its update
                + redis-2: ready
            "#]],
        );
        check(
            &json!({"updateStrategy": {"type": "OnDelete"}}),
            &pods,
            &expect![[r#"
            + redis-0: ready
            + redis-1: ready
            + redis-2: ready
        "#]],
        );
        let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
        check(
            &partition,
            &pods,
            &expect![[r#"
                + redis-0: ready
                - redis-1: stopping for its update
                + redis-2: ready
            "#]],
        );
    }

    #[test]
    fn pods_above_the_range_are_waited_for_until_they_are_gone() {
        let pods = [("redis-0", ready(), None), ("redis-1", ready(), None), ("redis-2", ready(), None)];
        check(
            &json!({"replicas": 1}),
            &pods,
            &expect![[r#"
                + redis-0: ready
                - redis-1: waits for its removal: redis-2 is stopping
                - redis-2: stopping: the set is smaller now
            "#]],
        );
    }

    #[test]
    fn a_pod_that_waits_to_be_available_long_enough_holds_back_the_next() {
        check(
            &json!({"minReadySeconds": 7200}),
            &[("redis-0", ready(), None)],
            &expect![[r#"
                + redis-0: ready
                - redis-1: waits for its creation: redis-0 is not available before 2026-01-01T02:00:10Z
                - redis-2: waits for its creation: redis-0 is not available before 2026-01-01T02:00:10Z
            "#]],
        );
    }

    #[test]
    fn a_strangers_pod_in_the_way_is_a_verdict_with_a_remedy() {
        let mut world = World { awaited_sets: vec![("default".into(), "redis".into())], ..World::default() };
        world.take(Seen::Set(Box::new(set(&json!({"replicas": 1}))), true)).expect("the set is read");
        let mut stranger = pod("redis-0", &ready(), "x");
        stranger.metadata.owner_references = None;
        stranger.metadata.labels = None;
        world.take(Seen::Pod(Box::new(stranger), true)).expect("the pod is taken");
        let lines = world.report(Timestamp::UNIX_EPOCH);
        assert_eq!(lines.len(), 1);
        expect!["waits for its creation: pod redis-0 is not the set's"].assert_eq(&lines[0].doing);
        assert_eq!(lines[0].stuck, Some(Remedy::Why(Ref::new("StatefulSet", "default", "redis"))));
    }
}
