//! Deployment: its row, defaults and rules (K-7, K-22).

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{at, child_mut, copy_member, int, member, object_mut, set, set_default, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["deploy"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("Deployment")] },
            generation: Generation::SpecAndAnnotations,
            ..Kind::ordinary(resources::DEPLOYMENTS, Scope::Namespaced, "Deployment", "DeploymentList", "deployment")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Ready", "Ready pods of the wanted ones."),
                Column::text("Up-to-date", "Pods that have the wanted template."),
                Column::text("Available", "Pods that have been ready for long enough."),
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
            prepare_create: |object| set(object, "status", json!({})),
            prepare_status,
            validate: |object, errors| validate_spec(member(object, "spec"), errors),
            validate_update: |new, old, errors| {
                validate_spec(member(new, "spec"), errors);
                workload::validate_same_selector(new, old, errors);
            },
            validate_status,
            warn_create: workload::warn_name,
            warn: workload::warn_template,
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(object, "spec"), member(object, "status"));
    let count = |key: &str| int(status, key).unwrap_or(0);
    let (containers, images) = cells::containers_and_images(at(spec, &["template", "spec"]));
    let selector = workload::selector_of(member(spec, "selector"));
    Row::of([
        cells::name(object),
        format!("{}/{}", count("readyReplicas"), int(spec, "replicas").unwrap_or(0)).into(),
        count("updatedReplicas").into(),
        count("availableReplicas").into(),
        cells::age(object, now),
        containers,
        images,
        selector.map_or_else(|| "<invalid>".to_owned(), |selector| selector.to_string()).into(),
    ])
}

fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "progressDeadlineSeconds", 600);
    let strategy = child_mut(spec, "strategy");
    if text(strategy, "type").is_empty() {
        set(strategy, "type", "RollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate" {
        set_default(strategy, "rollingUpdate", json!({}));
        set_default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        set_default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
    workload::default_template(spec);
}

/// Labels do not change through `/status`; annotations do, the controller writes the revision there (V-131).
fn prepare_status(new: &mut Value, old: &Value) {
    let mut metadata = Value::Object(std::mem::take(object_mut(new, "metadata")));
    copy_member(&mut metadata, member(old, "metadata"), "labels");
    set(new, "metadata", metadata);
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    validate_non_negative(spec, "replicas", &path, errors);
    workload::validate_replicas_of(spec, &path, errors);
    validate_strategy(member(spec, "strategy"), &path.child("strategy"), errors);
    for key in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        validate_non_negative(spec, key, &path, errors);
    }
    let ready = int(spec, "minReadySeconds").unwrap_or(0);
    if let Some(deadline) = int(spec, "progressDeadlineSeconds").filter(|deadline| *deadline <= ready) {
        errors.invalid_int(&path.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
    }
}

fn validate_strategy(strategy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (rolling, rolling_path) = (member(strategy, "rollingUpdate"), path.child("rollingUpdate"));
    match text(strategy, "type") {
        "Recreate" if !rolling.is_null() => {
            errors.forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => {
            for key in ["maxUnavailable", "maxSurge"] {
                workload::validate_amount(rolling, key, &rolling_path, errors);
            }
            let unavailable = member(rolling, "maxUnavailable");
            if workload::amount(unavailable) == 0 && workload::amount(member(rolling, "maxSurge")) == 0 {
                let path = rolling_path.child("maxUnavailable");
                errors.invalid(&path, unavailable, "may not be 0 when `maxSurge` is 0");
            }
            workload::validate_at_most_all(rolling, "maxUnavailable", &rolling_path, errors);
        }
        other => {
            let shown = workload::shown_strategy(other, rolling);
            errors.not_supported_shown(path, &shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut Errors) {
    let status = member(new, "status");
    let counters = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    workload::validate_counters(status, &counters, errors);
    workload::validate_parts(status, &["updatedReplicas", "readyReplicas", "availableReplicas"], errors);
    workload::validate_collisions(new, old, errors);
}
