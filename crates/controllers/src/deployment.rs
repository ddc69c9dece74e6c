//! The Deployment controller: obeys `controllers_core::deployment::plan`.

use std::sync::Arc;

use controllers_core::deployment::{DeploymentFacts, Strategy, View, plan};
use controllers_core::replicas::SetFacts;
use controllers_core::subject::{Facts, Subject};
use controllers_core::words::controller_of;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::Pod;

use crate::Parts;
use crate::run::Controller;
use crate::workload::{Desk, Known, Memory, follow, named, wake_all};

struct DeploymentController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    deployments: Informer<Known<DeploymentFacts>>,
    sets: Informer<Known<SetFacts>>,
    pods: Informer<Pod>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(DeploymentController {
        desk: Desk::of(parts, "deployment-controller"),
        clock: Arc::clone(&parts.clock),
        deployments: parts.informers.of(),
        sets: parts.informers.of(),
        pods: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for DeploymentController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.deployments.synced().await;
        self.sets.synced().await;
        self.pods.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.deployments, &self.queue);
        let this = Arc::clone(self);
        self.sets.on_change(move |change| {
            for set in [&change.before, &change.after].into_iter().flatten() {
                let subject = &set.value.0.subject;
                match subject.controller() {
                    Some(owner) => {
                        let key = named(&this.deployments, &subject.namespace, owner);
                        key.into_iter().for_each(|key| this.queue.add(key));
                    }
                    None => this.wake_selecting(subject),
                }
            }
        });
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        wake_all(&self.deployments, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.deployments, &key.namespace).await && memory.settle(&self.sets, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let deployment = self.deployments.get(&key.namespace, &key.name)?;
        let deployment = &deployment.value.0;
        let uid = &deployment.subject.uid.0;
        let near = |set: &Known<SetFacts>| {
            let name = &set.0.subject.name;
            set.0.subject.controller().is_none_or(|owner| owner.uid == *uid) || name.starts_with(&key.name)
        };
        let near = self.sets.matching(Some(&key.namespace), near);
        let owned = near.iter().filter(|set| set.value.0.subject.controller().is_some_and(|owner| owner.uid == *uid));
        let pods: Vec<_> = match deployment.strategy {
            Strategy::Recreate => owned.flat_map(|set| self.pods.owned_by(set.uid())).collect(),
            Strategy::RollingUpdate { .. } => Vec::new(),
        };
        let plan = plan(
            &View {
                deployment,
                sets: near.iter().map(|set| &set.value.0).collect(),
                taken: near.iter().map(|set| set.name()).collect(),
                pods: pods.iter().map(|pod| &*pod.value).collect(),
                failure: memory.failure.as_ref(),
            },
            self.clock.now(),
        );
        Some(self.desk.obey(&deployment.subject, &plan, memory).await)
    }
}

impl DeploymentController {
    /// Deployments that would take over a ReplicaSet of nobody's.
    fn wake_selecting(&self, set: &Subject) {
        let selects = |found: &Known<DeploymentFacts>| found.0.selects(Some(&set.labels));
        for deployment in self.deployments.matching(Some(&set.namespace), selects) {
            self.queue.add(Key::new(&set.namespace, deployment.name()));
        }
    }

    /// A pod's end matters to a Deployment of strategy Recreate only: it waits for all old pods to be gone.
    fn pod_changed(&self, change: &Change<Pod>) {
        let has_ended = |pod: &Pod| controllers_core::pods::has_ended(pod);
        if change.after.as_ref().is_some_and(|pod| !has_ended(pod)) {
            return;
        }
        let pod = change.newest();
        let set = controller_of(&pod.metadata).and_then(|owner| named(&self.sets, pod.namespace(), owner));
        let Some(set) = set.and_then(|key| self.sets.get(&key.namespace, &key.name)) else { return };
        let owner = set.value.0.subject.controller();
        let key = owner.and_then(|owner| named(&self.deployments, pod.namespace(), owner));
        let Some(key) = key else { return };
        let is_recreate = |found: &Known<DeploymentFacts>| matches!(found.0.strategy, Strategy::Recreate);
        if self.deployments.get(&key.namespace, &key.name).is_some_and(|found| is_recreate(&found.value)) {
            self.queue.add(key);
        }
    }
}
