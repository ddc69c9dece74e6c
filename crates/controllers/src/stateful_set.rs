//! The StatefulSet controller: obeys `controllers_core::stateful_set::plan`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Object};
use controllers_core::stateful_set::{Action, Failure, HealRollout, Plan, SetFacts, View, plan, report};
use controllers_core::words::{Note, controller_of, is_terminating};
use futures::future::join_all;
use informer::{Cacheable, Change, Clock, EventRecorder, Informer, Key, Kinded, Outcome, WorkQueue};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use meta::{Reason, ResourceId, Status, Timestamp};
use serde::de::Error as _;

use crate::Parts;
use crate::act::{Api, record, record_news};
use crate::run::Controller;
use crate::seen::{Effect, Unseen, Unwritten, Written};
use crate::workload::matters;

/// A StatefulSet as the planner sees it.
#[derive(Debug)]
pub(crate) struct CachedSet(pub(crate) SetFacts);

impl Cacheable for CachedSet {
    fn decode(object: &Object) -> Result<Self, serde_json::Error> {
        SetFacts::read(&object.json).map(Self).map_err(serde_json::Error::custom)
    }

    fn namespace(&self) -> &str {
        &self.0.namespace
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn uid(&self) -> &str {
        &self.0.uid.0
    }

    fn owner_uids(&self) -> Vec<&str> {
        Vec::new()
    }

    fn is_terminating(&self) -> bool {
        self.0.deleting
    }
}

impl Kinded for CachedSet {
    fn resource() -> ResourceId {
        api::resources::STATEFUL_SETS
    }
}

/// How long a status waits for a step of its set's rollout, to be written together with it.
const STATUS_PATIENCE: Duration = Duration::from_millis(5);

/// What was written for one set and may not be in the caches yet, and the notes of its last plan.
#[derive(Debug, Default)]
struct Memory {
    set: Unseen,
    pods: Unseen,
    claims: Unseen,
    revisions: Unseen,
    notes: BTreeSet<Note>,
    /// Until when a status that is all there is to write is kept back.
    status_due: Option<Timestamp>,
}

struct StatefulSetController {
    client: Arc<dyn Client>,
    recorder: EventRecorder,
    clock: Arc<dyn Clock>,
    sets: Informer<CachedSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    services: Informer<Service>,
    queue: Arc<WorkQueue<Key>>,
    heal_rollout: HealRollout,
    on_plan: crate::PlanObserver,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    let client = parts.client("statefulset-controller");
    parts.run(StatefulSetController {
        recorder: parts.recorder(&client, "statefulset-controller"),
        client,
        clock: Arc::clone(&parts.clock),
        sets: parts.informers.of(),
        pods: parts.informers.of(),
        claims: parts.informers.of(),
        revisions: parts.informers.of(),
        services: parts.informers.of(),
        queue: parts.queue(),
        heal_rollout: parts.config.heal_rollout,
        on_plan: parts.config.on_plan.clone(),
    });
}

impl Controller for StatefulSetController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.pods.synced().await;
        self.claims.synced().await;
        self.revisions.synced().await;
        self.services.synced().await;
    }

    /// Notes the sets that a change concerns (C-2 to C-5, and claims, H-15).
    fn listen(self: &Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        self.sets.on_change(move |change| queue.add(change.key()));
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
        let this = Arc::clone(self);
        self.revisions.on_change(move |change| {
            let metas = [&change.before, &change.after].into_iter().flatten().map(|cached| &cached.metadata);
            metas.for_each(|meta| this.wake_owner(meta));
        });
        let this = Arc::clone(self);
        self.claims.on_change(move |change| this.claim_changed(change));
        let this = Arc::clone(self);
        self.services.on_change(move |change| {
            if change.before.is_none() || change.after.is_none() {
                let service = change.newest();
                let named = |set: &CachedSet| set.0.service_name == service.name();
                this.wake_sets(service.namespace(), named);
            }
        });
    }

    fn wake_all(&self) {
        for set in self.sets.list() {
            self.queue.add(Key::new(set.namespace(), set.name()));
        }
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.set.settle(&self.sets, &key.namespace).await
            && memory.pods.settle(&self.pods, &key.namespace).await
            && memory.claims.settle(&self.claims, &key.namespace).await
            && memory.revisions.settle(&self.revisions, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let set = self.sets.get(&key.namespace, &key.name)?;
        let mut plan = self.plan(&set.0);
        self.on_plan.show(&plan);
        memory.hold_status_back(&mut plan, self.clock.now());
        Some(match self.obey(&set.0, &plan, memory).await {
            Err(()) => Outcome::Failed,
            Ok(()) if plan.retry => Outcome::Failed,
            Ok(()) => plan.look_again.map_or(Outcome::Done, Outcome::LookAgain),
        })
    }
}

/// What became of actions.
type Outcomes<'p> = Vec<(&'p Action, Written)>;

impl StatefulSetController {
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
        {
            return;
        }
        for pod in [&change.before, &change.after].into_iter().flatten() {
            self.wake_owner(&pod.metadata);
        }
        // Somebody else's pod of this name may have stood in a slot's way (C-20).
        if change.after.is_none() {
            let name = change.newest().name();
            self.wake_sets(change.newest().namespace(), |set| set.0.ordinal_of(name).is_some());
        }
    }

    fn claim_changed(&self, change: &Change<PersistentVolumeClaim>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && before.metadata.owner_references == after.metadata.owner_references
            && is_terminating(&before.metadata) == is_terminating(&after.metadata)
        {
            return;
        }
        let name = change.newest().name();
        self.wake_sets(change.newest().namespace(), |set| set.0.slot_of_claim(name).is_some());
    }

    /// The set that controls an object (name and UID), or the sets that would adopt it.
    fn wake_owner(&self, meta: &ObjectMeta) {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        match controller_of(meta) {
            Some(owner) if owner.kind == "StatefulSet" => {
                let known = self.sets.get(namespace, &owner.name);
                if known.is_some_and(|set| set.uid() == owner.uid) {
                    self.queue.add(Key::new(namespace, &owner.name));
                }
            }
            Some(_) => {}
            None => self.wake_sets(namespace, |set| set.0.selector.matches(&meta.labels)),
        }
    }

    fn wake_sets(&self, namespace: &str, wanted: impl Fn(&CachedSet) -> bool) {
        for set in self.sets.matching(Some(namespace), wanted) {
            self.queue.add(Key::new(namespace, set.name()));
        }
    }

    fn plan(&self, set: &SetFacts) -> Plan {
        let near = |pod: &Pod| match controller_of(&pod.metadata) {
            Some(owner) if owner.uid == set.uid.0 => true,
            // An orphan to adopt, or a stranger with a name that a slot would get.
            Some(_) | None => set.ordinal_of(pod.metadata.name.as_deref().unwrap_or_default()).is_some(),
        };
        let pods = self.pods.matching(Some(&set.namespace), near);
        let claims = if set.claim_templates.is_empty() {
            Vec::new()
        } else {
            let is_its = |claim: &PersistentVolumeClaim| {
                claim.metadata.name.as_deref().is_some_and(|name| set.slot_of_claim(name).is_some())
            };
            self.claims.matching(Some(&set.namespace), is_its)
        };
        let revisions = self.revisions.in_namespace(&set.namespace);
        let service_exists =
            set.service_name.is_empty() || self.services.get(&set.namespace, &set.service_name).is_some();
        let view = View::of(
            set,
            pods.iter().map(|cached| &*cached.value),
            claims.iter().map(|cached| &*cached.value),
            revisions.iter().map(|cached| &*cached.value),
            service_exists,
        );
        plan(&view.with_heal_rollout(self.heal_rollout), self.clock.now())
    }

    /// Carries a plan out; an error if something failed that has to be tried again.
    async fn obey(&self, set: &SetFacts, plan: &Plan, memory: &mut Memory) -> Result<(), ()> {
        let about = reference(set);
        record_news(&self.recorder, &about, &plan.notes, &mut memory.notes);
        let api = Api::new(&self.client, &set.namespace);
        let write = async |action| (action, perform(&api, action).await);
        // First the revisions: no status and no pod names one that is not there (C-12).
        let mut outcomes = self.chain(&api, set, &about, &plan.prepare, None).await;
        if went_well(&outcomes) {
            // The pods first: it is for them that somebody waits.
            let pods = self.batches(&api, set, &about, plan);
            let (pods, status) = tokio::join!(pods, join_all(plan.status.iter().map(&write)));
            // Until the status is written it may name a revision that is surplus from now on (C-15, S7).
            let may_tidy = went_well(&status) || meta::mutants::is_on("surplus-goes-before-the-status");
            outcomes.extend(status.into_iter().chain(pods));
            if may_tidy {
                outcomes.extend(join_all(plan.tidy.iter().map(&write)).await);
            }
        }
        let mut failed = false;
        for (action, outcome) in outcomes {
            if let Err(error) = memory.unseen(action).noted(outcome) {
                tracing::debug!(namespace = set.namespace, name = set.name, %action, %error, "an action failed");
                failed = true;
            }
        }
        if failed { Err(()) } else { Ok(()) }
    }

    /// One batch after the other; what is in one goes side by side. The plan holds until time alone changes something: a
    /// pod that was not available when it was made may be one that must stay by now (S6).
    async fn batches<'p>(&self, api: &Api, set: &SetFacts, about: &ObjectReference, plan: &'p Plan) -> Outcomes<'p> {
        let mut outcomes = Outcomes::new();
        for batch in &plan.batches {
            let chains = batch.iter().map(|chain| self.chain(api, set, about, chain, plan.look_again));
            outcomes.extend(join_all(chains).await.into_iter().flatten());
            if !went_well(&outcomes) {
                break;
            }
        }
        outcomes
    }

    /// One action after the other, until one fails or the time is over.
    async fn chain<'p>(
        &self,
        api: &Api,
        set: &SetFacts,
        about: &ObjectReference,
        chain: &'p [Action],
        until: Option<Timestamp>,
    ) -> Outcomes<'p> {
        let mut outcomes = Outcomes::with_capacity(chain.len());
        for (index, action) in chain.iter().enumerate() {
            if until.is_some_and(|until| until <= self.clock.now()) {
                break;
            }
            let outcome = perform(api, action).await;
            let failure = outcome.as_ref().err().map(|Unwritten { status, .. }| Failure {
                message: status.message.clone(),
                already_exists: status.is_already_exists(),
                conflict: status.is_conflict(),
            });
            let skipped = chain.get(index + 1..).unwrap_or_default();
            let result = failure.as_ref().map_or(Ok(()), Err);
            record(&self.recorder, about, report(set, action, result, skipped));
            let is_bad = failure.is_some();
            outcomes.push((action, outcome));
            if is_bad {
                break;
            }
        }
        outcomes
    }
}

fn went_well(outcomes: &[(&Action, Written)]) -> bool {
    outcomes.iter().all(|(_, outcome)| outcome.is_ok())
}

impl Memory {
    /// Takes a status out of a plan that has nothing else to write, for [`STATUS_PATIENCE`] at most: the next step of a
    /// rollout is often so near that it can take the status along (docs/decisions/0023).
    fn hold_status_back(&mut self, plan: &mut Plan, now: Timestamp) {
        let has_work = [&plan.prepare, &plan.tidy].into_iter().any(|actions| !actions.is_empty())
            || plan.batches.iter().flatten().any(|chain| !chain.is_empty())
            || plan.retry;
        if has_work || !matches!(plan.status, Some(Action::WriteStatus { .. })) {
            self.status_due = None;
            return;
        }
        let latest = now.checked_add(STATUS_PATIENCE).unwrap_or(Timestamp::MAX);
        let due = *self.status_due.get_or_insert(latest);
        // Later than the latest: the clock was set back.
        if due <= now || due > latest {
            self.status_due = None;
        } else {
            plan.status = None;
            plan.look_again = plan.look_again.into_iter().chain([due]).min();
        }
    }

    /// Where it is noted what the caches must show before the next plan.
    fn unseen(&mut self, action: &Action) -> &mut Unseen {
        match action {
            Action::AdoptRevision { .. }
            | Action::CreateRevision { .. }
            | Action::RenumberRevision { .. }
            | Action::AnnotateRevision { .. }
            | Action::DeleteRevision { .. } => &mut self.revisions,
            Action::AdoptPod { .. }
            | Action::ReleasePod { .. }
            | Action::CreatePod { .. }
            | Action::RepairPod { .. }
            | Action::DeletePod { .. } => &mut self.pods,
            Action::CreateClaim { .. } | Action::SetClaimOwners { .. } => &mut self.claims,
            Action::ConfirmSet { .. }
            | Action::WriteStatus { .. }
            | Action::RollBack { .. }
            | Action::ReleaseSet { .. } => &mut self.set,
        }
    }
}

/// Carries one action out.
async fn perform(api: &Api, action: &Action) -> Written {
    use api::resources::{CONTROLLER_REVISIONS as REVISIONS, PERSISTENT_VOLUME_CLAIMS as CLAIMS, PODS, STATEFUL_SETS};
    match action {
        Action::ConfirmSet { .. } if meta::mutants::is_on("adoption-without-confirmation") => Ok(Effect::Nothing),
        Action::ConfirmSet { set } => {
            let live = api.get(STATEFUL_SETS, &set.name).await?;
            let meta = &live.tree()["metadata"];
            if live.uid() != set.uid || !meta["deletionTimestamp"].is_null() {
                let another = Status::new(Reason::Conflict, "the set is another one by now, or is being deleted");
                return Err(another.into());
            }
            Ok(Effect::Nothing)
        }
        Action::AdoptRevision { revision, patch }
        | Action::RenumberRevision { revision, patch, .. }
        | Action::AnnotateRevision { revision, patch } => api.merge(REVISIONS, &revision.name, patch.clone()).await,
        Action::AdoptPod { pod, patch } | Action::ReleasePod { pod, patch } | Action::RepairPod { pod, patch, .. } => {
            api.merge(PODS, &pod.name, patch.clone()).await
        }
        Action::CreateRevision { body, .. } => api.create(REVISIONS, body.clone()).await,
        Action::DeleteRevision { revision } => api.delete(REVISIONS, revision, None, None).await,
        Action::CreateClaim { body, .. } => api.create(CLAIMS, body.clone()).await,
        Action::SetClaimOwners { claim, patch, .. } => api.merge(CLAIMS, &claim.name, patch.clone()).await,
        Action::CreatePod { body, .. } => api.create(PODS, body.clone()).await,
        Action::DeletePod { pod, .. } => api.delete(PODS, pod, None, None).await,
        Action::RollBack { set, patch, .. } => api.strategic(STATEFUL_SETS, &set.name, patch.clone()).await,
        Action::ReleaseSet { set, patch } => api.merge(STATEFUL_SETS, &set.name, patch.clone()).await,
        Action::WriteStatus { set, patch } => {
            api.patient().merge_into(STATEFUL_SETS, "status", &set.name, patch.clone()).await
        }
    }
}

fn reference(set: &SetFacts) -> ObjectReference {
    ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some("StatefulSet".to_owned()),
        namespace: Some(set.namespace.clone()),
        name: Some(set.name.clone()),
        uid: Some(set.uid.0.clone()),
        resource_version: Some(set.resource_version.to_string()),
        field_path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use controllers_core::words::Target;
    use meta::{ResourceVersion, Uid};
    use serde_json::json;

    #[test]
    fn a_status_alone_waits_a_moment_for_a_step_that_takes_it_along() {
        let set = Target { name: "db".to_owned(), uid: Uid("u".to_owned()), resource_version: ResourceVersion(7) };
        let status = || Some(Action::WriteStatus { set: set.clone(), patch: json!({}) });
        let alone = || Plan { status: status(), ..Plan::default() };
        let with_a_step = || Plan { batches: vec![vec![vec![Action::ConfirmSet { set: set.clone() }]]], ..alone() };
        let millis = |millis| Timestamp::from_millisecond(millis).expect("a moment");
        let mut memory = Memory::default();
        let mut look = |mut plan: Plan, now| {
            memory.hold_status_back(&mut plan, millis(now));
            (plan.status.is_some(), plan.look_again.map(Timestamp::as_millisecond))
        };
        for (plan, now, is_written, look_again) in [
            (alone(), 100, false, Some(105)),
            // Another change does not make it wait longer.
            (alone(), 103, false, Some(105)),
            (alone(), 105, true, None),
            (alone(), 110, false, Some(115)),
            (with_a_step(), 111, true, None),
            (alone(), 120, false, Some(125)),
            // It changed back: there is nothing to write, and nothing is due.
            (Plan::default(), 121, false, None),
            (alone(), 126, false, Some(131)),
            // An earlier look stays.
            (Plan { look_again: Some(millis(129)), ..alone() }, 127, false, Some(129)),
            // The clock was set back.
            (alone(), 90, true, None),
        ] {
            assert_eq!(look(plan, now), (is_written, look_again), "at {now}");
        }
    }

    #[test]
    fn a_pod_that_changes_nothing_that_counts_wakes_nobody() {
        // C-3.
        let pod = |change: serde_json::Value| -> Pod {
            let mut pod = json!({"metadata": {"name": "web-0", "resourceVersion": "1", "labels": {"app": "web"}},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}});
            for (path, value) in change.as_object().into_iter().flatten() {
                let (parent, field) = path.rsplit_once('/').unwrap_or_default();
                if let Some(parent) = pod.pointer_mut(parent) {
                    parent[field] = value.clone();
                }
            }
            serde_json::from_value(pod).expect("a pod")
        };
        let before = pod(json!({}));
        for (change, counts) in [
            (json!({}), false),
            (json!({"/metadata/resourceVersion": "2"}), false),
            (json!({"/status/podIP": "10.0.0.1"}), false),
            (json!({"/metadata/labels": {"app": "other"}}), true),
            (json!({"/metadata/ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}]}), true),
            (json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}), true),
            (json!({"/status/phase": "Failed"}), true),
            (json!({"/status/conditions": [{"type": "Ready", "status": "True"}]}), true),
            (
                json!({"/status/conditions": [{"type": "Ready", "status": "False"},
                {"type": "roadstead.dev/EverReady", "status": "False"}]}),
                true,
            ),
        ] {
            assert_eq!(matters(&before, &pod(change.clone())), counts, "{change}");
        }
    }
}
