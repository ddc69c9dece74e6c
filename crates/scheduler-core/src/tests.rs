//! The scheduler as scenarios: one node or three, pods that fit or do not, claims, failures; and that nothing is ever
//! given away twice.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use meta::{ResourceVersion, Timestamp, Uid};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Action, ClaimFacts, ClassFacts, Key, NodeFacts, Outcome, PodFacts, Scheduler, VolumeFacts};

pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object has its shape")
}

pub(crate) fn node(name: &str, change: Value) -> NodeFacts {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "5" } },
    });
    merge(&mut node, change);
    NodeFacts::of(&typed(node))
}

pub(crate) fn pod(name: &str, change: Value) -> PodFacts {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": { "app": "db" } },
        "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } } }] },
        "status": { "phase": "Pending" },
    });
    merge(&mut pod, change);
    PodFacts::of(&typed(pod))
}

fn with_claim(name: &str) -> Value {
    json!({ "spec": { "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": name } }] } })
}

fn claim(name: &str, change: Value) -> ClaimFacts {
    let mut claim = json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}") },
        "spec": { "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        "status": { "phase": "Pending" },
    });
    merge(&mut claim, change);
    ClaimFacts::of(&typed(claim))
}

fn bound_claim(name: &str) -> ClaimFacts {
    claim(name, json!({ "spec": { "volumeName": format!("pv-{name}") }, "status": { "phase": "Bound" } }))
}

fn volume(claim: &str, node: &str) -> VolumeFacts {
    let term = json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] });
    VolumeFacts::of(&typed(json!({
        "metadata": { "name": format!("pv-{claim}") },
        "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [term] } } },
    })))
}

fn class(mode: &str) -> ClassFacts {
    ClassFacts::of(&typed(json!({
        "metadata": { "name": "local" }, "provisioner": "roadstead.dev/local", "volumeBindingMode": mode,
    })))
}

pub(crate) fn merge(tree: &mut Value, change: Value) {
    match (tree, change) {
        (Value::Object(tree), Value::Object(change)) => {
            for (name, value) in change {
                merge(tree.entry(name).or_insert(Value::Null), value);
            }
        }
        (tree, change) => *tree = change,
    }
}

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).expect("a small number")
}

/// One line for each action.
pub(crate) fn show(actions: &[Action]) -> String {
    let line = |action: &Action| match action {
        Action::Bind { pod, node, .. } => format!("bind {} to {node}", pod.name),
        Action::Announce { pod, node, .. } => format!("announce {} on {node}", pod.name),
        Action::SelectNode { pod, node, claims, .. } => {
            let claims: Vec<&str> = claims.iter().map(|(key, _)| key.name.as_str()).collect();
            format!("select {node} for {} of {}", claims.join(","), pod.name)
        }
        Action::Report { pod, message, was_unschedulable, .. } => {
            let again = if *was_unschedulable { " again" } else { "" };
            format!("report {}{again}: {message}", pod.name)
        }
        Action::Preempt { pod, node, victims, .. } => {
            let victims: Vec<&str> = victims.iter().map(|(key, _)| key.name.as_str()).collect();
            format!("preempt {} on {node} for {}", victims.join(","), pod.name)
        }
    };
    if actions.is_empty() { "-".to_owned() } else { actions.iter().map(line).collect::<Vec<_>>().join("\n") }
}

pub(crate) fn check(scheduler: &mut Scheduler, secs: i64, want: Expect) -> Vec<Action> {
    let actions = scheduler.poll_actions(at(secs));
    want.assert_eq(&show(&actions));
    actions
}

pub(crate) fn with_nodes(nodes: impl IntoIterator<Item = NodeFacts>) -> Scheduler {
    let mut scheduler = Scheduler::default();
    nodes.into_iter().for_each(|node| scheduler.node(node));
    scheduler
}

/// What one node says to one pod.
fn refusal(change_node: Value, change_pod: Value, want: Expect) {
    let mut scheduler = with_nodes([node("n1", change_node)]);
    scheduler.pod(pod("p", change_pod));
    check(&mut scheduler, 0, want);
}

#[test]
fn a_pod_that_fits_is_bound_and_what_it_asks_is_taken_at_once() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    for name in ["a", "b", "c", "d", "e"] {
        scheduler.pod(pod(name, json!({})));
    }
    check(
        &mut scheduler,
        0,
        expect![[r#"
            bind a to n1
            bind b to n1
            bind c to n1
            bind d to n1
            report e: 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."#]],
    );
    check(&mut scheduler, 1, expect!["-"]);
}

#[test]
fn every_rule_says_no_in_upstream_s_words() {
    let nothing = || json!({});
    refusal(
        json!({ "spec": { "unschedulable": true } }),
        nothing(),
        expect![
            "report p: 0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    refusal(
        json!({ "spec": { "taints": [{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }] } }),
        nothing(),
        expect![
            "report p: 0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    refusal(
        nothing(),
        json!({ "spec": { "nodeSelector": { "disk": "ssd" } } }),
        expect![
            "report p: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    refusal(
        json!({ "status": { "allocatable": { "pods": "0" } } }),
        nothing(),
        expect![
            "report p: 0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    refusal(
        nothing(),
        json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "example.com/gpu": "1" } } }] } }),
        expect![
            "report p: 0/1 nodes are available: 1 Insufficient example.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    refusal(
        nothing(),
        with_claim("data"),
        expect![[
            r#"report p: 0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#
        ]],
    );
    let mut scheduler = Scheduler::default();
    scheduler.pod(pod("p", nothing()));
    check(&mut scheduler, 0, expect!["report p: no nodes available to schedule pods"]);
}

#[test]
fn reasons_of_several_nodes_are_counted() {
    let cordoned = json!({ "spec": { "unschedulable": true } });
    let small = json!({ "status": { "allocatable": { "cpu": "100m" } } });
    let mut scheduler = with_nodes([node("n1", cordoned.clone()), node("n2", cordoned), node("n3", small)]);
    scheduler.pod(pod("p", json!({})));
    check(
        &mut scheduler,
        0,
        expect![
            "report p: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn tolerations_and_affinities_are_heeded() {
    let tainted = json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoExecute" }] } });
    let labelled = json!({ "metadata": { "labels": { "zone": "b", "size": "5" } } });
    let fits = |nodes: [NodeFacts; 2], change: Value, want: Expect| {
        let mut scheduler = with_nodes(nodes);
        scheduler.pod(pod("p", change));
        check(&mut scheduler, 0, want);
    };
    let two = || [node("n1", json!({})), node("n2", labelled.clone())];
    fits(
        [node("n1", tainted.clone()), node("n2", json!({ "spec": { "unschedulable": true } }))],
        json!({ "spec": { "tolerations": [{ "key": "k", "operator": "Exists" }] } }),
        expect!["bind p to n1"],
    );
    fits(
        [node("n1", tainted), node("n2", json!({ "spec": { "unschedulable": true } }))],
        json!({ "spec": { "tolerations": [{ "operator": "Exists", "effect": "NoSchedule" }] } }),
        expect!["bind p to n2"],
    );
    let affinity = |operator: &str, values: Value| {
        json!({ "spec": { "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "size", "operator": operator, "values": values }] }],
        } } } } })
    };
    fits(two(), affinity("Gt", json!(["4"])), expect!["bind p to n2"]);
    fits(two(), affinity("DoesNotExist", json!([])), expect!["bind p to n1"]);
    let preferred = json!({ "spec": { "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 1, "preference": { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["b"] }] },
    }] } } } });
    fits(two(), preferred, expect!["bind p to n2"]);
}

#[test]
fn pods_spread_over_nodes_by_what_is_left_and_stay_apart_if_they_must() {
    let mut scheduler = with_nodes([node("n1", json!({})), node("n2", json!({}))]);
    let apart = json!({ "spec": { "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "db" } },
    }] } } } });
    for name in ["a", "b", "c"] {
        scheduler.pod(pod(name, apart.clone()));
    }
    scheduler.pod(pod("d", json!({})));
    scheduler.pod(pod("e", json!({ "metadata": { "labels": { "app": "web" } } })));
    check(
        &mut scheduler,
        0,
        expect![[r#"
            bind a to n1
            bind b to n2
            report c: 0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
            report d: 0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
            bind e to n1"#]],
    );
}

#[test]
fn an_unschedulable_pod_is_woken_by_what_may_help_and_tells_only_news() {
    let mut scheduler = with_nodes([node("n1", json!({ "spec": { "unschedulable": true } }))]);
    scheduler.pod(pod("p", json!({})));
    check(
        &mut scheduler,
        0,
        expect![
            "report p: 0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    scheduler.node(node("n1", json!({ "spec": { "unschedulable": true } })));
    check(&mut scheduler, 1, expect!["-"]);
    scheduler.node(node("n1", json!({ "status": { "allocatable": { "cpu": "1m" } } })));
    check(
        &mut scheduler,
        2,
        expect![
            "report p again: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    scheduler.node(node("n1", json!({})));
    check(&mut scheduler, 3, expect!["bind p to n1"]);
}

#[test]
fn a_pod_that_ends_makes_room() {
    let small = json!({ "status": { "allocatable": { "cpu": "500m" } } });
    let running = json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Running" } });
    for ends in ["gone", "Succeeded"] {
        let mut scheduler = with_nodes([node("n1", small.clone())]);
        scheduler.pod(pod("a", running.clone()));
        scheduler.pod(pod("b", json!({})));
        check(
            &mut scheduler,
            0,
            expect![
                "report b: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
            ],
        );
        if ends == "gone" {
            scheduler.pod_gone(&Key::new("default", "a"));
        } else {
            scheduler.pod(pod("a", json!({ "spec": { "nodeName": "n1" }, "status": { "phase": ends } })));
        }
        check(&mut scheduler, 1, expect!["bind b to n1"]);
    }
}

#[test]
fn a_claim_that_waits_for_its_consumer_learns_the_node_before_the_pod_is_bound() {
    // N-2.
    let mut scheduler = with_nodes([node("n1", json!({})), node("n2", json!({}))]);
    scheduler.class(class("WaitForFirstConsumer"));
    scheduler.claim(claim("data", json!({})));
    scheduler.pod(pod("p", with_claim("data")));
    let actions = check(&mut scheduler, 0, expect!["select n1 for data of p"]);
    scheduler.outcome(&actions[0], &Outcome::Done, at(0));
    // The claim's event has not arrived yet: nothing is asked for twice.
    check(&mut scheduler, 0, expect!["-"]);
    let selected = json!({ "metadata": { "annotations": { "volume.kubernetes.io/selected-node": "n1" } } });
    scheduler.claim(claim("data", selected));
    let named = json!({ "metadata": { "annotations": { "volume.kubernetes.io/selected-node": "n1" } }, "spec": { "volumeName": "pv-data" } });
    scheduler.volume(volume("data", "n1"));
    scheduler.claim(claim("data", named));
    check(&mut scheduler, 1, expect!["-"]);
    check(&mut scheduler, 1, expect!["-"]);
    scheduler.volume(volume("data", "n1"));
    scheduler.claim(bound_claim("data"));
    check(&mut scheduler, 2, expect!["bind p to n1"]);
}

#[test]
fn a_claim_that_is_never_bound_is_told_after_ten_minutes() {
    // N-2.
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    scheduler.class(class("WaitForFirstConsumer"));
    let selected = json!({ "metadata": { "annotations": { "volume.kubernetes.io/selected-node": "n1" } } });
    scheduler.claim(claim("data", selected));
    scheduler.pod(pod("p", with_claim("data")));
    check(&mut scheduler, 0, expect!["-"]);
    assert_eq!(scheduler.next_deadline(), Some(at(600)));
    check(
        &mut scheduler,
        600,
        expect![[r#"report p: running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded"#]],
    );
}

#[test]
fn volumes_pin_their_pods_and_bad_claims_are_told() {
    // N-6, N-7.
    let refused = |facts: ClaimFacts, mode: &str, reason: &str| {
        let mut scheduler = with_nodes([node("n1", json!({}))]);
        scheduler.class(class(mode));
        scheduler.claim(facts);
        scheduler.volume(volume("elsewhere", "n9"));
        scheduler.pod(pod("p", with_claim(if mode == "Elsewhere" { "elsewhere" } else { "data" })));
        let actions = show(&scheduler.poll_actions(at(0)));
        let not_helpful = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
        assert_eq!(actions, format!("report p: 0/1 nodes are available: {reason}. {not_helpful}"));
    };
    refused(bound_claim("elsewhere"), "Elsewhere", "1 node(s) had volume node affinity conflict");
    refused(
        bound_claim("data"),
        "Immediate",
        "1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
    );
    refused(claim("data", json!({})), "Immediate", "pod has unbound immediate PersistentVolumeClaims");
    refused(
        claim("data", json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })),
        "WaitForFirstConsumer",
        r#"persistentvolumeclaim "data" is being deleted"#,
    );
    refused(
        claim("data", json!({ "spec": { "volumeName": "pv-x" }, "status": { "phase": "Lost" } })),
        "Immediate",
        r#"persistentvolumeclaim "data" bound to non-existent persistentvolume "pv-x""#,
    );
}

#[test]
fn a_claim_for_one_pod_is_not_given_to_two() {
    // N-8.
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    let mut facts = json!({ "spec": { "accessModes": ["ReadWriteOncePod"], "volumeName": "pv-data" } });
    facts["status"]["phase"] = "Bound".into();
    scheduler.claim(claim("data", facts));
    scheduler.volume(volume("data", "n1"));
    scheduler.pod(pod("a", with_claim("data")));
    scheduler.pod(pod("b", with_claim("data")));
    check(
        &mut scheduler,
        0,
        expect![[r#"
            bind a to n1
            report b: 0/1 nodes are available: node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#]],
    );
}

#[test]
fn a_failed_binding_is_tried_again_later_and_holds_nothing_meanwhile() {
    let mut scheduler = with_nodes([node("n1", json!({ "status": { "allocatable": { "cpu": "500m" } } }))]);
    scheduler.pod(pod("a", json!({})));
    let actions = check(&mut scheduler, 0, expect!["bind a to n1"]);
    scheduler.pod(pod("b", json!({})));
    check(
        &mut scheduler,
        0,
        expect![
            "report b: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    scheduler.outcome(&actions[0], &Outcome::Failed { message: "disk full".to_owned() }, at(0));
    check(&mut scheduler, 0, expect!["bind b to n1"]);
    assert_eq!(scheduler.next_deadline(), Some(at(1)));
    check(
        &mut scheduler,
        1,
        expect![
            "report a: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

/// What a pod that is about to be stored is told.
fn ahead(scheduler: &mut Scheduler, pod: PodFacts) -> String {
    scheduler.place_ahead(pod).map_or_else(|| "-".to_owned(), |ahead| ahead.node)
}

fn on(node: &str) -> Value {
    json!({ "spec": { "nodeName": node } })
}

#[test]
fn a_pod_that_is_about_to_be_stored_is_given_a_place_and_counts_there() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(ahead(&mut scheduler, pod(name, json!({}))), "n1");
    }
    assert_eq!(ahead(&mut scheduler, pod("e", json!({}))), "-", "the node is full");
    check(&mut scheduler, 0, expect!["-"]);
    scheduler.pod(pod("a", on("n1")));
    check(&mut scheduler, 1, expect!["announce a on n1"]);
    scheduler.pod(pod("a", on("n1")));
    check(&mut scheduler, 2, expect!["-"]);

    // One was not stored: its place is another's.
    scheduler.give_back(&Uid("uid-b".to_owned()));
    assert_eq!(ahead(&mut scheduler, pod("e", json!({}))), "n1");
    // Who has come keeps its place.
    scheduler.give_back(&Uid("uid-a".to_owned()));
    assert_eq!(ahead(&mut scheduler, pod("f", json!({}))), "-");
}

#[test]
fn a_pod_that_has_to_wait_is_stored_without_a_place() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    scheduler.class(class("WaitForFirstConsumer"));
    scheduler.claim(claim("unbound", json!({})));
    let held = json!({ "spec": { "schedulingGates": [{ "name": "g" }] } });
    let of_another = json!({ "spec": { "schedulerName": "other" } });
    for (why, change) in [
        ("its volume is still to be made", with_claim("unbound")),
        ("its claim is not known", with_claim("missing")),
        ("a gate holds it", held),
        ("another scheduler places it", of_another),
        ("it has a node", on("n1")),
    ] {
        assert_eq!(ahead(&mut scheduler, pod("p", change)), "-", "{why}");
    }
    // Whose turn it is comes first.
    scheduler.pod(pod("first", json!({})));
    assert_eq!(ahead(&mut scheduler, pod("p", json!({}))), "-", "another waits for its turn");
    check(&mut scheduler, 0, expect!["bind first to n1"]);
    assert_eq!(ahead(&mut scheduler, pod("p", json!({}))), "n1");
}

#[test]
fn a_pod_that_was_gone_before_it_was_seen_holds_no_place() {
    let mut scheduler = with_nodes([node("n1", json!({ "status": { "allocatable": { "pods": "1" } } }))]);
    let full = |scheduler: &mut Scheduler| ahead(&mut scheduler.clone(), pod("next", json!({}))) == "-";
    ahead(&mut scheduler, pod("a", json!({})));
    // Its predecessor's end is told late.
    scheduler.pods_told(ResourceVersion(7));
    scheduler.pod_gone(&Key::new("default", "a"));
    assert!(full(&mut scheduler));
    scheduler.stored(&Uid("uid-a".to_owned()), ResourceVersion(8));
    assert!(full(&mut scheduler));
    scheduler.pods_told(ResourceVersion(9));
    assert!(!full(&mut scheduler));

    // The same, when its end was told before it was known to be stored.
    ahead(&mut scheduler, pod("b", json!({})));
    scheduler.pods_told(ResourceVersion(12));
    assert!(full(&mut scheduler));
    scheduler.stored(&Uid("uid-b".to_owned()), ResourceVersion(11));
    assert!(!full(&mut scheduler));
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    let mut scheduler = with_nodes([node("n1", json!({ "status": { "allocatable": { "cpu": "500m" } } }))]);
    scheduler.pod(pod("a", json!({})));
    check(&mut scheduler, 0, expect!["bind a to n1"]);
    scheduler.pod(pod("a", json!({ "metadata": { "uid": "another" } })));
    let actions = scheduler.poll_actions(at(0));
    assert!(matches!(&actions[..], [Action::Bind { uid, .. }] if uid.0 == "another"), "{actions:?}");
}

#[test]
fn pods_of_others_and_pods_that_are_held_are_left_alone() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    for (name, change) in [
        ("other", json!({ "spec": { "schedulerName": "mine" } })),
        ("gated", json!({ "spec": { "schedulingGates": [{ "name": "g" }] } })),
        ("going", json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })),
    ] {
        scheduler.pod(pod(name, change));
    }
    check(&mut scheduler, 0, expect!["-"]);
    scheduler.pod(pod("gated", json!({})));
    check(&mut scheduler, 0, expect!["bind gated to n1"]);
}

#[test]
fn what_init_containers_and_sidecars_ask_counts_as_upstream() {
    let requests = |init: Value| {
        let facts = pod("p", json!({ "spec": { "initContainers": init, "overhead": { "cpu": "10m" } } }));
        facts.requests.get("cpu").to_string()
    };
    let init = |cpu: &str, policy: Value| json!({ "name": "i", "restartPolicy": policy, "resources": { "requests": { "cpu": cpu } } });
    assert_eq!(requests(json!([])), "510m");
    assert_eq!(requests(json!([init("2", Value::Null)])), "2010m");
    assert_eq!(requests(json!([init("100m", Value::Null)])), "510m");
    assert_eq!(requests(json!([init("1", "Always".into()), init("2", Value::Null)])), "3010m");
    assert_eq!(requests(json!([init("1", "Always".into()), init("100m", Value::Null)])), "1510m");
}

/// Anything that can happen, in small.
#[derive(Clone, Debug)]
enum Step {
    Arrives(u8, u16),
    Placed(u8, u16),
    Goes(u8),
    ShowsBound(u8),
    Answers(bool),
    Node(u8, u16),
    NodeGoes(u8),
    Polls,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8u8, 1..900u16).prop_map(|(pod, cpu)| Step::Arrives(pod, cpu)),
        2 => (0..8u8, 1..900u16).prop_map(|(pod, cpu)| Step::Placed(pod, cpu)),
        1 => (0..8u8).prop_map(Step::Goes),
        2 => (0..8u8).prop_map(Step::ShowsBound),
        2 => any::<bool>().prop_map(Step::Answers),
        1 => (0..3u8, 500..2_000u16).prop_map(|(node, cpu)| Step::Node(node, cpu)),
        1 => (0..3u8).prop_map(Step::NodeGoes),
        4 => Just(Step::Polls),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// S29: what is given away on a node is never more than it has when it is given, whatever the order of answers and
    /// news.
    #[test]
    fn nothing_is_given_away_twice(steps in steps()) {
        let mut scheduler = Scheduler::default();
        let mut cpus: BTreeMap<String, u16> = BTreeMap::new();
        let mut pods: BTreeMap<String, u16> = BTreeMap::new();
        // What the API server has accepted, and what is on its way.
        let mut bound: BTreeMap<String, String> = BTreeMap::new();
        let mut calls: Vec<Action> = Vec::new();
        let pod_of = |name: &str, cpu: u16, node: Option<&String>| {
            let mut change = json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": format!("{cpu}m") } } }] } });
            if let Some(node) = node {
                change["spec"]["nodeName"] = json!(node);
            }
            pod(name, change)
        };
        for (time, step) in (0i64..).zip(steps) {
            match step {
                Step::Arrives(number, cpu) => {
                    let name = format!("p{number}");
                    if let std::collections::btree_map::Entry::Vacant(entry) = pods.entry(name.clone()) {
                        entry.insert(cpu);
                        scheduler.pod(pod_of(&name, cpu, None));
                    }
                }
                Step::Placed(number, cpu) => {
                    let name = format!("p{number}");
                    if !pods.contains_key(&name) && let Some(ahead) = scheduler.place_ahead(pod_of(&name, cpu, None)) {
                        bound.insert(name.clone(), ahead.node);
                        pods.insert(name, cpu);
                    }
                }
                Step::Goes(number) => {
                    let name = format!("p{number}");
                    // A pod with a call under way is left, so that its name is not taken again meanwhile.
                    if !calls.iter().any(|c| matches!(c, Action::Bind { pod, .. } if pod.name == name)) && pods.remove(&name).is_some() {
                        bound.remove(&name);
                        scheduler.pod_gone(&Key::new("default", &name));
                    }
                }
                Step::ShowsBound(number) => {
                    let name = format!("p{number}");
                    if let (Some(cpu), Some(node)) = (pods.get(&name), bound.get(&name)) {
                        scheduler.pod(pod_of(&name, *cpu, Some(node)));
                    }
                }
                Step::Answers(good) => {
                    if let Some(action) = calls.pop() {
                        let Action::Bind { pod, node, .. } = &action else { continue };
                        if good {
                            bound.insert(pod.name.clone(), node.clone());
                        }
                        let outcome = if good { Outcome::Done } else { Outcome::Failed { message: String::new() } };
                        scheduler.outcome(&action, &outcome, at(time));
                    }
                }
                Step::Node(number, cpu) => {
                    let name = format!("n{number}");
                    // Nodes only grow, so that what fitted once fits for ever.
                    let cpu = cpus.get(&name).copied().unwrap_or(0).max(cpu);
                    cpus.insert(name.clone(), cpu);
                    scheduler.node(node(&name, json!({ "status": { "allocatable": { "cpu": format!("{cpu}m"), "memory": "100Gi", "pods": "100" } } })));
                }
                Step::NodeGoes(number) => scheduler.node_gone(&format!("n{number}")),
                Step::Polls => {
                    let actions = scheduler.poll_actions(at(time));
                    calls.extend(actions.into_iter().filter(|a| matches!(a, Action::Bind { .. })));
                    prop_assert_eq!(scheduler.poll_actions(at(time)), vec![], "a second look finds nothing to do");
                }
            }
            let mut used: BTreeMap<&str, u64> = BTreeMap::new();
            let under_way = calls.iter().filter_map(|c| match c {
                Action::Bind { pod, node, .. } => Some((pod.name.as_str(), node.as_str())),
                _ => None,
            });
            for (name, node) in bound.iter().map(|(n, d)| (n.as_str(), d.as_str())).chain(under_way) {
                *used.entry(node).or_default() += u64::from(pods[name]);
            }
            for (node, used) in used {
                prop_assert!(used <= u64::from(cpus[node]), "{} has {} and gave {}", node, cpus[node], used);
            }
        }
    }
}

#[test]
fn a_pause_after_failures_grows_to_its_limit() {
    let mut scheduler = with_nodes([node("n1", json!({}))]);
    scheduler.pod(pod("a", json!({})));
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let actions = scheduler.poll_actions(now);
        scheduler.outcome(&actions[0], &Outcome::Superseded, now);
        let next = scheduler.next_deadline().expect("it pauses");
        pauses.push(Duration::try_from(next.duration_since(now)).expect("later").as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
}
