//! What is known of a pod over restarts: of the agent, of the node, of its containers.

use expect_test::expect;
use serde_json::{Value, json};

use super::world::{EPOCH, World, found, pod};
use super::{RUNNING, one};

/// A pod as the API has it while it runs.
fn running_pod(spec: Value) -> k8s_openapi::api::core::v1::Pod {
    let mut pod = pod(spec);
    let status = json!({
        "phase": "Running", "startTime": "2026-11-21T06:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T06:00:05Z"}],
        "containerStatuses": [{"name": "c", "image": "img", "imageID": "i", "ready": true, "started": true,
            "restartCount": 2, "containerID": "rs://id-c-2", "state": {"running": {"startedAt": "2026-11-21T06:00:01Z"}},
            "lastState": {}}],
    });
    pod.status = Some(serde_json::from_value(status).unwrap());
    pod
}

#[test]
fn a_restarted_agent_touches_nothing_and_a_ready_container_stays_ready() {
    let spec =
        json!({"containers": [{"name": "c", "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["x"]}}}]});
    let mut world = World::new(running_pod(spec));
    world.machine.adopt(found(true, &[("c", 2, None)], world.now), world.now);
    let got = world.run("status\n@0\nconfirm yes\nstatus");
    expect![[r#"
        status -> Running Ready | c running, restarts 2, ready
        @0 -> confirm?; Readiness? c
        confirm yes -> -
        status -> Running Ready | c running, restarts 2, ready
    "#]]
    .assert_eq(&got);
    assert_eq!(ready_since(&mut world), "2026-11-21T06:00:05Z");
}

fn ready_since(world: &mut World) -> String {
    let conditions = world.machine.status(world.now).conditions.unwrap();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    ready.last_transition_time.as_ref().unwrap().0.to_string()
}

#[test]
fn s27_a_pod_that_became_ready_in_the_future_is_ready_from_now_on() {
    let ready_since_when = |created: &str, told: &str| {
        let mut pod = running_pod(one());
        pod.metadata.creation_timestamp = Some(serde_json::from_value(json!(created)).unwrap());
        let ready = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        ready.last_transition_time = Some(serde_json::from_value(json!(told)).unwrap());
        let mut world = World::new(pod);
        world.machine.adopt(found(true, &[("c", 2, None)], world.now), world.now);
        ready_since(&mut world)
    };
    let since = |told| ready_since_when("2026-11-21T06:00:00Z", told);
    // The machine's clock was ten years ahead: minReadySeconds would count from there.
    assert_eq!(since("2036-11-21T06:00:05Z"), EPOCH);
    assert_eq!(since("2026-11-21T06:00:05Z"), "2026-11-21T06:00:05Z");
    // Clocks differ a little, always.
    assert_eq!(since("2026-11-21T07:00:02Z"), "2026-11-21T07:00:02Z");
    assert_eq!(since("2026-11-21T07:00:03Z"), EPOCH);
    // The machine's clock is behind, as before it has asked anybody for the time: what was told was right.
    assert_eq!(ready_since_when("2029-01-01T00:00:00Z", "2029-01-01T00:00:05Z"), "2029-01-01T00:00:05Z");
}

#[test]
fn what_the_api_says_of_the_instance_before_is_kept_over_a_restart_of_the_agent() {
    let mut pod = running_pod(one());
    let status = &mut pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
    let last = json!({"terminated": {"exitCode": 3, "reason": "Error", "containerID": "rs://id-c-1"}});
    status.last_state = Some(serde_json::from_value(last).unwrap());
    let mut world = World::new(pod);
    world.machine.adopt(found(true, &[("c", 1, Some(3)), ("c", 2, None)], world.now), world.now);
    expect![[r#"
        status -> Running Ready | c running, last Error(3), restarts 2, ready
    "#]]
    .assert_eq(&world.run("status"));
    let mut unknown = World::new(running_pod(one()));
    unknown.machine.adopt(found(true, &[("c", 2, Some(4)), ("c", 3, None)], unknown.now), unknown.now);
    expect![[r#"
        status -> Running Ready | c running, last Error(4), restarts 3, ready
    "#]]
    .assert_eq(&unknown.run("status"));
}

#[test]
fn another_instance_does_not_inherit_readiness() {
    let spec =
        json!({"containers": [{"name": "c", "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["x"]}}}]});
    let mut world = World::new(running_pod(spec));
    world.machine.adopt(found(true, &[("c", 3, None)], world.now), world.now);
    expect![[r#"
        status -> Running | c running, last ContainerStatusUnknown(137), restarts 3
    "#]]
    .assert_eq(&world.run("status"));
}

#[test]
fn a_container_that_died_while_the_agent_was_away_is_restarted() {
    let mut world = World::new(running_pod(one()));
    world.machine.adopt(found(true, &[("c", 2, Some(137))], world.now), world.now);
    expect![[r#"
        status -> Running | c Error(137), restarts 2
        @0 -> confirm?
        confirm yes -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#3
        started c -> Created[Container created]; Started[Container started]
        status -> Running Ready | c running, last Error(137), restarts 3, ready
    "#]]
    .assert_eq(&world.run("status\n@0\nconfirm yes\nfound c\nstarted c\nstatus"));
}

#[test]
fn after_power_loss_the_pod_is_started_again_in_place() {
    // N-38.
    let mut world = World::new(running_pod(one()));
    let got = world.run("status\n@0\nconfirm yes\nvolumes ok\nsandbox ok\nfound c\nstarted c\nstatus");
    expect![[r#"
        status -> Running | c ContainerStatusUnknown(137), restarts 2
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#3
        started c -> Created[Container created]; Started[Container started]
        status -> Running Ready | c running, last ContainerStatusUnknown(137), restarts 3, ready
    "#]]
    .assert_eq(&got);
}

#[test]
fn a_pod_that_has_ended_is_only_cleaned_away() {
    let mut pod = running_pod(one());
    pod.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    pod.status.as_mut().unwrap().reason = Some("Terminated".to_owned());
    expect![[r#"
        @0 -> tear-down volumes
        status -> Failed(Terminated) | c ContainerStatusUnknown(137), restarts 2
        torn ok -> -
        delete 0 -> tear-down volumes logs
        torn ok -> delete-object
        deleted ok -> -
    "#]]
    .assert_eq(&World::new(pod).run("@0\nstatus\ntorn ok\ndelete 0\ntorn ok\ndeleted ok"));
}

/// The condition that says whether the pod was ever ready.
fn ever_ready(world: &mut World) -> Option<String> {
    let conditions = world.machine.status(world.now).conditions.unwrap();
    conditions.into_iter().find(|one| one.type_ == meta::EVER_READY_CONDITION).map(|one| one.status)
}

#[test]
fn the_first_ready_is_remembered_for_the_life_of_the_pod() {
    let probe = json!({"periodSeconds": 1, "failureThreshold": 1, "exec": {"command": ["x"]}});
    let spec = json!({"containers": [{"name": "c", "readinessProbe": probe}]});
    let mut world = World::new(pod(spec.clone()));
    assert_eq!(ever_ready(&mut world).as_deref(), Some("False"), "from the first report on");
    world.run(&format!("{RUNNING}\nprobe c readiness err\nstatus"));
    assert_eq!(ever_ready(&mut world).as_deref(), Some("False"));
    world.run("@0.01\nprobe c readiness ok");
    assert_eq!(ever_ready(&mut world).as_deref(), Some("True"), "in the same report as the first Ready");
    world.run("@1.01\nprobe c readiness err gone\nstatus");
    assert_eq!(ever_ready(&mut world).as_deref(), Some("True"), "though it is not ready now");
    let mut reported = pod(spec);
    reported.status = Some(world.machine.status(world.now));
    assert_eq!(ever_ready(&mut World::new(reported)).as_deref(), Some("True"), "over a restart of the agent");
}

#[test]
fn nothing_is_said_of_the_past_of_a_pod_that_an_agent_without_the_condition_reported_on() {
    let mut pod = running_pod(one());
    assert_eq!(ever_ready(&mut World::new(pod.clone())).as_deref(), Some("True"), "it is ready");
    pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    assert_eq!(ever_ready(&mut World::new(pod)), None, "it may have been");
}
