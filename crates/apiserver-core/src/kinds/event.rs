//! Event, in its two representations: core/v1, in which it is stored, and events.k8s.io/v1 (K-34).
//!
//! A request to either group is decided in its own representation; only what goes into the store and comes out of it
//! is converted.

use api::{ALL_VERBS, DeleteAnswer, Generation, Kind, Scope, UpdateOfMissing, UpdateWithoutVersion, resources};
use meta::{ResourceId, Timestamp};
use serde_json::Value;

use super::{Column, Conversion, KindDef, Needs, Row, Rules, cells};
use crate::tree::{has, int, member, remove, set, text};
use crate::validate::{Errors, Path, names};

/// Members that only have another name: core, events.k8s.io.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
const TEXT_LEN_MAX: usize = 128;
const NOTE_LEN_MAX: usize = 1024;

const fn kind_row(resource: ResourceId, stored_as: Option<ResourceId>, fields: &'static [&'static str]) -> Kind {
    Kind {
        resource,
        kind: "Event",
        list_kind: "EventList",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL_VERBS,
        subresources: &[],
        stored_as,
        delete_answer: DeleteAnswer::Status,
        update_of_missing: UpdateOfMissing::Creates,
        update_without_version: UpdateWithoutVersion::Unconditional,
        generation: Generation::None,
        selectable_fields: fields,
    }
}

const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "Time since it happened last."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why, in one word."),
    Column::text("Object", "What it happened to."),
    Column::text("Subobject", "Which part of the object.").wide(),
    Column::text("Source", "Who saw it.").wide(),
    Column::text("Message", "What happened."),
    Column::text("First Seen", "Time since it happened first.").wide(),
    Column::int("Count", "How often it happened.").wide(),
    Column::NAME.wide(),
];

pub(super) fn core_def() -> KindDef {
    KindDef {
        kind: kind_row(
            resources::EVENTS,
            None,
            &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
        ),
        columns: COLUMNS,
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            name: names::path_segment,
            validate: |object, errors| validate(object, "involvedObject", "reportingComponent", "message", errors),
            ..Rules::PLAIN
        },
    }
}

pub(super) fn events_def() -> KindDef {
    KindDef {
        kind: kind_row(
            resources::EVENTS_V1,
            Some(resources::EVENTS),
            &[
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reason",
                "reportingController",
                "type",
            ],
        ),
        columns: COLUMNS,
        row: |object, now| row(&to_core(object.clone()), now),
        needs: Needs::Nothing,
        conversion: Some(Conversion { to_stored: to_core, from_stored: from_core }),
        rules: Rules {
            name: names::path_segment,
            validate: |object, errors| {
                if !has(object, "eventTime") {
                    errors.required(&Path::root("eventTime"), "");
                }
                let kind = text(object, "type");
                if kind.is_empty() {
                    errors.required(&Path::root("type"), "");
                } else if !matches!(kind, "Normal" | "Warning") {
                    errors.invalid_text(&Path::root("type"), "", &format!("has invalid value: {kind}"));
                }
                validate(object, "regarding", "reportingController", "note", errors);
            },
            ..Rules::PLAIN
        },
    }
}

fn to_core(event: Value) -> Value {
    rename(event, |(core, events)| (events, core), "v1")
}

fn from_core(event: Value) -> Value {
    rename(event, |names| names, "events.k8s.io/v1")
}

fn rename(event: Value, names: fn((&'static str, &'static str)) -> (&'static str, &'static str), to: &str) -> Value {
    let mut event = event;
    for pair in RENAMED {
        let (from, to) = names(*pair);
        if let Some(value) = remove(&mut event, from) {
            set(&mut event, to, value);
        }
    }
    set(&mut event, "apiVersion", to);
    event
}

fn row(event: &Value, now: Timestamp) -> Row {
    let or = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { a.to_owned() };
    let first = or(text(event, "firstTimestamp"), text(event, "eventTime"));
    let series = member(event, "series");
    let last = if series.is_null() {
        or(text(event, "lastTimestamp"), &first)
    } else {
        text(series, "lastObservedTime").to_owned()
    };
    let count = int(series, "count").or(int(event, "count")).filter(|count| *count != 0).unwrap_or(1);
    let object = member(event, "involvedObject");
    let (kind, name) = (text(object, "kind").to_lowercase(), text(object, "name"));
    let target = if kind.is_empty() { name.to_owned() } else { format!("{kind}/{name}") };
    let source = member(event, "source");
    let component = or(text(source, "component"), text(event, "reportingComponent"));
    let host = or(text(source, "host"), text(event, "reportingInstance"));
    let seen_by = if host.is_empty() { component } else { format!("{component}, {host}") };
    Row::of([
        cells::since(&last, now).into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        target.into(),
        text(object, "fieldPath").into(),
        seen_by.into(),
        text(event, "message").trim().into(),
        cells::since(&first, now).into(),
        count.into(),
        cells::name(event),
    ])
}

/// The rules of both representations; events without `eventTime` are of the old sort and need less.
fn validate(event: &Value, object_key: &str, controller_key: &str, note_key: &str, errors: &mut Errors) {
    let namespace = text(member(event, "metadata"), "namespace");
    let object_namespace = text(member(event, object_key), "namespace");
    let object_path = Path::root(object_key);
    let is_old = !has(event, "eventTime");
    let fits = match object_namespace {
        "" => namespace == "default" || (!is_old && namespace == "kube-system"),
        object_namespace => object_namespace == namespace,
    };
    if !fits {
        errors.invalid_text(&object_path.child("namespace"), object_namespace, "does not match event.namespace");
    }
    if is_old {
        return;
    }
    let controller = text(event, controller_key);
    if controller.is_empty() {
        errors.required(&Path::root(controller_key), "");
    } else {
        errors.invalid_each(&Path::root(controller_key), controller, names::qualified_name(controller));
    }
    for key in ["reportingInstance", "action", "reason"] {
        let value = text(event, key);
        if value.is_empty() {
            errors.required(&Path::root(key), "");
        } else if value.len() > TEXT_LEN_MAX {
            errors.invalid_text(&Path::root(key), "", &format!("can have at most {TEXT_LEN_MAX} characters"));
        }
    }
    if text(event, note_key).len() > NOTE_LEN_MAX {
        errors.invalid_text(&Path::root(note_key), "", &format!("can have at most {NOTE_LEN_MAX} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_goes_through_the_other_representation_and_back_unchanged() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "web-0", "namespace": "default"}, "reason": "Started",
            "message": "Started container", "type": "Normal", "count": 2, "source": {"component": "kubelet"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:05Z",
            "reportingComponent": "kubelet", "reportingInstance": "",
        });
        let events = from_core(core.clone());
        assert_eq!(events["regarding"]["name"], "web-0");
        assert_eq!(events["deprecatedCount"], 2);
        assert_eq!(to_core(events), core);
    }

    #[test]
    fn a_row_shows_the_latest_sighting_and_the_count() {
        let now = "2026-01-01T00:01:00Z".parse().expect("a time");
        let event = json!({"metadata": {"name": "a"}, "involvedObject": {"kind": "Pod", "name": "web-0"},
            "reason": "BackOff", "type": "Warning", "message": " no \n", "count": 3, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:55Z"});
        let cells = row(&event, now).cells;
        let expected = json!(["5s", "Warning", "BackOff", "pod/web-0", "", "kubelet, n", "no", "60s", 3, "a"]);
        assert_eq!(json!(cells), expected);
    }
}
