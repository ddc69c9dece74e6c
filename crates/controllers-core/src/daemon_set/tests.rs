use api::resources::{CONTROLLER_REVISIONS, NODES, PODS};
use k8s_openapi::api::apps::v1::ControllerRevision;
use proptest::prelude::*;

use super::*;
use crate::subject::Facts;
use crate::testing::World;

struct Bed {
    world: World,
}

impl Bed {
    fn new(nodes: usize, strategy: Value) -> Self {
        let mut world = World::new();
        world.create(
            &KIND.resource,
            json!({"metadata": {"name": "agent"}, "spec": {
                "updateStrategy": strategy, "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": {"labels": {"app": "agent"}},
                    "spec": {"containers": [{"name": "c", "image": "v1"}]}}}}),
        );
        for node in 0..nodes {
            world.create(
                &NODES,
                json!({"metadata": {"name": format!("n{node}"), "labels": {"index": node.to_string()}}}),
            );
        }
        Self { world }
    }

    fn rolling(nodes: usize, surge: Value, unavailable: Value) -> Self {
        let block = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        Self::new(nodes, json!({"type": "RollingUpdate", "rollingUpdate": block}))
    }

    fn plan(&self) -> Plan<Wait> {
        let set = SetFacts::read(&self.world.json(&KIND.resource, "agent")).unwrap();
        let (nodes, pods) = (self.world.typed::<Node>(&NODES), self.world.pods());
        let revisions = self.world.typed::<ControllerRevision>(&CONTROLLER_REVISIONS);
        let view = View {
            set: &set,
            nodes: nodes.iter().collect(),
            pods: pods.iter().collect(),
            revisions: revisions.iter().collect(),
        };
        plan(&view, self.world.now)
    }

    /// As scheduler and nodes: pods are bound where they want to be, become ready if `ready`, and go when deleted.
    fn follow(&mut self, ready: bool) {
        for name in self.world.names(&PODS) {
            let pod: Pod = serde_json::from_value(self.world.get(&PODS, &name).clone()).unwrap();
            if is_terminating(&pod.metadata) {
                self.world.remove(&PODS, &name);
                continue;
            }
            if pods::node(&pod).is_empty() {
                let node = nodes::target_of(&pod).unwrap().to_owned();
                self.world.edit(&PODS, &name, |pod| pod["spec"]["nodeName"] = json!(node));
            }
            if ready && pod.status.is_none() {
                self.world.node(&name, "Running", true);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            self.follow(true);
            let plan = self.plan();
            self.world.obey(&plan);
            if plan.is_settled() {
                return;
            }
        }
        panic!("settles: {:#?}", self.plan());
    }

    fn image(&mut self, image: &str) {
        self.world.edit(&KIND.resource, "agent", |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }

    /// `node:image` of all pods.
    fn pods(&self) -> String {
        let pods = self.world.all(&PODS);
        let mut lines: Vec<String> = pods
            .iter()
            .map(|pod| {
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
                format!("{}:{image}", pod["spec"]["nodeName"].as_str().unwrap_or("-"))
            })
            .collect();
        lines.sort();
        lines.join(" ")
    }

    fn status(&self, key: &str) -> i64 {
        self.world.get(&KIND.resource, "agent")["status"][key].as_i64().unwrap_or(0)
    }
}

#[test]
fn every_node_gets_a_pod_that_is_pinned_to_it() {
    let mut bed = Bed::rolling(3, json!(0), json!(1));
    bed.settle();
    assert_eq!(bed.pods(), "n0:v1 n1:v1 n2:v1");
    assert_eq!((bed.status("desiredNumberScheduled"), bed.status("numberAvailable")), (3, 3));
    assert_eq!((bed.status("updatedNumberScheduled"), bed.status("numberUnavailable")), (3, 0));
    let pod = bed.world.all(&PODS)[0];
    let revision = bed.world.all(&CONTROLLER_REVISIONS)[0];
    assert_eq!(pod["metadata"]["labels"][HASH_LABEL], revision["metadata"]["labels"][HASH_LABEL]);
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 6);
    assert_eq!(revision["revision"], 1);
    bed.world.create(&NODES, json!({"metadata": {"name": "n3"}}));
    bed.settle();
    assert_eq!(bed.pods(), "n0:v1 n1:v1 n2:v1 n3:v1");
}

#[test]
fn taints_and_selectors_say_where_pods_run() {
    let mut bed = Bed::rolling(3, json!(0), json!(1));
    bed.settle();
    let taint = |bed: &mut Bed, node: &str, effect: &str| {
        bed.world.edit(&NODES, node, |node| node["spec"] = json!({"taints": [{"key": "k", "effect": effect}]}));
    };
    taint(&mut bed, "n0", "NoSchedule");
    taint(&mut bed, "n1", "NoExecute");
    bed.settle();
    assert_eq!(bed.pods(), "n0:v1 n2:v1", "NoSchedule keeps what is there, NoExecute does not");
    assert_eq!((bed.status("desiredNumberScheduled"), bed.status("numberMisscheduled")), (1, 1));
    bed.world.edit(&KIND.resource, "agent", |set| {
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({"index": "2"});
    });
    bed.settle();
    assert_eq!(bed.pods(), "n2:v1");
    bed.world.edit(&NODES, "n2", |node| {
        node["spec"] = json!({"unschedulable": true, "taints": [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]})
    });
    bed.settle();
    assert_eq!(bed.pods(), "n2:v1", "a cordoned node keeps its daemons");
}

#[test]
fn an_update_goes_node_by_node() {
    let mut bed = Bed::rolling(3, json!(0), json!(1));
    bed.settle();
    bed.image("v2");
    let plan = bed.plan();
    bed.world.obey(&plan);
    bed.follow(false);
    assert_eq!(bed.pods(), "n1:v1 n2:v1");
    let plan = bed.plan();
    bed.world.obey(&plan);
    bed.follow(false);
    assert_eq!(bed.pods(), "n0:v2 n1:v1 n2:v1");
    assert_eq!(bed.plan().waits, [Wait::BudgetSpent { used: 1, allowed: 1 }]);
    bed.settle();
    assert_eq!(bed.pods(), "n0:v2 n1:v2 n2:v2");
    assert_eq!(bed.world.names(&CONTROLLER_REVISIONS).len(), 2);
    bed.image("v1");
    bed.settle();
    assert_eq!(bed.world.names(&CONTROLLER_REVISIONS).len(), 2, "the old revision is the latest again");
}

#[test]
fn a_surge_brings_the_new_pod_before_the_old_one_goes() {
    let mut bed = Bed::rolling(2, json!(1), json!(0));
    bed.settle();
    bed.image("v2");
    let plan = bed.plan();
    bed.world.obey(&plan);
    bed.follow(false);
    assert_eq!(bed.pods(), "n0:v1 n0:v2 n1:v1");
    bed.settle();
    assert_eq!(bed.pods(), "n0:v2 n1:v2");
}

#[test]
fn on_delete_waits_for_somebody() {
    let mut bed = Bed::new(1, json!({"type": "OnDelete"}));
    bed.settle();
    bed.image("v2");
    bed.settle();
    assert_eq!(bed.pods(), "n0:v1");
    let name = bed.world.names(&PODS)[0].clone();
    assert_eq!(bed.plan().waits, [Wait::OnDelete(name.clone())]);
    bed.world.remove(&PODS, &name);
    bed.settle();
    assert_eq!(bed.pods(), "n0:v2");
}

#[test]
fn failed_pods_are_replaced_but_not_at_full_speed() {
    let mut bed = Bed::rolling(1, json!(0), json!(1));
    bed.settle();
    let name = bed.world.names(&PODS)[0].clone();
    bed.world.node(&name, "Failed", false);
    let from = pods::after(bed.world.now, REPLACEMENT_AGE_SECS_MIN).unwrap();
    let plan = bed.plan();
    assert_eq!((plan.look_again, plan.waits), (Some(from), vec![Wait::FailedEarly(name, from)]));
    bed.world.now = from;
    assert_eq!(bed.plan().notes[0].reason, "FailedDaemonPod");
    bed.settle();
    assert_eq!(bed.pods(), "n0:v1");
}

#[test]
fn history_is_kept_to_its_limit() {
    let mut bed = Bed::rolling(1, json!(0), json!(1));
    bed.world.edit(&KIND.resource, "agent", |set| set["spec"]["revisionHistoryLimit"] = json!(1));
    for image in ["v1", "v2", "v3", "v4"] {
        bed.image(image);
        bed.settle();
    }
    let numbers: Vec<_> =
        bed.world.all(&CONTROLLER_REVISIONS).iter().map(|r| r["revision"].as_i64().unwrap()).collect();
    assert_eq!(numbers.len(), 2);
    assert!(numbers.contains(&3) && numbers.contains(&4), "{numbers:?}");
}

proptest! {
    /// Whatever fails and whenever nodes come and go, an update never takes more nodes down than it may, and it ends with
    /// one new pod on each node.
    #[test]
    fn an_update_keeps_its_budget(
        nodes in 1..6_usize,
        surge in 0..2_i32,
        unavailable in 1..3_i32,
        events in proptest::collection::vec((0..4_u8, 0..6_usize), 0..60),
    ) {
        let unavailable = if surge > 0 { 0 } else { unavailable };
        let mut bed = Bed::rolling(nodes, json!(surge), json!(unavailable));
        bed.settle();
        bed.image("v2");
        let least = i64::try_from(nodes).unwrap() - i64::from(unavailable);
        for (event, which) in events {
            match event {
                0 | 1 => { let plan = bed.plan(); bed.world.obey(&plan); }
                2 => bed.follow(false),
                _ => {
                    let names = bed.world.names(&PODS);
                    if let Some(name) = names.get(which) {
                        let pod = bed.world.get(&PODS, name);
                        if pod["spec"]["nodeName"].is_string() && pod["metadata"]["deletionTimestamp"].is_null() {
                            bed.world.node(name, "Running", true);
                        }
                    }
                }
            }
            let pods = bed.world.pods();
            let served: std::collections::BTreeSet<&str> = pods
                .iter()
                .filter(|pod| pods::is_ready(pod) && !is_terminating(&pod.metadata))
                .map(pods::node)
                .collect();
            prop_assert!(i64::try_from(served.len()).unwrap() >= least, "{} {}", served.len(), bed.pods());
        }
        bed.settle();
        let wanted: Vec<_> = (0..nodes).map(|node| format!("n{node}:v2")).collect();
        prop_assert_eq!(bed.pods(), wanted.join(" "));
    }
}
