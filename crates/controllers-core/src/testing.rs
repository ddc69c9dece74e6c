//! A small cluster in memory for tests of planners: objects as JSON; obeys writes and checks every precondition.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use meta::{ResourceId, ResourceVersion, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::pods::stamp;
use crate::words::Target;
use crate::writes::{Plan, Verb, Write};

/// Objects of one namespace by resource and name.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<(ResourceId, String), Value>,
    pub(crate) revision: u64,
    pub(crate) now: Timestamp,
    /// What writes told.
    pub(crate) events: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { objects: BTreeMap::new(), revision: 0, now, events: Vec::new() }
    }

    pub(crate) fn later(&mut self, seconds: i64) {
        self.now = crate::pods::after(self.now, seconds).unwrap();
    }

    fn tick(&mut self) -> String {
        self.revision += 1;
        self.revision.to_string()
    }

    /// Creates an object as the API does: UID, revision, generation, creation time.
    pub(crate) fn create(&mut self, resource: &ResourceId, mut body: Value) -> String {
        let revision = self.tick();
        let generated = body["metadata"]["generateName"].as_str().map(|prefix| format!("{prefix}{revision}"));
        let name = body["metadata"]["name"].as_str().map(str::to_owned).or(generated).unwrap();
        let metadata = &mut body["metadata"];
        metadata["name"] = json!(name);
        metadata["namespace"] = json!("default");
        metadata["uid"] = json!(format!("{name}#{revision}"));
        metadata["resourceVersion"] = json!(revision);
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = json!(stamp(self.now));
        let before = self.objects.insert((resource.clone(), name.clone()), body);
        assert!(before.is_none(), "{resource} {name} is created once");
        name
    }

    pub(crate) fn get(&self, resource: &ResourceId, name: &str) -> &Value {
        &self.objects[&(resource.clone(), name.to_owned())]
    }

    /// Changes an object as a person, a node or another controller would; the generation follows the spec.
    pub(crate) fn edit(&mut self, resource: &ResourceId, name: &str, edit: impl FnOnce(&mut Value)) {
        let revision = self.tick();
        let object = self.objects.get_mut(&(resource.clone(), name.to_owned())).unwrap();
        let before = object["spec"].clone();
        edit(object);
        if object["spec"] != before {
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        object["metadata"]["resourceVersion"] = json!(revision);
    }

    pub(crate) fn remove(&mut self, resource: &ResourceId, name: &str) {
        self.tick();
        self.objects.remove(&(resource.clone(), name.to_owned())).unwrap();
    }

    pub(crate) fn names(&self, resource: &ResourceId) -> Vec<String> {
        self.objects.keys().filter(|(found, _)| found == resource).map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn all(&self, resource: &ResourceId) -> Vec<&Value> {
        self.objects.iter().filter(|((found, _), _)| found == resource).map(|(_, object)| object).collect()
    }

    pub(crate) fn typed<T: DeserializeOwned>(&self, resource: &ResourceId) -> Vec<T> {
        self.all(resource).into_iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    pub(crate) fn pods(&self) -> Vec<Pod> {
        self.typed(&api::resources::PODS)
    }

    pub(crate) fn json(&self, resource: &ResourceId, name: &str) -> Vec<u8> {
        self.get(resource, name).to_string().into_bytes()
    }

    /// As a node: a pod's phase and readiness, from now on.
    pub(crate) fn node(&mut self, name: &str, phase: &str, ready: bool) {
        let now = stamp(self.now);
        self.edit(&api::resources::PODS, name, |pod| {
            pod["status"] = json!({
                "phase": phase,
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now}],
            });
        });
    }

    /// Carries a plan out; every precondition must hold.
    pub(crate) fn obey<F>(&mut self, plan: &Plan<F>) {
        for write in plan.writes() {
            self.act(write);
        }
    }

    pub(crate) fn act(&mut self, write: &Write) {
        let name = match &write.verb {
            Verb::Confirm(target) => {
                self.checked(&write.resource, target, false);
                target.name.clone()
            }
            Verb::Create(body) => self.create(&write.resource, body.clone()),
            Verb::Patch { target, subresource, patch } => {
                // A status write and a spec write of one plan share a precondition; the second would be tried again.
                self.checked(&write.resource, target, subresource.is_none());
                let only_status = subresource.is_some();
                assert!(!only_status || patch.get("spec").is_none(), "a status write has no spec");
                self.edit(&write.resource, &target.name, |object| json_patch::merge(object, patch));
                target.name.clone()
            }
            Verb::Delete { target, in_any_state, grace_period_secs, .. } => {
                self.checked(&write.resource, target, !in_any_state);
                self.delete(&write.resource, &target.name, *grace_period_secs);
                target.name.clone()
            }
        };
        self.events.extend(write.note(Ok(&name)).map(|note| format!("{} {}", note.reason, note.message)));
    }

    /// As the API: pods terminate first, what has finalizers waits for them, the rest is gone.
    pub(crate) fn delete(&mut self, resource: &ResourceId, name: &str, grace_period_secs: Option<i64>) {
        let object = self.get(resource, name);
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        let ends_slowly = *resource == api::resources::PODS && grace_period_secs != Some(0);
        if held || ends_slowly {
            let now = stamp(self.now);
            self.edit(resource, name, |object| object["metadata"]["deletionTimestamp"] = json!(now));
        } else {
            self.remove(resource, name);
        }
    }

    fn checked(&self, resource: &ResourceId, target: &Target, exactly: bool) {
        let found = self.objects.get(&(resource.clone(), target.name.clone()));
        let found = found.unwrap_or_else(|| panic!("{resource} {} is there", target.name));
        assert_eq!(found["metadata"]["uid"], target.uid.0, "the plan means this incarnation of {}", target.name);
        if exactly {
            let version = found["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert_eq!(ResourceVersion(version), target.resource_version, "the plan saw the latest {}", target.name);
        }
    }
}
