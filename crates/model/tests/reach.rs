//! Every reachable state of small worlds; the counts are printed. `cargo run --release -p model --example reach` walks
//! larger ones.

use std::time::Duration;

use model::{Bounds, Checked};
use stateright::{Checker as _, Model as _};

/// Nothing happens but what the controller, the scheduler and the nodes do.
const QUIET: Bounds = Bounds {
    ordinals: 2,
    nodes: 2,
    parallel: false,
    heal: false,
    broken: false,
    crashes: 0,
    edits: 0,
    scalings: 0,
    mishaps: 0,
    stale: true,
    forced: false,
};

/// Walks all states, however long that takes, or as many as `limit` says; prints how many there were.
fn check(what: &str, bounds: Bounds, limit: Option<usize>) {
    let mut builder = Checked::new(bounds).checker().threads(2);
    if let Some(limit) = limit {
        builder = builder.target_state_count(limit);
    }
    let checker = builder.spawn_bfs().join();
    println!(
        "{what}: {} states, {} different ones, at most {} steps from the start{}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if limit.is_none() { ", all of them" } else { "" }
    );
    checker.assert_properties();
}

#[test]
fn an_update_survives_crashes_and_stale_reads_in_every_order() {
    check("an update, one crash", Bounds { edits: 1, crashes: 1, ..QUIET }, None);
}

#[test]
fn pods_that_are_deleted_fail_or_are_unready_break_no_promise() {
    check("two mishaps", Bounds { mishaps: 2, ..QUIET }, None);
}

#[test]
fn scaling_down_and_up_again_breaks_no_promise() {
    check("two changes of the replicas", Bounds { scalings: 2, ..QUIET }, None);
}

#[test]
fn a_parallel_set_keeps_the_identity_too() {
    check("parallel, an update, one mishap", Bounds { parallel: true, edits: 1, mishaps: 1, ..QUIET }, Some(200_000));
}

#[test]
fn a_broken_template_is_healed_by_a_good_one_from_every_state() {
    // L4.
    check("a broken template and back", Bounds { heal: true, broken: true, edits: 2, ..QUIET }, None);
}

#[test]
fn three_ordinals_two_revisions_two_nodes_two_crashes_and_stale_reads() {
    check(
        "the large one, as far as it goes",
        Bounds { ordinals: 3, edits: 1, crashes: 2, mishaps: 1, ..QUIET },
        Some(300_000),
    );
}

#[test]
fn a_controller_that_deletes_by_force_is_found_out() {
    let bounds = Bounds { edits: 1, forced: true, ..QUIET };
    let checker = Checked::new(bounds).checker().threads(2).timeout(Duration::from_secs(120)).spawn_bfs().join();
    let path = checker.discovery("S1: at most one running pod of an identity").expect("two pods of one identity");
    println!("two pods of one identity after {} steps: {:?}", path.clone().into_actions().len(), path.into_actions());
}
