//! Server-side apply by the published rules (P-40 to P-58).
//!
//! Start with [`apply`]. The order of its steps is that of P-44.

mod conflict;
mod last_applied;
mod merge;
mod prune;
mod validate;

use api::Gvk;
use meta::{ResourceId, Status};
use serde_json::{Map, Value, json};

use super::fields::{FieldSet, difference, fit_to_schema, stated};
use super::managed::{BEFORE_FIRST_APPLY, Fields, Managers, Operation, Writer, record_update};
use super::place::Place;
use conflict::Conflicts;

/// kubectl's own manager, for which conflicts with its client-side past are forgiven (P-54).
const KUBECTL: &str = "kubectl";

/// One apply.
#[derive(Clone, Debug)]
pub struct ApplyRequest<'a> {
    /// Kind of the endpoint.
    pub gvk: Gvk<'a>,
    /// Resource of the endpoint, for error texts.
    pub resource: &'a ResourceId,
    /// Namespace of the URL; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Name of the URL.
    pub name: &'a str,
    /// The stored object; `None` creates (P-47).
    pub live: Option<&'a Value>,
    /// The applied configuration.
    pub config: Value,
    /// Who applies.
    pub writer: Writer<'a>,
    /// Take fields from other managers instead of refusing.
    pub force: bool,
}

/// What an apply makes.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The whole object with its `managedFields`, before defaulting and validation. Do not [`track`](super::track) it.
    pub object: Value,
}

/// Merges a configuration into an object and records its ownership.
///
/// The caller defaults and validates the result like any other create or update, then calls [`settle`](super::settle).
///
/// # Errors
/// 400 if the configuration does not fit the endpoint or the schema (P-44, P-46), 409 with upstream's causes if other
/// managers own what it changes (P-45), 409 if it names the UID of an object that is not there (P-47).
pub fn apply(mut request: ApplyRequest<'_>) -> Result<Applied, Status> {
    let place = Place::root(request.gvk)
        .ok_or_else(|| Status::bad_request(format!("no schema for kind {:?}", request.gvk.kind)))?;
    check_config(place, &request)?;
    complete_identity(&mut request);
    let Some(live) = request.live else { return create(&request, place) };
    let mut managers = Managers::of(live);
    if managers.0.is_empty() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..request.writer };
        record_update(place, None, live, &mut managers, &before);
    }
    match merge_into(&request, place, live, managers.clone(), request.force) {
        Ok(object) => Ok(Applied { object }),
        Err(conflicts) if request.writer.name() == KUBECTL => {
            let allowed = last_applied::allowed_conflicts(place, live).unwrap_or_default();
            let rest = conflicts.without(&allowed);
            if !rest.is_empty() {
                return Err(rest.into_status(request.resource, request.name));
            }
            // Nothing is left to object to.
            let object = merge_into(&request, place, live, managers, true)
                .map_err(|conflicts| conflicts.into_status(request.resource, request.name))?;
            Ok(Applied { object })
        }
        Err(conflicts) => Err(conflicts.into_status(request.resource, request.name)),
    }
}

/// Step 1: the configuration must be one for this endpoint.
fn check_config(place: Place, request: &ApplyRequest<'_>) -> Result<(), Status> {
    let config = &request.config;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    if kind.is_empty() {
        return Err(Status::bad_request(format!("Object 'Kind' is missing in '{config}'")));
    }
    let expected = request.gvk.api_version();
    if version != expected {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {expected}"
        )));
    }
    if kind != request.gvk.kind {
        let wanted = request.gvk.kind;
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {wanted}: converting (v1.{kind}) to (v1.{wanted}): \
             unknown conversion"
        )));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let name = text("/metadata/name");
    if !name.is_empty() && name != request.name {
        let url = request.name;
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({url})"
        )));
    }
    let namespace = text("/metadata/namespace");
    if !namespace.is_empty() && namespace != request.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let uid = text("/metadata/uid");
    if request.live.is_none() && !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Status::conflict(request.resource, request.name, why));
    }
    let problems = validate::problems(place, config);
    if !problems.is_empty() {
        let Gvk { group, version, kind } = request.gvk;
        return Err(Status::bad_request(format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={kind}): {}",
            request.namespace,
            request.name,
            validate::joined(&problems)
        )));
    }
    Ok(())
}

/// Takes name and namespace from the URL where the configuration leaves them out.
fn complete_identity(request: &mut ApplyRequest<'_>) {
    let Some(config) = request.config.as_object_mut() else { return };
    let metadata = config.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else { return };
    metadata.remove("managedFields");
    metadata.entry("name").or_insert_with(|| Value::String(request.name.to_owned()));
    if !request.namespace.is_empty() {
        metadata.entry("namespace").or_insert_with(|| Value::String(request.namespace.to_owned()));
    }
}

fn create(request: &ApplyRequest<'_>, place: Place) -> Result<Applied, Status> {
    let mut set = stated(Some(place), &request.config);
    request.writer.strip(&mut set);
    let mut object = merge::merged(Some(place), None, &request.config);
    drop_nulls(Some(place), &mut object);
    Managers(vec![request.writer.entry(Operation::Apply, set)]).write_into(&mut object);
    Ok(Applied { object })
}

/// Steps 2 to 5: merge, remove what is no longer applied, look for conflicts, record.
fn merge_into(
    request: &ApplyRequest<'_>,
    place: Place,
    live: &Value,
    mut managers: Managers,
    force: bool,
) -> Result<Value, Conflicts> {
    let writer = &request.writer;
    for entry in &mut managers.0 {
        let mut set = entry.fields.set();
        fit_to_schema(Some(place), &mut set);
        entry.fields = Fields::Set(set);
    }
    let set = stated(Some(place), &request.config);
    let own = managers.position(writer, Operation::Apply);
    let last = own.map(|index| managers.0[index].fields.set()).unwrap_or_default();
    let mut owned = set.clone();
    for (index, entry) in managers.0.iter().enumerate() {
        if Some(index) != own {
            owned.union(entry.fields.set());
        }
    }
    let mut object = merge::merged(Some(place), Some(live), &request.config);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if !last.is_empty() {
        object = prune::pruned(place, object, last.clone(), owned);
    }
    let mut found = difference(Some(place), Some(live), Some(&object));
    writer.strip(&mut found.changed);
    writer.strip(&mut found.removed);
    if !force {
        let conflicts = Conflicts::of(&managers, own, &found.changed);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    managers.take_from_others(own, &found.changed, &found.removed);
    record_own(&mut managers, own, writer, set, &last, !found.is_empty());
    drop_nulls(Some(place), &mut object);
    if writer.name() == KUBECTL {
        last_applied::refresh(&mut object, &request.config);
    }
    managers.write_into(&mut object);
    Ok(object)
}

fn record_own(
    managers: &mut Managers,
    own: Option<usize>,
    writer: &Writer<'_>,
    mut set: FieldSet,
    last: &FieldSet,
    object_changed: bool,
) {
    writer.strip(&mut set);
    let is_same = !object_changed && set == *last;
    let mut entry = writer.entry(Operation::Apply, set);
    match own {
        Some(index) => {
            if is_same {
                entry.time = managers.0[index].time.clone();
            }
            managers.0[index] = entry;
        }
        None => managers.0.push(entry),
    }
}

/// Takes nulls out of everything that the schema describes: they say "owned, without a value" (P-55) and are never
/// stored.
fn drop_nulls(place: Option<Place>, value: &mut Value) {
    let Some(place) = place else { return };
    match value {
        Value::Object(object) => {
            let is_described = |name: &str| place.member(name).is_some();
            object.retain(|name, value| !(value.is_null() && is_described(name)));
            for (name, value) in object {
                drop_nulls(place.member(name), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(place.item(), item)),
        _ => {}
    }
}

/// The annotations of an object.
fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}
