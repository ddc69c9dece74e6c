//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: stored and served. Nothing asks them yet, and creating one says so.

use api::{Kind, Scope, UpdateOfMissing, resources};
use meta::{LabelSelector, Timestamp};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{child_mut, has, items, items_mut, member, set, text};
use crate::validate::{Errors, Path, names, selector};

const GROUP: &str = "rbac.authorization.k8s.io";
const NOT_ENFORCED: &str = "roles and bindings are stored but not enforced yet: whoever shows credentials, every service \
    account too, may do everything";

const ROLE_COLUMNS: &[Column] = &[Column::NAME, Column::CREATED_AT];
const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role", "The role that is given."),
    Column::AGE,
    Column::text("Users", "Users who get it.").wide(),
    Column::text("Groups", "Groups that get it.").wide(),
    Column::text("ServiceAccounts", "Service accounts that get it.").wide(),
];

pub(super) fn role() -> KindDef {
    let kind = Kind::ordinary(resources::ROLES, Scope::Namespaced, "Role", "RoleList", "role");
    let validate = |role: &Value, errors: &mut Errors| validate_rules(role, true, errors);
    of_role(kind, Rules { validate, validate_update: |new, _, errors| validate_rules(new, true, errors), ..RULES })
}

pub(super) fn cluster_role() -> KindDef {
    let kind =
        Kind::ordinary(resources::CLUSTER_ROLES, Scope::Cluster, "ClusterRole", "ClusterRoleList", "clusterrole");
    of_role(
        kind,
        Rules {
            validate: validate_cluster_role,
            validate_update: |new, _, errors| validate_cluster_role(new, errors),
            ..RULES
        },
    )
}

pub(super) fn role_binding() -> KindDef {
    let kind =
        Kind::ordinary(resources::ROLE_BINDINGS, Scope::Namespaced, "RoleBinding", "RoleBindingList", "rolebinding");
    let validate = |binding: &Value, errors: &mut Errors| validate_binding(binding, true, errors);
    let validate_update = |new: &Value, old: &Value, errors: &mut Errors| {
        validate_binding(new, true, errors);
        validate_same_role(new, old, errors);
    };
    of_binding(kind, Rules { default: default_binding, validate, validate_update, ..RULES })
}

pub(super) fn cluster_role_binding() -> KindDef {
    let kind = Kind::ordinary(
        resources::CLUSTER_ROLE_BINDINGS,
        Scope::Cluster,
        "ClusterRoleBinding",
        "ClusterRoleBindingList",
        "clusterrolebinding",
    );
    let validate = |binding: &Value, errors: &mut Errors| validate_binding(binding, false, errors);
    let validate_update = |new: &Value, old: &Value, errors: &mut Errors| {
        validate_binding(new, false, errors);
        validate_same_role(new, old, errors);
    };
    of_binding(kind, Rules { default: default_binding, validate, validate_update, ..RULES })
}

/// What all four have in common.
const RULES: Rules = Rules {
    name: names::path_segment,
    warn_create: |_, warnings| warnings.push(NOT_ENFORCED.to_owned()),
    ..Rules::PLAIN
};

fn of_role(kind: Kind, rules: Rules) -> KindDef {
    KindDef {
        kind: Kind { update_of_missing: UpdateOfMissing::Creates, ..kind },
        columns: ROLE_COLUMNS,
        row: |object, _| Row::of([cells::name(object), cells::created_at(object)]),
        needs: Needs::Nothing,
        conversion: None,
        rules,
    }
}

fn of_binding(kind: Kind, rules: Rules) -> KindDef {
    KindDef {
        kind: Kind { update_of_missing: UpdateOfMissing::Creates, ..kind },
        columns: BINDING_COLUMNS,
        row: binding_row,
        needs: Needs::Nothing,
        conversion: None,
        rules,
    }
}

fn binding_row(binding: &Value, now: Timestamp) -> Row {
    let role = member(binding, "roleRef");
    let of = |kind: &str| {
        let named = items(binding, "subjects").iter().filter(|subject| text(subject, "kind") == kind);
        let names: Vec<String> = named
            .map(|subject| match (kind, text(subject, "namespace")) {
                ("ServiceAccount", namespace) if !namespace.is_empty() => {
                    format!("{namespace}/{}", text(subject, "name"))
                }
                _ => text(subject, "name").to_owned(),
            })
            .collect();
        Value::from(names.join(", "))
    };
    Row::of([
        cells::name(binding),
        format!("{}/{}", text(role, "kind"), text(role, "name")).into(),
        cells::age(binding, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ])
}

fn default_binding(binding: &mut Value) {
    let role = child_mut(binding, "roleRef");
    if text(role, "apiGroup").is_empty() {
        set(role, "apiGroup", GROUP);
    }
    for subject in items_mut(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") && text(subject, "apiGroup").is_empty() {
            set(subject, "apiGroup", GROUP);
        }
    }
}

fn validate_rules(role: &Value, is_namespaced: bool, errors: &mut Errors) {
    let path = Path::root("rules");
    for (index, rule) in items(role, "rules").iter().enumerate() {
        validate_rule(rule, is_namespaced, &path.index(index), errors);
    }
}

fn validate_rule(rule: &Value, is_namespaced: bool, path: &Path<'_>, errors: &mut Errors) {
    let is_empty = |key: &str| items(rule, key).is_empty();
    if is_empty("verbs") {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if !is_empty("nonResourceURLs") {
        let (path, urls) = (path.child("nonResourceURLs"), member(rule, "nonResourceURLs"));
        if is_namespaced {
            errors.invalid(&path, urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|key| !is_empty(key)) {
            errors.invalid(&path, urls, "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if is_empty("apiGroups") {
        errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if is_empty("resources") {
        errors.required(&path.child("resources"), "resource rules must supply at least one resource");
    }
}

fn validate_cluster_role(role: &Value, errors: &mut Errors) {
    validate_rules(role, false, errors);
    if !has(role, "aggregationRule") {
        return;
    }
    let selectors = items(member(role, "aggregationRule"), "clusterRoleSelectors");
    let path = Path::root("aggregationRule");
    let path = path.child("clusterRoleSelectors");
    if selectors.is_empty() {
        errors.required(&path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (index, wanted) in selectors.iter().enumerate() {
        let path = path.index(index);
        selector::validate(wanted, &path, errors);
        if LabelSelector::from_object(wanted).is_err() {
            errors.invalid_shown(&path, "null", "invalid label selector.");
        }
    }
}

fn validate_binding(binding: &Value, is_namespaced: bool, errors: &mut Errors) {
    let (role, path) = (member(binding, "roleRef"), Path::root("roleRef"));
    let group = text(role, "apiGroup");
    if group != GROUP {
        errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
    }
    let (kind, kinds): (_, &[&str]) =
        (text(role, "kind"), if is_namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] });
    if !kinds.contains(&kind) {
        errors.not_supported(&path.child("kind"), kind, kinds);
    }
    match text(role, "name") {
        "" => errors.required(&path.child("name"), ""),
        name => errors.invalid_each(&path.child("name"), name, names::path_segment(name)),
    }
    let path = Path::root("subjects");
    for (index, subject) in items(binding, "subjects").iter().enumerate() {
        validate_subject(subject, is_namespaced, &path.index(index), errors);
    }
}

fn validate_subject(subject: &Value, is_namespaced: bool, path: &Path<'_>, errors: &mut Errors) {
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.invalid_each(&path.child("name"), name, names::dns_subdomain(name));
            }
            if !group.is_empty() {
                errors.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            if !is_namespaced && text(subject, "namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" if group != GROUP => errors.not_supported(&path.child("apiGroup"), group, &[GROUP]),
        "User" | "Group" => {}
        other => errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

fn validate_same_role(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (member(new, "roleRef"), member(old, "roleRef"));
    if new != old {
        // Upstream shows its internal form.
        let shown = format!(
            "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
            member(new, "apiGroup"),
            member(new, "kind"),
            member(new, "name")
        );
        errors.invalid_shown(&Path::root("roleRef"), &shown, "field is immutable");
    }
}
