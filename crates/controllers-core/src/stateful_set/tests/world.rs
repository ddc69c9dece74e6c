//! A small cluster in memory: one set, its pods, claims and revisions; obeys plans and checks every precondition.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use meta::{ResourceVersion, Timestamp};
use serde_json::{Value, json};

use super::super::{Action, HealRollout, Plan, SetFacts, View, plan};
use crate::words::Target;

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) set: Value,
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) claims: BTreeMap<String, Value>,
    pub(super) revisions: BTreeMap<String, Value>,
    pub(super) revision: u64,
    pub(super) now: Timestamp,
    pub(super) heal_rollout: HealRollout,
}

pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl World {
    pub(super) fn new(spec: Value) -> Self {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "default", "uid": "set-1", "generation": 1},
            "spec": spec,
            "status": {"replicas": 0, "availableReplicas": 0},
        });
        let mut world = Self { set, now: "2026-01-01T00:00:00Z".parse().unwrap(), ..Self::default() };
        world.set["metadata"]["resourceVersion"] = json!(world.tick());
        world
    }

    pub(super) fn spec(replicas: i32, image: &str) -> Value {
        json!({
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image, "resources": {}}]},
            },
        })
    }

    pub(super) fn tick(&mut self) -> String {
        self.revision += 1;
        self.revision.to_string()
    }

    /// Changes the set's spec as a person would.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.set["spec"]);
        let generation = self.set["metadata"]["generation"].as_i64().unwrap() + 1;
        self.set["metadata"]["generation"] = json!(generation);
        self.set["metadata"]["resourceVersion"] = json!(self.tick());
    }

    pub(super) fn facts(&self) -> SetFacts {
        SetFacts::read(self.set.to_string().as_bytes()).unwrap()
    }

    pub(super) fn plan(&self) -> Plan {
        self.with_view(|view| plan(view, self.now))
    }

    pub(super) fn with_view<R>(&self, look: impl FnOnce(&View<'_>) -> R) -> R {
        let set = self.facts();
        let pods: Vec<Pod> = self.pods.values().map(typed).collect();
        let claims: Vec<PersistentVolumeClaim> = self.claims.values().map(typed).collect();
        let revisions: Vec<ControllerRevision> = self.revisions.values().map(typed).collect();
        look(&View::of(&set, &pods, &claims, &revisions, true).with_heal_rollout(self.heal_rollout))
    }

    /// Carries a plan out; every precondition must hold.
    pub(super) fn obey(&mut self, plan: &Plan) {
        let actions: Vec<_> = plan.actions().cloned().collect();
        for action in &actions {
            self.act(action);
        }
    }

    pub(super) fn act(&mut self, action: &Action) {
        let revision = self.tick();
        match action {
            Action::ConfirmSet { set } => assert_eq!(set.uid.0, self.set["metadata"]["uid"]),
            Action::CreateRevision { name, body } => insert(&mut self.revisions, name, body, &revision),
            Action::CreateClaim { name, body, .. } => insert(&mut self.claims, name, body, &revision),
            Action::CreatePod { name, body, .. } => {
                let mut body = body.clone();
                body["status"] = json!({"phase": "Pending"});
                insert(&mut self.pods, name, &body, &revision);
            }
            Action::RenumberRevision { revision: target, patch, .. }
            | Action::AnnotateRevision { revision: target, patch }
            | Action::AdoptRevision { revision: target, patch } => {
                merge(checked(&mut self.revisions, target), patch, &revision);
            }
            Action::DeleteRevision { revision: target } => {
                checked(&mut self.revisions, target);
                self.revisions.remove(&target.name);
            }
            Action::AdoptPod { pod, patch }
            | Action::ReleasePod { pod, patch }
            | Action::RepairPod { pod, patch, .. } => {
                merge(checked(&mut self.pods, pod), patch, &revision);
            }
            Action::SetClaimOwners { claim, patch, .. } => merge(checked(&mut self.claims, claim), patch, &revision),
            Action::DeletePod { pod, .. } => {
                let now = seconds(self.now);
                let found = checked(&mut self.pods, pod);
                found["metadata"]["deletionTimestamp"] = json!(now);
                found["metadata"]["resourceVersion"] = json!(revision);
            }
            Action::WriteStatus { set, patch } | Action::ReleaseSet { set, patch } => {
                assert_eq!(set.resource_version, version(&self.set), "a write carries the set's revision");
                merge(&mut self.set, patch, &revision);
            }
            Action::RollBack { set, patch, .. } => {
                assert_eq!(set.resource_version, version(&self.set), "a rollback carries the set's revision");
                assert_eq!(patch["spec"]["template"]["$patch"], "replace");
                let mut template = patch["spec"]["template"].clone();
                template.as_object_mut().unwrap().remove("$patch");
                self.edit(|spec| spec["template"] = template);
            }
        }
    }

    /// What the node does: start a pod, or report that it ended, or finish its deletion.
    pub(super) fn node(&mut self, name: &str, ready: bool, phase: &str) {
        let revision = self.tick();
        let now = seconds(self.now);
        let Some(pod) = self.pods.get_mut(name) else { return };
        let word = |yes: bool| if yes { "True" } else { "False" };
        let ever = ready || pod["status"]["conditions"][1]["status"] == "True";
        pod["status"] = json!({
            "phase": phase,
            "conditions": [
                {"type": "Ready", "status": word(ready), "lastTransitionTime": now},
                {"type": meta::EVER_READY_CONDITION, "status": word(ever)},
            ],
        });
        pod["spec"]["nodeName"] = json!("n1");
        pod["metadata"]["resourceVersion"] = json!(revision);
    }

    pub(super) fn gone(&mut self, name: &str) {
        self.tick();
        self.pods.remove(name);
    }
}

fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap()
}

pub(super) fn version(object: &Value) -> ResourceVersion {
    ResourceVersion(object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
}

fn checked<'w>(objects: &'w mut BTreeMap<String, Value>, target: &Target) -> &'w mut Value {
    let found = objects.get_mut(&target.name).unwrap_or_else(|| panic!("{} is there", target.name));
    assert_eq!(found["metadata"]["uid"], target.uid.0, "the plan means this incarnation of {}", target.name);
    assert_eq!(version(found), target.resource_version, "the plan saw the latest state of {}", target.name);
    found
}

fn insert(objects: &mut BTreeMap<String, Value>, name: &str, body: &Value, revision: &str) {
    let mut body = body.clone();
    body["metadata"]["uid"] = json!(format!("{name}-{revision}"));
    body["metadata"]["resourceVersion"] = json!(revision);
    let before = objects.insert(name.to_owned(), body);
    assert!(before.is_none(), "{name} is created once: there is never more than one pod of an identity");
}

fn merge(object: &mut Value, patch: &Value, revision: &str) {
    json_patch::merge(object, patch);
    object["metadata"]["resourceVersion"] = json!(revision);
}
