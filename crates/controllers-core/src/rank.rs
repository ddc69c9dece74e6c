//! Which pods go first when there are too many.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use meta::Timestamp;

use crate::pods;

/// Annotation: what it costs to delete this pod, compared with its neighbours.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods, those that are missed least first: not bound, not running, not ready, cheap, crowded on their node, ready
/// for a short time, often restarted, young. Ages are compared by powers of two, so that about equally old pods go in
/// no particular order and not always the newest ones.
pub fn first_to_go<'p>(mut pods: Vec<&'p Pod>, neighbours: &BTreeMap<String, usize>, now: Timestamp) -> Vec<&'p Pod> {
    pods.sort_by_cached_key(|pod| {
        let crowd = neighbours.get(pods::node(pod)).copied().unwrap_or(0);
        (
            !pods::node(pod).is_empty(),
            phase_rank(pod),
            pods::is_ready(pod),
            deletion_cost(pod),
            Reverse(crowd),
            pods::ready_since(pod).map(|since| age_rank(Some(since), now)),
            Reverse(restarts(pod)),
            age_rank(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now),
            pods::uid(pod).to_owned(),
        )
    });
    pods
}

fn phase_rank(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let well_formed = |text: &str| text == "0" || !text.trim_start_matches('-').starts_with(['0', '+']);
    let text = pods::annotation(pod, DELETION_COST).filter(|text| well_formed(text) && !text.starts_with('+'));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whole powers of two of nanoseconds; an unknown time counts as no age.
fn age_rank(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let Some(since) = since.filter(|since| *since > Timestamp::MIN) else { return 0 };
    let nanos = now.duration_since(since).as_nanos();
    u128::try_from(nanos).ok().and_then(u128::checked_ilog2).map_or(0, |power| power + 1)
}

/// Restarts of the ordinary container with the most, then of the sidecar with the most.
fn restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let most = |statuses: Option<&Vec<k8s_openapi::api::core::v1::ContainerStatus>>, counts: &dyn Fn(&str) -> bool| {
        statuses.into_iter().flatten().filter(|s| counts(&s.name)).map(|s| s.restart_count).max().unwrap_or(0)
    };
    let inits = || pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let is_sidecar = |name: &str| inits().any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"));
    (
        most(status.and_then(|status| status.container_statuses.as_ref()), &|_| true),
        most(status.and_then(|status| status.init_container_statuses.as_ref()), &is_sidecar),
    )
}
