//! Statements of statefulset.md that no other table shows.

use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::json;

use super::super::{Action, RevisionData, figures};
use super::scenario::{add_revision, check, check_status, data, show, world};
use super::world::World;

#[test]
fn orphaned_revisions_are_taken_over_before_pods() {
    // C-21, C-12, C-18: after a live read of the set.
    let mut world = world("replicas=1; 0 ready@old orphan");
    for revision in world.revisions.values_mut() {
        revision["metadata"]["ownerReferences"] = json!(null);
    }
    expect![[r#"
        confirm set
        adopt revision new
        adopt revision old
        adopt web-0
        all waits: pods or revisions are taken over or let go"#]]
    .assert_eq(&show(&world.plan()));
}

#[test]
fn an_adopted_pod_keeps_its_revision_and_one_without_is_outdated() {
    // C-23.
    check(
        "replicas=1; 0 ready@old no-revision",
        expect![[r#"
        1. delete 0 (Outdated)
        update 0 waits: 0 is terminating"#]],
    );
    check(
        "replicas=2; 0 ready@old orphan; 1 ready@new",
        expect![[r#"
        confirm set
        adopt web-0
        all waits: pods or revisions are taken over or let go"#]],
    );
}

#[test]
fn a_terminating_orphan_is_not_adopted_and_a_deleting_set_adopts_and_releases_nothing() {
    // C-13, C-17, C-18.
    check(
        "replicas=1; 0 terminating@new orphan",
        expect![[r#"
        create 0 waits: pod web-0 is not the set's
        retry"#]],
    );
    check(
        "replicas=2 deleting; 0 ready@new orphan; 1 ready@new unlabelled",
        expect!["all waits: the set is being deleted"],
    );
}

#[test]
fn a_revision_of_the_same_name_and_data_is_used_whoever_has_it() {
    // C-30.
    let mut world = world("replicas=1");
    let name = format!("web-{}", data("v2").hash(0));
    add_revision(&mut world, &name, &data("v2"), 1);
    let revision = world.revisions.get_mut(&name).unwrap();
    revision["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    revision["metadata"]["labels"] = json!({});
    let plan = world.plan();
    assert!(plan.prepare.is_empty(), "{}", show(&plan));
    assert_eq!((plan.status_after.update_revision, plan.status_after.collision_count), (name, None));
}

#[test]
fn collisions_are_counted_until_a_name_is_free() {
    // C-30, A-66: the label keeps the hash of the first attempt.
    let mut world = world("replicas=1");
    for count in 0..3 {
        add_revision(&mut world, &format!("web-{}", data("v2").hash(count)), &data(&format!("x{count}")), 1);
    }
    let plan = world.plan();
    assert_eq!(plan.status_after.collision_count, Some(3));
    let Some(Action::CreateRevision { name, body }) = plan.prepare.first() else { panic!("{}", show(&plan)) };
    assert_eq!(*name, format!("web-{}", data("v2").hash(3)));
    assert_eq!(body["metadata"]["labels"]["controller.kubernetes.io/hash"], data("v2").hash(0));
}

#[test]
fn a_revision_carries_the_template_and_the_sets_labels_and_annotations() {
    // A-66, A-67, C-26.
    let mut world = world("replicas=1");
    world.set["metadata"]["annotations"] = json!({"team": "a"});
    add_revision(&mut world, "web-before", &data("v9"), 41);
    let plan = world.plan();
    let Some(Action::CreateRevision { body, .. }) = plan.prepare.first() else { panic!("{}", show(&plan)) };
    expect![[r#"
        {
          "apiVersion": "apps/v1",
          "data": {
            "spec": {
              "template": {
                "$patch": "replace",
                "metadata": {
                  "labels": {
                    "app": "web"
                  }
                },
                "spec": {
                  "containers": [
                    {
                      "image": "v2",
                      "name": "c",
                      "resources": {}
                    }
                  ]
                }
              }
            }
          },
          "kind": "ControllerRevision",
          "metadata": {
            "annotations": {
              "team": "a"
            },
            "labels": {
              "app": "web",
              "controller.kubernetes.io/hash": "754b5b979d"
            },
            "name": "web-754b5b979d",
            "namespace": "default",
            "ownerReferences": [
              {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "StatefulSet",
                "name": "web",
                "uid": "set-1"
              }
            ]
          },
          "revision": 42
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(body).unwrap());
}

#[test]
fn a_long_name_is_cut_in_the_name_of_the_revision() {
    // A-66.
    let mut world = world("replicas=1");
    world.set["metadata"]["name"] = json!("n".repeat(250));
    let plan = world.plan();
    let Some(Action::CreateRevision { name, .. }) = plan.prepare.first() else { panic!("{}", show(&plan)) };
    assert_eq!(*name, format!("{}-{}", "n".repeat(223), data("v2").hash(0)));
}

#[test]
fn only_the_template_is_versioned() {
    // A-68.
    let edits = [
        ("/replicas", json!(5)),
        ("/updateStrategy/rollingUpdate/partition", json!(1)),
        ("/minReadySeconds", json!(10)),
        ("/revisionHistoryLimit", json!(3)),
        ("/persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Delete"})),
        ("/volumeClaimTemplates", json!([{"metadata": {"name": "data"}, "spec": {}}])),
    ];
    for (path, value) in edits {
        let mut world = world("replicas=1; 0 ready@new");
        let before = world.plan().status_after.update_revision;
        world.edit(|spec| {
            let (parent, field) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[field] = value;
        });
        let plan = world.plan();
        assert_eq!(plan.status_after.update_revision, before, "{path}");
        assert!(!plan.actions().any(|action| matches!(action, Action::CreateRevision { .. })), "{path}");
    }
}

#[test]
fn the_stored_current_revision_counts_and_an_unknown_one_is_the_update_revision() {
    // C-31.
    let mut world = world("replicas=2 partition=2; 0 ready@old");
    assert_eq!(world.plan().status_after.current_revision, "web-old");
    world.set["status"]["currentRevision"] = json!("web-gone");
    let status = world.plan().status_after;
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn a_template_that_goes_back_in_the_middle_leaves_the_pods_that_have_it_alone() {
    // C-28, C-33.
    let mut world = world("replicas=3; 0 ready@old; 1 ready@old; 2 ready@new");
    let template = World::spec(1, "v1")["template"].clone();
    world.edit(|spec| spec["template"] = template);
    expect![[r#"
        renumber revision old to 3
        1. delete 2 (Outdated)
        update 2 waits: 2 is terminating"#]]
    .assert_eq(&show(&world.plan()));
}

#[test]
fn a_lost_pod_can_come_back_at_the_old_revision_where_the_block_is_absent() {
    // C-45: the stored count is not yet lower.
    check(
        "replicas=3 no-block current=3; 0 ready@old; 1 ready@old",
        expect![[r#"
        1. create 2 @old
        settle 2 waits: 2 does not exist
        update 1 waits: 2 does not exist
        update 0 waits: 2 does not exist"#]],
    );
    check(
        "replicas=3; 0 ready@old; 1 ready@old",
        expect![[r#"
        1. create 2 @new
        settle 2 waits: 2 does not exist
        update 1 waits: 2 does not exist
        update 0 waits: 2 does not exist"#]],
    );
}

#[test]
fn a_crashing_pod_and_one_on_a_lost_node_are_left_alone() {
    // C-52, C-53.
    for text in ["replicas=2; 0 ready@new; 1 running@new", "replicas=2; 0 ready@new; 1 unknown@new"] {
        for parallel in ["", " parallel"] {
            let plan = world(&text.replacen(';', &format!("{parallel};"), 1)).plan();
            assert!(!plan.actions().any(|action| matches!(action, Action::DeletePod { .. })), "{text}{parallel}");
        }
    }
}

#[test]
fn a_parallel_set_may_scale_and_update_in_one_plan_an_ordered_one_never() {
    // N-54.
    // C-58, C-59: budgets of disruption are not asked.
    check(
        "replicas=2 parallel; 0 ready@old; 1 ready@old; 2 ready@old",
        expect![[r#"
        1. delete 2 (ScaledDown)
        2. delete 1 (Outdated)
        scale down 2 waits: 2 is terminating
        update 1 waits: 1 is terminating
        update 0 waits: 1 is terminating"#]],
    );
    check(
        "replicas=2; 0 ready@old; 1 ready@old; 2 ready@old",
        expect![[r#"
        1. delete 2 (ScaledDown)
        scale down 2 waits: 2 is terminating"#]],
    );
}

#[test]
fn unhealthy_pods_block_nothing_in_a_parallel_set() {
    // C-49.
    check(
        "replicas=4 parallel; 0 running@new; 2 pending@new",
        expect![[r#"
        1. create 1 @new
        2. create 3 @new
        settle 0 waits: 0 is not ready
        settle 1 waits: 1 does not exist
        settle 2 waits: 2 is not ready
        settle 3 waits: 3 does not exist"#]],
    );
}

#[test]
fn minimum_ready_time_paces_updates_and_scaling_down_but_not_on_delete() {
    // C-75g, C-54.
    check(
        "replicas=2 min-ready=30; 0 ready@old; 1 ready@new for=10",
        expect![[r#"
        settle 1 waits: 1 is not available before 2026-01-01T00:00:20Z
        update 0 waits: 1 is not available before 2026-01-01T00:00:20Z
        look again at 2026-01-01T00:00:20Z"#]],
    );
    check(
        "replicas=1 min-ready=30; 0 ready@new for=10; 1 ready@new",
        expect![[r#"
        settle 0 waits: 0 is not available before 2026-01-01T00:00:20Z
        scale down 1 waits: 0 is not available before 2026-01-01T00:00:20Z
        look again at 2026-01-01T00:00:20Z"#]],
    );
    check(
        "replicas=2 on-delete min-ready=30; 0 ready@old; 1 ready@old for=10",
        expect![[r#"
        settle 1 waits: 1 is not available before 2026-01-01T00:00:20Z
        look again at 2026-01-01T00:00:20Z"#]],
    );
}

#[test]
fn availability_is_judged_anew_when_the_minimum_ready_time_changes() {
    // C-85.
    let mut world = world("replicas=1 min-ready=3600; 0 ready@new");
    assert_eq!(world.plan().status_after.available_replicas, 0);
    world.edit(|spec| spec["minReadySeconds"] = json!(0));
    assert_eq!(world.plan().status_after.available_replicas, 1);
}

#[test]
fn completion_asks_for_ready_not_for_available_and_for_every_pod() {
    // C-81, C-82, C-83: OnDelete sets complete too.
    check_status(
        "replicas=2 min-ready=3600; 0 ready@new; 1 ready@new",
        expect!["replicas=2 ready=2 available=0 current=2@new updated=2@new"],
    );
    check_status(
        "replicas=2 on-delete; 0 ready@new; 1 ready@new",
        expect!["replicas=2 ready=2 available=2 current=2@new updated=2@new"],
    );
    check_status(
        "replicas=2 partition=1; 0 ready@old; 1 ready@new",
        expect!["replicas=2 ready=2 available=2 current=1@old updated=1@new"],
    );
    let mut world = world("replicas=0");
    let plan = world.plan();
    world.obey(&plan);
    let status = world.facts().status;
    assert_eq!(status.current_revision, status.update_revision);
    world.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!("v3"));
    let after = world.plan().status_after;
    assert_ne!(after.update_revision, status.update_revision);
    assert_eq!(after.current_revision, after.update_revision, "at once with no replicas");
}

#[test]
fn condemned_and_terminating_pods_are_counted_as_long_as_they_are_there() {
    // C-77 to C-79.
    check_status(
        "replicas=1; 0 ready@new; 1 ready@new; 2 terminating@new",
        expect!["replicas=3 ready=3 available=3 current=2@new updated=2@new"],
    );
    check_status(
        "replicas=3; 0 ready@new; 1 running@new; 2 pending@new",
        expect!["replicas=3 ready=1 available=1 current=3@new updated=3@new"],
    );
}

#[test]
fn the_collision_count_alone_is_no_reason_to_write_and_conditions_of_others_stay() {
    // C-76, A-45.
    let mut world = world("replicas=1; 0 ready@new");
    let plan = world.plan();
    world.obey(&plan);
    assert!(world.plan().status.is_none());
    world.set["status"]["conditions"] = json!([{"type": "mine", "status": "True"}]);
    world.edit(|spec| spec["replicas"] = json!(2));
    let plan = world.plan();
    world.obey(&plan);
    assert_eq!(world.set["status"]["conditions"][0]["type"], "mine");
}

#[test]
fn a_set_without_a_service_works_and_says_so() {
    // H-8, N-30, C-96c.
    let world = world("replicas=1");
    let plan = world.with_view(|view| {
        let view = super::super::View { service_exists: false, ..view.clone() };
        super::super::plan(&view, world.now)
    });
    assert!(plan.actions().any(|action| matches!(action, Action::CreatePod { .. })));
    expect![[r#"service "web" of spec.serviceName does not exist: its pods have no DNS names until it is created"#]]
        .assert_eq(&plan.notes[0].message);
}

#[test]
fn pods_of_an_earlier_set_of_the_name_are_not_touched_and_hold_their_names() {
    // C-24.
    // S2, C-19, C-42: a set that is deleted and made again under another UID while the old pods still stop.
    check(
        "replicas=2; 0 terminating@new foreign; 1 ready@new foreign",
        expect![[r#"
        create 0 waits: pod web-0 is not the set's
        create 1 waits: 0 does not exist
        retry"#]],
    );
    check(
        "replicas=2 parallel; 0 terminating@new foreign",
        expect![[r#"
        1. create 1 @new
        create 0 waits: pod web-0 is not the set's
        settle 1 waits: 1 does not exist
        retry"#]],
    );
}

#[test]
fn the_template_is_compared_by_meaning() {
    // C-27, C-29, H-24: what an older version of us wrote differently is the same revision.
    let mut world = world("replicas=1; 0 ready@new");
    let name = format!("web-{}", data("v2").hash(0));
    let template = &mut world.revisions.get_mut(&name).unwrap()["data"]["spec"]["template"];
    template["metadata"]["creationTimestamp"] = json!(null);
    template["spec"]["hostNetwork"] = json!(false);
    let plan = world.plan();
    assert!(plan.prepare.is_empty(), "{}", show(&plan));
    assert_eq!(plan.status_after.update_revision, name);
    assert_ne!(RevisionData::of_template(World::spec(1, "v3")["template"].clone()), data("v2"));
}

#[test]
fn the_candidates_are_sorted_by_number_then_age_then_name() {
    // C-25: the one with the highest number is the latest.
    let mut world = world("replicas=1");
    add_revision(&mut world, "web-b", &data("v2"), 7);
    add_revision(&mut world, "web-a", &data("v2"), 7);
    let plan = world.plan();
    assert_eq!(plan.status_after.update_revision, "web-b");
    assert!(plan.prepare.is_empty(), "{}", show(&plan));
}

#[test]
fn unavailable_pods_are_counted_beside_how_many_may_be() {
    // C-98.
    let counted = |text: &str| {
        let world = world(text);
        let pods: Vec<Pod> = world.pods.values().map(|pod| Pod::deserialize(pod).unwrap()).collect();
        figures(&world.facts(), &pods, world.now).map(|counted| (counted.max_unavailable, counted.unavailable))
    };
    assert_eq!(counted("replicas=3; 0 ready@new; 1 ready@old; 2 ready@new"), Some((1, 0)));
    assert_eq!(counted("replicas=3; 0 ready@new; 1 pending@new"), Some((1, 2)), "pending, and missing");
    assert_eq!(counted("replicas=2; 0 ready@new; 1 terminating@new"), Some((1, 1)));
    assert_eq!(counted("replicas=1; 0 ready@new; 1 ready@new"), Some((1, 0)), "one too many is no use");
    assert_eq!(counted("replicas=10 max-unavailable=25%"), Some((2, 10)));
    assert_eq!(counted("replicas=1 min-ready=3600; 0 ready@new"), Some((1, 1)), "ready, and not for long enough");
    assert_eq!(counted("replicas=1 on-delete; 0 ready@new"), None, "nothing is updated by itself");
}
