use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{Action, ENDPOINTS_PER_SLICE_MAX, Plan, View, plan};

/// `0 ready`, `1 running`, `2 terminating ready`, `3 failed`, `4 no-ip`, with `other` for another subdomain.
fn pod(clause: &str) -> Pod {
    let words: Vec<_> = clause.split_whitespace().collect();
    let name = format!("web-{}", words[0]);
    let has = |word: &str| words.contains(&word);
    let ready = if has("ready") { "True" } else { "False" };
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{}", words[0]), "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "hostname": name, "subdomain": if has("other") { "other" } else { "web" },
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": if has("failed") { "Failed" } else { "Running" },
            "conditions": [{"type": "Ready", "status": ready}]},
    });
    if !has("no-ip") {
        let ip = format!("10.0.0.{}", words[0]);
        pod["status"]["podIP"] = json!(ip);
        pod["status"]["podIPs"] = json!([{"ip": ip}]);
    }
    if has("terminating") {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    serde_json::from_value(pod).unwrap()
}

fn service(options: &str) -> Service {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "svc-1", "labels": {"team": "a"}},
        "spec": {"clusterIP": "None", "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]},
    });
    for option in options.split_whitespace() {
        match option {
            "publish" => service["spec"]["publishNotReadyAddresses"] = json!(true),
            "no-ports" => service["spec"]["ports"] = Value::Null,
            "no-selector" => service["spec"]["selector"] = Value::Null,
            "cluster-ip" => service["spec"]["clusterIP"] = json!("10.96.0.9"),
            other => panic!("no such option: {other}"),
        }
    }
    serde_json::from_value(service).unwrap()
}

fn planned(service: &Service, pods: &[Pod], slices: &[EndpointSlice], endpoints: Option<&Endpoints>) -> Plan {
    plan(&View {
        service,
        pods: pods.iter().collect(),
        slices: slices.iter().collect(),
        endpoints,
        zones: [("n1", "z1")].into(),
    })
}

fn pods(text: &str) -> Vec<Pod> {
    text.split(';').map(str::trim).filter(|clause| !clause.is_empty()).map(pod).collect()
}

fn slice_of(body: &Value) -> EndpointSlice {
    let mut body = body.clone();
    body["metadata"]["resourceVersion"] = json!("1");
    serde_json::from_value(body).unwrap()
}

fn check(options: &str, text: &str, expected: Expect) {
    let mut lines = Vec::new();
    for action in planned(&service(options), &pods(text), &[], None).actions {
        match action {
            Action::CreateSlice { body } => {
                for endpoint in body["endpoints"].as_array().unwrap() {
                    lines.push(format!(
                        "{} {} {} {}",
                        endpoint["addresses"][0], endpoint["conditions"], endpoint["hostname"], endpoint["zone"]
                    ));
                }
                lines.push(format!("ports {}", body["ports"]));
            }
            Action::CreateEndpoints { body } => lines.push(format!("endpoints {}", body["subsets"])),
            other => lines.push(format!("{other:?}")),
        }
    }
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn ready_pods_are_listed_with_their_host_names() {
    // N-30, N-31.
    check(
        "",
        "0 ready; 1 running; 2 ready other",
        expect![[r#"
        "10.0.0.0" {"ready":true,"serving":true,"terminating":false} "web-0" "z1"
        "10.0.0.1" {"ready":false,"serving":false,"terminating":false} "web-1" "z1"
        "10.0.0.2" {"ready":true,"serving":true,"terminating":false} null "z1"
        ports [{"name":"http","port":8080,"protocol":"TCP"}]
        endpoints [{"addresses":[{"hostname":"web-0","ip":"10.0.0.0","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-0","namespace":"default","uid":"uid-0"}},{"ip":"10.0.0.2","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-2","namespace":"default","uid":"uid-2"}}],"notReadyAddresses":[{"hostname":"web-1","ip":"10.0.0.1","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-1","namespace":"default","uid":"uid-1"}}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]"#]],
    );
}

#[test]
fn terminating_pods_serve_but_are_not_ready_and_ended_ones_are_not_listed() {
    // N-28, N-29.
    check(
        "",
        "0 terminating ready; 1 failed; 2 no-ip",
        expect![[r#"
        "10.0.0.0" {"ready":false,"serving":true,"terminating":true} "web-0" "z1"
        ports [{"name":"http","port":8080,"protocol":"TCP"}]
        endpoints null"#]],
    );
}

#[test]
fn a_service_may_publish_pods_that_are_not_ready() {
    // N-20, N-29.
    check(
        "publish",
        "0 running; 1 terminating ready",
        expect![[r#"
        "10.0.0.0" {"ready":true,"serving":false,"terminating":false} "web-0" "z1"
        "10.0.0.1" {"ready":true,"serving":true,"terminating":true} "web-1" "z1"
        ports [{"name":"http","port":8080,"protocol":"TCP"}]
        endpoints [{"addresses":[{"hostname":"web-0","ip":"10.0.0.0","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-0","namespace":"default","uid":"uid-0"}},{"hostname":"web-1","ip":"10.0.0.1","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-1","namespace":"default","uid":"uid-1"}}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]"#]],
    );
}

#[test]
fn a_headless_service_needs_no_ports_and_an_empty_one_has_a_placeholder() {
    // N-32.
    check(
        "no-ports",
        "0 ready",
        expect![[r#"
        "10.0.0.0" {"ready":true,"serving":true,"terminating":false} "web-0" "z1"
        ports []
        endpoints [{"addresses":[{"hostname":"web-0","ip":"10.0.0.0","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-0","namespace":"default","uid":"uid-0"}}]}]"#]],
    );
    check(
        "",
        "",
        expect![[r#"
        ports []
        endpoints null"#]],
    );
    check("no-selector", "0 ready", expect![""]);
}

#[test]
fn a_plan_carried_out_leaves_nothing_to_do_and_readiness_changes_the_same_slice() {
    let service = service("");
    let first = planned(&service, &pods("0 ready; 1 running"), &[], None);
    let [Action::CreateSlice { body: slice }, Action::CreateEndpoints { body: endpoints }] = first.actions.as_slice()
    else {
        panic!("{first:?}");
    };
    let slices = [slice_of(slice)];
    let endpoints: Endpoints = serde_json::from_value(endpoints.clone()).unwrap();
    assert_eq!(planned(&service, &pods("0 ready; 1 running"), &slices, Some(&endpoints)).actions, []);
    let second = planned(&service, &pods("0 ready; 1 ready"), &slices, Some(&endpoints));
    let [Action::UpdateSlice { slice: target, patch }, Action::UpdateEndpoints { .. }] = second.actions.as_slice()
    else {
        panic!("{second:?}");
    };
    assert_eq!(target.name, slice["metadata"]["name"]);
    assert_eq!(patch["endpoints"][1]["conditions"]["ready"], true);
    assert_eq!(patch["metadata"]["resourceVersion"], "1");
}

#[test]
fn one_slice_holds_a_hundred_endpoints_and_no_more() {
    // N-32.
    for (count, slices) in [(0, 1), (1, 1), (ENDPOINTS_PER_SLICE_MAX, 1), (ENDPOINTS_PER_SLICE_MAX + 1, 2)] {
        let pods: Vec<_> = (0..count).map(|ordinal| pod(&format!("{ordinal} ready"))).collect();
        let plan = planned(&service(""), &pods, &[], None);
        let created = plan.actions.iter().filter(|action| matches!(action, Action::CreateSlice { .. })).count();
        assert_eq!(created, slices, "{count} pods");
    }
}

#[test]
fn a_pod_stays_in_its_slice_and_a_new_one_goes_where_there_is_room() {
    // N-32: with 101 pods in two slices, by name, the hundredth slot is taken by another pod than before.
    let at_first: Vec<_> = (0..=ENDPOINTS_PER_SLICE_MAX).map(|ordinal| pod(&format!("{ordinal} ready"))).collect();
    let created = planned(&service(""), &at_first, &[], None).actions;
    let slices: Vec<_> = created
        .iter()
        .filter_map(|action| match action {
            Action::CreateSlice { body } => Some(slice_of(body)),
            _ => None,
        })
        .collect();
    let changed = |pods: &[Pod]| -> Vec<(String, usize)> {
        let plan = planned(&service(""), pods, &slices, None);
        let slice = |action: &Action| match action {
            Action::UpdateSlice { slice, patch } => {
                let index = slices.iter().position(|one| one.metadata.name.as_deref() == Some(&slice.name)).unwrap();
                Some((format!("slice {index}"), patch["endpoints"].as_array().unwrap().len()))
            }
            Action::DeleteSlice { slice } => Some((format!("no {}", slice.name), 0)),
            _ => None,
        };
        plan.actions.iter().filter_map(slice).collect()
    };
    let without_the_first = &at_first[1..];
    assert_eq!(changed(without_the_first), [("slice 0".to_owned(), 99)]);
    let with_another = [&at_first[1..], &[pod("500 ready")]].concat();
    assert_eq!(changed(&with_another), [("slice 0".to_owned(), 100)]);
    let with_one_more = [at_first.as_slice(), &[pod("1000 ready")]].concat();
    assert_eq!(changed(&with_one_more), [("slice 1".to_owned(), 2)]);
}

#[test]
fn the_labels_say_whose_the_slice_is() {
    // N-32.
    let plan = planned(&service(""), &[], &[], None);
    let Action::CreateSlice { body } = &plan.actions[0] else { panic!("{plan:?}") };
    expect![[r#"{"generateName":"web-","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","service.kubernetes.io/headless":"","team":"a"},"name":"web-6rbqz","namespace":"default","ownerReferences":[{"apiVersion":"v1","blockOwnerDeletion":true,"controller":true,"kind":"Service","name":"web","uid":"svc-1"}]}"#]].assert_eq(&body["metadata"].to_string());
}

#[test]
fn lists_rest_after_a_write_the_longer_they_are() {
    let at = |micros: i64| meta::Timestamp::from_microsecond(micros).expect("a small number");
    assert_eq!(super::Rest::default().lasts(at(0)), None, "a first change never waits");
    for (members, micros) in [(0, 0), (3, 750), (100, 25_000), (200, 50_000), (5_000, 50_000)] {
        let rest = super::Rest::after(at(1_000_000), members);
        let until = at(1_000_000 + micros);
        assert_eq!(rest.lasts(at(1_000_000)), (micros > 0).then_some(until), "{members}");
        assert_eq!(rest.lasts(until), None, "{members}");
        assert_eq!(rest.lasts(at(0)), None, "the clock was set back");
    }
}
