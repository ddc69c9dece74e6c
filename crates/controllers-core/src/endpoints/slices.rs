//! The slices of a Service.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{
    Action, ENDPOINTS_PER_SLICE_MAX, MANAGED_BY_LABEL, MANAGER, Member, Port, SERVICE_NAME_LABEL, View, label_patch,
    labels, owner_reference, service_ports,
};
use crate::words::{Target, is_terminating};

/// Address family of a slice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Family {
    IPv4,
    IPv6,
}

impl Family {
    fn of(address: &str) -> Self {
        if address.contains(':') { Self::IPv6 } else { Self::IPv4 }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

/// The families that a Service wants; an IPv4 Service if it does not say.
fn families(view: &View<'_>) -> Vec<Family> {
    let named = view.service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let families: Vec<_> =
        named.into_iter().flatten().map(|family| if family == "IPv6" { Family::IPv6 } else { Family::IPv4 }).collect();
    if families.is_empty() { vec![Family::IPv4] } else { families }
}

pub(super) fn plan(view: &View<'_>, members: &[Member<'_>]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for family in families(view) {
        let mut groups: BTreeMap<Vec<Port>, Vec<Value>> = BTreeMap::new();
        for member in members {
            let mine: Vec<_> = member.addresses.iter().filter(|address| Family::of(address) == family).collect();
            if !mine.is_empty() {
                groups.entry(member.ports.clone()).or_default().push(endpoint(member, mine[0]));
            }
        }
        if groups.is_empty() {
            // A placeholder, so that readers can tell "no endpoints" from "not looked at yet".
            let ports = service_ports(view.service).iter().filter_map(placeholder_port).collect();
            groups.insert(ports, Vec::new());
        }
        for (ports, endpoints) in groups {
            let chunks: Vec<&[Value]> =
                if endpoints.is_empty() { vec![&[]] } else { endpoints.chunks(ENDPOINTS_PER_SLICE_MAX).collect() };
            for (index, chunk) in chunks.into_iter().enumerate() {
                let name = name(view, family, &ports, index);
                wanted.insert(name, content(family, &ports, chunk));
            }
        }
    }
    let mut found: BTreeMap<&str, &EndpointSlice> = BTreeMap::new();
    for slice in view.slices.iter().filter(|slice| !is_terminating(&slice.metadata)) {
        found.insert(slice.metadata.name.as_deref().unwrap_or_default(), slice);
    }
    for (name, content) in wanted {
        match found.remove(name.as_str()) {
            None => actions.push(create(view, &name, content)),
            Some(slice) => actions.extend(update(view, slice, content)),
        }
    }
    actions.extend(found.into_values().map(|slice| Action::DeleteSlice { slice: Target::of(&slice.metadata) }));
    actions
}

/// A port that does not need a pod to be known; a named one becomes known with the first pod.
fn placeholder_port(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<Port> {
    super::resolve(port, &k8s_openapi::api::core::v1::Pod::default())
}

fn endpoint(member: &Member<'_>, address: &str) -> Value {
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": member.ready, "serving": member.serving, "terminating": member.terminating},
        "targetRef": member.target_reference(),
    });
    for (field, value) in [("hostname", member.hostname), ("nodeName", member.node), ("zone", member.zone)] {
        if let Some(value) = value {
            endpoint[field] = json!(value);
        }
    }
    endpoint
}

fn content(family: Family, ports: &[Port], endpoints: &[Value]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|port| {
            let mut value = json!({"name": port.name, "protocol": port.protocol, "port": port.port});
            if let Some(app_protocol) = &port.app_protocol {
                value["appProtocol"] = json!(app_protocol);
            }
            value
        })
        .collect();
    json!({"addressType": family.as_str(), "endpoints": endpoints, "ports": ports})
}

fn slice_labels(view: &View<'_>) -> BTreeMap<String, String> {
    let service = view.service.metadata.name.as_deref().unwrap_or_default();
    labels(view.service, &[(SERVICE_NAME_LABEL, service), (MANAGED_BY_LABEL, MANAGER)])
}

fn create(view: &View<'_>, name: &str, content: Value) -> Action {
    let mut body = content;
    body["apiVersion"] = json!("discovery.k8s.io/v1");
    body["kind"] = json!("EndpointSlice");
    body["metadata"] = json!({
        "name": name,
        "namespace": view.service.metadata.namespace,
        "generateName": format!("{}-", view.service.metadata.name.as_deref().unwrap_or_default()),
        "labels": slice_labels(view),
        "ownerReferences": owner_reference(view.service),
    });
    Action::CreateSlice { body }
}

fn update(view: &View<'_>, slice: &EndpointSlice, content: Value) -> Option<Action> {
    let labels = label_patch(&slice.metadata, &slice_labels(view));
    let same = json!(slice.endpoints.as_deref().unwrap_or_default()) == content["endpoints"]
        && json!(slice.ports.as_deref().unwrap_or_default()) == content["ports"];
    if same && labels.is_none() {
        return None;
    }
    let target = Target::of(&slice.metadata);
    let mut metadata = target.patch_metadata();
    if let Some(labels) = labels {
        metadata["labels"] = labels;
    }
    let patch = json!({"metadata": metadata, "endpoints": content["endpoints"], "ports": content["ports"]});
    Some(Action::UpdateSlice { slice: target, patch })
}

/// `<service>-<five letters and digits>`, the same for the same Service, family, ports and index.
fn name(view: &View<'_>, family: Family, ports: &[Port], index: usize) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let service = view.service.metadata.name.as_deref().unwrap_or_default();
    let seed = format!("{:?}/{family:?}/{ports:?}/{index}", view.service.metadata.uid);
    // FNV-1a, 64 bits.
    let mut hash = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut suffix = String::with_capacity(5);
    for _ in 0..5 {
        let digit = usize::try_from(hash % 27).unwrap_or(0);
        suffix.push(char::from(LETTERS[digit]));
        hash /= 27;
    }
    format!("{service}-{suffix}")
}
