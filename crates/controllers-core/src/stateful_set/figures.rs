//! How many pods a set lacks, beside how many its update strategy lets it lack (C-98).

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;

use super::update::max_unavailable;
use super::view::{Owner, PodFacts, SetFacts, UpdateStrategy};

/// What is counted of a set with a rolling update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// How many pods may be unavailable while an update rolls.
    pub max_unavailable: i32,
    /// Slots whose pod is missing, going, or not available.
    pub unavailable: i32,
}

/// Counts a set's pods; others may be among them. `None` for a set that is not updated by itself: it has no such limit.
pub fn figures<'p>(set: &SetFacts, pods: impl IntoIterator<Item = &'p Pod>, now: Timestamp) -> Option<Figures> {
    let block = match &set.update_strategy {
        UpdateStrategy::OnDelete => return None,
        UpdateStrategy::RollingUpdate(block) => block.as_ref(),
    };
    let serves = |pod: &PodFacts<'_>| {
        let is_slot = pod.owner == Owner::ThisSet && pod.ordinal.is_some_and(|ordinal| set.has_slot(ordinal));
        is_slot && !pod.terminating && pod.is_ready() && pod.is_available(set.min_ready_secs, now)
    };
    let available = crate::pods::count(pods.into_iter().map(|pod| PodFacts::of(pod, set)), serves);
    Some(Figures {
        max_unavailable: max_unavailable(block.and_then(|block| block.max_unavailable), set.replicas),
        unavailable: set.replicas.saturating_sub(available),
    })
}
