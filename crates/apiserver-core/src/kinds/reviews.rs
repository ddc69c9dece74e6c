//! Reviews: questions that are answered and never stored.

use api::{CREATE_ONLY, Kind, Scope, resources};
use meta::ResourceId;
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{has, items, member, text};
use crate::validate::{Errors, Path};

/// SelfSubjectReview: who am I?
pub(super) fn self_subject_review() -> KindDef {
    review(resources::SELF_SUBJECT_REVIEWS, Scope::Cluster, ("SelfSubjectReview", "selfsubjectreview"), |_, _| {})
}

/// TokenReview: whose token is it?
pub(super) fn token_review() -> KindDef {
    review(resources::TOKEN_REVIEWS, Scope::Cluster, ("TokenReview", "tokenreview"), |_, _| {})
}

/// SelfSubjectAccessReview: may I? The answer is the API server's authorizer's.
pub(super) fn self_subject_access_review() -> KindDef {
    let names = ("SelfSubjectAccessReview", "selfsubjectaccessreview");
    review(resources::SELF_SUBJECT_ACCESS_REVIEWS, Scope::Cluster, names, |review, errors| {
        validate_question(review, errors);
        validate_no_metadata(review, errors);
    })
}

/// SelfSubjectRulesReview: what may I do?
pub(super) fn self_subject_rules_review() -> KindDef {
    let names = ("SelfSubjectRulesReview", "selfsubjectrulesreview");
    review(resources::SELF_SUBJECT_RULES_REVIEWS, Scope::Cluster, names, |_, _| {})
}

/// SubjectAccessReview: may they?
pub(super) fn subject_access_review() -> KindDef {
    let names = ("SubjectAccessReview", "subjectaccessreview");
    review(resources::SUBJECT_ACCESS_REVIEWS, Scope::Cluster, names, |review, errors| {
        validate_question(review, errors);
        validate_subject(review, errors);
        validate_no_metadata(review, errors);
    })
}

/// LocalSubjectAccessReview: may they, in this namespace?
pub(super) fn local_subject_access_review() -> KindDef {
    let names = ("LocalSubjectAccessReview", "localsubjectaccessreview");
    review(resources::LOCAL_SUBJECT_ACCESS_REVIEWS, Scope::Namespaced, names, |review, errors| {
        validate_question(review, errors);
        validate_subject(review, errors);
        let (spec, path) = (member(review, "spec"), Path::root("spec"));
        let attributes = member(spec, "resourceAttributes");
        let namespace = text(member(review, "metadata"), "namespace");
        if !attributes.is_null() && text(attributes, "namespace") != namespace {
            let path = path.child("resourceAttributes.namespace");
            errors.invalid_text(&path, text(attributes, "namespace"), "must match metadata.namespace");
        }
        if has(spec, "nonResourceAttributes") {
            let asked = member(spec, "nonResourceAttributes");
            errors.invalid(&path.child("nonResourceAttributes"), asked, "disallowed on this kind of request");
        }
    })
}

fn review(
    resource: ResourceId,
    scope: Scope,
    (kind, singular): (&'static str, &'static str),
    validate: fn(&Value, &mut Errors),
) -> KindDef {
    KindDef {
        kind: Kind { verbs: CREATE_ONLY, ..Kind::ordinary(resource, scope, kind, "", singular) },
        columns: const { &[Column::NAME, Column::AGE] },
        row: |object, now| Row::of([cells::name(object), cells::age(object, now)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules { validate, ..Rules::PLAIN },
    }
}

fn validate_question(review: &Value, errors: &mut Errors) {
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
}

fn validate_subject(review: &Value, errors: &mut Errors) {
    let (spec, path) = (member(review, "spec"), Path::root("spec"));
    if text(spec, "user").is_empty() && items(spec, "groups").is_empty() {
        errors.invalid_text(&path.child("user"), "", "at least one of user or group must be specified");
    }
}

fn validate_no_metadata(review: &Value, errors: &mut Errors) {
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
