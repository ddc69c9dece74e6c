//! ControllerRevision (A-52, A-71, K-30).

use api::{Kind, Scope, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{flag, int, items, member, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind::ordinary(
            resources::CONTROLLER_REVISIONS,
            Scope::Namespaced,
            "ControllerRevision",
            "ControllerRevisionList",
            "controllerrevision",
        ),
        columns: const {
            &[
                Column::NAME,
                Column::text("Controller", "The object whose template it keeps."),
                Column::int("Revision", "Its place in the history."),
                Column::AGE,
            ]
        },
        row: |object, now| {
            Row::of([
                cells::name(object),
                cells::or_none(&controller(object)),
                int(object, "revision").unwrap_or(0).into(),
                cells::age(object, now),
            ])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            validate,
            validate_update: |new, old, errors| {
                validate(new, errors);
                validate_immutable(member(new, "data"), member(old, "data"), &Path::root("data"), errors);
            },
            ..Rules::PLAIN
        },
    }
}

/// `statefulset.apps/web`.
fn controller(object: &Value) -> String {
    let owners = items(member(object, "metadata"), "ownerReferences");
    let Some(owner) = owners.iter().find(|owner| flag(owner, "controller")) else { return String::new() };
    let kind = text(owner, "kind").to_lowercase();
    let name = text(owner, "name");
    match text(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let data = member(object, "data");
    if data.is_null() {
        errors.required(&Path::root("data"), "data is mandatory");
    } else if !data.is_object() {
        errors.invalid(&Path::root("data"), data, "data must be a valid JSON object");
    }
    let revision = int(object, "revision").unwrap_or(0);
    if revision < 0 {
        errors.invalid_int(&Path::root("revision"), revision, "must be greater than or equal to 0");
    }
}
