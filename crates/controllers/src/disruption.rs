//! The disruption controller: obeys `controllers_core::disruption::plan`.

use std::collections::BTreeMap;
use std::sync::Arc;

use controllers_core::deployment::{DeploymentFacts, KIND as DEPLOYMENT};
use controllers_core::disruption::{BudgetFacts, Scale, View, plan};
use controllers_core::replicas::SetFacts;
use controllers_core::subject::Facts;
use controllers_core::words::controller_of;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::Parts;
use crate::kinds::of_reference;
use crate::run::Controller;
use crate::stateful_set::CachedSet;
use crate::workload::{Desk, Known, Memory, follow, matters, wake_all};

struct DisruptionController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    budgets: Informer<Known<BudgetFacts>>,
    pods: Informer<Pod>,
    stateful_sets: Informer<CachedSet>,
    replica_sets: Informer<Known<SetFacts>>,
    deployments: Informer<Known<DeploymentFacts>>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(DisruptionController {
        desk: Desk::of(parts, "disruption-controller"),
        clock: Arc::clone(&parts.clock),
        budgets: parts.informers.of(),
        pods: parts.informers.of(),
        stateful_sets: parts.informers.of(),
        replica_sets: parts.informers.of(),
        deployments: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for DisruptionController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.budgets.synced().await;
        self.pods.synced().await;
        self.stateful_sets.synced().await;
        self.replica_sets.synced().await;
        self.deployments.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.budgets, &self.queue);
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
        let this = Arc::clone(self);
        self.stateful_sets.on_change(move |change| this.scale_changed(change, |set| set.0.replicas));
        let this = Arc::clone(self);
        self.replica_sets.on_change(move |change| this.scale_changed(change, |set| set.0.replicas));
        let this = Arc::clone(self);
        self.deployments.on_change(move |change| this.scale_changed(change, |deployment| deployment.0.replicas));
    }

    fn wake_all(&self) {
        wake_all(&self.budgets, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.budgets, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let budget = self.budgets.get(&key.namespace, &key.name)?;
        let budget = &budget.value.0;
        let pods = self.pods.matching(Some(&key.namespace), |pod| budget.selects(pod.metadata.labels.as_ref()));
        let mut scales = BTreeMap::new();
        for owner in pods.iter().filter_map(|pod| controller_of(&pod.metadata)) {
            if !scales.contains_key(&owner.uid) {
                scales.insert(owner.uid.clone(), self.scale_of(&key.namespace, owner));
            }
        }
        let view = View { budget, pods: pods.iter().map(|pod| &*pod.value).collect(), scales };
        let plan = plan(&view, self.clock.now());
        Some(self.desk.obey(&budget.subject, &plan, memory).await)
    }
}

impl DisruptionController {
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
        {
            return;
        }
        for pod in [&change.before, &change.after].into_iter().flatten() {
            self.wake(pod.namespace(), |budget| budget.0.selects(pod.metadata.labels.as_ref()));
        }
    }

    /// A controller that wants another number of pods changes every budget over them.
    fn scale_changed<T: Cacheable>(&self, change: &Change<T>, replicas: impl Fn(&T) -> i32) {
        let wanted = |state: &Option<Arc<informer::Cached<T>>>| state.as_ref().map(|cached| replicas(&*cached.value));
        if wanted(&change.before) != wanted(&change.after) {
            self.wake(change.newest().namespace(), |_| true);
        }
    }

    fn wake(&self, namespace: &str, wanted: impl Fn(&Known<BudgetFacts>) -> bool) {
        for budget in self.budgets.matching(Some(namespace), wanted) {
            self.queue.add(Key::new(namespace, budget.name()));
        }
    }

    /// The UID and the scale of what controls a pod; a Deployment's for its ReplicaSets.
    fn scale_of(&self, namespace: &str, owner: &OwnerReference) -> (String, Scale) {
        let none = || (owner.uid.clone(), Scale::NotFound);
        let wanted = |uid: &str, replicas: i32| (uid.to_owned(), Scale::Wanted(replicas));
        match (owner.api_version.split_once('/').map_or("", |(group, _)| group), owner.kind.as_str()) {
            ("apps", "StatefulSet") => {
                let set = self.stateful_sets.get(namespace, &owner.name).filter(|set| set.uid() == owner.uid);
                set.map_or_else(none, |set| wanted(&owner.uid, set.0.replicas))
            }
            ("apps", "ReplicaSet") => {
                let set = self.replica_sets.get(namespace, &owner.name).filter(|set| set.uid() == owner.uid);
                let Some(set) = set else { return none() };
                match set.value.0.subject.controller().filter(|owner| owner.kind == DEPLOYMENT.kind) {
                    Some(owner) => {
                        let found = self.deployments.get(namespace, &owner.name);
                        let found = found.filter(|found| found.uid() == owner.uid);
                        found.map_or_else(none, |found| wanted(&owner.uid, found.value.0.replicas))
                    }
                    None => wanted(&owner.uid, set.value.0.replicas),
                }
            }
            _ => match of_reference(&owner.api_version, &owner.kind) {
                Some(row) => (owner.uid.clone(), Scale::Unscalable(row.resource.group_resource())),
                None => none(),
            },
        }
    }
}
