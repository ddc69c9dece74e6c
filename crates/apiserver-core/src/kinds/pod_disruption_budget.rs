//! PodDisruptionBudget: its row and rules (K-30). What evictions do to its status: [`crate::write`].

use api::{Generation, Kind, Scope, Subresource, UpdateWithoutVersion, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{has, int, member, set};
use crate::validate::conditions::validate_conditions;
use crate::validate::{Errors, Path, selector};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["pdb"],
            subresources: const { &[Subresource::status("PodDisruptionBudget")] },
            generation: Generation::Spec,
            update_without_version: UpdateWithoutVersion::Refused,
            ..Kind::ordinary(
                resources::POD_DISRUPTION_BUDGETS,
                Scope::Namespaced,
                "PodDisruptionBudget",
                "PodDisruptionBudgetList",
                "poddisruptionbudget",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Min Available", "Pods that must stay available."),
                Column::text("Max Unavailable", "Pods that may be unavailable."),
                Column::int("Allowed Disruptions", "Pods that may be disrupted now."),
                Column::AGE,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            prepare_create: |object| {
                let status =
                    json!({ "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0 });
                set(object, "status", status);
            },
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update: |new, _, errors| validate_spec(member(new, "spec"), errors),
            validate_status: |new, _, errors| {
                let (status, path) = (member(new, "status"), Path::root("status"));
                validate_conditions(status, &path.child("conditions"), errors);
                let counters = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
                workload::validate_counters(status, &counters, errors);
            },
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let spec = member(object, "spec");
    let amount = |key: &str| match member(spec, key) {
        Value::Null => "N/A".into(),
        Value::String(percent) => percent.as_str().into(),
        number => number.to_string().into(),
    };
    Row::of([
        cells::name(object),
        amount("minAvailable"),
        amount("maxUnavailable"),
        int(member(object, "status"), "disruptionsAllowed").unwrap_or(0).into(),
        cells::age(object, now),
    ])
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
        errors.invalid_shown(&path, &shown(spec), "minAvailable and maxUnavailable cannot be both set");
    }
    for key in ["minAvailable", "maxUnavailable"] {
        workload::validate_amount(spec, key, &path, errors);
        workload::validate_at_most_all(spec, key, &path, errors);
    }
    selector::validate(member(spec, "selector"), &path.child("selector"), errors);
    if let Some(policy) = spec.get("unhealthyPodEvictionPolicy").and_then(Value::as_str) {
        let allowed = ["AlwaysAllow", "IfHealthyBudget"];
        if !allowed.contains(&policy) {
            errors.not_supported(&path.child("unhealthyPodEvictionPolicy"), policy, &allowed);
        }
    }
}

/// The spec as upstream's errors show it: in its internal form.
fn shown(spec: &Value) -> String {
    let part = |key: &str| member(spec, key).to_string();
    let selected = member(spec, "selector");
    let selected = if selected.is_null() { "null".to_owned() } else { selector::shown(selected) };
    format!(
        "{{\"MinAvailable\":{},\"Selector\":{selected},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
        part("minAvailable"),
        part("maxUnavailable"),
        part("unhealthyPodEvictionPolicy")
    )
}
