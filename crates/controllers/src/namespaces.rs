//! The namespace controller: obeys `controllers_core::namespaces::plan`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::resources::{NAMESPACES, PODS};
use client::{Client, Collection, DeleteOptions, Propagation, Selection};
use controllers_core::namespaces::{Plan, Remains, View, plan};
use futures::future::join_all;
use informer::{Cacheable, Clock, Informer, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::Namespace;
use meta::{ObjectId, Reason, ResourceId, Status};
use serde_json::{Value, json};

use crate::Parts;
use crate::act::Api;
use crate::dependents::{Thing, Things};
use crate::kinds::KINDS;
use crate::run::Controller;

/// How long without an event before a namespace that does not get empty is looked at again: a safety net.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

struct NamespaceController {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    namespaces: Informer<Namespace>,
    things: Things,
    queue: Arc<WorkQueue<String>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts, things: Things) {
    parts.run(NamespaceController {
        client: parts.client("namespace-controller"),
        clock: Arc::clone(&parts.clock),
        namespaces: parts.informers.of(),
        things,
        queue: parts.queue(),
    });
}

impl Controller for NamespaceController {
    type Key = String;
    type Memory = ();

    fn queue(&self) -> &Arc<WorkQueue<String>> {
        &self.queue
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        self.namespaces.on_change(move |change| {
            if change.after.as_ref().is_some_and(|namespace| namespace.is_terminating()) {
                queue.add(change.key().name);
            }
        });
        for (_, informer) in &self.things.rows {
            let this = Arc::clone(self);
            informer.on_change(move |change| {
                let namespace = &change.newest().metadata.namespace;
                if !namespace.is_empty() && this.is_deleting(namespace) {
                    this.queue.add(namespace.clone());
                }
            });
        }
    }

    fn wake_all(&self) {
        for namespace in self.namespaces.list().iter().filter(|namespace| namespace.is_terminating()) {
            self.queue.add(namespace.name().to_owned());
        }
    }

    async fn look(&self, name: &String, _memory: &mut ()) -> Option<Outcome> {
        match self.advance(name).await {
            Ok(true) => None,
            Ok(false) => {
                Some(Outcome::LookAgain(self.clock.now().checked_add(LOOK_AGAIN).unwrap_or(meta::Timestamp::MAX)))
            }
            Err(error) if error.reason == Some(Reason::NotFound) => None,
            Err(error) => {
                tracing::debug!(namespace = name, %error, "a namespace could not be emptied yet");
                Some(Outcome::Failed)
            }
        }
    }
}

impl NamespaceController {
    fn is_deleting(&self, namespace: &str) -> bool {
        self.namespaces.get("", namespace).is_some_and(|found| found.is_terminating())
    }

    /// Asks the content to go, and lets the namespace go if nothing is left (`true`).
    async fn advance(&self, name: &str) -> Result<bool, Status> {
        let api = Api::new(&self.client, "");
        let live = api.get(NAMESPACES, name).await?;
        let tree = live.tree();
        if tree["metadata"]["deletionTimestamp"].is_null() {
            return Ok(true);
        }
        let mut errors = Vec::new();
        let mut remains = BTreeMap::new();
        // Pods first: what they use stays until they have stopped.
        let pods = self.empty(name, &PODS, &mut errors).await?;
        let pods_left = pods.count;
        remains.insert(PODS, pods);
        if pods_left == 0 {
            for row in KINDS.iter().filter(|row| row.namespaced && row.resource != PODS) {
                remains.insert(row.resource.clone(), self.empty(name, &row.resource, &mut errors).await?);
            }
            let events = Collection::in_namespace(api::resources::EVENTS, name);
            self.delete_all(&events, &mut errors).await?;
        }
        let finalizers: Vec<String> = texts(&tree["spec"]["finalizers"]);
        let conditions = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let view = View { finalizers: &finalizers, conditions: &conditions, remains: &remains, errors: &errors };
        let Plan { conditions, finalize } = plan(&view, self.clock.now());
        if let Some(conditions) = conditions {
            let patch = json!({"metadata": {"uid": live.uid().0}, "status": {"conditions": conditions}});
            api.merge_into(NAMESPACES, "status", name, patch).await?;
        }
        let Some(rest) = finalize else { return Ok(false) };
        let mut body = Value::clone(tree);
        body["spec"]["finalizers"] = json!(rest);
        let id = ObjectId::cluster(NAMESPACES, name);
        self.client.update(&id, Some("finalize"), body, &Default::default()).await?;
        Ok(true)
    }

    /// Deletes what is there of one resource, and says what remains.
    async fn empty(&self, namespace: &str, resource: &ResourceId, errors: &mut Vec<String>) -> Result<Remains, Status> {
        let target = Collection::in_namespace(resource.clone(), namespace);
        if self.delete_all(&target, errors).await? == 0 {
            return Ok(Remains::default());
        }
        let mut remains = Remains::default();
        for object in self.client.list(&target, &Selection::default()).await?.items {
            let Thing { metadata } = object.view().map_err(Status::internal)?;
            remains.count += 1;
            for finalizer in metadata.finalizers {
                *remains.finalizers.entry(finalizer).or_default() += 1;
            }
        }
        Ok(remains)
    }

    /// Asks everything of a collection to go; how much there was.
    async fn delete_all(&self, target: &Collection, errors: &mut Vec<String>) -> Result<usize, Status> {
        let items = self.client.list(target, &Selection::default()).await?.items;
        let deletions = items.iter().map(|object| async move {
            let Thing { metadata } = object.view().map_err(Status::internal)?;
            if metadata.deletion_timestamp.is_some() {
                return Ok(());
            }
            let id = ObjectId {
                resource: target.resource.clone(),
                namespace: target.namespace.clone(),
                name: metadata.name.clone(),
            };
            let options = DeleteOptions {
                uid: Some(meta::Uid(metadata.uid)),
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            };
            match self.client.delete(&id, &options).await {
                Err(error) if error.reason == Some(Reason::NotFound) => Ok(()),
                outcome => outcome,
            }
        });
        for outcome in join_all(deletions).await {
            if let Err(error) = outcome {
                errors.push(format!("{}: {}", target.resource, error.message));
            }
        }
        Ok(items.len())
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
