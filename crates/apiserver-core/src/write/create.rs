//! Creation (V-25 to V-30).

use meta::{Cause, Status, Timestamp};
use serde_json::{Map, Value};

use super::context::{CreateContext, NamespaceState};
use crate::kinds::KindDef;
use crate::patch::{self, Place, Writer};
use crate::tree::{as_object_mut, member, object_mut, set, text};
use crate::validate::Errors;
use crate::validate::metadata::{self, MetadataRules};

/// Longest base of a generated name; with the suffix it is still a label.
const GENERATED_BASE_LEN_MAX: usize = 58;
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A creation that may go ahead.
#[derive(Clone, PartialEq, Debug)]
pub struct CreatePlan {
    /// The object to store, without a resourceVersion.
    pub object: Value,
    /// Its name.
    pub name: String,
    /// True if the server chose the name: on a collision decide again with another seed, at most 8 times (V-28).
    pub generated_name: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// Five letters and digits that form no words (V-28).
pub fn random_suffix(seed: u64) -> String {
    let mut rest = scramble(seed);
    (0..5)
        .map(|_| {
            let letter = SUFFIX_ALPHABET[(rest % 27) as usize];
            rest /= 27;
            char::from(letter)
        })
        .collect()
}

/// Records in `managedFields` who wrote what.
pub(crate) fn track(
    def: &KindDef,
    live: Option<&Value>,
    object: &mut Value,
    manager: &str,
    subresource: &str,
    now: Timestamp,
) {
    let Some(place) = Place::root(def.kind.gvk()) else { return };
    let ignored: &[&[&str]] = match (subresource, def.kind.has_status()) {
        ("status", _) => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
        (_, true) => &[&["status"]],
        (_, false) => &[],
    };
    let api_version = def.kind.resource.group_version();
    let writer = Writer { manager, api_version: &api_version, subresource, ignored, now };
    patch::track(place, live, object, &writer);
}

/// Spreads neighbouring seeds (splitmix64).
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Decides the creation of `object`, which is decoded and has `api`'s defaults.
///
/// Steps in upstream's order (V-26): server-owned metadata, admission, generated name, preparation, validation,
/// `managedFields`.
///
/// # Errors
/// The refusal as the client sees it.
pub fn decide_create(def: &KindDef, object: Value, context: &CreateContext<'_>) -> Result<CreatePlan, Status> {
    let mut object = object;
    let rules = &def.rules;
    check_resource_version(&object)?;
    take_namespace(def, &mut object, context.namespace)?;
    let generated_name = begin_metadata(&mut object, context);
    check_namespace(def, &object, context)?;
    def.default_object(&mut object);
    (rules.admit)(&mut object, context)?;
    def.default_object(&mut object);
    (rules.prepare_create)(&mut object);
    set_generation(def, &mut object);
    let mut warnings = Vec::new();
    merge_owner_references(&mut object, &mut warnings);
    let mut errors = Errors::new();
    metadata::validate(&object, metadata_rules(def), &mut errors);
    (rules.validate)(&object, &mut errors);
    let name = text(member(&object, "metadata"), "name").to_owned();
    if let Some(status) = errors.into_status(&def.kind.resource.group, def.kind.kind, &name) {
        return Err(status);
    }
    (rules.permit)(&object, context)?;
    metadata::warnings(&object, &mut warnings);
    (rules.warn_create)(&object, &mut warnings);
    (rules.warn)(&object, &mut warnings);
    set(&mut object, "kind", def.kind.kind);
    set(&mut object, "apiVersion", def.kind.resource.group_version());
    if !context.applied {
        track(def, None, &mut object, context.field_manager, "", context.now);
    }
    Ok(CreatePlan { object, name, generated_name, warnings })
}

pub(super) fn metadata_rules(def: &KindDef) -> MetadataRules {
    MetadataRules { namespaced: def.kind.is_namespaced(), name: def.rules.name }
}

/// A version on an object that does not exist is a mistake (V-27).
fn check_resource_version(object: &Value) -> Result<(), Status> {
    match text(member(object, "metadata"), "resourceVersion") {
        "" | "0" => Ok(()),
        _ => Err(Status {
            code: 500,
            reason: None,
            message: "resourceVersion should not be set on objects to be created".to_owned(),
            details: None,
            continue_token: None,
        }),
    }
}

/// The namespace comes from the URL; the body may repeat it (V-18).
pub(super) fn take_namespace(def: &KindDef, object: &mut Value, namespace: &str) -> Result<(), Status> {
    if !def.kind.is_namespaced() {
        return Ok(());
    }
    let metadata = object_mut(object, "metadata");
    match metadata.get("namespace").and_then(Value::as_str).unwrap_or_default() {
        "" => {
            metadata.insert("namespace".to_owned(), namespace.into());
            Ok(())
        }
        same if same == namespace => Ok(()),
        _ => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// Clears what only the server may say, and says it (V-15, V-26). True if the name was generated.
fn begin_metadata(object: &mut Value, context: &CreateContext<'_>) -> bool {
    let metadata = object_mut(object, "metadata");
    for key in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.remove(key);
    }
    metadata.insert("uid".to_owned(), context.uid.into());
    metadata.insert("creationTimestamp".to_owned(), time_text(context.now).into());
    let has_name = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let base = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
    if has_name || base.is_empty() {
        return false;
    }
    let name = format!("{}{}", truncated(base, GENERATED_BASE_LEN_MAX), random_suffix(context.seed));
    metadata.insert("name".to_owned(), name.into());
    true
}

fn truncated(text: &str, len_max: usize) -> &str {
    let end = (0..=len_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

/// RFC 3339 in whole seconds, as all times in `metadata`.
pub(crate) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Nothing is made in a namespace that is not there or is going away (M-2, V-30).
fn check_namespace(def: &KindDef, object: &Value, context: &CreateContext<'_>) -> Result<(), Status> {
    match context.namespace_state {
        NamespaceState::NotNeeded | NamespaceState::Active => Ok(()),
        NamespaceState::Missing => Err(Status::not_found(&api::resources::NAMESPACES, context.namespace)),
        NamespaceState::Terminating => {
            let name = text(member(object, "metadata"), "name");
            let message = format!(
                "unable to create new content in namespace {} because it is being terminated",
                context.namespace
            );
            let mut status = Status::forbidden(&def.kind.resource, name, message);
            status.details.get_or_insert_default().causes.push(Cause {
                reason: "NamespaceTerminating".to_owned(),
                message: format!("namespace {} is being terminated", context.namespace),
                field: "metadata.namespace".to_owned(),
            });
            Err(status)
        }
    }
}

fn set_generation(def: &KindDef, object: &mut Value) {
    match def.kind.generation {
        api::Generation::None => {}
        api::Generation::Spec | api::Generation::SpecAndAnnotations | api::Generation::CreationOnly => {
            object_mut(object, "metadata").insert("generation".to_owned(), 1.into());
        }
    }
}

/// Owners named twice are merged by UID, with a warning (V-17).
pub(super) fn merge_owner_references(object: &mut Value, warnings: &mut Vec<String>) {
    let metadata: &mut Map<String, Value> = object_mut(object, "metadata");
    let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") else { return };
    if owners.len() < 2 {
        return;
    }
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    for mut owner in owners.drain(..) {
        as_object_mut(&mut owner);
        let uid = text(&owner, "uid").to_owned();
        if kept.iter().any(|other| *other == owner && !uid.is_empty()) {
            warnings.push(format!(
                ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, \
                 and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: \
                 {uid}"
            ));
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_have_five_letters_of_the_alphabet_and_differ_between_neighbouring_seeds() {
        let suffixes: Vec<String> = (0..100).map(random_suffix).collect();
        assert!(suffixes.iter().all(|s| s.len() == 5 && s.bytes().all(|b| SUFFIX_ALPHABET.contains(&b))));
        let mut unique = suffixes.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 100);
    }

    #[test]
    fn the_base_of_a_generated_name_is_cut_to_leave_room() {
        assert_eq!(truncated(&"a".repeat(70), GENERATED_BASE_LEN_MAX).len() + 5, 63);
        assert_eq!(truncated("web-", GENERATED_BASE_LEN_MAX), "web-");
    }
}
