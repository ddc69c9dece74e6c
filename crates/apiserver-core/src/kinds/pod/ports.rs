//! Ports of containers, and references to them.

use serde_json::Value;

use crate::tree::{int, items, text};
use crate::validate::{Errors, Path, names};

/// Ports of one container: names and numbers.
pub(super) fn validate(container: &Value, path: &Path<'_>, errors: &mut Errors) {
    let ports = items(container, "ports");
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let problems = names::port_name(name);
            if problems.is_empty() && ports[..index].iter().any(|other| text(other, "name") == name) {
                errors.duplicate_text(&path.child("name"), name);
            }
            errors.invalid_each(&path.child("name"), name, problems);
        }
        match int(port, "containerPort").unwrap_or(0) {
            0 => errors.required(&path.child("containerPort"), ""),
            number => validate_number(number, &path.child("containerPort"), errors),
        }
        match int(port, "hostPort").unwrap_or(0) {
            0 => {}
            number => validate_number(number, &path.child("hostPort"), errors),
        }
        match text(port, "protocol") {
            "" => errors.required(&path.child("protocol"), ""),
            "TCP" | "UDP" | "SCTP" => {}
            other => errors.not_supported(&path.child("protocol"), other, &["SCTP", "TCP", "UDP"]),
        }
    }
}

fn validate_number(number: i64, path: &Path<'_>, errors: &mut Errors) {
    if let Some(message) = names::port_number(number) {
        errors.invalid_int(path, number, &message);
    }
}

/// No two containers may open the same port of the node.
pub(super) fn validate_host_ports(containers: &[Value], path: &Path<'_>, errors: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in items(container, "ports").iter().enumerate() {
            let Some(host_port) = int(port, "hostPort").filter(|host_port| *host_port != 0) else { continue };
            let key = format!("{}/{}/{host_port}", text(port, "protocol"), text(port, "hostIP"));
            if seen.contains(&key) {
                errors.duplicate_text(&path.index(index).child("hostPort"), &key);
            } else {
                seen.push(key);
            }
        }
    }
}

/// With the node's network the two numbers of a port are the same.
pub(super) fn validate_host_network(containers: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in items(container, "ports").iter().enumerate() {
            let number = int(port, "containerPort").unwrap_or(0);
            if int(port, "hostPort") != Some(number) {
                let path = path.index(index);
                errors.invalid_int(&path.child("containerPort"), number, "must match `hostPort`");
            }
        }
    }
}

/// A port by number, or by the name that a container gives it.
pub(in crate::kinds) fn validate_number_or_name(port: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    match port {
        Some(Value::String(name)) => errors.invalid_each(path, name, names::port_name(name)),
        Some(Value::Number(number)) => validate_number(number.as_i64().unwrap_or(0), path, errors),
        _ => validate_number(0, path, errors),
    }
}
