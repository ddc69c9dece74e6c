//! What the shells of workload controllers share: caches of facts, obedience to a plan of writes, and what one look
//! leaves for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use client::{Client, DeleteOptions, Object, Propagation};
use controllers_core::subject::{Facts, Subject};
use controllers_core::words::{Note, controller_of, is_terminating};
use controllers_core::writes::{Failure, Plan, Verb, Write};
use futures::future::join_all;
use informer::{Cacheable, Change, EventRecorder, Informer, Key, Kinded, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use meta::{Quantity, Reason, ResourceId, Status, Timestamp};
use serde::de::Error as _;

use crate::Parts;
use crate::act::{Api, record, record_news};
use crate::seen::{Effect, Unseen, Unwritten, Written};

/// Facts in a cache.
#[derive(Debug)]
pub(crate) struct Known<T>(pub(crate) T);

impl<T: Facts> Cacheable for Known<T> {
    fn decode(object: &Object) -> Result<Self, serde_json::Error> {
        T::read(&object.json).map(Self).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            serde_json::Error::custom(format!("{error}{cause}"))
        })
    }

    fn namespace(&self) -> &str {
        &self.0.subject().namespace
    }

    fn name(&self) -> &str {
        &self.0.subject().name
    }

    fn uid(&self) -> &str {
        &self.0.subject().uid.0
    }

    fn owner_uids(&self) -> Vec<&str> {
        self.0.subject().owners.iter().map(|owner| owner.uid.as_str()).collect()
    }

    fn is_terminating(&self) -> bool {
        self.0.subject().deleting
    }
}

impl<T: Facts> Kinded for Known<T> {
    fn resource() -> ResourceId {
        T::kind().resource.clone()
    }
}

/// What one look leaves for the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    unseen: BTreeMap<ResourceId, Unseen>,
    notes: BTreeSet<Note>,
    /// What went wrong last time; a part of the next view.
    pub(crate) failure: Option<Failure>,
}

impl Memory {
    /// Waits until a cache shows what was written to its resource (D6).
    pub(crate) async fn settle<T: Kinded>(&mut self, informer: &Informer<T>, namespace: &str) -> bool {
        match self.unseen.get_mut(&T::resource()) {
            Some(unseen) => unseen.settle(informer, namespace).await,
            None => true,
        }
    }
}

/// What a shell acts with.
pub(crate) struct Desk {
    pub(crate) client: Arc<dyn Client>,
    recorder: EventRecorder,
}

impl Desk {
    /// A desk for a controller, under its own user name.
    pub(crate) fn of(parts: &Parts, controller: &str) -> Self {
        let client = parts.client(controller);
        Self { recorder: parts.recorder(&client, controller), client }
    }

    /// Carries a plan out: the status at once, the stages one after the other until one fails.
    ///
    /// Dropped in the middle, every write happened wholly or not at all.
    pub(crate) async fn obey<F: Display>(&self, subject: &Subject, plan: &Plan<F>, memory: &mut Memory) -> Outcome {
        let about = reference(subject);
        for wait in &plan.waits {
            tracing::debug!(namespace = subject.namespace, name = subject.name, %wait, "a step waits");
        }
        record_news(&self.recorder, &about, &plan.notes, &mut memory.notes);
        self.obey_in(&subject.namespace, Some(&about), plan, memory).await
    }

    /// As [`Self::obey`], for a plan that is not about one object.
    pub(crate) async fn obey_in<F>(
        &self,
        namespace: &str,
        about: Option<&ObjectReference>,
        plan: &Plan<F>,
        memory: &mut Memory,
    ) -> Outcome {
        let api = Api::new(&self.client, namespace);
        let status = async { join_all(plan.status.iter().map(|write| self.carry_out(&api, about, write))).await };
        let (mut outcomes, stages) = tokio::join!(status, self.stages(&api, about, &plan.stages));
        outcomes.extend(stages);
        let had_failed = memory.failure.take().is_some();
        let mut again = plan.retry;
        for (resource, outcome) in outcomes {
            if let Err(error) = memory.unseen.entry(resource.clone()).or_default().noted(outcome) {
                tracing::debug!(namespace, %resource, %error, "a write failed");
                again = true;
                if memory.failure.is_none() && !is_stale(&error) {
                    memory.failure = Some(Failure { message: error.message });
                }
            }
        }
        match plan.look_again {
            _ if again => Outcome::Failed,
            // A status may still speak of the failure that is over.
            _ if had_failed => Outcome::LookAgain(Timestamp::MIN),
            Some(moment) => Outcome::LookAgain(moment),
            None => Outcome::Done,
        }
    }

    async fn stages(
        &self,
        api: &Api,
        about: Option<&ObjectReference>,
        stages: &[Vec<Write>],
    ) -> Vec<(ResourceId, Written)> {
        let mut outcomes = Vec::new();
        for stage in stages {
            let done = join_all(stage.iter().map(|write| self.carry_out(api, about, write))).await;
            let failed = done.iter().any(|(_, outcome)| outcome.is_err());
            outcomes.extend(done);
            if failed {
                break;
            }
        }
        outcomes
    }

    async fn carry_out(&self, api: &Api, about: Option<&ObjectReference>, write: &Write) -> (ResourceId, Written) {
        let outcome = perform(api, write).await;
        let (note, outcome) = match outcome {
            Ok(effect) => {
                let name = write.target_name().map_or_else(|| effect.name(), String::as_str);
                (write.note(Ok(name)), Ok(effect))
            }
            // Nothing can be made there any more, and that is as it should be.
            Err(Unwritten { status, .. }) if is_of_ending_namespace(&status) => (None, Ok(Effect::Nothing)),
            Err(unwritten) if is_stale(&unwritten.status) => (None, Err(unwritten)),
            Err(unwritten) => (write.note(Err(&unwritten.status.message)), Err(unwritten)),
        };
        if let Some(about) = about {
            record(&self.recorder, about, note);
        }
        (write.resource.clone(), outcome)
    }

    /// One write, without an event.
    pub(crate) async fn write(&self, api: &Api, write: &Write) -> Result<(), Status> {
        Ok(perform(api, write).await.map(drop)?)
    }
}

async fn perform(api: &Api, write: &Write) -> Written {
    let resource = write.resource.clone();
    match &write.verb {
        Verb::Confirm(target) => {
            let live = api.get(resource, &target.name).await?;
            if live.uid() != target.uid || !live.tree()["metadata"]["deletionTimestamp"].is_null() {
                let another = Status::new(Reason::Conflict, "the object is another one by now, or is being deleted");
                return Err(another.into());
            }
            Ok(Effect::Nothing)
        }
        Verb::Create(body) => api.create(resource, body.clone()).await,
        Verb::Patch { target, subresource: Some(subresource), patch } => {
            api.merge_into(resource, subresource, &target.name, patch.clone()).await
        }
        Verb::Patch { target, subresource: None, patch } => api.merge(resource, &target.name, patch.clone()).await,
        Verb::Delete { target, in_any_state, grace_period_secs, foreground } => {
            let options = DeleteOptions {
                uid: Some(target.uid.clone()),
                resource_version: (!in_any_state).then_some(target.resource_version),
                grace_period_secs: *grace_period_secs,
                propagation: Some(if *foreground { Propagation::Foreground } else { Propagation::Background }),
                last_status: None,
            };
            api.delete_by(resource, target, &options).await
        }
    }
}

/// The state that a write was planned from is no longer there; the next plan sees the new one.
fn is_stale(error: &Status) -> bool {
    matches!(error.reason, Some(Reason::Conflict | Reason::AlreadyExists | Reason::NotFound))
}

fn is_of_ending_namespace(error: &Status) -> bool {
    let causes = error.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// A subject, for `involvedObject`.
pub(crate) fn reference(subject: &Subject) -> ObjectReference {
    ObjectReference {
        api_version: Some(subject.kind.api_version.to_owned()),
        kind: Some(subject.kind.kind.to_owned()),
        namespace: Some(subject.namespace.clone()),
        name: Some(subject.name.clone()),
        uid: Some(subject.uid.0.clone()),
        resource_version: Some(subject.resource_version.to_string()),
        field_path: None,
    }
}

/// The controller that an owner reference names, if the cache knows that very object (UID).
pub(crate) fn named<T: Facts>(informer: &Informer<Known<T>>, namespace: &str, owner: &OwnerReference) -> Option<Key> {
    let known = (owner.kind == T::kind().kind).then(|| informer.get(namespace, &owner.name)).flatten()?;
    (known.uid() == owner.uid).then(|| Key::new(namespace, &owner.name))
}

/// Notes every change of the objects themselves.
pub(crate) fn follow<T: Facts>(informer: &Informer<Known<T>>, queue: &Arc<WorkQueue<Key>>) {
    let queue = Arc::clone(queue);
    informer.on_change(move |change| queue.add(change.key()));
}

/// Notes every object.
pub(crate) fn wake_all<T: Facts>(informer: &Informer<Known<T>>, queue: &WorkQueue<Key>) {
    for known in informer.list() {
        queue.add(Key::new(known.namespace(), known.name()));
    }
}

/// Notes all objects of a namespace whose quotas have more left than before: what was refused may be allowed now.
pub(crate) fn wake_on_relief<T: Facts>(
    quotas: &Informer<ResourceQuota>,
    informer: &Informer<Known<T>>,
    queue: &Arc<WorkQueue<Key>>,
) {
    let (informer, queue) = (informer.clone(), Arc::clone(queue));
    quotas.on_change(move |change| {
        if gives_room(change) {
            for known in informer.in_namespace(change.newest().namespace()) {
                queue.add(Key::new(known.namespace(), known.name()));
            }
        }
    });
}

fn gives_room(change: &Change<ResourceQuota>) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return change.after.is_none() };
    let amount = |list: Option<&BTreeMap<String, resource::Quantity>>, name: &str| {
        let text = list.and_then(|list| list.get(name));
        text.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or_default()
    };
    let left = |quota: &ResourceQuota, name: &str| {
        let status = quota.status.as_ref();
        let (hard, used) = (status.and_then(|s| s.hard.as_ref()), status.and_then(|s| s.used.as_ref()));
        hard.is_some_and(|hard| hard.contains_key(name)).then(|| amount(hard, name) - amount(used, name))
    };
    let limits = before.status.as_ref().and_then(|status| status.hard.as_ref());
    limits.into_iter().flat_map(BTreeMap::keys).any(|name| {
        let (before, after) = (left(before, name), left(after, name));
        after.is_none_or(|after| before.is_some_and(|before| after > before))
    })
}

/// Notes what a state of an object (a pod, a ReplicaSet) concerns: its controller, or those that would take it over.
pub(crate) fn wake_owner<T: Facts>(informer: &Informer<Known<T>>, queue: &WorkQueue<Key>, meta: &ObjectMeta) {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match controller_of(meta) {
        Some(owner) => named(informer, namespace, owner).into_iter().for_each(|key| queue.add(key)),
        None => {
            for known in informer.matching(Some(namespace), |known| known.0.selects(meta.labels.as_ref())) {
                queue.add(Key::new(namespace, known.name()));
            }
        }
    }
}

/// Pods that an object controls, and pods of its namespace without a controller that it selects.
pub(crate) fn near_pods<T: Facts>(pods: &Informer<Pod>, facts: &T) -> Vec<Arc<informer::Cached<Pod>>> {
    let subject = facts.subject();
    let orphan = |pod: &Pod| controller_of(&pod.metadata).is_none() && facts.selects(pod.metadata.labels.as_ref());
    let mut near = pods.matching(Some(&subject.namespace), orphan);
    near.extend(pods.owned_by(&subject.uid.0).into_iter().filter(|pod| subject.controls(&pod.metadata)));
    near
}

/// Whether a pod's change can change a plan; addresses and container states cannot.
pub(crate) fn matters(before: &Pod, after: &Pod) -> bool {
    let condition = |pod: &Pod, name: &str| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let found = conditions.into_iter().flatten().find(|condition| condition.type_ == name);
        found.map(|condition| (condition.status.clone(), condition.last_transition_time.clone()))
    };
    let ready = |pod: &Pod| (condition(pod, "Ready"), condition(pod, meta::EVER_READY_CONDITION));
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    before.metadata.labels != after.metadata.labels
        || before.metadata.owner_references != after.metadata.owner_references
        || is_terminating(&before.metadata) != is_terminating(&after.metadata)
        || phase(before) != phase(after)
        || ready(before) != ready(after)
}
