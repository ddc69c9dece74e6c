//! The StatefulSet planner: what one set needs next, and what each step that is not taken waits for.
//!
//! [`plan`] looks at a [`View`] and returns a [`Plan`]. It follows upstream's controller where clients can see it (the
//! ids `A-…`, `C-…` are statements of `spec/statefulset.md`). Deliberately different: a pod called `web-01` is nobody's
//! slot (C-36); `status.currentReplicas` is counted honestly when an outdated pod is deleted (C-80); conditions in the
//! status that others wrote are left alone (C-76); a stale claim is waited for with a look again (C-62); a lapsed pod
//! reference on a claim is taken off when the policy says Retain (C-69, S5); a Service that does not exist is noted
//! (H-17, U-19); a pod that ended within seconds of its creation is replaced a little later (L2, H-11). Start with [`plan`].

mod claims;
mod plan;
mod pod;
mod report;
mod revision;
mod slots;
mod status;
mod update;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use meta::Timestamp;
use serde_json::{Value, json};

pub use plan::{Action, Fact, Plan, Step, Wait, Why};
pub use report::{Failure, report};
pub use revision::{RevisionData, template_of};
pub use view::{
    CREATIONS_MAX, ClaimFacts, ClaimTemplate, Labels, Ordinal, Owner, POD_INDEX_LABEL, POD_NAME_LABEL, Phase, PodFacts,
    PodManagement, REPLACEMENT_AGE_SECS_MIN, REVISION_LABEL, ReadError, Retention, RetentionPolicy, RevisionFacts,
    RollingUpdate, SetFacts, Share, StatusFacts, UpdateStrategy, View, missing_slots, wanted_claims,
};

use slots::Walk;

/// Decides the next steps for the set in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let set = view.set;
    let choice = revision::choose(view);
    let members: Vec<&PodFacts<'_>> = view.pods.iter().filter(|pod| is_member(pod)).collect();
    if set.deleting {
        return while_deleting(view, &choice, &members, now);
    }
    if let Some(plan) = take_over(view) {
        return plan;
    }
    let mut walk = Walk::new(view, &choice, &members, now);
    let established = walk.fill_slots();
    let scaled = established && walk.scale_down();
    if scaled {
        update::roll(&mut walk);
    }
    let Walk { batches, waits, mut notes, outdated, retry, look_again, .. } = walk;
    if !view.service_exists {
        notes.push(report::service_missing(set));
    }
    let status_after = status::count(set, &choice, &members, &outdated, now);
    let live: BTreeSet<&str> = [status_after.current_revision.as_str(), status_after.update_revision.as_str()]
        .into_iter()
        .chain(members.iter().map(|pod| pod.revision))
        .collect();
    let look_again = members
        .iter()
        .filter(|pod| pod.is_ready())
        .filter_map(|pod| pod.available_from(set.min_ready_secs))
        .filter(|from| *from > now)
        .chain(look_again)
        .min();
    Plan {
        tidy: revision::surplus(view, &live),
        status: status::write(set, &status_after),
        prepare: choice.actions,
        batches,
        waits,
        notes,
        look_again,
        retry,
        status_after,
    }
}

/// Whether a pod is the set's: owned, selected, and with a name that the set gives.
fn is_member(pod: &PodFacts<'_>) -> bool {
    pod.owner == Owner::ThisSet && pod.selected && pod.ordinal.is_some()
}

/// A set that is being deleted gets a status, nothing else (C-13).
fn while_deleting(view: &View<'_>, choice: &revision::Choice, members: &[&PodFacts<'_>], now: Timestamp) -> Plan {
    let status_after = status::count(view.set, choice, members, &[], now);
    Plan {
        status: status::write(view.set, &status_after),
        waits: vec![Wait { step: Step::All, on: Fact::SetDeleted }],
        status_after,
        ..Plan::default()
    }
}

/// Takes over orphans and lets go of pods that no longer match (section 2.3); everything else waits for the next plan,
/// because each of these writes changes what it would be planned from.
fn take_over(view: &View<'_>) -> Option<Plan> {
    let set = view.set;
    let owners = |found: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
        let mut owners = found.to_vec();
        owners.push(set.owner_reference());
        json!(owners)
    };
    let mut adoptions = Vec::new();
    for revision in view.revisions.iter().filter(|r| r.owner == Owner::Nobody && r.selected && !r.terminating) {
        let patch = patch_owners(&revision.target(), owners(revision.owners));
        adoptions.push(Action::AdoptRevision { revision: revision.target(), patch });
    }
    for pod in view.pods.iter().filter(|pod| pod.owner == Owner::Nobody) {
        if pod.selected && pod.ordinal.is_some() && !pod.terminating {
            let patch = patch_owners(&pod.target(), owners(pod.owners));
            adoptions.push(Action::AdoptPod { pod: pod.target(), patch });
        }
    }
    let releases: Vec<Action> = view
        .pods
        .iter()
        .filter(|pod| pod.owner == Owner::ThisSet && !(pod.selected && pod.ordinal.is_some()))
        .map(|pod| {
            let rest: Vec<_> = pod.owners.iter().filter(|owner| owner.uid != set.uid.0).collect();
            let rest = if rest.is_empty() { Value::Null } else { json!(rest) };
            Action::ReleasePod { pod: pod.target(), patch: patch_owners(&pod.target(), rest) }
        })
        .collect();
    if adoptions.is_empty() && releases.is_empty() {
        return None;
    }
    let mut prepare = Vec::new();
    if !adoptions.is_empty() {
        prepare.push(Action::ConfirmSet { set: set.target() });
    }
    prepare.extend(adoptions);
    prepare.extend(releases);
    Some(Plan {
        prepare,
        waits: vec![Wait { step: Step::All, on: Fact::Adoption }],
        status_after: set.status.clone(),
        ..Plan::default()
    })
}

fn patch_owners(target: &crate::words::Target, owners: Value) -> Value {
    let mut metadata = target.patch_metadata();
    metadata["ownerReferences"] = owners;
    json!({"metadata": metadata})
}
