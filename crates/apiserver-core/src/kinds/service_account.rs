//! ServiceAccount.

use api::{CREATE_ONLY, DeleteAnswer, Kind, Scope, Subresource, resources};

use super::{Column, KindDef, Needs, Row, Rules, cells};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["sa"],
            subresources: const {
                &[Subresource {
                    name: "token",
                    kind: "TokenRequest",
                    group_version: Some(("authentication.k8s.io", "v1")),
                    verbs: CREATE_ONLY,
                }]
            },
            delete_answer: DeleteAnswer::Object,
            ..Kind::ordinary(
                resources::SERVICE_ACCOUNTS,
                Scope::Namespaced,
                "ServiceAccount",
                "ServiceAccountList",
                "serviceaccount",
            )
        },
        columns: const { &[Column::NAME, Column::AGE] },
        row: |object, now| Row::of([cells::name(object), cells::age(object, now)]),
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules::PLAIN,
    }
}
