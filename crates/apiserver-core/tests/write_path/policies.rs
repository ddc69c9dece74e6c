//! LimitRange, ResourceQuota, PriorityClass: manifests, upstream's answers, and what they do to others (M-8, M-12, M-13).

use crate::bed::{
    POD, World, check, check_stored, check_update, create_in, def_of, merged, now, refusal, stored, update_in, variant,
    yaml,
};
use apiserver_core::kinds::resource_quota::charge::{self, Write};
use apiserver_core::write::Outcome;
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
    check_stored(
        RANGE,
        "{}",
        "/spec/limits/0",
        expect![[r#"
        {
          "default": {
            "cpu": "500m",
            "memory": "1Gi"
          },
          "defaultRequest": {
            "cpu": "500m",
            "memory": "1Gi"
          },
          "max": {
            "cpu": "2",
            "memory": "1Gi"
          },
          "min": {
            "cpu": "100m"
          },
          "type": "Container"
        }
    "#]],
    );
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
        expect![[r#"
            {spec: {limits: [{type: Machine}]}}
               spec.limits[0].type: Invalid value: "Machine": must be a standard limit type or fully qualified
            {spec: {limits: [{type: ''}]}}
               spec.limits[0].type: Invalid value: "": name part must be non-empty
               spec.limits[0].type: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            {spec: {limits: [{type: Pod}, {type: Pod}]}}
               spec.limits[1].type: Duplicate value: "Pod"
            {spec: {limits: [{type: Pod, default: {cpu: 1}, defaultRequest: {cpu: 1}}]}}
               spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'
               spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'
            {spec: {limits: [{type: Container, max: {storage: 1}}]}}
               spec.limits[0].max[storage]: Invalid value: "storage": must be a standard resource for containers
               spec.limits[0].default[storage]: Invalid value: "storage": must be a standard resource for containers
               spec.limits[0].defaultRequest[storage]: Invalid value: "storage": must be a standard resource for containers
            {spec: {limits: [{type: Container, max: {nonsense: 1}}]}}
               spec.limits[0].max[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified
               spec.limits[0].max[nonsense]: Invalid value: "nonsense": must be a standard resource for containers
               spec.limits[0].default[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified
               spec.limits[0].default[nonsense]: Invalid value: "nonsense": must be a standard resource for containers
               spec.limits[0].defaultRequest[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified
               spec.limits[0].defaultRequest[nonsense]: Invalid value: "nonsense": must be a standard resource for containers
            {spec: {limits: [{type: PersistentVolumeClaim}]}}
               spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided
            {spec: {limits: [{type: PersistentVolumeClaim, min: {storage: 1Gi}}]}}
               ok
            {spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}]}}
               spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
               spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1
               spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
            {spec: {limits: [{type: Container, min: {cpu: 1}, max: {cpu: 4}, default: {cpu: 2}, defaultRequest: {cpu: 3}}]}}
               spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than default limit value 2
            {spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 500m}}]}}
               spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
            {spec: {limits: [{type: Container, min: {cpu: 1}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 4}}]}}
               spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "4": ratio 4 is greater than max/min = 2.000000
        "#]],
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
    expect![[r#"
        {} {}
           {"limits":{"cpu":"500m","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}} LimitRanger plugin set: cpu, memory request for container web; cpu, memory limit for container web
        {spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}} {}
           {"limits":{"cpu":"2"},"requests":{"cpu":"2"}} LimitRanger plugin set: cpu request for container web; cpu limit for container web
        {spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: '1'}}}]}}
           {"limits":{"cpu":"1"},"requests":{"cpu":"1"}} -
        {spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: '3'}}}]}}
           403 Forbidden: pods "web-0" is forbidden: maximum cpu usage per Container is 2, but limit is 3
        {spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: '2'}, requests: {cpu: 50m}}}]}}
           403 Forbidden: pods "web-0" is forbidden: minimum cpu usage per Container is 100m, but request is 50m
        {spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: 60m}, requests: {cpu: 50m}}}]}}
           403 Forbidden: pods "web-0" is forbidden: minimum cpu usage per Container is 100m, but request is 50m
        {spec: {limits: [{type: Pod, max: {memory: 1Gi}}]}} {}
           403 Forbidden: pods "web-0" is forbidden: maximum memory usage per Pod is 1Gi.  No limit is specified
        {spec: {limits: [{type: Pod, max: {memory: 1Gi}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {memory: 2Gi}}}]}}
           403 Forbidden: pods "web-0" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 2Gi
        {spec: {limits: [{type: Pod, max: {memory: 1Gi}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {memory: 1Gi}}}]}}
           {"limits":{"memory":"1Gi"},"requests":{"memory":"1Gi"}} -
        {spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: '2'}}]}} {}
           403 Forbidden: pods "web-0" is forbidden: cpu max limit to request ratio per Container is 2, but no request is specified or request is 0
        {spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: '1'}, requests: {cpu: 200m}}}]}}
           403 Forbidden: pods "web-0" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000
        {spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: '2'}}]}} {spec: {containers: [{name: web, image: 'a:1', resources: {limits: {cpu: '1'}, requests: {cpu: 500m}}}]}}
           {"limits":{"cpu":"1"},"requests":{"cpu":"500m"}} -
    "#]].assert_eq(&text);
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
    expect![[r#"
        500Mi: 403 Forbidden: persistentvolumeclaims "data" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi
        1Gi: created
        2Gi: created
        3Gi: 403 Forbidden: persistentvolumeclaims "data" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi
    "#]]
        .assert_eq(&["500Mi", "1Gi", "2Gi", "3Gi"].map(|storage| format!("{storage}: {}\n", said(storage))).concat());
}

#[test]
fn a_claim_grows_only_as_far_as_the_limits_and_an_old_request_is_left_alone() {
    let world = ranges("{spec: {limits: [{type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 2Gi}}]}}");
    let claim = |storage: &str, more: &str| {
        let patch = format!("{{spec: {{volumeName: pv, resources: {{requests: {{storage: {storage}}}}}}}, {more}}}");
        variant(crate::claims_and_volumes::CLAIM, &patch)
    };
    let bound = |storage: &str| {
        let mut stored = stored(claim(storage, ""));
        stored["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        stored
    };
    let said = |before: &str, after: &str, more: &str| {
        update_in(&world, &bound(before), claim(after, more), "").map_or_else(
            |status| refusal(&status),
            |plan| match plan.outcome {
                Outcome::Write(_) => "written".to_owned(),
                other => format!("{other:?}"),
            },
        )
    };
    let labelled = "metadata: {labels: {a: b}}";
    expect![[r#"
        1Gi to 2Gi: written
        1Gi to 3Gi: 403 Forbidden: persistentvolumeclaims "data" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi
        3Gi labelled: written
        3Gi to 4Gi: 403 Forbidden: persistentvolumeclaims "data" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 4Gi
    "#]]
    .assert_eq(&format!(
        "1Gi to 2Gi: {}\n1Gi to 3Gi: {}\n3Gi labelled: {}\n3Gi to 4Gi: {}\n",
        said("1Gi", "2Gi", ""),
        said("1Gi", "3Gi", ""),
        said("3Gi", "3Gi", labelled),
        said("3Gi", "4Gi", ""),
    ));
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
        expect![[r#"
            {spec: {hard: {pods: '1.5'}}}
               spec.hard[pods]: Invalid value: "1500m": must be an integer
            {spec: {hard: {pods: '-1'}}}
               spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0
            {spec: {hard: {sandwiches: '1'}}}
               spec.hard[sandwiches]: Invalid value: "sandwiches": must be a standard resource type or fully qualified
               spec.hard[sandwiches]: Invalid value: "sandwiches": must be a standard resource for quota
            {spec: {hard: {storage: 1Gi}}}
               spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota
            {spec: {hard: {'count/statefulsets.apps': '1', requests.storage: 1Gi, 'fast.storageclass.storage.k8s.io/requests.storage': 1Gi}}}
               ok
            {spec: {scopes: [Sometimes]}}
               spec.scopes: Invalid value: ["Sometimes"]: unsupported scope
            {spec: {scopes: [BestEffort, NotBestEffort]}}
               spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes
            {spec: {hard: {cpu: '1'}, scopes: [BestEffort]}}
               spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource
            {spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}]}}}
               spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
            {spec: {scopeSelector: {matchExpressions: [{scopeName: Terminating, operator: In, values: [a]}]}}}
               spec.scopeSelector.matchExpressions.operator: Invalid value: "In": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
            {spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: Near}]}}}
               spec.scopeSelector.matchExpressions.operator: Invalid value: "Near": not a valid selector operator
            {spec: {scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}}
               ok
        "#]],
    );
    check_update(
        QUOTA,
        &["{spec: {hard: {pods: '3'}}}", "{spec: {scopes: [Terminating]}}", "{status: {used: {pods: '9'}}}"],
        expect![[r#"
            {spec: {hard: {pods: '3'}}}
               written
            {spec: {scopes: [Terminating]}}
               spec.scopes: Invalid value: ["Terminating"]: field is immutable
            {status: {used: {pods: '9'}}}
               unchanged
        "#]],
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
    expect![[r#"
        {"hard":{"pods":"2"}} of {"pods":"1"}: {"pods":"2"}
        {"hard":{"pods":"2"}} of {"pods":"2"}: 403 Forbidden: pods "web-0" is forbidden: exceeded quota: quota, requested: pods=1, used: pods=2, limited: pods=2
        {"hard":{"pods":"2"}} of {"pods":"2"}: not counted
        {"hard":{"count/pods":"2","pods":"2"}} of {"count/pods":"1"}: {"count/pods":"2"}
        {"hard":{"pods":"2"}} of {"pods":"2"}: not counted
        {"hard":{"limits.memory":"2Gi","pods":"2","requests.cpu":"1"}} of {"limits.memory":"0","requests.cpu":"500m"}: {"limits.memory":"2Gi","pods":"1","requests.cpu":"1"}
        {"hard":{"limits.memory":"2Gi","pods":"2","requests.cpu":"1"}} of {"limits.memory":"1Gi","requests.cpu":"600m"}: 403 Forbidden: pods "web-0" is forbidden: exceeded quota: quota, requested: limits.memory=2Gi,requests.cpu=500m, used: limits.memory=1Gi,requests.cpu=600m, limited: limits.memory=2Gi,requests.cpu=1
        {"hard":{"memory":"2Gi","pods":"2","requests.cpu":"1"}} of {"memory":"0","requests.cpu":"0"}: 403 Forbidden: pods "web-0" is forbidden: failed quota: quota: must specify memory for: web; requests.cpu for: web
        {"hard":{"persistentvolumeclaims":"1","pods":"2","requests.storage":"10Gi"}} of {"requests.storage":"1Gi"}: {"persistentvolumeclaims":"1","requests.storage":"2Gi"}
        {"hard":{"pods":"2","requests.storage":"1Gi"}} of {"requests.storage":"1Gi"}: 403 Forbidden: persistentvolumeclaims "data" is forbidden: exceeded quota: quota, requested: requests.storage=1Gi, used: requests.storage=1Gi, limited: requests.storage=1Gi
        {"hard":{"fast.storageclass.storage.k8s.io/requests.storage":"1Mi","pods":"2"}} of {}: 403 Forbidden: persistentvolumeclaims "data" is forbidden: exceeded quota: quota, requested: fast.storageclass.storage.k8s.io/requests.storage=1Gi, used: fast.storageclass.storage.k8s.io/requests.storage=0, limited: fast.storageclass.storage.k8s.io/requests.storage=1Mi
        {"hard":{"count/statefulsets.apps":"1","pods":"2"}} of {"count/statefulsets.apps":"1"}: 403 Forbidden: statefulsets.apps "web" is forbidden: exceeded quota: quota, requested: count/statefulsets.apps=1, used: count/statefulsets.apps=1, limited: count/statefulsets.apps=1
        {"hard":{"pods":"2","services.nodeports":"0"}} of {}: 403 Forbidden: services "a" is forbidden: exceeded quota: quota, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0
        {"hard":{"pods":"2","services.nodeports":"0"}} of {}: {"services.nodeports":"0"}
        {"hard":{"pods":"2"},"scopes":["BestEffort"]} of {"pods":"2"}: 403 Forbidden: pods "web-0" is forbidden: exceeded quota: quota, requested: pods=1, used: pods=2, limited: pods=2
        {"hard":{"pods":"2"},"scopes":["BestEffort"]} of {"pods":"2"}: not counted
        {"hard":{"pods":"2"},"scopes":["Terminating"]} of {"pods":"2"}: not counted
        {"hard":{"pods":"2"},"scopeSelector":{"matchExpressions":[{"operator":"In","scopeName":"PriorityClass","values":["high"]}]}} of {"pods":"2"}: 403 Forbidden: pods "web-0" is forbidden: exceeded quota: quota, requested: pods=1, used: pods=2, limited: pods=2
        {"hard":{"pods":"2"},"scopeSelector":{"matchExpressions":[{"operator":"In","scopeName":"PriorityClass","values":["high"]}]}} of {"pods":"2"}: not counted
    "#]].assert_eq(&text);
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
        expect![[r#"
            {value: 1000000001}
               value: Forbidden: maximum allowed value of a user defined priority is 1000000000
            {metadata: {name: system-mine}}
               metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class
            {metadata: {name: system-node-critical}}
               metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000
            {metadata: {name: system-node-critical}, value: 2000001000, globalDefault: true}
               metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: globalDefault of system-node-critical PriorityClass must be false
            {preemptionPolicy: Sometimes}
               preemptionPolicy: Unsupported value: "Sometimes": supported values: "PreemptLowerPriority", "Never"
            {preemptionPolicy: Never}
               ok
        "#]],
    );
    check_update(
        PRIORITY,
        &["{value: 2}", "{preemptionPolicy: Never}", "{description: other}"],
        expect![[r#"
        {value: 2}
           value: Forbidden: may not be changed in an update.
        {preemptionPolicy: Never}
           preemptionPolicy: Invalid value: "Never": field is immutable
        {description: other}
           written, generation 1
    "#]],
    );
    let default = stored(variant(PRIORITY, "{globalDefault: true}"));
    let world = World { priorities: vec![default], ..World::default() };
    let second = create_in(&world, variant(PRIORITY, "{metadata: {name: second}, globalDefault: true}"));
    expect![[r#"403 Forbidden: priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass high is already marked as default. Only one default can exist"#]].assert_eq(&refusal(&second.expect_err("there is one already")));
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
    expect![[r#"
        {}
           "high" 1000 "Never"
        {spec: {priorityClassName: system-cluster-critical}}
           "system-cluster-critical" 2000000000 "PreemptLowerPriority"
        {spec: {priorityClassName: missing}}
           403 Forbidden: pods "web-0" is forbidden: no PriorityClass with name missing was found
        {spec: {priority: 1000}}
           "high" 1000 "Never"
        {spec: {priority: 7}}
           403 Forbidden: pods "web-0" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name
        {spec: {preemptionPolicy: PreemptLowerPriority}}
           403 Forbidden: pods "web-0" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name
    "#]].assert_eq(&rows.map(|row| format!("{row}\n   {}\n", said(row))).concat());
}
