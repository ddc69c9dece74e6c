//! Lease.

use api::{Kind, Scope, UpdateOfMissing, UpdateWithoutVersion, resources};
use serde_json::Value;

use super::{Column, KindDef, Needs, Row, Rules, cells};
use crate::tree::{int, member, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path};

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            update_of_missing: UpdateOfMissing::Creates,
            update_without_version: UpdateWithoutVersion::Refused,
            ..Kind::ordinary(resources::LEASES, Scope::Namespaced, "Lease", "LeaseList", "lease")
        },
        columns: const { &[Column::NAME, Column::text("Holder", "Who holds the lease."), Column::AGE] },
        row: |object, now| {
            let holder = text(member(object, "spec"), "holderIdentity");
            Row::of([cells::name(object), holder.into(), cells::age(object, now)])
        },
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules { validate, validate_update: |new, _, errors| validate(new, errors), ..Rules::PLAIN },
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let (spec, path) = (member(object, "spec"), Path::root("spec"));
    if let Some(secs) = int(spec, "leaseDurationSeconds").filter(|secs| *secs <= 0) {
        errors.invalid_int(&path.child("leaseDurationSeconds"), secs, "must be greater than 0");
    }
    validate_non_negative(spec, "leaseTransitions", &path, errors);
}
