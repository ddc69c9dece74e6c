//! Writes with preconditions, as plans name them.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::{Client, Collection, DeleteOptions, Object, Patch, Propagation, WriteOptions};
use controllers_core::words::{Note, Target, Tone};
use informer::{EventRecorder, EventType};
use k8s_openapi::api::core::v1::ObjectReference;
use meta::{ObjectId, ResourceId, Status};
use serde_json::Value;

use crate::seen::{Effect, Unwritten, Written};

/// One namespace of the API, seen by one controller.
#[derive(Clone)]
pub(crate) struct Api {
    client: Arc<dyn Client>,
    namespace: Option<String>,
    options: WriteOptions,
}

impl Api {
    /// The objects of a namespace; an empty name means cluster-scoped objects.
    pub(crate) fn new(client: &Arc<dyn Client>, namespace: &str) -> Self {
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        Self { client: Arc::clone(client), namespace, options: WriteOptions { place: true, ..WriteOptions::default() } }
    }

    /// The same, for what is written about work that is done and not to have it done: nobody waits for that.
    pub(crate) fn patient(&self) -> Self {
        Self { options: WriteOptions { patient: true, ..self.options.clone() }, ..self.clone() }
    }

    fn id(&self, resource: ResourceId, name: &str) -> ObjectId {
        ObjectId { resource, namespace: self.namespace.clone(), name: name.to_owned() }
    }

    pub(crate) async fn get(&self, resource: ResourceId, name: &str) -> Result<Arc<Object>, Status> {
        self.client.get(&self.id(resource, name)).await
    }

    /// Creates an object; what it left behind names it.
    pub(crate) async fn create(&self, resource: ResourceId, body: Value) -> Written {
        let target = Collection { resource, namespace: self.namespace.clone() };
        let name = body["metadata"]["name"].as_str().map(str::to_owned);
        let created = self.client.create(&target, None, body, &self.options).await;
        created.map(Effect::Wrote).map_err(|status| Unwritten::new(status, name.as_deref()))
    }

    async fn patch(&self, resource: ResourceId, subresource: Option<&str>, name: &str, patch: Patch) -> Written {
        let patched = self.client.patch(&self.id(resource, name), subresource, patch, &self.options).await;
        patched.map(Effect::Wrote).map_err(|status| Unwritten::new(status, Some(name)))
    }

    /// A merge patch; the preconditions are in it.
    pub(crate) async fn merge(&self, resource: ResourceId, name: &str, patch: Value) -> Written {
        self.patch(resource, None, name, Patch::Merge(patch)).await
    }

    /// A strategic merge patch; the preconditions are in it.
    pub(crate) async fn strategic(&self, resource: ResourceId, name: &str, patch: Value) -> Written {
        self.patch(resource, None, name, Patch::Strategic(patch)).await
    }

    /// A merge patch of a subresource; the preconditions are in it.
    pub(crate) async fn merge_into(
        &self,
        resource: ResourceId,
        subresource: &str,
        name: &str,
        patch: Value,
    ) -> Written {
        self.patch(resource, Some(subresource), name, Patch::Merge(patch)).await
    }

    /// Deletes exactly this state of this object. That it is gone already is success (C-57).
    pub(crate) async fn delete(
        &self,
        resource: ResourceId,
        target: &Target,
        propagation: Option<Propagation>,
        grace_period_secs: Option<i64>,
    ) -> Written {
        let options = DeleteOptions {
            uid: (!meta::mutants::is_on("delete-by-name")).then(|| target.uid.clone()),
            resource_version: (!meta::mutants::is_on("delete-by-name")).then_some(target.resource_version),
            grace_period_secs,
            propagation,
            last_status: None,
        };
        self.delete_by(resource, target, &options).await
    }

    /// Deletes an object that meets the options' preconditions. That it is gone already is success (C-57).
    pub(crate) async fn delete_by(&self, resource: ResourceId, target: &Target, options: &DeleteOptions) -> Written {
        match self.client.delete(&self.id(resource, &target.name), options).await {
            Err(status) if !status.is_not_found() => Err(Unwritten::new(status, Some(&target.name))),
            _ => Ok(Effect::Deleted { name: target.name.clone(), uid: target.uid.clone() }),
        }
    }
}

/// Records the notes of a plan that the plan before did not have; `told` are those of the plan before.
pub(crate) fn record_news(
    recorder: &EventRecorder,
    about: &ObjectReference,
    notes: &[Note],
    told: &mut BTreeSet<Note>,
) {
    record(recorder, about, notes.iter().filter(|note| !told.contains(note)).cloned());
    *told = notes.iter().cloned().collect();
}

/// Records a plan's notes about an object.
pub(crate) fn record(recorder: &EventRecorder, about: &ObjectReference, notes: impl IntoIterator<Item = Note>) {
    for note in notes {
        let event_type = match note.tone {
            Tone::Normal => EventType::Normal,
            Tone::Warning => EventType::Warning,
        };
        recorder.record(about.clone(), event_type, note.reason, note.message);
    }
}
