//! The walk over the slots and the condemned: creating, replacing, repairing, waiting, scaling down
//! (sections 2.5 to 2.9).

use std::collections::BTreeSet;

use meta::{RETENTION_FINALIZER, Timestamp};
use serde_json::{Value, json};

use super::claims;
use super::heal;
use super::plan::{Action, Fact, Step, Wait, Why};
use super::pod;
use super::revision::{Choice, template_of};
use super::view::{
    CREATIONS_MAX, ClaimFacts, ClaimSlot, Ordinal, POD_INDEX_LABEL, POD_NAME_LABEL, Phase, PodFacts, PodManagement,
    Retention, SetFacts, UpdateStrategy, View,
};
use super::wishes::{HealRollout, Wishes};
use crate::words::Note;

/// Most pods that one batch of a Parallel set works on (section 2.6).
const BATCH_MAX: usize = 500;

/// The state of one planning pass.
pub(super) struct Walk<'v, 'a> {
    pub(super) view: &'v View<'a>,
    pub(super) now: Timestamp,
    pub(super) choice: &'v Choice,
    pub(super) wishes: &'v Wishes,
    /// Member pods by ordinal.
    pub(super) pods: ByOrdinal<'v, 'a>,
    pub(super) batches: Vec<Vec<Vec<Action>>>,
    pub(super) waits: Vec<Wait>,
    pub(super) notes: Vec<Note>,
    /// Slots whose pod the plan deletes because its revision is not the wanted one.
    pub(super) leaving: BTreeSet<Ordinal>,
    /// Claims whose owners have been seen to.
    secured: BTreeSet<ClaimSlot>,
    pub(super) retry: bool,
    /// When time alone lets something go on.
    pub(super) look_again: Option<Timestamp>,
}

/// Member pods by ordinal.
pub(super) struct ByOrdinal<'v, 'a>(Vec<(Ordinal, &'v PodFacts<'a>)>);

impl<'v, 'a> ByOrdinal<'v, 'a> {
    fn new(members: &[&'v PodFacts<'a>]) -> Self {
        let mut pods: Vec<_> = members.iter().filter_map(|pod| Some((pod.ordinal?, *pod))).collect();
        pods.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        Self(pods)
    }

    pub(super) fn get(&self, ordinal: Ordinal) -> Option<&'v PodFacts<'a>> {
        // Mostly there is no gap below it.
        let first = self.0.first()?.0;
        let guess = usize::try_from(i64::from(ordinal.0) - i64::from(first.0)).ok()?;
        let index = match self.0.get(guess) {
            Some((found, _)) if *found == ordinal => guess,
            Some(_) | None => self.0.binary_search_by_key(&ordinal, |(found, _)| *found).ok()?,
        };
        Some(self.0[index].1)
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (Ordinal, &'v PodFacts<'a>)> + '_ {
        self.0.iter().copied()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a slot means for those above it.
enum Slot {
    /// Healthy; go on. With what is to be written for it.
    Fine(Vec<Action>),
    /// Something is done or waited for: in an ordered set nothing else happens.
    Blocks(Vec<Action>),
}

impl<'v, 'a> Walk<'v, 'a> {
    pub(super) fn new(
        view: &'v View<'a>,
        choice: &'v Choice,
        wishes: &'v Wishes,
        members: &[&'v PodFacts<'a>],
        now: Timestamp,
    ) -> Self {
        let pods = ByOrdinal::new(members);
        Self {
            view,
            now,
            choice,
            wishes,
            pods,
            batches: Vec::new(),
            waits: Vec::new(),
            notes: Vec::new(),
            leaving: BTreeSet::new(),
            secured: BTreeSet::new(),
            retry: false,
            look_again: None,
        }
    }

    pub(super) fn set(&self) -> &'v SetFacts {
        self.view.set
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.set().pod_management == PodManagement::OrderedReady
    }

    pub(super) fn wait(&mut self, step: Step, on: Fact) {
        self.waits.push(Wait { step, on });
    }

    pub(super) fn is_available(&self, pod: &PodFacts<'_>) -> bool {
        pod.is_available(self.set().min_ready_secs, self.now)
    }

    /// Takes references off claims that the policy does not ask for any more, before anything else happens and whatever
    /// the state of the pods is: a reference to a pod costs the data when that pod is gone (S5). `true` if there are none
    /// left to the set.
    pub(super) fn secure_claims(&mut self) -> bool {
        let (set, view) = (self.set(), self.view);
        let mut chains = Vec::new();
        let mut is_free = true;
        let owned = |claim: &ClaimFacts<'_>| !claim.owners.is_empty() && !claim.terminating;
        for (slot, claim) in view.claims.iter().filter(|(_, claim)| owned(claim)) {
            let ordinal = slot.ordinal;
            is_free &= claim.owners.iter().all(|owner| owner.uid != set.uid.0);
            let owners = claims::owners(set, claim, ordinal, self.pods.get(ordinal));
            if let Some(wanted) = owners.write.filter(|wanted| claims::is_urgent(claim, wanted)) {
                chains.push(vec![claims::set_owners(ordinal, claim, &wanted)]);
                self.notes.extend(owners.note);
                self.secured.insert(*slot);
            }
        }
        if !chains.is_empty() {
            self.batches.push(chains);
        }
        is_free
    }

    /// Takes the finalizer off that holds the set until its claims are as its policy says; `is_free` if no claim names the
    /// set as an owner.
    pub(super) fn release_set(&self, is_free: bool) -> Option<Action> {
        let set = self.set();
        if !set.is_held_for_claims() || !(is_free || set.retention.when_deleted == Retention::Delete) {
            return None;
        }
        let target = set.target();
        let mut metadata = target.patch_metadata();
        let rest: Vec<_> = set.finalizers.iter().filter(|held| *held != RETENTION_FINALIZER).collect();
        metadata["finalizers"] = if rest.is_empty() { Value::Null } else { json!(rest) };
        Some(Action::ReleaseSet { set: target, patch: json!({"metadata": metadata}) })
    }

    /// Fills and mends the slots; `true` if the pass may go on to scaling down.
    pub(super) fn fill_slots(&mut self) -> bool {
        let set = self.set();
        let mut chains = Vec::new();
        let mut blocked_by = None;
        for ordinal in self.slots() {
            if let Some(on) = blocked_by {
                self.note_blocked(ordinal, on);
                continue;
            }
            let actions = match self.slot(ordinal) {
                Slot::Fine(actions) => actions,
                Slot::Blocks(actions) => {
                    if self.is_ordered() {
                        blocked_by = Some(ordinal);
                    }
                    actions
                }
            };
            if !actions.is_empty() {
                chains.push(actions);
            }
        }
        self.push_batches(chains);
        if let Some(by) = blocked_by {
            let others = self.pods.iter().rev().map(|(ordinal, _)| ordinal);
            let rest: Vec<Ordinal> = others.filter(|other| *other < by || !set.has_slot(*other)).collect();
            for ordinal in rest {
                self.note_blocked(ordinal, by);
            }
        }
        blocked_by.is_none()
    }

    /// The slots to look at, ascending: those with a pod, and the first [`CREATIONS_MAX`] of those without.
    fn slots(&self) -> Vec<Ordinal> {
        let set = self.set();
        let (mut slots, mut next, mut missing) = (Vec::with_capacity(self.pods.len()), set.start, CREATIONS_MAX);
        let present = self.pods.iter().map(|(ordinal, _)| ordinal).filter(|ordinal| set.has_slot(*ordinal));
        for end in present.map(|ordinal| ordinal.0).chain([set.end()]) {
            let gap = (next..end).take(missing).map(Ordinal);
            let before = slots.len();
            slots.extend(gap);
            missing -= slots.len() - before;
            if end < set.end() {
                slots.push(Ordinal(end));
            }
            next = end.saturating_add(1);
        }
        slots
    }

    /// In an ordered set: what is not done for a pod or slot because a slot blocks.
    fn note_blocked(&mut self, ordinal: Ordinal, by: Ordinal) {
        if self.leaving.contains(&ordinal) {
            return;
        }
        let set = self.set();
        let step = match self.pods.get(ordinal) {
            None => Step::Create(ordinal),
            Some(_) if !set.has_slot(ordinal) => Step::ScaleDown(ordinal),
            Some(pod) if self.is_due_for_update(ordinal, pod) => Step::Update(ordinal),
            Some(_) => return,
        };
        let on = match self.pods.get(by) {
            None => Fact::Missing(by),
            Some(pod) => self.unsettled(by, pod).unwrap_or(Fact::StorageMismatch(by)),
        };
        self.wait(step, on);
    }

    /// Whether the rolling update is to replace a slot's pod, sooner or later.
    pub(super) fn is_due_for_update(&self, ordinal: Ordinal, pod: &PodFacts<'_>) -> bool {
        let set = self.set();
        match &set.update_strategy {
            UpdateStrategy::OnDelete => false,
            UpdateStrategy::RollingUpdate(_) => pod.revision != self.choice.update && ordinal >= set.lowest_to_update(),
        }
    }

    /// Ordered: one chain after the other. Parallel: 1, 2, 4, … at once, so that what fails for one fails for few.
    fn push_batches(&mut self, mut chains: Vec<Vec<Action>>) {
        let mut size = 1;
        while !chains.is_empty() {
            let rest = chains.split_off(size.min(chains.len()));
            self.batches.push(std::mem::replace(&mut chains, rest));
            if !self.is_ordered() {
                size = (size * 2).min(BATCH_MAX);
            }
        }
    }

    /// The per-slot procedure (section 2.6).
    fn slot(&mut self, ordinal: Ordinal) -> Slot {
        let Some(pod) = self.pods.get(ordinal) else { return Slot::Blocks(self.fill(ordinal)) };
        if self.leaving.contains(&ordinal) {
            return Slot::Blocks(Vec::new());
        }
        if pod.has_ended() {
            return Slot::Blocks(self.replace(ordinal, pod));
        }
        let mut actions = Vec::new();
        if pod.phase == Phase::Pending {
            match self.claims(ordinal, Some(pod)) {
                Ok(written) => actions.extend(written),
                Err(on) => {
                    self.retry = true;
                    self.wait(Step::Settle(ordinal), on);
                    return Slot::Blocks(Vec::new());
                }
            }
        }
        if let Some(on) = self.unsettled(ordinal, pod) {
            self.wait(Step::Settle(ordinal), on);
            if self.is_ordered() && !meta::mutants::is_on("next-pod-before-last-is-ready") {
                return Slot::Blocks(actions);
            }
        }
        self.mend(ordinal, pod, actions)
    }

    /// Deletes a pod that has ended, so that the slot is filled anew once it is gone (C-42).
    fn replace(&mut self, ordinal: Ordinal, pod: &PodFacts<'_>) -> Vec<Action> {
        let from = pod.replaceable_from();
        if !pod.terminating && from > self.now {
            self.wait(Step::Replace(ordinal), Fact::EndedEarly(ordinal, from));
            self.look_again = Some(self.look_again.map_or(from, |at| at.min(from)));
            return Vec::new();
        }
        self.wait(Step::Replace(ordinal), Fact::Terminating(ordinal));
        if pod.terminating {
            return Vec::new();
        }
        vec![Action::DeletePod { ordinal, pod: pod.target(), why: Why::Ended }]
    }

    /// Why a pod is not yet what an ordered set waits for (C-47).
    fn unsettled(&self, ordinal: Ordinal, pod: &PodFacts<'_>) -> Option<Fact> {
        if pod.terminating || self.leaving.contains(&ordinal) {
            return Some(Fact::Terminating(ordinal));
        }
        if !pod.is_ready() {
            return Some(Fact::NotReady(ordinal));
        }
        if meta::mutants::is_on("min-ready-is-ignored") {
            return None;
        }
        let from = pod.available_from(self.set().min_ready_secs)?;
        (from > self.now).then_some(Fact::NotAvailable(ordinal, from))
    }

    /// Makes a missing slot's claims, then its pod (C-43).
    fn fill(&mut self, ordinal: Ordinal) -> Vec<Action> {
        let set = self.set();
        let name = set.pod_name(ordinal);
        if self.view.taken.contains(name.as_str()) {
            self.retry = true;
            self.wait(Step::Create(ordinal), Fact::NameTaken(name));
            return Vec::new();
        }
        let found = self.slots_of_claims(ordinal).filter_map(|slot| self.view.claims.get(&slot));
        if let Some(claim) = found.into_iter().find(|claim| claims::is_stale(set, claim, &name)) {
            self.retry = true;
            self.wait(Step::Create(ordinal), Fact::ClaimStale(claim.name.to_owned()));
            return Vec::new();
        }
        let mut chain = match self.claims(ordinal, None) {
            Ok(chain) => chain,
            Err(on) => {
                if let Fact::ClaimTerminating(claim) = &on {
                    let error = format!("pvc {claim} is being deleted");
                    self.notes.push(super::report::pod_failed("Create", "FailedCreate", &name, set, &error));
                }
                self.retry = true;
                self.wait(Step::Create(ordinal), on);
                return Vec::new();
            }
        };
        let revision = self.revision_for_new(ordinal).to_owned();
        let body = pod::pod(set, ordinal, &revision, &self.template_for_new(ordinal));
        chain.push(Action::CreatePod { ordinal, name, revision, body });
        self.wait(Step::Settle(ordinal), Fact::Missing(ordinal));
        chain
    }

    /// Makes the slot's missing claims, and sets the owners of those that are there (C-46, C-65).
    fn claims(&mut self, ordinal: Ordinal, pod: Option<&PodFacts<'_>>) -> Result<Vec<Action>, Fact> {
        let set = self.set();
        let mut actions = Vec::new();
        for slot in self.slots_of_claims(ordinal) {
            match self.view.claims.get(&slot) {
                None => {
                    let template = &set.claim_templates[slot.template];
                    let name = set.claim_name(template, ordinal);
                    let body = pod::claim(set, ordinal, template, &claims::owners_of_new(set));
                    actions.push(Action::CreateClaim { ordinal, name, body });
                }
                Some(claim) if claim.terminating => return Err(Fact::ClaimTerminating(claim.name.to_owned())),
                Some(_) => actions.extend(self.claim_owners(slot, pod)),
            }
        }
        Ok(actions)
    }

    /// The write that a claim's owners need. That another controller keeps the policy from being followed is told while
    /// a pod is made or starts, not of every pod for ever (C-68).
    fn claim_owners(&mut self, slot: ClaimSlot, pod: Option<&PodFacts<'_>>) -> Option<Action> {
        let view = self.view;
        let claim = view.claims.get(&slot)?;
        if self.secured.contains(&slot) {
            return None;
        }
        let owners = claims::owners(view.set, claim, slot.ordinal, pod);
        if owners.write.is_some() || pod.is_none_or(|pod| pod.phase == Phase::Pending) {
            self.notes.extend(owners.note);
        }
        owners.write.map(|wanted| claims::set_owners(slot.ordinal, claim, &wanted))
    }

    /// The claims of an ordinal, whether they exist or not.
    fn slots_of_claims(&self, ordinal: Ordinal) -> impl Iterator<Item = ClaimSlot> + use<> {
        (0..self.set().claim_templates.len()).map(move |template| ClaimSlot { ordinal, template })
    }

    /// The name of the revision that a pod of a slot is made from (C-44). Where rollouts are healed an absent
    /// `rollingUpdate` counts like one that says nothing: else a broken pod could come back as it was (C-45).
    pub(super) fn revision_for_new(&self, ordinal: Ordinal) -> &'v str {
        let set = self.set();
        let first_updated = match &set.update_strategy {
            UpdateStrategy::OnDelete => set.start,
            UpdateStrategy::RollingUpdate(None) if self.wishes.heal == HealRollout::NeverReady => set.start,
            UpdateStrategy::RollingUpdate(None) => set.start.saturating_add(set.status.current_replicas.max(0)),
            UpdateStrategy::RollingUpdate(Some(block)) => set.start.saturating_add(block.partition),
        };
        let is_held_back = ordinal.0 < first_updated && !meta::mutants::is_on("new-pods-ignore-partition");
        if is_held_back { &self.choice.current } else { &self.choice.update }
    }

    fn template_for_new(&self, ordinal: Ordinal) -> Value {
        let current = self.choice.current_template.as_ref();
        let template = current.filter(|_| self.revision_for_new(ordinal) == self.choice.current).cloned();
        template.or_else(|| template_of(&self.set().data.value)).unwrap_or_else(|| json!({}))
    }

    /// Puts identity labels and claim owners of an existing pod right (C-50).
    fn mend(&mut self, ordinal: Ordinal, pod: &PodFacts<'_>, mut actions: Vec<Action>) -> Slot {
        let set = self.set();
        if !pod::storage_matches(set, ordinal, pod) {
            let error = "the pod's volumes are not the set's claims, and a pod's volumes cannot be changed";
            self.notes.push(super::report::pod_failed("Update", "FailedUpdate", pod.name, set, error));
            self.wait(Step::Settle(ordinal), Fact::StorageMismatch(ordinal));
            return Slot::Blocks(actions);
        }
        if !pod.identity_matches {
            let target = pod.target();
            let mut metadata = target.patch_metadata();
            metadata["labels"] = json!({POD_NAME_LABEL: pod.name, POD_INDEX_LABEL: ordinal.to_string()});
            actions.push(Action::RepairPod { ordinal, pod: target, patch: json!({"metadata": metadata}) });
        }
        if pod.phase != Phase::Pending {
            actions.extend(self.all_claim_owners(ordinal, pod));
        }
        Slot::Fine(actions)
    }

    fn all_claim_owners(&mut self, ordinal: Ordinal, pod: &PodFacts<'_>) -> Vec<Action> {
        self.slots_of_claims(ordinal).filter_map(|slot| self.claim_owners(slot, Some(pod))).collect()
    }

    /// Deletes what is outside the range, highest first; `true` if the pass may go on to the update (section 2.7).
    pub(super) fn scale_down(&mut self) -> bool {
        let set = self.set();
        let condemned: Vec<_> = self.pods.iter().rev().filter(|(ordinal, _)| !set.has_slot(*ordinal)).collect();
        if condemned.is_empty() {
            return true;
        }
        let mut owners = Vec::new();
        for (ordinal, pod) in &condemned {
            owners.extend(self.all_claim_owners(*ordinal, pod));
        }
        if !owners.is_empty() {
            // The owners decide what becomes of the data, so they are written before any of these pods goes.
            self.batches.push(vec![owners]);
        }
        let first_unavailable = self.first_unavailable(&condemned);
        let mut deletions = Vec::new();
        for (ordinal, pod) in &condemned {
            let deletion = vec![Action::DeletePod { ordinal: *ordinal, pod: pod.target(), why: Why::ScaledDown }];
            let one_at_a_time = self.is_ordered() && !meta::mutants::is_on("scale-down-all-at-once");
            if one_at_a_time && self.waits.iter().any(|wait| matches!(wait.step, Step::ScaleDown(_))) {
                self.wait(Step::ScaleDown(*ordinal), Fact::Terminating(condemned[0].0));
            } else if pod.terminating {
                self.wait(Step::ScaleDown(*ordinal), Fact::Terminating(*ordinal));
            // A pod that has ended will never be ready: waiting for it would be for ever (docs/decisions/0017, C-55). One
            // that healing may take may never be.
            } else if self.is_ordered()
                && !(pod.is_ready() && self.is_available(pod))
                && first_unavailable != Some(*ordinal)
                && !pod.has_ended()
                && !heal::may_take(self, pod)
            {
                let on = self.unsettled(*ordinal, pod).unwrap_or(Fact::NotReady(*ordinal));
                self.wait(Step::ScaleDown(*ordinal), on);
            } else {
                deletions.push(deletion);
                self.wait(Step::ScaleDown(*ordinal), Fact::Terminating(*ordinal));
            }
        }
        self.push_batches(deletions);
        !self.is_ordered()
    }

    /// The lowest slot that is unavailable, else the lowest condemned pod that is (C-40).
    fn first_unavailable(&self, condemned: &[(Ordinal, &PodFacts<'_>)]) -> Option<Ordinal> {
        let set = self.set();
        let unavailable = |pod: &PodFacts<'_>| pod.terminating || !self.is_available(pod);
        let in_range =
            (set.start..set.end()).map(Ordinal).find(|ordinal| self.pods.get(*ordinal).is_none_or(&unavailable));
        in_range.or_else(|| condemned.iter().rev().find(|(_, pod)| unavailable(pod)).map(|(ordinal, _)| *ordinal))
    }
}
