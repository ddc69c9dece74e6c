//! The StatefulSet planner: what one set needs next, and what each step that is not taken waits for.
//!
//! [`plan`] looks at a [`View`] and returns a [`Plan`]. It follows upstream's controller where clients can see it (the
//! ids `A-…`, `C-…` are statements of `spec/statefulset.md`). Deliberately different: a pod called `web-01` is nobody's
//! slot (C-36); `status.currentReplicas` is counted honestly when an outdated pod is deleted (C-80); conditions in the
//! status that others wrote are left alone (C-76); a stale claim is waited for with a look again (C-62); a lapsed pod
//! reference on a claim is taken off when the policy says Retain (C-69, S5); a Service that does not exist is noted
//! (H-17, U-19); a pod that ended within seconds of its creation is replaced a little later (L2, H-11). Beyond upstream:
//! broken rollouts are healed and updates without progress rolled back where a set's annotations ask for it. Start with
//! [`plan`].

mod claims;
mod figures;
mod heal;
mod plan;
mod pod;
mod report;
mod revision;
mod rollback;
mod slots;
mod status;
mod update;
mod view;
mod wishes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use meta::Timestamp;
use serde_json::{Value, json};

pub use claims::keeps_claim;
pub use figures::{Figures, figures};
pub use plan::{Action, Fact, Plan, Step, Wait, Why};
pub use report::{Failure, report};
pub use revision::{RevisionData, template_of};
pub use rollback::{AVAILABLE_AT, PROGRESS, ROLLED_BACK_AT};
pub use view::{
    CREATIONS_MAX, ClaimFacts, ClaimSlot, ClaimTemplate, Labels, Ordinal, Owner, POD_INDEX_LABEL, POD_NAME_LABEL,
    Phase, PodFacts, PodManagement, REPLACEMENT_AGE_SECS_MIN, REVISION_LABEL, ReadError, Retention, RetentionPolicy,
    RevisionFacts, RollingUpdate, SetFacts, StatusFacts, UpdateStrategy, View,
};
pub use wishes::{
    CLUSTER_NAMESPACE, HEAL_ROLLOUT, HealRollout, ROLLBACK_AFTER, ROLLBACK_AFTER_MIN, UnknownHealRollout,
};

use slots::Walk;
use wishes::Wishes;

/// Decides the next steps for the set in `view` at `now`.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let set = view.set;
    let choice = revision::choose(view);
    let wishes = Wishes::of(set, view.heal_rollout);
    let members: Vec<&PodFacts<'_>> = view.pods.iter().filter(|pod| is_member(pod)).collect();
    let mut walk = Walk::new(view, &choice, &wishes, &members, now);
    if set.deleting && !meta::mutants::is_on("deleted-set-goes-on") {
        return while_deleting(walk, &members);
    }
    if let Some(plan) = take_over(view) {
        return plan;
    }
    let is_free = walk.secure_claims();
    let watch = wishes.rollback_after.map(|limit| rollback::watch(view, &choice, &members, limit, now));
    let watch = watch.unwrap_or_default();
    heal::heal(&mut walk);
    let established = walk.fill_slots();
    let scaled = established && walk.scale_down();
    if scaled {
        update::roll(&mut walk);
    }
    let status_after = status::count(set, &choice, &members, &walk.leaving, now);
    let status = status::write(set, &status_after);
    if let Some(actions) = watch.give_up.filter(|_| status.is_none()) {
        return rollback::plan(view, actions);
    }
    let release = walk.release_set(is_free);
    let Walk { batches, waits, mut notes, retry, look_again, .. } = walk;
    if !view.service_exists {
        notes.push(report::service_missing(set));
    }
    notes.extend(wishes.notes.into_iter().chain(watch.notes));
    let mut live: BTreeSet<&str> =
        [&status_after.current_revision, &status_after.update_revision].into_iter().map(String::as_str).collect();
    for pod in &members {
        // Nearly all pods have one of the two.
        if !live.contains(pod.revision) {
            live.insert(pod.revision);
        }
    }
    if wishes.rollback_after.is_some() {
        live.extend(rollback::last_available(&revision::history(view)).map(|revision| revision.name));
    }
    let mut tidy = Vec::new();
    // The status that stays for now may name a revision that the next one does not (S7).
    if release.is_none() {
        tidy = revision::surplus(view, &live);
        tidy.extend(watch.remember);
    }
    Plan {
        // Both are writes of one object from one state of it.
        status: if release.is_some() { release } else { status },
        tidy,
        prepare: choice.actions,
        batches,
        waits,
        notes,
        look_again: next_look(set, &members, now).into_iter().chain(look_again).chain(watch.look_again).min(),
        retry,
        status_after,
    }
}

/// When the next pod becomes available by time alone (C-7).
fn next_look(set: &SetFacts, members: &[&PodFacts<'_>], now: Timestamp) -> Option<Timestamp> {
    let ready = members.iter().filter(|pod| pod.is_ready());
    ready.filter_map(|pod| pod.available_from(set.min_ready_secs)).filter(|from| *from > now).min()
}

/// Whether a pod is the set's: owned, selected, and with a name that the set gives.
fn is_member(pod: &PodFacts<'_>) -> bool {
    let is_ours = pod.owner == Owner::ThisSet && pod.selected || meta::mutants::is_on("pods-of-others-are-members");
    is_ours && pod.ordinal.is_some()
}

/// A set that is being deleted gets a status, nothing else (C-13); but a policy that was changed before its deletion is
/// carried out first (S5).
fn while_deleting(mut walk: Walk<'_, '_>, members: &[&PodFacts<'_>]) -> Plan {
    let set = walk.set();
    let status_after = status::count(set, walk.choice, members, &walk.leaving, walk.now);
    let mut status = status::write(set, &status_after);
    if set.is_held_for_claims() {
        let is_free = walk.secure_claims();
        status = walk.release_set(is_free).or(status);
    }
    Plan {
        status,
        batches: walk.batches,
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
