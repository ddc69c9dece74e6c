//! The rolling update (section 2.10).

use super::plan::{Action, Fact, Step, Why};
use super::slots::Walk;
use super::view::{Ordinal, UpdateStrategy};
use crate::share::Share;

/// Deletes outdated pods from the highest ordinal down to the partition, within what may be unavailable.
pub(super) fn roll(walk: &mut Walk<'_, '_>) {
    let set = walk.set();
    let outdated: Vec<Ordinal> = walk
        .pods
        .iter()
        .rev()
        .filter(|(ordinal, pod)| set.has_slot(*ordinal) && pod.revision != walk.choice.update)
        .map(|(ordinal, _)| ordinal)
        .collect();
    if outdated.is_empty() {
        return;
    }
    let UpdateStrategy::RollingUpdate(block) = &set.update_strategy else {
        for ordinal in outdated {
            walk.wait(Step::Update(ordinal), Fact::OnDelete(ordinal));
        }
        return;
    };
    let lowest =
        if meta::mutants::is_on("update-ignores-partition") { Ordinal(set.start) } else { set.lowest_to_update() };
    let allowed = max_unavailable(block.as_ref().and_then(|block| block.max_unavailable), set.replicas);
    let mut unavailable = count_unavailable(walk);
    let outdated: Vec<Ordinal> =
        if meta::mutants::is_on("update-lowest-first") { outdated.into_iter().rev().collect() } else { outdated };
    for ordinal in outdated {
        let Some(pod) = walk.pods.get(ordinal) else { continue };
        if ordinal < lowest {
            walk.wait(Step::Update(ordinal), Fact::Partition(ordinal));
            continue;
        }
        if walk.leaving.contains(&ordinal) {
            continue;
        }
        // One that has ended is replaced already (C-42).
        if pod.terminating || pod.has_ended() {
            walk.wait(Step::Update(ordinal), Fact::Terminating(ordinal));
            continue;
        }
        // A Parallel set replaces a broken outdated pod whatever the budget: it serves nobody (C-75c). In an ordered
        // set the walk over the slots has stopped before (C-75a).
        let is_broken = !walk.is_ordered() && !walk.is_available(pod);
        if !is_broken {
            if unavailable >= allowed && !meta::mutants::is_on("update-ignores-budget") {
                let on = blocker(walk, unavailable, allowed);
                walk.wait(Step::Update(ordinal), on);
                continue;
            }
            unavailable += 1;
        }
        walk.leaving.insert(ordinal);
        walk.batches.push(vec![vec![Action::DeletePod { ordinal, pod: pod.target(), why: Why::Outdated }]]);
        walk.wait(Step::Update(ordinal), Fact::Terminating(ordinal));
    }
}

/// The one pod that the update waits for, or the budget if there are several.
fn blocker(walk: &Walk<'_, '_>, unavailable: i32, allowed: i32) -> Fact {
    let set = walk.set();
    let mut waiting = walk.pods.iter().rev().filter(|(ordinal, pod)| {
        set.has_slot(*ordinal) && (pod.terminating || !walk.is_available(pod) || walk.leaving.contains(ordinal))
    });
    match (waiting.next(), waiting.next()) {
        (Some((ordinal, pod)), None) if pod.terminating || walk.leaving.contains(&ordinal) => {
            Fact::Terminating(ordinal)
        }
        (Some((ordinal, _)), None) => Fact::NotReady(ordinal),
        (None | Some(_), _) => Fact::BudgetSpent { unavailable, allowed },
    }
}

/// Slots whose pod is missing, terminating or not available (C-39), below the partition too (C-75b).
fn count_unavailable(walk: &Walk<'_, '_>) -> i32 {
    let set = walk.set();
    let available = walk
        .pods
        .iter()
        .filter(|(ordinal, pod)| set.has_slot(*ordinal) && !pod.terminating && walk.is_available(pod))
        .count();
    set.replicas.saturating_sub(i32::try_from(available).unwrap_or(i32::MAX))
}

/// `maxUnavailable` as a count: percents are rounded down, at least 1 (C-75b).
pub(super) fn max_unavailable(share: Option<Share>, replicas: i32) -> i32 {
    share.map_or(1, |share| share.rounded_down(replicas)).max(1)
}
