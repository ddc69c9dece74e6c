//! The kinds about which there is little to say.

use crate::bed::{check, check_stored, check_update, create, yaml};
use expect_test::expect;
use serde_json::json;

#[test]
fn config_maps() {
    const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: default}, data: {a: b}}";
    check(
        MAP,
        &["data: {'a b': c}", "data: {..: c}", "binaryData: {a: AAAA}", "binaryData: {c: AAAA}"],
        expect![[r#"
            data: {'a b': c}
               data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data: {..: c}
               data[..]: Invalid value: "..": must not be '..'
            binaryData: {a: AAAA}
               data[a]: Invalid value: "a": duplicate of key present in binaryData
            binaryData: {c: AAAA}
               ok
        "#]],
    );
    check_update(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: default}, data: {a: b}, immutable: true}",
        &["data: {a: c}", "immutable: false", "metadata: {labels: {a: b}}"],
        expect![[r#"
            data: {a: c}
               data: Forbidden: field is immutable when `immutable` is set
            immutable: false
               immutable: Forbidden: field is immutable when `immutable` is set
            metadata: {labels: {a: b}}
               written
        "#]],
    );
    let with = |bytes: usize| {
        create(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x".repeat(bytes)}}),
        )
    };
    assert!(with(1_048_576).is_ok());
    let status = with(1_048_577).expect_err("too long");
    expect![[r#"ConfigMap "c" is invalid: []: Too long: may not be more than 1048576 bytes"#]]
        .assert_eq(&status.message);
}

#[test]
fn secrets() {
    const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}, data: {a: Yg==}}";
    check_stored(
        SECRET,
        "stringData: {a: plain, b: also}",
        "/data",
        expect![[r#"
        {
          "a": "cGxhaW4=",
          "b": "YWxzbw=="
        }
    "#]],
    );
    check_stored(
        SECRET,
        "",
        "/type",
        expect![[r#"
        "Opaque"
    "#]],
    );
    check(
        SECRET,
        &[
            "data: {'a b': Yg==}",
            "type: kubernetes.io/tls",
            "{type: kubernetes.io/tls, data: {tls.crt: '', tls.key: ''}}",
            "type: kubernetes.io/dockerconfigjson",
            "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{}'}}",
            "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: 'password'}}",
            "type: kubernetes.io/basic-auth",
            "type: kubernetes.io/ssh-auth",
            "type: kubernetes.io/service-account-token",
            "type: example.com/anything",
        ],
        expect![[r#"
            data: {'a b': Yg==}
               data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            type: kubernetes.io/tls
               data[tls.crt]: Required value
               data[tls.key]: Required value
            {type: kubernetes.io/tls, data: {tls.crt: '', tls.key: ''}}
               ok
            type: kubernetes.io/dockerconfigjson
               data[.dockerconfigjson]: Required value
            {type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{}'}}
               ok
            {type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: 'password'}}
               data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": expected value at line 1 column 1
            type: kubernetes.io/basic-auth
               data[username]: Required value
               data[password]: Required value
            type: kubernetes.io/ssh-auth
               data[ssh-privatekey]: Required value
            type: kubernetes.io/service-account-token
               metadata.annotations[kubernetes.io/service-account.name]: Required value
            type: example.com/anything
               ok
        "#]],
    );
    check_update(
        SECRET,
        &["type: other", "data: {a: Yw==}"],
        expect![[r#"
        type: other
           type: Invalid value: "other": field is immutable
        data: {a: Yw==}
           written
    "#]],
    );
}

#[test]
fn namespaces() {
    const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";
    check_stored(
        NAMESPACE,
        "status: {phase: Terminating}",
        "/status",
        expect![[r#"
        {
          "phase": "Active"
        }
    "#]],
    );
    check_stored(
        NAMESPACE,
        "",
        "/spec",
        expect![[r#"
        {
          "finalizers": [
            "kubernetes"
          ]
        }
    "#]],
    );
    check_stored(
        NAMESPACE,
        "metadata: {labels: {kubernetes.io/metadata.name: other}}",
        "/metadata/labels",
        expect![[r#"
        {
          "kubernetes.io/metadata.name": "shop"
        }
    "#]],
    );
    check(
        NAMESPACE,
        &["metadata: {name: a.b}", "metadata: {name: A}"],
        expect![[r#"
        metadata: {name: a.b}
           metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        metadata: {name: A}
           metadata.name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check_update(
        NAMESPACE,
        &["spec: {finalizers: null}", "metadata: {labels: {a: b}}", "metadata: {labels: null}"],
        expect![[r#"
        spec: {finalizers: null}
           unchanged
        metadata: {labels: {a: b}}
           written
        metadata: {labels: null}
           unchanged
    "#]],
    );
}

#[test]
fn nodes_keep_the_status_they_are_registered_with() {
    const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {name: here}, status: {capacity: {cpu: '2'}}}";
    check_stored(
        NODE,
        "",
        "/status/capacity",
        expect![[r#"
        {
          "cpu": "2"
        }
    "#]],
    );
    check(
        NODE,
        &[
            "spec: {taints: [{key: a, effect: NoSchedule}]}",
            "spec: {taints: [{key: a}]}",
            "spec: {taints: [{key: a, effect: Never}]}",
            "spec: {taints: [{key: '-', value: ' ', effect: NoSchedule}]}",
            "spec: {taints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoSchedule}]}",
        ],
        expect![[r#"
            spec: {taints: [{key: a, effect: NoSchedule}]}
               ok
            spec: {taints: [{key: a}]}
               spec.taints[0].effect: Required value
            spec: {taints: [{key: a, effect: Never}]}
               spec.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec: {taints: [{key: '-', value: ' ', effect: NoSchedule}]}
               spec.taints[0].key: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
               spec.taints[0].value: Invalid value: " ": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec: {taints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoSchedule}]}
               spec.taints[1]: Duplicate value: {"Key":"a","Value":"b","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair
        "#]],
    );
    check_update(
        "{apiVersion: v1, kind: Node, metadata: {name: here}, spec: {providerID: a, podCIDRs: [10.0.0.0/24]}}",
        &["spec: {providerID: b}", "spec: {podCIDRs: [10.0.1.0/24]}", "spec: {unschedulable: true}"],
        expect![[r#"
            spec: {providerID: b}
               spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
            spec: {podCIDRs: [10.0.1.0/24]}
               spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
            spec: {unschedulable: true}
               written
        "#]],
    );
}

#[test]
fn leases_revisions_and_endpoints() {
    // A-71.
    check(
        "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l, namespace: default}, spec: {}}",
        &["spec: {leaseDurationSeconds: 0}", "spec: {leaseDurationSeconds: 1}", "spec: {leaseTransitions: -1}"],
        expect![[r#"
            spec: {leaseDurationSeconds: 0}
               spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
            spec: {leaseDurationSeconds: 1}
               ok
            spec: {leaseTransitions: -1}
               spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    const REVISION: &str = "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r, namespace: default}, data: {a: b}, revision: 1}";
    check(
        REVISION,
        &["data: null", "data: text", "revision: -1", "revision: 0"],
        expect![[r#"
        data: null
           data: Required value: data is mandatory
        data: text
           data: Invalid value: "text": data must be a valid JSON object
        revision: -1
           revision: Invalid value: -1: must be greater than or equal to 0
        revision: 0
           ok
    "#]],
    );
    check_update(
        REVISION,
        &["data: {a: c}", "revision: 2", "revision: -2"],
        expect![[r#"
        data: {a: c}
           data: Invalid value: {"a":"c"}: field is immutable
        revision: 2
           written
        revision: -2
           revision: Invalid value: -2: must be greater than or equal to 0
    "#]],
    );
    check(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e, namespace: default}, subsets: [{addresses: [{ip: 10.1.0.2}], ports: [{port: 80}]}]}",
        &["{}", "subsets: [{}]", "subsets: [{addresses: [{ip: ten}], ports: [{port: 0}, {port: 1, name: a}]}]"],
        expect![[r#"
            {}
               ok
            subsets: [{}]
               subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
            subsets: [{addresses: [{ip: ten}], ports: [{port: 0}, {port: 1, name: a}]}]
               subsets[0].addresses[0].ip: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
               subsets[0].ports[0].name: Required value
               subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        "#]],
    );
    const SLICE: &str = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e, namespace: default}, addressType: IPv4, endpoints: [{addresses: [10.1.0.2]}], ports: [{port: 80}]}";
    check_stored(
        SLICE,
        "",
        "/ports",
        expect![[r#"
        [
          {
            "name": "",
            "port": 80,
            "protocol": "TCP"
          }
        ]
    "#]],
    );
    check(
        SLICE,
        &[
            "addressType: null",
            "addressType: IPX",
            "endpoints: [{addresses: []}]",
            "endpoints: [{addresses: [ten]}]",
            "ports: [{port: 80}, {port: 81}]",
        ],
        expect![[r#"
            addressType: null
               addressType: Required value
            addressType: IPX
               addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"
            endpoints: [{addresses: []}]
               endpoints[0].addresses: Required value: must contain at least 1 address
            endpoints: [{addresses: [ten]}]
               endpoints[0].addresses[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            ports: [{port: 80}, {port: 81}]
               ports[1].name: Duplicate value: ""
        "#]],
    );
    check_update(
        SLICE,
        &["addressType: IPv6", "endpoints: [{addresses: [10.1.0.3]}]"],
        expect![[r#"
        addressType: IPv6
           addressType: Invalid value: "IPv6": field is immutable
        endpoints: [{addresses: [10.1.0.3]}]
           written, generation 1
    "#]],
    );
}

#[test]
fn events_belong_to_the_namespace_of_what_they_speak_of() {
    // K-34.
    check(
        "{apiVersion: v1, kind: Event, metadata: {name: web-0.17ABC, namespace: default}, involvedObject: {kind: Pod, name: web-0, namespace: default}, reason: Started, message: m, type: Normal}",
        &[
            "{}",
            "involvedObject: {namespace: other}",
            "involvedObject: {namespace: null, kind: Node}",
            "{eventTime: '2026-01-01T00:00:00.000000Z'}",
        ],
        expect![[r#"
            {}
               ok
            involvedObject: {namespace: other}
               involvedObject.namespace: Invalid value: "other": does not match event.namespace
            involvedObject: {namespace: null, kind: Node}
               ok
            {eventTime: '2026-01-01T00:00:00.000000Z'}
               reportingComponent: Required value
               reportingInstance: Required value
               action: Required value
        "#]],
    );
    check(
        "{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: e, namespace: default}, eventTime: '2026-01-01T00:00:00.000000Z', regarding: {kind: Pod, name: web-0, namespace: default}, reason: Started, action: Start, note: m, type: Normal, reportingController: example.com/c, reportingInstance: c-1}",
        &["{}", "eventTime: null", "action: null", "type: Odd", "regarding: {namespace: other}"],
        expect![[r#"
            {}
               ok
            eventTime: null
               eventTime: Required value
            action: null
               action: Required value
            type: Odd
               type: Invalid value: "": has invalid value: Odd
            regarding: {namespace: other}
               regarding.namespace: Invalid value: "other": does not match event.namespace
        "#]],
    );
}

#[test]
fn a_review_asks_one_question() {
    let review = |spec: &str| {
        let tree =
            yaml(&format!("{{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, spec: {spec}}}"));
        let def = crate::bed::def_of(&tree);
        match apiserver_core::kinds::reviews::validate(def, &crate::bed::decoded(tree).expect("decodes")) {
            Ok(()) => "ok".to_owned(),
            Err(status) => status.message,
        }
    };
    expect![[r#"SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes must be specified"#]].assert_eq(&review("{}"));
    expect![[r#"SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"path":"/x"}: cannot be specified in combination with resourceAttributes"#]].assert_eq(&review("{resourceAttributes: {verb: get}, nonResourceAttributes: {path: /x}}"));
    expect!["ok"].assert_eq(&review("{resourceAttributes: {verb: get}}"));
}
