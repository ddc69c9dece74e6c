//! The rolling update: node by node, within what may be unavailable or doubled.

use k8s_openapi::api::core::v1::Pod;

use super::nodes::{Fit, name};
use super::view::UpdateStrategy;
use super::{Wait, Walk};
use crate::pods;
use crate::words::is_terminating;

/// What stands on one node: the new and the old pod; `None` if there are two of either.
struct OnNode<'v> {
    node: &'v str,
    runs: bool,
    pods: Option<(Option<&'v Pod>, Option<&'v Pod>)>,
}

/// Replaces pods of older templates.
pub(super) fn roll(walk: &mut Walk<'_>) {
    let UpdateStrategy::RollingUpdate { max_surge, max_unavailable } = walk.set.update_strategy else {
        let outdated = walk.by_node.values().flatten().filter(|pod| !walk.is_updated(pod));
        let names: Vec<_> = outdated.map(|pod| Wait::OnDelete(pods::name(pod).to_owned())).collect();
        walk.plan.waits.extend(names);
        return;
    };
    let desired = pods::count(&walk.nodes, |(_, fit)| *fit == Fit::Runs);
    let (surge, mut unavailable) = (max_surge.rounded_up(desired), max_unavailable.rounded_up(desired));
    if desired > 0 && surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let here = on_nodes(walk);
    if surge == 0 { in_place(walk, &here, unavailable) } else { doubled(walk, &here, surge, desired) }
}

fn on_nodes<'v>(walk: &Walk<'v>) -> Vec<OnNode<'v>> {
    let runs = |wanted: &str| walk.nodes.iter().any(|(node, fit)| name(node) == wanted && *fit == Fit::Runs);
    let mut nodes: Vec<&'v str> = walk.by_node.keys().copied().collect();
    nodes.extend(walk.nodes.iter().filter(|(_, fit)| *fit == Fit::Runs).map(|(node, _)| name(node)));
    nodes.sort_unstable();
    nodes.dedup();
    let look = |node: &'v str| {
        let pods = walk.by_node.get(node).into_iter().flatten().filter(|pod| !is_terminating(&pod.metadata));
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = pods.copied().partition(|pod| walk.is_updated(pod));
        let is_clear = new.len() <= 1 && old.len() <= 1;
        OnNode { node, runs: runs(node), pods: is_clear.then(|| (new.first().copied(), old.first().copied())) }
    };
    nodes.into_iter().map(look).collect()
}

/// The old pod goes, then the new one comes.
fn in_place<'v>(walk: &mut Walk<'v>, here: &[OnNode<'v>], allowed: i32) {
    let mut used = 0;
    let mut candidates = Vec::new();
    for on_node in here {
        match on_node.pods {
            Some((Some(new), None)) => used += i32::from(!walk.is_available(new)),
            // It serves nobody: its replacement costs nothing.
            Some((None, Some(old))) if !walk.is_available(old) => {
                walk.delete.push(old);
                used += 1;
            }
            Some((None, Some(old))) => candidates.push(old),
            None | Some((None, None) | (Some(_), Some(_))) => used += 1,
        }
    }
    let left = usize::try_from(allowed - used).unwrap_or(0);
    if candidates.len() > left {
        walk.plan.waits.push(Wait::BudgetSpent { used, allowed });
    }
    walk.delete.extend(candidates.into_iter().take(left));
}

/// The new pod comes, then the old one goes.
fn doubled<'v>(walk: &mut Walk<'v>, here: &[OnNode<'v>], allowed: i32, desired: i32) {
    let (mut used, mut available) = (0, 0);
    let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
    for on_node in here {
        let Some((new, old)) = on_node.pods else {
            used += 1;
            continue;
        };
        available += i32::from(old.or(new).is_some_and(|pod| walk.is_available(pod)));
        match (new, old) {
            (None, Some(old)) => match (walk.is_available(old), on_node.runs) {
                (false, false) => walk.delete.push(old),
                (false, true) => walk.make.push(on_node.node),
                (true, false) => misplaced.push(old),
                (true, true) => candidates.push(on_node.node),
            },
            (Some(new), Some(old)) if walk.is_available(new) => walk.delete.push(old),
            (Some(_), Some(_)) => used += 1,
            (_, None) => {}
        }
    }
    let spare = usize::try_from(available - desired).unwrap_or(0);
    walk.delete.extend(misplaced.into_iter().take(spare));
    let left = usize::try_from(allowed - used).unwrap_or(0);
    if candidates.len() > left {
        walk.plan.waits.push(Wait::BudgetSpent { used, allowed });
    }
    walk.make.extend(candidates.into_iter().take(left));
}
