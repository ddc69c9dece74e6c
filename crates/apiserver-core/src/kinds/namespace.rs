//! Namespace.

use api::{ALL_VERBS_BUT_DELETE_COLLECTION, DeleteAnswer, Kind, Scope, Subresource, Verb, resources};
use meta::Status;
use serde_json::{Value, json};

use super::{Column, DeletionRules, KindDef, Needs, Row, Rules, cells};
use crate::tree::{as_object_mut, copy_member, items, member, object_mut, set, text};
use crate::validate::names;

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Namespaces that may not be deleted (M-2).
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["ns"],
            verbs: ALL_VERBS_BUT_DELETE_COLLECTION,
            subresources: const {
                &[
                    Subresource { name: "finalize", kind: "Namespace", group_version: None, verbs: &[Verb::Update] },
                    Subresource::status("Namespace"),
                ]
            },
            delete_answer: DeleteAnswer::Object,
            selectable_fields: &["status.phase"],
            ..Kind::ordinary(resources::NAMESPACES, Scope::Cluster, "Namespace", "NamespaceList", "namespace")
        },
        columns: const { &[Column::NAME, Column::text("Status", "Whether it is in use or being deleted."), Column::AGE] },
        row: |object, now| {
            Row::of([cells::name(object), text(member(object, "status"), "phase").into(), cells::age(object, now)])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            name: names::dns_label,
            default: label_with_name,
            prepare_create: |object| {
                set(object, "status", json!({ "phase": "Active" }));
                let spec = object_mut(object, "spec");
                let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
                if let Value::Array(finalizers) = finalizers
                    && !finalizers.iter().any(|finalizer| finalizer == "kubernetes")
                {
                    finalizers.push("kubernetes".into());
                }
            },
            prepare_update: |new, old| copy_member(new, old, "spec"),
            deletion: DeletionRules {
                begin: |object| {
                    object_mut(object, "status").insert("phase".to_owned(), "Terminating".into());
                    object_mut(object, "metadata").remove("deletionGracePeriodSeconds");
                },
                is_held: |object| !items(member(object, "spec"), "finalizers").is_empty(),
                may: |object| {
                    let name = text(member(object, "metadata"), "name");
                    match IMMORTAL.contains(&name) {
                        true => {
                            Err(Status::forbidden(&resources::NAMESPACES, name, "this namespace may not be deleted"))
                        }
                        false => Ok(()),
                    }
                },
                ..DeletionRules::PLAIN
            },
            ..Rules::PLAIN
        },
    }
}

fn label_with_name(object: &mut Value) {
    let name = text(member(object, "metadata"), "name").to_owned();
    if name.is_empty() {
        return;
    }
    let labels = object_mut(object, "metadata").entry("labels").or_insert_with(|| json!({}));
    as_object_mut(labels).insert(NAME_LABEL.to_owned(), name.into());
}
