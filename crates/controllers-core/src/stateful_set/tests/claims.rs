//! Claims: creation, retention policy, other owners (sections 2.8 and 2.9; S5).

use expect_test::expect;
use serde_json::json;

use super::super::{Action, keeps_claim};
use super::scenario::{check, show, world};

#[test]
fn a_reference_to_a_pod_that_is_gone_comes_off_when_the_policy_is_to_keep() {
    // C-69.
    // S5: the change of the policy wins over the garbage collector.
    check(
        "replicas=1 claims scaled=Retain claim-of-pod=data-web-5; 0 ready@new",
        expect!["1. set owners of claim data-web-5"],
    );
    check("replicas=1 claims scaled=Delete claim-of-pod=data-web-5; 0 ready@new", expect![[r#""#]]);
}

#[test]
fn a_reference_that_costs_data_comes_off_whatever_the_state_of_the_pods() {
    // Upstream waits for lower slots to be healthy (C-65) and for the pod to be there.
    check(
        "replicas=1 claims scaled=Retain claim-of-live-pod=data-web-1; 0 running@new; 1 terminating@new",
        expect![[r#"
            1. set owners of claim data-web-1
            settle 0 waits: 0 is not ready
            scale down 1 waits: 0 is not ready"#]],
    );
    // Scaled up again while the pod still stops: the ordinal is not scaled away.
    check(
        "replicas=2 claims scaled=Delete claim-of-live-pod=data-web-1; 0 ready@new; 1 terminating@new",
        expect![[r#"
            1. set owners of claim data-web-1
            settle 1 waits: 1 is terminating"#]],
    );
    check(
        "replicas=2 claims scaled=Delete deleted=Delete claim-of-live-pod=data-web-1; 0 running@new; 1 terminating@new",
        expect![[r#"
            1. set owners of claim data-web-1
            settle 0 waits: 0 is not ready"#]],
    );
}

#[test]
fn removing_the_policy_strips_the_references_of_scaled_away_ordinals_too() {
    // C-66; upstream leaves claims whose pods are gone.
    check(
        "replicas=1 claims claim-of-set=data-web-0 claim-of-set=data-web-7; 0 ready@new",
        expect![[r#"
        1. set owners of claim data-web-0
        1. set owners of claim data-web-7"#]],
    );
    check("replicas=1 claims deleted=Delete claim-of-set=data-web-0 claim-of-set=data-web-7; 0 ready@new", expect![""]);
}

#[test]
fn an_unhealthy_slot_delays_new_references_in_order() {
    // C-65.
    check(
        "replicas=2 claims deleted=Delete claim=data-web-0 claim=data-web-1; 0 running@new; 1 ready@new",
        expect!["settle 0 waits: 0 is not ready"],
    );
    check(
        "replicas=2 parallel claims deleted=Delete claim=data-web-0 claim=data-web-1; 0 running@new; 1 ready@new",
        expect![[r#"
            1. set owners of claim data-web-0
            2. set owners of claim data-web-1
            settle 0 waits: 0 is not ready"#]],
    );
    check(
        "replicas=1 claims scaled=Delete claim=data-web-1; 0 running@new; 1 ready@new",
        expect![[r#"
            settle 0 waits: 0 is not ready
            scale down 1 waits: 0 is not ready"#]],
    );
}

#[test]
fn each_policy_has_its_owner_for_a_slot_and_for_a_condemned_pod() {
    // The table of section 2.9, C-64.
    let mut text = String::new();
    for deleted in ["Retain", "Delete"] {
        for scaled in ["Retain", "Delete"] {
            let world = world(&format!(
                "replicas=1 claims deleted={deleted} scaled={scaled} claim=data-web-0 claim=data-web-1; 0 ready@new; 1 ready@new"
            ));
            text.push_str(&format!("{deleted}/{scaled}:"));
            for action in world.plan().actions() {
                if let Action::SetClaimOwners { ordinal, patch, .. } = action {
                    let owner = &patch["metadata"]["ownerReferences"][0];
                    assert_eq!((&owner["controller"], &owner["blockOwnerDeletion"]), (&json!(true), &json!(true)));
                    text.push_str(&format!(" {ordinal} belongs to {} {};", owner["kind"], owner["name"]));
                }
            }
            text.push('\n');
        }
    }
    expect![[r#"
        Retain/Retain:
        Retain/Delete: 1 belongs to "Pod" "web-1";
        Delete/Retain: 0 belongs to "StatefulSet" "web"; 1 belongs to "StatefulSet" "web";
        Delete/Delete: 0 belongs to "StatefulSet" "web"; 1 belongs to "Pod" "web-1";
    "#]]
    .assert_eq(&text);
}

#[test]
fn another_controller_of_a_claim_is_told_when_the_pod_is_made_and_while_it_starts() {
    // C-68.
    check(
        "replicas=1 claims deleted=Delete claim-of-other=data-web-0",
        expect![[r#"
        create revision new
        1. create 0 @new
        settle 0 waits: 0 does not exist
        Warning ConflictingController: PersistentVolumeClaim data-web-0 has a conflicting OwnerReference that acts as a management controller, the retention policy is ignored for this claim"#]],
    );
    check(
        "replicas=1 claims deleted=Delete claim-of-other=data-web-0; 0 pending@new",
        expect![[r#"
        settle 0 waits: 0 is not ready
        Warning ConflictingController: PersistentVolumeClaim data-web-0 has a conflicting OwnerReference that acts as a management controller, the retention policy is ignored for this claim"#]],
    );
    check("replicas=1 claims deleted=Delete claim-of-other=data-web-0; 0 ready@new", expect![""]);
    check("replicas=1 claims claim-of-other=data-web-0; 0 pending@new", expect!["settle 0 waits: 0 is not ready"]);
}

#[test]
fn a_reference_without_controller_is_written_anew_and_foreign_ones_stay() {
    // C-70.
    check(
        "replicas=1 claims deleted=Delete claim-of-set-loosely=data-web-0; 0 ready@new",
        expect!["1. set owners of claim data-web-0"],
    );
    let world = world("replicas=1 claims deleted=Delete claim-beside-other=data-web-0; 0 ready@new");
    let plan = world.plan();
    let Some(Action::SetClaimOwners { patch, .. }) = plan.actions().next() else { panic!("{}", show(&plan)) };
    let kinds: Vec<&str> = patch["metadata"]["ownerReferences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| owner["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["ConfigMap", "StatefulSet"]);
}

#[test]
fn a_pod_in_range_that_fails_or_is_replaced_never_costs_its_claim() {
    // C-72, C-73.
    for state in ["failed@new", "terminating@new", "ready@old", "pending@new"] {
        let world = world(&format!("replicas=1 claims scaled=Delete claim=data-web-0; 0 {state}"));
        let plan = world.plan();
        assert!(!plan.actions().any(|action| matches!(action, Action::SetClaimOwners { .. })), "{state}");
    }
}

#[test]
fn a_missing_claim_of_a_pending_pod_is_made_and_one_that_goes_is_waited_for_in_silence() {
    // C-46, C-88.
    check(
        "replicas=1 claims; 0 pending@new",
        expect![[r#"
        1. create claim data-web-0
        settle 0 waits: 0 is not ready"#]],
    );
    check(
        "replicas=1 claims claim-terminating=data-web-0; 0 pending@new",
        expect![[r#"
        settle 0 waits: claim data-web-0 is terminating
        retry"#]],
    );
}

#[test]
fn claims_are_never_changed_but_for_their_owners() {
    // C-60, C-63: an existing claim is used whatever it is.
    let mut world = world("replicas=1 claims claim=data-web-0");
    world.edit(|spec| spec["volumeClaimTemplates"][0]["spec"]["resources"] = json!({"requests": {"storage": "9Gi"}}));
    let plan = world.plan();
    assert!(!plan.actions().any(|a| matches!(a, Action::CreateClaim { .. } | Action::SetClaimOwners { .. })));
}

#[test]
fn a_set_is_held_until_its_claims_are_as_its_policy_says_even_while_it_is_deleted() {
    // S5: a deletion right after the change of the policy does not take the data along.
    check(
        "replicas=1 claims held claim-of-set=data-web-0 claim-of-set=data-web-3; 0 ready@new",
        expect![[r#"
        1. set owners of claim data-web-0
        1. set owners of claim data-web-3"#]],
    );
    check("replicas=1 claims held claim=data-web-0; 0 ready@new", expect![[r#""#]]);
    check(
        "replicas=1 claims held deleting claim-of-set=data-web-0; 0 ready@new",
        expect![[r#"
        1. set owners of claim data-web-0
        all waits: the set is being deleted"#]],
    );
    check(
        "replicas=1 claims held deleting claim=data-web-0; 0 ready@new",
        expect!["all waits: the set is being deleted"],
    );
    check("replicas=1 claims held deleted=Delete claim-of-set=data-web-0; 0 ready@new", expect![[r#""#]]);
    let plan = world("replicas=1 claims held claim=data-web-0; 0 ready@new").plan();
    let Some(Action::ReleaseSet { patch, .. }) = &plan.status else { panic!("{}", show(&plan)) };
    assert_eq!(patch["metadata"]["finalizers"], json!(["example.com/x"]));
}

#[test]
fn the_collector_leaves_what_the_set_in_force_keeps() {
    // S5, C-66.
    let keeps = |options: &str, claim: &str, kind: &str, owner: &str| {
        let reference = json!({"apiVersion": if kind == "Pod" { "v1" } else { "apps/v1" }, "kind": kind,
            "name": owner, "uid": if kind == "Pod" { "a-pod" } else { "set-1" }});
        keeps_claim(&world(options).facts(), claim, &serde_json::from_value(reference).unwrap())
    };
    let table = [
        ("its slot's pod is gone", "claims", "data-web-1", "Pod", "web-1", true),
        ("the policy says so", "claims scaled=Delete", "data-web-1", "Pod", "web-1", false),
        (
            "a set of this name before it made the claim, and its pod was taken over",
            "",
            "data-web-1",
            "Pod",
            "web-1",
            true,
        ),
        ("a pod of another name", "claims", "data-web-1", "Pod", "web-2", false),
        ("a pod that is no slot of the set", "claims", "data-db-1", "Pod", "db-1", false),
        ("a claim that a pod has for itself", "claims", "web-1-scratch", "Pod", "web-1", false),
        ("the set goes", "claims", "data-web-1", "StatefulSet", "web", true),
        ("the set goes, and takes them along", "claims deleted=Delete", "data-web-1", "StatefulSet", "web", false),
        ("the set goes, and the claim is none of its", "", "data-web-1", "StatefulSet", "web", false),
    ];
    for (what, options, claim, kind, owner, expected) in table {
        assert_eq!(keeps(options, claim, kind, owner), expected, "{what}");
    }
}
