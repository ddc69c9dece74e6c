//! The life of a pod as text: events in, actions and status out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod properties;
mod restarts;
mod world;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use world::{World, pod};

#[track_caller]
fn check(spec: Value, script: &str, want: Expect) {
    want.assert_eq(&World::new(pod(spec)).run(script));
}

/// From nothing to a running container `c`, in as few lines as possible.
const RUNNING: &str = "
    @0
    confirm yes
    volumes ok
    sandbox ok
    found c
    started c
";

fn one() -> Value {
    json!({"containers": [{"name": "c"}]})
}

#[test]
fn a_pod_is_confirmed_prepared_and_started() {
    check(
        one(),
        "@0
         status
         confirm yes
         volumes ok
         sandbox ok
         missing c
         pulled c ok
         status
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            status -> Pending | c ContainerCreating
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            missing c -> Pulling[Pulling image "img"]; pull c
            pulled c ok -> Pulled[Successfully pulled image "img" in 1.234s (1.234s including waiting). Image size: 99 bytes.]; start c#0
            status -> Pending | c ContainerCreating
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | c running, ready
        "#]],
    );
}

#[test]
fn nothing_is_started_for_a_pod_that_is_not_wanted_any_more() {
    check(
        one(),
        "@0\nconfirm no\ntorn ok",
        expect![[r#"
        @0 -> confirm?
        confirm no -> tear-down volumes logs
        torn ok -> -
    "#]],
    );
}

#[test]
fn an_api_that_does_not_answer_is_asked_again() {
    check(
        one(),
        "@0\nconfirm unknown\n@0.9\n@1\nconfirm yes",
        expect![[r#"
        @0 -> confirm?
        confirm unknown -> -
        @0.9 -> -
        @1 -> confirm?
        confirm yes -> volumes!; sandbox!
    "#]],
    );
}

#[test]
fn init_containers_run_one_after_the_other_before_the_others() {
    check(
        json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]}),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found a
         started a
         status
         exit a 0
         found b
         started b
         exit b 0
         found c
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find a
            found a -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start a#0
            started a -> Created[Container created]; Started[Container started]
            status -> Pending | a running | b PodInitializing | c PodInitializing
            exit a 0 -> find b
            found b -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start b#0
            started b -> Created[Container created]; Started[Container started]
            exit b 0 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | a Completed(0), ready | b Completed(0), ready | c running, ready
        "#]],
    );
}

#[test]
fn a_failing_init_container_backs_off_and_holds_the_rest() {
    check(
        json!({"initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found a
         started a
         exit a 1
         found a
         started a
         exit a 1
         @1
         status
         @10",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find a
            found a -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start a#0
            started a -> Created[Container created]; Started[Container started]
            exit a 1 -> find a
            found a -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start a#1
            started a -> Created[Container created]; Started[Container started]
            exit a 1 -> -
            @1 -> !BackOff[Back-off restarting failed container a in pod p-0_ns(u1)]
            status -> Pending | a CrashLoopBackOff: back-off 10s restarting failed container=a pod=p-0_ns(u1), last Error(1), restarts 1 | c PodInitializing
            @10 -> find a
        "#]],
    );
}

#[test]
fn a_container_is_started_after_the_one_before_it_and_its_hook() {
    check(
        json!({"containers": [
            {"name": "c", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}, {"name": "d"}]}),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found c
         started c
         found d
         started d
         status
         hook c poststart ok
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]; PostStart c; find d
            found d -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start d#0
            started d -> Created[Container created]; Started[Container started]
            status -> Running | c running | d running, ready
            hook c poststart ok -> -
            status -> Running Ready | c running, ready | d running, ready
        "#]],
    );
}

#[test]
fn a_failed_post_start_hook_kills_and_restarts() {
    check(
        json!({"containers": [{"name": "c", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}]}),
        &format!("{RUNNING}\nhook c poststart err no\nexit c 143\nstatus"),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]; PostStart c
            hook c poststart err no -> !FailedPostStartHook[PostStartHook failed]; Killing[FailedPostStartHook]; TERM c
            exit c 143 -> find c
            status -> Running | c Error(143)
        "#]],
    );
}

#[test]
fn crashes_back_off_from_ten_seconds_doubling_and_say_so() {
    check(
        one(),
        &format!(
            "{RUNNING}
             exit c 1
             found c
             started c
             @5
             exit c 1
             status
             @6
             status
             @14.9
             @15
             found c
             status
             started c
             exit c 1
             @16
             @34.9
             @35"
        ),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            exit c 1 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#1
            started c -> Created[Container created]; Started[Container started]
            @5 -> -
            exit c 1 -> -
            status -> Running | c Error(1), last Error(1), restarts 1
            @6 -> !BackOff[Back-off restarting failed container c in pod p-0_ns(u1)]
            status -> Running | c CrashLoopBackOff: back-off 10s restarting failed container=c pod=p-0_ns(u1), last Error(1), restarts 1
            @14.9 -> -
            @15 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; remove c#0; start c#2
            status -> Running | c ContainerCreating, last Error(1), restarts 1
            started c -> Created[Container created]; Started[Container started]
            exit c 1 -> -
            @16 -> !BackOff[Back-off restarting failed container c in pod p-0_ns(u1)]
            @34.9 -> -
            @35 -> find c
        "#]],
    );
}

#[test]
fn a_pod_that_need_not_run_again_ends() {
    check(
        json!({"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}),
        &format!("{RUNNING}\nexit c 0\nstatus\ntorn ok\ndelete 30\ntorn ok\ndeleted ok"),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            exit c 0 -> tear-down volumes
            status -> Succeeded | c Completed(0)
            torn ok -> -
            delete 30 -> tear-down volumes logs
            torn ok -> delete-object
            deleted ok -> -
        "#]],
    );
    check(
        json!({"restartPolicy": "Never", "containers": [{"name": "c"}]}),
        &format!("{RUNNING}\nexit c 3\nstatus"),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            exit c 3 -> tear-down volumes
            status -> Failed | c Error(3)
        "#]],
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_and_tried_again() {
    check(
        one(),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         missing c
         pulled c manifest unknown
         status
         @1
         status
         @9.9
         @10
         pulled c ok
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            missing c -> Pulling[Pulling image "img"]; pull c
            pulled c manifest unknown -> !Failed[Failed to pull image "img": manifest unknown]; !Failed[Error: ErrImagePull]
            status -> Pending | c ErrImagePull: manifest unknown
            @1 -> BackOff[Back-off pulling image "img"]; !Failed[Error: ImagePullBackOff]
            status -> Pending | c ImagePullBackOff: Back-off pulling image "img": ErrImagePull: manifest unknown
            @9.9 -> -
            @10 -> Pulling[Pulling image "img"]; pull c
            pulled c ok -> Pulled[Successfully pulled image "img" in 1.234s (1.234s including waiting). Image size: 99 bytes.]; start c#0
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | c running, ready
        "#]],
    );
}

#[test]
fn an_image_that_must_not_be_pulled_is_looked_for_again() {
    check(
        json!({"containers": [{"name": "c", "imagePullPolicy": "Never"}]}),
        "@0\nconfirm yes\nvolumes ok\nsandbox ok\nmissing c\nstatus\n@10\nfound c",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            missing c -> !ErrImageNeverPull[Container image "img" is not present with pull policy of Never]; !Failed[Error: ErrImageNeverPull]
            status -> Pending | c ErrImageNeverPull: Container image "img" is not present with pull policy of Never
            @10 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        "#]],
    );
}

#[test]
fn a_missing_config_map_is_told_and_its_appearance_starts_the_container_at_once() {
    check(
        one(),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found c
         failed c config configmap \"m\" not found
         status
         sources
         found c
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            failed c config configmap "m" not found -> !Failed[Error: configmap "m" not found]
            status -> Pending | c CreateContainerConfigError: configmap "m" not found
            sources -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | c running, ready
        "#]],
    );
}

#[test]
fn a_program_that_is_not_there_counts_as_a_crash() {
    check(
        one(),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found c
         failed c start exec: \"x\": not found
         status
         found c
         failed c start exec: \"x\": not found
         @1
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            failed c start exec: "x": not found -> Created[Container created]; !Failed[Error: exec: "x": not found]; find c
            status -> Running | c StartError(128)
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#1
            failed c start exec: "x": not found -> Created[Container created]; !Failed[Error: exec: "x": not found]
            @1 -> !BackOff[Back-off restarting failed container c in pod p-0_ns(u1)]
            status -> Running | c CrashLoopBackOff: back-off 10s restarting failed container=c pod=p-0_ns(u1), last StartError(128), restarts 1
        "#]],
    );
}

#[test]
fn volumes_that_fail_are_tried_again_with_longer_waits() {
    check(
        one(),
        "@0\nconfirm yes\nsandbox ok\nvolumes err no claim\nstatus\n@0.5\nvolumes err no claim\n@1.4\n@1.5\nvolumes ok",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            sandbox ok -> -
            volumes err no claim -> !FailedMount[no claim]
            status -> Pending | c ContainerCreating
            @0.5 -> volumes!
            volumes err no claim -> !FailedMount[no claim]
            @1.4 -> -
            @1.5 -> volumes!
            volumes ok -> find c
        "#]],
    );
}

#[test]
fn deletion_runs_the_hook_then_term_then_kill() {
    // N-40.
    check(
        json!({"containers": [{"name": "c", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}),
        &format!(
            "{RUNNING}
             delete 30
             status
             @3
             hook c prestop ok
             @29.9
             @30
             exit c 137
             status
             torn ok
             deleted ok"
        ),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            delete 30 -> Killing[Stopping container c]; PreStop c
            status -> Running Ready | c running, ready
            @3 -> -
            hook c prestop ok -> TERM c
            @29.9 -> -
            @30 -> KILL c
            exit c 137 -> tear-down volumes logs
            status -> Failed | c Error(137)
            torn ok -> delete-object
            deleted ok -> -
        "#]],
    );
}

#[test]
fn a_hook_that_eats_the_grace_leaves_two_seconds_for_term() {
    check(
        json!({"containers": [{"name": "c", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}),
        &format!("{RUNNING}\ndelete 5\n@4.9\n@5\n@6.9\n@7\n@16.9\n@17"),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            delete 5 -> Killing[Stopping container c]; PreStop c
            @4.9 -> -
            @5 -> TERM c
            @6.9 -> -
            @7 -> KILL c
            @16.9 -> -
            @17 -> KILL c
        "#]],
    );
}

#[test]
fn a_later_deletion_shortens_the_grace_and_never_lengthens_it() {
    check(
        one(),
        &format!("{RUNNING}\ndelete 30\n@1\ndelete 2\n@2.9\n@3"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        delete 30 -> Killing[Stopping container c]; TERM c
        @1 -> -
        delete 2 -> -
        @2.9 -> -
        @3 -> KILL c
    "#]],
    );
    check(
        one(),
        &format!("{RUNNING}\ndelete 2\ndelete 60\n@1.9\n@2"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        delete 2 -> Killing[Stopping container c]; TERM c
        delete 60 -> -
        @1.9 -> -
        @2 -> KILL c
    "#]],
    );
}

#[test]
fn a_pod_removed_by_force_still_dies_before_it_is_forgotten() {
    // N-41.
    check(
        one(),
        &format!("{RUNNING}\ngone\n@2\nexit c 137\ntorn ok"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        gone -> Killing[Stopping container c]; TERM c
        @2 -> KILL c
        exit c 137 -> tear-down volumes logs
        torn ok -> -
    "#]],
    );
    let mut at_once = one();
    at_once["terminationGracePeriodSeconds"] = json!(0);
    check(
        at_once,
        &format!("{RUNNING}\ngone\nexit c 137\ntorn ok"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        gone -> Killing[Stopping container c]; KILL c
        exit c 137 -> tear-down volumes logs
        torn ok -> -
    "#]],
    );
}

#[test]
fn a_deletion_during_preparation_waits_for_what_is_under_way() {
    check(
        one(),
        "@0\nconfirm yes\ndelete 30\nvolumes ok\nsandbox ok\ntorn ok\ndeleted ok",
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        delete 30 -> -
        volumes ok -> -
        sandbox ok -> tear-down volumes logs
        torn ok -> delete-object
        deleted ok -> -
    "#]],
    );
    check(
        one(),
        "@0\nconfirm yes\nvolumes ok\nsandbox ok\nfound c\ndelete 30\nstarted c\nexit c 0\ntorn err busy\n@0.5\ntorn ok",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            delete 30 -> -
            started c -> Created[Container created]; Started[Container started]; Killing[Stopping container c]; TERM c
            exit c 0 -> tear-down volumes logs
            torn err busy -> !FailedKillPod[error killing pod: busy]
            @0.5 -> tear-down volumes logs
            torn ok -> delete-object
        "#]],
    );
}

#[test]
fn sidecars_start_before_and_end_after_the_others() {
    check(
        json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]}),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found s
         started s
         found c
         started c
         status
         delete 30
         exit c 0
         exit s 0",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find s
            found s -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start s#0
            started s -> Created[Container created]; Started[Container started]; find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | s running, ready | c running, ready
            delete 30 -> Killing[Stopping container c]; TERM c
            exit c 0 -> Killing[Stopping container s]; TERM s
            exit s 0 -> tear-down volumes logs
        "#]],
    );
}

#[test]
fn readiness_is_asked_at_once_then_early_then_each_period() {
    // N-36.
    check(
        json!({"containers": [{"name": "c", "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["x"]}}}]}),
        &format!(
            "{RUNNING}
             probe c readiness err
             status
             @0.01
             probe c readiness err
             @0.025
             probe c readiness ok
             status
             @0.5
             @1
             probe c readiness err gone
             @2
             probe c readiness err gone
             @3
             status
             probe c readiness err gone
             status"
        ),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]; Readiness? c
            probe c readiness err -> -
            status -> Running | c running
            @0.01 -> Readiness? c
            probe c readiness err -> -
            @0.025 -> Readiness? c
            probe c readiness ok -> -
            status -> Running Ready | c running, ready
            @0.5 -> -
            @1 -> Readiness? c
            probe c readiness err gone -> !Unhealthy[Readiness probe failed: err gone]
            @2 -> Readiness? c
            probe c readiness err gone -> !Unhealthy[Readiness probe failed: err gone]
            @3 -> Readiness? c
            status -> Running Ready | c running, ready
            probe c readiness err gone -> !Unhealthy[Readiness probe failed: err gone]
            status -> Running | c running
        "#]],
    );
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let probe = json!({"periodSeconds": 1, "exec": {"command": ["x"]}});
    check(
        json!({"containers": [{"name": "c", "startupProbe": probe, "livenessProbe": probe, "readinessProbe": probe}]}),
        &format!("{RUNNING}\nprobe c startup ok\nprobe c liveness ok\nprobe c readiness ok\nstatus\n@1"),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]; Startup? c
            probe c startup ok -> Liveness? c; Readiness? c
            probe c liveness ok -> -
            probe c readiness ok -> -
            status -> Running Ready | c running, ready
            @1 -> Liveness? c; Readiness? c
        "#]],
    );
}

#[test]
fn a_container_that_is_not_alive_any_more_is_restarted() {
    check(
        json!({"containers": [{"name": "c", "livenessProbe":
            {"periodSeconds": 1, "failureThreshold": 2, "exec": {"command": ["x"]}}}]}),
        &format!(
            "{RUNNING}
             probe c liveness err sick
             @1
             probe c liveness err sick
             exit c 143
             status"
        ),
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]; Liveness? c
            probe c liveness err sick -> !Unhealthy[Liveness probe failed: err sick]
            @1 -> Liveness? c
            probe c liveness err sick -> !Unhealthy[Liveness probe failed: err sick]; Killing[Container c failed liveness probe, will be restarted]; TERM c
            exit c 143 -> find c
            status -> Running | c Error(143)
        "#]],
    );
}

#[test]
fn a_new_image_restarts_the_container() {
    check(
        one(),
        &format!("{RUNNING}\nset-image other\nexit c 143\nfound c\nstatus"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        set-image other -> Killing[Container c definition changed, will be restarted]; TERM c
        exit c 143 -> find c
        found c -> Pulled[Container image "other" already present on machine and can be accessed by the pod]; start c#1
        status -> Running | c ContainerCreating, last Error(143)
    "#]],
    );
}

#[test]
fn a_pod_over_its_deadline_fails() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(5);
    check(
        spec,
        &format!("{RUNNING}\n@4.9\n@5\nexit c 143\nstatus\ntorn ok"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        @4.9 -> -
        @5 -> Killing[Stopping container c]; TERM c
        exit c 143 -> tear-down volumes
        status -> Failed(DeadlineExceeded) | c Error(143)
        torn ok -> -
    "#]],
    );
}

#[test]
fn a_node_that_shuts_down_keeps_bare_pods_and_fails_controlled_ones() {
    check(
        one(),
        &format!("{RUNNING}\nshutdown 10\nexit c 143\nstatus\ntorn ok"),
        expect![[r#"
        @0 -> confirm?
        confirm yes -> volumes!; sandbox!
        volumes ok -> -
        sandbox ok -> find c
        found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
        started c -> Created[Container created]; Started[Container started]
        shutdown 10 -> Killing[Stopping container c]; TERM c
        exit c 143 -> tear-down
        status -> Running | c Error(143)
        torn ok -> -
    "#]],
    );
    let mut controlled = pod(one());
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "p", "uid": "s", "controller": true});
    controlled.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    let mut world = World::new(controlled);
    world.run(RUNNING);
    let got = world.run("shutdown 10\nexit c 0\nstatus\ntorn ok\nstatus");
    expect![[r#"
        shutdown 10 -> Killing[Stopping container c]; TERM c
        exit c 0 -> tear-down volumes
        status -> Failed(Terminated) | c Completed(0)
        torn ok -> -
        status -> Failed(Terminated) | c Completed(0)
    "#]]
    .assert_eq(&got);
}

#[test]
fn a_dead_sandbox_is_made_anew_with_its_init_containers_after_a_new_confirmation() {
    check(
        json!({"initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}),
        "@0
         confirm yes
         volumes ok
         sandbox ok
         found a
         started a
         exit a 0
         found c
         started c
         died
         status
         confirm yes
         sandbox ok
         volumes ok
         found a
         started a
         exit a 0
         found c
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find a
            found a -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start a#0
            started a -> Created[Container created]; Started[Container started]
            exit a 0 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            died -> SandboxChanged[Pod sandbox changed, it will be killed and re-created.]; confirm?
            status -> Pending | a PodInitializing, last Completed(0) | c ContainerStatusUnknown(137)
            confirm yes -> volumes!; sandbox!
            sandbox ok -> -
            volumes ok -> find a
            found a -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start a#1
            started a -> Created[Container created]; Started[Container started]
            exit a 0 -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#1
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | a Completed(0), last Completed(0), restarts 1, ready | c running, last ContainerStatusUnknown(137), restarts 1, ready
        "#]],
    );
}

#[test]
fn a_sandbox_that_died_before_it_was_told_to_be_there_is_made_again() {
    // Seeds 14897 and 19142 of the simulator: no container could be made in it, for ever.
    check(
        json!({"containers": [{"name": "c"}]}),
        "@0
         confirm yes
         volumes ok
         died
         sandbox ok
         confirm yes
         volumes ok
         sandbox ok
         found c
         started c
         status",
        expect![[r#"
            @0 -> confirm?
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            died -> confirm?
            sandbox ok -> -
            confirm yes -> volumes!; sandbox!
            volumes ok -> -
            sandbox ok -> find c
            found c -> Pulled[Container image "img" already present on machine and can be accessed by the pod]; start c#0
            started c -> Created[Container created]; Started[Container started]
            status -> Running Ready | c running, ready
        "#]],
    );
}

#[test]
fn readiness_gates_hold_the_pod_back() {
    // N-35: a gate without a condition counts as False.
    let mut gated = pod(json!({"containers": [{"name": "c"}], "readinessGates": [{"conditionType": "a.b/c"}]}));
    let ready = |pod: k8s_openapi::api::core::v1::Pod| {
        let mut world = World::new(pod);
        world.run(RUNNING);
        let conditions = world.machine.status(world.now).conditions.unwrap();
        let ready = conditions.into_iter().find(|one| one.type_ == "Ready").unwrap();
        format!("{} {} {}", ready.status, ready.reason.unwrap_or_default(), ready.message.unwrap_or_default())
    };
    expect![[r#"False ReadinessGatesNotReady corresponding condition of pod readiness gate "a.b/c" does not exist."#]]
        .assert_eq(&ready(gated.clone()));
    for (status, expected) in [
        (
            "False",
            expect![[
                r#"False ReadinessGatesNotReady the status of pod readiness gate "a.b/c" is not "True", but False"#
            ]],
        ),
        ("True", expect!["True  "]),
    ] {
        gated.status = serde_json::from_value(json!({"conditions": [{"type": "a.b/c", "status": status}]})).unwrap();
        expected.assert_eq(&ready(gated.clone()));
    }
}

#[test]
fn a_pod_that_the_node_cannot_run_has_failed_and_says_why() {
    // N-37.
    let mut world = World::new(pod(one()));
    let (reason, message) = ("OutOfcpu".to_owned(), "Node didn't have enough resource: cpu".to_owned());
    world.machine.handle(node_core::Event::Stop(node_core::StopCause::Rejected { reason, message }), world.now);
    let status = world.machine.status(world.now);
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert!(status.message.unwrap().contains("cpu"));
}
