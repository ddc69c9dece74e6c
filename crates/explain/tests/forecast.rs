//! What changes of a set do, as a person reads it.

use expect_test::{Expect, expect};
use explain::forecast::Fate;
use explain::{Cluster, Ref, forecast};
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T12:00:00Z";

fn set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "redis", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "redis"}},
            "template": {
                "metadata": {"labels": {"app": "redis"}},
                "spec": {"containers": [{"name": "redis", "image": "redis:7"}]},
            },
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    })
}

/// A settled cluster with the set, made by a rehearsal of its creation and the pods' becoming ready after 2 s.
fn settled(set: &Value) -> Cluster {
    let mut cluster =
        explain::forecast::rehearse(&Cluster::default(), set, NOW.parse().expect("a time")).expect("a set");
    let pods: Vec<Ref> = cluster.list("Pod", "default").map(Ref::of).collect();
    for pod in pods {
        let pod = cluster.get_mut(&pod).expect("it was listed");
        pod["metadata"]["creationTimestamp"] = json!("2026-01-01T11:00:00Z");
        pod["spec"]["nodeName"] = json!("n1");
        pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T11:00:02Z");
        pod["status"]["containerStatuses"] = json!([{"name": "redis", "restartCount": 0, "ready": true}]);
    }
    let node = json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    cluster.insert(node);
    cluster
}

fn edited(cluster: &Cluster, edit: impl FnOnce(&mut Value)) -> Value {
    let mut after = cluster.get(&Ref::new("StatefulSet", "default", "redis")).expect("the set").clone();
    edit(&mut after["spec"]);
    after
}

fn check(cluster: &Cluster, after: &Value, expected: &Expect) {
    let forecast = forecast::forecast(cluster, after, NOW.parse().expect("a time")).expect("a set");
    expected.assert_eq(&forecast.to_string());
}

#[test]
fn a_new_set_is_created_in_order() {
    check(
        &Cluster::default(),
        &set(),
        &expect![[r#"
        statefulset/redis
          pod redis-0  is created
          pod redis-1  is created
          pod redis-2  is created
          in this order:
             1. create redis-0  (not serving: redis-0, redis-1, redis-2)
             2. create redis-1  (not serving: redis-1, redis-2)
             3. create redis-2  (not serving: redis-2)
    "#]],
    );
}

#[test]
fn nothing_changes_nothing() {
    let cluster = settled(&set());
    check(
        &cluster,
        &edited(&cluster, |_| {}),
        &expect![[r#"
        statefulset/redis: nothing to do
    "#]],
    );
}

#[test]
fn a_new_image_is_rolled_out_from_the_highest_ordinal() {
    let cluster = settled(&set());
    let after = edited(&cluster, |spec| spec["template"]["spec"]["containers"][0]["image"] = json!("redis:8"));
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          spec.template.spec.containers[redis].image: redis:7 → redis:8
          pod redis-0  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-1  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-2  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2  (not serving: redis-2)
             2. after 0 ms     create redis-2  (not serving: redis-2)
             3. after 2.0 s    delete redis-1  (not serving: redis-1)
             4. after 2.0 s    create redis-1  (not serving: redis-1)
             5. after 4.0 s    delete redis-0  (not serving: redis-0)
             6. after 4.0 s    create redis-0  (not serving: redis-0)
          takes about 6.0 s, and the time that pods need to stop
    "#]],
    );
}

#[test]
fn a_scale_down_keeps_claims_unless_the_policy_deletes_them() {
    let mut with_claims = set();
    with_claims["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    let cluster = settled(&with_claims);
    check(
        &cluster,
        &edited(&cluster, |spec| spec["replicas"] = json!(2)),
        &expect![[r#"
        statefulset/redis
          spec.replicas: 3 → 2
          pod redis-0  stays as it is
          pod redis-1  stays as it is
          pod redis-2  is deleted (spec.replicas)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2
          takes as long as the pods need to stop
    "#]],
    );
    with_claims["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    let cluster = settled(&with_claims);
    check(
        &cluster,
        &edited(&cluster, |spec| spec["replicas"] = json!(2)),
        &expect![[r#"
            statefulset/redis
              spec.replicas: 3 → 2
              pod redis-0  stays as it is
              pod redis-1  stays as it is
              pod redis-2  is deleted (spec.replicas)
              claim data-redis-2 is DELETED with its data (spec.replicas, spec.persistentVolumeClaimRetentionPolicy.whenScaled)
              in this order (a pod of this set took 2.0 s to be ready so far):
                 1. after 0 ms     delete redis-2
                 2. after 0 ms     DELETE claim data-redis-2
              takes as long as the pods need to stop
        "#]],
    );
}

#[test]
fn a_partition_holds_the_lower_ones_back() {
    let cluster = settled(&set());
    let after = edited(&cluster, |spec| {
        spec["template"]["spec"]["containers"][0]["image"] = json!("redis:8");
        spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    });
    check(
        &cluster,
        &after,
        &expect![[r#"
            statefulset/redis
              spec.template.spec.containers[redis].image: redis:7 → redis:8
              spec.updateStrategy.rollingUpdate.partition: 0 → 2
              pod redis-0  stays as it is
              pod redis-1  stays as it is
              pod redis-2  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image, spec.updateStrategy.rollingUpdate.partition)
              in this order (a pod of this set took 2.0 s to be ready so far):
                 1. after 0 ms     delete redis-2  (not serving: redis-2)
                 2. after 0 ms     create redis-2  (not serving: redis-2)
              then it waits: redis-1 is held back by the partition
              then it waits: redis-0 is held back by the partition
              what to do: when the updated pods are good, lower spec.updateStrategy.rollingUpdate.partition of statefulset/redis
        "#]],
    );
}

#[test]
fn a_parallel_set_with_room_for_two_replaces_two_at_once() {
    let mut parallel = set();
    parallel["spec"]["podManagementPolicy"] = json!("Parallel");
    parallel["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(2);
    let cluster = settled(&parallel);
    let after = edited(&cluster, |spec| {
        spec["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}])
    });
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          spec.template.spec.containers[redis].env: (not set) → [{"name":"A","value":"b"}]
          pod redis-0  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].env)
          pod redis-1  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].env)
          pod redis-2  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].env)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2  (not serving: redis-2)
             2. after 0 ms     delete redis-1  (not serving: redis-1, redis-2)
             3. after 0 ms     create redis-1  (not serving: redis-1, redis-2)
             4. after 0 ms     create redis-2  (not serving: redis-1, redis-2)
             5. after 2.0 s    delete redis-0  (not serving: redis-0, redis-2)
             6. after 2.0 s    create redis-0  (not serving: redis-0, redis-2)
          takes about 4.0 s, and the time that pods need to stop
    "#]],
    );
}

/// The last pod cannot have its image, and was never ready.
fn break_pod(cluster: &mut Cluster) {
    let pod = cluster.get_mut(&Ref::new("Pod", "default", "redis-2")).expect("the pod");
    pod["spec"]["nodeName"] = json!("n1");
    pod["status"] = json!({
        "phase": "Pending",
        "conditions": [
            {"type": "PodReadyToStartContainers", "status": "True"},
            {"type": "Ready", "status": "False"},
            {"type": "roadstead.dev/EverReady", "status": "False"},
        ],
        "containerStatuses": [{"name": "redis", "ready": false, "restartCount": 0, "image": "redis:nope",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}],
    });
}

/// The settled cluster, whose last pod is broken and made of a template that nobody wants any more.
fn with_a_broken_pod() -> Cluster {
    let mut cluster = settled(&set());
    break_pod(&mut cluster);
    let pod = cluster.get_mut(&Ref::new("Pod", "default", "redis-2")).expect("the pod");
    pod["metadata"]["labels"]["controller-revision-hash"] = json!("redis-broken");
    cluster
}

fn with_image(cluster: &Cluster, image: &str) -> Value {
    edited(cluster, |spec| spec["template"]["spec"]["containers"][0]["image"] = json!(image))
}

#[test]
fn a_broken_pod_stands_in_the_way_of_the_corrected_template() {
    let cluster = with_a_broken_pod();
    check(
        &cluster,
        &with_image(&cluster, "redis:8"),
        &expect![[r#"
            statefulset/redis
              spec.template.spec.containers[redis].image: redis:7 → redis:8
              pod redis-0  stays as it is
              pod redis-1  stays as it is
              pod redis-2  stays as it is
              no pod is touched
              then it waits: redis-2 is not ready
              what to do: have it made anew from the new template; its volumes stay: `kubectl delete pod redis-2`
                      or: let Roadstead do so whenever a pod was never ready: `kubectl annotate statefulset redis roadstead.dev/heal-rollout=never-ready`
        "#]],
    );
}

#[test]
fn a_broken_pod_is_healed_where_the_cluster_does_so_by_default() {
    let mut cluster = with_a_broken_pod();
    cluster.insert(json!({"kind": "Namespace", "metadata": {
        "name": "kube-system", "annotations": {"roadstead.dev/heal-rollout": "never-ready"},
    }}));
    check(
        &cluster,
        &with_image(&cluster, "redis:8"),
        &expect![[r#"
        statefulset/redis
          spec.template.spec.containers[redis].image: redis:7 → redis:8
          pod redis-0  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-1  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-2  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2  (not serving: redis-2)
             2. after 0 ms     create redis-2  (not serving: redis-2)
             3. after 2.0 s    delete redis-1  (not serving: redis-1)
             4. after 2.0 s    create redis-1  (not serving: redis-1)
             5. after 4.0 s    delete redis-0  (not serving: redis-0)
             6. after 4.0 s    create redis-0  (not serving: redis-0)
          takes about 6.0 s, and the time that pods need to stop
    "#]],
    );
    let mut switched_off = with_image(&cluster, "redis:8");
    switched_off["metadata"]["annotations"] = json!({"roadstead.dev/heal-rollout": "off"});
    let forecast = forecast::forecast(&cluster, &switched_off, NOW.parse().expect("a time")).expect("a set");
    assert_eq!(forecast.steps, [], "the set's own word counts");
}

#[test]
fn the_annotation_that_has_a_pod_healed_is_a_cause() {
    let cluster = with_a_broken_pod();
    let mut after = edited(&cluster, |_| {});
    after["metadata"]["annotations"] = json!({"roadstead.dev/heal-rollout": "never-ready"});
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          metadata.annotations.roadstead.dev/heal-rollout: (not set) → never-ready
          pod redis-0  stays as it is
          pod redis-1  stays as it is
          pod redis-2  is made anew; its name and its volumes stay (metadata.annotations.roadstead.dev/heal-rollout)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2  (not serving: redis-2)
             2. after 0 ms     create redis-2  (not serving: redis-2)
          takes about 2.0 s, and the time that pods need to stop
    "#]],
    );
}

#[test]
fn the_annotation_that_has_a_template_taken_back_is_a_cause() {
    let mut asking = set();
    asking["metadata"]["annotations"] = json!({"roadstead.dev/rollback-after": "5m"});
    let now = NOW.parse().expect("a time");
    let mut cluster = settled(&asking);
    let mut broken = with_image(&cluster, "redis:nope");
    broken["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    cluster = forecast::rehearse(&cluster, &broken, now).expect("a set");
    break_pod(&mut cluster);
    let after = edited(&cluster, |spec| spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(0));
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          spec.updateStrategy.rollingUpdate.partition: 2 → 0
          pod redis-0  stays as it is
          pod redis-1  stays as it is
          pod redis-2  is made anew; its name and its volumes stay (spec.updateStrategy.rollingUpdate.partition, metadata.annotations.roadstead.dev/rollback-after)
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 5 min    delete redis-2  (not serving: redis-2)
             2. after 5 min    create redis-2  (not serving: redis-2)
          takes about 5 min, and the time that pods need to stop
    "#]],
    );
}

#[test]
fn a_pod_that_ended_just_after_it_was_made_is_replaced_a_little_later() {
    let mut cluster = settled(&set());
    let pod = cluster.get_mut(&Ref::new("Pod", "default", "redis-1")).expect("the pod");
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T11:59:59Z");
    pod["status"] = json!({"phase": "Failed"});
    check(
        &cluster,
        &edited(&cluster, |_| {}),
        &expect![[r#"
        statefulset/redis
          pod redis-0  stays as it is
          pod redis-1  is made anew; its name and its volumes stay
          pod redis-2  stays as it is
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 1.0 s    delete redis-1  (not serving: redis-1)
             2. after 1.0 s    create redis-1  (not serving: redis-1)
          takes about 3.0 s, and the time that pods need to stop
    "#]],
    );
}

/// The settled cluster of a set whose claims go when their slots go.
fn with_claims_that_go() -> Cluster {
    let mut with_claims = set();
    with_claims["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    with_claims["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    settled(&with_claims)
}

fn own_by(cluster: &mut Cluster, claim: &str, [version, kind, name]: [&str; 3]) {
    let claim = cluster.get_mut(&Ref::new("PersistentVolumeClaim", "default", claim)).expect("the claim");
    let owner = json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "gone"}]);
    claim["metadata"]["ownerReferences"] = owner;
}

fn own_by_a_pod_that_is_gone(cluster: &mut Cluster, claim: &str, pod: &str) {
    own_by(cluster, claim, ["v1", "Pod", pod]);
}

#[test]
fn the_claims_of_a_former_set_go_as_that_one_asked() {
    let mut cluster = with_claims_that_go();
    cluster.remove(&Ref::new("Pod", "default", "redis-2"));
    own_by(&mut cluster, "data-redis-2", ["apps/v1", "StatefulSet", "redis"]);
    let told = forecast::forecast(&cluster, &edited(&cluster, |_| {}), NOW.parse().expect("a time")).expect("a set");
    let whens = told.claims.iter().map(|claim| (claim.fate, claim.because.join(", ")));
    let former = "spec.persistentVolumeClaimRetentionPolicy.whenDeleted of the set that is gone".to_owned();
    assert_eq!(whens.collect::<Vec<_>>(), [(Fate::Deleted, former), (Fate::Created, String::new())]);
}

#[test]
fn a_claim_whose_owner_is_of_a_kind_that_is_not_known_here_stays() {
    let mut cluster = with_claims_that_go();
    own_by(&mut cluster, "data-redis-2", ["apps.kruise.io/v1beta1", "StatefulSet", "redis"]);
    let told = forecast::forecast(&cluster, &edited(&cluster, |_| {}), NOW.parse().expect("a time")).expect("a set");
    assert_eq!(told.claims, []);
}

#[test]
fn a_scale_down_that_is_taken_back_half_way_makes_the_claim_anew() {
    let mut cluster = with_claims_that_go();
    cluster.remove(&Ref::new("Pod", "default", "redis-2"));
    own_by_a_pod_that_is_gone(&mut cluster, "data-redis-2", "redis-2");
    check(
        &cluster,
        &edited(&cluster, |_| {}),
        &expect![[r#"
        statefulset/redis
          pod redis-0  stays as it is
          pod redis-1  stays as it is
          pod redis-2  is created
          claim data-redis-2 is DELETED with its data (spec.persistentVolumeClaimRetentionPolicy.whenScaled)
          claim data-redis-2 is created
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     DELETE claim data-redis-2  (not serving: redis-2)
             2. after 0 ms     create claim data-redis-2  (not serving: redis-2)
             3. after 0 ms     create redis-2  (not serving: redis-2)
          takes about 2.0 s
    "#]],
    );
    let kept = edited(&cluster, |spec| spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!("Retain"));
    let forecast = forecast::forecast(&cluster, &kept, NOW.parse().expect("a time")).expect("a set");
    assert_eq!(forecast.claims, [], "the claim is saved before it is too late (S5)");
}

#[test]
fn a_claim_that_somebody_deletes_is_made_anew_with_its_pod_and_not_before() {
    let mut cluster = with_claims_that_go();
    let claim = cluster.get_mut(&Ref::new("PersistentVolumeClaim", "default", "data-redis-1")).expect("the claim");
    claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:30:00Z");
    claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    let mut labelled = edited(&cluster, |_| {});
    labelled["metadata"]["labels"] = json!({"team": "shop"});
    let forecast = forecast::forecast(&cluster, &labelled, NOW.parse().expect("a time")).expect("a set");
    assert_eq!(forecast.steps, [], "its pod uses it");
    check(
        &cluster,
        &with_image(&cluster, "redis:8"),
        &expect![[r#"
        statefulset/redis
          spec.template.spec.containers[redis].image: redis:7 → redis:8
          pod redis-0  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-1  is made anew; its name stays, and EMPTY is data-redis-1, whose deletion waits for this (spec.template.spec.containers[redis].image)
          pod redis-2  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          claim data-redis-1 is created
          in this order (a pod of this set took 2.0 s to be ready so far):
             1. after 0 ms     delete redis-2  (not serving: redis-2)
             2. after 0 ms     create redis-2  (not serving: redis-2)
             3. after 2.0 s    delete redis-1  (not serving: redis-1)
             4. after 2.0 s    create claim data-redis-1  (not serving: redis-1)
             5. after 2.0 s    create redis-1  (not serving: redis-1)
             6. after 4.0 s    delete redis-0  (not serving: redis-0)
             7. after 4.0 s    create redis-0  (not serving: redis-0)
          takes about 6.0 s, and the time that pods need to stop
    "#]],
    );
}

#[test]
fn claims_of_others_are_not_told() {
    let mut cluster = with_claims_that_go();
    let mut other = cluster.get(&Ref::new("PersistentVolumeClaim", "default", "data-redis-2")).expect("one").clone();
    other["metadata"]["name"] = json!("data-mongo-2");
    cluster.insert(other);
    own_by_a_pod_that_is_gone(&mut cluster, "data-mongo-2", "mongo-2");
    check(
        &cluster,
        &edited(&cluster, |_| {}),
        &expect![[r#"
        statefulset/redis: nothing to do
    "#]],
    );
}

#[test]
fn labels_and_annotations_are_fields_that_touch_no_pod() {
    let cluster = settled(&set());
    let mut after = edited(&cluster, |_| {});
    after["metadata"]["labels"] = json!({"team": "shop"});
    after["metadata"]["annotations"] = json!({
        "roadstead.dev/rollback-after": "5m", "kubectl.kubernetes.io/last-applied-configuration": "{}",
    });
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          metadata.annotations.roadstead.dev/rollback-after: (not set) → 5m
          metadata.labels.team: (not set) → shop
          pod redis-0  stays as it is
          pod redis-1  stays as it is
          pod redis-2  stays as it is
          no pod is touched
    "#]],
    );
}

#[test]
fn the_fields_of_other_kinds_are_told_and_the_values_of_secrets_are_not() {
    let fields = |before: Value, after: Value| {
        forecast::changed_fields(&before, &after).iter().map(|field| format!("{field}\n")).collect::<String>()
    };
    let role = |verbs: Value| json!({"kind": "Role", "rules": [{"resources": ["pods"], "verbs": verbs}]});
    expect![[r#"
        rules: [{"resources":["pods"],"verbs":["get"]}] → [{"resources":["pods"],"verbs":["list"]}]
    "#]]
    .assert_eq(&fields(role(json!(["get"])), role(json!(["list"]))));
    let secret =
        |data: Value| json!({"kind": "Secret", "data": data, "status": {}, "metadata": {"resourceVersion": "1"}});
    expect![[r#"
        data.password: (not set) → ***
    "#]]
    .assert_eq(&fields(secret(Value::Null), secret(json!({"password": "b2xk"}))));
    expect![[r#"
        data.password: *** → ***
    "#]]
    .assert_eq(&fields(secret(json!({"password": "b2xk"})), secret(json!({"password": "bmV3"}))));
}

#[test]
fn min_ready_seconds_count_in_the_estimate() {
    let mut slow = set();
    slow["spec"]["minReadySeconds"] = json!(10);
    let cluster = settled(&slow);
    let after = edited(&cluster, |spec| spec["template"]["spec"]["containers"][0]["image"] = json!("redis:8"));
    let forecast = forecast::forecast(&cluster, &after, NOW.parse().expect("a time")).expect("a set");
    assert_eq!(forecast.takes_ms, Some(3 * 12_000));
}

#[test]
fn pods_that_are_ready_within_their_first_second_take_less_than_one() {
    let mut cluster = settled(&set());
    let pods: Vec<Ref> = cluster.list("Pod", "default").map(Ref::of).collect();
    for pod in pods {
        let pod = cluster.get_mut(&pod).expect("it was listed");
        pod["status"]["conditions"][0]["lastTransitionTime"] = pod["metadata"]["creationTimestamp"].clone();
    }
    let after = edited(&cluster, |spec| {
        spec["replicas"] = json!(1);
        spec["template"]["spec"]["containers"][0]["image"] = json!("redis:8");
    });
    check(
        &cluster,
        &after,
        &expect![[r#"
        statefulset/redis
          spec.replicas: 3 → 1
          spec.template.spec.containers[redis].image: redis:7 → redis:8
          pod redis-0  is made anew; its name and its volumes stay (spec.template.spec.containers[redis].image)
          pod redis-1  is deleted (spec.replicas)
          pod redis-2  is deleted (spec.replicas)
          in this order (a pod of this set took less than 1 s to be ready so far):
             1. delete redis-2
             2. delete redis-1
             3. delete redis-0  (not serving: redis-0)
             4. create redis-0  (not serving: redis-0)
          takes as long as the pods need to stop
    "#]],
    );
}
