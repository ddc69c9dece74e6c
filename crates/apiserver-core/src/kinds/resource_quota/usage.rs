//! What one object uses of a namespace's quotas.

use meta::{LabelSelector, Quantity};
use serde_json::Value;

use crate::kinds::amounts::{self, Amounts};
use crate::kinds::pod::quality_of_service;
use crate::kinds::{KindDef, amounts::Amounts as Usage};
use crate::tree::{at, has, int, items, member, text};

/// Kinds that are counted under their own name too.
const COUNTED: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// Everything that an object uses, by the name under which quotas count it.
pub(super) fn of(def: &KindDef, object: &Value) -> Usage {
    let resource = &def.kind.resource;
    let one = Quantity::from_units(1);
    let mut usage = Usage::from([(format!("count/{}", resource.group_resource()), one)]);
    if !resource.group.is_empty() {
        return usage;
    }
    match resource.resource.as_ref() {
        "pods" => of_pod(object, &mut usage),
        "persistentvolumeclaims" => of_claim(object, &mut usage),
        "services" => of_service(object, &mut usage),
        name if COUNTED.contains(&name) => {
            usage.insert(name.to_owned(), one);
        }
        _ => {}
    }
    usage
}

/// A pod that is over uses nothing but its place.
fn of_pod(pod: &Value, usage: &mut Usage) {
    if matches!(text(member(pod, "status"), "phase"), "Succeeded" | "Failed") {
        return;
    }
    let spec = member(pod, "spec");
    usage.extend(of_amounts(&amounts::of_pod(spec, "requests"), &amounts::of_pod(spec, "limits")));
}

/// What requests and limits come to under the names of quotas; also for one container.
pub(super) fn of_amounts(requests: &Amounts, limits: &Amounts) -> Usage {
    let mut usage = Usage::from([("pods".to_owned(), Quantity::from_units(1))]);
    for (name, amount) in requests {
        let is_native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if is_native || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if is_native || name.starts_with("hugepages-") || name.contains('/') {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

fn of_claim(claim: &Value, usage: &mut Usage) {
    let one = Quantity::from_units(1);
    let asked = amounts::read(at(claim, &["spec", "resources", "requests"])).get("storage").copied();
    let given = amounts::read(at(claim, &["status", "allocatedResources"])).get("storage").copied();
    let storage = asked.map(|asked| Quantity::from_bytes(given.map_or(asked, |given| given.max(asked)).units()));
    let class = text(member(claim, "spec"), "storageClassName");
    let mut put = |name: &str, amount: Quantity| {
        usage.insert(name.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}.storageclass.storage.k8s.io/{name}"), amount);
        }
    };
    put("persistentvolumeclaims", one);
    if let Some(storage) = storage {
        put("requests.storage", storage);
    }
}

fn of_service(service: &Value, usage: &mut Usage) {
    let spec = member(service, "spec");
    let ports = items(spec, "ports");
    let chosen = ports.iter().filter(|port| int(port, "nodePort").unwrap_or(0) != 0).count();
    let gets_ports = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true);
    let (balancers, node_ports) = match text(spec, "type") {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" if gets_ports => (1, ports.len()),
        "LoadBalancer" => (1, chosen),
        _ => (0, 0),
    };
    for (name, count) in [("services", 1), ("services.loadbalancers", balancers), ("services.nodeports", node_ports)] {
        usage.insert(name.to_owned(), Quantity::from_units(count as i64));
    }
}

/// Whether a quota counts an object: all its scopes must fit.
pub(super) fn is_in_scope(quota: &Value, def: &KindDef, object: &Value) -> bool {
    let spec = member(quota, "spec");
    let plain = items(spec, "scopes").iter().filter_map(Value::as_str).map(|scope| (scope, "Exists", &[][..]));
    let selected = items(member(spec, "scopeSelector"), "matchExpressions")
        .iter()
        .map(|it| (text(it, "scopeName"), text(it, "operator"), items(it, "values")));
    let resource = def.kind.resource.group_resource();
    plain.chain(selected).all(|(scope, operator, values)| match resource.as_str() {
        "pods" => pod_is_in(object, scope, operator, values),
        "persistentvolumeclaims" if scope == "VolumeAttributesClass" => {
            let class = text(member(object, "spec"), "volumeAttributesClassName");
            matches_word(class, scope, operator, values)
        }
        _ => false,
    })
}

fn pod_is_in(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let spec = member(pod, "spec");
    let ends = int(spec, "activeDeadlineSeconds").is_some_and(|secs| secs >= 0);
    let is_best_effort = || quality_of_service(spec) == "BestEffort";
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => matches_word(text(spec, "priorityClassName"), scope, operator, values),
        "CrossNamespacePodAffinity" => looks_elsewhere(member(spec, "affinity")),
        _ => false,
    }
}

fn matches_word(word: &str, scope: &str, operator: &str, values: &[Value]) -> bool {
    let values = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let Ok(requirement) = LabelSelector::expression(scope, operator, values) else { return false };
    requirement.matches(Some(word).filter(|word| !word.is_empty()))
}

/// Whether a pod wants to be near or far from pods of other namespaces.
fn looks_elsewhere(affinity: &Value) -> bool {
    let is_elsewhere = |term: &Value| !items(term, "namespaces").is_empty() || has(term, "namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|key| {
        let affinity = member(affinity, key);
        let required = items(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = items(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        required.chain(preferred.map(|it| member(it, "podAffinityTerm"))).any(is_elsewhere)
    })
}
