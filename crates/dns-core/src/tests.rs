//! Questions and answers as text.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

fn services() -> Vec<Service> {
    let all = json!([
        {"metadata": {"name": "redis", "namespace": "ns"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"],
         "ports": [{"name": "tcp-redis", "port": 6379}]}},
        {"metadata": {"name": "web", "namespace": "ns"}, "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
         "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}},
        {"metadata": {"name": "far", "namespace": "ns"}, "spec": {"type": "ExternalName", "externalName": "db.example.com"}},
        {"metadata": {"name": "empty", "namespace": "ns"}, "spec": {"clusterIP": "None"}},
        {"metadata": {"name": "bare", "namespace": "ns"}, "spec": {"clusterIP": "None"}},
    ]);
    serde_json::from_value(all).expect("services")
}

fn slices() -> Vec<EndpointSlice> {
    let slice = |service: &str, endpoints: Value| {
        json!({"metadata": {"name": service, "namespace": "ns", "labels": {"kubernetes.io/service-name": service}},
               "addressType": "IPv4", "ports": [{"name": "tcp-redis", "port": 6379, "protocol": "TCP"}], "endpoints": endpoints})
    };
    let redis = slice(
        "redis",
        json!([
            {"addresses": ["10.0.0.2"], "hostname": "redis-0", "conditions": {"ready": true}},
            {"addresses": ["10.0.0.3"], "hostname": "redis-1", "conditions": {"ready": false}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": true}},
        ]),
    );
    let mut bare = slice("bare", json!([{"addresses": ["10.0.0.7"], "hostname": "bare-0", "conditions": {}}]));
    bare["ports"] = json!([]);
    serde_json::from_value(json!([redis, bare])).expect("slices")
}

fn ask(name: &str, record_type: RecordType, synced: bool) -> Answer {
    let (services, slices) = (services(), slices());
    let (services, slices): (Vec<_>, Vec<_>) = (services.iter().collect(), slices.iter().collect());
    let ranges = [(Ipv4Addr::new(10, 0, 0, 0), 16), (Ipv4Addr::new(10, 96, 0, 0), 16)];
    let view = View { domain: "cluster.local", synced, services: &services, slices: &slices, ranges: &ranges };
    answer(&Question::parse(name, "cluster.local"), record_type, &view, 0)
}

fn check(questions: &[(&str, RecordType)], expected: &Expect) {
    let mut text = String::new();
    for (name, record_type) in questions {
        let shown = match ask(name, *record_type, true) {
            Answer::Records { answers, additionals } => {
                let mut lines: Vec<String> = answers.iter().map(|r| format!("{:?}", r.data)).collect();
                lines.extend(additionals.iter().map(|r| format!("+ {} {:?}", r.name, r.data)));
                lines.join("; ")
            }
            other => format!("{other:?}"),
        };
        text.push_str(&format!("{name} {record_type:?}: {shown}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn a_headless_service_is_its_ready_pods_and_each_has_a_name() {
    // N-14, N-15, N-16, N-19, N-21.
    check(
        &[
            ("redis.ns.svc.cluster.local.", RecordType::A),
            ("redis.ns.svc.cluster.local", RecordType::Aaaa),
            ("redis-0.redis.ns.svc.cluster.local", RecordType::A),
            ("REDIS-0.Redis.ns.svc.cluster.LOCAL", RecordType::A),
            ("redis-1.redis.ns.svc.cluster.local", RecordType::A),
            ("10-0-0-4.redis.ns.svc.cluster.local", RecordType::A),
            ("empty.ns.svc.cluster.local", RecordType::A),
        ],
        &expect![[r#"
            redis.ns.svc.cluster.local. A: A(10.0.0.2); A(10.0.0.4)
            redis.ns.svc.cluster.local Aaaa: NoData
            redis-0.redis.ns.svc.cluster.local A: A(10.0.0.2)
            REDIS-0.Redis.ns.svc.cluster.LOCAL A: A(10.0.0.2)
            redis-1.redis.ns.svc.cluster.local A: NoSuchName
            10-0-0-4.redis.ns.svc.cluster.local A: A(10.0.0.4)
            empty.ns.svc.cluster.local A: NoSuchName
        "#]],
    );
}

#[test]
fn a_headless_service_without_ports_has_addresses_and_no_ports() {
    // N-23; and a condition that is not said counts as ready (N-20).
    check(
        &[
            ("bare.ns.svc.cluster.local", RecordType::A),
            ("bare-0.bare.ns.svc.cluster.local", RecordType::A),
            ("bare.ns.svc.cluster.local", RecordType::Srv),
            ("_http._tcp.bare.ns.svc.cluster.local", RecordType::Srv),
        ],
        &expect![[r#""#]],
    );
}

#[test]
fn a_cluster_address_ports_aliases_and_reverse_names_follow_the_specification() {
    // N-13, N-17, N-18, N-24, N-25, N-27.
    check(
        &[
            ("web.ns.svc.cluster.local", RecordType::A),
            ("_http._tcp.web.ns.svc.cluster.local", RecordType::Srv),
            ("_tcp-redis._tcp.redis.ns.svc.cluster.local", RecordType::Srv),
            ("_none._tcp.redis.ns.svc.cluster.local", RecordType::Srv),
            ("far.ns.svc.cluster.local", RecordType::A),
            ("2.0.0.10.in-addr.arpa", RecordType::Ptr),
            ("9.0.96.10.in-addr.arpa", RecordType::Ptr),
            ("77.0.0.10.in-addr.arpa", RecordType::Ptr),
            ("8.8.8.8.in-addr.arpa", RecordType::Ptr),
            ("10-0-0-9.ns.pod.cluster.local", RecordType::A),
            ("dns-version.cluster.local", RecordType::Txt),
        ],
        &expect![[r#"
            web.ns.svc.cluster.local A: A(10.96.0.9)
            _http._tcp.web.ns.svc.cluster.local Srv: Srv { port: 80, weight: 100, target: "web.ns.svc.cluster.local" }; + web.ns.svc.cluster.local A(10.96.0.9)
            _tcp-redis._tcp.redis.ns.svc.cluster.local Srv: Srv { port: 6379, weight: 50, target: "redis-0.redis.ns.svc.cluster.local" }; Srv { port: 6379, weight: 50, target: "10-0-0-4.redis.ns.svc.cluster.local" }; + redis-0.redis.ns.svc.cluster.local A(10.0.0.2); + 10-0-0-4.redis.ns.svc.cluster.local A(10.0.0.4)
            _none._tcp.redis.ns.svc.cluster.local Srv: NoSuchName
            far.ns.svc.cluster.local A: Alias { alias: Record { name: "far.ns.svc.cluster.local", data: Cname("db.example.com") }, target: "db.example.com" }
            2.0.0.10.in-addr.arpa Ptr: Ptr("redis-0.redis.ns.svc.cluster.local")
            9.0.96.10.in-addr.arpa Ptr: Ptr("web.ns.svc.cluster.local")
            77.0.0.10.in-addr.arpa Ptr: NoSuchName
            8.8.8.8.in-addr.arpa Ptr: Forward
            10-0-0-9.ns.pod.cluster.local A: A(10.0.0.9)
            dns-version.cluster.local Txt: Txt("1.1.0")
        "#]],
    );
}

#[test]
fn names_outside_are_forwarded_and_impossible_ones_are_not() {
    // N-19.
    check(
        &[
            ("example.com", RecordType::A),
            ("xcluster.local", RecordType::A),
            ("none.ns.svc.cluster.local", RecordType::A),
            ("ns.svc.cluster.local", RecordType::A),
            ("other.svc.cluster.local", RecordType::A),
            ("svc.cluster.local", RecordType::A),
            ("a.b.c.d.e.svc.cluster.local", RecordType::A),
            ("redis-0.redis.ns.svc.cluster.local.ns.svc.cluster.local", RecordType::A),
        ],
        &expect![[r#"
            example.com A: Forward
            xcluster.local A: Forward
            none.ns.svc.cluster.local A: NoSuchName
            ns.svc.cluster.local A: NoData
            other.svc.cluster.local A: NoSuchName
            svc.cluster.local A: NoData
            a.b.c.d.e.svc.cluster.local A: NoSuchName
            redis-0.redis.ns.svc.cluster.local.ns.svc.cluster.local A: NoSuchName
        "#]],
    );
}

#[test]
fn no_is_said_only_from_a_view_that_is_up_to_date() {
    assert_eq!(ask("none.ns.svc.cluster.local", RecordType::A, false), Answer::NotYet);
    assert_eq!(ask("77.0.0.10.in-addr.arpa", RecordType::Ptr, false), Answer::NotYet);
    assert_eq!(ask("example.com", RecordType::A, false), Answer::Forward);
}

proptest! {
    #[test]
    fn no_name_is_too_odd_to_be_read(name in "[-_.a-zA-Z0-9]{0,80}") {
        let _ = Question::parse(&name, "cluster.local");
        let _ = Question::parse(&format!("{name}.cluster.local"), "cluster.local");
        let _ = Question::parse(&format!("{name}.ip6.arpa"), "cluster.local");
    }

    #[test]
    fn an_address_is_found_under_its_reverse_name(v4 in any::<u32>(), v6 in any::<u128>()) {
        for address in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
            prop_assert_eq!(Question::parse(&question::reverse_name(address), "cluster.local"), Question::Address(address));
        }
    }
}
