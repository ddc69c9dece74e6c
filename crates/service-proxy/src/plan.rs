//! Which connection goes where: decides only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort as Port};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use pod_network::{Protocol, ServicePort};

/// Label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Affinity time-out where the service names none, in seconds; upstream's default.
const AFFINITY_SECS: i32 = 10_800;

/// The node's service rules, sorted; the same for the same objects in any order.
///
/// A service address with no ready endpoint falls back to endpoints that still serve while they terminate, as upstream
/// does; with none of these its rule has no backend, and connections are refused.
pub(crate) fn plan<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Vec<ServicePort> {
    let mut by_service: BTreeMap<(String, String), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let service = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME));
        if let (Some(service), Some(namespace)) = (service, &slice.metadata.namespace) {
            by_service.entry((namespace.clone(), service.clone())).or_default().push(slice);
        }
    }
    let mut rules = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else {
            continue;
        };
        // Headless and ExternalName services are names only.
        let Some(address) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) else {
            continue;
        };
        let key =
            (service.metadata.namespace.clone().unwrap_or_default(), service.metadata.name.clone().unwrap_or_default());
        let slices = by_service.get(&key).map(Vec::as_slice).unwrap_or_default();
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let configured = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            configured.and_then(|c| c.timeout_seconds).unwrap_or(AFFINITY_SECS).unsigned_abs()
        });
        for port in spec.ports.iter().flatten() {
            let Some(protocol) = protocol(port.protocol.as_deref()) else {
                continue;
            };
            let Ok(number) = u16::try_from(port.port) else {
                continue;
            };
            rules.push(ServicePort {
                address,
                port: number,
                protocol,
                backends: backends(port, slices),
                affinity_secs: affinity,
            });
        }
    }
    rules.sort();
    rules
}

/// SCTP has no rules here yet.
fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

fn backends(port: &Port, slices: &[&EndpointSlice]) -> Vec<(IpAddr, u16)> {
    let ready = collect(port, slices, |endpoint| {
        // Absent means ready: the field is a pointer upstream.
        endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
    });
    if !ready.is_empty() {
        return ready;
    }
    collect(port, slices, |endpoint| {
        endpoint.conditions.as_ref().is_some_and(|c| c.serving == Some(true) && c.terminating == Some(true))
    })
}

fn collect(port: &Port, slices: &[&EndpointSlice], wanted: fn(&Endpoint) -> bool) -> Vec<(IpAddr, u16)> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for slice in slices {
        let target = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == name);
        let Some(number) = target.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten().filter(|e| wanted(e)) {
            let address = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok());
            // Nobody answers at a virtual pod's address: a connection that is refused says so sooner than one that is lost.
            found.extend(address.filter(|address| !pod_network::is_virtual(*address)).map(|address| (address, number)));
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(service: &Value, endpoints: &Value, expected: &Expect) {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "ns"}, "spec": service,
        }))
        .expect("a service");
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "db-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "ports": [{"name": "sql", "port": 5432}], "endpoints": endpoints,
        }))
        .expect("a slice");
        let mut text = String::new();
        for rule in plan([&service], [&slice]) {
            text.push_str(&format!("{}:{} {:?} -> {:?}\n", rule.address, rule.port, rule.affinity_secs, rule.backends));
        }
        expected.assert_eq(&text);
    }

    fn sql() -> Value {
        json!({"clusterIP": "10.96.0.9", "ports": [{"name": "sql", "port": 80}]})
    }

    #[test]
    fn ready_endpoints_take_connections_and_others_do_not() {
        check(
            &sql(),
            &json!([
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
            ]),
            &expect![[r#"
                10.96.0.9:80 None -> [(10.0.0.1, 5432), (10.0.0.3, 5432)]
            "#]],
        );
    }

    #[test]
    fn pods_on_virtual_nodes_take_no_connections() {
        check(
            &sql(),
            &json!([{"addresses": ["240.0.0.7"], "conditions": {"ready": true}}]),
            &expect![[r#"
                10.96.0.9:80 None -> []
            "#]],
        );
    }

    #[test]
    fn without_a_ready_endpoint_those_that_terminate_and_still_serve_take_over() {
        check(
            &sql(),
            &json!([{"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}]),
            &expect![[r#"
                10.96.0.9:80 None -> [(10.0.0.2, 5432)]
            "#]],
        );
    }

    #[test]
    fn a_service_without_endpoints_has_a_rule_that_refuses() {
        check(
            &sql(),
            &json!([]),
            &expect![[r#"
            10.96.0.9:80 None -> []
        "#]],
        );
    }

    #[test]
    fn a_headless_service_has_no_rule() {
        check(&json!({"clusterIP": "None", "ports": [{"port": 80}]}), &json!([]), &expect![""]);
    }

    #[test]
    fn affinity_lasts_three_hours_where_nothing_is_said() {
        let mut service = sql();
        service["sessionAffinity"] = json!("ClientIP");
        check(
            &service,
            &json!([]),
            &expect![[r#"
            10.96.0.9:80 Some(10800) -> []
        "#]],
        );
    }
}
