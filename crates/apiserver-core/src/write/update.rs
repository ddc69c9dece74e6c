//! Change: PUT, and whatever a patch results in (V-35 to V-41, V-130, V-131).

use meta::Status;
use serde_json::{Map, Value};

use super::context::UpdateContext;
use super::create::{merge_owner_references, metadata_rules, take_namespace, track};
use crate::kinds::KindDef;
use crate::patch::settle;
use crate::tree::{copy_member, has, int, items, member, object_mut, remove, set, text};
use crate::validate::{Errors, metadata};

/// What becomes of the stored object.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Nothing: answer 200 with the stored object and its old resourceVersion; no event (G-5, V-39).
    Unchanged,
    /// Store this tree (without a resourceVersion) over the state that was decided upon.
    Write(Value),
    /// The last finalizer is gone: remove the object; this is its last state (V-40).
    Remove(Value),
}

/// A change that may go ahead.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdatePlan {
    /// What to do.
    pub outcome: Outcome,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decides a change of `current` to `new`, which is decoded and has `api`'s defaults.
///
/// `current` carries `metadata.resourceVersion` as it was read. A resourceVersion or UID in `new` is a precondition.
/// When the commit finds another revision than `current`'s, read and decide again unless the client gave a version.
///
/// # Errors
/// The refusal as the client sees it.
pub fn decide_update(
    def: &KindDef,
    current: &Value,
    new: Value,
    context: &UpdateContext<'_>,
) -> Result<UpdatePlan, Status> {
    let mut new = new;
    check_preconditions(def, current, &new)?;
    check_identity(current, &new)?;
    take_namespace(def, &mut new, text(member(current, "metadata"), "namespace"))?;
    keep_server_metadata(current, &mut new);
    let is_status = context.subresource == "status";
    if is_status {
        keep_all_but_status(current, &mut new);
    }
    // Of the whole: a job without labels has those of its template, also after a patch of its status.
    def.default_object(&mut new);
    let rules = &def.rules;
    let mut errors = Errors::new();
    if is_status {
        (rules.prepare_status)(&mut new, current);
    } else {
        if def.kind.has_status() {
            copy_member(&mut new, current, "status");
        }
        (rules.prepare_update)(&mut new, current);
        errors = (rules.allocate_update)(&mut new, current, context.addresses, context.seed);
        count_generation(def, current, &mut new);
    }
    let mut warnings = Vec::new();
    merge_owner_references(&mut new, &mut warnings);
    metadata::validate_update(&new, current, metadata_rules(def), &mut errors);
    if is_status {
        (rules.validate_status)(&new, current, &mut errors);
    } else {
        (rules.validate_update)(&new, current, &mut errors);
        metadata::warnings(&new, &mut warnings);
        (rules.warn)(&new, &mut warnings);
    }
    let name = text(member(&new, "metadata"), "name").to_owned();
    if let Some(status) = errors.into_status(&def.kind.resource.group, def.kind.kind, &name) {
        return Err(status);
    }
    if context.subresource.is_empty() {
        (rules.permit_update)(&new, current, context)?;
    }
    set(&mut new, "kind", def.kind.kind);
    set(&mut new, "apiVersion", def.kind.resource.group_version());
    Ok(UpdatePlan { outcome: conclude(def, current, new, context), warnings })
}

/// The last steps of every change: who made it, is it the end of the object, is it a change at all.
fn conclude(def: &KindDef, current: &Value, new: Value, context: &UpdateContext<'_>) -> Outcome {
    let mut new = new;
    if !context.applied {
        track(def, Some(current), &mut new, context.field_manager, context.subresource, context.now);
    }
    if is_complete_deletion(def, &new) {
        return Outcome::Remove(new);
    }
    if settle(current, &mut new) { Outcome::Unchanged } else { Outcome::Write(new) }
}

/// True if nothing holds the object any more (V-40).
pub(super) fn is_complete_deletion(def: &KindDef, object: &Value) -> bool {
    let metadata = member(object, "metadata");
    has(metadata, "deletionTimestamp")
        && int(metadata, "deletionGracePeriodSeconds").unwrap_or(0) == 0
        && items(metadata, "finalizers").is_empty()
        && !(def.rules.deletion.is_held)(object)
}

/// A resourceVersion or UID in the body that is not the stored one (V-36, V-37).
fn check_preconditions(def: &KindDef, current: &Value, new: &Value) -> Result<(), Status> {
    let (current, new) = (member(current, "metadata"), member(new, "metadata"));
    let name = text(current, "name");
    let uid = text(new, "uid");
    if !uid.is_empty() && uid != text(current, "uid") {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", text(current, "uid"));
        return Err(Status::conflict(&def.kind.resource, name, why));
    }
    let version = text(new, "resourceVersion");
    if version.is_empty() || version == "0" {
        return match def.kind.update_without_version {
            api::UpdateWithoutVersion::Unconditional => Ok(()),
            api::UpdateWithoutVersion::Refused => {
                let mut errors = Errors::new();
                let path = crate::validate::Path::root("metadata");
                errors.invalid_int(&path.child("resourceVersion"), 0, "must be specified for an update");
                Err(errors
                    .into_status(&def.kind.resource.group, def.kind.kind, name)
                    .unwrap_or_else(|| Status::internal("an error without text")))
            }
        };
    }
    match version == text(current, "resourceVersion") {
        true => Ok(()),
        false => Err(Status::modified(&def.kind.resource, name)),
    }
}

/// The name in the body must be that of the URL (V-36).
fn check_identity(current: &Value, new: &Value) -> Result<(), Status> {
    let (stored, given) = (text(member(current, "metadata"), "name"), text(member(new, "metadata"), "name"));
    if given.is_empty() || given == stored {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({stored})")))
}

/// What only the server may say is taken from the stored object (V-38).
fn keep_server_metadata(current: &Value, new: &mut Value) {
    let old = member(current, "metadata");
    let metadata = object_mut(new, "metadata");
    metadata.remove("resourceVersion");
    metadata.remove("selfLink");
    for key in ["name", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        match old.get(key) {
            Some(value) => metadata.insert(key.to_owned(), value.clone()),
            None => metadata.remove(key),
        };
    }
}

/// Through `/status` only `status` and the free part of `metadata` change (V-131).
fn keep_all_but_status(current: &Value, new: &mut Value) {
    let status = remove(new, "status");
    let metadata = remove(new, "metadata");
    let others = current.as_object().into_iter().flatten();
    let others = others.filter(|(name, _)| *name != "status" && (*name != "metadata" || metadata.is_none()));
    let mut kept: Map<String, Value> = others.map(|(name, member)| (name.clone(), member.clone())).collect();
    for (name, given) in [("metadata", metadata), ("status", status)] {
        kept.extend(given.map(|given| (name.to_owned(), given)));
    }
    *new = Value::Object(kept);
}

/// One more when the spec changed (V-130); of a Deployment, the annotations too.
fn count_generation(def: &KindDef, current: &Value, new: &mut Value) {
    let annotations = |object| member(member(object, "metadata"), "annotations");
    let is_new = member(current, "spec") != member(new, "spec");
    let counts = match def.kind.generation {
        api::Generation::None | api::Generation::CreationOnly => false,
        api::Generation::Spec => is_new,
        api::Generation::SpecAndAnnotations => is_new || !same_entries(annotations(current), annotations(new)),
    };
    if !counts {
        return;
    }
    let generation = int(member(current, "metadata"), "generation").unwrap_or(0) + 1;
    object_mut(new, "metadata").insert("generation".to_owned(), generation.into());
}

/// Equality of maps; none and an empty one are the same.
fn same_entries(a: &Value, b: &Value) -> bool {
    let is_empty = |map: &Value| map.as_object().is_none_or(serde_json::Map::is_empty);
    a == b || is_empty(a) && is_empty(b)
}

/// Decides `PUT namespaces/x/finalize`: takes over `spec.finalizers` and nothing else (M-3, K-36).
///
/// # Errors
/// The refusal as the client sees it.
pub fn decide_finalize(def: &KindDef, current: &Value, new: &Value) -> Result<UpdatePlan, Status> {
    check_preconditions(def, current, new)?;
    check_identity(current, new)?;
    let mut finalized = current.clone();
    object_mut(&mut finalized, "metadata").remove("resourceVersion");
    let finalizers = items(member(new, "spec"), "finalizers").to_vec();
    let spec = object_mut(&mut finalized, "spec");
    if finalizers.is_empty() {
        spec.remove("finalizers");
    } else {
        spec.insert("finalizers".to_owned(), finalizers.into());
    }
    let outcome = if is_complete_deletion(def, &finalized) {
        Outcome::Remove(finalized)
    } else if member(current, "spec") == member(&finalized, "spec") {
        Outcome::Unchanged
    } else {
        Outcome::Write(finalized)
    };
    Ok(UpdatePlan { outcome, warnings: Vec::new() })
}
