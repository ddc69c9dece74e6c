//! EndpointSlices, and the older Endpoints, from a Service and its pods (section 3.3).
//!
//! Names are deterministic (Service, address family, resolved ports, index), so a repeated create is a conflict and not
//! a second slice. A pod stays in the slice that lists it, so that one pod's change rewrites one slice. What is there is
//! compared field by field; trees are made only for what has to be written. Start with [`plan`].

mod legacy;
mod rest;
mod slices;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Endpoints, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use crate::words::{Target, is_terminating};

pub use rest::Rest;

/// Label of a slice that names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label of a slice that says who keeps it.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on slices kept here.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Label of slices and Endpoints of headless Services.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Endpoints in one slice, at most (N-32).
pub const ENDPOINTS_PER_SLICE_MAX: usize = 100;

/// What the planner looks at.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Pods of its namespace; those that its selector does not select are left out by [`plan`].
    pub pods: Vec<&'a Pod>,
    /// The slices that carry its name and are kept here.
    pub slices: Vec<&'a EndpointSlice>,
    /// The Endpoints of its name.
    pub endpoints: Option<&'a Endpoints>,
    /// Zone (`topology.kubernetes.io/zone`) by node name.
    pub zones: BTreeMap<&'a str, &'a str>,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Create a slice.
    CreateSlice {
        /// The object.
        body: Value,
    },
    /// Change a slice.
    UpdateSlice {
        /// The slice.
        slice: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Remove a slice that nothing is in any more.
    DeleteSlice {
        /// The slice.
        slice: Target,
    },
    /// Create the Endpoints.
    CreateEndpoints {
        /// The object.
        body: Value,
    },
    /// Change the Endpoints.
    UpdateEndpoints {
        /// The Endpoints.
        endpoints: Target,
        /// Merge patch.
        patch: Value,
    },
}

/// What to do. All of it may happen at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The writes.
    pub actions: Vec<Action>,
    /// How many pods are listed.
    pub members: usize,
}

/// Decides which slices and Endpoints a Service should have. A Service without a selector is kept by its user.
pub fn plan(view: &View<'_>) -> Plan {
    let Some(spec) = &view.service.spec else { return Plan::default() };
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    let Some(selector) = selector.filter(|_| spec.type_.as_deref() != Some("ExternalName")) else {
        return Plan::default();
    };
    if is_terminating(&view.service.metadata) {
        return Plan::default();
    }
    let selected = view.pods.iter().filter(|pod| selects(selector, pod));
    let mut members: Vec<Member<'_>> = selected.filter_map(|pod| Member::of(pod, view)).collect();
    members.sort_by_key(|member| member.name);
    let mut actions = slices::plan(view, &members);
    actions.extend(legacy::plan(view, &members));
    Plan { actions, members: members.len() }
}

/// Whether a Service's selector selects a pod; an empty one selects nothing.
pub fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// A pod that is listed (N-28): it has an address and has not ended.
#[derive(Clone, Debug)]
struct Member<'a> {
    name: &'a str,
    uid: &'a str,
    namespace: &'a str,
    addresses: Vec<&'a str>,
    node: Option<&'a str>,
    zone: Option<&'a str>,
    hostname: Option<&'a str>,
    serving: bool,
    terminating: bool,
    ready: bool,
    ports: Vec<Port<'a>>,
}

/// A port of a Service, resolved for one pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Port<'a> {
    name: &'a str,
    protocol: &'a str,
    app_protocol: Option<&'a str>,
    port: i32,
}

impl<'a> Member<'a> {
    fn of(pod: &'a Pod, view: &View<'a>) -> Option<Self> {
        let status = pod.status.as_ref()?;
        if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            return None;
        }
        let mut addresses: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
        if addresses.is_empty() {
            addresses.extend(status.pod_ip.as_deref());
        }
        addresses.retain(|address| !address.is_empty());
        if addresses.is_empty() {
            return None;
        }
        let spec = pod.spec.as_ref()?;
        let service = view.service;
        let serving = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let terminating = is_terminating(&pod.metadata);
        let named = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
        Some(Self {
            name: pod.metadata.name.as_deref().unwrap_or_default(),
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            namespace: pod.metadata.namespace.as_deref().unwrap_or_default(),
            addresses,
            node: spec.node_name.as_deref(),
            zone: spec.node_name.as_deref().and_then(|node| view.zones.get(node)).copied(),
            hostname: named.filter(|_| spec.subdomain.is_some() && spec.subdomain == service.metadata.name),
            serving,
            terminating,
            ready: publishes_unready(service) || (serving && !terminating),
            ports: service_ports(service).iter().filter_map(|port| resolve(port, pod)).collect(),
        })
    }

    fn target_reference(&self) -> Value {
        json!({"kind": "Pod", "namespace": self.namespace, "name": self.name, "uid": self.uid})
    }

    /// Whether a reference is the one that [`Member::target_reference`] writes.
    fn is_referred_to(&self, found: Option<&ObjectReference>) -> bool {
        found.is_some_and(|found| {
            found.kind.as_deref() == Some("Pod")
                && found.namespace.as_deref() == Some(self.namespace)
                && found.name.as_deref() == Some(self.name)
                && found.uid.as_deref() == Some(self.uid)
                && found.api_version.is_none()
                && found.resource_version.is_none()
                && found.field_path.is_none()
        })
    }
}

fn service_ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The port a pod serves for a Service's port; `None` if it has no port of that name (N-32).
fn resolve<'a>(port: &'a ServicePort, pod: &Pod) -> Option<Port<'a>> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers =
                pod.spec.as_ref()?.containers.iter().flat_map(|container| container.ports.iter().flatten());
            let mut found = containers.filter(|port| {
                port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            found.next()?.container_port
        }
    };
    Some(Port {
        name: port.name.as_deref().unwrap_or_default(),
        protocol,
        app_protocol: port.app_protocol.as_deref(),
        port: number,
    })
}

/// This Service as the owner of what is made for it.
fn owner_reference(service: &Service) -> Value {
    json!([{
        "apiVersion": "v1",
        "kind": "Service",
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// The Service's labels (without reserved ones) and `more`; `""` marks a headless Service.
fn labels(service: &Service, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let reserved = [SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL];
    let own = service.metadata.labels.iter().flatten().filter(|(key, _)| !reserved.contains(&key.as_str()));
    let mut labels: BTreeMap<String, String> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

/// A merge patch of labels that makes `found` equal to `wanted`.
fn label_patch(found: &ObjectMeta, wanted: &BTreeMap<String, String>) -> Option<Value> {
    let none = BTreeMap::new();
    let found = found.labels.as_ref().unwrap_or(&none);
    if found == wanted {
        return None;
    }
    let mut patch: Map<String, Value> = wanted.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    for key in found.keys().filter(|key| !wanted.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}
