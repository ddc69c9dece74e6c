//! The pod collector: obeys `controllers_core::pod_collector::plan`, namespace by namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use api::resources::NODES;
use controllers_core::pod_collector::{ENDED_MAX, MissingNode, View, is_out_of_service, plan};
use controllers_core::pods;
use controllers_core::words::is_terminating;
use informer::{Cacheable, Cached, Change, Clock, Informer, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod};
use meta::Timestamp;

use crate::Parts;
use crate::act::Api;
use crate::run::Controller;
use crate::workload::{Desk, Memory};

struct PodCollector {
    desk: Desk,
    clock: Arc<dyn Clock>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// Nodes that pods are bound to and that are missing, since when.
    missing: Mutex<BTreeMap<String, Timestamp>>,
    queue: Arc<WorkQueue<String>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(PodCollector {
        desk: Desk::of(parts, "pod-garbage-collector"),
        clock: Arc::clone(&parts.clock),
        pods: parts.informers.of(),
        nodes: parts.informers.of(),
        missing: Mutex::default(),
        queue: parts.queue(),
    });
}

impl Controller for PodCollector {
    /// A namespace.
    type Key = String;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<String>> {
        &self.queue
    }

    async fn synced(&self) {
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.nodes.on_change(move |change| {
            let is_given_up =
                |node: &Option<Arc<Cached<Node>>>| node.as_ref().is_some_and(|node| is_out_of_service(node));
            if change.before.is_none() || change.after.is_none() || is_given_up(&change.after) {
                this.node_changed(change.newest().name());
            }
        });
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        let namespaces: BTreeSet<String> = self.pods.list().iter().map(|pod| pod.namespace().to_owned()).collect();
        namespaces.into_iter().for_each(|namespace| self.queue.add(namespace));
    }

    async fn settle(&self, namespace: &String, memory: &mut Memory) -> bool {
        memory.settle(&self.pods, namespace).await
    }

    async fn look(&self, namespace: &String, memory: &mut Memory) -> Option<Outcome> {
        let pods = self.pods.in_namespace(namespace);
        let nodes = self.nodes.list();
        let given_up = nodes.iter().filter(|node| is_out_of_service(node));
        let out_of_service: BTreeSet<&str> = given_up.map(|node| node.name()).collect();
        let nodes: BTreeSet<&str> = nodes.iter().map(|node| node.name()).collect();
        let bound: BTreeSet<&str> = pods.iter().map(|pod| pods::node(pod)).filter(|node| !node.is_empty()).collect();
        let now = self.clock.now();
        let mut missing = Vec::new();
        for node in bound.iter().filter(|node| !nodes.contains(*node)) {
            let mut found =
                MissingNode { name: (*node).to_owned(), since: self.missed_since(node, now), is_confirmed: false };
            if found.gone_from() <= now {
                match Api::new(&self.desk.client, "").get(NODES, node).await {
                    Ok(_) => continue,
                    Err(error) if error.is_not_found() => found.is_confirmed = true,
                    Err(_) => return Some(Outcome::Failed),
                }
            }
            missing.push(found);
        }
        let pods = pods.iter().map(|pod| &*pod.value).collect();
        let view = View { pods, nodes, missing, out_of_service, ended_max: ENDED_MAX };
        let plan = plan(&view, now);
        Some(self.desk.obey_in(namespace, None, &plan, memory).await)
    }
}

impl PodCollector {
    fn missed_since(&self, node: &str, now: Timestamp) -> Timestamp {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing.entry(node.to_owned()).or_insert(now)
    }

    fn node_changed(&self, node: &str) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        for pod in self.pods.list().iter().filter(|pod| pods::node(pod) == node) {
            self.queue.add(pod.namespace().to_owned());
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let Some(pod) = &change.after else { return };
        let node = pods::node(pod);
        let is_terminating_on = |node: &Node| is_terminating(&pod.metadata) && is_out_of_service(node);
        let is_lost = !node.is_empty() && self.nodes.get("", node).is_none_or(|node| is_terminating_on(&node));
        let is_stray = node.is_empty() && is_terminating(&pod.metadata);
        let has_just_ended =
            pods::has_ended(pod) && change.before.as_ref().is_none_or(|before| !pods::has_ended(before));
        if is_lost || is_stray || has_just_ended {
            self.queue.add(pod.namespace().to_owned());
        }
    }
}
