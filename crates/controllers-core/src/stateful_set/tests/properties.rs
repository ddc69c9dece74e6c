//! For every small history: the world is driven by random events and the planner, and every promise is checked at every
//! step; then the events stop and the set must settle (L1).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Action, HealRollout, Ordinal, Plan, Retention, Why, keeps_claim};
use super::world::World;

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Event {
    Ready(u8),
    NotReady(u8),
    Fail(u8),
    /// Somebody deletes the pod.
    Delete(u8),
    /// The node has stopped the pod.
    Gone(u8),
    Scale(u8),
    Image(u8),
    /// A template whose pods never become ready.
    Break,
    Partition(u8),
    Wait(u8),
    Policy(bool, bool),
    Plan,
    /// Only some of the plan's actions happen, then the controller starts again.
    Crash(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Plan),
        4 => (0_u8..6).prop_map(Event::Ready),
        1 => (0_u8..6).prop_map(Event::NotReady),
        1 => (0_u8..6).prop_map(Event::Fail),
        1 => (0_u8..6).prop_map(Event::Delete),
        3 => (0_u8..6).prop_map(Event::Gone),
        1 => (0_u8..5).prop_map(Event::Scale),
        1 => (0_u8..3).prop_map(Event::Image),
        1 => (0_u8..5).prop_map(Event::Partition),
        1 => (0_u8..20).prop_map(Event::Wait),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(deleted, scaled)| Event::Policy(deleted, scaled)),
        1 => (0_u8..4).prop_map(Event::Crash),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    parallel: bool,
    claims: bool,
    min_ready: i32,
    max_unavailable: i32,
    heal: bool,
    events: Vec<Event>,
}

fn case() -> impl Strategy<Value = Case> {
    let min_ready = prop_oneof![Just(0), Just(5)];
    (any::<bool>(), any::<bool>(), min_ready, 1..3, any::<bool>(), prop::collection::vec(event(), 0..60)).prop_map(
        |(parallel, claims, min_ready, max_unavailable, heal, events)| Case {
            parallel,
            claims,
            min_ready,
            max_unavailable,
            heal,
            events,
        },
    )
}

fn start(case: &Case) -> World {
    let mut spec = World::spec(3, "v0");
    if case.parallel {
        spec["podManagementPolicy"] = json!("Parallel");
    }
    if case.claims {
        spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    }
    spec["minReadySeconds"] = json!(case.min_ready);
    spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(case.max_unavailable);
    let heal_rollout = if case.heal { HealRollout::NeverReady } else { HealRollout::Off };
    World { heal_rollout, ..World::new(spec) }
}

/// Whether a pod can become ready: those of image `broken` cannot.
fn is_sound(pod: &Value) -> bool {
    pod["spec"]["containers"][0]["image"] != "broken"
}

fn happen(world: &mut World, event: &Event, case: &Case) {
    let name = |ordinal: &u8| format!("web-{ordinal}");
    let is_alive = |world: &World, name: &str| {
        world
            .pods
            .get(name)
            .is_some_and(|pod| pod["status"]["phase"] != "Failed" && pod["metadata"]["deletionTimestamp"].is_null())
    };
    match event {
        Event::Ready(ordinal) if is_alive(world, &name(ordinal)) && is_sound(&world.pods[&name(ordinal)]) => {
            world.node(&name(ordinal), true, "Running")
        }
        Event::NotReady(ordinal) if is_alive(world, &name(ordinal)) => world.node(&name(ordinal), false, "Running"),
        Event::Fail(ordinal) if is_alive(world, &name(ordinal)) => world.node(&name(ordinal), false, "Failed"),
        Event::Ready(_) | Event::NotReady(_) | Event::Fail(_) => {}
        Event::Delete(ordinal) => {
            let revision = world.tick();
            if let Some(pod) = world.pods.get_mut(&name(ordinal)) {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                pod["metadata"]["resourceVersion"] = json!(revision);
            }
        }
        Event::Gone(ordinal) => {
            let going =
                world.pods.get(&name(ordinal)).is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
            if going {
                world.gone(&name(ordinal));
                collect(world);
            }
        }
        Event::Break => world.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!("broken")),
        Event::Scale(replicas) => world.edit(|spec| spec["replicas"] = json!(replicas)),
        Event::Image(image) => {
            world.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!(format!("v{image}")));
        }
        Event::Partition(partition) => {
            world.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(partition));
        }
        Event::Wait(secs) => world.now += jiff::SignedDuration::from_secs(i64::from(*secs)),
        Event::Policy(deleted, scaled) => {
            let word = |delete: &bool| if *delete { "Delete" } else { "Retain" };
            let policy = json!({"whenDeleted": word(deleted), "whenScaled": word(scaled)});
            world.edit(|spec| spec["persistentVolumeClaimRetentionPolicy"] = policy);
        }
        Event::Plan => step(world, case, usize::MAX),
        Event::Crash(actions) => step(world, case, usize::from(*actions)),
    }
}

/// The garbage collector: a claim goes when every owner is gone, unless a pod uses it or the set keeps it by now (S5).
fn collect(world: &mut World) {
    let set = world.facts();
    let uids: Vec<String> =
        world.pods.values().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    let pods: Vec<String> = world.pods.keys().cloned().collect();
    world.claims.retain(|name, claim| {
        let owners = &claim["metadata"]["ownerReferences"];
        let owners: Vec<OwnerReference> = serde_json::from_value(owners.clone()).unwrap_or_default();
        let absent = |uid: &str| uid != "set-1" && !uids.iter().any(|known| known == uid);
        let used = pods.iter().any(|pod| format!("data-{pod}") == *name);
        let kept = owners.iter().any(|owner| keeps_claim(&set, name, owner));
        let stays = owners.is_empty() || used || kept || !owners.iter().all(|owner| absent(&owner.uid));
        assert!(
            stays || set.retention.when_scaled == Retention::Delete,
            "data goes only where the policy says so (S5)"
        );
        stays
    });
}

fn step(world: &mut World, case: &Case, actions_max: usize) {
    let plan = world.plan();
    check_promises(world, &plan, case);
    let actions: Vec<_> = plan.actions().take(actions_max).cloned().collect();
    for action in &actions {
        world.act(action);
    }
}

/// The safety promises that one plan can break (S5, S6).
fn check_promises(world: &World, plan: &Plan, case: &Case) {
    let set = world.facts();
    let ready = |ordinal: i32| {
        world.pods.get(&format!("web-{ordinal}")).is_some_and(|pod| {
            let condition = &pod["status"]["conditions"][0];
            let since = condition["lastTransitionTime"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            pod["status"]["phase"] == "Running"
                && condition["status"] == "True"
                && pod["metadata"]["deletionTimestamp"].is_null()
                && since
                    .is_some_and(|since| since + jiff::SignedDuration::from_secs(case.min_ready.into()) <= world.now)
        })
    };
    let mut deleted: Vec<(Ordinal, Why)> = Vec::new();
    for action in plan.actions() {
        match action {
            Action::CreatePod { ordinal, .. } => {
                assert!(set.has_slot(*ordinal));
                if !case.parallel {
                    assert!((0..ordinal.0).all(ready), "{ordinal} is created before all below are available");
                }
            }
            Action::DeletePod { ordinal, why, .. } => deleted.push((*ordinal, *why)),
            _ => {}
        }
    }
    let number = |wanted: Why| deleted.iter().filter(|(_, why)| *why == wanted).count();
    let created = plan.actions().filter(|action| matches!(action, Action::CreatePod { .. })).count();
    if !case.parallel {
        assert!(created <= 1, "one creation at a time");
        assert!(number(Why::ScaledDown) <= 1, "one scale-down at a time");
        assert!(created + number(Why::ScaledDown) + number(Why::Ended) <= 1, "one thing at a time");
        if number(Why::Outdated) > 0 {
            assert_eq!(created + number(Why::ScaledDown) + number(Why::Ended), 0, "scaling precedes updating");
        }
    }
    for (ordinal, why) in &deleted {
        match why {
            Why::ScaledDown => {
                assert!(!set.has_slot(*ordinal));
                let above = world.pods.keys().filter_map(|name| set.ordinal_of(name)).filter(|other| other > ordinal);
                assert!(case.parallel || above.count() == 0, "highest first");
            }
            Why::Outdated => {
                let partition = world.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
                assert!(i64::from(ordinal.0) >= partition, "never below the partition");
            }
            Why::NeverReady => {
                let conditions = &world.pods[&format!("web-{ordinal}")]["status"]["conditions"];
                assert_ne!(conditions[1]["status"], "True", "healing never touches a pod that was ever ready");
                assert!(case.heal);
            }
            Why::Ended => {}
        }
    }
    let unavailable = (0..set.replicas).filter(|ordinal| !ready(*ordinal)).count();
    let taken_down = deleted.iter().filter(|(ordinal, why)| *why == Why::Outdated && ready(ordinal.0)).count();
    if taken_down > 0 {
        assert!(unavailable + taken_down <= usize::try_from(case.max_unavailable).unwrap(), "within the budget");
    }
    let status = &plan.status_after;
    assert!(status.current_replicas >= 0 && status.current_replicas <= status.replicas);
    assert!(status.updated_replicas <= status.replicas && status.available_replicas <= status.ready_replicas);
}

/// A node that is quick and faultless, and a patient clock.
fn settle(world: &mut World, case: &Case) {
    for _round in 0..200 {
        let names: Vec<String> = world.pods.keys().cloned().collect();
        for name in names {
            let pod = &world.pods[&name];
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                world.gone(&name);
                collect(world);
            } else if pod["status"]["phase"] != "Failed"
                && pod["status"]["conditions"][0]["status"] != "True"
                && is_sound(pod)
            {
                world.node(&name, true, "Running");
            }
        }
        world.now += jiff::SignedDuration::from_secs(10);
        step(world, case, usize::MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_promises_and_settles(case in case()) {
        // C-5, C-11, C-75e, C-84, C-96a, N-42.
        let mut world = start(&case);
        for event in &case.events {
            happen(&mut world, event, &case);
        }
        settle(&mut world, &case);
        let plan = world.plan();
        prop_assert!(plan.is_settled(), "{plan:?}");
        let set = world.facts();
        let wanted: Vec<String> = (0..set.replicas).map(|ordinal| format!("web-{ordinal}")).collect();
        let found: Vec<String> = world.pods.keys().cloned().collect();
        prop_assert_eq!(found, wanted, "exactly the wanted pods");
        prop_assert_eq!(plan.status_after.ready_replicas, set.replicas);
        prop_assert_eq!(set.status.observed_generation, set.generation);
        let partition = world.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
        let by_name: BTreeMap<_, _> = world.pods.iter().map(|(name, pod)| (name, &pod["metadata"]["labels"]["controller-revision-hash"])).collect();
        for (name, revision) in by_name {
            let ordinal = set.ordinal_of(name).unwrap();
            if i64::from(ordinal.0) >= partition {
                prop_assert_eq!(revision.as_str().unwrap(), &plan.status_after.update_revision);
            }
        }
        if case.claims {
            for ordinal in 0..set.replicas {
                let claim = format!("data-web-{ordinal}");
                prop_assert!(world.claims.contains_key(&claim), "each slot has its claim");
            }
        }
    }

    /// A broken template, whatever came before and beside it, is healed by a good one, without a pod deleted by hand (L4).
    #[test]
    fn a_broken_rollout_heals_when_the_template_is_mended(
        mut case in case(),
        breaks in prop::collection::vec(0_usize..60, 1..4),
        no_block in any::<bool>(),
    ) {
        // C-96e.
        case.heal = true;
        for at in breaks {
            case.events.insert(at.min(case.events.len()), Event::Break);
        }
        let mut world = start(&case);
        if no_block {
            world.edit(|spec| spec["updateStrategy"] = json!({"type": "RollingUpdate"}));
            case.max_unavailable = 1;
            case.events.retain(|event| !matches!(event, Event::Partition(_)));
        }
        for event in &case.events {
            happen(&mut world, event, &case);
        }
        happen(&mut world, &Event::Image(0), &case);
        if !no_block {
            happen(&mut world, &Event::Partition(0), &case);
        }
        settle(&mut world, &case);
        let plan = world.plan();
        prop_assert!(plan.is_settled(), "{plan:?}");
        let set = world.facts();
        prop_assert_eq!(plan.status_after.ready_replicas, set.replicas);
        prop_assert_eq!(plan.status_after.updated_replicas, set.replicas);
    }
}
