//! Bodies in, trees or upstream's error texts out.

use api::Gvk;
use api::codec::{Expected, FieldValidation, Media, Mode, decode};
use expect_test::{Expect, expect};
use serde_json::Value;

const CONFIG_MAP: Gvk<'static> = Gvk::of("", "v1", "ConfigMap");
const POD: Gvk<'static> = Gvk::of("", "v1", "Pod");
const STATEFUL_SET: Gvk<'static> = Gvk::of("apps", "v1", "StatefulSet");
const SERVICE: Gvk<'static> = Gvk::of("", "v1", "Service");
const EVENT: Gvk<'static> = Gvk::of("", "v1", "Event");

fn answer(gvk: Gvk<'_>, body: &str, media: Media, validation: FieldValidation) -> String {
    let decoded = match decode(body.as_bytes(), media, Expected::exactly(gvk), Mode::Typed) {
        Ok(decoded) => decoded,
        Err(error) => return format!("400 {error}"),
    };
    match validation.judge(&decoded.problems, gvk) {
        Ok(warnings) => {
            warnings.iter().map(|w| format!("warning: {w}\n")).collect::<String>() + &decoded.tree.to_string()
        }
        Err(error) => format!("400 {error}"),
    }
}

fn check(gvk: Gvk<'_>, body: &str, expected: Expect) {
    expected.assert_eq(&answer(gvk, body, Media::Json, FieldValidation::Warn));
}

fn check_strict(gvk: Gvk<'_>, body: &str, expected: Expect) {
    expected.assert_eq(&answer(gvk, body, Media::Json, FieldValidation::Strict));
}

fn check_yaml(gvk: Gvk<'_>, body: &str, expected: Expect) {
    expected.assert_eq(&answer(gvk, body, Media::Yaml, FieldValidation::Warn));
}

#[test]
fn kind_and_version_come_from_the_address_when_the_body_has_none() {
    check(
        CONFIG_MAP,
        r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#,
        expect![[r#"{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"name":"a"}}"#]],
    );
}

#[test]
fn empty_values_that_go_would_leave_out_are_left_out() {
    check(
        CONFIG_MAP,
        r#"{"metadata":{"name":"a","namespace":"","labels":{},"creationTimestamp":null},"data":{},"binaryData":null,"immutable":false}"#,
        expect![[r#"{"apiVersion":"v1","immutable":false,"kind":"ConfigMap","metadata":{"name":"a"}}"#]],
    );
}

#[test]
fn a_set_gets_what_upstream_always_writes_and_its_static_defaults() {
    check(
        STATEFUL_SET,
        r#"{"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"creationTimestamp":null},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],"readinessProbe":{"httpGet":{"port":80}}}]}}}}"#,
        expect![[
            r#"{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"web"},"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},"podManagementPolicy":"OrderedReady","replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"a":"b"}},"serviceName":"","template":{"metadata":{},"spec":{"containers":[{"image":"i","name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"readinessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}},"updateStrategy":{}},"status":{"availableReplicas":0,"replicas":0}}"#
        ]],
    );
}

#[test]
fn quantities_and_times_are_canonical() {
    check(
        POD,
        r#"{"metadata":{"creationTimestamp":"2024-01-02T03:04:05+02:00"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1000m","memory":"1024Mi","x":0.5}}}]}}"#,
        expect![[
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2024-01-02T01:04:05Z"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1","memory":"1Gi","x":"500m"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30},"status":{"phase":"Pending"}}"#
        ]],
    );
}

#[test]
fn an_int_or_string_keeps_its_kind() {
    check(
        SERVICE,
        r#"{"spec":{"ports":[{"port":80,"targetPort":"web"},{"port":81.0,"targetPort":8080}]}}"#,
        expect![[
            r#"{"apiVersion":"v1","kind":"Service","metadata":{},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":"web"},{"port":81,"protocol":"TCP","targetPort":8080}],"sessionAffinity":"None","type":"ClusterIP"},"status":{"loadBalancer":{}}}"#
        ]],
    );
}

#[test]
fn replicas_in_quotes_is_a_type_error() {
    check(
        STATEFUL_SET,
        r#"{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"replicas":"3"}}"#,
        expect![[
            r#"400 StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32"#
        ]],
    );
}

#[test]
fn containers_given_as_a_map_is_a_type_error() {
    check(
        STATEFUL_SET,
        r#"{"spec":{"template":{"spec":{"containers":{"name":"redis"}}}}}"#,
        expect![[
            r#"400 StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"#
        ]],
    );
}

#[test]
fn values_of_wrong_types_are_named_as_upstream_names_them() {
    check(
        POD,
        r#"{"spec":{"containers":[{"name":5}]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string"#
        ]],
    );
    check(
        POD,
        r#"{"metadata":{"labels":{"a":true}}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"containers":["x"]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"containers":[{"args":[1]}]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.args of type string"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"terminationGracePeriodSeconds":1.5}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"containers":[{"ports":[{"containerPort":3000000000}]}]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number 3000000000 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"restartPolicy":1}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"hostNetwork":"yes"}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"#
        ]],
    );
    check(
        SERVICE,
        r#"{"spec":{"ports":[{"targetPort":true}]}}"#,
        expect![[
            r#"400 Service in version "v1" cannot be handled as a Service: json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32"#
        ]],
    );
    check(
        POD,
        r#"[]"#,
        expect![[
            r#"400 the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b5d)"#
        ]],
    );
}

#[test]
fn a_quantity_with_a_wrong_suffix_has_upstreams_text() {
    check(
        POD,
        r#"{"spec":{"containers":[{"resources":{"requests":{"memory":"1Gb"}}}]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
        ]],
    );
    check(
        POD,
        r#"{"spec":{"containers":[{"resources":{"requests":{"memory":true}}}]}}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
        ]],
    );
}

#[test]
fn a_time_that_is_none_has_upstreams_text() {
    check(
        EVENT,
        r#"{"firstTimestamp":"yesterday"}"#,
        expect![[
            r#"400 Event in version "v1" cannot be handled as a Event: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#
        ]],
    );
    check(
        EVENT,
        r#"{"eventTime":"2024-01-02T03:04:05.5Z"}"#,
        expect![[
            r#"{"apiVersion":"v1","eventTime":"2024-01-02T03:04:05.500000Z","involvedObject":{},"kind":"Event","metadata":{},"reportingComponent":"","reportingInstance":"","source":{}}"#
        ]],
    );
}

#[test]
fn bytes_that_are_not_base64_have_upstreams_text() {
    check(
        Gvk::of("", "v1", "Secret"),
        r#"{"data":{"a":"!!!!"}}"#,
        expect![[r#"400 Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0"#]],
    );
    check(
        Gvk::of("", "v1", "Secret"),
        r#"{"data":{"a":"YWJj\nZGVm"}}"#,
        expect![[r#"{"apiVersion":"v1","data":{"a":"YWJjZGVm"},"kind":"Secret","metadata":{},"type":"Opaque"}"#]],
    );
}

#[test]
fn unknown_and_duplicate_fields_warn_or_fail() {
    let body = r#"{"spec":{"foo":{"x":1},"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a"},{"name":"b","imagee":"x"}]}},"volumeClaimTemplates":[]}}"#;
    check(
        STATEFUL_SET,
        body,
        expect![[r#"
        warning: unknown field "spec.foo"
        warning: duplicate field "spec.replicas"
        warning: unknown field "spec.template.spec.containers[1].imagee"
        {"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{},"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},"podManagementPolicy":"OrderedReady","replicas":2,"revisionHistoryLimit":10,"serviceName":"","template":{"metadata":{},"spec":{"containers":[{"name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"},{"name":"b","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}},"updateStrategy":{}},"status":{"availableReplicas":0,"replicas":0}}"#]],
    );
    check_strict(
        STATEFUL_SET,
        body,
        expect![[
            r#"400 StatefulSet in version "v1" cannot be handled as a StatefulSet: strict decoding error: unknown field "spec.foo", duplicate field "spec.replicas", unknown field "spec.template.spec.containers[1].imagee""#
        ]],
    );
}

#[test]
fn claim_templates_nested_under_the_pod_template_are_an_unknown_field() {
    check_strict(
        STATEFUL_SET,
        r#"{"spec":{"template":{"spec":{"volumeClaimTemplates":[{}]}}}}"#,
        expect![[
            r#"400 StatefulSet in version "v1" cannot be handled as a StatefulSet: strict decoding error: unknown field "spec.template.spec.volumeClaimTemplates""#
        ]],
    );
}

#[test]
fn another_kind_or_version_is_refused() {
    check(
        CONFIG_MAP,
        r#"{"apiVersion":"v1","kind":"Pod"}"#,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion"#
        ]],
    );
    check(
        CONFIG_MAP,
        r#"{"apiVersion":"v1","kind":"Frob","data":{"a":5}}"#,
        expect![[
            r#"400 Frob in version "v1" cannot be handled as a ConfigMap: no kind "Frob" is registered for version "v1""#
        ]],
    );
    check(
        STATEFUL_SET,
        r#"{"apiVersion":"apps/v1beta1","kind":"StatefulSet"}"#,
        expect!["400 the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"],
    );
}

#[test]
fn malformed_bodies_are_unrecognised() {
    check(
        CONFIG_MAP,
        "",
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"
        ],
    );
    check(
        CONFIG_MAP,
        "{\"a\":",
        expect![[
            r#"400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({"a":)"#
        ]],
    );
    check(
        CONFIG_MAP,
        "{} trailing",
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: trailing characters at line 1 column 4 ({} trailing)"
        ],
    );
    check(
        CONFIG_MAP,
        "\u{feff}{}",
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: expected value at line 1 column 1 (efbbbf7b7d)"
        ],
    );
}

#[test]
fn yaml_reads_like_json() {
    check_yaml(
        POD,
        "spec:\n  hostNetwork: yes\n  terminationGracePeriodSeconds: 5\n  containers:\n  - name: &n web\n    command: [a, 'b']\n    env:\n    - name: *n\n      value: \"no\"\n  volumes:\n  - name: s\n    secret:\n      secretName: x\n      defaultMode: 0644\n",
        expect![[
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[{"command":["a","b"],"env":[{"name":"web","value":"no"}],"name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","hostNetwork":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":5,"volumes":[{"name":"s","secret":{"defaultMode":420,"secretName":"x"}}]},"status":{"phase":"Pending"}}"#
        ]],
    );
    check_yaml(
        POD,
        "spec:\n  containers:\n  - name: a\n    image: b\n    image: c\n",
        expect![[r#"
        warning: duplicate field "spec.containers[0].image"
        {"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[{"image":"c","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30},"status":{"phase":"Pending"}}"#]],
    );
    check_yaml(
        POD,
        "spec:\n  containers:\n  - name: a\n   image: b\n",
        expect![
            "400 the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: error converting YAML to JSON: yaml: while parsing a block mapping, did not find expected key at line 4, column 4 (737065633a0a2020636f6e7461696e6572733a0a20202d206e616d653a20 ...)"
        ],
    );
    check_yaml(
        STATEFUL_SET,
        "spec:\n  replicas: '3'\n",
        expect![[
            r#"400 StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32"#
        ]],
    );
    check_yaml(
        CONFIG_MAP,
        "data:\n  1: a\n  on: b\n",
        expect![[r#"{"apiVersion":"v1","data":{"1":"a","on":"b"},"kind":"ConfigMap","metadata":{}}"#]],
    );
}

#[test]
fn every_zero_of_every_kind_is_a_fixed_point() {
    for root in api::schema::Schema::get().roots() {
        let once = decode(b"{}", Media::Json, Expected::exactly(root.gvk), Mode::Typed).unwrap().tree;
        let twice = api::codec::normalise(once.clone(), Expected::exactly(root.gvk), Mode::Typed).unwrap();
        assert_eq!(once, twice.tree, "{:?}", root.gvk);
        let has_type_meta = api::schema::Schema::get().field(root.ty, "kind").is_some();
        assert!(twice.problems.is_empty() || !has_type_meta, "{:?}: {:?}", root.gvk, twice.problems);
    }
}

#[test]
fn the_sparse_mode_adds_nothing_and_keeps_null_and_empty() {
    let body = br#"{"spec":{"replicas":null,"serviceName":"","template":{"spec":{"containers":[]}},"x":1}}"#;
    let decoded = decode(body, Media::Json, Expected::exactly(STATEFUL_SET), Mode::Sparse).unwrap();
    let expected: Value = serde_json::from_str(
        r#"{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"replicas":null,"serviceName":"","template":{"spec":{"containers":[]}}}}"#,
    )
    .unwrap();
    assert_eq!(decoded.tree, expected);
}

#[test]
fn an_empty_record_of_managers_is_kept_on_top_only() {
    check(
        CONFIG_MAP,
        r#"{"metadata":{"managedFields":[],"finalizers":[]}}"#,
        expect![[r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[]}}"#]],
    );
}
