//! Charging quotas: with every write of a namespaced object, in its transaction.

use std::collections::BTreeSet;

use meta::{Quantity, Status, Timestamp};
use serde_json::{Value, json};

use super::usage;
use crate::kinds::amounts::{self, Amounts};
use crate::kinds::{self, KindDef};
use crate::tree::{at, items, member, object_mut, set, text};
use crate::write::track;

/// Who writes `status.used`.
const MANAGER: &str = "kube-apiserver";
/// What every container must ask for if a quota counts it: upstream's old mistake, which charts count on.
const DEMANDED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// A write as quotas see it.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// The row of the object.
    pub def: &'a KindDef,
    /// Its state before; absent for a creation.
    pub before: Option<&'a Value>,
    /// Its state afterwards; absent for the end of it.
    pub after: Option<&'a Value>,
}

/// The quotas of the namespace that change with a write, as they are afterwards.
///
/// `quotas` carry their resourceVersion as they were read; what is returned does not.
///
/// # Errors
/// 403 with upstream's text if there is not enough left, or a pod does not say how much it needs.
pub fn charge(quotas: &[&Value], write: Write<'_>, now: Timestamp) -> Result<Vec<Value>, Status> {
    let mut changed = Vec::new();
    for quota in quotas {
        if let Some(after) = write.after.filter(|_| write.before.is_none()) {
            demand(quota, write.def, after)?;
        }
        let status = member(quota, "status");
        let (hard, used) = (amounts::read(member(status, "hard")), amounts::read(member(status, "used")));
        let of = |object: Option<&Value>| {
            object
                .filter(|object| usage::is_in_scope(quota, write.def, object))
                .map(|object| usage::of(write.def, object))
                .unwrap_or_default()
        };
        let (before, after) = (of(write.before), of(write.after));
        let mut new_used = used.clone();
        let mut asked = Amounts::new();
        for name in before.keys().chain(after.keys()).filter(|name| hard.contains_key(*name)) {
            let amount = |usage: &Amounts| usage.get(name).copied().unwrap_or_default();
            let delta = amount(&after) - amount(&before);
            if delta.is_positive() {
                asked.insert(name.clone(), delta);
            }
            let sum = used.get(name).copied().unwrap_or_default() + delta;
            new_used.insert(name.clone(), sum.max(Quantity::ZERO));
        }
        refuse_excess(quota, write, &asked, &used, &hard)?;
        if new_used != used {
            changed.push(with_status(quota, &hard, &new_used, now));
        }
    }
    Ok(changed)
}

fn refuse_excess(
    quota: &Value,
    write: Write<'_>,
    asked: &Amounts,
    used: &Amounts,
    hard: &Amounts,
) -> Result<(), Status> {
    let of = |list: &Amounts, name: &String| list.get(name).copied().unwrap_or_default();
    let exceeded: BTreeSet<&String> =
        asked.iter().filter(|(name, asked)| of(used, name) + **asked > of(hard, name)).map(|(name, _)| name).collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let only = |list: &Amounts| -> String {
        amounts::shown(&exceeded.iter().map(|name| ((*name).clone(), of(list, name))).collect())
    };
    let why = format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        text(member(quota, "metadata"), "name"),
        only(asked),
        only(used),
        only(hard)
    );
    Err(refusal(write.def, write.after, why))
}

fn refusal(def: &KindDef, object: Option<&Value>, why: String) -> Status {
    let name = object.map_or("", |object| text(member(object, "metadata"), "name"));
    Status::forbidden(&def.kind.resource, name, why)
}

/// Containers must say how much they need of what a quota counts.
fn demand(quota: &Value, def: &KindDef, pod: &Value) -> Result<(), Status> {
    let spec = member(pod, "spec");
    if def.kind.resource != api::resources::PODS
        || !member(spec, "resources").is_null()
        || !usage::is_in_scope(quota, def, pod)
    {
        return Ok(());
    }
    let hard = amounts::read(at(quota, &["status", "hard"]));
    let missing = |demanded: &str| -> String {
        let names: BTreeSet<&str> = items(spec, "containers")
            .iter()
            .chain(items(spec, "initContainers"))
            .filter(|container| {
                let list = |key| amounts::read(at(container, &["resources", key]));
                !usage::of_amounts(&list("requests"), &list("limits")).contains_key(demanded)
            })
            .map(|container| text(container, "name"))
            .collect();
        names.into_iter().collect::<Vec<_>>().join(",")
    };
    let mut demanded: Vec<&str> = DEMANDED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    demanded.sort_unstable();
    let parts: Vec<String> = demanded
        .into_iter()
        .map(|name| (name, missing(name)))
        .filter(|(_, containers)| !containers.is_empty())
        .map(|(name, containers)| format!("{name} for: {containers}"))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    let quota_name = text(member(quota, "metadata"), "name");
    Err(refusal(def, Some(pod), format!("failed quota: {quota_name}: must specify {}", parts.join("; "))))
}

fn with_status(quota: &Value, hard: &Amounts, used: &Amounts, now: Timestamp) -> Value {
    let mut changed = quota.clone();
    object_mut(&mut changed, "metadata").remove("resourceVersion");
    set(&mut changed, "status", json!({ "hard": amounts::write(hard), "used": amounts::write(used) }));
    if let Some(def) = kinds::by_resource(&api::resources::RESOURCE_QUOTAS) {
        track(def, Some(quota), &mut changed, MANAGER, "status", now);
    }
    changed
}

/// The kinds whose objects a quota counts; Events are never among them.
pub fn counted_kinds(quota: &Value) -> Vec<&'static KindDef> {
    let hard = amounts::read(at(quota, &["spec", "hard"]));
    let counts = |def: &KindDef| {
        let resource = &def.kind.resource;
        let is_core = |names: &[&str]| resource.group.is_empty() && names.contains(&resource.resource.as_ref());
        let claims = |name: &str| name.ends_with("persistentvolumeclaims") || name.ends_with("requests.storage");
        hard.keys().any(|name| match name.strip_prefix("count/") {
            Some(counted) => counted == resource.group_resource(),
            None if name.starts_with("services") => is_core(&["services"]),
            None if claims(name) => is_core(&["persistentvolumeclaims"]),
            None if is_core(&["configmaps", "replicationcontrollers", "resourcequotas", "secrets"]) => {
                *name == resource.resource
            }
            None => is_core(&["pods"]),
        })
    };
    let is_event = |def: &KindDef| *def.kind.storage() == api::resources::EVENTS;
    kinds::all().iter().filter(|def| def.kind.is_namespaced() && !is_event(def) && counts(def)).collect()
}

/// The status of a quota over the objects that there are: what may be used, and what is.
pub fn counted_status<'a>(quota: &Value, objects: impl Iterator<Item = (&'a KindDef, &'a Value)>) -> Value {
    let hard = amounts::read(at(quota, &["spec", "hard"]));
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for (def, object) in objects.filter(|(def, object)| usage::is_in_scope(quota, def, object)) {
        for (name, amount) in usage::of(def, object) {
            if let Some(sum) = used.get_mut(&name) {
                *sum += amount;
            }
        }
    }
    json!({ "hard": amounts::write(&hard), "used": amounts::write(&used) })
}
