//! ResourceQuota: its row and rules (M-13). What objects use and what quotas say to it: [`charge`].
//!
//! A quota is charged in the transaction of the write that uses something, and gets it back in that of the deletion:
//! `status.used` is exact at every revision, and no controller has to count.

pub mod charge;
mod usage;

use std::collections::BTreeSet;

use api::{Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::amounts;
use super::pod::resource_names::validate_resource;
use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{items, member, set, text};
use crate::validate::{Errors, Path};

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];
/// Names without a prefix that a quota may count.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Those of which there are whole ones only.
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["quota"],
            subresources: const { &[Subresource::status("ResourceQuota")] },
            ..Kind::ordinary(
                resources::RESOURCE_QUOTAS,
                Scope::Namespaced,
                "ResourceQuota",
                "ResourceQuotaList",
                "resourcequota",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Request", "What is used of what may be asked for."),
                Column::text("Limit", "What is used of what may be the limit."),
                Column::AGE,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            prepare_create: |object| set(object, "status", json!({})),
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update,
            validate_status: |new, _, errors| {
                let (status, path) = (member(new, "status"), Path::root("status"));
                for key in ["hard", "used"] {
                    validate_list(member(status, key), &path.child(key), errors);
                }
            },
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let status = member(object, "status");
    let (hard, used) = (amounts::read(member(status, "hard")), amounts::read(member(status, "used")));
    let list = |is_limit: bool| {
        let of_list = hard.iter().filter(|(name, _)| name.starts_with("limits.") == is_limit);
        let parts: Vec<String> = of_list
            .map(|(name, hard)| format!("{name}: {}/{hard}", used.get(name).copied().unwrap_or_default()))
            .collect();
        Value::from(parts.join(", "))
    };
    Row::of([cells::name(object), list(false), list(true), cells::age(object, now)])
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let hard = member(spec, "hard");
    validate_list(hard, &path.child("hard"), errors);
    let names: BTreeSet<String> = amounts::read(hard).into_keys().collect();
    validate_scopes(spec, &names, &path.child("scopes"), errors);
    if !member(spec, "scopeSelector").is_null() {
        validate_scope_selector(spec, &names, &path.child("scopeSelector"), errors);
    }
}

fn validate_list(list: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (name, amount) in amounts::read(list) {
        let path = path.key(&name);
        validate_resource(&name, &path, errors);
        if !name.contains('/') && !is_standard(&name) {
            errors.invalid_text(&path, &name, "must be a standard resource for quota");
        }
        if amount.is_negative() {
            errors.invalid_text(&path, &amount.to_string(), "must be greater than or equal to 0");
        }
        if WHOLE.contains(&name.as_str()) && !amount.is_whole() {
            errors.invalid_text(&path, &amount.to_string(), "must be an integer");
        }
    }
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// Whether a quota of that scope can count the resource.
fn fits(scope: &str, name: &str) -> bool {
    let compute = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            name == "pods" || compute.contains(&name)
        }
        _ => true,
    }
}

fn validate_scopes(spec: &Value, names: &BTreeSet<String>, path: &Path<'_>, errors: &mut Errors) {
    let given = member(spec, "scopes");
    let scopes: Vec<&str> = items(spec, "scopes").iter().filter_map(Value::as_str).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.invalid(path, given, "unsupported scope");
        }
        for _ in names.iter().filter(|name| is_standard(name) && !fits(scope, name)) {
            errors.invalid(path, given, "unsupported scope applied to resource");
        }
    }
    validate_pairs(&scopes, given, path, errors);
}

fn validate_pairs(scopes: &[&str], given: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(path, given, "conflicting scopes");
        }
    }
}

fn validate_scope_selector(spec: &Value, names: &BTreeSet<String>, path: &Path<'_>, errors: &mut Errors) {
    let selector = member(spec, "scopeSelector");
    let path = path.child("matchExpressions");
    let requirements = items(selector, "matchExpressions");
    for requirement in requirements {
        let (scope, operator) = (text(requirement, "scopeName"), text(requirement, "operator"));
        if !SCOPES.contains(&scope) {
            errors.invalid_text(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in names.iter().filter(|name| is_standard(name) && !fits(scope, name)) {
            errors.invalid(&path, selector, "unsupported scope applied to resource");
        }
        let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass") || !SCOPES.contains(&scope);
        if !has_values && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                          ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid_text(&path.child("operator"), operator, detail);
        }
        let values = items(requirement, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&path.child("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&path.child("values"), member(requirement, "values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(&path.child("operator"), other, "not a valid selector operator"),
        }
    }
    let scopes: Vec<&str> = requirements.iter().map(|requirement| text(requirement, "scopeName")).collect();
    validate_pairs(&scopes, member(spec, "scopes"), &path, errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (member(new, "spec"), member(old, "spec"));
    validate_spec(new, errors);
    let scopes = |spec: &Value| -> BTreeSet<String> {
        items(spec, "scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if scopes(new) != scopes(old) {
        let path = Path::root("spec");
        errors.invalid(&path.child("scopes"), member(new, "scopes"), "field is immutable");
    }
}
