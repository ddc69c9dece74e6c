//! The endpoints controller: obeys `controllers_core::endpoints::plan`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::resources::{ENDPOINT_SLICES, ENDPOINTS};
use client::{Client, Object};
use controllers_core::endpoints::{Action, MANAGED_BY_LABEL, MANAGER, Plan, SERVICE_NAME_LABEL, View, plan};
use controllers_core::words::is_terminating;
use futures::future::join_all;
use informer::{Backoff, Cacheable, Change, Informer, Key, Outcome, WorkQueue, work};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use meta::{LabelSelector, ResourceVersion, Status};

use crate::Parts;
use crate::act::Api;
use crate::seen::Unseen;

/// Label of a node that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[derive(Debug, Default)]
struct Memory {
    slices: Unseen,
    endpoints: Unseen,
}

struct Controller {
    client: Arc<dyn Client>,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    nodes: Informer<Node>,
    queue: Arc<WorkQueue<Key>>,
    memories: Mutex<BTreeMap<Key, Memory>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    let controller = Arc::new(Controller {
        client: parts.client("endpointslice-controller"),
        services: parts.informers.of(),
        pods: parts.informers.of(),
        slices: parts.informers.of(),
        endpoints: parts.informers.of(),
        nodes: parts.informers.of(),
        queue: Arc::new(WorkQueue::new(Arc::clone(&parts.clock), Backoff::CONTROLLER)),
        memories: Mutex::default(),
    });
    let this = Arc::clone(&controller);
    parts.safety_net(move || {
        for service in this.services.list() {
            this.queue.add(Key::new(service.namespace(), service.name()));
        }
    });
    let (cancel, workers) = (parts.cancel.clone(), parts.config.workers);
    parts.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = controller.synced() => {}
        }
        controller.listen();
        work(&controller.queue, workers, &cancel, |key| controller.look(key)).await;
    });
}

impl Controller {
    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.slices.synced().await;
        self.endpoints.synced().await;
        self.nodes.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        self.services.on_change(move |change| queue.add(change.key()));
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
        let queue = Arc::clone(&self.queue);
        self.slices.on_change(move |change| {
            let slice = change.newest();
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)) {
                queue.add(Key::new(slice.namespace(), service));
            }
        });
        let queue = Arc::clone(&self.queue);
        self.endpoints.on_change(move |change| queue.add(change.key()));
    }

    /// Wakes the Services that select the pod, or did so before the change.
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
        {
            return;
        }
        let states: Vec<_> = [&change.before, &change.after].into_iter().flatten().collect();
        let selects = |service: &Service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            selector.filter(|selector| !selector.is_empty()).is_some_and(|selector| {
                let selector = LabelSelector::from_labels(selector.clone());
                states.iter().any(|pod| selector.matches(&pod.metadata.labels))
            })
        };
        let namespace = change.newest().namespace();
        for service in self.services.matching(Some(namespace), selects) {
            self.queue.add(Key::new(namespace, service.name()));
        }
    }

    async fn look(&self, key: Key) -> Outcome {
        let memories = || self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = memories().remove(&key).unwrap_or_default();
        let caught_up = memory.slices.settle(&self.slices, &key.namespace, |s| is_terminating(&s.metadata)).await
            && memory.endpoints.settle(&self.endpoints, &key.namespace, |e| is_terminating(&e.metadata)).await;
        if !caught_up {
            memories().insert(key, memory);
            return Outcome::Failed;
        }
        let Some(plan) = self.plan(&key) else { return Outcome::Done };
        let api = Api::new(&self.client, &key.namespace);
        let outcomes = join_all(plan.actions.iter().map(|action| perform(&api, action))).await;
        let mut failed = false;
        for (action, outcome) in plan.actions.iter().zip(outcomes) {
            match outcome {
                Ok(revision) => note(&mut memory, action, revision),
                Err(error) => {
                    tracing::debug!(namespace = key.namespace, name = key.name, %error, "an endpoints write failed");
                    failed = true;
                }
            }
        }
        memories().insert(key, memory);
        if failed { Outcome::Failed } else { Outcome::Done }
    }

    fn plan(&self, key: &Key) -> Option<Plan> {
        let service = self.services.get(&key.namespace, &key.name)?;
        let pods = self.pods.in_namespace(&key.namespace);
        let slices = self.slices.matching(Some(&key.namespace), |slice| {
            let label = |name: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(name));
            label(SERVICE_NAME_LABEL) == Some(&key.name) && label(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGER)
        });
        let endpoints = self.endpoints.get(&key.namespace, &key.name);
        let nodes = self.nodes.list();
        let zones = nodes.iter().filter_map(|node| {
            Some((node.metadata.name.as_deref()?, node.metadata.labels.as_ref()?.get(ZONE_LABEL)?.as_str()))
        });
        Some(plan(&View {
            service: &service.value,
            pods: pods.iter().map(|pod| &pod.value).collect(),
            slices: slices.iter().map(|slice| &slice.value).collect(),
            endpoints: endpoints.as_ref().map(|endpoints| &endpoints.value),
            zones: zones.collect(),
        }))
    }
}

fn note(memory: &mut Memory, action: &Action, revision: Option<ResourceVersion>) {
    match (action, revision) {
        (Action::CreateSlice { .. } | Action::UpdateSlice { .. }, Some(revision)) => memory.slices.wrote(revision),
        (Action::CreateEndpoints { .. } | Action::UpdateEndpoints { .. }, Some(revision)) => {
            memory.endpoints.wrote(revision);
        }
        (Action::DeleteSlice { slice }, _) => memory.slices.deleted(&slice.name, &slice.uid),
        (_, None) => {}
    }
}

async fn perform(api: &Api, action: &Action) -> Result<Option<ResourceVersion>, Status> {
    let revision = |object: Arc<Object>| Some(object.resource_version);
    match action {
        Action::CreateSlice { body } => api.create(ENDPOINT_SLICES, body.clone()).await.map(revision),
        Action::UpdateSlice { slice, patch } => {
            api.merge(ENDPOINT_SLICES, &slice.name, patch.clone()).await.map(revision)
        }
        Action::DeleteSlice { slice } => api.delete(ENDPOINT_SLICES, slice, None, None).await.map(|()| None),
        Action::CreateEndpoints { body } => api.create(ENDPOINTS, body.clone()).await.map(revision),
        Action::UpdateEndpoints { endpoints, patch } => {
            api.merge(ENDPOINTS, &endpoints.name, patch.clone()).await.map(revision)
        }
    }
}

/// Whether a pod's change can change what is listed.
fn matters(before: &Pod, after: &Pod) -> bool {
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let status = |pod: &Pod| pod.status.as_ref().map(|s| (s.phase.clone(), s.pod_ip.clone(), s.pod_ips.clone()));
    before.metadata.uid != after.metadata.uid
        || before.metadata.labels != after.metadata.labels
        || is_terminating(&before.metadata) != is_terminating(&after.metadata)
        || ready(before) != ready(after)
        || status(before) != status(after)
}
