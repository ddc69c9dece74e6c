//! LimitRange, ResourceQuota, PriorityClass: manifests, upstream's answers, and what they do to others (M-8, M-12, M-13).

use crate::bed::{
    POD, World, check, check_stored, check_update, create_in, def_of, merged, now, refusal, stored, variant, yaml,
};
use apiserver_core::kinds::resource_quota::charge::{self, Write};
use expect_test::expect;
use serde_json::{Value, json};

pub(crate) const RANGE: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: range, namespace: default}
spec:
  limits:
  - type: Container
    max: {cpu: '2', memory: 1Gi}
    min: {cpu: 100m}
    default: {cpu: 500m}
";

pub(crate) const QUOTA: &str = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: default}
spec:
  hard: {pods: '2'}
";

pub(crate) const PRIORITY: &str = "
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
";

#[test]
fn a_range_gives_containers_what_follows_from_what_they_may_have() {
    check_stored(RANGE, "{}", "/spec/limits/0", expect![[""]]);
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    check(
        RANGE,
        &[
            "{spec: {limits: [{type: Machine}]}}",
            "{spec: {limits: [{type: ''}]}}",
            "{spec: {limits: [{type: Pod}, {type: Pod}]}}",
            "{spec: {limits: [{type: Pod, default: {cpu: 1}, defaultRequest: {cpu: 1}}]}}",
            "{spec: {limits: [{type: Container, max: {storage: 1}}]}}",
            "{spec: {limits: [{type: Container, max: {nonsense: 1}}]}}",
            "{spec: {limits: [{type: PersistentVolumeClaim}]}}",
            "{spec: {limits: [{type: PersistentVolumeClaim, min: {storage: 1Gi}}]}}",
            "{spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}]}}",
            "{spec: {limits: [{type: Container, min: {cpu: 1}, max: {cpu: 4}, default: {cpu: 2}, defaultRequest: {cpu: 3}}]}}",
            "{spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 500m}}]}}",
            "{spec: {limits: [{type: Container, min: {cpu: 1}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 4}}]}}",
        ],
        expect![[""]],
    );
}

fn ranges(spec: &str) -> World {
    World { limits: vec![stored(variant(RANGE, spec))], ..World::default() }
}

/// What becomes of a pod with these containers in a namespace with such limits.
fn admitted(limits: &str, pod: &str) -> String {
    match create_in(&ranges(limits), variant(POD, pod)) {
        Err(status) => refusal(&status),
        Ok(plan) => {
            let containers = plan.object["spec"]["containers"].as_array().expect("containers");
            let resources: Vec<String> = containers.iter().map(|it| it["resources"].to_string()).collect();
            let note = plan.object["metadata"]["annotations"]["kubernetes.io/limit-ranger"].as_str().unwrap_or("-");
            format!("{} {note}", resources.join(" "))
        }
    }
}

#[test]
fn pods_get_limits_and_are_held_to_them() {
    let mut text = String::new();
    let container = "{spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}}";
    let whole = "{spec: {limits: [{type: Pod, max: {memory: 1Gi}}]}}";
    let ratio = "{spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: '2'}}]}}";
    let web =
        |resources: &str| format!("{{spec: {{containers: [{{name: web, image: 'a:1', resources: {resources}}}]}}}}");
    for (limits, pod) in [
        ("{}", "{}".to_owned()),
        (container, "{}".to_owned()),
        (container, web("{limits: {cpu: '1'}}")),
        (container, web("{limits: {cpu: '3'}}")),
        (container, web("{limits: {cpu: '2'}, requests: {cpu: 50m}}")),
        (container, web("{limits: {cpu: 60m}, requests: {cpu: 50m}}")),
        (whole, "{}".to_owned()),
        (whole, web("{limits: {memory: 2Gi}}")),
        (whole, web("{limits: {memory: 1Gi}}")),
        (ratio, "{}".to_owned()),
        (ratio, web("{limits: {cpu: '1'}, requests: {cpu: 200m}}")),
        (ratio, web("{limits: {cpu: '1'}, requests: {cpu: 500m}}")),
    ] {
        text.push_str(&format!("{limits} {pod}\n   {}\n", admitted(limits, &pod)));
    }
    expect![[""]].assert_eq(&text);
}

#[test]
fn claims_are_held_to_limits_of_storage() {
    let world = ranges("{spec: {limits: [{type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 2Gi}}]}}");
    let said = |storage: &str| {
        let claim = variant(
            crate::claims_and_volumes::CLAIM,
            &format!("{{spec: {{resources: {{requests: {{storage: {storage}}}}}}}}}"),
        );
        create_in(&world, claim).map_or_else(|status| refusal(&status), |_| "created".to_owned())
    };
    expect![[""]]
        .assert_eq(&["500Mi", "1Gi", "2Gi", "3Gi"].map(|storage| format!("{storage}: {}\n", said(storage))).concat());
}

#[test]
fn quotas_that_make_no_sense_are_refused() {
    check(
        QUOTA,
        &[
            "{spec: {hard: {pods: '1.5'}}}",
            "{spec: {hard: {pods: '-1'}}}",
            "{spec: {hard: {sandwiches: '1'}}}",
            "{spec: {hard: {storage: 1Gi}}}",
            "{spec: {hard: {'count/statefulsets.apps': '1', requests.storage: 1Gi, 'fast.storageclass.storage.k8s.io/requests.storage': 1Gi}}}",
            "{spec: {scopes: [Sometimes]}}",
            "{spec: {scopes: [BestEffort, NotBestEffort]}}",
            "{spec: {hard: {cpu: '1'}, scopes: [BestEffort]}}",
            "{spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}]}}}",
            "{spec: {scopeSelector: {matchExpressions: [{scopeName: Terminating, operator: In, values: [a]}]}}}",
            "{spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: Near}]}}}",
            "{spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}}",
        ],
        expect![[""]],
    );
    check_update(
        QUOTA,
        &["{spec: {hard: {pods: '3'}}}", "{spec: {scopes: [Terminating]}}", "{status: {used: {pods: '9'}}}"],
        expect![[""]],
    );
}

/// A quota with its status, as the server keeps it.
fn quota(change: &str, used: &str) -> Value {
    let mut quota = stored(variant(QUOTA, change));
    quota["status"] = json!({ "hard": quota["spec"]["hard"], "used": yaml(used) });
    quota
}

/// What quotas say to the creation of an object.
fn charged(quotas: &[Value], object: &Value) -> String {
    let quotas: Vec<&Value> = quotas.iter().collect();
    match charge::charge(&quotas, Write { def: def_of(object), before: None, after: Some(object) }, now()) {
        Err(status) => refusal(&status),
        Ok(changed) if changed.is_empty() => "not counted".to_owned(),
        Ok(changed) => changed.iter().map(|quota| quota["status"]["used"].to_string()).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn quotas_count_what_objects_use_and_refuse_what_is_too_much() {
    let pod = |change: &str| stored(variant(POD, change));
    let sized = pod(
        "{spec: {containers: [{name: web, image: 'a:1', resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: '1', memory: 2Gi}}}]}}",
    );
    let plain = pod("{}");
    let claim = stored(yaml(crate::claims_and_volumes::CLAIM));
    let classy = merged(&claim, &yaml("{spec: {storageClassName: fast}}"));
    let service = |change: &str| {
        stored(variant(
            "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {type: NodePort, ports: [{port: 80}]}}",
            change,
        ))
    };
    let (open, closed) = (service("{}"), service("{spec: {type: ClusterIP}}"));
    let set = stored(yaml(crate::bed::SET));
    let over = merged(&sized, &yaml("{status: {phase: Succeeded}}"));
    let high = merged(&plain, &yaml("{spec: {priorityClassName: high}}"));
    let rows: Vec<(Value, &Value)> = vec![
        (quota("{}", "{pods: '1'}"), &plain),
        (quota("{}", "{pods: '2'}"), &plain),
        (quota("{}", "{pods: '2'}"), &over),
        (quota("{spec: {hard: {'count/pods': '2'}}}", "{count/pods: '1'}"), &over),
        (quota("{}", "{pods: '2'}"), &claim),
        (
            quota(
                "{spec: {hard: {requests.cpu: '1', limits.memory: 2Gi}}}",
                "{requests.cpu: 500m, limits.memory: '0'}",
            ),
            &sized,
        ),
        (
            quota(
                "{spec: {hard: {requests.cpu: '1', limits.memory: 2Gi}}}",
                "{requests.cpu: 600m, limits.memory: 1Gi}",
            ),
            &sized,
        ),
        (quota("{spec: {hard: {requests.cpu: '1', memory: 2Gi}}}", "{requests.cpu: '0', memory: '0'}"), &plain),
        (
            quota("{spec: {hard: {persistentvolumeclaims: '1', requests.storage: 10Gi}}}", "{requests.storage: 1Gi}"),
            &claim,
        ),
        (quota("{spec: {hard: {requests.storage: 1Gi}}}", "{requests.storage: 1Gi}"), &claim),
        (quota("{spec: {hard: {fast.storageclass.storage.k8s.io/requests.storage: 1Mi}}}", "{}"), &classy),
        (quota("{spec: {hard: {count/statefulsets.apps: '1'}}}", "{count/statefulsets.apps: '1'}"), &set),
        (quota("{spec: {hard: {services.nodeports: '0'}}}", "{}"), &open),
        (quota("{spec: {hard: {services.nodeports: '0'}}}", "{}"), &closed),
        (quota("{spec: {scopes: [BestEffort]}}", "{pods: '2'}"), &plain),
        (quota("{spec: {scopes: [BestEffort]}}", "{pods: '2'}"), &sized),
        (quota("{spec: {scopes: [Terminating]}}", "{pods: '2'}"), &plain),
        (
            quota(
                "{spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}}",
                "{pods: '2'}",
            ),
            &high,
        ),
        (
            quota(
                "{spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}}",
                "{pods: '2'}",
            ),
            &plain,
        ),
    ];
    let text: String = rows
        .iter()
        .map(|(quota, object)| {
            format!(
                "{} of {}: {}\n",
                quota["spec"],
                quota["status"]["used"],
                charged(std::slice::from_ref(quota), object)
            )
        })
        .collect();
    expect![[""]].assert_eq(&text);
}

#[test]
fn what_ends_or_shrinks_is_given_back_and_counting_anew_gives_the_same() {
    let pod = stored(yaml(POD));
    let quota =
        quota("{spec: {hard: {pods: '2', count/pods: '5', cpu: '1'}}}", "{pods: '1', count/pods: '1', cpu: '0'}");
    let used = |before: Option<&Value>, after: Option<&Value>| {
        let changed = charge::charge(&[&quota], Write { def: def_of(&pod), before, after }, now()).expect("allowed");
        changed.first().map_or_else(|| "unchanged".to_owned(), |quota| quota["status"]["used"].to_string())
    };
    let over = merged(&pod, &yaml("{status: {phase: Failed}}"));
    assert_eq!(used(Some(&pod), None), r#"{"count/pods":"0","cpu":"0","pods":"0"}"#);
    assert_eq!(used(Some(&pod), Some(&over)), r#"{"count/pods":"1","cpu":"0","pods":"0"}"#);
    assert_eq!(used(Some(&over), None), r#"{"count/pods":"0","cpu":"0","pods":"1"}"#);
    assert_eq!(used(Some(&pod), Some(&pod)), "unchanged");
    let kinds: Vec<&str> = charge::counted_kinds(&quota).iter().map(|def| def.kind.kind).collect();
    assert_eq!(kinds, ["Pod"]);
    let status = charge::counted_status(&quota, [(def_of(&pod), &pod), (def_of(&over), &over)].into_iter());
    assert_eq!(status["used"].to_string(), r#"{"count/pods":"2","cpu":"0","pods":"1"}"#);
}

#[test]
fn priority_classes_are_checked_and_never_change() {
    check(
        PRIORITY,
        &[
            "{value: 1000000001}",
            "{metadata: {name: system-mine}}",
            "{metadata: {name: system-node-critical}}",
            "{metadata: {name: system-node-critical}, value: 2000001000, globalDefault: true}",
            "{preemptionPolicy: Sometimes}",
            "{preemptionPolicy: Never}",
        ],
        expect![[""]],
    );
    check_update(PRIORITY, &["{value: 2}", "{preemptionPolicy: Never}", "{description: other}"], expect![[""]]);
    let default = stored(variant(PRIORITY, "{globalDefault: true}"));
    let world = World { priorities: vec![default], ..World::default() };
    let second = create_in(&world, variant(PRIORITY, "{metadata: {name: second}, globalDefault: true}"));
    expect![[""]].assert_eq(&refusal(&second.expect_err("there is one already")));
}

#[test]
fn pods_get_the_priority_of_their_class() {
    let mut world = World::default();
    world.priorities.push(stored(variant(PRIORITY, "{globalDefault: true, preemptionPolicy: Never}")));
    let said = |change: &str| match create_in(&world, variant(POD, change)) {
        Err(status) => refusal(&status),
        Ok(plan) => {
            let spec = &plan.object["spec"];
            format!("{} {} {}", spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"])
        }
    };
    let rows = [
        "{}",
        "{spec: {priorityClassName: system-cluster-critical}}",
        "{spec: {priorityClassName: missing}}",
        "{spec: {priority: 1000}}",
        "{spec: {priority: 7}}",
        "{spec: {preemptionPolicy: PreemptLowerPriority}}",
    ];
    expect![[""]].assert_eq(&rows.map(|row| format!("{row}\n   {}\n", said(row))).concat());
}
