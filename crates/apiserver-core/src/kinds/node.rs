//! Node.

use std::collections::BTreeSet;

use api::{Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{at, entries, flag, items, member, text};
use crate::validate::{Errors, Path, names};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";
/// Words for the effect of a taint.
pub(super) const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["no"],
            subresources: const { &[Subresource::status("Node")] },
            selectable_fields: &["spec.unschedulable"],
            ..Kind::ordinary(resources::NODES, Scope::Cluster, "Node", "NodeList", "node")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Status", "Whether it takes pods."),
                Column::text("Roles", "Roles from its labels."),
                Column::AGE,
                Column::text("Version", "Version of its agent."),
                Column::text("Internal-IP", "Its address inside the cluster.").wide(),
                Column::text("External-IP", "Its address outside.").wide(),
                Column::text("OS-Image", "Operating system.").wide(),
                Column::text("Kernel-Version", "Version of the kernel.").wide(),
                Column::text("Container-Runtime", "What runs its containers.").wide(),
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            validate,
            validate_update: |new, old, errors| {
                validate(new, errors);
                validate_set_once(new, old, errors);
            },
            ..Rules::PLAIN
        },
    }
}

fn row(node: &Value, now: Timestamp) -> Row {
    let info = at(node, &["status", "nodeInfo"]);
    let address = |kind: &str| {
        let addresses = items(member(node, "status"), "addresses");
        let found = addresses.iter().find(|address| text(address, "type") == kind);
        cells::or_none(found.map_or("", |address| text(address, "address")))
    };
    let or_unknown = |key: &str| cells::or(text(info, key), "<unknown>");
    Row::of([
        cells::name(node),
        status(node).into(),
        roles(node),
        cells::age(node, now),
        text(info, "kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown("osImage"),
        or_unknown("kernelVersion"),
        or_unknown("containerRuntimeVersion"),
    ])
}

fn status(node: &Value) -> String {
    let conditions = items(member(node, "status"), "conditions");
    let ready = conditions.iter().find(|condition| text(condition, "type") == "Ready");
    let word = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if flag(member(node, "spec"), "unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{word}{cordoned}")
}

fn roles(node: &Value) -> Value {
    let roles: BTreeSet<&str> = entries(member(node, "metadata"), "labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => (key == ROLE_LABEL).then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    cells::or_none(&roles.into_iter().collect::<Vec<_>>().join(","))
}

fn validate(node: &Value, errors: &mut Errors) {
    let spec = Path::root("spec");
    let taints = items(member(node, "spec"), "taints");
    let path = spec.child("taints");
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
        let value_problems = names::label_value(value);
        if !value_problems.is_empty() {
            errors.invalid_text(&path.child("value"), value, &value_problems.join(";"));
        }
        if effect.is_empty() {
            errors.required(&path.child("effect"), "");
        } else if !TAINT_EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, TAINT_EFFECTS);
        }
        if taints[..index].iter().any(|other| text(other, "key") == key && text(other, "effect") == effect) {
            let added = member(taint, "timeAdded");
            let shown = format!("{{\"Key\":{key:?},\"Value\":{value:?},\"Effect\":{effect:?},\"TimeAdded\":{added}}}");
            errors.duplicate_shown(&path, &shown, "taints must be unique by key and effect pair");
        }
    }
}

/// The provider's id and the pod ranges are written once (K-35).
fn validate_set_once(new: &Value, old: &Value, errors: &mut Errors) {
    let spec = Path::root("spec");
    let (new, old) = (member(new, "spec"), member(old, "spec"));
    let provider = text(old, "providerID");
    if !provider.is_empty() && provider != text(new, "providerID") {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&spec.child("providerID"), detail);
    }
    let ranges = items(old, "podCIDRs");
    if !ranges.is_empty() && ranges != items(new, "podCIDRs") {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&spec.child("podCIDRs"), detail);
    }
}
