//! NetworkPolicy: stored and served. Nothing enforces it yet, and creating one says so.

use std::net::IpAddr;

use api::{Generation, Kind, Scope, resources};
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{child_mut, has, int, items, member, set, text};
use crate::validate::{Errors, Path, names, selector};

const NOT_ENFORCED: &str = "network policies are stored but not enforced yet: every pod may talk to every pod";

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["netpol"],
            generation: Generation::Spec,
            ..Kind::ordinary(
                resources::NETWORK_POLICIES,
                Scope::Namespaced,
                "NetworkPolicy",
                "NetworkPolicyList",
                "networkpolicy",
            )
        },
        columns: const { &[Column::NAME, Column::text("Pod-Selector", "Labels of the pods it is about."), Column::AGE] },
        row: |policy, now| {
            let selected = workload::selector_cell(member(member(policy, "spec"), "podSelector"));
            Row::of([cells::name(policy), selected, cells::age(policy, now)])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            validate: |policy, errors| validate_spec(member(policy, "spec"), errors),
            validate_update: |new, _, errors| validate_spec(member(new, "spec"), errors),
            warn_create: |_, warnings| warnings.push(NOT_ENFORCED.to_owned()),
            ..Rules::PLAIN
        },
    }
}

fn default(policy: &mut Value) {
    let spec = child_mut(policy, "spec");
    if items(spec, "policyTypes").is_empty() {
        let both = !items(spec, "egress").is_empty();
        set(spec, "policyTypes", if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    selector::validate(member(spec, "podSelector"), &path.child("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let path = path.child(direction);
        for (index, rule) in items(spec, direction).iter().enumerate() {
            let path = path.index(index);
            let ports = path.child("ports");
            for (index, port) in items(rule, "ports").iter().enumerate() {
                validate_port(port, &ports.index(index), errors);
            }
            let path = path.child(peers);
            for (index, peer) in items(rule, peers).iter().enumerate() {
                validate_peer(peer, &path.index(index), errors);
            }
        }
    }
    let (types, path) = (items(spec, "policyTypes"), path.child("policyTypes"));
    if types.len() > 2 {
        errors.invalid(&path, member(spec, "policyTypes"), "may not specify more than two policyTypes");
        return;
    }
    for (index, kind) in types.iter().filter_map(Value::as_str).enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.not_supported(&path.index(index), kind, &["Ingress", "Egress"]);
        }
    }
}

fn validate_port(port: &Value, path: &Path<'_>, errors: &mut Errors) {
    let protocol = text(port, "protocol");
    if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        errors.not_supported(&path.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let (end, end_path) = (int(port, "endPort"), path.child("endPort"));
    match (member(port, "port"), end) {
        (Value::Number(number), end) => {
            let number = number.as_i64().unwrap_or(0);
            if let Some(problem) = names::port_number(number) {
                errors.invalid_int(&path.child("port"), number, &problem);
            }
            if let Some(end) = end.filter(|end| *end < number) {
                errors.invalid_int(&end_path, end, "must be greater than or equal to `port`");
            }
            if let Some((end, problem)) = end.and_then(|end| Some((end, names::port_number(end)?))) {
                errors.invalid_int(&end_path, end, &problem);
            }
        }
        (Value::String(name), end) => {
            if let Some(end) = end {
                errors.invalid_int(&end_path, end, "may not be specified when `port` is non-numeric");
            }
            errors.invalid_each(&path.child("port"), name, names::port_name(name));
        }
        (_, Some(end)) => errors.invalid_int(&end_path, end, "may not be specified when `port` is not specified"),
        (_, None) => {}
    }
}

fn validate_peer(peer: &Value, path: &Path<'_>, errors: &mut Errors) {
    let selectors = ["podSelector", "namespaceSelector"].into_iter().filter(|key| has(peer, key));
    let mut count = 0;
    for key in selectors {
        count += 1;
        selector::validate(member(peer, key), &path.child(key), errors);
    }
    if has(peer, "ipBlock") {
        validate_block(member(peer, "ipBlock"), &path.child("ipBlock"), errors);
        if count > 0 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
    } else if count == 0 {
        errors.required(path, "must specify a peer");
    }
}

fn validate_block(block: &Value, path: &Path<'_>, errors: &mut Errors) {
    let range = text(block, "cidr");
    if range.is_empty() {
        errors.required(&path.child("cidr"), "");
        return;
    }
    errors.invalid_each(&path.child("cidr"), range, names::address_range(range));
    let Some(whole) = Range::parse(range) else { return };
    let path = path.child("except");
    for (index, except) in items(block, "except").iter().filter_map(Value::as_str).enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path, except, names::address_range(except));
        if Range::parse(except).is_some_and(|part| !whole.holds(part)) {
            errors.invalid_text(&path, except, "must be a strict subset of `cidr`");
        }
    }
}

/// A range of addresses, as bits from the left.
#[derive(Clone, Copy)]
struct Range {
    bits: u128,
    len: u32,
    is_v4: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, len) = text.split_once('/')?;
        let len = len.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(address) if len <= 32 => {
                Some(Self { bits: u128::from(u32::from(address)) << 96, len, is_v4: true })
            }
            IpAddr::V6(address) if len <= 128 => Some(Self { bits: address.into(), len, is_v4: false }),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    /// Whether the other one is a smaller part of this one.
    fn holds(self, part: Self) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.len).unwrap_or(0);
        self.is_v4 == part.is_v4 && self.len < part.len && self.bits & mask == part.bits & mask
    }
}
