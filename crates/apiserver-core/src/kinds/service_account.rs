//! ServiceAccount.

use api::{
    ALL_VERBS, CREATE_ONLY, DeleteAnswer, Generation, Kind, Scope, Subresource, UpdateOfMissing, UpdateWithoutVersion,
    resources,
};

use super::{Column, KindDef, Needs, Row, Rules, cells};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            resource: resources::SERVICE_ACCOUNTS,
            kind: "ServiceAccount",
            list_kind: "ServiceAccountList",
            singular: "serviceaccount",
            short_names: &["sa"],
            categories: &[],
            scope: Scope::Namespaced,
            verbs: ALL_VERBS,
            subresources: const {
                &[Subresource {
                    name: "token",
                    kind: "TokenRequest",
                    group_version: Some(("authentication.k8s.io", "v1")),
                    verbs: CREATE_ONLY,
                }]
            },
            stored_as: None,
            delete_answer: DeleteAnswer::Object,
            update_of_missing: UpdateOfMissing::NotFound,
            update_without_version: UpdateWithoutVersion::Unconditional,
            generation: Generation::None,
            selectable_fields: &[],
        },
        columns: const { &[Column::NAME, Column::AGE] },
        row: |object, now| Row::of([cells::name(object), cells::age(object, now)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules::PLAIN,
    }
}
