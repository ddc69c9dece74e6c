//! Healing: pods that never became ready, on a revision that is no longer wanted, are replaced (docs/decisions/0016).
//!
//! Upstream leaves such a pod in an ordered set's way until somebody deletes it (C-75a, H-16). It has never served
//! anybody, so its replacement costs no availability and needs no budget; it is not held up by other slots either,
//! because one of those may wait for this very pod.

use super::plan::{Action, Fact, Step, Why};
use super::rollback::is_rolled_back;
use super::slots::Walk;
use super::view::{Ordinal, PodFacts};
use super::wishes::HealRollout;

/// Deletes those pods, all at once.
pub(super) fn heal(walk: &mut Walk<'_, '_>) {
    let broken: Vec<_> = walk.pods.iter().rev().filter(|(ordinal, pod)| is_to_heal(walk, *ordinal, pod)).collect();
    let mut deletions = Vec::new();
    for (ordinal, pod) in broken {
        deletions.push(vec![Action::DeletePod { ordinal, pod: pod.target(), why: Why::NeverReady }]);
        walk.leaving.insert(ordinal);
        walk.wait(Step::Update(ordinal), Fact::Terminating(ordinal));
    }
    if !deletions.is_empty() {
        walk.batches.push(deletions);
    }
}

fn is_to_heal(walk: &Walk<'_, '_>, ordinal: Ordinal, pod: &PodFacts<'_>) -> bool {
    // A Parallel set's update replaces it anyway (C-75c).
    let is_left_to_update = || !walk.is_ordered() && walk.is_due_for_update(ordinal, pod);
    walk.set().has_slot(ordinal)
        && may_take(walk, pod)
        && !pod.terminating
        && !pod.has_ended()
        && pod.revision != walk.revision_for_new(ordinal)
        && !is_left_to_update()
}

/// Whether a pod was never ready and may be taken away for that, once it is not wanted as it is. A condemned pod is not
/// wanted at all: it goes in its turn, whether those below it are ready or not.
pub(super) fn may_take(walk: &Walk<'_, '_>, pod: &PodFacts<'_>) -> bool {
    let is_asked = || match walk.wishes.heal {
        HealRollout::NeverReady => true,
        HealRollout::Off => is_rolled_back(walk.view, pod.revision),
    };
    pod.never_ready && !pod.is_ready() && is_asked()
}
