//! Service: defaults, addresses, rules (K-4, K-26 to K-28).

use crate::bed::{check, check_stored, check_update, check_update_of, merged, stored, update, yaml};
use apiserver_core::write::Outcome;
use expect_test::expect;
use serde_json::json;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{port: 80}]
";

#[test]
fn each_type_gets_its_defaults_and_addresses() {
    check_stored(
        SERVICE,
        "",
        "",
        expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "creationTimestamp": "2026-11-21T07:00:00Z",
            "managedFields": [
              {
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                  "f:spec": {
                    "f:clusterIP": {},
                    "f:clusterIPs": {},
                    "f:internalTrafficPolicy": {},
                    "f:ipFamilies": {},
                    "f:ipFamilyPolicy": {},
                    "f:ports": {
                      ".": {},
                      "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                        ".": {},
                        "f:port": {},
                        "f:protocol": {},
                        "f:targetPort": {}
                      }
                    },
                    "f:selector": {},
                    "f:sessionAffinity": {},
                    "f:type": {}
                  }
                },
                "manager": "test",
                "operation": "Update",
                "time": "2026-11-21T07:00:00Z"
              }
            ],
            "name": "web",
            "namespace": "default",
            "uid": "11111111-2222-4333-8444-555555555555"
          },
          "spec": {
            "clusterIP": "10.0.0.26",
            "clusterIPs": [
              "10.0.0.26"
            ],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [
              "IPv4"
            ],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
              {
                "port": 80,
                "protocol": "TCP",
                "targetPort": 80
              }
            ],
            "selector": {
              "app": "web"
            },
            "sessionAffinity": "None",
            "type": "ClusterIP"
          },
          "status": {
            "loadBalancer": {}
          }
        }
    "#]],
    );
    check_stored(
        SERVICE,
        "spec: {clusterIP: None}",
        "/spec",
        expect![[r#"
        {
          "clusterIP": "None",
          "clusterIPs": [
            "None"
          ],
          "internalTrafficPolicy": "Cluster",
          "ipFamilies": [
            "IPv4"
          ],
          "ipFamilyPolicy": "SingleStack",
          "ports": [
            {
              "port": 80,
              "protocol": "TCP",
              "targetPort": 80
            }
          ],
          "selector": {
            "app": "web"
          },
          "sessionAffinity": "None",
          "type": "ClusterIP"
        }
    "#]],
    );
    check_stored(
        SERVICE,
        "spec: {clusterIP: None, selector: null}",
        "/spec",
        expect![[r#"
        {
          "clusterIP": "None",
          "clusterIPs": [
            "None"
          ],
          "internalTrafficPolicy": "Cluster",
          "ipFamilies": [
            "IPv4",
            "IPv6"
          ],
          "ipFamilyPolicy": "RequireDualStack",
          "ports": [
            {
              "port": 80,
              "protocol": "TCP",
              "targetPort": 80
            }
          ],
          "sessionAffinity": "None",
          "type": "ClusterIP"
        }
    "#]],
    );
    check_stored(
        SERVICE,
        "spec: {type: NodePort, sessionAffinity: ClientIP}",
        "/spec",
        expect![[r#"
        {
          "clusterIP": "10.0.0.26",
          "clusterIPs": [
            "10.0.0.26"
          ],
          "externalTrafficPolicy": "Cluster",
          "internalTrafficPolicy": "Cluster",
          "ipFamilies": [
            "IPv4"
          ],
          "ipFamilyPolicy": "SingleStack",
          "ports": [
            {
              "nodePort": 32550,
              "port": 80,
              "protocol": "TCP",
              "targetPort": 80
            }
          ],
          "selector": {
            "app": "web"
          },
          "sessionAffinity": "ClientIP",
          "sessionAffinityConfig": {
            "clientIP": {
              "timeoutSeconds": 10800
            }
          },
          "type": "NodePort"
        }
    "#]],
    );
    check_stored(
        SERVICE,
        "spec: {type: LoadBalancer}",
        "/spec",
        expect![[r#"
        {
          "allocateLoadBalancerNodePorts": true,
          "clusterIP": "10.0.0.26",
          "clusterIPs": [
            "10.0.0.26"
          ],
          "externalTrafficPolicy": "Cluster",
          "internalTrafficPolicy": "Cluster",
          "ipFamilies": [
            "IPv4"
          ],
          "ipFamilyPolicy": "SingleStack",
          "ports": [
            {
              "nodePort": 32550,
              "port": 80,
              "protocol": "TCP",
              "targetPort": 80
            }
          ],
          "selector": {
            "app": "web"
          },
          "sessionAffinity": "None",
          "type": "LoadBalancer"
        }
    "#]],
    );
    check_stored(
        SERVICE,
        "spec: {type: ExternalName, externalName: example.com, ports: null}",
        "/spec",
        expect![[r#"
        {
          "externalName": "example.com",
          "selector": {
            "app": "web"
          },
          "sessionAffinity": "None",
          "type": "ExternalName"
        }
    "#]],
    );
}

#[test]
fn services_are_checked() {
    check(
        SERVICE,
        &[
            "metadata: {name: 0web}",
            "metadata: {name: a.b}",
            "spec: {ports: null}",
            "spec: {ports: null, clusterIP: None}",
            "spec: {ports: [{port: 0}]}",
            "spec: {ports: [{port: 65536}]}",
            "spec: {ports: [{port: 80, protocol: ICMP}]}",
            "spec: {ports: [{port: 80, targetPort: A_B}]}",
            "spec: {ports: [{port: 80, targetPort: http}]}",
            "spec: {ports: [{port: 80}, {port: 81}]}",
            "spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}",
            "spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}",
            "spec: {ports: [{port: 80, nodePort: 30001}]}",
            "spec: {type: Tunnel}",
            "spec: {type: ExternalName, ports: null}",
            "spec: {type: ExternalName, externalName: A_B, ports: null}",
            "spec: {type: NodePort, clusterIP: None}",
            "spec: {sessionAffinity: Sticky}",
            "spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}",
            "spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}",
            "spec: {externalTrafficPolicy: Local}",
            "spec: {type: NodePort, externalTrafficPolicy: Sideways}",
            "spec: {internalTrafficPolicy: Sideways}",
            "spec: {ipFamilyPolicy: RequireDualStack}",
            "spec: {ipFamilies: [IPv6]}",
            "spec: {selector: {'-': a}}",
        ],
        expect![[r#"
            metadata: {name: 0web}
               metadata.name: Invalid value: "0web": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            metadata: {name: a.b}
               metadata.name: Invalid value: "a.b": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec: {ports: null}
               spec.ports: Required value
            spec: {ports: null, clusterIP: None}
               ok
            spec: {ports: [{port: 0}]}
               spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
               spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
            spec: {ports: [{port: 65536}]}
               spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive
               spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive
            spec: {ports: [{port: 80, protocol: ICMP}]}
               spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec: {ports: [{port: 80, targetPort: A_B}]}
               spec.ports[0].targetPort: Invalid value: "A_B": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
               spec.ports[0].targetPort: Invalid value: "A_B": must contain at least one letter (a-z)
            spec: {ports: [{port: 80, targetPort: http}]}
               ok
            spec: {ports: [{port: 80}, {port: 81}]}
               spec.ports[0].name: Required value
               spec.ports[1].name: Required value
            spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}
               spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}
            spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}
               spec.ports[1].name: Duplicate value: "a"
            spec: {ports: [{port: 80, nodePort: 30001}]}
               spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec: {type: Tunnel}
               spec.type: Unsupported value: "Tunnel": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
            spec: {type: ExternalName, ports: null}
               spec.externalName: Required value
            spec: {type: ExternalName, externalName: A_B, ports: null}
               spec.externalName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec: {type: NodePort, clusterIP: None}
               spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
            spec: {sessionAffinity: Sticky}
               spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"
            spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}
               spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400
            spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}
               spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None
            spec: {externalTrafficPolicy: Local}
               spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
            spec: {type: NodePort, externalTrafficPolicy: Sideways}
               spec.externalTrafficPolicy: Unsupported value: "Sideways": supported values: "Cluster", "Local"
            spec: {internalTrafficPolicy: Sideways}
               spec.internalTrafficPolicy: Unsupported value: "Sideways": supported values: "Cluster", "Local"
            spec: {ipFamilyPolicy: RequireDualStack}
               spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
            spec: {ipFamilies: [IPv6]}
               spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster
            spec: {selector: {'-': a}}
               spec.selector: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "#]],
    );
}

#[test]
fn addresses_and_node_ports_are_given_once() {
    check(
        SERVICE,
        &[
            "spec: {clusterIP: 10.0.0.10}",
            "spec: {clusterIP: 10.0.0.9}",
            "spec: {clusterIP: 10.0.0.0}",
            "spec: {clusterIP: 10.0.0.255}",
            "spec: {clusterIP: 10.0.1.1}",
            "spec: {clusterIP: ten}",
            "spec: {clusterIP: 10.0.0.10, clusterIPs: [10.0.0.11]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 30009}]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 30009, protocol: UDP}]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 29999}]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 30000}]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 32767}]}",
            "spec: {type: NodePort, ports: [{port: 80, nodePort: 32768}]}",
            "spec: {type: NodePort, ports: [{port: 80, name: a, nodePort: 30001}, {port: 81, name: b, nodePort: 30001}]}",
        ],
        expect![[r#"
            spec: {clusterIP: 10.0.0.10}
               ok
            spec: {clusterIP: 10.0.0.9}
               spec.clusterIPs: Invalid value: ["10.0.0.9"]: failed to allocate IP 10.0.0.9: provided IP is already allocated
            spec: {clusterIP: 10.0.0.0}
               spec.clusterIPs: Invalid value: ["10.0.0.0"]: failed to allocate IP 10.0.0.0: the provided IP (10.0.0.0) is not in the valid range. The range of valid IPs is 10.0.0.0/24
            spec: {clusterIP: 10.0.0.255}
               spec.clusterIPs: Invalid value: ["10.0.0.255"]: failed to allocate IP 10.0.0.255: the provided IP (10.0.0.255) is not in the valid range. The range of valid IPs is 10.0.0.0/24
            spec: {clusterIP: 10.0.1.1}
               spec.clusterIPs: Invalid value: ["10.0.1.1"]: failed to allocate IP 10.0.1.1: the provided IP (10.0.1.1) is not in the valid range. The range of valid IPs is 10.0.0.0/24
            spec: {clusterIP: ten}
               spec.clusterIPs[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec: {clusterIP: 10.0.0.10, clusterIPs: [10.0.0.11]}
               spec.clusterIPs: Invalid value: ["10.0.0.11"]: first value must match `clusterIP`
            spec: {type: NodePort, ports: [{port: 80, nodePort: 30009}]}
               spec.ports[0].nodePort: Invalid value: 30009: provided port is already allocated
            spec: {type: NodePort, ports: [{port: 80, nodePort: 30009, protocol: UDP}]}
               ok
            spec: {type: NodePort, ports: [{port: 80, nodePort: 29999}]}
               spec.ports[0].nodePort: Invalid value: 29999: provided port is not in the valid range. The range of valid ports is 30000-32767
            spec: {type: NodePort, ports: [{port: 80, nodePort: 30000}]}
               ok
            spec: {type: NodePort, ports: [{port: 80, nodePort: 32767}]}
               ok
            spec: {type: NodePort, ports: [{port: 80, nodePort: 32768}]}
               spec.ports[0].nodePort: Invalid value: 32768: provided port is not in the valid range. The range of valid ports is 30000-32767
            spec: {type: NodePort, ports: [{port: 80, name: a, nodePort: 30001}, {port: 81, name: b, nodePort: 30001}]}
               spec.ports[1].nodePort: Duplicate value: 30001
        "#]],
    );
}

#[test]
fn an_address_never_changes_and_is_kept_when_it_is_left_out() {
    check_update(
        SERVICE,
        &[
            "{}",
            "spec: {clusterIP: null, clusterIPs: null, ipFamilies: null, ipFamilyPolicy: null}",
            "spec: {clusterIP: None, clusterIPs: null}",
            "spec: {clusterIP: None, clusterIPs: [None]}",
            "spec: {clusterIP: 10.0.0.10, clusterIPs: [10.0.0.10]}",
            "spec: {ports: [{port: 81}]}",
            "spec: {type: NodePort}",
            "spec: {type: ExternalName, externalName: example.com}",
            "spec: {selector: null}",
        ],
        expect![[r#"
            {}
               unchanged
            spec: {clusterIP: null, clusterIPs: null, ipFamilies: null, ipFamilyPolicy: null}
               unchanged
            spec: {clusterIP: None, clusterIPs: null}
               spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set
            spec: {clusterIP: None, clusterIPs: [None]}
               spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set
            spec: {clusterIP: 10.0.0.10, clusterIPs: [10.0.0.10]}
               spec.clusterIPs[0]: Invalid value: ["10.0.0.10"]: may not change once set
            spec: {ports: [{port: 81}]}
               written
            spec: {type: NodePort}
               written
            spec: {type: ExternalName, externalName: example.com}
               written
            spec: {selector: null}
               written
        "#]],
    );
}

#[test]
fn node_ports_are_kept_given_back_and_chosen_anew() {
    let service = stored(merged(&yaml(SERVICE), &yaml("spec: {type: NodePort}")));
    let port = service["spec"]["ports"][0]["nodePort"].clone();
    let change = |change: &str| match update(&service, merged(&service, &yaml(change)), "").expect("no error").outcome {
        Outcome::Write(tree) => tree["spec"].clone(),
        other => panic!("{other:?}"),
    };
    let kept = change("{metadata: {labels: {a: b}}, spec: {ports: [{port: 80}]}}");
    assert_eq!(kept["ports"][0]["nodePort"], port);
    assert_eq!(change("spec: {type: ClusterIP, externalTrafficPolicy: null}")["ports"][0].get("nodePort"), None);
    let other = change("spec: {ports: [{port: 80, nodePort: 30123}]}");
    assert_eq!(other["ports"][0]["nodePort"], json!(30123));
}

#[test]
fn a_name_becomes_an_address_and_back() {
    let external = stored(merged(&yaml(SERVICE), &yaml("spec: {type: ExternalName, externalName: example.com}")));
    check_update_of(
        &external,
        "",
        &["spec: {type: ClusterIP, externalName: null}"],
        expect![[r#"
        spec: {type: ClusterIP, externalName: null}
           written
    "#]],
    );
    let service = stored(yaml(SERVICE));
    let new = merged(&service, &yaml("spec: {type: ExternalName, externalName: example.com}"));
    let Outcome::Write(tree) = update(&service, new, "").expect("no error").outcome else { panic!("a write") };
    assert_eq!(tree["spec"].get("clusterIP"), None);
}
