//! The kinds that can own or be owned: what an owner reference's `apiVersion` and `kind` mean.

use api::resources;
use meta::ResourceId;

/// One kind.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) resource: ResourceId,
    pub(crate) namespaced: bool,
}

const fn namespaced(kind: &'static str, resource: ResourceId) -> Row {
    Row { kind, resource, namespaced: true }
}

const fn cluster(kind: &'static str, resource: ResourceId) -> Row {
    Row { kind, resource, namespaced: false }
}

/// Every stored kind but Events, which own nothing and expire by themselves.
pub(crate) static KINDS: [Row; 15] = [
    namespaced("Pod", resources::PODS),
    namespaced("StatefulSet", resources::STATEFUL_SETS),
    namespaced("ControllerRevision", resources::CONTROLLER_REVISIONS),
    namespaced("PersistentVolumeClaim", resources::PERSISTENT_VOLUME_CLAIMS),
    namespaced("Service", resources::SERVICES),
    namespaced("Endpoints", resources::ENDPOINTS),
    namespaced("EndpointSlice", resources::ENDPOINT_SLICES),
    namespaced("ConfigMap", resources::CONFIG_MAPS),
    namespaced("Secret", resources::SECRETS),
    namespaced("ServiceAccount", resources::SERVICE_ACCOUNTS),
    namespaced("Lease", resources::LEASES),
    cluster("Node", resources::NODES),
    cluster("Namespace", resources::NAMESPACES),
    cluster("PersistentVolume", resources::PERSISTENT_VOLUMES),
    cluster("StorageClass", resources::STORAGE_CLASSES),
];

/// The kind that an owner reference means; versions of one group are the same objects.
pub(crate) fn of_reference(api_version: &str, kind: &str) -> Option<&'static Row> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    KINDS.iter().find(|row| row.kind == kind && row.resource.group == group)
}
