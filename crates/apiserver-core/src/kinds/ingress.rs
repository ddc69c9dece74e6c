//! Ingress and IngressClass: stored and served. No controller of ours serves them, and creating one says so.

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{has, int, items, member, set, set_default, text};
use crate::validate::metadata::{validate_domain_prefixed, validate_immutable};
use crate::validate::{Errors, Path, names};

const NOT_SERVED: &str = "ingresses are stored but nothing serves them until an ingress controller is installed";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
const CONTROLLER_BYTES_MAX: usize = 250;
const HOSTS_SHOWN: usize = 3;
const ADDRESSES_LEN_SHOWN: usize = 16;
/// What may not stand in a path, at the end or anywhere.
const BAD_SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const BAD_ENDINGS: &[&str] = &["/..", "/."];

pub(super) fn ingress() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["ing"],
            subresources: const { &[Subresource::status("Ingress")] },
            generation: Generation::Spec,
            ..Kind::ordinary(resources::INGRESSES, Scope::Namespaced, "Ingress", "IngressList", "ingress")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Class", "Who is to serve it."),
                Column::text("Hosts", "Names that requests are for."),
                Column::text("Address", "Where it is reached."),
                Column::text("Ports", "Ports that are open."),
                Column::AGE,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            prepare_create: |object| set(object, "status", json!({ "loadBalancer": {} })),
            validate: |object, errors| {
                validate_spec(member(object, "spec"), errors);
                validate_class_annotation(object, errors);
            },
            validate_update: |new, _, errors| validate_spec(member(new, "spec"), errors),
            validate_status: |new, _, errors| validate_addresses(new, errors),
            warn_create: |object, warnings| {
                if has(member(member(object, "metadata"), "annotations"), CLASS_ANNOTATION) {
                    warnings.push(format!(
                        "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
                    ));
                }
                warnings.push(NOT_SERVED.to_owned());
            },
            ..Rules::PLAIN
        },
    }
}

pub(super) fn ingress_class() -> KindDef {
    KindDef {
        kind: Kind {
            generation: Generation::Spec,
            ..Kind::ordinary(
                resources::INGRESS_CLASSES,
                Scope::Cluster,
                "IngressClass",
                "IngressClassList",
                "ingressclass",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Controller", "Who serves ingresses of this class."),
                Column::text("Parameters", "Where more is said."),
                Column::AGE,
            ]
        },
        row: class_row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default: |class| {
                if let Some(parameters) = class.get_mut("spec").and_then(|spec| spec.get_mut("parameters")) {
                    set_default(parameters, "scope", "Cluster");
                }
            },
            validate: |class, errors| validate_class(member(class, "spec"), errors),
            validate_update: |new, old, errors| {
                let path = Path::root("spec");
                let controller = |class| member(member(class, "spec"), "controller");
                validate_immutable(controller(new), controller(old), &path.child("controller"), errors);
                validate_class(member(new, "spec"), errors);
            },
            warn_create: |_, warnings| warnings.push(NOT_SERVED.to_owned()),
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let spec = member(object, "spec");
    let rules = items(spec, "rules");
    let hosts: Vec<&str> = rules.iter().map(|rule| text(rule, "host")).filter(|host| !host.is_empty()).collect();
    let hosts = match hosts.len() {
        0 => "*".to_owned(),
        len if len > HOSTS_SHOWN => {
            format!("{} + {} more...", hosts[..HOSTS_SHOWN].join(","), rules.len() - HOSTS_SHOWN)
        }
        _ => hosts.join(","),
    };
    let places = items(member(member(object, "status"), "loadBalancer"), "ingress");
    let mut addresses: Vec<&str> = places
        .iter()
        .map(|place| Some(text(place, "ip")).filter(|ip| !ip.is_empty()).unwrap_or(text(place, "hostname")))
        .collect();
    addresses.sort_unstable();
    let mut addresses = addresses.join(",");
    if addresses.len() > ADDRESSES_LEN_SHOWN {
        addresses.truncate(ADDRESSES_LEN_SHOWN - 3);
        addresses.push_str("...");
    }
    Row::of([
        cells::name(object),
        cells::or_none(text(spec, "ingressClassName")),
        hosts.into(),
        addresses.into(),
        if items(spec, "tls").is_empty() { "80".into() } else { "80, 443".into() },
        cells::age(object, now),
    ])
}

fn class_row(class: &Value, now: Timestamp) -> Row {
    let metadata = member(class, "metadata");
    let is_default = text(member(metadata, "annotations"), DEFAULT_ANNOTATION) == "true";
    let name = format!("{}{}", text(metadata, "name"), if is_default { " (default)" } else { "" });
    let spec = member(class, "spec");
    let parameters = member(spec, "parameters");
    let parameters = match (parameters.is_null(), text(parameters, "apiGroup")) {
        (true, _) => "<none>".to_owned(),
        (false, "") => format!("{}/{}", text(parameters, "kind"), text(parameters, "name")),
        (false, group) => format!("{}.{group}/{}", text(parameters, "kind"), text(parameters, "name")),
    };
    Row::of([name.into(), text(spec, "controller").into(), parameters.into(), cells::age(class, now)])
}

fn validate_class_annotation(object: &Value, errors: &mut Errors) {
    let annotation = member(member(member(object, "metadata"), "annotations"), CLASS_ANNOTATION);
    let class = member(member(object, "spec"), "ingressClassName");
    if !annotation.is_null() && !class.is_null() && annotation != class {
        let path = Path::root("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        errors.invalid(&path.child(CLASS_ANNOTATION), annotation, detail);
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let rules = items(spec, "rules");
    if rules.is_empty() && !has(spec, "defaultBackend") {
        let shown = if has(spec, "rules") { "[]" } else { "null" };
        errors.invalid_shown(&path, shown, "either `defaultBackend` or `rules` must be specified");
    }
    if has(spec, "defaultBackend") {
        validate_backend(member(spec, "defaultBackend"), &path.child("defaultBackend"), errors);
    }
    let rules_path = path.child("rules");
    for (index, rule) in rules.iter().enumerate() {
        let path = rules_path.index(index);
        validate_host(text(rule, "host"), &path.child("host"), errors);
        if has(rule, "http") {
            validate_paths(member(rule, "http"), &path.child("http"), errors);
        }
    }
    let tls_path = path.child("tls");
    for (index, tls) in items(spec, "tls").iter().enumerate() {
        let path = tls_path.index(index);
        let hosts = path.child("hosts");
        for (index, host) in items(tls, "hosts").iter().filter_map(Value::as_str).enumerate() {
            errors.invalid_each(&hosts.index(index), host, host_problems(host));
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            errors.invalid_each(&path.child("secretName"), secret, names::dns_subdomain(secret));
        }
    }
    if let Some(class) = spec.get("ingressClassName").and_then(Value::as_str) {
        errors.invalid_each(&path.child("ingressClassName"), class, names::dns_subdomain(class));
    }
}

fn validate_host(host: &str, path: &Path<'_>, errors: &mut Errors) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid_text(path, host, "must be a DNS name, not an IP address");
    }
    errors.invalid_each(path, host, host_problems(host));
}

fn host_problems(host: &str) -> Vec<String> {
    if host.contains('*') { names::wildcard_subdomain(host) } else { names::dns_subdomain(host) }
}

fn validate_paths(http: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (paths, path) = (items(http, "paths"), path.child("paths"));
    if paths.is_empty() {
        errors.required(&path, "");
    }
    for (index, one) in paths.iter().enumerate() {
        let path = path.index(index);
        let Some(kind) = one.get("pathType").and_then(Value::as_str) else {
            errors.required(&path.child("pathType"), "pathType must be specified");
            continue;
        };
        validate_path(kind, text(one, "path"), &path, errors);
        validate_backend(member(one, "backend"), &path.child("backend"), errors);
    }
}

fn validate_path(kind: &str, given: &str, path: &Path<'_>, errors: &mut Errors) {
    let is_strict = matches!(kind, "Exact" | "Prefix");
    if !is_strict && kind != "ImplementationSpecific" {
        errors.not_supported(&path.child("pathType"), kind, &["Exact", "ImplementationSpecific", "Prefix"]);
        return;
    }
    let path = path.child("path");
    if !given.starts_with('/') && (is_strict || !given.is_empty()) {
        errors.invalid_text(&path, given, "must be an absolute path");
    }
    if is_strict {
        for sequence in BAD_SEQUENCES.iter().filter(|sequence| given.contains(**sequence)) {
            errors.invalid_text(&path, given, &format!("must not contain '{sequence}'"));
        }
        for ending in BAD_ENDINGS.iter().filter(|ending| given.ends_with(**ending)) {
            errors.invalid_text(&path, given, &format!("cannot end with '{ending}'"));
        }
    }
}

fn validate_backend(backend: &Value, path: &Path<'_>, errors: &mut Errors) {
    match (has(backend, "resource"), has(backend, "service")) {
        (true, true) => errors.invalid_text(path, "", "cannot set both resource and service backends"),
        (true, false) => validate_reference(member(backend, "resource"), &path.child("resource"), errors),
        (false, true) => validate_service(member(backend, "service"), path, errors),
        (false, false) => errors.invalid_text(path, "", "resource or service backend is required"),
    }
}

fn validate_service(service: &Value, path: &Path<'_>, errors: &mut Errors) {
    let service_path = path.child("service");
    match text(service, "name") {
        "" => errors.required(&service_path.child("name"), ""),
        name => errors.invalid_each(&service_path.child("name"), name, names::dns_label(name)),
    }
    let port = member(service, "port");
    let port_path = service_path.child("port");
    match (text(port, "name"), int(port, "number").unwrap_or(0)) {
        ("", 0) => errors.required(path, "port name or number is required"),
        ("", number) => {
            if let Some(problem) = names::port_number(number) {
                errors.invalid_int(&port_path.child("number"), number, &problem);
            }
        }
        (name, 0) => errors.invalid_each(&port_path.child("name"), name, names::port_name(name)),
        (_, _) => errors.invalid_text(path, "", "cannot set both port name & port number"),
    }
}

fn validate_reference(reference: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(group) = reference.get("apiGroup").and_then(Value::as_str) {
        errors.invalid_each(&path.child("apiGroup"), group, names::dns_subdomain(group));
    }
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => errors.required(&path.child(key), ""),
            word => errors.invalid_each(&path.child(key), word, names::path_segment(word)),
        }
    }
}

fn validate_addresses(object: &Value, errors: &mut Errors) {
    let path = Path::root("status");
    let path = path.child("loadBalancer.ingress");
    for (index, place) in items(member(member(object, "status"), "loadBalancer"), "ingress").iter().enumerate() {
        let path = path.index(index);
        let (ip, host) = (text(place, "ip"), text(place, "hostname"));
        if !ip.is_empty() {
            errors.invalid_each(&path.child("ip"), ip, names::ip_address(ip));
        }
        if !host.is_empty() {
            errors.invalid_each(&path.child("hostname"), host, names::dns_subdomain(host));
            if host.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid_text(&path.child("hostname"), host, "must be a DNS name, not an IP address");
            }
        }
    }
}

fn validate_class(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let controller = text(spec, "controller");
    if controller.len() > CONTROLLER_BYTES_MAX {
        errors.too_long(&path.child("controller"), CONTROLLER_BYTES_MAX);
    }
    validate_domain_prefixed(controller, &path.child("controller"), errors);
    if !has(spec, "parameters") {
        return;
    }
    let (parameters, path) = (member(spec, "parameters"), path.child("parameters"));
    validate_reference(parameters, &path, errors);
    let namespace = text(parameters, "namespace");
    match text(parameters, "scope") {
        "Cluster" if !namespace.is_empty() => {
            errors.forbidden(&path.child("namespace"), "`parameters.scope` is set to 'Cluster'");
        }
        "Namespace" if namespace.is_empty() => {
            errors.required(&path.child("namespace"), "`parameters.scope` is set to 'Namespace'");
        }
        "Cluster" | "Namespace" => {}
        other => errors.not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]),
    }
}
