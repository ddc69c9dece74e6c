//! StatefulSet: statefulset.md section 1.

use crate::bed::{
    SET, check, check_stored, check_update, check_update_of, create, merged, shown, stored, update, yaml,
};
use apiserver_core::write::Outcome;
use expect_test::expect;
use serde_json::{Value, json};

#[test]
fn a_small_manifest_is_stored_with_every_default() {
    // A-10, A-15, A-16, A-17, A-18.
    check_stored(
        SET,
        "",
        "",
        expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "StatefulSet",
          "metadata": {
            "creationTimestamp": "2026-11-21T07:00:00Z",
            "generation": 1,
            "managedFields": [
              {
                "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                  "f:spec": {
                    "f:persistentVolumeClaimRetentionPolicy": {
                      ".": {},
                      "f:whenDeleted": {},
                      "f:whenScaled": {}
                    },
                    "f:podManagementPolicy": {},
                    "f:replicas": {},
                    "f:revisionHistoryLimit": {},
                    "f:selector": {},
                    "f:serviceName": {},
                    "f:template": {
                      "f:metadata": {
                        "f:labels": {
                          ".": {},
                          "f:app": {}
                        }
                      },
                      "f:spec": {
                        "f:containers": {
                          "k:{\"name\":\"web\"}": {
                            ".": {},
                            "f:image": {},
                            "f:imagePullPolicy": {},
                            "f:name": {},
                            "f:resources": {},
                            "f:terminationMessagePath": {},
                            "f:terminationMessagePolicy": {}
                          }
                        },
                        "f:dnsPolicy": {},
                        "f:restartPolicy": {},
                        "f:schedulerName": {},
                        "f:securityContext": {},
                        "f:terminationGracePeriodSeconds": {}
                      }
                    },
                    "f:updateStrategy": {
                      "f:rollingUpdate": {
                        ".": {},
                        "f:maxUnavailable": {},
                        "f:partition": {}
                      },
                      "f:type": {}
                    },
                    "f:volumeClaimTemplates": {}
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
            "persistentVolumeClaimRetentionPolicy": {
              "whenDeleted": "Retain",
              "whenScaled": "Retain"
            },
            "podManagementPolicy": "OrderedReady",
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "selector": {
              "matchLabels": {
                "app": "web"
              }
            },
            "serviceName": "web",
            "template": {
              "metadata": {
                "labels": {
                  "app": "web"
                }
              },
              "spec": {
                "containers": [
                  {
                    "image": "nginx:1.27",
                    "imagePullPolicy": "IfNotPresent",
                    "name": "web",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File"
                  }
                ],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "terminationGracePeriodSeconds": 30
              }
            },
            "updateStrategy": {
              "rollingUpdate": {
                "maxUnavailable": 1,
                "partition": 0
              },
              "type": "RollingUpdate"
            },
            "volumeClaimTemplates": [
              {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                  "name": "data"
                },
                "spec": {
                  "accessModes": [
                    "ReadWriteOnce"
                  ],
                  "resources": {
                    "requests": {
                      "storage": "1Gi"
                    }
                  },
                  "volumeMode": "Filesystem"
                },
                "status": {
                  "phase": "Pending"
                }
              }
            ]
          },
          "status": {
            "availableReplicas": 0,
            "replicas": 0
          }
        }
    "#]],
    );
}

#[test]
fn the_update_strategy_is_defaulted_wholly_or_left_as_it_was_given() {
    // A-11 to A-13.
    for (given, expected) in [
        ("{}", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}})),
        ("{type: RollingUpdate}", json!({"type": "RollingUpdate"})),
        (
            "{type: RollingUpdate, rollingUpdate: {}}",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}),
        ),
        (
            "{rollingUpdate: {partition: 2}}",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 1}}),
        ),
        ("{type: OnDelete}", json!({"type": "OnDelete"})),
    ] {
        let set = merged(&yaml(SET), &json!({"spec": {"updateStrategy": yaml(given)}}));
        assert_eq!(create(set).expect("a good set").object["spec"]["updateStrategy"], expected, "{given}");
    }
}

#[test]
fn a_new_set_is_checked() {
    // A-37.
    // A-22 to A-36.
    check(
        SET,
        &[
            "metadata: {name: Web}",
            "metadata: {name: a.b}",
            "metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
            "metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
            "spec: {podManagementPolicy: Random}",
            "spec: {podManagementPolicy: Parallel}",
            "spec: {updateStrategy: {type: Recreate}}",
            "spec: {updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}",
            "spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: -1}}}",
            "spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1000}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: -1}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0%}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1%}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 100%}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 101%}}}",
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: some}}}",
            "spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Keep}}",
            "spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}",
            "spec: {replicas: -1}",
            "spec: {replicas: 0}",
            "spec: {minReadySeconds: -1}",
            "spec: {ordinals: {start: -1}}",
            "spec: {ordinals: {start: 5}}",
            "spec: {serviceName: A_B}",
            "spec: {serviceName: ''}",
            "spec: {selector: null}",
            "spec: {selector: {matchLabels: null}}",
            "spec: {selector: {matchLabels: {app: '-'}}}",
            "spec: {selector: {matchExpressions: [{key: app, operator: Is, values: [web]}]}}",
            "spec: {selector: {matchExpressions: [{key: app, operator: In}]}}",
            "spec: {selector: {matchLabels: {app: other}}}",
            "spec: {template: {metadata: null}}",
            "spec: {template: {spec: {restartPolicy: Never}}}",
            "spec: {template: {spec: {activeDeadlineSeconds: 5}}}",
            "spec: {template: {spec: {hostname: Not_A_Label}}}",
            "spec: {template: {spec: {containers: null}}}",
            "spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]}",
            "spec: {volumeClaimTemplates: [{metadata: {name: Not_A_Label}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}]}",
            "spec: {revisionHistoryLimit: -1}",
            "spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1500m}}}}]}",
        ],
        expect![[r#"
            metadata: {name: Web}
               metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            metadata: {name: a.b}
               metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
               ok
            metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
               metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 63 bytes
            spec: {podManagementPolicy: Random}
               spec.podManagementPolicy: Invalid value: "Random": must be 'OrderedReady' or 'Parallel'
            spec: {podManagementPolicy: Parallel}
               ok
            spec: {updateStrategy: {type: Recreate}}
               spec.updateStrategy: Invalid value: {"Type":"Recreate","RollingUpdate":null}: must be 'RollingUpdate' or 'OnDelete'
            spec: {updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}
               spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for updateStrategy 'RollingUpdate'
            spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: -1}}}
               spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1000}}}
               ok
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: -1}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0%}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "0%": cannot be 0
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1%}}}
               ok
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 100%}}}
               ok
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 101%}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
            spec: {updateStrategy: {rollingUpdate: {maxUnavailable: some}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "some": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Keep}}
               spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"
            spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}
               ok
            spec: {replicas: -1}
               spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec: {replicas: 0}
               ok
            spec: {minReadySeconds: -1}
               spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec: {ordinals: {start: -1}}
               spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
            spec: {ordinals: {start: 5}}
               ok
            spec: {serviceName: A_B}
               spec.serviceName: Invalid value: "A_B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec: {serviceName: ''}
               ok
            spec: {selector: null}
               spec.selector: Required value
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            spec: {selector: {matchLabels: null}}
               spec.selector: Invalid value: {}: empty selector is invalid for statefulset
            spec: {selector: {matchLabels: {app: '-'}}}
               spec.selector.matchLabels: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
               spec.selector: Invalid value: {"matchLabels":{"app":"-"}}
            spec: {selector: {matchExpressions: [{key: app, operator: Is, values: [web]}]}}
               spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator
               spec.selector: Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[{"key":"app","operator":"Is","values":["web"]}]}
            spec: {selector: {matchExpressions: [{key: app, operator: In}]}}
               spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
               spec.selector: Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[{"key":"app","operator":"In"}]}
            spec: {selector: {matchLabels: {app: other}}}
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            spec: {template: {metadata: null}}
               spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
            spec: {template: {spec: {restartPolicy: Never}}}
               spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec: {template: {spec: {activeDeadlineSeconds: 5}}}
               spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
            spec: {template: {spec: {hostname: Not_A_Label}}}
               ok
            spec: {template: {spec: {containers: null}}}
               spec.template.spec.containers: Required value
            spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]}
               spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
               spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
            spec: {volumeClaimTemplates: [{metadata: {name: Not_A_Label}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}]}
               ok
            spec: {revisionHistoryLimit: -1}
               ok, but spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
            spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1500m}}}}]}
               ok, but spec.volumeClaimTemplates[0].spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer
        "#]],
    );
}

#[test]
fn claims_are_volumes_for_the_mounts_of_the_template() {
    // A-33, A-34.
    let mount = |name: &str| {
        format!(
            "spec: {{template: {{spec: {{containers: [{{name: web, image: nginx, volumeMounts: [{{name: {name}, mountPath: /x}}]}}], volumes: [{{name: data, emptyDir: {{}}}}]}}}}}}"
        )
    };
    check(
        SET,
        &[&mount("data"), &mount("other")],
        expect![[r#"
        spec: {template: {spec: {containers: [{name: web, image: nginx, volumeMounts: [{name: data, mountPath: /x}]}], volumes: [{name: data, emptyDir: {}}]}}}
           ok
        spec: {template: {spec: {containers: [{name: web, image: nginx, volumeMounts: [{name: other, mountPath: /x}]}], volumes: [{name: data, emptyDir: {}}]}}}
           spec.template.spec.containers[0].volumeMounts[0].name: Not found: "other"
    "#]],
    );
}

#[test]
fn only_the_seven_fields_may_change_and_only_changes_of_the_spec_count() {
    // A-38, A-39.
    check_update(
        SET,
        &[
            "{}",
            "metadata: {labels: {a: b}}",
            "spec: {replicas: 5}",
            "spec: {replicas: -1}",
            "spec: {ordinals: {start: 1}}",
            "spec: {minReadySeconds: 5}",
            "spec: {revisionHistoryLimit: 3}",
            "spec: {updateStrategy: {type: OnDelete, rollingUpdate: null}}",
            "spec: {persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}}",
            "spec: {template: {metadata: {annotations: {a: b}}}}",
            "spec: {template: {metadata: {labels: {app: other}}}}",
            "spec: {serviceName: other}",
            "spec: {podManagementPolicy: Parallel}",
            "spec: {selector: {matchLabels: {app: other}}}",
            "spec: {volumeClaimTemplates: null}",
            "spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}]}",
            "spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}}]}",
            "status: {replicas: 3}",
        ],
        expect![[r#"
            {}
               unchanged
            metadata: {labels: {a: b}}
               written, generation 1
            spec: {replicas: 5}
               written, generation 2
            spec: {replicas: -1}
               spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec: {ordinals: {start: 1}}
               written, generation 2
            spec: {minReadySeconds: 5}
               written, generation 2
            spec: {revisionHistoryLimit: 3}
               written, generation 2
            spec: {updateStrategy: {type: OnDelete, rollingUpdate: null}}
               written, generation 2
            spec: {persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}}
               written, generation 2
            spec: {template: {metadata: {annotations: {a: b}}}}
               written, generation 2
            spec: {template: {metadata: {labels: {app: other}}}}
               spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`
            spec: {serviceName: other}
               spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            spec: {podManagementPolicy: Parallel}
               spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            spec: {selector: {matchLabels: {app: other}}}
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
               spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            spec: {volumeClaimTemplates: null}
               spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}]}
               spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}}]}
               unchanged
            status: {replicas: 3}
               unchanged
        "#]],
    );
}

#[test]
fn putting_the_manifest_again_as_it_was_written_changes_nothing() {
    // A-19.
    let current = stored(yaml(SET));
    let plan = update(&current, yaml(SET), "").expect("no error");
    assert_eq!(plan.outcome, Outcome::Unchanged);
}

#[test]
fn a_set_whose_stored_template_is_invalid_can_still_be_scaled() {
    // A-40.
    let mut current = stored(yaml(SET));
    current["spec"]["template"]["spec"]["containers"][0]["name"] = "Not_A_Label".into();
    check_update_of(
        &current,
        "",
        &["spec: {replicas: 5}", "spec: {replicas: -5}"],
        expect![[r#"
        spec: {replicas: 5}
           written, generation 2
        spec: {replicas: -5}
           spec.replicas: Invalid value: -5: must be greater than or equal to 0
    "#]],
    );
}

#[test]
fn status_is_checked_and_never_touches_the_spec() {
    // A-7.
    // A-42 to A-44.
    let current = stored(yaml(SET));
    check_update_of(
        &current,
        "status",
        &[
            "status: {replicas: 3, readyReplicas: 2, availableReplicas: 2, currentRevision: web-1}",
            "status: {replicas: -1}",
            "status: {replicas: 1, readyReplicas: 2}",
            "status: {replicas: 2, readyReplicas: 1, availableReplicas: 2}",
            "status: {collisionCount: 2}",
            "spec: {replicas: 9}",
            "metadata: {annotations: {a: b}}",
        ],
        expect![[r#"
            status: {replicas: 3, readyReplicas: 2, availableReplicas: 2, currentRevision: web-1}
               written, generation 1
            status: {replicas: -1}
               status.replicas: Invalid value: -1: must be greater than or equal to 0
               status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas
               status.currentReplicas: Invalid value: 0: cannot be greater than status.replicas
               status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas
               status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas
            status: {replicas: 1, readyReplicas: 2}
               status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
            status: {replicas: 2, readyReplicas: 1, availableReplicas: 2}
               status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas
            status: {collisionCount: 2}
               written, generation 1
            spec: {replicas: 9}
               unchanged
            metadata: {annotations: {a: b}}
               written, generation 1
        "#]],
    );
    let Outcome::Write(tree) =
        update(&current, merged(&current, &yaml("{spec: {replicas: 9}, status: {replicas: 2}}")), "status")
            .expect("no error")
            .outcome
    else {
        panic!("a write");
    };
    assert_eq!((&tree["spec"]["replicas"], &tree["status"]["replicas"]), (&json!(1), &json!(2)));
}

#[test]
fn the_collision_count_never_goes_back() {
    // A-44.
    let mut current = stored(yaml(SET));
    current["status"]["collisionCount"] = 2.into();
    check_update_of(
        &current,
        "status",
        &["status: {collisionCount: 3}", "status: {collisionCount: 1}", "status: {collisionCount: null}"],
        expect![[r#"
            status: {collisionCount: 3}
               written, generation 1
            status: {collisionCount: 1}
               status.collisionCount: Invalid value: 1: cannot be decremented
            status: {collisionCount: null}
               status.collisionCount: Invalid value: 0: cannot be decremented
        "#]],
    );
}

#[test]
fn a_set_that_lets_its_claims_go_is_held_until_that_is_done() {
    // S5: its controller takes the finalizer off once no claim names the set as its owner.
    let policy =
        |deleted: &str| yaml(&format!("spec: {{persistentVolumeClaimRetentionPolicy: {{whenDeleted: {deleted}}}}}"));
    let held = |current: &Value, deleted: &str| {
        let plan = update(current, merged(current, &policy(deleted)), "").expect("no error");
        match plan.outcome {
            Outcome::Write(tree) => tree["metadata"]["finalizers"].clone(),
            other => panic!("{other:?}"),
        }
    };
    let keeps = stored(yaml(SET));
    assert_eq!(held(&keeps, "Delete"), Value::Null);
    let deletes = stored(merged(&yaml(SET), &policy("Delete")));
    assert_eq!(held(&deletes, "Retain"), json!(["roadstead.dev/retention-policy"]));
    let without_claims = merged(&deletes, &yaml("spec: {volumeClaimTemplates: null}"));
    assert_eq!(held(&without_claims, "Retain"), Value::Null);
    let going =
        merged(&deletes, &json!({"metadata": {"deletionTimestamp": "2026-11-21T07:00:00Z", "finalizers": ["a/b"]}}));
    assert_eq!(held(&going, "Retain"), json!(["a/b"]), "nothing new holds what is being deleted");
}

#[test]
fn each_member_of_the_retention_policy_has_its_own_default() {
    // A-14.
    for (given, expected) in [
        ("{}", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
        ("{whenScaled: Delete}", json!({"whenDeleted": "Retain", "whenScaled": "Delete"})),
        ("{whenDeleted: Delete, whenScaled: ''}", json!({"whenDeleted": "Delete", "whenScaled": "Retain"})),
    ] {
        let set = merged(&yaml(SET), &json!({"spec": {"persistentVolumeClaimRetentionPolicy": yaml(given)}}));
        let stored = create(set).expect("a good set").object;
        assert_eq!(stored["spec"]["persistentVolumeClaimRetentionPolicy"], expected, "{given}");
    }
}

#[test]
fn defaulting_twice_is_defaulting_once() {
    let once = create(yaml(SET)).expect("a good set").object;
    let mut twice = once.clone();
    crate::bed::def_of(&once).default_object(&mut twice);
    assert_eq!(shown(&once), shown(&twice));
    assert_ne!(once, Value::Null);
}
