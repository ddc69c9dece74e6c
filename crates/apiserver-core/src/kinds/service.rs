//! Service: rules, and the choice of its addresses (K-4, K-26 to K-28).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use api::{DeleteAnswer, Kind, Scope, Subresource, UpdateOfMissing, resources};
use meta::{Status, Timestamp};
use serde_json::{Value, json};

use super::pod::ports::validate_number_or_name;
use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{
    at, child_mut, copy_member, entries, has, int, items, items_mut, member, remove, set, set_default, text,
};
use crate::validate::metadata::validate_labels;
use crate::validate::{Errors, Path, names};
use crate::write::{AddressPool, CreateContext, NODE_PORT_MAX, NODE_PORT_MIN, scramble};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITY_SECS_MAX: i64 = 86_400;

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["svc"],
            categories: &["all"],
            subresources: const { &[Subresource::status("Service")] },
            delete_answer: DeleteAnswer::Object,
            update_of_missing: UpdateOfMissing::Creates,
            selectable_fields: &["spec.clusterIP", "spec.type"],
            ..Kind::ordinary(resources::SERVICES, Scope::Namespaced, "Service", "ServiceList", "service")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Type", "How it is reached."),
                Column::text("Cluster-IP", "Its address inside the cluster."),
                Column::text("External-IP", "Its addresses outside."),
                Column::text("Port(s)", "Its ports."),
                Column::AGE,
                Column::text("Selector", "Which pods it leads to.").wide(),
            ]
        },
        row,
        needs: Needs::ServiceAddresses,
        conversion: None,
        rules: Rules {
            name: names::dns_1035_label,
            default,
            admit,
            prepare_create: |service| set(service, "status", json!({ "loadBalancer": {} })),
            prepare_update: keep_allocated,
            allocate_update: |new, old, pool, seed| allocate(new, Some(old), pool, seed),
            validate,
            validate_update,
            ..Rules::PLAIN
        },
    }
}

fn row(service: &Value, now: Timestamp) -> Row {
    let spec = member(service, "spec");
    let kind = text(spec, "type");
    let ports: Vec<String> = items(spec, "ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (int(port, "port").unwrap_or(0), text(port, "protocol"));
            match int(port, "nodePort").filter(|node_port| *node_port != 0) {
                Some(node_port) => format!("{number}:{node_port}/{protocol}"),
                None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    let selector: Vec<String> = entries(spec, "selector").map(|(key, value)| format!("{key}={value}")).collect();
    Row::of([
        cells::name(service),
        kind.into(),
        cells::or_none(text(spec, "clusterIP")),
        external(service, kind).into(),
        cells::or_none(&ports.join(",")),
        cells::age(service, now),
        cells::or_none(&selector.join(",")),
    ])
}

fn external(service: &Value, kind: &str) -> String {
    let spec = member(service, "spec");
    let mut addresses: Vec<&str> = items(spec, "externalIPs").iter().filter_map(Value::as_str).collect();
    match kind {
        "ExternalName" => text(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = items(at(service, &["status", "loadBalancer"]), "ingress");
            let mut given: Vec<&str> = ingress
                .iter()
                .map(|entry| {
                    [text(entry, "ip"), text(entry, "hostname")].into_iter().find(|t| !t.is_empty()).unwrap_or("")
                })
                .collect();
            given.append(&mut addresses);
            if given.is_empty() { "<pending>".to_owned() } else { given.join(",") }
        }
        _ if addresses.is_empty() => "<none>".to_owned(),
        _ => addresses.join(","),
    }
}

fn is_headless(spec: &Value) -> bool {
    text(spec, "clusterIP") == "None" || items(spec, "clusterIPs").first().is_some_and(|address| address == "None")
}

fn opens_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

/// Defaults that depend on the type and on other fields (K-4).
fn default(service: &mut Value) {
    let spec = child_mut(service, "spec");
    set_default(spec, "sessionAffinity", "None");
    set_default(spec, "type", "ClusterIP");
    if text(spec, "sessionAffinity") == "ClientIP" {
        let config = child_mut(spec, "sessionAffinityConfig");
        let client = child_mut(config, "clientIP");
        set_default(client, "timeoutSeconds", 10_800);
    }
    for port in items_mut(spec, "ports") {
        set_default(port, "protocol", "TCP");
        let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
            || port["targetPort"] == 0
            || port["targetPort"] == "";
        if let Some(number) = int(port, "port").filter(|_| unset) {
            set(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    if kind != "ExternalName" {
        set_default(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set_default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
    mirror_first_address(spec);
}

/// `clusterIP` and the first of `clusterIPs` say the same (K-26).
fn mirror_first_address(spec: &mut Value) {
    let address = text(spec, "clusterIP").to_owned();
    let first = items(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
    match (address.is_empty(), first.is_empty()) {
        (false, true) => set(spec, "clusterIPs", json!([address])),
        (true, false) => set(spec, "clusterIP", first),
        (true, true) | (false, false) => {}
    }
}

fn admit(service: &mut Value, context: &CreateContext<'_>) -> Result<(), Status> {
    let errors = allocate(service, None, context.addresses, context.seed);
    let name = text(member(service, "metadata"), "name").to_owned();
    errors.into_status("", "Service", &name).map_or(Ok(()), Err)
}

/// An update that leaves the server's choices out keeps them (K-26).
fn keep_allocated(new: &mut Value, old: &Value) {
    let (old_kind, new_kind) = (text(member(old, "spec"), "type"), text(member(new, "spec"), "type").to_owned());
    let old_spec = member(old, "spec");
    let spec = child_mut(new, "spec");
    if new_kind == "ExternalName" {
        if old_kind != "ExternalName" && text(spec, "clusterIP") == text(old_spec, "clusterIP") {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
                remove(spec, key);
            }
        }
        return;
    }
    if old_kind == "ExternalName" {
        return;
    }
    if text(spec, "clusterIP").is_empty() {
        copy_member(spec, old_spec, "clusterIP");
    }
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !has(spec, key) {
            copy_member(spec, old_spec, key);
        }
    }
    if opens_node_ports(spec) {
        keep_node_ports(spec, old_spec);
    } else if opens_node_ports(old_spec) {
        drop_node_ports(spec, old_spec);
    }
}

fn same_port(a: &Value, b: &Value) -> bool {
    int(a, "port") == int(b, "port") && text(a, "protocol") == text(b, "protocol")
}

fn keep_node_ports(spec: &mut Value, old_spec: &Value) {
    for port in items_mut(spec, "ports") {
        if int(port, "nodePort").unwrap_or(0) == 0
            && let Some(old) = items(old_spec, "ports").iter().find(|old| same_port(old, port))
        {
            copy_member(port, old, "nodePort");
        }
    }
}

/// A type without node ports gives them back, where the client did not set new ones.
fn drop_node_ports(spec: &mut Value, old_spec: &Value) {
    for port in items_mut(spec, "ports") {
        let old = items(old_spec, "ports").iter().find(|old| same_port(old, port));
        if old.is_some_and(|old| int(old, "nodePort") == int(port, "nodePort")) {
            remove(port, "nodePort");
        }
    }
}

/// Chooses addresses and node ports, or checks those that the client chose (K-26, K-27).
fn allocate(service: &mut Value, old: Option<&Value>, pool: Option<&AddressPool>, seed: u64) -> Errors {
    let mut errors = Errors::new();
    let old_spec = old.map_or(&Value::Null, |old| member(old, "spec"));
    let spec = child_mut(service, "spec");
    mirror_first_address(spec);
    if text(spec, "type") == "ExternalName" {
        return errors;
    }
    // Nothing is allocated for a headless service that selects nothing, so it may have both families (K-27).
    let free = is_headless(spec) && entries(spec, "selector").next().is_none();
    if free && !has(spec, "ipFamilies") {
        set_default(spec, "ipFamilyPolicy", "RequireDualStack");
        let single = text(spec, "ipFamilyPolicy") == "SingleStack";
        set(spec, "ipFamilies", if single { json!(["IPv4"]) } else { json!(["IPv4", "IPv6"]) });
    }
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    set_default(spec, "ipFamilyPolicy", "SingleStack");
    validate_families(spec, &mut errors);
    let Some(pool) = pool else { return errors };
    let path = Path::root("spec");
    let asked = text(spec, "clusterIP").to_owned();
    match asked.as_str() {
        "None" => {}
        "" => match pool.pick(scramble(seed)) {
            Some(address) => {
                set(spec, "clusterIP", address.to_string());
                set(spec, "clusterIPs", json!([address.to_string()]));
            }
            None => {
                errors.invalid(&path.child("clusterIPs"), &json!([""]), "failed to allocate a serviceIP: range is full")
            }
        },
        same if same == text(old_spec, "clusterIP") => {}
        asked => check_address(asked, pool, &path.child("clusterIPs"), &mut errors),
    }
    allocate_node_ports(spec, old_spec, pool, seed, &mut errors);
    errors
}

fn validate_families(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let policy = text(spec, "ipFamilyPolicy");
    if !matches!(policy, "SingleStack" | "PreferDualStack" | "RequireDualStack") {
        let allowed = &["SingleStack", "PreferDualStack", "RequireDualStack"];
        errors.not_supported(&path.child("ipFamilyPolicy"), policy, allowed);
    }
    // Headless services without a selector may claim two families: nothing is allocated for them.
    let families = items(spec, "ipFamilies");
    let free = is_headless(spec) && entries(spec, "selector").next().is_none();
    for (index, family) in families.iter().filter_map(Value::as_str).enumerate() {
        let path = path.child("ipFamilies");
        match family {
            "IPv4" => {}
            "IPv6" if free => {}
            "IPv6" => errors.invalid_text(&path.index(index), family, "not configured on this cluster"),
            other => errors.not_supported(&path.index(index), other, &["IPv4", "IPv6"]),
        }
    }
    if policy == "RequireDualStack" && !free {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid_text(&path.child("ipFamilyPolicy"), policy, detail);
    }
}

fn check_address(asked: &str, pool: &AddressPool, path: &Path<'_>, errors: &mut Errors) {
    let shown = json!([asked]);
    match asked.parse::<Ipv4Addr>() {
        // A malformed address is reported by the validation.
        Err(_) => {}
        Ok(address) if !pool.contains(address) => {
            let range = pool.range();
            errors.invalid(
                path,
                &shown,
                &format!(
                    "failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of \
                     valid IPs is {range}"
                ),
            );
        }
        Ok(address) if pool.is_used(address) => {
            let detail = format!("failed to allocate IP {asked}: provided IP is already allocated");
            errors.invalid(path, &shown, &detail);
        }
        Ok(_) => {}
    }
}

fn allocate_node_ports(spec: &mut Value, old_spec: &Value, pool: &AddressPool, seed: u64, errors: &mut Errors) {
    if !opens_node_ports(spec) {
        return;
    }
    let path = Path::root("spec");
    let ports_path = path.child("ports");
    let held = crate::write::node_ports_of(&json!({ "spec": old_spec }));
    let mut taken: BTreeSet<(String, u16)> = crate::write::node_ports_of(&json!({ "spec": &*spec }));
    for (index, port) in items_mut(spec, "ports").enumerate() {
        let path = ports_path.index(index);
        let path = path.child("nodePort");
        let protocol = text(port, "protocol").to_owned();
        let asked = int(port, "nodePort").unwrap_or(0);
        if asked == 0 {
            match pool.pick_port(&protocol, &taken, scramble(seed.wrapping_add(index as u64 + 1))) {
                Some(chosen) => {
                    taken.insert((protocol, chosen));
                    set(port, "nodePort", chosen);
                }
                None => errors.invalid_int(&path, 0, "failed to allocate a nodePort: range is full"),
            }
            continue;
        }
        match u16::try_from(asked).ok().filter(|asked| (NODE_PORT_MIN..=NODE_PORT_MAX).contains(asked)) {
            None => errors.invalid_int(
                &path,
                asked,
                &format!("provided port is not in the valid range. The range of valid ports is {NODE_PORT_MIN}-{NODE_PORT_MAX}"),
            ),
            Some(asked) if pool.is_port_used(&protocol, asked) && !held.contains(&(protocol, asked)) => {
                errors.invalid_int(&path, asked.into(), "provided port is already allocated");
            }
            Some(_) => {}
        }
    }
}

fn validate(service: &Value, errors: &mut Errors) {
    let (spec, path) = (member(service, "spec"), Path::root("spec"));
    let (kind, ports) = (text(spec, "type"), items(spec, "ports"));
    let headless = is_headless(spec);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid_text(&path.child("clusterIPs").index(0), "None", &detail);
        }
        "ExternalName" => validate_external_name(spec, &path, errors),
        _ => {}
    }
    let ports_path = path.child("ports");
    for index in 0..ports.len() {
        validate_port(ports, index, kind, &ports_path.index(index), errors);
    }
    validate_labels(spec, "selector", &path, errors);
    validate_affinity(spec, &path, errors);
    validate_addresses(spec, &path, errors);
    if kind.is_empty() {
        errors.required(&path.child("type"), "");
    } else if !TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, TYPES);
    }
    validate_policies(spec, &path, errors);
}

fn validate_external_name(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !items(spec, "clusterIPs").is_empty() || !text(spec, "clusterIP").is_empty() {
        errors.forbidden(&path.child("clusterIPs"), "may not be set for ExternalName services");
    }
    let target = text(spec, "externalName");
    let target = target.strip_suffix('.').unwrap_or(target);
    if target.is_empty() {
        errors.required(&path.child("externalName"), "");
    } else {
        errors.invalid_each(&path.child("externalName"), target, names::dns_subdomain(target));
    }
}

fn validate_port(ports: &[Value], index: usize, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let port = &ports[index];
    let name = text(port, "name");
    if name.is_empty() {
        if ports.len() > 1 {
            errors.required(&path.child("name"), "");
        }
    } else {
        errors.invalid_each(&path.child("name"), name, names::dns_label(name));
        if ports[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate_text(&path.child("name"), name);
        }
    }
    let number = int(port, "port").unwrap_or(0);
    if let Some(message) = names::port_number(number) {
        errors.invalid_int(&path.child("port"), number, &message);
    }
    let protocol = text(port, "protocol");
    if protocol.is_empty() {
        errors.required(&path.child("protocol"), "");
    } else if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        errors.not_supported(&path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
    validate_number_or_name(port.get("targetPort"), &path.child("targetPort"), errors);
    let node_port = int(port, "nodePort").unwrap_or(0);
    if kind == "ClusterIP" && node_port != 0 {
        errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
    }
    let same = |other: &Value, key: &str| int(other, key) == int(port, key) && text(other, "protocol") == protocol;
    if ports[..index].iter().any(|other| same(other, "port")) {
        // Upstream shows its internal form of the port, of which only these two are filled in.
        let shown = format!(
            "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
        );
        errors.duplicate_shown(path, &shown, "");
    }
    if node_port != 0 && ports[..index].iter().any(|other| same(other, "nodePort")) {
        errors.duplicate_shown(&path.child("nodePort"), &node_port.to_string(), "");
    }
}

fn validate_affinity(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let affinity = text(spec, "sessionAffinity");
    let config_path = path.child("sessionAffinityConfig");
    match affinity {
        "" => errors.required(&path.child("sessionAffinity"), ""),
        "None" if has(spec, "sessionAffinityConfig") => {
            errors.forbidden(&config_path, "must not be set when session affinity is None");
        }
        "None" => {}
        "ClientIP" => {
            let timeout = at(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).as_i64().unwrap_or(0);
            if !(1..=AFFINITY_SECS_MAX).contains(&timeout) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECS_MAX}");
                errors.invalid_int(&config_path.child("clientIP").child("timeoutSeconds"), timeout, &detail);
            }
        }
        other => errors.not_supported(&path.child("sessionAffinity"), other, &["ClientIP", "None"]),
    }
}

fn validate_addresses(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let addresses = items(spec, "clusterIPs");
    let first = addresses.first().and_then(Value::as_str).unwrap_or_default();
    let single = text(spec, "clusterIP");
    let list_path = path.child("clusterIPs");
    if !single.is_empty() && !first.is_empty() && single != first {
        errors.invalid(&list_path, member(spec, "clusterIPs"), "first value must match `clusterIP`");
    }
    for (index, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        if address != "None" {
            errors.invalid_each(&list_path.index(index), address, names::ip_address(address));
        } else if addresses.len() > 1 {
            errors.invalid_text(&list_path, address, "'None' must be the first and only value");
        }
    }
    let external = path.child("externalIPs");
    for (index, address) in items(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        errors.invalid_each(&external.index(index), address, names::ip_address(address));
    }
}

fn validate_policies(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(spec, "type");
    let words = &["Cluster", "Local"];
    let external = text(spec, "externalTrafficPolicy");
    let external_path = path.child("externalTrafficPolicy");
    if matches!(kind, "NodePort" | "LoadBalancer") {
        if !words.contains(&external) {
            errors.not_supported(&external_path, external, words);
        }
    } else if !external.is_empty() && items(spec, "externalIPs").is_empty() {
        errors.invalid_text(&external_path, external, "may only be set for externally-accessible services");
    }
    let internal = text(spec, "internalTrafficPolicy");
    if kind != "ExternalName" && !words.contains(&internal) {
        errors.not_supported(&path.child("internalTrafficPolicy"), internal, words);
    }
}

/// The address stays as long as the service has one (K-26).
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new_spec, old_spec, path) = (member(new, "spec"), member(old, "spec"), Path::root("spec"));
    let both = text(new_spec, "type") != "ExternalName" && text(old_spec, "type") != "ExternalName";
    let (before, after) = (text(old_spec, "clusterIP"), text(new_spec, "clusterIP"));
    if both && !before.is_empty() && before != after {
        errors.invalid(&path.child("clusterIPs").index(0), member(new_spec, "clusterIPs"), "may not change once set");
    }
    validate(new, errors);
}
