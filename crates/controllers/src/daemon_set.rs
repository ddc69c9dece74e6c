//! The DaemonSet controller: obeys `controllers_core::daemon_set::plan`.

use std::sync::Arc;

use controllers_core::daemon_set::{SetFacts, View, plan};
use controllers_core::words::controller_of;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};

use crate::Parts;
use crate::run::Controller;
use crate::workload::{Desk, Known, Memory, follow, matters, near_pods, wake_all, wake_on_relief, wake_owner};

struct DaemonSetController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    sets: Informer<Known<SetFacts>>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    quotas: Informer<ResourceQuota>,
    revisions: Informer<ControllerRevision>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(DaemonSetController {
        desk: Desk::of(parts, "daemonset-controller"),
        clock: Arc::clone(&parts.clock),
        sets: parts.informers.of(),
        nodes: parts.informers.of(),
        pods: parts.informers.of(),
        quotas: parts.informers.of(),
        revisions: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for DaemonSetController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.nodes.synced().await;
        self.pods.synced().await;
        self.revisions.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.sets, &self.queue);
        wake_on_relief(&self.quotas, &self.sets, &self.queue);
        let this = Arc::clone(self);
        self.nodes.on_change(move |change| {
            if is_news(change) {
                this.wake_all();
            }
        });
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        wake_all(&self.sets, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.sets, &key.namespace).await
            && memory.settle(&self.pods, &key.namespace).await
            && memory.settle(&self.revisions, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let set = self.sets.get(&key.namespace, &key.name)?;
        let set = &set.value.0;
        let pods = near_pods(&self.pods, set);
        let nodes = self.nodes.list();
        let near = |revision: &ControllerRevision| match controller_of(&revision.metadata) {
            Some(owner) => owner.uid == set.subject.uid.0 || revision.name().starts_with(&set.subject.name),
            None => true,
        };
        let revisions = self.revisions.matching(Some(&key.namespace), near);
        let view = View {
            set,
            nodes: nodes.iter().map(|node| &*node.value).collect(),
            pods: pods.iter().map(|pod| &*pod.value).collect(),
            revisions: revisions.iter().map(|revision| &*revision.value).collect(),
        };
        let plan = plan(&view, self.clock.now());
        Some(self.desk.obey(&set.subject, &plan, memory).await)
    }
}

impl DaemonSetController {
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
            && before.spec.as_ref().map(|spec| &spec.node_name) == after.spec.as_ref().map(|spec| &spec.node_name)
        {
            return;
        }
        for pod in [&change.before, &change.after].into_iter().flatten() {
            wake_owner(&self.sets, &self.queue, &pod.metadata);
        }
    }
}

/// Whether a node's change can change where pods run; a heartbeat cannot.
fn is_news(change: &Change<Node>) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
            before.metadata.labels != after.metadata.labels || taints(before) != taints(after)
        }
        (Some(_), None) | (None, Some(_)) | (None, None) => true,
    }
}
