//! Scenarios of the planner: a set, its pods, and the plan for them.

use expect_test::expect;
use serde_json::{Value, json};

use super::super::Action;
use super::super::revision::RevisionData;
use super::scenario::{add_revision, check, check_status, data, show, world};
use super::world::World;

#[test]
fn a_new_set_gets_its_revision_and_its_first_pod() {
    // C-37.
    check(
        "replicas=3",
        expect![[r#"
        create revision new
        1. create 0 @new
        settle 0 waits: 0 does not exist
        create 1 waits: 0 does not exist
        create 2 waits: 0 does not exist"#]],
    );
}

#[test]
fn waits_while_a_lower_ordinal_is_pending() {
    // C-47.
    check(
        "replicas=3; 0 ready@new; 1 pending",
        expect![[r#"
        settle 1 waits: 1 is not ready
        create 2 waits: 1 is not ready"#]],
    );
}

#[test]
fn creates_the_next_slot_when_all_below_are_ready() {
    check(
        "replicas=3; 0 ready@new; 1 ready@new",
        expect![[r#"
        1. create 2 @new
        settle 2 waits: 2 does not exist"#]],
    );
}

#[test]
fn a_missing_lower_slot_is_filled_although_a_higher_pod_is_broken() {
    // C-48.
    check(
        "replicas=3; 1 running@new; 2 ready@new",
        expect![[r#"
        1. create 0 @new
        settle 0 waits: 0 does not exist"#]],
    );
}

#[test]
fn claims_come_before_the_pod_and_existing_ones_are_used() {
    // C-43, C-60, C-67.
    check(
        "replicas=2 claims",
        expect![[r#"
        create revision new
        1. create claim data-web-0, create 0 @new
        settle 0 waits: 0 does not exist
        create 1 waits: 0 does not exist"#]],
    );
    check(
        "replicas=2 claims claim=data-web-0",
        expect![[r#"
        create revision new
        1. create 0 @new
        settle 0 waits: 0 does not exist
        create 1 waits: 0 does not exist"#]],
    );
    check(
        "replicas=2 claims claim=data-web-0 deleted=Delete",
        expect![[r#"
        create revision new
        1. set owners of claim data-web-0, create 0 @new
        settle 0 waits: 0 does not exist
        create 1 waits: 0 does not exist"#]],
    );
}

#[test]
fn a_terminating_claim_holds_the_slot() {
    // C-46.
    check(
        "replicas=1 claims claim-terminating=data-web-0",
        expect![[r#"
        create revision new
        create 0 waits: claim data-web-0 is terminating
        Warning FailedCreate: Create Pod web-0 in StatefulSet web failed error: pvc data-web-0 is being deleted
        retry"#]],
    );
}

#[test]
fn a_claim_of_an_earlier_pod_holds_the_slot_only_if_the_policy_deletes() {
    // C-62.
    check(
        "replicas=1 claims scaled=Delete claim-of-pod=data-web-0",
        expect![[r#"
        create revision new
        create 0 waits: claim data-web-0 belongs to an earlier pod
        retry"#]],
    );
    check(
        "replicas=1 claims scaled=Retain claim-of-pod=data-web-0",
        expect![[r#"
            create revision new
            1. set owners of claim data-web-0
            2. create 0 @new
            settle 0 waits: 0 does not exist"#]],
    );
}

#[test]
fn minimum_ready_time_paces_creation() {
    // C-7, C-39, C-47.
    check(
        "replicas=2 min-ready=30; 0 ready@new for=10",
        expect![[r#"
        settle 0 waits: 0 is not available before 2026-01-01T00:00:20Z
        create 1 waits: 0 is not available before 2026-01-01T00:00:20Z
        look again at 2026-01-01T00:00:20Z"#]],
    );
    check(
        "replicas=2 min-ready=30; 0 ready@new for=29",
        expect![[r#"
        settle 0 waits: 0 is not available before 2026-01-01T00:00:01Z
        create 1 waits: 0 is not available before 2026-01-01T00:00:01Z
        look again at 2026-01-01T00:00:01Z"#]],
    );
    check(
        "replicas=2 min-ready=30; 0 ready@new for=30",
        expect![[r#"
        1. create 1 @new
        settle 1 waits: 1 does not exist"#]],
    );
}

#[test]
fn a_terminating_slot_is_waited_for() {
    // C-47, N-42, N-45.
    check("replicas=3; 0 ready@new; 1 terminating@new; 2 ready@new", expect!["settle 1 waits: 1 is terminating"]);
}

#[test]
fn an_ended_pod_is_deleted_and_nothing_else_happens_in_order() {
    // C-42.
    check(
        "replicas=3; 0 ready@new; 1 failed@new",
        expect![[r#"
        1. delete 1 (Ended)
        replace 1 waits: 1 is terminating
        create 2 waits: 1 is not ready"#]],
    );
    check(
        "replicas=3; 0 ready@new; 1 succeeded@new",
        expect![[r#"
        1. delete 1 (Ended)
        replace 1 waits: 1 is terminating
        create 2 waits: 1 is not ready"#]],
    );
    check(
        "replicas=3; 0 ready@new; 1 failed@new terminating",
        expect![[r#"
        replace 1 waits: 1 is terminating
        create 2 waits: 1 is terminating"#]],
    );
}

#[test]
fn a_parallel_set_fills_all_slots_in_growing_batches() {
    check(
        "replicas=5 parallel; 1 pending@new",
        expect![[r#"
        1. create 0 @new
        2. create 2 @new
        2. create 3 @new
        3. create 4 @new
        settle 0 waits: 0 does not exist
        settle 1 waits: 1 is not ready
        settle 2 waits: 2 does not exist
        settle 3 waits: 3 does not exist
        settle 4 waits: 4 does not exist"#]],
    );
}

#[test]
fn scale_down_goes_highest_first_one_at_a_time() {
    // C-35, C-54.
    check(
        "replicas=1; 0 ready@new; 1 ready@new; 2 ready@new",
        expect![[r#"
        1. delete 2 (ScaledDown)
        scale down 2 waits: 2 is terminating
        scale down 1 waits: 2 is terminating"#]],
    );
    check(
        "replicas=1; 0 ready@new; 1 ready@new; 2 terminating@new",
        expect![[r#"
        scale down 2 waits: 2 is terminating
        scale down 1 waits: 2 is terminating"#]],
    );
    check(
        "replicas=1; 0 running@new; 1 ready@new; 2 ready@new",
        expect![[r#"
        settle 0 waits: 0 is not ready
        scale down 2 waits: 0 is not ready
        scale down 1 waits: 0 is not ready"#]],
    );
}

#[test]
fn a_broken_top_pod_can_be_scaled_away_but_not_one_above_another_broken_one() {
    // C-40, C-55.
    check(
        "replicas=1; 0 ready@new; 1 ready@new; 2 running@new",
        expect![[r#"
        1. delete 2 (ScaledDown)
        scale down 2 waits: 2 is terminating
        scale down 1 waits: 2 is terminating"#]],
    );
    check(
        "replicas=0; 0 running@new; 1 running@new; 2 running@new",
        expect![[r#"
        scale down 2 waits: 2 is not ready
        scale down 1 waits: 2 is terminating
        scale down 0 waits: 2 is terminating"#]],
    );
    // One that has ended will never be ready.
    check(
        "replicas=0; 0 failed@new; 1 failed@new",
        expect![[r#"
        1. delete 1 (ScaledDown)
        scale down 1 waits: 1 is terminating
        scale down 0 waits: 1 is terminating"#]],
    );
}

#[test]
fn a_parallel_set_scales_down_all_at_once_whatever_their_health() {
    // C-56.
    check(
        "replicas=1 parallel; 0 running@new; 1 running@new; 2 ready@new",
        expect![[r#"
        1. delete 2 (ScaledDown)
        2. delete 1 (ScaledDown)
        settle 0 waits: 0 is not ready
        scale down 2 waits: 2 is terminating
        scale down 1 waits: 1 is terminating"#]],
    );
}

#[test]
fn a_moved_range_fills_the_new_slots_before_the_old_go() {
    // C-34, C-41.
    check(
        "replicas=2 start=2; 0 ready@new; 1 ready@new",
        expect![[r#"
            1. create 2 @new
            settle 2 waits: 2 does not exist
            create 3 waits: 2 does not exist
            scale down 1 waits: 2 does not exist
            scale down 0 waits: 2 does not exist"#]],
    );
    check(
        "replicas=2 start=2; 0 ready@new; 1 ready@new; 2 ready@new; 3 ready@new",
        expect![[r#"
        1. delete 1 (ScaledDown)
        scale down 1 waits: 1 is terminating
        scale down 0 waits: 1 is terminating"#]],
    );
}

#[test]
fn retention_owners_are_written_before_a_condemned_pod_goes() {
    // C-12.
    check(
        "replicas=1 claims scaled=Delete claim=data-web-0 claim=data-web-1; 0 ready@new; 1 ready@new",
        expect![[r#"
            1. set owners of claim data-web-1
            2. delete 1 (ScaledDown)
            scale down 1 waits: 1 is terminating"#]],
    );
    check(
        "replicas=1 claims deleted=Delete claim=data-web-0; 0 ready@new",
        expect!["1. set owners of claim data-web-0"],
    );
    check("replicas=1 claims deleted=Delete claim-of-other=data-web-0; 0 ready@new", expect![""]);
    check("replicas=1 claims claim-of-other=data-web-0; 0 ready@new", expect![""]);
}

#[test]
fn the_update_goes_from_the_highest_ordinal_down() {
    // C-75.
    check(
        "replicas=3; 0 ready@old; 1 ready@old; 2 ready@old",
        expect![[r#"
        1. delete 2 (Outdated)
        update 2 waits: 2 is terminating
        update 1 waits: 2 is terminating
        update 0 waits: 2 is terminating"#]],
    );
    check(
        "replicas=3; 0 ready@old; 1 ready@old; 2 pending@new",
        expect![[r#"
        settle 2 waits: 2 is not ready
        update 1 waits: 2 is not ready
        update 0 waits: 2 is not ready"#]],
    );
    check(
        "replicas=3; 0 ready@old; 1 ready@old; 2 ready@new",
        expect![[r#"
        1. delete 1 (Outdated)
        update 1 waits: 1 is terminating
        update 0 waits: 1 is terminating"#]],
    );
    check(
        "replicas=3; 0 ready@old; 1 ready@old; 2 terminating@old",
        expect![[r#"
        settle 2 waits: 2 is terminating
        update 1 waits: 2 is terminating
        update 0 waits: 2 is terminating"#]],
    );
}

#[test]
fn the_partition_holds_lower_slots_and_counts_from_the_start_ordinal() {
    // C-75, C-97.
    check(
        "replicas=3 partition=2; 0 ready@old; 1 ready@old; 2 ready@old",
        expect![[r#"
        1. delete 2 (Outdated)
        update 2 waits: 2 is terminating
        update 1 waits: 1 is below the partition
        update 0 waits: 0 is below the partition"#]],
    );
    check(
        "replicas=3 start=5 partition=1; 5 ready@old; 6 ready@old; 7 ready@new",
        expect![[r#"
        1. delete 6 (Outdated)
        update 6 waits: 6 is terminating
        update 5 waits: 5 is below the partition"#]],
    );
    check(
        "replicas=3 partition=7; 0 ready@old; 1 ready@old; 2 ready@old",
        expect![[r#"
        update 2 waits: 2 is below the partition
        update 1 waits: 1 is below the partition
        update 0 waits: 0 is below the partition"#]],
    );
}

#[test]
fn a_lost_pod_comes_back_at_the_revision_of_its_side_of_the_partition() {
    // C-44, C-75f.
    check(
        "replicas=3 partition=2; 1 ready@old; 2 ready@new",
        expect![[r#"
        1. create 0 @old
        settle 0 waits: 0 does not exist"#]],
    );
    check(
        "replicas=3 partition=0; 1 ready@old; 2 ready@new",
        expect![[r#"
            1. create 0 @new
            settle 0 waits: 0 does not exist
            update 1 waits: 0 does not exist"#]],
    );
    check(
        "replicas=3 no-block current=1; 1 ready@old; 2 ready@new",
        expect![[r#"
            1. create 0 @old
            settle 0 waits: 0 does not exist
            update 1 waits: 0 does not exist"#]],
    );
    check(
        "replicas=3 no-block current=0; 1 ready@old; 2 ready@new",
        expect![[r#"
            1. create 0 @new
            settle 0 waits: 0 does not exist
            update 1 waits: 0 does not exist"#]],
    );
    check(
        "replicas=3 on-delete; 1 ready@old; 2 ready@new",
        expect![[r#"
        1. create 0 @new
        settle 0 waits: 0 does not exist"#]],
    );
}

#[test]
fn an_update_in_order_stays_behind_a_broken_pod() {
    // C-48, C-75a.
    check(
        "replicas=3; 0 ready@old; 1 ready@old; 2 running@other",
        expect![[r#"
        settle 2 waits: 2 is not ready
        update 1 waits: 2 is not ready
        update 0 waits: 2 is not ready"#]],
    );
}

#[test]
fn a_parallel_set_replaces_broken_outdated_pods_without_budget() {
    // C-75a, C-75c, C-75d.
    check(
        "replicas=4 parallel max-unavailable=2; 0 running@old; 1 running@old; 2 ready@old; 3 ready@old",
        expect![[r#"
            1. delete 1 (Outdated)
            2. delete 0 (Outdated)
            settle 0 waits: 0 is not ready
            settle 1 waits: 1 is not ready
            update 3 waits: 2 of 2 are unavailable
            update 2 waits: 2 of 2 are unavailable
            update 1 waits: 1 is terminating
            update 0 waits: 0 is terminating"#]],
    );
    check(
        "replicas=5 parallel max-unavailable=3; 0 running@old; 1 running@old; 2 ready@old; 3 ready@old; 4 ready@old",
        expect![[r#"
            1. delete 4 (Outdated)
            2. delete 1 (Outdated)
            3. delete 0 (Outdated)
            settle 0 waits: 0 is not ready
            settle 1 waits: 1 is not ready
            update 4 waits: 4 is terminating
            update 3 waits: 3 of 3 are unavailable
            update 2 waits: 3 of 3 are unavailable
            update 1 waits: 1 is terminating
            update 0 waits: 0 is terminating"#]],
    );
    check(
        "replicas=4 parallel partition=2 max-unavailable=1; 0 ready@old; 1 running@old; 2 ready@old; 3 ready@old",
        expect![[r#"
            settle 1 waits: 1 is not ready
            update 3 waits: 1 is not ready
            update 2 waits: 1 is not ready
            update 1 waits: 1 is below the partition
            update 0 waits: 0 is below the partition"#]],
    );
    check(
        "replicas=4 max-unavailable=2; 0 running@old; 1 running@old; 2 ready@old; 3 ready@old",
        expect![[r#"
            settle 0 waits: 0 is not ready
            update 1 waits: 0 is not ready
            update 2 waits: 0 is not ready
            update 3 waits: 0 is not ready"#]],
    );
}

#[test]
fn several_pods_update_at_once_within_the_budget() {
    // C-39, C-75b.
    check(
        "replicas=5 max-unavailable=2; 0 ready@old; 1 ready@old; 2 ready@old; 3 ready@old; 4 ready@old",
        expect![[r#"
        1. delete 4 (Outdated)
        2. delete 3 (Outdated)
        update 4 waits: 4 is terminating
        update 3 waits: 3 is terminating
        update 2 waits: 2 of 2 are unavailable
        update 1 waits: 2 of 2 are unavailable
        update 0 waits: 2 of 2 are unavailable"#]],
    );
    check(
        "replicas=5 max-unavailable=50%; 0 ready@old; 1 ready@old; 2 ready@old; 3 ready@old; 4 ready@new",
        expect![[r#"
        1. delete 3 (Outdated)
        2. delete 2 (Outdated)
        update 3 waits: 3 is terminating
        update 2 waits: 2 is terminating
        update 1 waits: 2 of 2 are unavailable
        update 0 waits: 2 of 2 are unavailable"#]],
    );
    check(
        "replicas=5 max-unavailable=10%; 0 ready@old; 1 ready@old; 2 ready@old; 3 ready@old; 4 ready@old",
        expect![[r#"
        1. delete 4 (Outdated)
        update 4 waits: 4 is terminating
        update 3 waits: 4 is terminating
        update 2 waits: 4 is terminating
        update 1 waits: 4 is terminating
        update 0 waits: 4 is terminating"#]],
    );
}

#[test]
fn on_delete_waits_for_somebody() {
    // C-74, C-97.
    check(
        "replicas=2 on-delete; 0 ready@old; 1 ready@old",
        expect![[r#"
        update 1 waits: 1 has to be deleted by somebody
        update 0 waits: 0 has to be deleted by somebody"#]],
    );
}

#[test]
fn orphans_are_taken_over_and_strangers_let_go_before_anything_else() {
    // C-17, C-18, C-20.
    check(
        "replicas=2; 0 ready@new orphan; 1 ready@new",
        expect![[r#"
        confirm set
        adopt web-0
        all waits: pods or revisions are taken over or let go"#]],
    );
    check(
        "replicas=2; 0 ready@new unlabelled; 1 ready@new",
        expect![[r#"
        release web-0
        all waits: pods or revisions are taken over or let go"#]],
    );
    check(
        "replicas=2; 0 ready@new foreign; 1 ready@new",
        expect![[r#"
        create 0 waits: pod web-0 is not the set's
        retry"#]],
    );
}

#[test]
fn a_wrong_name_label_is_repaired_and_wrong_volumes_are_reported() {
    // C-50, C-51.
    check("replicas=1; 0 ready@new misnamed", expect!["1. repair 0"]);
    check(
        "replicas=2 claims claim=data-web-0; 0 ready@new no-volumes",
        expect![[r#"
        settle 0 waits: 0 has other volumes
        create 1 waits: 0 has other volumes
        Warning FailedUpdate: Update Pod web-0 in StatefulSet web failed error: the pod's volumes are not the set's claims, and a pod's volumes cannot be changed"#]],
    );
}

#[test]
fn a_set_that_is_being_deleted_gets_a_status_only() {
    // C-13, C-96.
    check("replicas=3 deleting; 0 failed@new", expect!["all waits: the set is being deleted"]);
}

#[test]
fn the_status_counts_what_is_there() {
    // C-77, C-78, C-79, C-80.
    check_status("replicas=3", expect!["replicas=0 ready=0 available=0 current=0@new updated=0@new"]);
    check_status(
        "replicas=3; 0 ready@new; 1 pending@new",
        expect!["replicas=2 ready=1 available=1 current=2@new updated=2@new"],
    );
    check_status(
        "replicas=3; 0 ready@old; 1 ready@old; 2 ready@old",
        expect!["replicas=3 ready=3 available=3 current=2@old updated=0@new"],
    );
    check_status(
        "replicas=3; 0 ready@old; 1 ready@old; 2 ready@new",
        expect!["replicas=3 ready=3 available=3 current=1@old updated=1@new"],
    );
    check_status(
        "replicas=3; 0 ready@new; 1 ready@new; 2 ready@new",
        expect!["replicas=3 ready=3 available=3 current=3@new updated=3@new"],
    );
    check_status(
        "replicas=2 on-delete; 0 ready@old; 1 ready@new",
        expect!["replicas=2 ready=2 available=2 current=1@old updated=1@new"],
    );
    check_status(
        "replicas=2 min-ready=10; 0 ready@new for=5; 1 ready@new",
        expect!["replicas=2 ready=2 available=1 current=2@new updated=2@new"],
    );
    check_status(
        "replicas=2; 0 terminating@new; 1 ready@new",
        expect!["replicas=2 ready=2 available=2 current=1@new updated=1@new"],
    );
    check_status(
        "replicas=0; 0 terminating@old",
        expect!["replicas=1 ready=1 available=1 current=0@old updated=0@new"],
    );
    check_status(
        "replicas=3 start=1; 0 ready@new; 1 ready@new",
        expect!["replicas=2 ready=2 available=2 current=2@new updated=2@new"],
    );
}

#[test]
fn the_hash_is_upstreams() {
    // A-67, A-69.
    let data = RevisionData::of_template(json!({
        "metadata": {"labels": {"app": "demo"}, "creationTimestamp": null},
        "spec": {
            "containers": [{"image": "nginx", "imagePullPolicy": "Always", "name": "c", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
    }));
    expect![[r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"demo"}},"spec":{"containers":[{"image":"nginx","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}}"#]].assert_eq(data.encoded());
    // A-70.
    assert_eq!([data.hash(0), data.hash(1), data.hash(2)], ["5d4598b68c", "5d4598b68b", "5d4598b689"]);
}

#[test]
fn spelled_out_zero_values_and_escapes_do_not_make_another_revision() {
    // C-29.
    let plain = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "c", "image": "i", "args": ["<&>"], "env": [{"name": "A"}],
         "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "X", "value": ""}]}}}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/", "type": ""}}]}});
    let spelled = json!({"metadata": {"labels": {"a": "b"}, "annotations": {}, "creationTimestamp": null}, "spec": {
        "hostNetwork": false, "nodeSelector": {}, "hostname": "", "containers": [
        {"name": "c", "image": "i", "args": ["<&>"], "env": [{"name": "A", "value": ""}], "command": [], "stdin": false,
         "resources": {"limits": {}}, "ports": [],
         "livenessProbe": {"initialDelaySeconds": 0, "httpGet": {"port": 80, "httpHeaders": [{"name": "X", "value": ""}]}}}],
        "volumes": [{"name": "v", "emptyDir": {"medium": ""}}, {"name": "h", "hostPath": {"path": "/", "type": ""}}]}});
    let data = RevisionData::of_template(plain);
    assert!(data.encoded().contains("\\u003c\\u0026\\u003e"), "as Go escapes");
    assert_eq!(data.encoded(), RevisionData::of_template(spelled).encoded());
}

#[test]
fn a_rollback_makes_the_old_revision_the_latest_and_creates_none() {
    // C-28.
    let mut world = world("replicas=1; 0 ready@old");
    let template = World::spec(1, "v1")["template"].clone();
    world.edit(|spec| spec["template"] = template);
    expect![[r#"
        renumber revision old to 3
        settled"#]]
    .assert_eq(&format!("{}\nsettled", show(&world.plan())));
}

#[test]
fn a_taken_name_with_other_data_raises_the_collision_count() {
    // C-30.
    let mut world = world("replicas=1");
    let name = format!("web-{}", data("v2").hash(0));
    add_revision(&mut world, &name, &data("v9"), 1);
    let plan = world.plan();
    assert_eq!(plan.status_after.collision_count, Some(1));
    assert_eq!(plan.status_after.update_revision, format!("web-{}", data("v2").hash(1)));
}

#[test]
fn old_revisions_go_beyond_the_limit_but_never_live_ones() {
    // C-32.
    for (limit, kept) in [(0, 0), (1, 1), (2, 2), (3, 3), (-1, 3)] {
        let mut world = world(&format!("replicas=1 history={limit}; 0 ready@old"));
        for number in 3..6 {
            add_revision(&mut world, &format!("web-{number}"), &data(&format!("x{number}")), number - 10);
        }
        let deleted = world.plan().tidy.len();
        assert_eq!(3 - deleted, kept, "limit {limit}");
    }
}

#[test]
fn pods_and_claims_carry_their_identity() {
    // A-56, A-57, A-58, A-59, A-60, A-63, A-64, A-65, C-96f.
    let mut world = world("replicas=1 start=4 claims deleted=Delete");
    world.edit(|spec| {
        spec["template"]["spec"]["hostname"] = json!("other");
        spec["template"]["spec"]["volumes"] =
            json!([{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]);
        spec["template"]["metadata"]["annotations"] = json!({"a": "b"});
    });
    let bodies: Vec<Value> = world
        .plan()
        .actions()
        .filter_map(|action| match action {
            Action::CreateClaim { body, .. } | Action::CreatePod { body, .. } => Some(body.clone()),
            _ => None,
        })
        .collect();
    expect![[r#"
        [
          {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
              "labels": {
                "app": "web"
              },
              "name": "data-web-4",
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
            "spec": {
              "accessModes": [
                "ReadWriteOnce"
              ]
            }
          },
          {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
              "annotations": {
                "a": "b"
              },
              "generateName": "web-",
              "labels": {
                "app": "web",
                "apps.kubernetes.io/pod-index": "4",
                "controller-revision-hash": "web-58b7b7989d",
                "statefulset.kubernetes.io/pod-name": "web-4"
              },
              "name": "web-4",
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
            "spec": {
              "containers": [
                {
                  "image": "v2",
                  "name": "c",
                  "resources": {}
                }
              ],
              "hostname": "web-4",
              "subdomain": "web",
              "volumes": [
                {
                  "name": "data",
                  "persistentVolumeClaim": {
                    "claimName": "data-web-4"
                  }
                },
                {
                  "emptyDir": {},
                  "name": "tmp"
                }
              ]
            }
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&bodies).unwrap());
}

#[test]
fn the_status_of_a_settled_set_is_not_written_again() {
    // C-76.
    let mut world = world("replicas=2; 0 ready@new; 1 ready@new");
    let plan = world.plan();
    world.obey(&plan);
    assert!(world.plan().is_settled());
    assert_eq!(world.plan().waits, []);
}

#[test]
fn a_name_with_leading_zeros_is_nobodys_slot() {
    // C-16, C-35, C-36.
    let set = world("replicas=1").facts();
    for (name, ordinal) in [
        ("web-0", Some(0)),
        ("web-10", Some(10)),
        ("web-01", None),
        ("web-", None),
        ("web-a", None),
        ("web-99999999999", None),
        ("web--1", None),
        ("webs-1", None),
        ("web-2147483647", Some(i32::MAX)),
    ] {
        assert_eq!(set.ordinal_of(name).map(|o| o.0), ordinal, "{name}");
    }
}

#[test]
fn an_absurd_number_of_replicas_makes_a_bounded_plan() {
    let plan = world("replicas=2147483647 parallel").plan();
    assert_eq!(plan.batches.iter().flatten().count(), super::super::CREATIONS_MAX);
}

#[test]
fn a_pod_that_ended_at_once_is_replaced_a_little_later() {
    check(
        "replicas=2; 0 failed@new young",
        expect![[r#"
        replace 0 waits: 0 ended at once and is replaced at 2026-01-01T00:00:02Z
        create 1 waits: 0 is not ready
        look again at 2026-01-01T00:00:02Z"#]],
    );
}

#[test]
fn a_settled_set_of_a_thousand_is_looked_at_in_milliseconds() {
    let clauses: Vec<String> = (0..1000).map(|ordinal| format!("{ordinal} ready@new")).collect();
    let mut world = world(&format!("replicas=1000; {}", clauses.join("; ")));
    let plan = world.plan();
    world.obey(&plan);
    let set = world.facts();
    let pods: Vec<k8s_openapi::api::core::v1::Pod> =
        world.pods.values().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
    let revisions: Vec<k8s_openapi::api::apps::v1::ControllerRevision> =
        world.revisions.values().map(|revision| serde_json::from_value(revision.clone()).unwrap()).collect();
    let started = std::time::Instant::now();
    let rounds: u32 = 50;
    for _ in 0..rounds {
        let view = super::super::View::of(&set, &pods, &[], &revisions, true);
        assert!(super::super::plan(&view, world.now).is_settled());
    }
    let each = started.elapsed() / rounds;
    println!("a settled set of 1000: {each:?} a look");
    assert!(each < std::time::Duration::from_millis(50), "{each:?}");
}
