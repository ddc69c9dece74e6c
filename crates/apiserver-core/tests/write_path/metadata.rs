//! Metadata, which is the same for every kind (V-15 to V-18, V-25 to V-30, V-36 to V-41).

use crate::bed::{World, check, check_stored, check_update, create, create_in, refusal, variant, yaml};
use apiserver_core::write::NamespaceState;
use expect_test::expect;

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {a: b}
";

#[test]
fn what_only_the_server_may_say_is_said_by_the_server() {
    check_stored(
        MAP,
        "metadata: {uid: mine, creationTimestamp: '2000-01-01T00:00:00Z', generation: 9, selfLink: /x, deletionTimestamp: '2000-01-01T00:00:00Z', deletionGracePeriodSeconds: 4, generateName: settings-}",
        "/metadata",
        expect![[r#"
            {
              "creationTimestamp": "2026-11-21T07:00:00Z",
              "generateName": "settings-",
              "managedFields": [
                {
                  "apiVersion": "v1",
                  "fieldsType": "FieldsV1",
                  "fieldsV1": {
                    "f:data": {
                      ".": {},
                      "f:a": {}
                    },
                    "f:metadata": {
                      "f:generateName": {}
                    }
                  },
                  "manager": "test",
                  "operation": "Update",
                  "time": "2026-11-21T07:00:00Z"
                }
              ],
              "name": "settings",
              "namespace": "default",
              "uid": "11111111-2222-4333-8444-555555555555"
            }
        "#]],
    );
}

#[test]
fn names_and_namespaces() {
    check(
        MAP,
        &[
            "metadata: {name: null}",
            "metadata: {name: ''}",
            "metadata: {name: A}",
            "metadata: {name: a.b-c}",
            "metadata: {name: null, generateName: A-}",
            "metadata: {namespace: other}",
            "metadata: {namespace: null}",
            "metadata: {resourceVersion: '7'}",
            "metadata: {resourceVersion: '0'}",
        ],
        expect![[r#"
            metadata: {name: null}
               metadata.name: Required value: name or generateName is required
            metadata: {name: ''}
               metadata.name: Required value: name or generateName is required
            metadata: {name: A}
               metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            metadata: {name: a.b-c}
               ok
            metadata: {name: null, generateName: A-}
               metadata.generateName: Invalid value: "A-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
               metadata.name: Invalid value: "A-4w4q7": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            metadata: {namespace: other}
               400 BadRequest: the namespace of the provided object does not match the namespace sent on the request
            metadata: {namespace: null}
               ok
            metadata: {resourceVersion: '7'}
               500 -: resourceVersion should not be set on objects to be created
            metadata: {resourceVersion: '0'}
               ok
        "#]],
    );
}

#[test]
fn labels_annotations_finalizers_and_owners() {
    let owner = |members: &str| format!("metadata: {{ownerReferences: [{members}]}}");
    let a = "{apiVersion: apps/v1, kind: StatefulSet, name: a, uid: u1, controller: true}";
    let b = "{apiVersion: apps/v1, kind: StatefulSet, name: b, uid: u2, controller: true}";
    let rows = [
        "metadata: {labels: {a: b, x.y/z: ''}}".to_owned(),
        "metadata: {labels: {'-a': b}}".to_owned(),
        "metadata: {labels: {a: 'b c'}}".to_owned(),
        format!("metadata: {{labels: {{a: {}}}}}", "b".repeat(63)),
        format!("metadata: {{labels: {{a: {}}}}}", "b".repeat(64)),
        "metadata: {annotations: {A.B/c: anything at all}}".to_owned(),
        "metadata: {annotations: {'a b': c}}".to_owned(),
        "metadata: {finalizers: [example.com/a]}".to_owned(),
        "metadata: {finalizers: [orphan]}".to_owned(),
        "metadata: {finalizers: [other]}".to_owned(),
        "metadata: {finalizers: [orphan, foregroundDeletion]}".to_owned(),
        owner(a),
        owner(&format!("{a}, {b}")),
        owner(&format!("{a}, {a}")),
        owner("{apiVersion: apps/v1, kind: StatefulSet}"),
        owner("{apiVersion: v1, kind: Event, name: e, uid: u}"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    check(
        MAP,
        &rows,
        expect![[r#"
        metadata: {labels: {a: b, x.y/z: ''}}
           ok
        metadata: {labels: {'-a': b}}
           metadata.labels: Invalid value: "-a": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata: {labels: {a: 'b c'}}
           metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata: {labels: {a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}}
           ok
        metadata: {labels: {a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}}
           metadata.labels: Invalid value: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": must be no more than 63 bytes
        metadata: {annotations: {A.B/c: anything at all}}
           ok
        metadata: {annotations: {'a b': c}}
           metadata.annotations: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata: {finalizers: [example.com/a]}
           ok
        metadata: {finalizers: [orphan]}
           ok
        metadata: {finalizers: [other]}
           metadata.finalizers[0]: Invalid value: "other": name is neither a standard finalizer name nor is it fully qualified
        metadata: {finalizers: [orphan, foregroundDeletion]}
           metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: orphan and foregroundDeletion cannot be both set
        metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: a, uid: u1, controller: true}]}
           ok
        metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: a, uid: u1, controller: true}, {apiVersion: apps/v1, kind: StatefulSet, name: b, uid: u2, controller: true}]}
           metadata.ownerReferences: Invalid value: [{"apiVersion":"apps/v1","controller":true,"kind":"StatefulSet","name":"a","uid":"u1"},{"apiVersion":"apps/v1","controller":true,"kind":"StatefulSet","name":"b","uid":"u2"}]: Only one reference can have Controller set to true. Found "true" in references for StatefulSet/a and StatefulSet/b
        metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: a, uid: u1, controller: true}, {apiVersion: apps/v1, kind: StatefulSet, name: a, uid: u1, controller: true}]}
           ok, but .metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u1
        metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet}]}
           metadata.ownerReferences.name: Invalid value: "": must not be empty
           metadata.ownerReferences.uid: Invalid value: "": must not be empty
        metadata: {ownerReferences: [{apiVersion: v1, kind: Event, name: e, uid: u}]}
           metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner
    "#]],
    );
}

#[test]
fn all_annotations_together_are_at_most_256_kib() {
    let with = |bytes: usize| {
        let mut tree = yaml(MAP);
        tree["metadata"]["annotations"] = serde_json::json!({"a": "x".repeat(bytes - 1)});
        create(tree)
    };
    assert!(with(262_143).is_ok() && with(262_144).is_ok());
    let status = with(262_145).expect_err("too long");
    expect![[r#"422 Invalid: ConfigMap "settings" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes"#]].assert_eq(&refusal(&status));
}

#[test]
fn a_generated_name_is_the_base_and_five_letters() {
    let mut tree = variant(MAP, "metadata: {name: null, generateName: settings-}");
    let plan = create(tree.clone()).expect("a good map");
    assert!(plan.generated_name && plan.name.len() == "settings-".len() + 5, "{}", plan.name);
    assert_eq!(plan.object["metadata"]["generateName"], "settings-");
    tree["metadata"]["generateName"] = "a".repeat(80).into();
    assert_eq!(create(tree.clone()).expect("a good map").name.len(), 63);
    tree["metadata"]["name"] = "fixed".into();
    tree["metadata"]["generateName"] = "b-".into();
    assert_eq!(create(tree).expect("a good map").name, "fixed");
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_missing_or_going() {
    // V-30, M-2.
    let said = |namespace| {
        let world = World { namespace, ..World::default() };
        let status = create_in(&world, yaml(MAP)).expect_err("no namespace");
        let causes = status.details.as_ref().map(|d| format!("{:?}", d.causes)).unwrap_or_default();
        format!("{}\n{causes}\n", refusal(&status))
    };
    expect![[r#"
        404 NotFound: namespaces "default" not found
        []
    "#]]
    .assert_eq(&said(NamespaceState::Missing));
    expect![[r#"
        403 Forbidden: configmaps "settings" is forbidden: unable to create new content in namespace default because it is being terminated
        [Cause { reason: "NamespaceTerminating", message: "namespace default is being terminated", field: "metadata.namespace" }]
    "#]].assert_eq(&said(NamespaceState::Terminating));
}

#[test]
fn an_update_keeps_identity_and_a_no_op_writes_nothing() {
    check_update(
        MAP,
        &[
            "{}",
            "data: {a: c}",
            "metadata: {labels: {a: b}}",
            "metadata: {name: other}",
            "metadata: {namespace: other}",
            "metadata: {uid: other}",
            "metadata: {uid: null, creationTimestamp: null, namespace: null}",
            "metadata: {resourceVersion: '99'}",
            "{metadata: {resourceVersion: null}, data: {a: c}}",
            "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}",
            "metadata: {finalizers: [example.com/a]}",
            "metadata: {generation: 7}",
        ],
        expect![[r#"
            {}
               unchanged
            data: {a: c}
               written
            metadata: {labels: {a: b}}
               written
            metadata: {name: other}
               400 BadRequest: the name of the object (other) does not match the name on the URL (settings)
            metadata: {namespace: other}
               400 BadRequest: the namespace of the provided object does not match the namespace sent on the request
            metadata: {uid: other}
               409 Conflict: Operation cannot be fulfilled on configmaps "settings": Precondition failed: UID in precondition: other, UID in object meta: 11111111-2222-4333-8444-555555555555
            metadata: {uid: null, creationTimestamp: null, namespace: null}
               unchanged
            metadata: {resourceVersion: '99'}
               409 Conflict: Operation cannot be fulfilled on configmaps "settings": the object has been modified; please apply your changes to the latest version and try again
            {metadata: {resourceVersion: null}, data: {a: c}}
               written
            metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}
               unchanged
            metadata: {finalizers: [example.com/a]}
               written
            metadata: {generation: 7}
               unchanged
        "#]],
    );
}

#[test]
fn a_lease_is_never_overwritten_blindly() {
    // V-37.
    const LEASE: &str = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l, namespace: default}, spec: {holderIdentity: a}}";
    check_update(
        LEASE,
        &["spec: {holderIdentity: b}", "{metadata: {resourceVersion: null}, spec: {holderIdentity: b}}"],
        expect![[r#"
            spec: {holderIdentity: b}
               written
            {metadata: {resourceVersion: null}, spec: {holderIdentity: b}}
               metadata.resourceVersion: Invalid value: 0: must be specified for an update
        "#]],
    );
}
