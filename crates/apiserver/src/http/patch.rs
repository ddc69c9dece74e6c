//! Patches (section 3 of api.md): reading them, and applying them to a stored object until the race is won.

use api::codec::{self, DecodeError, Expected, FieldProblem, FieldValidation, Media, Mode};
use apiserver_core::kinds::KindDef;
use apiserver_core::patch::{
    ApplyRequest, Place, Writer, apply, json_patch, merge_patch, merge_patch_object, strategic_patch_object,
};
use apiserver_core::write::{Deletion, DeletionOptions, Outcome, apply_scale, decide_delete, scale_of};
use http::HeaderMap;
use meta::{Reason, Status};
use serde_json::{Value, json};

use crate::http::body;
use crate::http::options::WriteParameters;
use crate::http::subresources::SCALE;
use crate::query::invalid_option;
use crate::registry::Registry;
use crate::writing::{Changed, Deleted, Judged, Target, WriteOptions, Written, judge, normalise, patch_invalid};

/// The kinds of patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Upstream's, by schema.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// The kind that the `Content-Type` names (P-1).
    ///
    /// # Errors
    /// 415 for any other.
    pub fn of(headers: &HeaderMap) -> Result<Self, Status> {
        Ok(match body::content_type(headers) {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply,
            _ => {
                let text = format!(
                    "the body of the request was in an unknown format - accepted media types include: {}",
                    body::PATCH_TYPES.join(", ")
                );
                return Err(Status::new(Reason::UnsupportedMediaType, text));
            }
        })
    }
}

/// Options that fit no other kind of patch, or that apply cannot do without (P-5, V-121).
///
/// # Errors
/// 422.
pub fn check_options(kind: PatchKind, parameters: &WriteParameters) -> Result<(), Status> {
    let refuse =
        |field: &str, reason: &str, text: &str| Err(invalid_option("PatchOptions.meta.k8s.io", field, reason, text));
    match kind {
        PatchKind::Apply if !parameters.manager_given => {
            refuse("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
        }
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic if parameters.force.is_some() => {
            refuse("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
        }
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => Ok(()),
    }
}

/// A patch that can be applied any number of times.
#[derive(Clone, PartialEq, Debug)]
pub enum PatchBody {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Upstream's, by schema.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// The applied configuration.
        config: Value,
        /// Take fields from other managers.
        force: bool,
    },
}

impl PatchBody {
    /// Reads a body; the warnings of an applied configuration's unknown fields come with it.
    ///
    /// # Errors
    /// 400 if it is malformed.
    pub fn decode(
        kind: PatchKind,
        bytes: &[u8],
        def: &KindDef,
        parameters: &WriteParameters,
    ) -> Result<(Self, Vec<String>), Status> {
        let media = if kind == PatchKind::Apply { Media::Yaml } else { Media::Json };
        let mut warnings = Vec::new();
        if kind == PatchKind::Apply
            && let Ok(decoded) = codec::decode(bytes, media, Expected::exactly(def.kind.gvk()), Mode::Sparse)
        {
            // Fields that stand twice are only seen here; those that are unknown are refused by apply itself.
            let twice = |problem: &&FieldProblem| matches!(problem, FieldProblem::Duplicate(_));
            let duplicates: Vec<_> = decoded.problems.iter().filter(twice).cloned().collect();
            warnings = judge(def, &duplicates, parameters.validation, Judged::Body)?;
        }
        let tree = codec::decode_untyped(bytes, media).map_err(|error| match error {
            DecodeError::Syntax { why } if kind == PatchKind::Apply => {
                Status::bad_request(format!("error decoding YAML: {why}"))
            }
            error => error.to_status(),
        })?;
        let body = match kind {
            PatchKind::Json if !tree.is_array() => return Err(not_a(&tree, "[]interface {}")),
            PatchKind::Json => Self::Json(tree),
            PatchKind::Merge => Self::Merge(object(tree)?),
            PatchKind::Strategic => Self::Strategic(object(tree)?),
            PatchKind::Apply => Self::Apply { config: object(tree)?, force: parameters.force.unwrap_or_default() },
        };
        Ok((body, warnings))
    }

    /// The patched tree, before it is decoded again; on an object without what its write puts back. Not for
    /// [`PatchBody::Apply`] on objects: that needs their owners.
    ///
    /// # Errors
    /// 422 and 400 with upstream's texts.
    pub fn patched(&self, place: Place, current: &Value, subresource: &str) -> Result<Value, Status> {
        match self {
            Self::Json(patch) => json_patch(current.clone(), patch.clone()),
            Self::Merge(patch) => Ok(merge_patch_object(current, patch, subresource)),
            Self::Strategic(patch) => strategic_patch_object(place, current, patch, subresource),
            Self::Apply { config, .. } => Ok(merge_patch(current, config)),
        }
    }
}

fn object(tree: Value) -> Result<Value, Status> {
    if tree.is_object() { Ok(tree) } else { Err(not_a(&tree, "map[string]interface {}")) }
}

/// A patch of the wrong JSON type, in upstream's words.
fn not_a(tree: &Value, wanted: &str) -> Status {
    let found = match tree {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Status::bad_request(format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"))
}

impl Registry {
    /// Patches an object, or creates it by apply.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn patch(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        body: &PatchBody,
        options: &WriteOptions,
        validation: FieldValidation,
    ) -> Result<Written, Status> {
        let PatchBody::Apply { config, force } = body else {
            let place = Place::root(def.kind.gvk()).ok_or_else(|| Status::internal("the kind has no schema"))?;
            let change = |current: &Value| {
                let patched = body.patched(place, current, target.subresource)?;
                check_same_kind(def, &patched)?;
                decoded(def, patched, validation, false)
            };
            return self.update(def, target, options, change).await;
        };
        let config = &canonical(def, config);
        let apply_to = |live: Option<&Value>| {
            let group_version = def.kind.resource.group_version();
            let ignored: &[&[&str]] = match target.subresource {
                "status" => &[&["spec"]],
                _ if def.kind.has_status() => &[&["status"]],
                _ => &[],
            };
            let writer = Writer {
                manager: &options.field_manager,
                api_version: &group_version,
                subresource: target.subresource,
                ignored,
                now: self.now(),
            };
            let applied = apply(ApplyRequest {
                gvk: def.kind.gvk(),
                resource: &def.kind.resource,
                namespace: target.namespace.unwrap_or_default(),
                name: target.name,
                live,
                config: config.clone(),
                writer,
                force: *force,
            })?;
            decoded(def, applied.object, validation, true)
        };
        for _ in 0..self.config.limits.write_attempts_max {
            match self.update(def, target, options, |current| apply_to(Some(current))).await {
                Err(status) if status.is_not_found() && target.subresource.is_empty() => {}
                outcome => return outcome,
            }
            if config["metadata"]["uid"].as_str().is_some_and(|uid| !uid.is_empty()) {
                let why = "Precondition failed: UID in precondition, but the object does not exist";
                return Err(Status::conflict(&def.kind.resource, target.name, why));
            }
            let created = apply_to(None)?;
            match self.create_as(def, target.namespace, created.tree, options, true).await {
                // Somebody else created it meanwhile: it is an update now.
                Err(status) if status.is_already_exists() => {}
                Ok(mut written) => {
                    written.warnings.extend(created.warnings);
                    return Ok(written);
                }
                Err(status) => return Err(status),
            }
        }
        Err(Status::modified(&def.kind.resource, target.name))
    }
}

impl Registry {
    /// Deletes an object together with a last patch of its status: both or neither.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn end(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &DeletionOptions,
        status: Value,
        field_manager: &str,
    ) -> Result<Deleted, Status> {
        let place = Place::root(def.kind.gvk()).ok_or_else(|| Status::internal("the kind has no schema"))?;
        let patch = PatchBody::Strategic(status);
        let written = WriteOptions { field_manager: field_manager.to_owned(), ..WriteOptions::default() };
        let at = Target { subresource: "status", ..*target };
        let decide = |current: &Value, now| {
            let patched = decoded(def, patch.patched(place, current, at.subresource)?, FieldValidation::Strict, false)?;
            let plan = self.plan_update(def, current, patched.tree, &at, &written, false)?;
            let state = match plan.outcome {
                Outcome::Unchanged => current.clone(),
                Outcome::Write(mut new) => {
                    // The deletion's precondition is about what was stored.
                    new["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
                    new
                }
                Outcome::Remove(last) => return Ok((Deletion::Remove(last), Vec::new())),
            };
            let deletion = match decide_delete(def, &state, options, now)? {
                // The status is new all the same.
                Deletion::Unchanged if state != *current => Deletion::Mark(without_version(state)),
                deletion => deletion,
            };
            Ok((deletion, Vec::new()))
        };
        self.delete_as(def, target, options.dry_run, decide).await
    }

    /// Applies a scale: the replica count is owned by the applier, through `scale` (P-52).
    ///
    /// # Errors
    /// The refusal as the client sees it; 409 if somebody else owns the count.
    pub async fn apply_to_scale(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &WriteOptions,
        (config, force): (&Value, bool),
    ) -> Result<Written, Status> {
        let expected = Expected::exactly(SCALE);
        let scale = codec::normalise(config.clone(), expected, Mode::Sparse).map_err(|error| error.to_status())?.tree;
        let group_version = def.kind.resource.group_version();
        // The same count, as the parent says it.
        let of_parent = json!({
            "apiVersion": group_version, "kind": def.kind.kind, "metadata": {"name": target.name},
            "spec": {"replicas": scale["spec"]["replicas"]},
        });
        let change = |current: &Value| {
            apply_scale(def, current, &merge_patch(&scale_of(current), &scale))?;
            let writer = Writer {
                manager: &options.field_manager,
                api_version: &group_version,
                subresource: target.subresource,
                ignored: &[&["status"]],
                now: self.now(),
            };
            let applied = apply(ApplyRequest {
                gvk: def.kind.gvk(),
                resource: &def.kind.resource,
                namespace: target.namespace.unwrap_or_default(),
                name: target.name,
                live: Some(current),
                config: of_parent.clone(),
                writer,
                force,
            })?;
            decoded(def, applied.object, FieldValidation::Ignore, true)
        };
        self.update(def, target, options, change).await
    }
}

/// An applied configuration with its values in the form in which they are stored (`1024Mi` is `1Gi`), so that equal
/// values are equal; one that does not fit the schema stays as it is, for apply to say why.
fn canonical(def: &KindDef, config: &Value) -> Value {
    // Decoding would fill in the version that apply has to ask for.
    if config["apiVersion"].as_str().is_none_or(str::is_empty) {
        return config.clone();
    }
    match codec::normalise(config.clone(), Expected::exactly(def.kind.gvk()), Mode::Sparse) {
        Ok(decoded) if decoded.problems.is_empty() => decoded.tree,
        Ok(_) | Err(_) => config.clone(),
    }
}

/// A patch cannot make another kind of an object (P-3).
fn check_same_kind(def: &KindDef, patched: &Value) -> Result<(), Status> {
    let (kind, version) =
        (patched["kind"].as_str().unwrap_or_default(), patched["apiVersion"].as_str().unwrap_or_default());
    let expected = def.kind.resource.group_version();
    if !kind.is_empty() && kind != def.kind.kind || !version.is_empty() && version != expected {
        let text = format!(
            "{version}, Kind={kind} in a patch of {expected}, Kind={}: the kind and version of an object cannot change",
            def.kind.kind
        );
        return Err(Status::bad_request(text));
    }
    Ok(())
}

/// A state as it is stored.
fn without_version(mut state: Value) -> Value {
    if let Some(metadata) = state["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    state
}

fn decoded(def: &KindDef, tree: Value, validation: FieldValidation, applied: bool) -> Result<Changed, Status> {
    let (tree, problems) = normalise(def, tree).map_err(|error| patch_invalid(&error))?;
    let warnings = judge(def, &problems, validation, Judged::Patched)?;
    Ok(Changed { tree, applied, warnings, decided: None })
}
