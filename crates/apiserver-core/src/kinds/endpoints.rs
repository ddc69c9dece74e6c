//! Endpoints, the old form of EndpointSlice.

use api::{Kind, Scope, UpdateOfMissing, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{int, items, text};
use crate::validate::{Errors, Path, names};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["ep"],
            update_of_missing: UpdateOfMissing::Creates,
            ..Kind::ordinary(resources::ENDPOINTS, Scope::Namespaced, "Endpoints", "EndpointsList", "endpoints")
        },
        columns: const { &[Column::NAME, Column::text("Endpoints", "Addresses and ports."), Column::AGE] },
        row: |object, now| Row::of([cells::name(object), addresses(object), cells::age(object, now)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules { validate, validate_update: |new, _, errors| validate(new, errors), ..Rules::PLAIN },
    }
}

fn addresses(object: &Value) -> Value {
    let mut shown = Vec::new();
    for subset in items(object, "subsets") {
        let ports = items(subset, "ports");
        for address in items(subset, "addresses") {
            let ip = text(address, "ip");
            if ports.is_empty() {
                shown.push(ip.to_owned());
            }
            for port in ports {
                shown.push(format!("{ip}:{}", int(port, "port").unwrap_or(0)));
            }
        }
    }
    cells::or_none(&cells::first_three(&shown, "..."))
}

fn validate(object: &Value, errors: &mut Errors) {
    let subsets = Path::root("subsets");
    for (index, subset) in items(object, "subsets").iter().enumerate() {
        let path = subsets.index(index);
        if items(subset, "addresses").is_empty() && items(subset, "notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in ["addresses", "notReadyAddresses"] {
            for (index, address) in items(subset, key).iter().enumerate() {
                let ip = text(address, "ip");
                errors.invalid_each(&path.child(key).index(index).child("ip"), ip, names::ip_address(ip));
            }
        }
        validate_ports(subset, &path.child("ports"), errors);
    }
}

fn validate_ports(subset: &Value, path: &Path<'_>, errors: &mut Errors) {
    let ports = items(subset, "ports");
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            errors.invalid_each(&path.child("name"), name, names::dns_label(name));
        }
        let number = int(port, "port").unwrap_or(0);
        if let Some(message) = names::port_number(number) {
            errors.invalid_int(&path.child("port"), number, &message);
        }
        let protocol = text(port, "protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            errors.not_supported(&path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        }
    }
}
