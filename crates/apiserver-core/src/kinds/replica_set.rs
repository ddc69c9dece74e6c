//! ReplicaSet: its row, defaults and rules (K-7, K-22).

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, workload};
use crate::tree::{at, child_mut, int, member, set, set_default};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["rs"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("ReplicaSet")] },
            generation: Generation::Spec,
            ..Kind::ordinary(resources::REPLICA_SETS, Scope::Namespaced, "ReplicaSet", "ReplicaSetList", "replicaset")
        },
        columns: const {
            &[
                Column::NAME,
                Column::int("Desired", "Wanted pods."),
                Column::int("Current", "Pods that exist."),
                Column::int("Ready", "Pods that are ready."),
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
            prepare_create: |object| set(object, "status", json!({ "replicas": 0 })),
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
    let (containers, images) = cells::containers_and_images(at(spec, &["template", "spec"]));
    Row::of([
        cells::name(object),
        int(spec, "replicas").unwrap_or(0).into(),
        int(status, "replicas").unwrap_or(0).into(),
        int(status, "readyReplicas").unwrap_or(0).into(),
        cells::age(object, now),
        containers,
        images,
        workload::selector_cell(member(spec, "selector")),
    ])
}

fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    set_default(spec, "replicas", 1);
    workload::default_template(spec);
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    validate_non_negative(spec, "replicas", &path, errors);
    validate_non_negative(spec, "minReadySeconds", &path, errors);
    workload::validate_replicas_of(spec, &path, errors);
}

fn validate_status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = member(new, "status");
    let counters = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    workload::validate_counters(status, &counters, errors);
    workload::validate_parts(status, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], errors);
}
