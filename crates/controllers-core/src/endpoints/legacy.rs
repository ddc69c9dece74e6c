//! The older Endpoints of a Service: one object, no conditions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset};
use serde_json::{Value, json};

use super::{Action, Member, Port, View, label_patch, labels, publishes_unready};
use crate::words::{Target, is_terminating};

/// Label that says who keeps the Endpoints.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// Addresses in one Endpoints object, at most; the rest is left out, as upstream does.
const ADDRESSES_MAX: usize = 1000;

/// The addresses with one list of ports.
#[derive(Debug)]
struct Subset<'a> {
    ports: &'a [Port<'a>],
    ready: Vec<&'a Member<'a>>,
    unready: Vec<&'a Member<'a>>,
}

pub(super) fn plan(view: &View<'_>, members: &[Member<'_>]) -> Option<Action> {
    let subsets = subsets(view, members);
    let labels = labels(view.service, &[MANAGED_BY]);
    let tree = || subsets.iter().map(Subset::tree).collect::<Value>();
    let Some(found) = view.endpoints else {
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": view.service.metadata.name,
                "namespace": view.service.metadata.namespace,
                "labels": labels,
            },
        });
        if !subsets.is_empty() {
            body["subsets"] = tree();
        }
        return Some(Action::CreateEndpoints { body });
    };
    if is_terminating(&found.metadata) {
        return None;
    }
    let changed_labels = label_patch(&found.metadata, &labels);
    let there = found.subsets.as_deref().unwrap_or_default();
    let same = there.len() == subsets.len() && subsets.iter().zip(there).all(|(subset, there)| subset.is(there));
    if same && changed_labels.is_none() {
        return None;
    }
    let target = Target::of(&found.metadata);
    let mut metadata = target.patch_metadata();
    if let Some(labels) = changed_labels {
        metadata["labels"] = labels;
    }
    let mut patch = json!({});
    patch["metadata"] = metadata;
    patch["subsets"] = if subsets.is_empty() { Value::Null } else { tree() };
    Some(Action::UpdateEndpoints { endpoints: target, patch })
}

/// Addresses with the same ports are one subset; terminating pods are not listed (N-28).
fn subsets<'a>(view: &View<'_>, members: &'a [Member<'a>]) -> Vec<Subset<'a>> {
    let mut groups: BTreeMap<&[Port<'_>], Subset<'a>> = BTreeMap::new();
    let listed = members.iter().filter(|member| !member.terminating || publishes_unready(view.service));
    for member in listed.take(ADDRESSES_MAX) {
        let subset = groups.entry(&member.ports).or_insert_with(|| Subset {
            ports: &member.ports,
            ready: Vec::new(),
            unready: Vec::new(),
        });
        let addresses = if member.ready { &mut subset.ready } else { &mut subset.unready };
        addresses.push(member);
    }
    let mut subsets: Vec<_> = groups.into_values().collect();
    for subset in &mut subsets {
        subset.ready.sort_by_key(|member| member.addresses[0]);
        subset.unready.sort_by_key(|member| member.addresses[0]);
    }
    subsets
}

impl Subset<'_> {
    fn tree(&self) -> Value {
        let mut subset = json!({});
        for (field, members) in [("addresses", &self.ready), ("notReadyAddresses", &self.unready)] {
            if !members.is_empty() {
                subset[field] = members.iter().map(|member| address(member)).collect();
            }
        }
        if !self.ports.is_empty() {
            subset["ports"] = self.ports.iter().map(port).collect();
        }
        subset
    }

    /// Whether a subset is the one that [`Subset::tree`] writes.
    fn is(&self, found: &EndpointSubset) -> bool {
        let lists = |members: &[&Member<'_>], found: Option<&Vec<EndpointAddress>>| {
            let found = found.map(Vec::as_slice).unwrap_or_default();
            members.len() == found.len() && members.iter().zip(found).all(|(member, found)| is_address(member, found))
        };
        let ports = found.ports.as_deref().unwrap_or_default();
        lists(&self.ready, found.addresses.as_ref())
            && lists(&self.unready, found.not_ready_addresses.as_ref())
            && self.ports.len() == ports.len()
            && self.ports.iter().zip(ports).all(|(port, found)| {
                port.port == found.port
                    && found.protocol.as_deref() == Some(port.protocol)
                    && found.name.as_deref().unwrap_or_default() == port.name
                    && found.app_protocol.as_deref() == port.app_protocol
            })
    }
}

fn address(member: &Member<'_>) -> Value {
    let mut address = json!({"ip": member.addresses[0]});
    address["targetRef"] = member.target_reference();
    for (field, value) in [("hostname", member.hostname), ("nodeName", member.node)] {
        if let Some(value) = value {
            address[field] = json!(value);
        }
    }
    address
}

/// Whether an address is the one that [`address`] writes.
fn is_address(member: &Member<'_>, found: &EndpointAddress) -> bool {
    found.ip == member.addresses[0]
        && found.hostname.as_deref() == member.hostname
        && found.node_name.as_deref() == member.node
        && member.is_referred_to(found.target_ref.as_ref())
}

fn port(port: &Port<'_>) -> Value {
    let mut value = json!({"port": port.port, "protocol": port.protocol});
    if !port.name.is_empty() {
        value["name"] = json!(port.name);
    }
    if let Some(app_protocol) = port.app_protocol {
        value["appProtocol"] = json!(app_protocol);
    }
    value
}
