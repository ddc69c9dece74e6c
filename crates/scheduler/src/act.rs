//! Carrying out what the core decided.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Collection, DeleteOptions, Patch, WriteOptions};
use informer::events::reference_to;
use informer::{Backoff, Cached, Clock, EventRecorder, EventType, Informer};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use meta::{ObjectId, ResourceId, Status, Timestamp, Uid};
use scheduler_core::{Action, Key, Outcome, SELECTED_NODE};
use serde_json::{Value, json};

const PODS: ResourceId = ResourceId::of("", "v1", "pods");
const CLAIMS: ResourceId = ResourceId::of("", "v1", "persistentvolumeclaims");
/// The name under which the fields that we write are recorded.
const FIELD_MANAGER: &str = "kube-scheduler";

/// Pauses before a server that did not answer is asked again what became of a binding.
const ASK_AGAIN: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1) };

/// What actions are carried out with.
pub(crate) struct Actor {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) recorder: EventRecorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pods: Informer<Pod>,
}

impl Actor {
    /// Carries out one action; gives it back with its outcome. If dropped, the call happened wholly or not at all.
    pub(crate) async fn act(&self, action: Action) -> (Action, Outcome) {
        let outcome = match &action {
            Action::Bind { pod, uid, node } => self.bind(pod, uid, node).await,
            Action::SelectNode { pod, uid, node, claims } => self.select_node(pod, uid, node, claims).await,
            Action::Announce { pod, uid, node } => {
                self.tell_placed(pod, uid, node);
                Outcome::Done
            }
            Action::Report { pod, uid, message, was_unschedulable } => {
                self.report(pod, uid, message, *was_unschedulable).await
            }
            Action::Preempt { pod, uid, node, victims } => self.preempt(pod, uid, node, victims).await,
        };
        (action, outcome)
    }

    async fn bind(&self, pod: &Key, uid: &Uid, node: &str) -> Outcome {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": pod.name, "namespace": pod.namespace, "uid": uid.0 },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let target = Collection::in_namespace(PODS, &pod.namespace);
        if let Err(status) = self.client.create(&target, Some("binding"), body, &options()).await {
            let is_unclear = status.may_be_done() || status.is_conflict();
            if !is_unclear || !self.is_bound(pod, uid, node).await {
                return self.failed(pod, uid, "binding rejected: running Bind plugin \"DefaultBinder\"", &status);
            }
        }
        tracing::debug!(namespace = pod.namespace, name = pod.name, uid = uid.0, node, "bound");
        self.tell_placed(pod, uid, node);
        Outcome::Done
    }

    /// Whether a pod is where it was to be bound, asked until the server answers. An answer can be lost: the place of a
    /// pod that was bound all the same must not be given to another before the cache shows it there.
    async fn is_bound(&self, pod: &Key, uid: &Uid, node: &str) -> bool {
        let id = ObjectId::namespaced(PODS, &pod.namespace, &pod.name);
        let mut failures = 0;
        loop {
            match self.client.get(&id).await {
                Ok(live) => return live.uid() == *uid && live.tree()["spec"]["nodeName"] == node,
                Err(status) if status.may_be_done() => {
                    // Not by the clock on the wall, which may be set back.
                    failures += 1;
                    tokio::time::sleep(ASK_AGAIN.pause(failures)).await;
                }
                Err(_) => return false,
            }
        }
    }

    async fn select_node(&self, pod: &Key, uid: &Uid, node: &str, claims: &[(Key, Uid)]) -> Outcome {
        for (claim, claim_uid) in claims {
            let id = ObjectId::namespaced(CLAIMS, &claim.namespace, &claim.name);
            let patch = json!({ "metadata": { "uid": claim_uid.0, "annotations": { SELECTED_NODE: node } } });
            if let Err(status) = self.client.patch(&id, None, Patch::Merge(patch), &options()).await {
                return self.failed(pod, uid, "running PreBind plugin \"VolumeBinding\"", &status);
            }
        }
        Outcome::Done
    }

    async fn report(&self, pod: &Key, uid: &Uid, message: &str, was_unschedulable: bool) -> Outcome {
        self.tell(pod, uid, EventType::Warning, "FailedScheduling", message.to_owned());
        let id = ObjectId::namespaced(PODS, &pod.namespace, &pod.name);
        let condition = condition(message, was_unschedulable, self.clock.now());
        let patch = json!({ "metadata": { "uid": uid.0 }, "status": { "conditions": [condition] } });
        match self.client.patch(&id, Some("status"), Patch::Strategic(patch), &options()).await {
            Ok(_) => Outcome::Done,
            Err(status) if is_superseded(&status) => Outcome::Superseded,
            Err(status) => {
                tracing::warn!(namespace = pod.namespace, name = pod.name, error = %status, "the condition of a pod that cannot be placed was not written");
                Outcome::Failed { message: status.message }
            }
        }
    }

    /// Promises the node to the pod, then says to each victim why it goes, and deletes it with its own grace.
    async fn preempt(&self, pod: &Key, uid: &Uid, node: &str, victims: &[(Key, Uid)]) -> Outcome {
        let id = ObjectId::namespaced(PODS, &pod.namespace, &pod.name);
        let promise = json!({ "metadata": { "uid": uid.0 }, "status": { "nominatedNodeName": node } });
        if let Err(status) = self.client.patch(&id, Some("status"), Patch::Strategic(promise), &options()).await {
            return self.failed(pod, uid, "preemption", &status);
        }
        for (victim, victim_uid) in victims {
            // Afterwards it may be gone from the cache, and another of its name may be there.
            let about = self.reference(victim, victim_uid);
            if let Err(status) = self.evict(victim, victim_uid).await
                && !status.is_not_found()
                && !status.is_conflict()
            {
                return self.failed(pod, uid, "preemption", &status);
            }
            tracing::info!(pod = %victim, preemptor = %pod, node, "a pod makes room for a more important one");
            let message = format!("Preempted by pod {} on node {node}", uid.0);
            if let Some(about) = about {
                self.recorder.record(about, EventType::Normal, "Preempted", message);
            }
        }
        Outcome::Done
    }

    async fn evict(&self, victim: &Key, uid: &Uid) -> Result<(), Status> {
        let id = ObjectId::namespaced(PODS, &victim.namespace, &victim.name);
        let now = self.clock.now();
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastTransitionTime": meta::whole_seconds(now).to_string(),
        });
        let patch = json!({ "metadata": { "uid": uid.0 }, "status": { "conditions": [condition] } });
        self.client.patch(&id, Some("status"), Patch::Strategic(patch), &options()).await?;
        self.client.delete(&id, &DeleteOptions { uid: Some(uid.clone()), ..DeleteOptions::default() }).await
    }

    /// Tells a failure, unless the object is just not what it was.
    fn failed(&self, pod: &Key, uid: &Uid, doing: &str, status: &Status) -> Outcome {
        if is_superseded(status) {
            tracing::debug!(namespace = pod.namespace, name = pod.name, error = %status, "superseded");
            return Outcome::Superseded;
        }
        let message = format!("{doing}: {status}");
        tracing::warn!(namespace = pod.namespace, name = pod.name, error = %message, "a pod was not placed");
        self.tell(pod, uid, EventType::Warning, "FailedScheduling", message.clone());
        Outcome::Failed { message }
    }

    fn tell_placed(&self, pod: &Key, uid: &Uid, node: &str) {
        self.tell(pod, uid, EventType::Normal, "Scheduled", format!("Successfully assigned {pod} to {node}"));
    }

    /// Writes an event about a pod, if it is still the same.
    fn tell(&self, pod: &Key, uid: &Uid, event_type: EventType, reason: &str, message: String) {
        if let Some(about) = self.reference(pod, uid) {
            self.recorder.record(about, event_type, reason, message);
        }
    }

    fn reference(&self, pod: &Key, uid: &Uid) -> Option<ObjectReference> {
        let is_same = |cached: &Arc<Cached<Pod>>| cached.metadata.uid.as_deref() == Some(uid.0.as_str());
        let found = self.pods.get(&pod.namespace, &pod.name).filter(is_same);
        found.map(|cached| reference_to(&*cached.value))
    }
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: FIELD_MANAGER.to_owned(), ..WriteOptions::default() }
}

/// The object is gone, another one, or already where it belongs.
fn is_superseded(status: &Status) -> bool {
    status.is_not_found() || status.is_conflict()
}

fn condition(message: &str, was_unschedulable: bool, now: Timestamp) -> Value {
    let mut condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    });
    if !was_unschedulable {
        condition["lastTransitionTime"] = json!(meta::whole_seconds(now).to_string());
    }
    condition
}
