//! HorizontalPodAutoscaler: stored and served. Nothing scales yet, and creating one says so.

use api::{Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{at, child_mut, has, int, items, member, set, set_default, text};
use crate::validate::{Errors, Path, names, selector};

const NOT_ENFORCED: &str = "autoscalers are stored but nothing scales yet: there are no metrics and no autoscaler";
const WINDOW_SECS_MAX: i64 = 3600;
const PERIOD_SECS_MAX: i64 = 1800;
const METRICS_SHOWN: usize = 2;
/// Kinds of metrics and the fields that describe them.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["hpa"],
            categories: &["all"],
            subresources: const { &[Subresource::status("HorizontalPodAutoscaler")] },
            ..Kind::ordinary(
                resources::HORIZONTAL_POD_AUTOSCALERS,
                Scope::Namespaced,
                "HorizontalPodAutoscaler",
                "HorizontalPodAutoscalerList",
                "horizontalpodautoscaler",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Reference", "What is to be scaled."),
                Column::text("Targets", "What is measured and what it should be."),
                Column::text("MinPods", "Least count of pods."),
                Column::int("MaxPods", "Greatest count of pods."),
                Column::int("Replicas", "Pods as last seen."),
                Column::AGE,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            prepare_create: |object| set(object, "status", json!({ "currentMetrics": [], "desiredReplicas": 0 })),
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update: |new, _, errors| validate_spec(member(new, "spec"), errors),
            validate_status: |new, _, errors| {
                workload::validate_counters(member(new, "status"), &["currentReplicas", "desiredReplicas"], errors);
            },
            warn_create: |_, warnings| warnings.push(NOT_ENFORCED.to_owned()),
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(object, "spec"), member(object, "status"));
    let target = member(spec, "scaleTargetRef");
    let least = int(spec, "minReplicas").map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
    Row::of([
        cells::name(object),
        format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
        targets(items(spec, "metrics"), items(status, "currentMetrics")).into(),
        least.into(),
        int(spec, "maxReplicas").unwrap_or(0).into(),
        int(status, "currentReplicas").unwrap_or(0).into(),
        cells::age(object, now),
    ])
}

/// `cpu: 20%/80%, 7/10 (avg) + 1 more...`
fn targets(metrics: &[Value], current: &[Value]) -> String {
    let none = Value::Null;
    let shown: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| target(metric, current.get(index).unwrap_or(&none)))
        .take(METRICS_SHOWN)
        .collect();
    match metrics.len() {
        0 => "<none>".to_owned(),
        len if len > METRICS_SHOWN => format!("{} + {} more...", shown.join(", "), len - METRICS_SHOWN),
        _ => shown.join(", "),
    }
}

fn target(metric: &Value, current: &Value) -> String {
    let kind = text(metric, "type");
    let Some((_, field)) = SOURCES.iter().find(|(known, _)| *known == kind) else { return "<unknown type>".to_owned() };
    let source = member(metric, field);
    let (wanted, seen) = (member(source, "target"), at(current, &[field, "current"]));
    let amount = |tree: &Value, key: &str| tree.get(key).and_then(Value::as_str).map(str::to_owned);
    let percent = |tree: &Value| int(tree, "averageUtilization").map(|percent| format!("{percent}%"));
    let unknown = || "<unknown>".to_owned();
    let average = amount(wanted, "averageValue");
    match (*field, average) {
        ("resource" | "containerResource", Some(average)) => {
            let seen = amount(seen, "averageValue").unwrap_or_else(unknown);
            format!("{}: {seen}/{average}", text(source, "name"))
        }
        ("resource" | "containerResource", None) => {
            let wanted = percent(wanted).unwrap_or_else(|| "<auto>".to_owned());
            format!("{}: {}/{wanted}", text(source, "name"), percent(seen).unwrap_or_else(unknown))
        }
        ("pods", average) => {
            let seen = amount(seen, "averageValue").unwrap_or_else(unknown);
            format!("{seen}/{}", average.unwrap_or_default())
        }
        (_, Some(average)) => {
            let seen = amount(seen, "averageValue").unwrap_or_else(unknown);
            format!("{seen}/{average} (avg)")
        }
        (_, None) => {
            let seen = amount(seen, "value").unwrap_or_else(unknown);
            format!("{seen}/{}", amount(wanted, "value").unwrap_or_default())
        }
    }
}

fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    set_default(spec, "minReplicas", 1);
    if items(spec, "metrics").is_empty() {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        set(spec, "metrics", json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]));
    }
    if !has(spec, "behavior") {
        return;
    }
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let up = json!([{ "type": "Pods", "value": 4, "periodSeconds": 15 }, percent]);
    for (key, window, policies) in [("scaleUp", Some(0), up), ("scaleDown", None, json!([percent]))] {
        let rules = child_mut(&mut spec["behavior"], key);
        set_default(rules, "selectPolicy", "Max");
        set_default(rules, "policies", policies);
        if let Some(window) = window {
            set_default(rules, "stabilizationWindowSeconds", window);
        }
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (least, most) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        errors.invalid_int(&path.child("minReplicas"), least, "must be greater than or equal to 1");
    }
    let most_path = path.child("maxReplicas");
    match most {
        0 => errors.required(&most_path, "must be set and greater than 0"),
        negative if negative < 0 => errors.invalid_int(&most_path, negative, "must be greater than or equal to 1"),
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        errors.invalid_int(&most_path, most, "must be greater than or equal to `minReplicas`");
    }
    validate_reference(member(spec, "scaleTargetRef"), &path.child("scaleTargetRef"), errors);
    let metrics = path.child("metrics");
    for (index, metric) in items(spec, "metrics").iter().enumerate() {
        validate_metric(metric, &metrics.index(index), errors);
    }
    let behavior = path.child("behavior");
    for key in ["scaleUp", "scaleDown"] {
        let rules = member(member(spec, "behavior"), key);
        if !rules.is_null() {
            validate_rules(rules, &behavior.child(key), errors);
        }
    }
}

fn validate_reference(reference: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => errors.required(&path.child(key), ""),
            word => errors.invalid_each(&path.child(key), word, names::path_segment(word)),
        }
    }
    let version = text(reference, "apiVersion");
    if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        errors.invalid_text(&path.child("apiVersion"), version, &detail);
    }
}

fn validate_metric(metric: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    let kinds = SOURCES.map(|(kind, _)| kind);
    if !kinds.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, &kinds);
    }
    let wanted = SOURCES.iter().find(|(known, _)| *known == kind).map_or("", |(_, field)| *field);
    // In upstream's order; only the first that is there is looked into.
    let present: Vec<&str> = ["object", "external", "pods", "resource", "containerResource"]
        .into_iter()
        .filter(|field| has(metric, field))
        .collect();
    if let Some(first) = present.first() {
        validate_source(first, member(metric, first), &path.child(first), errors);
    }
    if !wanted.is_empty() && !present.contains(&wanted) {
        errors.required(&path.child(wanted), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| *field != wanted) {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
    }
}

fn validate_source(field: &str, source: &Value, path: &Path<'_>, errors: &mut Errors) {
    if matches!(field, "resource" | "containerResource") && text(source, "name").is_empty() {
        errors.required(&path.child("name"), "must specify a resource name");
    }
    if field == "containerResource" && text(source, "container").is_empty() {
        errors.required(&path.child("container"), "must specify a container name");
    }
    if matches!(field, "object" | "external" | "pods") {
        let (metric, path) = (member(source, "metric"), path.child("metric"));
        match text(metric, "name") {
            "" => errors.required(&path.child("name"), "must specify a metric name"),
            name => errors.invalid_each(&path.child("name"), name, names::path_segment(name)),
        }
        if has(metric, "selector") {
            selector::validate(member(metric, "selector"), &path.child("selector"), errors);
        }
    }
    if field == "object" {
        validate_reference(member(source, "describedObject"), &path.child("describedObject"), errors);
    }
    validate_target(field, member(source, "target"), &path.child("target"), errors);
}

fn validate_target(field: &str, target: &Value, path: &Path<'_>, errors: &mut Errors) {
    match text(target, "type") {
        "" => errors.required(&path.child("type"), "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            errors.invalid_text(&path.child("type"), other, "must be either Utilization, Value, or AverageValue");
        }
    }
    for key in ["value", "averageValue"] {
        let amount = super::persistent_volume_claim::quantity(target, key);
        if let Some(amount) = amount.filter(|amount| !amount.is_positive()) {
            errors.invalid_text(&path.child(key), &amount.to_string(), "must be positive");
        }
    }
    if let Some(percent) = int(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.invalid_int(&path.child("averageUtilization"), percent, "must be greater than 0");
    }
    let (value, average, percent) =
        (has(target, "value"), has(target, "averageValue"), has(target, "averageUtilization"));
    match field {
        "resource" | "containerResource" if !percent && !average => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(&path.child("averageUtilization"), detail);
        }
        "resource" | "containerResource" if percent && average => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&path.child("averageValue"), detail);
        }
        "pods" if !average => {
            errors.required(&path.child("averageValue"), "must specify a positive target averageValue")
        }
        "object" | "external" if !value && !average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.required(&path.child("averageValue"), detail);
        }
        "external" if value && average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&path.child("value"), detail);
        }
        _ => {}
    }
}

fn validate_rules(rules: &Value, path: &Path<'_>, errors: &mut Errors) {
    let window_path = path.child("stabilizationWindowSeconds");
    match int(rules, "stabilizationWindowSeconds") {
        Some(secs) if secs < 0 => errors.invalid_int(&window_path, secs, "must be greater than or equal to zero"),
        Some(secs) if secs > WINDOW_SECS_MAX => {
            errors.invalid_int(&window_path, secs, &format!("must be less than or equal to {WINDOW_SECS_MAX}"));
        }
        _ => {}
    }
    if let Some(choice) = rules.get("selectPolicy").and_then(Value::as_str) {
        let allowed = ["Disabled", "Max", "Min"];
        if !allowed.contains(&choice) {
            errors.not_supported(&path.child("selectPolicy"), choice, &allowed);
        }
    }
    let policies_path = path.child("policies");
    let policies = items(rules, "policies");
    if policies.is_empty() {
        errors.required(&policies_path, "must specify at least one Policy");
    }
    for (index, policy) in policies.iter().enumerate() {
        let (path, kind) = (policies_path.index(index), text(policy, "type"));
        if !matches!(kind, "Pods" | "Percent") {
            errors.not_supported(&path.child("type"), kind, &["Percent", "Pods"]);
        }
        for key in ["value", "periodSeconds"] {
            let given = int(policy, key).unwrap_or(0);
            if given <= 0 {
                errors.invalid_int(&path.child(key), given, "must be greater than zero");
            }
        }
        let period = int(policy, "periodSeconds").unwrap_or(0);
        if period > PERIOD_SECS_MAX {
            let detail = format!("must be less than or equal to {PERIOD_SECS_MAX}");
            errors.invalid_int(&path.child("periodSeconds"), period, &detail);
        }
    }
}
