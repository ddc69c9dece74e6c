//! PriorityClass: its row and rules, and what priority a pod gets (M-8).

use api::{Generation, Kind, Scope, resources};
use meta::{ResourceId, Status, Timestamp};
use serde_json::Value;

use super::{Column, DeletionRules, KindDef, Needs, Row, Rules, cells};
use crate::tree::{child_mut, flag, has, int, member, set, text};
use crate::validate::metadata::validate_immutable;
use crate::validate::{Errors, Path};
use crate::write::CreateContext;

/// Above this, priorities are the system's own.
const HIGHEST_OF_USERS: i64 = 1_000_000_000;
const SYSTEM_PREFIX: &str = "system-";
/// The classes that exist in every cluster, with their values.
pub const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["pc"],
            generation: Generation::CreationOnly,
            ..Kind::ordinary(
                resources::PRIORITY_CLASSES,
                Scope::Cluster,
                "PriorityClass",
                "PriorityClassList",
                "priorityclass",
            )
        },
        columns: const {
            &[
                Column::NAME,
                Column::int("Value", "The priority of pods of this class."),
                Column { kind: "boolean", ..Column::text("Global-Default", "Whether pods without a class get it.") },
                Column::AGE,
                Column::text("PreemptionPolicy", "Whether pods of this class push others away.").wide(),
            ]
        },
        row,
        needs: Needs::PriorityClasses,
        conversion: None,
        rules: Rules {
            validate,
            validate_update: |new, old, errors| {
                let root = |key| Path::root(key);
                if member(new, "value") != member(old, "value") {
                    errors.forbidden(&root("value"), "may not be changed in an update.");
                }
                let key = "preemptionPolicy";
                validate_immutable(member(new, key), member(old, key), &root(key), errors);
            },
            permit,
            deletion: DeletionRules { may: may_delete, ..DeletionRules::PLAIN },
            ..Rules::PLAIN
        },
    }
}

fn row(class: &Value, now: Timestamp) -> Row {
    Row::of([
        cells::name(class),
        int(class, "value").unwrap_or(0).into(),
        flag(class, "globalDefault").into(),
        cells::age(class, now),
        text(class, "preemptionPolicy").into(),
    ])
}

fn validate(class: &Value, errors: &mut Errors) {
    let name = text(member(class, "metadata"), "name");
    let value = int(class, "value").unwrap_or(0);
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(why) = why_not_system(name, value, flag(class, "globalDefault")) {
            let metadata = Path::root("metadata");
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
            );
            errors.forbidden(&metadata.child("name"), &detail);
        }
    } else if value > HIGHEST_OF_USERS {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}");
        errors.forbidden(&Path::root("value"), &detail);
    }
    let policy = text(class, "preemptionPolicy");
    if !matches!(policy, "" | "PreemptLowerPriority" | "Never") {
        errors.not_supported(&Path::root("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
}

fn why_not_system(name: &str, value: i64, is_default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, right)) if *right != value => Some(format!("value of {name} PriorityClass must be {right}")),
        Some(_) if is_default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

/// There is one default at most.
fn permit(class: &Value, context: &CreateContext<'_>) -> Result<(), Status> {
    let default = context.priority_classes.iter().find(|other| flag(other, "globalDefault"));
    match default.filter(|_| flag(class, "globalDefault")) {
        None => Ok(()),
        Some(default) => {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                text(member(default, "metadata"), "name")
            );
            Err(Status::forbidden(&resources::PRIORITY_CLASSES, text(member(class, "metadata"), "name"), why))
        }
    }
}

fn may_delete(class: &Value) -> Result<(), Status> {
    let name = text(member(class, "metadata"), "name");
    match SYSTEM_CLASSES.iter().any(|(known, _)| *known == name) {
        true => Err(Status::forbidden(
            &resources::PRIORITY_CLASSES,
            name,
            "this is a system priority class and cannot be deleted",
        )),
        false => Ok(()),
    }
}

/// Gives a new pod its priority.
///
/// # Errors
/// 403 for a class that is not there, and for a priority or policy that is not the class's.
pub(super) fn admit_pod(pod: &mut Value, classes: &[&Value]) -> Result<(), Status> {
    let name = text(member(pod, "metadata"), "name").to_owned();
    let forbidden = |why: String| Err(Status::forbidden(&POD, &name, why));
    let spec = child_mut(pod, "spec");
    let wanted = text(spec, "priorityClassName").to_owned();
    let named = |class: &&&Value| text(member(class, "metadata"), "name") == wanted;
    let class = if wanted.is_empty() {
        // Of several defaults the lowest, as nobody should gain by chance.
        classes.iter().filter(|class| flag(class, "globalDefault")).min_by_key(|class| int(class, "value").unwrap_or(0))
    } else {
        match classes.iter().find(named) {
            Some(class) => Some(class),
            None => return forbidden(format!("no PriorityClass with name {wanted} was found")),
        }
    };
    let priority = class.and_then(|class| int(class, "value")).unwrap_or(0);
    let policy = class.map_or("", |class| text(class, "preemptionPolicy"));
    let policy = if policy.is_empty() { "PreemptLowerPriority" } else { policy };
    if let Some(given) = int(spec, "priority").filter(|given| *given != priority) {
        return forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        ));
    }
    let given = text(spec, "preemptionPolicy");
    if has(spec, "preemptionPolicy") && given != policy {
        return forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    if let Some(class) = class {
        set(spec, "priorityClassName", text(member(class, "metadata"), "name"));
    }
    set(spec, "priority", priority);
    set(spec, "preemptionPolicy", policy);
    Ok(())
}

const POD: ResourceId = resources::PODS;
