//! The older Endpoints of a Service: one object, no conditions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Action, Member, Port, View, label_patch, labels, publishes_unready};
use crate::words::{Target, is_terminating};

/// Label that says who keeps the Endpoints.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// Addresses in one Endpoints object, at most; the rest is left out, as upstream does.
const ADDRESSES_MAX: usize = 1000;

pub(super) fn plan(view: &View<'_>, members: &[Member<'_>]) -> Option<Action> {
    let subsets = subsets(view, members);
    let labels = labels(view.service, &[MANAGED_BY]);
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
            body["subsets"] = json!(subsets);
        }
        return Some(Action::CreateEndpoints { body });
    };
    if is_terminating(&found.metadata) {
        return None;
    }
    let changed_labels = label_patch(&found.metadata, &labels);
    let same = json!(found.subsets.as_deref().unwrap_or_default()) == json!(subsets);
    if same && changed_labels.is_none() {
        return None;
    }
    let target = Target::of(&found.metadata);
    let mut metadata = target.patch_metadata();
    if let Some(labels) = changed_labels {
        metadata["labels"] = labels;
    }
    let subsets = if subsets.is_empty() { Value::Null } else { json!(subsets) };
    Some(Action::UpdateEndpoints { endpoints: target, patch: json!({"metadata": metadata, "subsets": subsets}) })
}

/// Addresses with the same ports are one subset; terminating pods are not listed (N-28).
fn subsets(view: &View<'_>, members: &[Member<'_>]) -> Vec<Value> {
    let mut groups: BTreeMap<&[Port], (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    let listed = members.iter().filter(|member| !member.terminating || publishes_unready(view.service));
    for member in listed.take(ADDRESSES_MAX) {
        let (ready, unready) = groups.entry(&member.ports).or_default();
        let addresses = if member.ready { ready } else { unready };
        addresses.push(address(member));
    }
    groups
        .into_iter()
        .map(|(ports, (ready, unready))| {
            let mut subset = json!({});
            for (field, mut addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
                if !addresses.is_empty() {
                    addresses.sort_by_key(|address| address["ip"].as_str().unwrap_or_default().to_owned());
                    subset[field] = json!(addresses);
                }
            }
            if !ports.is_empty() {
                subset["ports"] = ports.iter().map(port).collect();
            }
            subset
        })
        .collect()
}

fn address(member: &Member<'_>) -> Value {
    let mut address = json!({"ip": member.addresses[0], "targetRef": member.target_reference()});
    for (field, value) in [("hostname", member.hostname), ("nodeName", member.node)] {
        if let Some(value) = value {
            address[field] = json!(value);
        }
    }
    address
}

fn port(port: &Port) -> Value {
    let mut value = json!({"port": port.port, "protocol": port.protocol});
    if !port.name.is_empty() {
        value["name"] = json!(port.name);
    }
    if let Some(app_protocol) = &port.app_protocol {
        value["appProtocol"] = json!(app_protocol);
    }
    value
}
