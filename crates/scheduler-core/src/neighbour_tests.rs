//! Pod affinity, topology spread and preemption as scenarios; and against a model that counts everything anew.

use std::collections::BTreeMap;

use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tests::{at, check, merge, node, pod, show, typed, with_nodes};
use crate::{Action, BudgetFacts, Decision, Key, NodeFacts, Outcome, PodFacts, Scheduler};

fn zoned(name: &str, zone: &str) -> NodeFacts {
    node(
        name,
        json!({ "metadata": { "labels": { "zone": zone } }, "status": { "allocatable": { "pods": "20", "cpu": "20", "memory": "99Gi" } } }),
    )
}

fn term(kind: &str, key: &str, more: Value) -> Value {
    let mut term = json!({ "topologyKey": key, "labelSelector": { "matchLabels": { "app": "db" } } });
    merge(&mut term, more);
    json!({ "spec": { "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } } })
}

fn wish(kind: &str, key: &str) -> Value {
    let term = json!({ "topologyKey": key, "labelSelector": { "matchLabels": { "app": "db" } } });
    json!({ "spec": { "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 100, "podAffinityTerm": term },
    ] } } } })
}

fn spread(key: &str, more: Value) -> Value {
    let mut constraint = json!({
        "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "db" } },
    });
    merge(&mut constraint, more);
    json!({ "spec": { "topologySpreadConstraints": [constraint] } })
}

fn on(node: &str, mut change: Value) -> Value {
    merge(&mut change, json!({ "spec": { "nodeName": node }, "status": { "phase": "Running" } }));
    change
}

/// Where three pods of a kind go, one after the other.
fn three(nodes: Vec<NodeFacts>, change: &Value) -> String {
    let mut scheduler = with_nodes(nodes);
    let mut lines = Vec::new();
    for name in ["a", "b", "c"] {
        scheduler.pod(pod(name, change.clone()));
        lines.push(show(&scheduler.poll_actions(at(0))));
    }
    lines.join("\n")
}

fn three_zones() -> Vec<NodeFacts> {
    vec![zoned("n1", "x"), zoned("n2", "y"), zoned("n3", "y")]
}

#[test]
fn required_affinity_keeps_a_kind_in_the_place_of_its_first_pod() {
    expect![[r#"
        bind a to n1
        bind b to n1
        bind c to n1"#]]
    .assert_eq(&three(three_zones(), &term("podAffinity", "zone", json!({}))));
    // The first pod of a kind that it is not part of has nobody to be near to.
    let other = term("podAffinity", "zone", json!({ "labelSelector": { "matchLabels": { "app": "web" } } }));
    let mut scheduler = with_nodes(three_zones());
    scheduler.pod(pod("a", other));
    check(
        &mut scheduler,
        0,
        expect![
            "report a: 0/3 nodes are available: 3 node(s) didn't match pod affinity rules. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    // Until one comes.
    scheduler.pod(pod("w", on("n3", json!({ "metadata": { "labels": { "app": "web" } } }))));
    check(&mut scheduler, 1, expect!["bind a to n2"]);
}

#[test]
fn required_anti_affinity_gives_each_place_one_pod() {
    expect![[r#"
        bind a to n1
        bind b to n2
        report c: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."#]].assert_eq(&three(three_zones(), &term("podAntiAffinity", "zone", json!({}))));
}

#[test]
fn preferences_of_pods_are_weighed_both_ways() {
    let mut scheduler = with_nodes(three_zones());
    scheduler.pod(pod("w", on("n2", json!({}))));
    scheduler.pod(pod("near", wish("podAffinity", "kubernetes.io/hostname")));
    check(&mut scheduler, 0, expect!["bind near to n2"]);
    scheduler.pod(pod("apart", wish("podAntiAffinity", "zone")));
    check(&mut scheduler, 0, expect!["bind apart to n1"]);
    // A pod that is there already draws one that says nothing.
    let mut scheduler = with_nodes(three_zones());
    scheduler.pod(pod("w", on("n3", wish("podAffinity", "kubernetes.io/hostname"))));
    scheduler.pod(pod("p", json!({})));
    check(&mut scheduler, 0, expect!["bind p to n3"]);
}

#[test]
fn namespaces_of_a_term_are_its_own_the_listed_or_the_selected() {
    let tried = |more: Value| {
        let mut scheduler = with_nodes(three_zones());
        scheduler.namespace("team", Some([("env".to_owned(), "prod".to_owned())].into()));
        scheduler.pod(pod("w", on("n2", json!({ "metadata": { "namespace": "team" } }))));
        scheduler.pod(pod("p", term("podAffinity", "kubernetes.io/hostname", more)));
        show(&scheduler.poll_actions(at(0)))
    };
    // Alone in its own namespace it is the first of its kind.
    assert_eq!(tried(json!({})), "bind p to n1");
    assert_eq!(tried(json!({ "namespaces": ["team"] })), "bind p to n2");
    assert_eq!(tried(json!({ "namespaceSelector": {} })), "bind p to n2");
    assert_eq!(tried(json!({ "namespaceSelector": { "matchLabels": { "env": "prod" } } })), "bind p to n2");
    assert!(tried(json!({ "namespaceSelector": { "matchLabels": { "env": "test" } } })).starts_with("report p:"));
}

#[test]
fn match_label_keys_narrow_a_term_to_pods_with_the_same_value() {
    let tried = |more: Value| {
        let mut scheduler = with_nodes(three_zones());
        for (name, at_node, hash) in [("old", "n1", "1"), ("new", "n2", "2")] {
            scheduler.pod(pod(name, on(at_node, json!({ "metadata": { "labels": { "hash": hash } } }))));
        }
        let mut change = term("podAffinity", "kubernetes.io/hostname", more);
        merge(&mut change, json!({ "metadata": { "labels": { "hash": "2" } } }));
        scheduler.pod(pod("p", change));
        show(&scheduler.poll_actions(at(0)))
    };
    assert_eq!(tried(json!({ "matchLabelKeys": ["hash"] })), "bind p to n2");
    assert_eq!(tried(json!({ "mismatchLabelKeys": ["hash"] })), "bind p to n1");
}

#[test]
fn spread_keeps_the_skew_between_places() {
    expect![[r#"
        bind a to n1
        bind b to n2
        bind c to n3"#]]
    .assert_eq(&three(three_zones(), &spread("zone", json!({}))));
    // With too few places, the fewest counts as none.
    expect![[r#"
        bind a to n1
        bind b to n2
        report c: 0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."#]].assert_eq(&three(three_zones(), &spread("zone", json!({ "minDomains": 3 }))));
    // Nodes without the label cannot have it.
    expect![[r#"
        report a: 0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        report b: 0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        report c: 0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#]].assert_eq(&three(vec![node("n1", json!({}))], &spread("zone", json!({}))));
    // As a wish it only orders the nodes.
    let soft = spread("kubernetes.io/hostname", json!({ "whenUnsatisfiable": "ScheduleAnyway" }));
    expect![[r#"
        bind a to n1
        bind b to n2
        bind c to n1"#]]
    .assert_eq(&three(vec![zoned("n1", "x"), zoned("n2", "y")], &soft));
}

#[test]
fn nodes_that_the_pod_cannot_use_count_for_its_spread_as_the_policies_say() {
    let tried = |more: Value, change: Value| {
        let tainted = json!({ "metadata": { "labels": { "zone": "x" } }, "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
        let mut scheduler = with_nodes([node("n1", tainted), zoned("n2", "y")]);
        scheduler.pod(pod("there", on("n2", json!({}))));
        let mut wanted = spread("zone", more);
        merge(&mut wanted, change);
        scheduler.pod(pod("p", wanted));
        show(&scheduler.poll_actions(at(0)))
    };
    let to_y = json!({ "spec": { "nodeSelector": { "zone": "y" } } });
    assert_eq!(tried(json!({}), to_y.clone()), "bind p to n2");
    assert!(tried(json!({ "nodeAffinityPolicy": "Ignore" }), to_y).contains("node(s) didn't match"));
    assert!(tried(json!({}), json!({})).contains("topology spread constraints"));
    assert_eq!(tried(json!({ "nodeTaintsPolicy": "Honor" }), json!({})), "bind p to n2");
}

fn important(priority: i32) -> Value {
    json!({ "spec": { "priority": priority } })
}

fn small(name: &str) -> NodeFacts {
    node(name, json!({ "status": { "allocatable": { "cpu": "500m" } } }))
}

#[test]
fn a_more_important_pod_takes_the_place_of_the_least_important() {
    let mut scheduler = with_nodes([small("n1"), small("n2")]);
    scheduler.pod(pod("low", on("n1", important(1))));
    scheduler.pod(pod("lower", on("n2", important(-1))));
    scheduler.pod(pod("high", important(10)));
    let actions = check(
        &mut scheduler,
        0,
        expect![[r#"
            report high: 0/2 nodes are available: 2 Insufficient cpu.
            preempt lower on n2 for high"#]],
    );
    // Its place is kept for it, also from those that come later and are less important.
    scheduler.outcome(&actions[1], &Outcome::Done, at(0));
    check(
        &mut scheduler,
        0,
        expect![
            "report high again: 0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node."
        ],
    );
    scheduler.pod_gone(&Key::new("default", "lower"));
    scheduler.pod(pod("middle", important(5)));
    let actions = scheduler.poll_actions(at(1));
    assert!(show(&actions).contains("bind high to n2"), "{}", show(&actions));
}

#[test]
fn nobody_makes_room_for_an_equal_or_for_one_that_never_preempts() {
    let tried = |change: Value| {
        let mut scheduler = with_nodes([small("n1")]);
        scheduler.pod(pod("low", on("n1", important(1))));
        scheduler.pod(pod("p", change));
        show(&scheduler.poll_actions(at(0)))
    };
    expect!["report p: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."].assert_eq(&tried(important(1)));
    expect![
        "report p: 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    ]
    .assert_eq(&tried(json!({ "spec": { "priority": 9, "preemptionPolicy": "Never" } })));
    let big = json!({ "spec": { "priority": 9, "containers": [{ "name": "c", "resources": { "requests": { "cpu": "9" } } }] } });
    expect!["report p: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."].assert_eq(&tried(big));
}

#[test]
fn a_budget_chooses_other_victims_and_is_broken_only_where_nothing_else_helps() {
    let budget = |allowed: i32| {
        BudgetFacts::of(&typed(json!({
            "metadata": { "name": "b", "namespace": "default" },
            "spec": { "selector": { "matchLabels": { "app": "guarded" } } },
            "status": { "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1 },
        })))
    };
    let guarded = |node: &str, priority: i32| {
        let mut change = on(node, important(priority));
        merge(&mut change, json!({ "metadata": { "labels": { "app": "guarded" } } }));
        change
    };
    let mut scheduler = with_nodes([small("n1"), small("n2")]);
    scheduler.budget(budget(0));
    scheduler.pod(pod("g", guarded("n1", 0)));
    scheduler.pod(pod("free", on("n2", important(5))));
    scheduler.pod(pod("high", important(10)));
    check(
        &mut scheduler,
        0,
        expect![[r#"
        report high: 0/2 nodes are available: 2 Insufficient cpu.
        preempt free on n2 for high"#]],
    );

    let mut scheduler = with_nodes([small("n1")]);
    scheduler.budget(budget(0));
    scheduler.pod(pod("g", guarded("n1", 0)));
    scheduler.pod(pod("high", important(10)));
    check(
        &mut scheduler,
        0,
        expect![[r#"
        report high: 0/1 nodes are available: 1 Insufficient cpu.
        preempt g on n1 for high"#]],
    );
}

#[test]
fn only_as_many_go_as_must_and_the_important_stay() {
    let half = |priority: i32| {
        let requests = json!({ "cpu": "250m" });
        on(
            "n1",
            json!({ "spec": { "priority": priority, "containers": [{ "name": "c", "resources": { "requests": requests } }] } }),
        )
    };
    let mut scheduler =
        with_nodes([node("n1", json!({ "status": { "allocatable": { "cpu": "1", "memory": "99Gi" } } }))]);
    for (name, priority) in [("a", 3), ("b", 1), ("c", 2), ("d", 4)] {
        scheduler.pod(pod(name, half(priority)));
    }
    scheduler.pod(pod("high", important(10)));
    check(
        &mut scheduler,
        0,
        expect![[r#"
        report high: 0/1 nodes are available: 1 Insufficient cpu.
        preempt c,b on n1 for high"#]],
    );
}

#[test]
fn the_queue_goes_by_priority_then_by_arrival() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    for (name, priority) in [("a", 0), ("b", 5), ("c", 5), ("d", 9)] {
        scheduler.pod(pod(name, important(priority)));
    }
    check(
        &mut scheduler,
        0,
        expect![[r#"
        bind d to n1
        bind b to n1
        bind c to n1
        bind a to n1"#]],
    );
}

/// A pod of the model: labels by number, terms by number.
#[derive(Clone, Debug)]
struct Model {
    app: u8,
    node: u8,
    apart: Option<(u8, bool)>,
    near: Option<(u8, bool)>,
    spread: Option<(u8, bool)>,
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let term = || prop::option::weighted(0.3, (0..3u8, any::<bool>()));
    let one = (0..3u8, 0..5u8, term(), term(), term());
    let one = one.prop_map(|(app, node, apart, near, spread)| Model { app, node, apart, near, spread });
    prop::collection::vec(one, 1..12)
}

impl Model {
    fn facts(&self, name: &str, placed: bool) -> PodFacts {
        let key = |by_zone: bool| if by_zone { "zone" } else { "kubernetes.io/hostname" };
        let selector = |app: u8| json!({ "matchLabels": { "app": format!("app{app}") } });
        let mut change = json!({
            "metadata": { "labels": { "app": format!("app{}", self.app) } },
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1m", "memory": "1Mi" } } }] },
        });
        for (kind, term) in [("podAntiAffinity", self.apart), ("podAffinity", self.near)] {
            if let Some((app, by_zone)) = term {
                let term = json!({ "topologyKey": key(by_zone), "labelSelector": selector(app) });
                merge(
                    &mut change,
                    json!({ "spec": { "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } } }),
                );
            }
        }
        if let Some((app, by_zone)) = self.spread {
            let constraint = json!({ "topologyKey": key(by_zone), "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector(app) });
            change["spec"]["topologySpreadConstraints"] = json!([constraint]);
        }
        if placed {
            change["spec"]["nodeName"] = json!(format!("n{}", self.node));
        }
        pod(name, change)
    }

    /// Whether it may stand on a node beside the others: by looking at every pod, in so many words.
    fn may_stand(&self, node: u8, others: &[Model]) -> bool {
        let zone = |node: u8| node % 2;
        let same = |by_zone: bool, other: u8| if by_zone { zone(other) == zone(node) } else { other == node };
        let kept_out =
            others.iter().any(|other| other.apart.is_some_and(|(app, z)| app == self.app && same(z, other.node)));
        let apart =
            self.apart.is_none_or(|(app, z)| !others.iter().any(|other| other.app == app && same(z, other.node)));
        let near = self.near.is_none_or(|(app, z)| {
            others.iter().any(|other| other.app == app && same(z, other.node))
                || (app == self.app && !others.iter().any(|other| other.app == app))
        });
        let spread = self.spread.is_none_or(|(app, z)| {
            let place = |node: u8| if z { zone(node) } else { node };
            let mut counts: BTreeMap<u8, i64> = (0..5).map(|node| (place(node), 0)).collect();
            for other in others.iter().filter(|other| other.app == app) {
                *counts.entry(place(other.node)).or_default() += 1;
            }
            counts[&place(node)] + i64::from(app == self.app) - counts.values().min().copied().unwrap_or(0) <= 1
        });
        !kept_out && apart && near && spread
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// What is counted on the way says the same as counting everything, for every node, also after pods have gone.
    #[test]
    fn neighbours_are_judged_as_by_a_model_that_counts_everything(models in models(), gone in 0..4usize) {
        let mut scheduler = with_nodes((0..5u8).map(|n| zoned(&format!("n{n}"), if n % 2 == 0 { "even" } else { "odd" })));
        let mut there: Vec<(String, Model)> = Vec::new();
        for (number, model) in models.iter().enumerate() {
            let name = format!("p{number}");
            let candidate = model.facts(&name, false);
            let mut snapshot = scheduler.snapshot().clone();
            snapshot.prepare(&candidate);
            let others: Vec<Model> = there.iter().map(|(_, model)| model.clone()).collect();
            let allowed: Vec<u8> = (0..5).filter(|node| model.may_stand(*node, &others)).collect();
            let refused = match (snapshot.place(&candidate), scheduler.snapshot().place(&candidate)) {
                (Decision::Bind { node }, anew) => {
                    prop_assert_eq!(anew, Decision::Bind { node: node.clone() }, "counted or kept count of: the same");
                    prop_assert!(allowed.iter().any(|n| format!("n{n}") == node), "{} is not among {:?}", node, allowed);
                    false
                }
                (Decision::Unschedulable(_), _) => true,
                (other, _) => panic!("no claims, so no {other:?}"),
            };
            prop_assert_eq!(refused, allowed.is_empty());
            // Asking keeps the counts that later changes must keep right.
            scheduler.pod(candidate);
            scheduler.poll_actions(at(0));
            scheduler.pod(model.facts(&name, true));
            there.push((name, model.clone()));
            if there.len() > 3 && number % 4 == gone {
                let (name, _) = there.remove(gone.min(there.len() - 1));
                scheduler.pod_gone(&Key::new("default", &name));
            }
        }
    }
}

/// How long it takes to place so many pods on 100 nodes, each pod apart from the others of its set on its node.
#[test]
fn the_work_for_a_pod_does_not_grow_with_the_pods_that_are_there() {
    let mut scheduler = Scheduler::default();
    for n in 0..100 {
        scheduler.node(zoned(&format!("n{n}"), if n % 2 == 0 { "x" } else { "y" }));
    }
    for number in 0..1000 {
        let app = format!("set{}", number / 100);
        let apart =
            json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": app } } });
        scheduler.pod(pod(
            &format!("p{number}"),
            json!({
                "metadata": { "labels": { "app": app } },
                "spec": {
                    "containers": [{ "name": "c" }],
                    "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [apart] } },
                },
            }),
        ));
    }
    let actions = scheduler.poll_actions(at(0));
    let bound = actions.iter().filter(|action| matches!(action, Action::Bind { .. })).count();
    assert_eq!(bound, 1000);
}
