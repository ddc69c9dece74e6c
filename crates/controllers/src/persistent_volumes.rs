//! The volume controller: obeys `controllers_core::persistent_volumes`.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::resources::{PERSISTENT_VOLUME_CLAIMS as CLAIMS, PERSISTENT_VOLUMES as VOLUMES, PODS};
use client::{Client, Collection, Selection};
use controllers_core::persistent_volumes::{
    Action, ClaimView, Plan, VolumeView, claims_of, is_shut_down, plan_claim, plan_volume, uses,
};
use controllers_core::words::{Note, is_terminating};
use informer::events::reference_to;
use informer::{Cacheable, Cached, Change, EventRecorder, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use meta::{Reason, Status};

use crate::Parts;
use crate::act::{Api, record_news};
use crate::run::Controller;
use crate::seen::Unseen;

/// What a key is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Subject {
    Claim(Key),
    Volume(String),
}

#[derive(Debug, Default)]
struct Memory {
    claims: Unseen,
    volumes: Unseen,
    notes: BTreeSet<Note>,
}

struct VolumeController {
    client: Arc<dyn Client>,
    recorder: EventRecorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    queue: Arc<WorkQueue<Subject>>,
    volume_root: String,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    let client = parts.client("persistent-volume-binder");
    parts.run(VolumeController {
        recorder: parts.recorder(&client, "persistentvolume-controller"),
        client,
        claims: parts.informers.of(),
        volumes: parts.informers.of(),
        classes: parts.informers.of(),
        pods: parts.informers.of(),
        nodes: parts.informers.of(),
        queue: parts.queue(),
        volume_root: parts.config.volume_root.display().to_string(),
    });
}

impl Controller for VolumeController {
    type Key = Subject;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Subject>> {
        &self.queue
    }

    async fn synced(&self) {
        self.claims.synced().await;
        self.volumes.synced().await;
        self.classes.synced().await;
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.claims.on_change(move |change| {
            this.queue.add(Subject::Claim(change.key()));
            let key = change.key();
            for volume in this.volumes.matching(None, |volume| claim_of(volume).as_ref() == Some(&key)) {
                this.queue.add(Subject::Volume(volume.name().to_owned()));
            }
        });
        let this = Arc::clone(self);
        self.volumes.on_change(move |change| this.volume_changed(change));
        let this = Arc::clone(self);
        self.classes.on_change(move |_| this.wake_unbound());
        let this = Arc::clone(self);
        self.nodes.on_change(move |change| {
            if change.before.is_none() {
                this.wake_unbound();
            }
        });
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        for claim in self.claims.list() {
            self.queue.add(Subject::Claim(Key::new(claim.namespace(), claim.name())));
        }
        for volume in self.volumes.list() {
            self.queue.add(Subject::Volume(volume.name().to_owned()));
        }
    }

    async fn settle(&self, subject: &Subject, memory: &mut Memory) -> bool {
        let namespace = match subject {
            Subject::Claim(key) => &key.namespace,
            Subject::Volume(_) => "",
        };
        memory.claims.settle(&self.claims, namespace).await && memory.volumes.settle(&self.volumes, "").await
    }

    async fn look(&self, subject: &Subject, memory: &mut Memory) -> Option<Outcome> {
        let (plan, about) = match subject {
            Subject::Claim(key) => self.plan_claim(key)?,
            Subject::Volume(name) => self.plan_volume(name)?,
        };
        Some(self.obey(subject, &plan, &about, memory).await)
    }
}

impl VolumeController {
    /// Only the end of a pod lets a claim go (N-9), and one that stands on a node may be what a claim waits for.
    fn pod_changed(&self, change: &Change<Pod>) {
        let has_node = |pod: &Arc<Cached<Pod>>| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let ends = change.after.as_ref().is_none_or(|pod| is_shut_down(pod));
        let is_placed = !change.before.as_ref().is_some_and(has_node) && change.after.as_ref().is_some_and(has_node);
        if !ends && !is_placed {
            return;
        }
        let pod = change.newest();
        for claim in claims_of(pod) {
            let is_unbound = || self.claims.get(pod.namespace(), claim).is_some_and(|one| volume_name(&one).is_none());
            if ends || is_unbound() {
                self.queue.add(Subject::Claim(Key::new(pod.namespace(), claim)));
            }
        }
    }

    fn volume_changed(&self, change: &Change<PersistentVolume>) {
        self.queue.add(Subject::Volume(change.newest().name().to_owned()));
        for volume in [&change.before, &change.after].into_iter().flatten() {
            if let Some(claim) = claim_of(volume) {
                self.queue.add(Subject::Claim(claim));
            }
        }
        let is_free = |volume: &PersistentVolume| claim_of(volume).is_none();
        if change.after.as_ref().is_some_and(|volume| is_free(volume)) {
            self.wake_unbound();
        }
        if change.after.is_none() {
            let name = change.newest().name();
            for claim in self.claims.matching(None, |claim| volume_name(claim) == Some(name)) {
                self.queue.add(Subject::Claim(Key::new(claim.namespace(), claim.name())));
            }
        }
    }

    fn wake_unbound(&self) {
        for claim in self.claims.matching(None, |claim| volume_name(claim).is_none()) {
            self.queue.add(Subject::Claim(Key::new(claim.namespace(), claim.name())));
        }
    }

    fn plan_claim(&self, key: &Key) -> Option<(Plan, ObjectReference)> {
        let claim = self.claims.get(&key.namespace, &key.name)?;
        let (volumes, classes, nodes) = (self.volumes.list(), self.classes.list(), self.nodes.list());
        let uses = |pod: &Pod| uses(pod, &claim);
        let counts = is_terminating(&claim.metadata) || volume_name(&claim).is_none();
        let users = if counts { self.pods.matching(Some(&key.namespace), uses) } else { Vec::new() };
        let view = ClaimView {
            claim: &claim.value,
            volumes: volumes.iter().map(|volume| &*volume.value).collect(),
            classes: classes.iter().map(|class| &*class.value).collect(),
            nodes: nodes.iter().map(|node| node.name()).collect(),
            virtual_nodes: nodes.iter().filter(|node| is_virtual(node)).map(|node| node.name()).collect(),
            users: users.iter().map(|pod| &*pod.value).collect(),
            volume_root: &self.volume_root,
        };
        Some((plan_claim(&view), reference_to(&*claim.value)))
    }

    fn plan_volume(&self, name: &str) -> Option<(Plan, ObjectReference)> {
        let volume = self.volumes.get("", name)?;
        let claim = claim_of(&volume).and_then(|key| self.claims.get(&key.namespace, &key.name));
        let view = VolumeView { volume: &volume.value, claim: claim.as_ref().map(|claim| &*claim.value) };
        Some((plan_volume(&view), reference_to(&*volume.value)))
    }

    /// One action after the other; the notes follow when all went well.
    async fn obey(&self, subject: &Subject, plan: &Plan, about: &ObjectReference, memory: &mut Memory) -> Outcome {
        for action in &plan.actions {
            match self.perform(about, action, memory).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(?subject, %error, "a volume action failed");
                    return Outcome::Failed;
                }
            }
        }
        record_news(&self.recorder, about, &plan.notes, &mut memory.notes);
        Outcome::Done
    }

    async fn perform(&self, about: &ObjectReference, action: &Action, memory: &mut Memory) -> Result<(), Status> {
        let claims = Api::new(&self.client, about.namespace.as_deref().unwrap_or_default());
        let volumes = Api::new(&self.client, "");
        match action {
            // One that was made before a crash holds the claim's UID in its name, so it is this claim's (S4).
            Action::CreateVolume { body, .. } => {
                memory.volumes.noted(volumes.create(VOLUMES, body.clone()).await)?;
            }
            Action::PatchVolume { volume, patch } => {
                memory.volumes.noted(volumes.merge(VOLUMES, &volume.name, patch.clone()).await)?;
            }
            Action::PatchVolumeStatus { volume, patch } => {
                memory.volumes.noted(volumes.merge_into(VOLUMES, "status", &volume.name, patch.clone()).await)?;
            }
            Action::PatchClaim { claim, patch } => {
                memory.claims.noted(claims.merge(CLAIMS, &claim.name, patch.clone()).await)?;
            }
            Action::PatchClaimStatus { claim, patch } => {
                memory.claims.noted(claims.merge_into(CLAIMS, "status", &claim.name, patch.clone()).await)?;
            }
            Action::ConfirmClaimGone { namespace, name, uid } => self.confirm_claim_gone(namespace, name, uid).await?,
            Action::ConfirmUnused { namespace, name } => self.confirm_unused(namespace, name).await?,
            Action::DeleteVolume { volume } => {
                memory.volumes.noted(volumes.delete(VOLUMES, volume, None, None).await)?;
            }
        }
        Ok(())
    }

    async fn confirm_claim_gone(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Status> {
        match Api::new(&self.client, namespace).get(CLAIMS, name).await {
            Ok(claim) if claim.uid().0 == uid => {
                Err(Status::new(Reason::Conflict, format!("claim {namespace}/{name} is there after all")))
            }
            Ok(_) => Ok(()),
            Err(error) if error.reason == Some(Reason::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn confirm_unused(&self, namespace: &str, name: &str) -> Result<(), Status> {
        let Some(claim) = self.claims.get(namespace, name) else { return Ok(()) };
        let pods = self.client.list(&Collection::in_namespace(PODS, namespace), &Selection::default()).await?;
        for object in pods.items {
            let pod: Pod = object.view().map_err(Status::internal)?;
            if uses(&pod, &claim) {
                return Err(Status::new(Reason::Conflict, format!("claim {namespace}/{name} is in use after all")));
            }
        }
        Ok(())
    }
}

fn is_virtual(node: &Node) -> bool {
    let notes = node.metadata.annotations.as_ref();
    notes.and_then(|notes| notes.get(meta::VIRTUAL_ANNOTATION)).is_some_and(|value| value == "true")
}

/// The claim that a volume's `claimRef` names.
fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(reference.namespace.as_deref()?, reference.name.as_deref()?))
}

fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}
