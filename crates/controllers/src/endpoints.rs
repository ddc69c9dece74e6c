//! The endpoints controller: obeys `controllers_core::endpoints::plan`.

use std::sync::Arc;

use api::resources::{ENDPOINT_SLICES, ENDPOINTS};
use client::Client;
use controllers_core::endpoints::{
    Action, MANAGED_BY_LABEL, MANAGER, Plan, Rest, SERVICE_NAME_LABEL, View, plan, selects,
};
use controllers_core::words::is_terminating;
use futures::future::join_all;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::Parts;
use crate::act::Api;
use crate::run::Controller;
use crate::seen::{Unseen, Written};

/// Label of a node that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[derive(Debug, Default)]
struct Memory {
    slices: Unseen,
    endpoints: Unseen,
    rest: Rest,
}

struct EndpointsController {
    client: Arc<dyn Client>,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    nodes: Informer<Node>,
    clock: Arc<dyn Clock>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(EndpointsController {
        client: parts.client("endpointslice-controller"),
        services: parts.informers.of(),
        pods: parts.informers.of(),
        slices: parts.informers.of(),
        endpoints: parts.informers.of(),
        nodes: parts.informers.of(),
        clock: Arc::clone(&parts.clock),
        queue: parts.queue(),
    });
}

impl Controller for EndpointsController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

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

    fn wake_all(&self) {
        for service in self.services.list() {
            self.queue.add(Key::new(service.namespace(), service.name()));
        }
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.slices.settle(&self.slices, &key.namespace).await
            && memory.endpoints.settle(&self.endpoints, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        if let Some(until) = memory.rest.lasts(self.clock.now()) {
            return Some(Outcome::LookAgain(until));
        }
        let plan = self.plan(key)?;
        if !plan.actions.is_empty() {
            memory.rest = Rest::after(self.clock.now(), plan.members);
        }
        let api = Api::new(&self.client, &key.namespace).patient();
        let outcomes = join_all(plan.actions.iter().map(|action| perform(&api, action))).await;
        let mut failed = false;
        for (action, outcome) in plan.actions.iter().zip(outcomes) {
            if let Err(error) = memory.unseen(action).noted(outcome) {
                tracing::debug!(namespace = key.namespace, name = key.name, %error, "an endpoints write failed");
                failed = true;
            }
        }
        Some(if failed { Outcome::Failed } else { Outcome::Done })
    }
}

impl EndpointsController {
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
            selector.is_some_and(|selector| states.iter().any(|pod| selects(selector, pod)))
        };
        let namespace = change.newest().namespace();
        for service in self.services.matching(Some(namespace), selects) {
            self.queue.add(Key::new(namespace, service.name()));
        }
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
            pods: pods.iter().map(|pod| &*pod.value).collect(),
            slices: slices.iter().map(|slice| &*slice.value).collect(),
            endpoints: endpoints.as_ref().map(|endpoints| &*endpoints.value),
            zones: zones.collect(),
        }))
    }
}

impl Memory {
    fn unseen(&mut self, action: &Action) -> &mut Unseen {
        match action {
            Action::CreateSlice { .. } | Action::UpdateSlice { .. } | Action::DeleteSlice { .. } => &mut self.slices,
            Action::CreateEndpoints { .. } | Action::UpdateEndpoints { .. } => &mut self.endpoints,
        }
    }
}

async fn perform(api: &Api, action: &Action) -> Written {
    match action {
        Action::CreateSlice { body } => api.create(ENDPOINT_SLICES, body.clone()).await,
        Action::UpdateSlice { slice, patch } => api.merge(ENDPOINT_SLICES, &slice.name, patch.clone()).await,
        Action::DeleteSlice { slice } => api.delete(ENDPOINT_SLICES, slice, None, None).await,
        Action::CreateEndpoints { body } => api.create(ENDPOINTS, body.clone()).await,
        Action::UpdateEndpoints { endpoints, patch } => api.merge(ENDPOINTS, &endpoints.name, patch.clone()).await,
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
