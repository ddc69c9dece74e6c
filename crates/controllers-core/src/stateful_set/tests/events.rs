//! The events of actions (section 2.12): reasons and texts are upstream's.

use expect_test::expect;

use super::super::{Action, Failure, report};
use super::scenario::world;

/// What is told of each action of the plans of some scenarios, if it goes well and if it fails.
#[test]
fn outcomes_are_told_in_upstreams_words() {
    // C-61, C-88.
    let mut text = String::new();
    for scenario in [
        "replicas=1 claims",
        "replicas=1; 0 failed@new",
        "replicas=0; 0 ready@new",
        "replicas=1; 0 ready@new misnamed",
        "replicas=1; 0 ready@new orphan",
        "replicas=1 heal; 0 running@other never",
        "replicas=1 claims deleted=Delete claim=data-web-0; 0 ready@new",
    ] {
        text.push_str(&format!("{scenario}\n"));
        let world = world(scenario);
        let (set, plan) = (world.facts(), world.plan());
        let actions: Vec<&Action> = plan.actions().collect();
        for (index, action) in actions.iter().enumerate() {
            let rest: Vec<Action> = actions[index + 1..].iter().map(|action| (*action).clone()).collect();
            let failure = Failure { message: "no luck".to_owned(), already_exists: false, conflict: false };
            for outcome in [Ok(()), Err(&failure)] {
                for note in report(&set, action, outcome, &rest) {
                    text.push_str(&format!("  {:?} {}: {}\n", note.tone, note.reason, note.message));
                }
            }
        }
    }
    expect![[r#"
        replicas=1 claims
          Normal SuccessfulCreate: Create Claim data-web-0 Pod web-0 in StatefulSet web success
          Warning FailedCreate: Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: no luck
          Warning FailedCreate: Create Pod web-0 in StatefulSet web failed error: failed to create PVC data-web-0: no luck
          Normal SuccessfulCreate: Create Pod web-0 in StatefulSet web successful
          Warning FailedCreate: Create Pod web-0 in StatefulSet web failed error: no luck
        replicas=1; 0 failed@new
          Normal SuccessfulDelete: Delete Pod web-0 in StatefulSet web successful
          Warning FailedDelete: Delete Pod web-0 in StatefulSet web failed error: no luck
        replicas=0; 0 ready@new
          Normal SuccessfulDelete: Delete Pod web-0 in StatefulSet web successful
          Warning FailedDelete: Delete Pod web-0 in StatefulSet web failed error: no luck
        replicas=1; 0 ready@new misnamed
          Normal SuccessfulUpdate: Update Pod web-0 in StatefulSet web successful
          Warning FailedUpdate: Update Pod web-0 in StatefulSet web failed error: no luck
        replicas=1; 0 ready@new orphan
        replicas=1 heal; 0 running@other never
          Normal SuccessfulDelete: Delete Pod web-0 in StatefulSet web successful
          Normal RolloutHealed: Pod web-0 never became ready and its revision is no longer wanted
          Warning FailedDelete: Delete Pod web-0 in StatefulSet web failed error: no luck
        replicas=1 claims deleted=Delete claim=data-web-0; 0 ready@new
    "#]].assert_eq(&text);
}

#[test]
fn nothing_is_told_of_what_exists_already_or_has_changed_meanwhile() {
    // C-87: nor of adoption, of rollouts or of waiting.
    let world = world("replicas=1 claims");
    let (set, plan) = (world.facts(), world.plan());
    for action in plan.actions() {
        for (already_exists, conflict) in [(true, false), (false, true)] {
            let failure = Failure { message: "no luck".to_owned(), already_exists, conflict };
            assert_eq!(report(&set, action, Err(&failure), &[]), []);
        }
    }
    let waiting = super::scenario::world("replicas=3; 0 ready@old; 1 running@new");
    assert_eq!(waiting.plan().notes, []);
}
