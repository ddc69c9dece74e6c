//! Reviews: questions that are answered and never stored.

use api::{CREATE_ONLY, DeleteAnswer, Generation, Kind, Scope, UpdateOfMissing, UpdateWithoutVersion, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{has, member, text};
use crate::validate::{Errors, Path};

/// SelfSubjectAccessReview: may I? The answer is the API server's authorizer's.
pub(super) fn self_subject_access_review() -> KindDef {
    KindDef {
        kind: Kind {
            resource: resources::SELF_SUBJECT_ACCESS_REVIEWS,
            kind: "SelfSubjectAccessReview",
            list_kind: "",
            singular: "selfsubjectaccessreview",
            short_names: &[],
            categories: &[],
            scope: Scope::Cluster,
            verbs: CREATE_ONLY,
            subresources: &[],
            stored_as: None,
            delete_answer: DeleteAnswer::Status,
            update_of_missing: UpdateOfMissing::NotFound,
            update_without_version: UpdateWithoutVersion::Unconditional,
            generation: Generation::None,
            selectable_fields: &[],
        },
        columns: const { &[Column::NAME, Column::AGE] },
        row: |object, now| Row::of([cells::name(object), cells::age(object, now)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules { validate: validate_access, ..Rules::PLAIN },
    }
}

fn validate_access(review: &Value, errors: &mut Errors) {
    let (spec, path) = (member(review, "spec"), Path::root("spec"));
    let (resource, other) = (has(spec, "resourceAttributes"), has(spec, "nonResourceAttributes"));
    if resource && other {
        errors.invalid(
            &path.child("nonResourceAttributes"),
            member(spec, "nonResourceAttributes"),
            "cannot be specified in combination with resourceAttributes",
        );
    }
    if !resource && !other {
        errors.invalid(
            &path.child("resourceAttributes"),
            member(spec, "resourceAttributes"),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        );
    }
    let metadata = member(review, "metadata");
    if !text(metadata, "name").is_empty() || !text(metadata, "namespace").is_empty() {
        errors.invalid(&Path::root("metadata"), metadata, "must be empty");
    }
}

/// Checks a review, which has no metadata of its own.
///
/// # Errors
/// 422 with what is wrong.
pub fn validate(def: &KindDef, review: &Value) -> Result<(), meta::Status> {
    let mut errors = Errors::new();
    (def.rules.validate)(review, &mut errors);
    match errors.into_status(&def.kind.resource.group, def.kind.kind, "") {
        Some(status) => Err(status),
        None => Ok(()),
    }
}
