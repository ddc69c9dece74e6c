//! Pod: its row, and the rules of pod specs, which templates share (K-1 to K-3, K-23, K-31).

mod admission;
mod containers;
mod environment;
mod placement;
pub(in crate::kinds) mod ports;
mod printer;
mod probes;
mod quality;
pub(in crate::kinds) mod resource_names;
mod security;
mod update;
mod volumes;

use api::{CREATE_ONLY, DeleteAnswer, Generation, Kind, Scope, Subresource, Verb, resources};
use serde_json::{Value, json};

use super::{DeletionRules, KindDef, Needs, Rules, limit_range};
use crate::tree::{copy_member, entries, flag, has, int, items, member, object_mut, set, text};
use crate::validate::metadata::{validate_annotations, validate_labels};
use crate::validate::{Errors, Path, names};

pub use quality::quality_of_service;

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["po"],
            categories: &["all"],
            subresources: const {
                &[
                    Subresource { name: "binding", kind: "Binding", group_version: None, verbs: CREATE_ONLY },
                    Subresource {
                        name: "eviction",
                        kind: "Eviction",
                        group_version: Some(("policy", "v1")),
                        verbs: CREATE_ONLY,
                    },
                    Subresource {
                        name: "exec",
                        kind: "PodExecOptions",
                        group_version: None,
                        verbs: &[Verb::Create, Verb::Get],
                    },
                    Subresource { name: "log", kind: "Pod", group_version: None, verbs: &[Verb::Get] },
                    Subresource::status("Pod"),
                ]
            },
            delete_answer: DeleteAnswer::Object,
            generation: Generation::Spec,
            selectable_fields: &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ],
            ..Kind::ordinary(resources::PODS, Scope::Namespaced, "Pod", "PodList", "pod")
        },
        columns: printer::COLUMNS,
        row: printer::row,
        needs: Needs::PodSurroundings,
        conversion: None,
        rules: Rules {
            default: api::defaults::pod,
            admit: admission::admit,
            permit: |pod, context| limit_range::admission::check_pod(pod, context.limit_ranges),
            prepare_create: |pod| {
                let class = quality_of_service(member(pod, "spec"));
                set(pod, "status", json!({ "phase": "Pending", "qosClass": class }));
            },
            prepare_status,
            validate,
            validate_update: update::validate,
            warn: |pod, warnings| warn_spec(member(pod, "spec"), "spec", warnings),
            deletion: DeletionRules { grace, ..DeletionRules::PLAIN },
            ..Rules::PLAIN
        },
    }
}

/// V-49: none for a pod that no node has, or that is over.
fn grace(pod: &Value, asked: Option<i64>) -> Option<i64> {
    let spec = member(pod, "spec");
    let finished = matches!(text(member(pod, "status"), "phase"), "Succeeded" | "Failed");
    if text(spec, "nodeName").is_empty() || finished {
        return Some(0);
    }
    let grace = asked.or_else(|| int(spec, "terminationGracePeriodSeconds")).unwrap_or(30);
    Some(if grace < 0 { 1 } else { grace })
}

/// A status write never changes owners, and keeps the quality class (V-131).
fn prepare_status(new: &mut Value, old: &Value) {
    let old_metadata = member(old, "metadata");
    let mut metadata = Value::Object(std::mem::take(object_mut(new, "metadata")));
    copy_member(&mut metadata, old_metadata, "ownerReferences");
    copy_member(&mut metadata, old_metadata, "deletionTimestamp");
    set(new, "metadata", metadata);
    let class = text(member(old, "status"), "qosClass").to_owned();
    if !class.is_empty() {
        object_mut(new, "status").insert("qosClass".to_owned(), class.into());
    }
}

fn validate(pod: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let spec = member(pod, "spec");
    validate_spec(spec, &path, errors);
    for key in ["containers", "initContainers"] {
        update::validate_images(spec, key, &path, errors);
    }
    if has(spec, "ephemeralContainers") {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
}

/// Checks the metadata and spec of a pod template.
pub(super) fn validate_template(metadata: &Value, spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    validate_labels(metadata, "labels", path, errors);
    validate_annotations(metadata, path, errors);
    let spec_path = path.child("spec");
    validate_spec(spec, &spec_path, errors);
    if !items(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(&spec_path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// Checks a pod spec (K-31), in upstream's order.
pub(super) fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let grace_secs = int(spec, "terminationGracePeriodSeconds").unwrap_or(30);
    let good_volumes = volumes::validate(spec, &path.child("volumes"), errors);
    containers::validate(spec, &good_volumes, grace_secs, path, errors);
    if has(spec, "resources") {
        containers::validate_resources(member(spec, "resources"), &path.child("resources"), errors);
    }
    if flag(spec, "hostNetwork") {
        ports::validate_host_network(items(spec, "containers"), &path.child("containers"), errors);
    }
    validate_word(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    validate_word(spec, "dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], path, errors);
    validate_labels(spec, "nodeSelector", path, errors);
    security::validate_pod(spec, path, errors);
    placement::validate_affinity(spec, path, errors);
    validate_dns_config(spec, path, errors);
    validate_gates(spec, path, errors);
    placement::validate_spread(spec, path, errors);
    validate_references(spec, path, errors);
    placement::validate_tolerations(spec, &path.child("tolerations"), errors);
    validate_host_aliases(spec, path, errors);
    let policy = text(spec, "preemptionPolicy");
    if !matches!(policy, "" | "PreemptLowerPriority" | "Never") {
        errors.not_supported(&path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
}

fn validate_word(spec: &Value, key: &str, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    match text(spec, key) {
        "" => errors.required(&path.child(key), ""),
        known if allowed.contains(&known) => {}
        other => errors.not_supported(&path.child(key), other, allowed),
    }
}

/// Names of other objects, and the names that the pod itself wants to have.
fn validate_references(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["serviceAccountName", "nodeName"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.invalid_each(&path.child(key), name, names::dns_subdomain(name));
        }
    }
    if let Some(secs) = int(spec, "activeDeadlineSeconds").filter(|secs| !(1..=i64::from(i32::MAX)).contains(secs)) {
        let detail = names::out_of_range(1, i32::MAX.into());
        errors.invalid_int(&path.child("activeDeadlineSeconds"), secs, &detail);
    }
    for key in ["hostname", "subdomain"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.invalid_each(&path.child(key), name, names::dns_label(name));
        }
    }
    for key in ["priorityClassName", "runtimeClassName"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.invalid_each(&path.child(key), name, names::dns_subdomain(name));
        }
    }
}

fn validate_dns_config(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    const NAMESERVERS_MAX: usize = 3;
    const SEARCHES_MAX: usize = 32;
    const SEARCH_CHARS_MAX: usize = 2048;
    let (config, path) = (member(spec, "dnsConfig"), path.child("dnsConfig"));
    let servers = items(config, "nameservers");
    let servers_path = path.child("nameservers");
    if text(spec, "dnsPolicy") == "None" && servers.is_empty() {
        errors.required(&servers_path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(&servers_path, member(config, "nameservers"), &detail);
    }
    for (index, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        errors.invalid_each(&servers_path.index(index), server, names::ip_address(server));
    }
    let searches = items(config, "searches");
    let searches_path = path.child("searches");
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.invalid(&searches_path, member(config, "searches"), &detail);
    }
    let chars: usize = searches.iter().filter_map(Value::as_str).map(|search| search.len() + 1).sum();
    if chars.saturating_sub(1) > SEARCH_CHARS_MAX {
        let detail =
            format!("must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list");
        errors.invalid(&searches_path, member(config, "searches"), &detail);
    }
    for (index, search) in searches.iter().filter_map(Value::as_str).enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        if !name.is_empty() {
            errors.invalid_each(&searches_path.index(index), name, names::dns_subdomain(&name.replace('_', "a")));
        }
    }
    let options = path.child("options");
    for (index, option) in items(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(&options.index(index), "must not be empty");
        }
    }
}

fn validate_gates(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let readiness = path.child("readinessGates");
    for (index, gate) in items(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        errors.invalid_each(&readiness.index(index).child("conditionType"), kind, names::qualified_name(kind));
    }
    let scheduling = path.child("schedulingGates");
    let gates = items(spec, "schedulingGates");
    for (index, gate) in gates.iter().enumerate() {
        let (path, name) = (scheduling.index(index), text(gate, "name"));
        errors.invalid_each(&path, name, names::qualified_name(name));
        if gates[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate_text(&path, name);
        }
    }
}

fn validate_host_aliases(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("hostAliases");
    for (index, alias) in items(spec, "hostAliases").iter().enumerate() {
        let path = path.index(index);
        let ip = text(alias, "ip");
        errors.invalid_each(&path.child("ip"), ip, names::ip_address(ip));
        for name in items(alias, "hostnames").iter().filter_map(Value::as_str) {
            errors.invalid_each(&path.child("hostnames"), name, names::dns_subdomain(name));
        }
    }
}

/// What is legal in a pod spec and probably a mistake (K-38).
pub(super) fn warn_spec(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    let grace = int(spec, "terminationGracePeriodSeconds").unwrap_or(30);
    if grace < 0 {
        warnings.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for key in ["initContainers", "containers"] {
        for (index, container) in items(spec, key).iter().enumerate() {
            let at = format!("{path}.{key}[{index}]");
            let variables = items(container, "env");
            for (index, variable) in variables.iter().enumerate() {
                let name = text(variable, "name");
                if variables[..index].iter().any(|other| text(other, "name") == name) {
                    warnings.push(format!(
                        "{at}.env[{index}]: hides previous definition of \"{name}\", which may be dropped when using apply"
                    ));
                }
            }
            warn_ports(container, &at, warnings);
            warn_fractions(container, &at, warnings);
        }
    }
    for (index, secret) in items(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            warnings.push(format!("{path}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    warn_deprecated(spec, path, warnings);
}

fn warn_ports(container: &Value, at: &str, warnings: &mut Vec<String>) {
    let ports = items(container, "ports");
    let key = |port: &Value| (int(port, "containerPort"), text(port, "protocol").to_owned());
    for (index, port) in ports.iter().enumerate() {
        if let Some(first) = ports[..index].iter().position(|other| key(other) == key(port)) {
            warnings.push(format!("{at}.ports[{index}]: duplicate port definition with {at}.ports[{first}]"));
        }
    }
}

fn warn_fractions(container: &Value, at: &str, warnings: &mut Vec<String>) {
    for list in ["limits", "requests"] {
        let amounts = member(member(container, "resources"), list);
        for name in ["memory", "ephemeral-storage"] {
            let amount = super::persistent_volume_claim::quantity(amounts, name);
            if let Some(amount) = amount.filter(|amount| !amount.is_whole()) {
                warnings.push(format!(
                    "{at}.resources.{list}[{name}]: fractional byte value \"{amount}\" is invalid, must be an integer"
                ));
            }
        }
    }
}

fn warn_deprecated(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    for (key, _) in entries(spec, "nodeSelector") {
        if let Some(new) = match key {
            "beta.kubernetes.io/arch" => Some("kubernetes.io/arch"),
            "beta.kubernetes.io/os" => Some("kubernetes.io/os"),
            "failure-domain.beta.kubernetes.io/zone" => Some("topology.kubernetes.io/zone"),
            "failure-domain.beta.kubernetes.io/region" => Some("topology.kubernetes.io/region"),
            _ => None,
        } {
            warnings.push(format!("{path}.nodeSelector[{key}]: deprecated since v1.14; use \"{new}\" instead"));
        }
    }
}
