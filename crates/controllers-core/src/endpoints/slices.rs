//! The slices of a Service.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
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

/// One slice as it should be.
#[derive(Debug)]
struct Slice<'a> {
    family: Family,
    ports: &'a [Port<'a>],
    /// With the address that is listed.
    members: Vec<(&'a Member<'a>, &'a str)>,
}

pub(super) fn plan(view: &View<'_>, members: &[Member<'_>]) -> Vec<Action> {
    let mut found: BTreeMap<&str, &EndpointSlice> = BTreeMap::new();
    for slice in view.slices.iter().filter(|slice| !is_terminating(&slice.metadata)) {
        found.insert(slice.metadata.name.as_deref().unwrap_or_default(), slice);
    }
    let placeholder: Vec<Port<'_>> = service_ports(view.service).iter().filter_map(placeholder_port).collect();
    let mut actions = Vec::new();
    for family in families(view) {
        let mut groups: BTreeMap<&[Port<'_>], Vec<(&Member<'_>, &str)>> = BTreeMap::new();
        for member in members {
            if let Some(address) = member.addresses.iter().find(|address| Family::of(address) == family) {
                groups.entry(&member.ports).or_default().push((member, address));
            }
        }
        if groups.is_empty() {
            // A placeholder, so that readers can tell "no endpoints" from "not looked at yet".
            groups.insert(&placeholder, Vec::new());
        }
        for (ports, members) in groups {
            for (name, slice) in placed(view, &found, &Slice { family, ports, members }) {
                match found.remove(name.as_str()) {
                    None => actions.push(create(view, &name, &slice)),
                    Some(there) => actions.extend(update(view, there, &slice)),
                }
            }
        }
    }
    actions.extend(found.into_values().map(|slice| Action::DeleteSlice { slice: Target::of(&slice.metadata) }));
    actions
}

/// Shares a group out to slices of at most [`ENDPOINTS_PER_SLICE_MAX`], by name. A member stays in the slice that lists
/// it; one that is new goes into the first slice with room. A slice that nobody is left in is left out, but for one.
fn placed<'a>(view: &View<'_>, found: &BTreeMap<&str, &EndpointSlice>, group: &Slice<'a>) -> Vec<(String, Slice<'a>)> {
    let empty = || Slice { family: group.family, ports: group.ports, members: Vec::new() };
    let mut unplaced: BTreeMap<&str, (&Member<'_>, &str)> =
        group.members.iter().map(|(member, address)| (member.uid, (*member, *address))).collect();
    let mut slices = Vec::new();
    // As many names as are there, and as many as are needed if none of those has room.
    for index in 0..found.len() + group.members.len().div_ceil(ENDPOINTS_PER_SLICE_MAX).max(1) {
        let mut slice = empty();
        let name = name(view, group.family, group.ports, index);
        let there = found.get(name.as_str()).and_then(|slice| slice.endpoints.as_deref()).unwrap_or_default();
        for endpoint in there.iter().take(ENDPOINTS_PER_SLICE_MAX) {
            let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref());
            slice.members.extend(uid.and_then(|uid| unplaced.remove(uid)));
        }
        slices.push((name, slice));
    }
    // In the order of their names.
    let mut new = group.members.iter().filter(|(member, _)| unplaced.contains_key(member.uid)).copied();
    for (_, slice) in &mut slices {
        let room = ENDPOINTS_PER_SLICE_MAX - slice.members.len();
        slice.members.extend(new.by_ref().take(room));
    }
    if group.members.is_empty() {
        slices.truncate(1);
    } else {
        slices.retain(|(_, slice)| !slice.members.is_empty());
    }
    slices
}

/// A port that does not need a pod to be known; a named one becomes known with the first pod.
fn placeholder_port(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<Port<'_>> {
    super::resolve(port, &k8s_openapi::api::core::v1::Pod::default())
}

fn endpoint(member: &Member<'_>, address: &str) -> Value {
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": member.ready, "serving": member.serving, "terminating": member.terminating},
    });
    endpoint["targetRef"] = member.target_reference();
    for (field, value) in [("hostname", member.hostname), ("nodeName", member.node), ("zone", member.zone)] {
        if let Some(value) = value {
            endpoint[field] = json!(value);
        }
    }
    endpoint
}

/// Whether an endpoint is the one that [`endpoint`] writes.
fn is_endpoint(member: &Member<'_>, address: &str, found: &Endpoint) -> bool {
    let conditions = found.conditions.as_ref();
    let says =
        |condition: fn(&EndpointConditions) -> Option<bool>, wanted| conditions.and_then(condition) == Some(wanted);
    found.addresses == [address]
        && says(|conditions| conditions.ready, member.ready)
        && says(|conditions| conditions.serving, member.serving)
        && says(|conditions| conditions.terminating, member.terminating)
        && found.hostname.as_deref() == member.hostname
        && found.node_name.as_deref() == member.node
        && found.zone.as_deref() == member.zone
        && found.deprecated_topology.is_none()
        && found.hints.is_none()
        && member.is_referred_to(found.target_ref.as_ref())
}

impl Slice<'_> {
    fn endpoints(&self) -> Value {
        self.members.iter().map(|(member, address)| endpoint(member, address)).collect()
    }

    fn ports(&self) -> Value {
        let one = |port: &Port<'_>| {
            let mut value = json!({"name": port.name, "protocol": port.protocol, "port": port.port});
            if let Some(app_protocol) = port.app_protocol {
                value["appProtocol"] = json!(app_protocol);
            }
            value
        };
        self.ports.iter().map(one).collect()
    }

    /// Whether a slice holds what this one should.
    fn is(&self, found: &EndpointSlice) -> bool {
        let endpoints = found.endpoints.as_deref().unwrap_or_default();
        let ports = found.ports.as_deref().unwrap_or_default();
        self.members.len() == endpoints.len()
            && self.members.iter().zip(endpoints).all(|((member, address), found)| is_endpoint(member, address, found))
            && self.ports.len() == ports.len()
            && self.ports.iter().zip(ports).all(|(port, found)| {
                found.name.as_deref() == Some(port.name)
                    && found.protocol.as_deref() == Some(port.protocol)
                    && found.port == Some(port.port)
                    && found.app_protocol.as_deref() == port.app_protocol
            })
    }
}

fn slice_labels(view: &View<'_>) -> BTreeMap<String, String> {
    let service = view.service.metadata.name.as_deref().unwrap_or_default();
    labels(view.service, &[(SERVICE_NAME_LABEL, service), (MANAGED_BY_LABEL, MANAGER)])
}

fn create(view: &View<'_>, name: &str, slice: &Slice<'_>) -> Action {
    let mut body = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": view.service.metadata.namespace,
            "generateName": format!("{}-", view.service.metadata.name.as_deref().unwrap_or_default()),
            "labels": slice_labels(view),
            "ownerReferences": owner_reference(view.service),
        },
        "addressType": slice.family.as_str(),
    });
    body["endpoints"] = slice.endpoints();
    body["ports"] = slice.ports();
    Action::CreateSlice { body }
}

fn update(view: &View<'_>, there: &EndpointSlice, slice: &Slice<'_>) -> Option<Action> {
    let labels = label_patch(&there.metadata, &slice_labels(view));
    if slice.is(there) && labels.is_none() {
        return None;
    }
    let target = Target::of(&there.metadata);
    let mut metadata = target.patch_metadata();
    if let Some(labels) = labels {
        metadata["labels"] = labels;
    }
    // Moved in: the macro would copy the hundred endpoints.
    let mut patch = json!({});
    patch["metadata"] = metadata;
    patch["endpoints"] = slice.endpoints();
    patch["ports"] = slice.ports();
    Some(Action::UpdateSlice { slice: target, patch })
}

/// `<service>-<five letters and digits>`, the same for the same Service, family, ports and index.
fn name(view: &View<'_>, family: Family, ports: &[Port<'_>], index: usize) -> String {
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
