//! What may change in pods, claims and volumes after they were made (K-23 to K-25).

use crate::bed::{POD, check_update, check_update_of, stored, yaml};
use expect_test::expect;
use serde_json::json;

#[test]
fn of_a_pod_only_images_deadline_tolerations_may_change() {
    check_update(
        POD,
        &[
            "{}",
            "metadata: {labels: {a: b}}",
            "spec: {containers: [{name: web, image: 'nginx:1.28', imagePullPolicy: IfNotPresent}]}",
            "spec: {containers: [{name: web, image: 'nginx:1.28 ', imagePullPolicy: IfNotPresent}]}",
            "spec: {containers: [{name: web, image: 'nginx:1.27', imagePullPolicy: Always}]}",
            "spec: {containers: [{name: web, image: x}, {name: b, image: x}]}",
            "spec: {activeDeadlineSeconds: 5}",
            "spec: {activeDeadlineSeconds: -5}",
            "spec: {terminationGracePeriodSeconds: 5}",
            "spec: {nodeName: here}",
            "spec: {tolerations: null}",
            "spec: {restartPolicy: Never}",
            "status: {phase: Running}",
        ],
        expect![[r#"
            {}
               unchanged
            metadata: {labels: {a: b}}
               written, generation 1
            spec: {containers: [{name: web, image: 'nginx:1.28', imagePullPolicy: IfNotPresent}]}
               written, generation 2
            spec: {containers: [{name: web, image: 'nginx:1.28 ', imagePullPolicy: IfNotPresent}]}
               spec.containers[0].image: Invalid value: "nginx:1.28 ": must not have leading or trailing whitespace
            spec: {containers: [{name: web, image: 'nginx:1.27', imagePullPolicy: Always}]}
               spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            containers: [{"image":"nginx:1.27","imagePullPolicy":"IfNotPresent","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}] -> [{"image":"nginx:1.27","imagePullPolicy":"Always","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
            spec: {containers: [{name: web, image: x}, {name: b, image: x}]}
               spec.containers: Forbidden: pod updates may not add or remove containers
            spec: {activeDeadlineSeconds: 5}
               written, generation 2
            spec: {activeDeadlineSeconds: -5}
               spec.activeDeadlineSeconds: Invalid value: -5: must be between 0 and 2147483647, inclusive
            spec: {terminationGracePeriodSeconds: 5}
               spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            terminationGracePeriodSeconds: 30 -> 5
            spec: {nodeName: here}
               spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            nodeName: unset -> "here"
            spec: {tolerations: null}
               spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
            spec: {restartPolicy: Never}
               spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            restartPolicy: "Always" -> "Never"
            status: {phase: Running}
               unchanged
        "#]],
    );
    let mut with_deadline = stored(yaml(POD));
    with_deadline["spec"]["activeDeadlineSeconds"] = 10.into();
    check_update_of(
        &with_deadline,
        "",
        &[
            "spec: {activeDeadlineSeconds: 9}",
            "spec: {activeDeadlineSeconds: 11}",
            "spec: {activeDeadlineSeconds: null}",
        ],
        expect![[r#"
            spec: {activeDeadlineSeconds: 9}
               written, generation 2
            spec: {activeDeadlineSeconds: 11}
               spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value
            spec: {activeDeadlineSeconds: null}
               spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil value
        "#]],
    );
    let mut tolerations = stored(yaml(POD))["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    tolerations[0]["tolerationSeconds"] = 5.into();
    tolerations.push(json!({"key": "a", "operator": "Exists"}));
    let change = json!({"spec": {"tolerations": tolerations}}).to_string();
    check_update(
        POD,
        &[&change],
        expect![[r#"
        {"spec":{"tolerations":[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":5},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300},{"key":"a","operator":"Exists"}]}}
           written, generation 2
    "#]],
    );
}

#[test]
fn pod_status_is_written_without_touching_owners_or_spec() {
    let pod = stored(yaml(POD));
    check_update_of(
        &pod,
        "status",
        &[
            "status: {phase: Running}",
            "spec: {nodeName: here}",
            "metadata: {ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u}]}",
            "metadata: {annotations: {a: b}}",
            "status: {qosClass: Guaranteed}",
        ],
        expect![[r#"
            status: {phase: Running}
               written, generation 1
            spec: {nodeName: here}
               unchanged
            metadata: {ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u}]}
               unchanged
            metadata: {annotations: {a: b}}
               written, generation 1
            status: {qosClass: Guaranteed}
               unchanged
        "#]],
    );
}

#[test]
fn of_a_claim_only_the_size_of_a_bound_one_may_grow() {
    // N-11, N-12.
    let mut claim = stored(yaml(crate::claims_and_volumes::CLAIM));
    let rows = [
        "spec: {resources: {requests: {storage: 2Gi}}}",
        "spec: {resources: {requests: {storage: 1024Mi}}}",
        "spec: {accessModes: [ReadWriteMany]}",
        "spec: {storageClassName: other}",
        "spec: {volumeName: pv-1}",
        "spec: {resources: {requests: {storage: 512Mi}}}",
    ];
    check_update_of(
        &claim,
        "",
        &rows,
        expect![[r#"
        spec: {resources: {requests: {storage: 2Gi}}}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        resources: {"requests":{"storage":"1Gi"}} -> {"requests":{"storage":"2Gi"}}
        spec: {resources: {requests: {storage: 1024Mi}}}
           unchanged
        spec: {accessModes: [ReadWriteMany]}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        accessModes: ["ReadWriteOnce"] -> ["ReadWriteMany"]
        spec: {storageClassName: other}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        storageClassName: "standard" -> "other"
        spec: {volumeName: pv-1}
           written
        spec: {resources: {requests: {storage: 512Mi}}}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        resources: {"requests":{"storage":"1Gi"}} -> {"requests":{"storage":"512Mi"}}
    "#]],
    );
    claim["spec"]["volumeName"] = "pv-0".into();
    claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    check_update_of(
        &claim,
        "",
        &rows,
        expect![[r#"
        spec: {resources: {requests: {storage: 2Gi}}}
           written
        spec: {resources: {requests: {storage: 1024Mi}}}
           unchanged
        spec: {accessModes: [ReadWriteMany]}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        accessModes: ["ReadWriteOnce"] -> ["ReadWriteMany"]
        spec: {storageClassName: other}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        storageClassName: "standard" -> "other"
        spec: {volumeName: pv-1}
           spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        volumeName: "pv-0" -> "pv-1"
        spec: {resources: {requests: {storage: 512Mi}}}
           spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
    "#]],
    );
}

#[test]
fn the_source_of_a_volume_never_changes() {
    let volume = stored(yaml(crate::claims_and_volumes::VOLUME));
    check_update_of(
        &volume,
        "",
        &[
            "spec: {hostPath: {path: /other}}",
            "spec: {hostPath: null, local: {path: /data}}",
            "spec: {capacity: {storage: 2Gi}}",
            "spec: {claimRef: {namespace: default, name: data}}",
            "spec: {volumeMode: Block}",
            "spec: {persistentVolumeReclaimPolicy: Delete}",
            "spec: {nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}",
        ],
        expect![[r#"
            spec: {hostPath: {path: /other}}
               spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
            hostPath: {"path":"/data","type":""} -> {"path":"/other","type":""}
            spec: {hostPath: null, local: {path: /data}}
               spec.nodeAffinity: Required value: Local volume requires node affinity
               spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
            hostPath: {"path":"/data","type":""} -> unset
            local: unset -> {"path":"/data"}
            spec: {capacity: {storage: 2Gi}}
               written
            spec: {claimRef: {namespace: default, name: data}}
               written
            spec: {volumeMode: Block}
               spec.volumeMode: Invalid value: "Block": field is immutable
            spec: {persistentVolumeReclaimPolicy: Delete}
               written
            spec: {nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
               written
        "#]],
    );
}
