//! LimitRange: its row, defaults and rules (M-12). What it does to pods and claims: [`admission`].

pub(super) mod admission;

use api::{Kind, Scope, resources};
use meta::Quantity;
use serde_json::Value;

use super::amounts::{self, Amounts};
use super::pod::resource_names::{validate_container_resource, validate_resource};
use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{child_mut, items, items_mut, member, set, text};
use crate::validate::{Errors, Path, names};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["limits"],
            ..Kind::ordinary(resources::LIMIT_RANGES, Scope::Namespaced, "LimitRange", "LimitRangeList", "limitrange")
        },
        columns: const { &[Column::NAME, Column::CREATED_AT] },
        row: |object, _| Row::of([cells::name(object), cells::created_at(object)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update: |new, _, errors| validate_spec(member(new, "spec"), errors),
            ..Rules::PLAIN
        },
    }
}

/// What containers get when they say nothing follows from what they may have.
fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    for limit in items_mut(spec, "limits").filter(|limit| text(limit, "type") == "Container") {
        let list = |key: &str| amounts::read(member(limit, key));
        let complete = |mut amounts: Amounts, from: &Amounts| {
            for (name, amount) in from {
                amounts.entry(name.clone()).or_insert(*amount);
            }
            amounts
        };
        let default = complete(list("default"), &list("max"));
        let request = complete(complete(list("defaultRequest"), &default), &list("min"));
        for (key, amounts) in [("default", default), ("defaultRequest", request)] {
            if !amounts.is_empty() {
                set(limit, key, amounts::write(&amounts));
            }
        }
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (limits, path) = (items(spec, "limits"), path.child("limits"));
    for (index, limit) in limits.iter().enumerate() {
        let (path, kind) = (path.index(index), text(limit, "type"));
        validate_type(kind, &path.child("type"), errors);
        if limits[..index].iter().any(|other| text(other, "type") == kind) {
            errors.duplicate_text(&path.child("type"), kind);
        }
        validate_limit(limit, kind, &path, errors);
    }
}

fn validate_type(kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let problems = names::qualified_name(kind);
    let is_known = kind.contains('/') || matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if problems.is_empty() && !is_known {
        errors.invalid_text(path, kind, "must be a standard limit type or fully qualified");
    }
    errors.invalid_each(path, kind, problems);
}

fn validate_limit(limit: &Value, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let is_pod = kind == "Pod";
    let mut lists = Lists::default();
    for (key, list) in lists.by_key() {
        let amounts = amounts::read(member(limit, key));
        if is_pod && key.starts_with("default") {
            if !amounts.is_empty() {
                errors.forbidden(&path.child(key), "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        let path = path.child(key);
        for name in amounts.keys() {
            match kind {
                "Pod" | "Container" => validate_container_resource(name, &path.key(name), errors),
                _ => validate_resource(name, &path.key(name), errors),
            }
        }
        *list = amounts;
    }
    if kind == "PersistentVolumeClaim" && !lists.min.contains_key("storage") && !lists.max.contains_key("storage") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), detail);
    }
    let mut all: Vec<&String> = lists.max.keys().chain(lists.min.keys()).chain(lists.ratio.keys()).collect();
    all.extend(lists.default.keys().chain(lists.request.keys()));
    all.sort_unstable();
    all.dedup();
    for name in all {
        lists.validate_order(name, path, errors);
        lists.validate_ratio(name, path, errors);
    }
}

/// The amounts of one limit.
#[derive(Default)]
struct Lists {
    max: Amounts,
    min: Amounts,
    default: Amounts,
    request: Amounts,
    ratio: Amounts,
}

impl Lists {
    fn by_key(&mut self) -> [(&'static str, &mut Amounts); 5] {
        [
            ("max", &mut self.max),
            ("min", &mut self.min),
            ("default", &mut self.default),
            ("defaultRequest", &mut self.request),
            ("maxLimitRequestRatio", &mut self.ratio),
        ]
    }

    /// Least ≤ request by default ≤ limit by default ≤ most.
    fn validate_order(&self, name: &str, path: &Path<'_>, errors: &mut Errors) {
        let of = |list: &Amounts| list.get(name).copied();
        let (min, max, default, request) = (of(&self.min), of(&self.max), of(&self.default), of(&self.request));
        // The list to blame, the value shown, and the two that are in the wrong order with their names.
        let rules = [
            ("min", min, (min, "min value"), (max, "max value")),
            ("defaultRequest", request, (min, "min value"), (request, "default request value")),
            ("defaultRequest", request, (request, "default request value"), (max, "max value")),
            ("defaultRequest", request, (request, "default request value"), (default, "default limit value")),
            ("default", min, (min, "min value"), (default, "default value")),
            ("default", max, (default, "default value"), (max, "max value")),
        ];
        for (key, shown, (less, less_name), (more, more_name)) in rules {
            let (Some(shown), Some(less), Some(more)) = (shown, less, more) else { continue };
            if less > more {
                let detail = format!("{less_name} {less} is greater than {more_name} {more}");
                errors.invalid_text(&path.child(key).key(name), &shown.to_string(), &detail);
            }
        }
    }

    fn validate_ratio(&self, name: &str, path: &Path<'_>, errors: &mut Errors) {
        let Some(ratio) = self.ratio.get(name).copied() else { return };
        let path = path.child("maxLimitRequestRatio");
        let path = path.key(name);
        if ratio < Quantity::from_units(1) {
            errors.invalid_text(&path, &ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (self.min.get(name), self.max.get(name)) {
            let possible = max.millis() as f64 / min.millis() as f64;
            if ratio.millis() as f64 / 1000.0 > possible {
                let detail = format!("ratio {ratio} is greater than max/min = {possible:.6}");
                errors.invalid_text(&path, &ratio.to_string(), &detail);
            }
        }
    }
}
