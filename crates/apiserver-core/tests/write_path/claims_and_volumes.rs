//! PersistentVolumeClaim, PersistentVolume, StorageClass (K-5, K-24, K-25, M-10, M-11).

use crate::bed::{World, check, check_stored, check_update, create_in, yaml};
use expect_test::expect;
use serde_json::{Value, json};

pub(crate) const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: standard
  resources: {requests: {storage: 1Gi}}
";

pub(crate) const VOLUME: &str = "
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-0}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  hostPath: {path: /data}
";

const CLASS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard}
provisioner: roadstead.dev/local
";

#[test]
fn claims_and_volumes_are_protected_and_pending_from_the_start() {
    // N-9.
    check_stored(
        CLAIM,
        "status: {phase: Bound}",
        "/status",
        expect![[r#"
        {
          "phase": "Pending"
        }
    "#]],
    );
    check_stored(
        CLAIM,
        "",
        "/metadata/finalizers",
        expect![[r#"
        [
          "kubernetes.io/pvc-protection"
        ]
    "#]],
    );
    check_stored(
        CLAIM,
        "",
        "/spec",
        expect![[r#"
        {
          "accessModes": [
            "ReadWriteOnce"
          ],
          "resources": {
            "requests": {
              "storage": "1Gi"
            }
          },
          "storageClassName": "standard",
          "volumeMode": "Filesystem"
        }
    "#]],
    );
    check_stored(
        VOLUME,
        "status: {phase: Bound}",
        "/status",
        expect![[r#"
        {
          "phase": "Pending"
        }
    "#]],
    );
    check_stored(
        VOLUME,
        "",
        "/metadata/finalizers",
        expect![[r#"
        [
          "kubernetes.io/pv-protection"
        ]
    "#]],
    );
    check_stored(
        VOLUME,
        "",
        "/spec",
        expect![[r#"
        {
          "accessModes": [
            "ReadWriteOnce"
          ],
          "capacity": {
            "storage": "1Gi"
          },
          "hostPath": {
            "path": "/data",
            "type": ""
          },
          "persistentVolumeReclaimPolicy": "Retain",
          "volumeMode": "Filesystem"
        }
    "#]],
    );
    check_stored(
        CLASS,
        "",
        "",
        expect![[r#"
        {
          "apiVersion": "storage.k8s.io/v1",
          "kind": "StorageClass",
          "metadata": {
            "creationTimestamp": "2026-11-21T07:00:00Z",
            "managedFields": [
              {
                "apiVersion": "storage.k8s.io/v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                  "f:provisioner": {},
                  "f:reclaimPolicy": {},
                  "f:volumeBindingMode": {}
                },
                "manager": "test",
                "operation": "Update",
                "time": "2026-11-21T07:00:00Z"
              }
            ],
            "name": "standard",
            "uid": "11111111-2222-4333-8444-555555555555"
          },
          "provisioner": "roadstead.dev/local",
          "reclaimPolicy": "Delete",
          "volumeBindingMode": "Immediate"
        }
    "#]],
    );
}

#[test]
fn a_claim_that_names_no_class_gets_the_newest_default_one() {
    // N-5.
    let class = |name: &str, created: &str, default: &str| {
        json!({"metadata": {"name": name, "creationTimestamp": created,
            "annotations": {"storageclass.kubernetes.io/is-default-class": default}}})
    };
    let given = |classes: Vec<Value>, change: Value| {
        let world = World { classes, ..World::default() };
        let mut claim = yaml(CLAIM);
        claim["spec"]["storageClassName"] = change;
        let object = create_in(&world, claim).expect("a good claim").object;
        object["spec"].get("storageClassName").cloned()
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let classes =
        vec![class("b", new, "true"), class("a", new, "true"), class("c", old, "true"), class("d", new, "false")];
    assert_eq!(given(classes.clone(), Value::Null), Some("a".into()));
    assert_eq!(given(classes.clone(), "".into()), Some("".into()));
    assert_eq!(given(classes, "mine".into()), Some("mine".into()));
    assert_eq!(given(vec![class("d", new, "false")], Value::Null), None);
}

#[test]
fn claims_are_checked() {
    check(
        CLAIM,
        &[
            "spec: {accessModes: null}",
            "spec: {accessModes: [ReadWriteSometimes]}",
            "spec: {accessModes: [ReadWriteOncePod]}",
            "spec: {accessModes: [ReadWriteOncePod, ReadWriteOnce]}",
            "spec: {resources: null}",
            "spec: {resources: {requests: {storage: 0}}}",
            "spec: {resources: {requests: {storage: -1}}}",
            "spec: {resources: {requests: {storage: 1}}}",
            "spec: {resources: {requests: {storage: 1Gb}}}",
            "spec: {storageClassName: A_B}",
            "spec: {storageClassName: ''}",
            "spec: {volumeMode: Tape}",
            "spec: {volumeMode: Block}",
            "spec: {selector: {matchLabels: {'-': a}}}",
        ],
        expect![[r#"
            spec: {accessModes: null}
               spec.accessModes: Required value: at least 1 access mode is required
            spec: {accessModes: [ReadWriteSometimes]}
               spec.accessModes: Unsupported value: "ReadWriteSometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec: {accessModes: [ReadWriteOncePod]}
               ok
            spec: {accessModes: [ReadWriteOncePod, ReadWriteOnce]}
               spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            spec: {resources: null}
               spec.resources[storage]: Required value
            spec: {resources: {requests: {storage: 0}}}
               spec.resources[storage]: Invalid value: "0": must be greater than zero
            spec: {resources: {requests: {storage: -1}}}
               spec.resources[storage]: Invalid value: "-1": must be greater than zero
            spec: {resources: {requests: {storage: 1}}}
               ok
            spec: {resources: {requests: {storage: 1Gb}}}
               400 BadRequest: PersistentVolumeClaim in version "v1" cannot be handled as a PersistentVolumeClaim: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
            spec: {storageClassName: A_B}
               spec.storageClassName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec: {storageClassName: ''}
               ok
            spec: {volumeMode: Tape}
               spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
            spec: {volumeMode: Block}
               ok
            spec: {selector: {matchLabels: {'-': a}}}
               spec.selector.matchLabels: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "#]],
    );
}

#[test]
fn volumes_are_checked() {
    check(
        VOLUME,
        &[
            "spec: {accessModes: null}",
            "spec: {capacity: null}",
            "spec: {capacity: {storage: 0}}",
            "spec: {capacity: {cpu: 1}}",
            "spec: {hostPath: null}",
            "spec: {local: {path: /x}}",
            "spec: {hostPath: {path: /a/../b}}",
            "spec: {hostPath: null, local: {path: /x}}",
            "spec: {hostPath: null, local: {path: /x}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}",
            "spec: {persistentVolumeReclaimPolicy: Burn}",
            "spec: {hostPath: {path: /}, persistentVolumeReclaimPolicy: Recycle}",
            "metadata: {namespace: default}",
        ],
        expect![[r#"
            spec: {accessModes: null}
               spec.accessModes: Required value
            spec: {capacity: null}
               spec.capacity: Required value
            spec: {capacity: {storage: 0}}
               spec.capacity[storage]: Invalid value: "0": must be greater than zero
            spec: {capacity: {cpu: 1}}
               spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage"
            spec: {hostPath: null}
               spec: Required value: must specify a volume type
            spec: {local: {path: /x}}
               spec.local: Forbidden: may not specify more than 1 volume type
               spec.nodeAffinity: Required value: Local volume requires node affinity
            spec: {hostPath: {path: /a/../b}}
               spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'
            spec: {hostPath: null, local: {path: /x}}
               spec.nodeAffinity: Required value: Local volume requires node affinity
            spec: {hostPath: null, local: {path: /x}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
               ok
            spec: {persistentVolumeReclaimPolicy: Burn}
               spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"
            spec: {hostPath: {path: /}, persistentVolumeReclaimPolicy: Recycle}
               spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
            metadata: {namespace: default}
               metadata.namespace: Forbidden: not allowed on this type
        "#]],
    );
}

#[test]
fn classes_are_checked() {
    check(
        CLASS,
        &[
            "provisioner: null",
            "reclaimPolicy: Burn",
            "volumeBindingMode: Never",
            "volumeBindingMode: WaitForFirstConsumer",
        ],
        expect![[r#"
            provisioner: null
               provisioner: Required value
            reclaimPolicy: Burn
               reclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Retain"
            volumeBindingMode: Never
               volumeBindingMode: Unsupported value: "Never": supported values: "Immediate", "WaitForFirstConsumer"
            volumeBindingMode: WaitForFirstConsumer
               ok
        "#]],
    );
    check_update(
        CLASS,
        &[
            "provisioner: other",
            "parameters: {a: b}",
            "reclaimPolicy: Retain",
            "volumeBindingMode: WaitForFirstConsumer",
            "allowVolumeExpansion: true",
        ],
        expect![[r#"
            provisioner: other
               provisioner: Forbidden: updates to provisioner are forbidden.
            parameters: {a: b}
               parameters: Forbidden: updates to parameters are forbidden.
            reclaimPolicy: Retain
               reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.
            volumeBindingMode: WaitForFirstConsumer
               volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable
            allowVolumeExpansion: true
               written
        "#]],
    );
}
