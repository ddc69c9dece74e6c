//! DaemonSet: its row, defaults and rules (K-7, K-22).

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::{LabelSelector, Timestamp};
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{at, child_mut, entries, int, member, object_mut, set, set_default, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path, selector};

/// How often the template changed: a field of upstream's internal form that this version shows as an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["ds"],
            categories: &["all"],
            subresources: const { &[Subresource::status("DaemonSet")] },
            generation: Generation::Spec,
            ..Kind::ordinary(resources::DAEMON_SETS, Scope::Namespaced, "DaemonSet", "DaemonSetList", "daemonset")
        },
        columns: const {
            &[
                Column::NAME,
                Column::int("Desired", "Nodes that should run the pod."),
                Column::int("Current", "Nodes that should run it and do."),
                Column::int("Ready", "Nodes on which it is ready."),
                Column::int("Up-to-date", "Nodes on which it has the wanted template."),
                Column::int("Available", "Nodes on which it has been ready for long enough."),
                Column::text("Node Selector", "Labels of the nodes."),
                Column::AGE,
                Column::CONTAINERS,
                Column::IMAGES,
                Column::SELECTOR,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            prepare_create: |object| {
                let given = template_generation(object);
                set_template_generation(object, given.max(1));
                let status = json!({
                    "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
                });
                set(object, "status", status);
            },
            prepare_update: |new, old| {
                let changed = at(new, &["spec", "template"]) != at(old, &["spec", "template"]);
                set_template_generation(new, template_generation(old) + i64::from(changed));
            },
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update: |new, old, errors| {
                workload::validate_same_selector(new, old, errors);
                validate_spec(member(new, "spec"), errors);
            },
            validate_status,
            warn: workload::warn_template,
            ..Rules::PLAIN
        },
    }
}

fn template_generation(object: &Value) -> i64 {
    text(at(object, &["metadata", "annotations"]), TEMPLATE_GENERATION).parse().unwrap_or(0)
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object_mut(object, "metadata").entry("annotations").or_insert_with(|| json!({}));
    set(annotations, TEMPLATE_GENERATION, generation.to_string());
}

fn row(object: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(object, "spec"), member(object, "status"));
    let count = |key: &str| Value::from(int(status, key).unwrap_or(0));
    let pod = at(spec, &["template", "spec"]);
    let nodes = LabelSelector::from_labels(entries(pod, "nodeSelector")).to_string();
    let (containers, images) = cells::containers_and_images(pod);
    Row::of([
        cells::name(object),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        cells::or_none(&nodes),
        cells::age(object, now),
        containers,
        images,
        workload::selector_cell(member(spec, "selector")),
    ])
}

fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    set_default(spec, "revisionHistoryLimit", 10);
    let strategy = child_mut(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        set(strategy, "type", "RollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate" {
        set_default(strategy, "rollingUpdate", json!({}));
        set_default(&mut strategy["rollingUpdate"], "maxUnavailable", 1);
        set_default(&mut strategy["rollingUpdate"], "maxSurge", 0);
    }
    workload::default_template(spec);
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (wanted, selector_path) = (member(spec, "selector"), path.child("selector"));
    selector::validate(wanted, &selector_path, errors);
    let (template, template_path) = (member(spec, "template"), path.child("template"));
    if let Some(selector) = workload::selector_of(wanted) {
        workload::validate_labels_match(template, &selector, &template_path, errors);
    }
    if workload::is_empty(wanted) {
        errors.invalid_shown(&selector_path, &selector::shown(wanted), "empty selector is invalid for daemonset");
    }
    workload::validate_template(template, &template_path, errors);
    workload::validate_runs_always(template, "DaemonSet", &template_path, errors);
    validate_non_negative(spec, "minReadySeconds", &path, errors);
    validate_strategy(member(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    validate_non_negative(spec, "revisionHistoryLimit", &path, errors);
}

fn validate_strategy(strategy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (rolling, rolling_path) = (member(strategy, "rollingUpdate"), path.child("rollingUpdate"));
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => validate_rolling(rolling, &rolling_path, errors),
        other => {
            let shown = workload::shown_strategy(other, rolling);
            errors.not_supported_shown(path, &shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}

fn validate_rolling(rolling: &Value, path: &Path<'_>, errors: &mut Errors) {
    let keys = ["maxUnavailable", "maxSurge"];
    for key in keys {
        workload::validate_amount(rolling, key, path, errors);
    }
    for key in keys {
        workload::validate_at_most_all(rolling, key, path, errors);
    }
    let [unavailable, surge] = keys.map(|key| workload::amount(member(rolling, key)) != 0);
    if unavailable && surge {
        let detail = "may not be set when maxUnavailable is non-zero";
        errors.invalid(&path.child("maxSurge"), member(rolling, "maxSurge"), detail);
    } else if !unavailable && !surge {
        errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    workload::validate_counters(member(new, "status"), &counters, errors);
    workload::validate_collisions(new, old, errors);
}
