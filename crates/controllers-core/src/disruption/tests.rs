use api::resources::PODS;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::testing::World;

/// A budget over pods `pN`; each word of `pods` is a pod: `r` is ready, `n` not ready, `t` terminating, and its controller.
fn world(spec: Value, pods: &str) -> World {
    let mut world = World::new();
    let mut body = json!({"metadata": {"name": "pdb"}, "spec": spec});
    body["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
    world.create(&KIND.resource, body);
    for (index, word) in pods.split_whitespace().enumerate() {
        let (state, owner) = word.split_at(1);
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{"apiVersion": "apps/v1", "kind": "X", "name": owner, "uid": owner, "controller": true}])
        };
        let name = world.create(
            &PODS,
            json!({"metadata": {
            "name": format!("p{index}"), "labels": {"app": "web"}, "ownerReferences": owners}}),
        );
        world.node(&name, "Running", state != "n");
        if state == "t" {
            world.delete(&PODS, &name, None);
        }
    }
    world
}

/// `A` and `B` want 3 and 5 pods, `J` is a Job.
fn plan_of(world: &World) -> Plan<Wait> {
    let budget = BudgetFacts::read(&world.json(&KIND.resource, "pdb")).unwrap();
    let pods = world.pods();
    let scales = [("A", Scale::Wanted(3)), ("B", Scale::Wanted(5)), ("J", Scale::Unscalable("jobs.batch".to_owned()))];
    let scales = scales.into_iter().map(|(uid, scale)| (uid.to_owned(), (uid.to_owned(), scale))).collect();
    plan(
        &View {
            budget: &budget,
            pods: pods.iter().filter(|pod| budget.selects(pod.metadata.labels.as_ref())).collect(),
            scales,
        },
        world.now,
    )
}

fn show(world: &mut World) -> String {
    let plan = plan_of(world);
    world.obey(&plan);
    assert!(plan_of(world).is_settled(), "counting again changes nothing");
    let status = world.get(&KIND.resource, "pdb")["status"].clone();
    let condition = &status["conditions"][0];
    format!(
        "{} allowed; {} of {} healthy, {} must stay; {} {}{}",
        status["disruptionsAllowed"],
        status["currentHealthy"],
        status["expectedPods"],
        status["desiredHealthy"],
        condition["reason"].as_str().unwrap(),
        condition["message"].as_str().unwrap(),
        plan.notes.iter().map(|note| format!(" [{}]", note.reason)).collect::<String>(),
    )
}

#[track_caller]
fn check(spec: Value, pods: &str, expected: Expect) {
    expected.assert_eq(&show(&mut world(spec, pods)));
}

#[test]
fn budgets_are_counted() {
    // N-50, N-51, N-52, N-54.
    let least = |share: Value| json!({"minAvailable": share});
    let most = |share: Value| json!({"maxUnavailable": share});
    check(least(json!(2)), "rA rA rA", expect!["1 allowed; 3 of 3 healthy, 2 must stay; SufficientPods "]);
    check(least(json!(2)), "r r n", expect!["0 allowed; 2 of 3 healthy, 2 must stay; InsufficientPods "]);
    check(least(json!(2)), "rA rA tA", expect!["0 allowed; 2 of 3 healthy, 2 must stay; InsufficientPods "]);
    check(least(json!("50%")), "rA rA rA", expect!["1 allowed; 3 of 3 healthy, 2 must stay; SufficientPods "]);
    check(most(json!(1)), "rA rA rA", expect!["1 allowed; 3 of 3 healthy, 2 must stay; SufficientPods "]);
    check(most(json!(1)), "rA rA", expect!["0 allowed; 2 of 3 healthy, 2 must stay; InsufficientPods "]);
    check(most(json!("30%")), "rB rB rB rB rB", expect!["2 allowed; 5 of 5 healthy, 3 must stay; SufficientPods "]);
    check(most(json!(0)), "rA rA rA", expect!["0 allowed; 3 of 3 healthy, 3 must stay; InsufficientPods "]);
    check(most(json!(1)), "rA rA rA rB", expect!["0 allowed; 4 of 8 healthy, 7 must stay; InsufficientPods "]);
    check(least(json!(0)), "", expect!["0 allowed; 0 of 0 healthy, 0 must stay; InsufficientPods  [NoPods]"]);
}

#[test]
fn what_cannot_be_counted_allows_nothing() {
    // N-50.
    let most = json!({"maxUnavailable": 1});
    check(
        most.clone(),
        "rJ rJ",
        expect![
            "0 allowed; 0 of 0 healthy, 0 must stay; SyncFailed jobs.batch does not implement the scale subresource [CalculateExpectedPodCountFailed]"
        ],
    );
    check(
        most.clone(),
        "rC",
        expect![[
            r#"0 allowed; 0 of 0 healthy, 0 must stay; SyncFailed found no controllers for pod "p0" [CalculateExpectedPodCountFailed]"#
        ]],
    );
    check(most, "r rA rA rA", expect!["2 allowed; 4 of 3 healthy, 2 must stay; SufficientPods  [UnmanagedPods]"]);
    check(json!({"minAvailable": 1}), "rJ rJ", expect!["1 allowed; 2 of 2 healthy, 1 must stay; SufficientPods "]);
}

#[test]
fn an_eviction_counts_until_its_pod_goes_or_had_too_long() {
    // N-52.
    let mut world = world(json!({"minAvailable": 1}), "rA rA rA");
    show(&mut world);
    let now = pods::stamp(world.now);
    world.edit(&KIND.resource, "pdb", |pdb| {
        pdb["status"]["disruptedPods"] = json!({"p0": now, "p1": now});
        pdb["status"]["disruptionsAllowed"] = json!(0);
    });
    assert_eq!(plan_of(&world).look_again, after(world.now, DELETION_WAIT_SECS));
    world.delete(&PODS, "p0", None);
    expect!["0 allowed; 1 of 3 healthy, 1 must stay; InsufficientPods "].assert_eq(&show(&mut world));
    assert_eq!(world.get(&KIND.resource, "pdb")["status"]["disruptedPods"], json!({"p1": now}));
    world.later(DELETION_WAIT_SECS);
    let told = plan_of(&world).notes;
    assert_eq!(told[0].message, "Pod p1 was expected by PDB default/pdb to be deleted but it wasn't");
    expect!["1 allowed; 2 of 3 healthy, 1 must stay; SufficientPods "]
        .assert_eq(show(&mut world).trim_end_matches(" [NotDeleted]"));
}

proptest! {
    /// However the pods are, as many stay healthy as must if every allowed eviction happens at once.
    #[test]
    fn spending_the_whole_budget_leaves_enough(least in 0..5_i32, states in proptest::collection::vec(0..3_usize, 0..6)) {
        let pods: Vec<_> = states.iter().map(|state| ["rA", "nA", "tA"][*state]).collect();
        let mut world = world(json!({"minAvailable": least}), &pods.join(" "));
        show(&mut world);
        let status = &world.get(&KIND.resource, "pdb")["status"];
        let number = |key: &str| status[key].as_i64().unwrap();
        prop_assert!(number("disruptionsAllowed") >= 0);
        let after_all = number("currentHealthy") - number("disruptionsAllowed");
        prop_assert!(after_all >= number("desiredHealthy") || number("disruptionsAllowed") == 0);
    }
}
