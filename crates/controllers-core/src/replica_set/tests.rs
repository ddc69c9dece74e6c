use std::collections::BTreeMap;

use api::resources::PODS;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::replicas::KIND;
use crate::subject::Facts;
use crate::testing::World;
use crate::writes::Verb;

fn spec(replicas: i32) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "v1"}]},
        },
    })
}

fn world(replicas: i32) -> World {
    let mut world = World::new();
    world.create(&KIND.resource, json!({"metadata": {"name": "web"}, "spec": spec(replicas)}));
    world
}

fn plan_of(world: &World, failure: Option<&Failure>) -> Plan<Wait> {
    let set = SetFacts::read(&world.json(&KIND.resource, "web")).unwrap();
    let pods = world.pods();
    let mut neighbours = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pods::is_active(pod)) {
        *neighbours.entry(pods::node(pod).to_owned()).or_default() += 1;
    }
    plan(&View { set: &set, pods: pods.iter().collect(), neighbours, failure }, world.now)
}

/// One line a write: `create`, `delete NAME`, `patch …`; a stage ends with `;`.
fn show(plan: &Plan<Wait>) -> String {
    let line = |write: &crate::writes::Write| match &write.verb {
        Verb::Confirm(target) => format!("confirm {}", target.name),
        Verb::Create(_) => "create".to_owned(),
        Verb::Patch { target, patch, .. } if patch.get("status").is_some() => {
            format!("status of {} {}", target.name, patch["status"])
        }
        Verb::Patch { target, patch, .. } => format!("patch {} {}", target.name, patch["metadata"]["ownerReferences"]),
        Verb::Delete { target, .. } => format!("delete {}", target.name),
    };
    let stages = plan.stages.iter().map(|stage| stage.iter().map(line).collect::<Vec<_>>().join(", "));
    let waits = plan.waits.iter().map(|wait| format!("waits: {wait}"));
    stages.chain(plan.status.iter().map(line)).chain(waits).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(world: &World, expected: Expect) {
    expected.assert_eq(&show(&plan_of(world, None)));
}

/// Plans and obeys until nothing is left; pods become ready at once.
fn settle(world: &mut World) {
    for _ in 0..20 {
        let plan = plan_of(world, None);
        world.obey(&plan);
        for name in world.names(&PODS) {
            let pod = world.get(&PODS, &name);
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                world.remove(&PODS, &name);
            } else if pod["status"].is_null() {
                world.node(&name, "Running", true);
            }
        }
        if plan.is_settled() {
            return;
        }
    }
    panic!("the set settles: {}", show(&plan_of(world, None)));
}

#[test]
fn pods_are_made_in_stages_that_double() {
    check(
        &world(5),
        expect![[r#"
            create
            create, create
            create, create
            status of web {"availableReplicas":null,"conditions":null,"fullyLabeledReplicas":null,"observedGeneration":1,"readyReplicas":null,"replicas":0,"terminatingReplicas":0}"#]],
    );
}

#[test]
fn a_settled_set_has_its_pods_and_nothing_to_do() {
    let mut world = world(3);
    settle(&mut world);
    assert_eq!(world.names(&PODS).len(), 3);
    let pod = &world.all(&PODS)[0];
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web"}));
    let status = &world.get(&KIND.resource, "web")["status"];
    assert_eq!((&status["replicas"], &status["availableReplicas"]), (&json!(3), &json!(3)));
    check(&world, expect![""]);
    assert!(world.events.iter().all(|event| event.starts_with("SuccessfulCreate Created pod: web-")));
}

#[test]
fn orphans_that_match_are_taken_over_and_others_let_go_before_anything_else() {
    let mut world = world(2);
    settle(&mut world);
    let name = world.names(&PODS)[0].clone();
    world.edit(&PODS, &name, |pod| pod["metadata"]["labels"] = json!({"app": "other"}));
    world.create(&PODS, json!({"metadata": {"name": "orphan", "labels": {"app": "web"}}}));
    check(
        &world,
        expect![[r#"
            confirm web
            patch orphan [{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web","uid":"web#1"}], patch web-2 null
            status of web {"availableReplicas":1,"conditions":null,"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1,"terminatingReplicas":0}
            waits: pods are taken over or let go"#]],
    );
    settle(&mut world);
    assert_eq!(world.names(&PODS).len(), 3, "two of the set's and the one let go");
}

#[test]
fn ended_pods_are_replaced_and_a_deleted_set_makes_nothing() {
    let mut world = world(1);
    settle(&mut world);
    let name = world.names(&PODS)[0].clone();
    world.node(&name, "Failed", false);
    settle(&mut world);
    assert_eq!(world.names(&PODS).len(), 2, "the ended one is left for people to look at");
    world.edit(&KIND.resource, "web", |set| {
        set["spec"]["replicas"] = json!(4);
        set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    let plan = plan_of(&world, None);
    assert!(plan.stages.is_empty());
    assert_eq!(plan.waits, [Wait::SetDeleted]);
}

#[test]
fn a_refusal_becomes_a_condition_and_goes_with_its_cause() {
    let mut world = world(1);
    let failure = Failure { message: "pods \"web-x\" is forbidden: exceeded quota".to_owned() };
    let plan = plan_of(&world, Some(&failure));
    world.act(plan.status.as_ref().unwrap());
    let condition = &world.get(&KIND.resource, "web")["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("ReplicaFailure"), &json!("FailedCreate")));
    assert_eq!(condition["message"], failure.message);
    settle(&mut world);
    assert!(world.get(&KIND.resource, "web")["status"].get("conditions").is_none());
}

#[test]
fn availability_comes_with_time_and_the_plan_says_when() {
    let mut world = world(1);
    world.edit(&KIND.resource, "web", |set| set["spec"]["minReadySeconds"] = json!(30));
    settle(&mut world);
    let plan = plan_of(&world, None);
    assert_eq!(plan.look_again, pods::after(world.now, 30));
    assert_eq!(world.get(&KIND.resource, "web")["status"]["availableReplicas"], Value::Null);
    world.later(30);
    settle(&mut world);
    assert_eq!(world.get(&KIND.resource, "web")["status"]["availableReplicas"], 1);
}

/// Pods as `name: word …`, told to go in which order.
#[track_caller]
fn check_order(pods: &[&str], expected: Expect) {
    let mut world = world(0);
    let uid = world.get(&KIND.resource, "web")["metadata"]["uid"].clone();
    for line in pods {
        let (name, words) = line.split_once(':').unwrap();
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": "web"}, "annotations": {}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}]},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]},
        });
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some(("on", node)) => pod["spec"]["nodeName"] = json!(node),
                Some(("cost", cost)) => {
                    pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = json!(cost);
                }
                Some(("ready", at)) => pod["status"]["conditions"][0]["lastTransitionTime"] = json!(at),
                Some(("restarts", count)) => {
                    let count: i32 = count.parse().unwrap();
                    pod["status"]["containerStatuses"] = json!([
                        {"name": "c", "restartCount": count, "image": "", "imageID": "", "ready": true}]);
                }
                _ if word == "pending" => pod["status"] = json!({"phase": "Pending"}),
                _ if word == "unbound" => pod["spec"]["nodeName"] = Value::Null,
                _ if word == "unready" => pod["status"]["conditions"] = Value::Null,
                _ => panic!("{word}"),
            }
        }
        world.create(&PODS, pod);
    }
    let plan = plan_of(&world, None);
    let order = plan.stages[0].iter().map(|write| match &write.verb {
        Verb::Delete { target, .. } => target.name.clone(),
        other => panic!("{other:?}"),
    });
    expected.assert_eq(&order.collect::<Vec<_>>().join(" "));
}

#[test]
fn the_pods_that_are_missed_least_go_first() {
    check_order(
        &["a:", "b: unready", "c: pending", "d: pending unbound", "e: cost=-5", "f: cost=7"],
        expect!["d c b e a f"],
    );
    check_order(&["a: on=n1", "b: on=n2", "c: on=n2"], expect!["b c a"]);
    check_order(&["old: ready=2025-01-01T00:00:00Z", "new: ready=2025-12-31T23:00:00Z"], expect!["new old"]);
    check_order(&["calm: restarts=0", "wild: restarts=9"], expect!["wild calm"]);
    check_order(&["plus: cost=+5", "zero: cost=008", "one: cost=1"], expect!["plus zero one"]);
}

proptest! {
    /// Any mixture of healthy, ended, terminating and orphaned pods ends in exactly the wanted number, and then rests.
    #[test]
    fn any_beginning_settles_at_the_wanted_number(replicas in 0..6_i32, pods in proptest::collection::vec(0..5_u8, 0..8)) {
        let mut world = world(replicas);
        let uid = world.get(&KIND.resource, "web")["metadata"]["uid"].clone();
        for (index, state) in pods.iter().enumerate() {
            let owners = if *state == 4 { json!([]) } else {
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}])
            };
            let name = world.create(&PODS, json!({"metadata": {
                "name": format!("p{index}"), "labels": {"app": "web"}, "ownerReferences": owners}}));
            match state {
                1 => world.node(&name, "Failed", false),
                2 => world.node(&name, "Running", true),
                3 => world.delete(&PODS, &name, None),
                _ => {}
            }
        }
        settle(&mut world);
        let pods = world.pods();
        let active = pods.iter().filter(|pod| pods::is_active(pod)).count();
        prop_assert_eq!(active, usize::try_from(replicas).unwrap());
        prop_assert!(plan_of(&world, None).is_settled());
    }
}
