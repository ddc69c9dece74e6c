//! What decides where a pod runs: tolerations, affinity, spread.

use serde_json::Value;

use crate::kinds::node::TAINT_EFFECTS;
use crate::tree::{has, int, items, member, text};
use crate::validate::{Errors, Path, names, selector};

/// `tolerations`.
pub(super) fn validate_tolerations(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, toleration) in items(spec, "tolerations").iter().enumerate() {
        let path = path.index(index);
        let (key, value) = (text(toleration, "key"), text(toleration, "value"));
        let (operator, effect) = (text(toleration, "operator"), text(toleration, "effect"));
        if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
        }
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid_text(&path.child("operator"), operator, detail);
        }
        if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid_text(&path.child("effect"), effect, detail);
        }
        match operator {
            "" | "Equal" => {
                let problems = names::label_value(value);
                if !problems.is_empty() {
                    errors.invalid_text(&path.child("operator"), value, &problems.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    let secs = member(toleration, "tolerationSeconds");
                    let shown = format!(
                        "{{\"Key\":{key:?},\"Operator\":{operator:?},\"Value\":{value:?},\"Effect\":{effect:?},\
                         \"TolerationSeconds\":{secs}}}"
                    );
                    errors.invalid_shown(&path.child("operator"), &shown, detail);
                }
            }
            other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, TAINT_EFFECTS);
        }
    }
}

/// `affinity`.
pub(super) fn validate_affinity(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (affinity, path) = (member(spec, "affinity"), path.child("affinity"));
    if has(affinity, "nodeAffinity") {
        validate_node_affinity(member(affinity, "nodeAffinity"), &path.child("nodeAffinity"), errors);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        if has(affinity, key) {
            validate_pod_affinity(member(affinity, key), &path.child(key), errors);
        }
    }
}

fn validate_node_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = "requiredDuringSchedulingIgnoredDuringExecution";
    if has(affinity, key) {
        let path = path.child(key);
        let terms_path = path.child("nodeSelectorTerms");
        let terms = items(member(affinity, key), "nodeSelectorTerms");
        if terms.is_empty() {
            errors.required(&terms_path, "must have at least one node selector term");
        }
        for (index, term) in terms.iter().enumerate() {
            validate_node_term(term, &terms_path.index(index), errors);
        }
    }
    let key = "preferredDuringSchedulingIgnoredDuringExecution";
    let path = path.child(key);
    for (index, preferred) in items(affinity, key).iter().enumerate() {
        let path = path.index(index);
        validate_weight(preferred, &path, errors);
        validate_node_term(member(preferred, "preference"), &path.child("preference"), errors);
    }
}

fn validate_weight(preferred: &Value, path: &Path<'_>, errors: &mut Errors) {
    let weight = int(preferred, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid_int(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn validate_node_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    let expressions = path.child("matchExpressions");
    for (index, expression) in items(term, "matchExpressions").iter().enumerate() {
        let path = expressions.index(index);
        validate_node_operator(expression, &path, errors);
        let key = text(expression, "key");
        errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
    }
    let fields = path.child("matchFields");
    for (index, field) in items(term, "matchFields").iter().enumerate() {
        let path = fields.index(index);
        let operator = text(field, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.invalid_text(&path.child("operator"), operator, "not a valid selector operator");
        } else if items(field, "values").len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&path.child("values"), detail);
        }
        if text(field, "key") != "metadata.name" {
            errors.invalid_text(&path.child("key"), text(field, "key"), "not a valid field selector key");
        }
    }
}

fn validate_node_operator(expression: &Value, path: &Path<'_>, errors: &mut Errors) {
    let values = items(expression, "values");
    let values_path = path.child("values");
    match text(expression, "operator") {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(&values_path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
        }
        other => errors.invalid_text(&path.child("operator"), other, "not a valid selector operator"),
    }
}

fn validate_pod_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = "requiredDuringSchedulingIgnoredDuringExecution";
    let required = path.child(key);
    for (index, term) in items(affinity, key).iter().enumerate() {
        validate_pod_term(term, &required.index(index), errors);
    }
    let key = "preferredDuringSchedulingIgnoredDuringExecution";
    let preferred = path.child(key);
    for (index, weighted) in items(affinity, key).iter().enumerate() {
        let path = preferred.index(index);
        validate_weight(weighted, &path, errors);
        validate_pod_term(member(weighted, "podAffinityTerm"), &path.child("podAffinityTerm"), errors);
    }
}

fn validate_pod_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["labelSelector", "namespaceSelector"] {
        if has(term, key) {
            selector::validate(member(term, key), &path.child(key), errors);
        }
    }
    let namespaces = path.child("namespaces");
    for (index, namespace) in items(term, "namespaces").iter().filter_map(Value::as_str).enumerate() {
        errors.invalid_each(&namespaces.index(index), namespace, names::dns_label(namespace));
    }
    validate_topology_key(term, path, errors);
}

fn validate_topology_key(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    } else {
        errors.invalid_each(&path.child("topologyKey"), key, names::qualified_name(key));
    }
}

/// `topologySpreadConstraints`.
pub(super) fn validate_spread(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("topologySpreadConstraints");
    for (index, constraint) in items(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = path.index(index);
        let skew = int(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.invalid_int(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        validate_topology_key(constraint, &path, errors);
        let action = text(constraint, "whenUnsatisfiable");
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let allowed = &["DoNotSchedule", "ScheduleAnyway"];
            errors.not_supported(&path.child("whenUnsatisfiable"), action, allowed);
        }
        if has(constraint, "labelSelector") {
            selector::validate(member(constraint, "labelSelector"), &path.child("labelSelector"), errors);
        }
    }
}
