//! What the controllers show in `/metrics`, under upstream's names (C-98).
//!
//! Counted when somebody asks, from the caches: nothing is kept, so nothing goes stale when a set is deleted.

use std::sync::Arc;

use controllers_core::stateful_set::{PodManagement, figures};
use informer::{Cacheable, Clock, Informer, Informers};
use k8s_openapi::api::core::v1::Pod;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::stateful_set::CachedSet;

/// What a set's figures are told apart by.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct SetLabels {
    statefulset_namespace: String,
    statefulset_name: String,
    pod_management_policy: &'static str,
}

/// Counts on demand.
#[derive(Clone)]
pub struct Figures {
    sets: Informer<CachedSet>,
    pods: Informer<Pod>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    pub(crate) fn new(informers: &Informers, clock: Arc<dyn Clock>) -> Self {
        Self { sets: informers.of(), pods: informers.of(), clock }
    }

    /// Adds the figures of this moment.
    pub fn register(&self, registry: &mut Registry) {
        let (allowed, unavailable) = (Family::<SetLabels, Gauge>::default(), Family::<SetLabels, Gauge>::default());
        let now = self.clock.now();
        for set in self.sets.list() {
            let pods = self.pods.owned_by(set.uid());
            let Some(counted) = figures(&set.0, pods.iter().map(|pod| &*pod.value), now) else { continue };
            let labels = SetLabels {
                statefulset_namespace: set.namespace().to_owned(),
                statefulset_name: set.name().to_owned(),
                pod_management_policy: match set.0.pod_management {
                    PodManagement::OrderedReady => "OrderedReady",
                    PodManagement::Parallel => "Parallel",
                },
            };
            allowed.get_or_create(&labels).set(counted.max_unavailable.into());
            unavailable.get_or_create(&labels).set(counted.unavailable.into());
        }
        registry.register(
            "statefulset_controller_statefulset_max_unavailable",
            "Pods of the set that may be unavailable while an update rolls",
            allowed,
        );
        registry.register(
            "statefulset_controller_statefulset_unavailable_replicas",
            "Pods of the set that are missing, going, or not available",
            unavailable,
        );
    }
}
