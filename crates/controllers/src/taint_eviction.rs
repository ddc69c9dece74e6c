//! Eviction by taint: obeys `controllers_core::taint_eviction::plan`, pod by pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use controllers_core::pods;
use controllers_core::taint_eviction::{TaintId, View, evicting, plan, seen};
use informer::events::reference_to;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod, Toleration};
use meta::Timestamp;

use crate::Parts;
use crate::run::Controller;
use crate::workload::{self, Desk};

/// What one look at a pod leaves for the next.
#[derive(Default)]
struct Memory {
    writes: workload::Memory,
    seen: BTreeMap<TaintId, Timestamp>,
}

struct TaintEviction {
    desk: Desk,
    clock: Arc<dyn Clock>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(TaintEviction {
        desk: Desk::of(parts, "taint-eviction-controller"),
        clock: Arc::clone(&parts.clock),
        pods: parts.informers.of(),
        nodes: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for TaintEviction {
    /// A pod.
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.nodes.on_change(move |change| this.node_changed(change));
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        for node in self.nodes.matching(None, |node| evicting(node).next().is_some()) {
            self.wake_pods_on(node.name());
        }
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.writes.settle(&self.pods, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let pod = self.pods.get(&key.namespace, &key.name)?;
        let node = self.nodes.get("", pods::node(&pod));
        let node = node.as_ref().map(|node| &*node.value);
        let now = self.clock.now();
        memory.seen = seen(node, &memory.seen, now);
        let plan = plan(&View { pod: &pod.value, node, seen: &memory.seen }, now);
        let about = reference_to(&*pod.value);
        Some(self.desk.obey_in(&key.namespace, Some(&about), &plan, &mut memory.writes).await)
    }
}

impl TaintEviction {
    fn wake_pods_on(&self, node: &str) {
        for pod in self.pods.matching(None, |pod| pods::node(pod) == node) {
            self.queue.add(Key::new(pod.namespace(), pod.name()));
        }
    }

    fn node_changed(&self, change: &Change<Node>) {
        let taints = |node: &Node| evicting(node).cloned().collect::<Vec<_>>();
        let [before, after] = [&change.before, &change.after]
            .map(|state| state.as_ref().map(|node| taints(&node.value)).unwrap_or_default());
        if before != after {
            self.wake_pods_on(change.newest().name());
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.newest();
        let is_same = |before: &Pod, after: &Pod| {
            pods::node(before) == pods::node(after) && tolerations(before) == tolerations(after)
        };
        // One that is gone is looked at once more, so that it is forgotten.
        let is_news = match (&change.before, &change.after) {
            (Some(before), Some(after)) => !is_same(before, after),
            (None, _) | (_, None) => true,
        };
        let is_driven_away =
            || self.nodes.get("", pods::node(pod)).is_some_and(|node| evicting(&node).next().is_some());
        if is_news && !pods::node(pod).is_empty() && is_driven_away() {
            self.queue.add(Key::new(pod.namespace(), pod.name()));
        }
    }
}

fn tolerations(pod: &Pod) -> Option<&[Toleration]> {
    pod.spec.as_ref()?.tolerations.as_deref()
}
