//! The garbage collector: obeys `controllers_core::garbage_collector::plan`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use api::resources::{PERSISTENT_VOLUME_CLAIMS, STATEFUL_SETS};
use client::{Client, Collection, Propagation, Selection};
use controllers_core::garbage_collector::{Action, Dependent, FOREGROUND, Item, Manner, ORPHAN, OwnerState, plan};
use controllers_core::stateful_set::{SetFacts, keeps_claim};
use controllers_core::words::Target;
use futures::future::join_all;
use informer::{Cached, Change, EventRecorder, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meta::{Reason, ResourceId, Status, Uid};
use serde_json::{Value, json};

use crate::Parts;
use crate::act::{Api, record_news};
use crate::dependents::{Thing, Things};
use crate::kinds::{Row, of_reference};
use crate::run::Controller;

/// An object to look at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Subject {
    resource: ResourceId,
    namespace: String,
    name: String,
}

/// Most UIDs that are remembered as gone; forgetting one costs a look at everything.
const GONE_MAX: usize = 10_000;

/// UIDs that are known to be nobody's any more. A UID is never used twice, so this never becomes wrong.
#[derive(Default)]
struct Gone {
    known: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Gone {
    fn add(&mut self, uid: &str) {
        if self.known.insert(uid.to_owned()) {
            self.order.push_back(uid.to_owned());
        }
        if self.order.len() > GONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

struct GarbageCollector {
    client: Arc<dyn Client>,
    recorder: EventRecorder,
    things: Things,
    gone: Mutex<Gone>,
    queue: Arc<WorkQueue<Subject>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts, things: Things) {
    let client = parts.client("generic-garbage-collector");
    let recorder = parts.recorder(&client, "garbage-collector-controller");
    parts.run(GarbageCollector { client, recorder, things, gone: Mutex::default(), queue: parts.queue() });
}

impl Controller for GarbageCollector {
    type Key = Subject;
    /// Notes that were recorded.
    type Memory = BTreeSet<controllers_core::words::Note>;

    fn queue(&self) -> &Arc<WorkQueue<Subject>> {
        &self.queue
    }

    async fn synced(&self) {
        self.things.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        for (row, informer) in self.things.rows.iter().cloned() {
            let this = Arc::clone(self);
            informer.on_change(move |change| this.changed(row, change));
        }
    }

    fn wake_all(&self) {
        for (row, informer) in &self.things.rows {
            for thing in informer.list() {
                self.wake(&row.resource, &thing.metadata.namespace, &thing.metadata.name);
            }
        }
    }

    async fn look(&self, subject: &Subject, told: &mut Self::Memory) -> Option<Outcome> {
        let api = Api::new(&self.client, &subject.namespace);
        let (item, dependents) = match self.read(&api, subject).await {
            Ok(Some(read)) => read,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(?subject, %error, "an object could not be read for garbage collection");
                return Some(Outcome::Failed);
            }
        };
        let plan = plan(&item);
        record_news(&self.recorder, &about(subject, &item), &plan.notes, told);
        let about_dependents =
            plan.actions.iter().map(|action| self.perform(&api, subject, action, &dependents, &item));
        for outcome in join_all(about_dependents).await {
            if let Err(error) = outcome
                && error.reason != Some(Reason::NotFound)
            {
                tracing::debug!(?subject, %error, "a garbage collection action failed");
                return Some(Outcome::Failed);
            }
        }
        Some(Outcome::Done)
    }
}

impl GarbageCollector {
    fn changed(&self, row: &Row, change: &Change<Thing>) {
        let thing = &change.newest().metadata;
        match &change.after {
            Some(after) => {
                let is_news = change.before.as_ref().is_none_or(|before| {
                    before.metadata.owner_references != after.metadata.owner_references
                        || before.metadata.finalizers != after.metadata.finalizers
                        || before.metadata.deletion_timestamp != after.metadata.deletion_timestamp
                });
                if is_news && (!thing.owner_references.is_empty() || thing.deletion_timestamp.is_some()) {
                    self.wake(&row.resource, &thing.namespace, &thing.name);
                }
            }
            None => {
                self.gone.lock().unwrap_or_else(PoisonError::into_inner).add(&thing.uid);
                self.wake_dependents(&thing.uid);
            }
        }
        // An owner may wait for this one to go, or to let go of it.
        let states = [&change.before, &change.after].into_iter().flatten();
        if change.after.is_none() || change.before.is_some() {
            for owner in states.flat_map(|state| &state.metadata.owner_references) {
                if let Some(row) = of_reference(&owner.api_version, &owner.kind) {
                    let namespace = if row.namespaced { thing.namespace.as_str() } else { "" };
                    self.wake_if_deleting(row, namespace, &owner.name);
                }
            }
        }
    }

    fn wake(&self, resource: &ResourceId, namespace: &str, name: &str) {
        self.queue.add(Subject { resource: resource.clone(), namespace: namespace.to_owned(), name: name.to_owned() });
    }

    fn wake_dependents(&self, uid: &str) {
        for (row, informer) in &self.things.rows {
            for thing in informer.owned_by(uid) {
                self.wake(&row.resource, &thing.metadata.namespace, &thing.metadata.name);
            }
        }
    }

    fn wake_if_deleting(&self, row: &Row, namespace: &str, name: &str) {
        let informer = self.things.rows.iter().find(|(found, _)| found.resource == row.resource);
        let owner = informer.and_then(|(_, informer)| informer.get(namespace, name));
        if owner.is_some_and(|owner| owner.metadata.deletion_timestamp.is_some()) {
            self.wake(&row.resource, namespace, name);
        }
    }

    /// The object, its owners and its dependents; `None` if it is gone. Owners are read live (S9).
    async fn read(
        &self,
        api: &Api,
        subject: &Subject,
    ) -> Result<Option<(Item, Vec<(ResourceId, Arc<Cached<Thing>>)>)>, Status> {
        let object = match api.get(subject.resource.clone(), &subject.name).await {
            Ok(object) => object,
            Err(error) if error.reason == Some(Reason::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Thing { metadata } = object.view().map_err(Status::internal)?;
        let is_here = |thing: &Thing| metadata.namespace.is_empty() || thing.metadata.namespace == metadata.namespace;
        let mut dependents: Vec<_> = self
            .things
            .rows
            .iter()
            .flat_map(|(row, informer)| {
                informer.owned_by(&metadata.uid).into_iter().map(|thing| (row.resource.clone(), thing))
            })
            .filter(|(_, thing)| is_here(thing))
            .collect();
        // Before the last look lets the object go, nobody may have been overlooked (S9).
        let waits = metadata.finalizers.iter().any(|finalizer| finalizer == ORPHAN || finalizer == FOREGROUND);
        if waits && metadata.deletion_timestamp.is_some() && !dependents.iter().any(|(_, d)| blocks(d, &metadata.uid)) {
            dependents = self.live_dependents(&metadata.namespace, &metadata.uid).await?;
        }
        let mut owners = Vec::with_capacity(metadata.owner_references.len());
        if metadata.deletion_timestamp.is_none() {
            for owner in metadata.owner_references {
                let state = self.owner_state(&metadata.namespace, &owner).await?;
                let is_revoked = subject.resource == PERSISTENT_VOLUME_CLAIMS
                    && is_revoked(api, &metadata.name, &owner, state).await?;
                owners.push((owner, if is_revoked { OwnerState::Revoked } else { state }));
            }
        }
        let item = Item {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: Uid(metadata.uid.clone()),
            resource_version: object.resource_version,
            terminating: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers,
            owners,
            dependents: dependents
                .iter()
                .enumerate()
                .map(|(index, (_, thing))| Dependent {
                    index,
                    blocks: blocks(thing, &metadata.uid),
                    terminating: thing.metadata.deletion_timestamp.is_some(),
                })
                .collect(),
        };
        Ok(Some((item, dependents)))
    }

    /// All objects that name a UID as their owner, read live.
    async fn live_dependents(
        &self,
        namespace: &str,
        uid: &str,
    ) -> Result<Vec<(ResourceId, Arc<Cached<Thing>>)>, Status> {
        let mut found = Vec::new();
        for (row, _) in self.things.rows.iter().filter(|(row, _)| row.namespaced || namespace.is_empty()) {
            let resource = row.resource.clone();
            let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
            let target = Collection { resource, namespace };
            for object in self.client.list(&target, &Selection::default()).await?.items {
                let value: Thing = object.view().map_err(Status::internal)?;
                if value.metadata.owner_references.iter().any(|owner| owner.uid == uid) {
                    let cached = Cached { resource_version: object.resource_version, value: Arc::new(value) };
                    found.push((row.resource.clone(), Arc::new(cached)));
                }
            }
        }
        Ok(found)
    }

    async fn owner_state(&self, namespace: &str, owner: &OwnerReference) -> Result<OwnerState, Status> {
        let Some(row) = of_reference(&owner.api_version, &owner.kind) else { return Ok(OwnerState::Unresolvable) };
        if row.namespaced && namespace.is_empty() {
            return Ok(OwnerState::Unresolvable);
        }
        if meta::mutants::is_on("collector-trusts-its-cache") {
            let cached = self.things.rows.iter().find(|(found, _)| found.resource == row.resource);
            let known = cached.and_then(|(_, informer)| informer.get(namespace, &owner.name));
            if known.is_none_or(|known| known.metadata.uid != owner.uid) {
                return Ok(OwnerState::Absent);
            }
        }
        let api = Api::new(&self.client, if row.namespaced { namespace } else { "" });
        let found = match api.get(row.resource.clone(), &owner.name).await {
            Ok(found) => found,
            Err(error) if error.reason == Some(Reason::NotFound) => return self.absent(&owner.uid).await,
            Err(error) => return Err(error),
        };
        let Thing { metadata } = found.view().map_err(Status::internal)?;
        if metadata.uid != owner.uid && !meta::mutants::is_on("collector-knows-owners-by-name") {
            return self.absent(&owner.uid).await;
        }
        let waits = metadata.deletion_timestamp.is_some() && metadata.finalizers.iter().any(|f| f == FOREGROUND);
        Ok(if waits { OwnerState::WaitsForDependents } else { OwnerState::Present })
    }

    /// A UID that is not where a reference says: gone, if it was seen to go or a live read of everything does not find
    /// it; otherwise another object's, perhaps in another namespace, and the reference proves nothing (S9).
    async fn absent(&self, uid: &str) -> Result<OwnerState, Status> {
        if self.gone.lock().unwrap_or_else(PoisonError::into_inner).known.contains(uid) {
            return Ok(OwnerState::Absent);
        }
        for (row, _) in &self.things.rows {
            let all = Collection::all(row.resource.clone());
            let listed = self.client.list(&all, &Selection::default()).await?;
            if listed.items.iter().any(|object| object.uid().0 == uid) {
                return Ok(OwnerState::Unresolvable);
            }
        }
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).add(uid);
        Ok(OwnerState::Absent)
    }

    async fn perform(
        &self,
        api: &Api,
        subject: &Subject,
        action: &Action,
        dependents: &[(ResourceId, Arc<Cached<Thing>>)],
        item: &Item,
    ) -> Result<(), Status> {
        match action {
            Action::Delete { item, manner } => {
                let propagation = match manner {
                    Manner::Background => Propagation::Background,
                    Manner::Foreground => Propagation::Foreground,
                    Manner::Orphan => Propagation::Orphan,
                };
                api.delete(subject.resource.clone(), item, Some(propagation), None).await?;
            }
            Action::Patch { item, patch } => {
                api.merge(subject.resource.clone(), &item.name, patch.clone()).await?;
            }
            Action::ReleaseDependent { index } => {
                let (resource, thing) = &dependents[*index];
                let rest: Vec<_> =
                    thing.metadata.owner_references.iter().filter(|owner| owner.uid != item.uid.0).collect();
                let rest = if rest.is_empty() { Value::Null } else { json!(rest) };
                let target = target_of(thing);
                let mut metadata = target.patch_metadata();
                metadata["ownerReferences"] = rest;
                let api = Api::new(&self.client, &thing.metadata.namespace);
                api.merge(resource.clone(), &target.name, json!({"metadata": metadata})).await?;
            }
            Action::DeleteDependent { index } => {
                let (resource, thing) = &dependents[*index];
                // It is judged by its own owners like every other dependent.
                self.wake(resource, &thing.metadata.namespace, &thing.metadata.name);
            }
        }
        Ok(())
    }
}

/// Whether a claim's reference to an owner that is gone or going counts no more: the set keeps its claims by now (S5).
async fn is_revoked(api: &Api, claim: &str, owner: &OwnerReference, state: OwnerState) -> Result<bool, Status> {
    let set = match (owner.kind.as_str(), state) {
        ("Pod", OwnerState::Absent) => owner.name.rsplit_once('-').map(|(set, _)| set),
        ("StatefulSet", OwnerState::WaitsForDependents) => Some(owner.name.as_str()),
        _ => None,
    };
    let Some(set) = set else { return Ok(false) };
    match api.get(STATEFUL_SETS, set).await {
        Ok(found) => SetFacts::read(&found.json).map(|set| keeps_claim(&set, claim, owner)).map_err(Status::internal),
        Err(error) if error.reason == Some(Reason::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn blocks(thing: &Thing, owner: &str) -> bool {
    thing.metadata.owner_references.iter().any(|found| found.uid == owner && found.block_owner_deletion == Some(true))
}

fn about(subject: &Subject, item: &Item) -> ObjectReference {
    let row = crate::kinds::KINDS.iter().find(|row| row.resource == subject.resource);
    ObjectReference {
        api_version: Some(subject.resource.group_version()),
        kind: row.map(|row| row.kind.to_owned()),
        namespace: Some(subject.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: Some(item.name.clone()),
        uid: Some(item.uid.0.clone()),
        resource_version: Some(item.resource_version.to_string()),
        field_path: None,
    }
}

fn target_of(thing: &Cached<Thing>) -> Target {
    Target {
        name: thing.metadata.name.clone(),
        uid: Uid(thing.metadata.uid.clone()),
        resource_version: thing.resource_version,
    }
}
