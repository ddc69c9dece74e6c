//! Healing and rollback (docs/decisions/0016; H-16, U-1, U-12).

use expect_test::expect;
use jiff::SignedDuration;
use serde_json::json;

use super::super::{Action, HealRollout, Plan, Why};
use super::scenario::{check, show, world};
use super::world::World;

#[test]
fn a_pod_that_never_became_ready_is_replaced_once_its_revision_is_no_longer_wanted() {
    check(
        "replicas=3 heal; 0 ready@old; 1 ready@old; 2 running@other never",
        expect![[r#"
            1. delete 2 (NeverReady)
            update 2 waits: 2 is terminating
            update 1 waits: 2 is terminating
            update 0 waits: 2 is terminating"#]],
    );
    // One that no node has was certainly never ready.
    check(
        "replicas=2 heal; 0 ready@new; 1 pending@other",
        expect![[r#"
        1. delete 1 (NeverReady)
        update 1 waits: 1 is terminating"#]],
    );
}

#[test]
fn nobody_asked_for_healing_so_the_pod_is_left_to_people() {
    // C-75a, C-96e.
    check(
        "replicas=2; 0 ready@old; 1 running@other never",
        expect![[r#"
        settle 1 waits: 1 is not ready
        update 0 waits: 1 is not ready"#]],
    );
}

#[test]
fn healing_never_touches_a_pod_that_was_ever_ready_or_may_have_been() {
    check(
        "replicas=2 heal; 0 ready@old; 1 running@other ever",
        expect![[r#"
        settle 1 waits: 1 is not ready
        update 0 waits: 1 is not ready"#]],
    );
    check(
        "replicas=2 heal; 0 ready@old; 1 running@other",
        expect![[r#"
        settle 1 waits: 1 is not ready
        update 0 waits: 1 is not ready"#]],
    );
}

#[test]
fn a_pod_of_the_wanted_revision_is_waited_for_however_long_it_takes() {
    check(
        "replicas=2 heal; 0 ready@old; 1 running@new never",
        expect![[r#"
        settle 1 waits: 1 is not ready
        update 0 waits: 1 is not ready"#]],
    );
    check("replicas=2 heal partition=2; 0 ready@old; 1 running@old never", expect!["settle 1 waits: 1 is not ready"]);
}

#[test]
fn a_slot_below_the_partition_is_healed_back_to_the_current_revision() {
    check(
        "replicas=2 heal partition=2; 0 ready@old; 1 running@new never",
        expect![[r#"
        1. delete 1 (NeverReady)
        update 1 waits: 1 is terminating"#]],
    );
    check(
        "replicas=2 heal partition=2 parallel; 0 ready@old; 1 running@new never",
        expect![[r#"
        1. delete 1 (NeverReady)
        update 1 waits: 1 is terminating
        update 0 waits: 0 is below the partition"#]],
    );
}

#[test]
fn healing_does_not_wait_for_other_slots_because_they_may_wait_for_the_broken_pod() {
    check(
        "replicas=3 heal; 0 running@old ever; 1 ready@old; 2 running@other never",
        expect![[r#"
            1. delete 2 (NeverReady)
            update 2 waits: 2 is terminating
            settle 0 waits: 0 is not ready
            update 1 waits: 0 is not ready"#]],
    );
}

#[test]
fn condemned_pods_that_were_never_ready_do_not_wait_for_each_other_where_rollouts_are_healed() {
    // C-55: upstream waits for 1 to be ready before 3 goes, and nothing makes it ready. Seed 7869 of the simulator.
    check(
        "replicas=1; 0 ready@new; 1 running@other never; 2 ready@old; 3 running@other never",
        expect![[r#"
        scale down 3 waits: 3 is not ready
        scale down 2 waits: 3 is terminating
        scale down 1 waits: 3 is terminating"#]],
    );
    check(
        "replicas=1 heal; 0 ready@new; 1 running@other never; 2 ready@old; 3 running@other never",
        expect![[r#"
        1. delete 3 (ScaledDown)
        scale down 3 waits: 3 is terminating
        scale down 2 waits: 3 is terminating
        scale down 1 waits: 3 is terminating"#]],
    );
    // What was ready once may have served somebody: it is left to people.
    check(
        "replicas=1 heal; 0 ready@new; 1 running@other ever; 2 running@other ever",
        expect![[r#"
        scale down 2 waits: 2 is not ready
        scale down 1 waits: 2 is terminating"#]],
    );
}

#[test]
fn with_healing_an_absent_block_counts_as_partition_zero() {
    // C-45 would bring the broken pod back.
    check(
        "replicas=1 heal no-block current=1; 0 running@old never",
        expect![[r#"
        1. delete 0 (NeverReady)
        update 0 waits: 0 is terminating"#]],
    );
    check(
        "replicas=2 heal no-block current=2; 1 ready@old",
        expect![[r#"
        1. create 0 @new
        settle 0 waits: 0 does not exist
        update 1 waits: 0 does not exist"#]],
    );
}

#[test]
fn pods_that_end_or_stop_anyway_are_not_healed() {
    check(
        "replicas=1 heal; 0 failed@other never",
        expect![[r#"
        1. delete 0 (Ended)
        replace 0 waits: 0 is terminating"#]],
    );
    check("replicas=1 heal; 0 terminating@other never", expect!["settle 0 waits: 0 is terminating"]);
}

#[test]
fn the_default_counts_where_the_set_says_nothing_and_bad_values_are_told_and_ignored() {
    let planned = |default: HealRollout, value: Option<&str>| {
        let mut world = world("replicas=2; 0 ready@old; 1 running@other never");
        world.heal_rollout = default;
        if let Some(value) = value {
            world.set["metadata"]["annotations"]["roadstead.dev/heal-rollout"] = json!(value);
        }
        let plan = world.plan();
        let heals = plan.actions().any(|action| matches!(action, Action::DeletePod { why: Why::NeverReady, .. }));
        (heals, plan.notes.iter().map(|note| format!("{} {}", note.reason, note.message)).collect::<Vec<_>>())
    };
    assert_eq!(planned(HealRollout::NeverReady, None), (true, vec![]));
    assert_eq!(planned(HealRollout::NeverReady, Some("off")), (false, vec![]));
    assert_eq!(planned(HealRollout::Off, Some("never-ready")), (true, vec![]));
    let (heals, notes) = planned(HealRollout::Off, Some("always"));
    assert!(!heals);
    expect![[r#"InvalidAnnotation annotation roadstead.dev/heal-rollout is ignored: "always" is neither "never-ready" nor "off""#]].assert_eq(&notes.join("\n"));
    assert!(planned(HealRollout::NeverReady, Some("")).0, "as if it were not there");
}

#[test]
fn a_time_for_rollbacks_that_is_none_is_told_and_ignored() {
    let mut text = String::new();
    for value in ["5m", "90s", "1h30m", "1s", "", "soon", "0s", "-5m", "500ms", "5"] {
        let mut world = world("replicas=1; 0 ready@new");
        world.set["metadata"]["annotations"]["roadstead.dev/rollback-after"] = json!(value);
        let notes: Vec<String> = world.plan().notes.iter().map(|note| note.message.clone()).collect();
        text.push_str(&format!("{value:?}: {}\n", if notes.is_empty() { "good".to_owned() } else { notes.join("; ") }));
    }
    expect![[r#"
        "5m": good
        "90s": good
        "1h30m": good
        "1s": good
        "": annotation roadstead.dev/rollback-after is ignored: "" is not a time of at least one second, such as 5m or 1h30m
        "soon": annotation roadstead.dev/rollback-after is ignored: "soon" is not a time of at least one second, such as 5m or 1h30m
        "0s": annotation roadstead.dev/rollback-after is ignored: "0s" is not a time of at least one second, such as 5m or 1h30m
        "-5m": annotation roadstead.dev/rollback-after is ignored: "-5m" is not a time of at least one second, such as 5m or 1h30m
        "500ms": annotation roadstead.dev/rollback-after is ignored: "500ms" is not a time of at least one second, such as 5m or 1h30m
        "5": annotation roadstead.dev/rollback-after is ignored: "5" is not a time of at least one second, such as 5m or 1h30m
    "#]].assert_eq(&text);
}

/// A set of three with `rollback-after: 5m` that is wholly available at image `v1`.
fn opted_in() -> World {
    let mut world = World::new(World::spec(3, "v1"));
    world.set["metadata"]["annotations"]["roadstead.dev/rollback-after"] = json!("5m");
    quiesce(&mut world);
    world
}

/// Everything happens that can happen without time passing. Pods of image `broken` never become ready, nor does ordinal
/// 1 of image `half`. Gives back what was done.
fn quiesce(world: &mut World) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..200 {
        let names: Vec<String> = world.pods.keys().cloned().collect();
        for name in names {
            let pod = &world.pods[&name];
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
            let is_sound = image != "broken" && !(image == "half" && name == "web-1");
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                world.gone(&name);
            } else if pod["status"]["conditions"][0]["status"] != "True" && pod["spec"]["nodeName"].is_null() {
                world.node(&name, is_sound, "Running");
            }
        }
        let plan = world.plan();
        if plan.is_settled() {
            return done;
        }
        done.extend(plan.actions().map(|action| told(world, action)));
        world.obey(&plan);
    }
    panic!("it never comes to rest: {}", show(&world.plan()));
}

/// An action with the images of revisions instead of their hashes.
fn told(world: &World, action: &Action) -> String {
    let mut text = action.to_string();
    for (name, revision) in &world.revisions {
        let image = revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        text = text.replace(name, image);
    }
    text
}

fn image(world: &mut World, image: &str) {
    world.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!(image));
}

fn pass(world: &mut World, secs: i64) -> Plan {
    world.now += SignedDuration::from_secs(secs);
    world.plan()
}

fn uids(world: &World) -> Vec<String> {
    world.pods.values().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_update_without_progress_returns_to_the_last_wholly_available_revision() {
    let mut world = opted_in();
    let before = uids(&world);
    image(&mut world, "broken");
    quiesce(&mut world);
    assert_eq!(world.pods["web-2"]["spec"]["containers"][0]["image"], "broken");
    let deadline = world.now + SignedDuration::from_secs(300);
    assert_eq!(world.plan().look_again, Some(deadline));
    assert!(pass(&mut world, 299).is_settled(), "not yet");
    world.now = deadline;
    expect![[r#"
        annotate revision broken: {"roadstead.dev/rolled-back-at":"2026-01-01T00:05:00Z"}
        roll back to v1
        renumber revision v1 to 3
        delete 2 (NeverReady)
        write status
        create 2 @v1
        write status
        annotate revision v1: {"roadstead.dev/rollout-progress":"4 of 6 steps since 2026-01-01T00:05:00Z"}
        write status"#]]
    .assert_eq(&quiesce(&mut world).join("\n"));
    assert_eq!(world.set["spec"]["template"]["spec"]["containers"][0]["image"], "v1");
    assert_eq!(world.revisions.len(), 2, "the old revision is used again");
    assert_eq!(uids(&world)[..2], before[..2], "nothing else was touched");
    assert!(world.plan().waits.is_empty(), "wholly available");
}

#[test]
fn the_rollback_is_told_with_the_pod_and_the_time() {
    let mut world = opted_in();
    image(&mut world, "broken");
    quiesce(&mut world);
    let plan = pass(&mut world, 300);
    let set = world.facts();
    let notes: Vec<String> = plan
        .actions()
        .flat_map(|action| super::super::report(&set, action, Ok(()), &[]))
        .map(|note| format!("{:?} {}: {}", note.tone, note.reason, note.message))
        .collect();
    let mut text = notes.join("\n");
    for (name, revision) in &world.revisions {
        let image = revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        text = text.replace(name, image);
    }
    expect!["Warning RolledBack: the update to revision broken made no progress for 5m: pod web-2 is not available; the template is returned to revision v1"].assert_eq(&text);
}

#[test]
fn never_ready_pods_go_first_and_the_updated_ones_in_the_normal_order() {
    let mut world = opted_in();
    image(&mut world, "half");
    quiesce(&mut world);
    pass(&mut world, 300);
    expect![[r#"
        annotate revision half: {"roadstead.dev/rolled-back-at":"2026-01-01T00:05:00Z"}
        roll back to v1
        renumber revision v1 to 3
        delete 1 (NeverReady)
        write status
        create 1 @v1
        write status
        annotate revision v1: {"roadstead.dev/rollout-progress":"2 of 6 steps since 2026-01-01T00:05:00Z"}
        delete 2 (Outdated)
        write status
        annotate revision v1: {"roadstead.dev/rollout-progress":"4 of 6 steps since 2026-01-01T00:05:00Z"}
        create 2 @v1
        write status
        write status"#]]
    .assert_eq(&quiesce(&mut world).join("\n"));
}

#[test]
fn an_update_that_goes_on_slowly_is_not_given_up() {
    let mut world = World::new(World::spec(3, "v1"));
    world.set["metadata"]["annotations"]["roadstead.dev/rollback-after"] = json!("5m");
    quiesce(&mut world);
    image(&mut world, "v2");
    for _ in 0..40 {
        let plan = world.plan();
        assert!(!plan.actions().any(|action| matches!(action, Action::RollBack { .. })), "{}", show(&plan));
        world.obey(&plan);
        // Each pod takes four minutes to stop and four to become ready.
        world.now += SignedDuration::from_secs(240);
        let names: Vec<String> = world.pods.keys().cloned().collect();
        for name in names {
            let pod = &world.pods[&name];
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                world.gone(&name);
            } else if pod["status"]["conditions"][0]["status"] != "True" {
                world.node(&name, true, "Running");
            }
        }
    }
    assert_eq!(world.set["spec"]["template"]["spec"]["containers"][0]["image"], "v2");
    assert!(world.plan().waits.is_empty());
}

#[test]
fn a_pod_that_fails_again_and_again_is_no_progress() {
    let mut world = opted_in();
    image(&mut world, "broken");
    quiesce(&mut world);
    for _ in 0..10 {
        world.node("web-2", false, "Failed");
        world.now += SignedDuration::from_secs(29);
        quiesce(&mut world);
    }
    pass(&mut world, 10);
    quiesce(&mut world);
    assert_eq!(world.set["spec"]["template"]["spec"]["containers"][0]["image"], "v1");
}

#[test]
fn what_fails_at_a_revision_that_was_wholly_available_is_not_the_update() {
    let mut world = opted_in();
    image(&mut world, "v2");
    quiesce(&mut world);
    world.node("web-1", false, "Running");
    assert!(!has_rollback(&pass(&mut world, 3600)), "it was good once");
    quiesce(&mut world);
    world.edit(|spec| spec["replicas"] = json!(5));
    quiesce(&mut world);
    assert!(!has_rollback(&pass(&mut world, 3600)), "nor is a scale-up an update");
}

fn has_rollback(plan: &Plan) -> bool {
    plan.actions().any(|action| matches!(action, Action::RollBack { .. }))
}

#[test]
fn without_a_revision_to_return_to_nothing_is_rolled_back_and_that_is_told() {
    let mut world = World::new(World::spec(2, "broken"));
    world.set["metadata"]["annotations"]["roadstead.dev/rollback-after"] = json!("5m");
    quiesce(&mut world);
    assert!(pass(&mut world, 3600).notes.is_empty(), "a first revision is no update");
    world.heal_rollout = HealRollout::NeverReady;
    world.edit(|spec| spec["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A"}]));
    quiesce(&mut world);
    let plan = pass(&mut world, 3600);
    assert!(plan.is_settled());
    let told: Vec<&str> = plan.notes.iter().map(|note| note.reason).collect();
    assert_eq!(told, ["RollbackImpossible"]);
}

#[test]
fn a_crash_between_the_two_writes_of_a_rollback_loses_nothing() {
    let mut world = opted_in();
    image(&mut world, "broken");
    quiesce(&mut world);
    let plan = pass(&mut world, 300);
    let first = plan.actions().next().unwrap().clone();
    assert!(matches!(first, Action::AnnotateRevision { .. }));
    world.act(&first);
    quiesce(&mut world);
    assert_eq!(world.set["spec"]["template"]["spec"]["containers"][0]["image"], "v1");
}

#[test]
fn a_changed_partition_starts_the_clock_again_and_a_finished_phase_is_not_given_up() {
    let mut world = opted_in();
    world.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(2));
    image(&mut world, "half");
    quiesce(&mut world);
    world.node("web-2", false, "Running");
    assert!(!has_rollback(&pass(&mut world, 3600)), "the phase was done");
    world.node("web-2", true, "Running");
    world.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(0));
    quiesce(&mut world);
    assert!(!has_rollback(&pass(&mut world, 299)));
    assert!(has_rollback(&pass(&mut world, 1)));
}

#[test]
fn a_clock_that_goes_back_is_no_reason_to_write_for_ever_or_to_wait_longer() {
    // S27, L2.
    let mut world = opted_in();
    world.now -= SignedDuration::from_hours(1);
    image(&mut world, "v2");
    quiesce(&mut world);
    assert!(world.plan().is_settled(), "available now, after what was available an hour from now");
    image(&mut world, "broken");
    quiesce(&mut world);
    world.now -= SignedDuration::from_hours(1);
    quiesce(&mut world);
    assert!(!has_rollback(&pass(&mut world, 299)));
    assert!(has_rollback(&pass(&mut world, 1)));
    quiesce(&mut world);
    assert_eq!(world.set["spec"]["template"]["spec"]["containers"][0]["image"], "v2", "the last that was good");
}

#[test]
fn a_revision_that_was_given_up_can_be_tried_again() {
    let mut world = opted_in();
    image(&mut world, "broken");
    quiesce(&mut world);
    pass(&mut world, 300);
    quiesce(&mut world);
    image(&mut world, "broken");
    quiesce(&mut world);
    assert!(!has_rollback(&world.plan()), "with all its time");
    assert!(!has_rollback(&pass(&mut world, 299)));
    assert!(has_rollback(&pass(&mut world, 1)));
}

#[test]
fn the_truncation_of_the_history_spares_the_revision_to_return_to() {
    let mut world = opted_in();
    world.edit(|spec| spec["revisionHistoryLimit"] = json!(0));
    let good = world.facts().status.update_revision;
    world.heal_rollout = HealRollout::NeverReady;
    for env in ["A", "B", "C"] {
        world.edit(|spec| {
            spec["template"]["spec"]["containers"][0]["image"] = json!("broken");
            spec["template"]["spec"]["containers"][0]["env"] = json!([{"name": env}]);
        });
        quiesce(&mut world);
        assert!(world.revisions.contains_key(&good));
    }
}
