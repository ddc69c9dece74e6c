//! EndpointSlice.

use api::{Generation, Kind, Scope, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{int, items, items_mut, member, set_default, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path, names};

/// Most endpoints in one slice.
const ENDPOINTS_MAX: usize = 1000;
/// Most ports in one slice.
const PORTS_MAX: usize = 20_000;

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            generation: Generation::CreationOnly,
            ..Kind::ordinary(
                resources::ENDPOINT_SLICES,
                Scope::Namespaced,
                "EndpointSlice",
                "EndpointSliceList",
                "endpointslice",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("AddressType", "Family of the addresses."),
                Column::text("Ports", "Ports on which the endpoints listen."),
                Column::text("Endpoints", "Addresses of the endpoints."),
                Column::AGE,
            ]
        },
        row: |object, now| {
            let ports: Vec<String> = items(object, "ports")
                .iter()
                .map(|port| int(port, "port").map_or_else(|| "*".to_owned(), |number| number.to_string()))
                .collect();
            let endpoints: Vec<String> = items(object, "endpoints")
                .iter()
                .flat_map(|endpoint| items(endpoint, "addresses"))
                .filter_map(|address| address.as_str().map(str::to_owned))
                .collect();
            Row::of([
                cells::name(object),
                text(object, "addressType").into(),
                cells::or(&cells::first_three(&ports, "..."), "<unset>"),
                cells::or(&cells::first_three(&endpoints, "..."), "<unset>"),
                cells::age(object, now),
            ])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default: |object| {
                for port in items_mut(object, "ports") {
                    set_default(port, "name", "");
                    set_default(port, "protocol", "TCP");
                }
            },
            validate,
            validate_update: |new, old, errors| {
                validate(new, errors);
                let path = Path::root("addressType");
                validate_immutable(member(new, "addressType"), member(old, "addressType"), &path, errors);
            },
            ..Rules::PLAIN
        },
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let address_type = text(object, "addressType");
    let path = Path::root("addressType");
    match address_type {
        "" => errors.required(&path, ""),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => errors.not_supported(&path, other, &["FQDN", "IPv4", "IPv6"]),
    }
    let endpoints = items(object, "endpoints");
    let path = Path::root("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&path, endpoints.len(), ENDPOINTS_MAX);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(index);
        let addresses = items(endpoint, "addresses");
        if addresses.is_empty() {
            errors.required(&path.child("addresses"), "must contain at least 1 address");
        }
        for (index, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            let messages = match address_type {
                "IPv4" | "IPv6" => names::ip_address(address),
                _ => names::dns_subdomain(address),
            };
            errors.invalid_each(&path.child("addresses").index(index), address, messages);
        }
    }
    validate_ports(object, errors);
}

fn validate_ports(object: &Value, errors: &mut Errors) {
    let path = Path::root("ports");
    let ports = items(object, "ports");
    if ports.len() > PORTS_MAX {
        errors.too_many(&path, ports.len(), PORTS_MAX);
    }
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            errors.invalid_each(&path.child("name"), name, names::dns_label(name));
        }
        if ports[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate_text(&path.child("name"), name);
        }
        let protocol = text(port, "protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            errors.not_supported(&path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        }
    }
}
