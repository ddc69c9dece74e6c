//! The ReplicaSet controller: obeys `controllers_core::replica_set::plan`.

use std::collections::BTreeMap;
use std::sync::Arc;

use controllers_core::pods;
use controllers_core::replica_set::{View, plan};
use controllers_core::replicas::SetFacts;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};

use crate::Parts;
use crate::run::Controller;
use crate::workload::{Desk, Known, Memory, follow, matters, near_pods, wake_all, wake_on_relief, wake_owner};

struct ReplicaSetController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    sets: Informer<Known<SetFacts>>,
    pods: Informer<Pod>,
    quotas: Informer<ResourceQuota>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(ReplicaSetController {
        desk: Desk::of(parts, "replicaset-controller"),
        clock: Arc::clone(&parts.clock),
        sets: parts.informers.of(),
        pods: parts.informers.of(),
        quotas: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for ReplicaSetController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.pods.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.sets, &self.queue);
        wake_on_relief(&self.quotas, &self.sets, &self.queue);
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        wake_all(&self.sets, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.sets, &key.namespace).await && memory.settle(&self.pods, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let set = self.sets.get(&key.namespace, &key.name)?;
        let set = &set.value.0;
        let near = near_pods(&self.pods, set);
        let active = near.iter().filter(|pod| pods::is_active(pod)).count();
        let is_shrinking = active > usize::try_from(set.replicas).unwrap_or(0);
        let plan = plan(
            &View {
                set,
                pods: near.iter().map(|pod| &*pod.value).collect(),
                neighbours: if is_shrinking { self.neighbours(set) } else { BTreeMap::new() },
                failure: memory.failure.as_ref(),
            },
            self.clock.now(),
        );
        Some(self.desk.obey(&set.subject, &plan, memory).await)
    }
}

impl ReplicaSetController {
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
        {
            return;
        }
        for pod in [&change.before, &change.after].into_iter().flatten() {
            wake_owner(&self.sets, &self.queue, &pod.metadata);
        }
    }

    /// Active pods by node, of all ReplicaSets with the same controller.
    fn neighbours(&self, set: &SetFacts) -> BTreeMap<String, usize> {
        let siblings = match set.subject.controller() {
            Some(controller) => self.sets.owned_by(&controller.uid),
            None => self.sets.get(&set.subject.namespace, &set.subject.name).into_iter().collect(),
        };
        let mut by_node = BTreeMap::new();
        for sibling in siblings {
            for pod in self.pods.owned_by(sibling.uid()).iter().filter(|pod| pods::is_active(pod)) {
                *by_node.entry(pods::node(pod).to_owned()).or_default() += 1;
            }
        }
        by_node
    }
}
