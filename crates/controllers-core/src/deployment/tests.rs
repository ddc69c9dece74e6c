use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use meta::ResourceId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pods::stamp;
use crate::replicas::{KIND as SETS, SetFacts};
use crate::subject::Facts;
use crate::template::template_hash;
use crate::testing::World;
use crate::writes::{Failure, Verb};

/// A cluster whose ReplicaSets are moved by hand: what really runs, and what their statuses say, are two things.
struct Bed {
    world: World,
    /// Pods and ready pods of each ReplicaSet.
    real: BTreeMap<String, (i32, i32)>,
}

impl Bed {
    fn new(replicas: i32, strategy: Value) -> Self {
        let mut world = World::new();
        world.create(
            &KIND.resource,
            json!({"metadata": {"name": "web", "labels": {}, "annotations": {}}, "spec": {
                "replicas": replicas,
                "strategy": strategy,
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            }}),
        );
        Self { world, real: BTreeMap::new() }
    }

    fn rolling(replicas: i32, surge: Value, unavailable: Value) -> Self {
        Self::new(
            replicas,
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}),
        )
    }

    fn plan_after(&self, failure: Option<&Failure>) -> Plan<Wait> {
        let deployment = DeploymentFacts::read(&self.world.json(&KIND.resource, "web")).unwrap();
        let names = self.world.names(&SETS.resource);
        let sets: Vec<SetFacts> =
            names.iter().map(|name| SetFacts::read(&self.world.json(&SETS.resource, name)).unwrap()).collect();
        let taken: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let view = View { deployment: &deployment, sets: sets.iter().collect(), taken, pods: Vec::new(), failure };
        plan(&view, self.world.now)
    }

    fn plan(&self) -> Plan<Wait> {
        self.plan_after(None)
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        self.world.edit(&KIND.resource, "web", |object| edit(&mut object["spec"]));
    }

    fn image(&mut self, image: &str) {
        self.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!(image));
    }

    fn sets(&self) -> Vec<String> {
        self.world.names(&SETS.resource)
    }

    fn set(&self, name: &str) -> SetFacts {
        SetFacts::read(&self.world.json(&SETS.resource, name)).unwrap()
    }

    /// As the ReplicaSet's controller: pods come and go, those that are not ready first.
    fn sync(&mut self, name: &str) {
        let wanted = self.set(name).replicas;
        let (pods, ready) = self.real.entry(name.to_owned()).or_default();
        *pods = wanted;
        *ready = (*ready).min(wanted);
    }

    fn publish(&mut self, name: &str) {
        let (pods, ready) = self.real.get(name).copied().unwrap_or_default();
        let facts = self.set(name);
        if (facts.status.replicas, facts.status.available_replicas) == (pods, ready)
            && facts.status.observed_generation == facts.subject.generation
        {
            return;
        }
        self.world.edit(&SETS.resource, name, |set| {
            set["status"] = json!({"replicas": pods, "readyReplicas": ready, "availableReplicas": ready,
                "terminatingReplicas": 0, "observedGeneration": set["metadata"]["generation"]});
        });
    }

    fn ready(&mut self, name: &str) {
        if let Some((pods, ready)) = self.real.get_mut(name) {
            *ready = (*ready + 1).min(*pods);
        }
    }

    /// One plan, obeyed; then the ReplicaSets follow, and all pods become ready if `ready`.
    fn turn(&mut self, ready: bool) -> bool {
        let plan = self.plan();
        self.world.obey(&plan);
        for name in self.sets() {
            self.sync(&name);
            if ready {
                let (pods, ready) = self.real.get_mut(&name).unwrap();
                *ready = *pods;
            }
            self.publish(&name);
        }
        plan.is_settled()
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if self.turn(true) && self.plan().is_settled() {
                return;
            }
        }
        panic!("settles: {:#?}", self.plan());
    }

    /// `name-hash` shortened to what it is: sizes by revision, `rev1=3/2` for three wanted and two available.
    fn sizes(&self) -> String {
        let mut sets: Vec<_> = self.sets().iter().map(|name| self.set(name)).collect();
        let revision = |set: &SetFacts| set.subject.annotations[sets::REVISION].parse::<i64>().unwrap();
        sets.sort_by_key(revision);
        let line = |set: &SetFacts| format!("rev{}={}/{}", revision(set), set.replicas, set.status.available_replicas);
        sets.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    fn condition(&self, kind: &str) -> String {
        let status = &self.world.get(&KIND.resource, "web")["status"];
        let found = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind);
        found.map_or_else(String::new, |c| {
            format!(
                "{} {}: {}",
                c["status"].as_str().unwrap(),
                c["reason"].as_str().unwrap(),
                c["message"].as_str().unwrap()
            )
        })
    }

    #[track_caller]
    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.sizes());
    }
}

fn resource_of(plan: &Plan<Wait>) -> Vec<ResourceId> {
    plan.writes().map(|write| write.resource.clone()).collect()
}

#[test]
fn a_new_deployment_gets_a_replica_set_with_all_its_pods_and_then_says_so() {
    let mut bed = Bed::rolling(3, json!("25%"), json!("25%"));
    let first = bed.plan();
    assert_eq!(resource_of(&first), [SETS.resource.clone(), KIND.resource.clone()]);
    bed.world.obey(&first);
    assert_eq!(
        bed.condition("Progressing").replace(&bed.sets()[0], "web-X"),
        "True NewReplicaSetCreated: Created new replica set \"web-X\""
    );
    assert_eq!(
        bed.condition("Available"),
        "False MinimumReplicasUnavailable: Deployment does not have minimum availability."
    );
    bed.settle();
    bed.check(expect!["rev1=3/3"]);
    let name = bed.sets()[0].clone();
    let set = bed.world.get(&SETS.resource, &name);
    let hash = name.strip_prefix("web-").unwrap();
    assert_eq!(set["metadata"]["labels"], json!({"app": "web", "pod-template-hash": hash}));
    assert_eq!(set["spec"]["selector"]["matchLabels"], json!({"app": "web", "pod-template-hash": hash}));
    assert_eq!(
        set["metadata"]["annotations"],
        json!({
            "deployment.kubernetes.io/revision": "1",
            "deployment.kubernetes.io/desired-replicas": "3",
            "deployment.kubernetes.io/max-replicas": "4",
        })
    );
    let deployment = bed.world.get(&KIND.resource, "web");
    assert_eq!(deployment["metadata"]["annotations"][sets::REVISION], "1");
    assert_eq!(
        bed.condition("Progressing"),
        format!("True NewReplicaSetAvailable: ReplicaSet \"{name}\" has successfully progressed.")
    );
    assert_eq!(bed.condition("Available"), "True MinimumReplicasAvailable: Deployment has minimum availability.");
    assert_eq!(bed.world.events, [format!("ScalingReplicaSet Scaled up replica set {name} from 0 to 3")]);
}

#[test]
fn a_rolling_update_goes_up_by_the_surge_and_down_by_what_is_dispensable() {
    let mut bed = Bed::rolling(4, json!(1), json!(1));
    bed.settle();
    bed.image("v2");
    let mut steps = Vec::new();
    for _ in 0..30 {
        if bed.turn(true) {
            break;
        }
        if steps.last() != Some(&bed.sizes()) {
            steps.push(bed.sizes());
        }
    }
    expect![[r#"
        rev1=4/4 rev2=1/1
        rev1=2/2 rev2=1/1
        rev1=2/2 rev2=3/3
        rev1=0/0 rev2=3/3
        rev1=0/0 rev2=4/4"#]]
    .assert_eq(&steps.join("\n"));
}

#[test]
fn a_rollout_stops_while_new_pods_are_not_available_and_says_for_what_it_waits() {
    let mut bed = Bed::rolling(3, json!(1), json!(0));
    bed.settle();
    bed.image("broken");
    for _ in 0..10 {
        bed.turn(false);
    }
    bed.check(expect!["rev1=3/3 rev2=1/0"]);
    let plan = bed.plan();
    assert!(plan.is_settled());
    assert!(matches!(&plan.waits[..], [Wait::NotAvailable { unavailable: 1, .. }]), "{:?}", plan.waits);
    let deadline = plan.look_again.expect("the progress deadline");
    bed.world.now = deadline;
    bed.turn(false);
    let (progressing, available) = (bed.condition("Progressing"), bed.condition("Available"));
    assert!(progressing.starts_with("False ProgressDeadlineExceeded: ReplicaSet \"web-"), "{progressing}");
    assert!(progressing.ends_with("has timed out progressing."), "{progressing}");
    assert!(available.starts_with("True"), "{available}");
    assert_eq!(bed.plan().look_again, None, "it has failed; there is nothing to look at again");
    bed.image("v1");
    bed.settle();
    bed.check(expect!["rev2=0/0 rev3=3/3"]);
    assert!(bed.condition("Progressing").starts_with("True NewReplicaSetAvailable"));
}

#[test]
fn going_back_to_an_old_template_reuses_its_replica_set_and_remembers_its_numbers() {
    let mut bed = Bed::rolling(2, json!(1), json!(0));
    bed.settle();
    let first = bed.sets()[0].clone();
    bed.image("v2");
    bed.settle();
    bed.image("v1");
    bed.settle();
    bed.check(expect!["rev2=0/0 rev3=2/2"]);
    let set = bed.set(&first);
    assert_eq!(set.subject.annotations[sets::REVISION], "3");
    assert_eq!(set.subject.annotations["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(bed.world.get(&KIND.resource, "web")["metadata"]["annotations"][sets::REVISION], "3");
}

#[test]
fn recreate_waits_until_every_old_pod_is_gone() {
    let mut bed = Bed::new(2, json!({"type": "Recreate"}));
    bed.settle();
    bed.image("v2");
    let plan = bed.plan();
    bed.world.obey(&plan);
    bed.check(expect!["rev1=0/2"]);
    let plan = bed.plan();
    assert_eq!(plan.waits, [Wait::OldPodsRunning(2)]);
    assert!(plan.stages.is_empty());
    bed.settle();
    bed.check(expect!["rev1=0/0 rev2=2/2"]);
}

#[test]
fn a_paused_deployment_scales_in_place_but_does_not_roll() {
    let mut bed = Bed::rolling(3, json!(1), json!(0));
    bed.settle();
    bed.edit(|spec| spec["paused"] = json!(true));
    bed.image("v2");
    bed.settle();
    assert_eq!(bed.condition("Progressing"), "Unknown DeploymentPaused: Deployment is paused");
    bed.edit(|spec| spec["replicas"] = json!(5));
    bed.settle();
    bed.check(expect!["rev1=5/5"]);
    assert_eq!(bed.plan().waits, [Wait::Paused]);
    bed.edit(|spec| spec["paused"] = json!(false));
    let plan = bed.plan();
    bed.world.obey(&plan);
    bed.settle();
    bed.check(expect!["rev1=0/0 rev2=5/5"]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut bed = Bed::rolling(10, json!(3), json!(2));
    bed.settle();
    bed.image("broken");
    for _ in 0..6 {
        bed.turn(false);
    }
    bed.check(expect!["rev1=8/8 rev2=5/0"]);
    bed.edit(|spec| spec["replicas"] = json!(15));
    bed.turn(false);
    bed.check(expect!["rev1=11/8 rev2=7/0"]);
    bed.edit(|spec| spec["replicas"] = json!(0));
    bed.turn(false);
    bed.check(expect!["rev1=0/0 rev2=0/0"]);
}

#[test]
fn old_replica_sets_beyond_the_limit_go_when_a_rollout_is_done() {
    let mut bed = Bed::rolling(1, json!(1), json!(0));
    bed.edit(|spec| spec["revisionHistoryLimit"] = json!(1));
    for image in ["v1", "v2", "v3", "v4"] {
        bed.image(image);
        bed.settle();
    }
    bed.check(expect!["rev3=0/0 rev4=1/1"]);
}

#[test]
fn a_name_that_another_template_has_gives_another_hash() {
    let mut bed = Bed::rolling(1, json!(1), json!(0));
    let deployment = DeploymentFacts::read(&bed.world.json(&KIND.resource, "web")).unwrap();
    let name = format!("web-{}", template_hash(&deployment.template, None));
    bed.world.create(
        &SETS.resource,
        json!({"metadata": {"name": name, "ownerReferences": [
        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "o", "controller": true}]},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "replicas": 0}}),
    );
    let plan = bed.plan();
    assert_eq!(plan.waits, [Wait::NameTaken(name.clone())]);
    bed.world.obey(&plan);
    assert_eq!(bed.world.get(&KIND.resource, "web")["status"]["collisionCount"], 1);
    let plan = bed.plan();
    bed.world.obey(&plan);
    let other = format!("web-{}", template_hash(&deployment.template, Some(1)));
    assert!(bed.sets().contains(&other), "{:?}", bed.sets());
}

#[test]
fn a_refused_replica_set_is_a_condition_and_tried_again() {
    let bed = Bed::rolling(1, json!(1), json!(0));
    let failure = Failure { message: "exceeded quota".to_owned() };
    let plan = bed.plan_after(Some(&failure));
    let create = &plan.stages[0][0];
    assert!(matches!(create.verb, Verb::Create(_)));
    assert_eq!(create.failed.as_ref().unwrap().reason, "ReplicaSetCreateError");
    let Verb::Patch { patch, .. } = &plan.status.as_ref().unwrap().verb else { panic!("a status") };
    let conditions = patch["status"]["conditions"].as_array().unwrap();
    let text = conditions.iter().find(|c| c["type"] == "Progressing").unwrap()["message"].as_str().unwrap();
    assert!(
        text.starts_with("Failed to create new replica set \"web-") && text.ends_with("\": exceeded quota"),
        "{text}"
    );
}

#[test]
fn annotations_and_min_ready_seconds_follow_the_deployment() {
    let mut bed = Bed::rolling(1, json!(1), json!(0));
    bed.settle();
    bed.world.edit(&KIND.resource, "web", |object| {
        object["metadata"]["annotations"]["kubernetes.io/change-cause"] = json!("because");
        object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
        object["spec"]["minReadySeconds"] = json!(5);
    });
    bed.settle();
    let set = bed.set(&bed.sets()[0]);
    assert_eq!(set.min_ready_secs, 5);
    assert_eq!(set.subject.annotations["kubernetes.io/change-cause"], "because");
    assert!(!set.subject.annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
}

#[test]
fn a_selector_of_everything_is_refused_with_an_event() {
    let mut bed = Bed::rolling(1, json!(1), json!(0));
    bed.edit(|spec| spec["selector"] = json!({}));
    let plan = bed.plan();
    assert_eq!(plan.notes[0].reason, "SelectingAll");
    bed.world.obey(&plan);
    assert!(bed.sets().is_empty());
    assert!(bed.plan().is_settled());
}

#[test]
fn a_deployment_being_deleted_only_counts() {
    let mut bed = Bed::rolling(2, json!(1), json!(0));
    bed.settle();
    let now = stamp(bed.world.now);
    bed.world.edit(&KIND.resource, "web", |object| {
        object["metadata"]["deletionTimestamp"] = json!(now);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v2");
    });
    let plan = bed.plan();
    assert!(plan.stages.is_empty());
    assert_eq!(plan.waits, [Wait::Deleted]);
}

fn arb_share() -> impl Strategy2 {
    prop_oneof![(0..4_i32).prop_map(|count| json!(count)), (0..=100_i32).prop_map(|p| json!(format!("{p}%")))]
}

use proptest::strategy::Strategy as PropStrategy;
trait Strategy2: PropStrategy<Value = Value> {}
impl<T: PropStrategy<Value = Value>> Strategy2 for T {}

proptest! {
    /// In any order of events, with statuses late, a rolling update has never more pods than the surge allows and never
    /// fewer available than the minimum; and it ends.
    #[test]
    fn a_rollout_stays_within_its_bounds(
        replicas in 1..9_i32,
        surge in arb_share(),
        unavailable in arb_share(),
        events in proptest::collection::vec((0..8_u8, 0..3_usize), 0..120),
    ) {
        let mut bed = Bed::rolling(replicas, surge, unavailable);
        bed.settle();
        let facts = DeploymentFacts::read(&bed.world.json(&KIND.resource, "web")).unwrap();
        let (most, least) = (replicas + facts.max_surge(), replicas - facts.max_unavailable());
        bed.image("v2");
        for (event, which) in events {
            let sets = bed.sets();
            let name = &sets[which % sets.len()];
            match event {
                0..=2 => { let plan = bed.plan(); bed.world.obey(&plan); }
                3 | 4 => bed.sync(name),
                5 => bed.ready(name),
                6 => bed.publish(name),
                _ if which == 0 => bed.image("v3"),
                _ => {}
            }
            let wanted: i32 = bed.sets().iter().map(|name| bed.set(name).replicas).sum();
            let ready: i32 = bed.real.values().map(|(_, ready)| ready).sum();
            prop_assert!(wanted <= most, "{wanted} pods, at most {most}");
            prop_assert!(ready >= least, "{ready} available, at least {least}: {}", bed.sizes());
        }
        bed.settle();
        let sizes = bed.sizes();
        let last = format!("={replicas}/{replicas}");
        prop_assert!(sizes.ends_with(&last), "{}", sizes);
    }
}
