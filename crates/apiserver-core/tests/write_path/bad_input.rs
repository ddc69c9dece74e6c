//! The bad input of the issue: each gets upstream's error, or is legal.

use crate::bed::{SET, check, check_body};
use expect_test::expect;

#[test]
fn claim_templates_nested_under_the_template_are_an_unknown_field() {
    check_body(
        ("apps/v1", "StatefulSet"),
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx}]
      volumeClaimTemplates: [{metadata: {name: data}}]
",
        expect![[r#"
            400 BadRequest: StatefulSet in version "v1" cannot be handled as a StatefulSet: strict decoding error: unknown field "spec.template.spec.volumeClaimTemplates"
        "#]],
    );
}

#[test]
fn broken_indentation_is_a_syntax_error_with_its_line() {
    check_body(
        ("apps/v1", "StatefulSet"),
        "
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  serviceName: web
   replicas: 3
",
        expect![[r#"
            400 BadRequest: the object provided is unrecognized (must be of type StatefulSet): couldn't get version/kind; json parse error: error converting YAML to JSON: yaml: mapping values are not allowed in this context at line 8, column 12 (0a61706956657273696f6e3a20617070732f76310a6b696e643a20537461 ...)
        "#]],
    );
}

#[test]
fn containers_given_as_a_map_are_a_type_error() {
    check_body(
        ("apps/v1", "StatefulSet"),
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        name: web
        image: nginx
",
        expect![[r#"
            400 BadRequest: StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container
        "#]],
    );
}

#[test]
fn replicas_as_a_text_are_a_type_error() {
    check_body(
        ("apps/v1", "StatefulSet"),
        "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web}, spec: {replicas: \"3\"}}",
        expect![[r#"
            400 BadRequest: StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32
        "#]],
    );
}

#[test]
fn a_quantity_with_an_unknown_suffix_is_refused_by_the_decoder() {
    check_body(
        ("v1", "PersistentVolumeClaim"),
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gb}}
",
        expect![[r#"
            400 BadRequest: PersistentVolumeClaim in version "v1" cannot be handled as a PersistentVolumeClaim: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        "#]],
    );
}

#[test]
fn what_can_be_decoded_but_makes_no_sense_is_invalid() {
    check(
        SET,
        &[
            "spec: {template: {spec: {containers: [{image: nginx}]}}}",
            "spec: {template: {spec: {containers: [{name: web, image: nginx, env: [{name: A=B, value: c}]}]}}}",
            "spec: {template: {spec: {containers: [{name: web, image: nginx, env: [{name: MYSQL ROOT PASSWORD, value: c}]}]}}}",
            "spec: {replicas: -1}",
            "spec: {template: {spec: {containers: [{name: web, image: 'no-such-registry.example/no-such-image'}]}}}",
            "spec: {serviceName: no-such-service}",
        ],
        expect![[r#"
            spec: {template: {spec: {containers: [{image: nginx}]}}}
               spec.template.spec.containers[0].name: Required value
            spec: {template: {spec: {containers: [{name: web, image: nginx, env: [{name: A=B, value: c}]}]}}}
               spec.template.spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec: {template: {spec: {containers: [{name: web, image: nginx, env: [{name: MYSQL ROOT PASSWORD, value: c}]}]}}}
               ok
            spec: {replicas: -1}
               spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec: {template: {spec: {containers: [{name: web, image: 'no-such-registry.example/no-such-image'}]}}}
               ok
            spec: {serviceName: no-such-service}
               ok
        "#]],
    );
}
