//! Deployment, ReplicaSet, DaemonSet and PodDisruptionBudget: manifests and upstream's answers.

use crate::bed::{check, check_stored, check_update, check_update_of, merged, stored, update, yaml};
use apiserver_core::write::Outcome;
use expect_test::expect;
use serde_json::Value;

pub(crate) const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27'}
";

pub(crate) const REPLICA_SET: &str = "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27'}
";

pub(crate) const DAEMON_SET: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27'}
";

pub(crate) const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
";

/// The spec without its template, and the status.
fn check_filled(base: &str, change: &str, expected: expect_test::Expect) {
    let mut object = stored(merged(&yaml(base), &yaml(change)));
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("template");
    }
    expected.assert_eq(&format!("{}\n{}\n", object["spec"], object["status"]));
}

#[test]
fn what_a_manifest_leaves_out_is_filled_in() {
    check_filled(
        DEPLOYMENT,
        "{}",
        expect![[r#"
        {"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}}
        {}
    "#]],
    );
    check_filled(
        DEPLOYMENT,
        "{spec: {strategy: {type: Recreate}}}",
        expect![[r#"
        {"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"strategy":{"type":"Recreate"}}
        {}
    "#]],
    );
    check_filled(
        DEPLOYMENT,
        "{spec: {strategy: {rollingUpdate: {maxSurge: 2}}}}",
        expect![[r#"
        {"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"strategy":{"rollingUpdate":{"maxSurge":2,"maxUnavailable":"25%"},"type":"RollingUpdate"}}
        {}
    "#]],
    );
    check_filled(
        REPLICA_SET,
        "{}",
        expect![[r#"
        {"replicas":1,"selector":{"matchLabels":{"app":"web"}}}
        {"replicas":0}
    "#]],
    );
    check_filled(
        DAEMON_SET,
        "{}",
        expect![[r#"
        {"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"updateStrategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}}
        {"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0}
    "#]],
    );
    check_filled(
        DAEMON_SET,
        "{spec: {updateStrategy: {type: OnDelete}}}",
        expect![[r#"
        {"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"updateStrategy":{"type":"OnDelete"}}
        {"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0}
    "#]],
    );
    check_filled(
        BUDGET,
        "{}",
        expect![[r#"
        {"minAvailable":1,"selector":{"matchLabels":{"app":"web"}}}
        {"currentHealthy":0,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0}
    "#]],
    );
    check_stored(
        DAEMON_SET,
        "{}",
        "/metadata/annotations",
        expect![[r#"
        {
          "deprecated.daemonset.template.generation": "1"
        }
    "#]],
    );
}

#[test]
fn deployments_that_make_no_sense_are_refused() {
    check(
        DEPLOYMENT,
        &[
            "{spec: {replicas: -1}}",
            "{spec: {selector: null}}",
            "{spec: {selector: {matchLabels: null}}}",
            "{spec: {selector: {matchLabels: {app: other}}}}",
            "{spec: {selector: {matchExpressions: [{key: a, operator: Near}]}}}",
            "{spec: {template: {spec: {restartPolicy: Never}}}}",
            "{spec: {template: {spec: {activeDeadlineSeconds: 3}}}}",
            "{spec: {template: {spec: {containers: []}}}}",
            "{spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}}}",
            "{spec: {strategy: {type: Sometimes}}}",
            "{spec: {strategy: {type: Sometimes, rollingUpdate: {maxSurge: 1}}}}",
            "{spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}}}",
            "{spec: {strategy: {rollingUpdate: {maxSurge: -1}}}}",
            "{spec: {strategy: {rollingUpdate: {maxSurge: much}}}}",
            "{spec: {strategy: {rollingUpdate: {maxUnavailable: 101%, maxSurge: 200%}}}}",
            "{spec: {minReadySeconds: -1, revisionHistoryLimit: -1, progressDeadlineSeconds: -1}}",
            "{spec: {minReadySeconds: 600}}",
            "{spec: {paused: true, minReadySeconds: 599}}",
            "{metadata: {name: a.b}}",
            "{metadata: {name: A}}",
        ],
        expect![[r#"
            {spec: {replicas: -1}}
               spec.replicas: Invalid value: -1: must be greater than or equal to 0
            {spec: {selector: null}}
               spec.selector: Required value
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            {spec: {selector: {matchLabels: null}}}
               spec.selector: Invalid value: {}: empty selector is invalid for deployment
            {spec: {selector: {matchLabels: {app: other}}}}
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            {spec: {selector: {matchExpressions: [{key: a, operator: Near}]}}}
               spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator
               spec.selector: Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[{"key":"a","operator":"Near"}]}: invalid label selector
            {spec: {template: {spec: {restartPolicy: Never}}}}
               spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            {spec: {template: {spec: {activeDeadlineSeconds: 3}}}}
               spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported
            {spec: {template: {spec: {containers: []}}}}
               spec.template.spec.containers: Required value
            {spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}}}
               spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
            {spec: {strategy: {type: Sometimes}}}
               spec.strategy: Unsupported value: {"Type":"Sometimes","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"
            {spec: {strategy: {type: Sometimes, rollingUpdate: {maxSurge: 1}}}}
               spec.strategy: Unsupported value: {"Type":"Sometimes","RollingUpdate":{"MaxUnavailable":0,"MaxSurge":1}}: supported values: "Recreate", "RollingUpdate"
            {spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}}}
               spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
            {spec: {strategy: {rollingUpdate: {maxSurge: -1}}}}
               spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0
            {spec: {strategy: {rollingUpdate: {maxSurge: much}}}}
               spec.strategy.rollingUpdate.maxSurge: Invalid value: "much": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            {spec: {strategy: {rollingUpdate: {maxUnavailable: 101%, maxSurge: 200%}}}}
               spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
            {spec: {minReadySeconds: -1, revisionHistoryLimit: -1, progressDeadlineSeconds: -1}}
               spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
               spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
               spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
               spec.progressDeadlineSeconds: Invalid value: -1: must be greater than minReadySeconds
            {spec: {minReadySeconds: 600}}
               spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds
            {spec: {paused: true, minReadySeconds: 599}}
               ok
            {metadata: {name: a.b}}
               ok, but metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]
            {metadata: {name: A}}
               metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
}

#[test]
fn replica_sets_that_make_no_sense_are_refused() {
    check(
        REPLICA_SET,
        &[
            "{spec: {replicas: -1, minReadySeconds: -1}}",
            "{spec: {selector: null}}",
            "{spec: {selector: {matchLabels: null}}}",
            "{spec: {template: {spec: {restartPolicy: OnFailure}}}}",
        ],
        expect![[r#"
            {spec: {replicas: -1, minReadySeconds: -1}}
               spec.replicas: Invalid value: -1: must be greater than or equal to 0
               spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            {spec: {selector: null}}
               spec.selector: Required value
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            {spec: {selector: {matchLabels: null}}}
               spec.selector: Invalid value: {}: empty selector is invalid for deployment
            {spec: {template: {spec: {restartPolicy: OnFailure}}}}
               spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"
        "#]],
    );
}

#[test]
fn daemon_sets_that_make_no_sense_are_refused() {
    check(
        DAEMON_SET,
        &[
            "{spec: {selector: null}}",
            "{spec: {selector: {matchLabels: null}}}",
            "{spec: {selector: {matchLabels: {app: other}}}}",
            "{spec: {template: {spec: {restartPolicy: Never, activeDeadlineSeconds: 1}}}}",
            "{spec: {minReadySeconds: -1, revisionHistoryLimit: -1}}",
            "{spec: {updateStrategy: {type: Later}}}",
            "{spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}}",
            "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 1}}}}",
            "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 101%, maxUnavailable: 0}}}}",
            "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}}",
        ],
        expect![[r#"
            {spec: {selector: null}}
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            {spec: {selector: {matchLabels: null}}}
               spec.selector: Invalid value: {}: empty selector is invalid for daemonset
            {spec: {selector: {matchLabels: {app: other}}}}
               spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
            {spec: {template: {spec: {restartPolicy: Never, activeDeadlineSeconds: 1}}}}
               spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
               spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported
            {spec: {minReadySeconds: -1, revisionHistoryLimit: -1}}
               spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
               spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            {spec: {updateStrategy: {type: Later}}}
               spec.updateStrategy: Unsupported value: {"Type":"Later","RollingUpdate":null}: supported values: "RollingUpdate", "OnDelete"
            {spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}}
               spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
            {spec: {updateStrategy: {rollingUpdate: {maxSurge: 1}}}}
               spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero
            {spec: {updateStrategy: {rollingUpdate: {maxSurge: 101%, maxUnavailable: 0}}}}
               spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "101%": must not be greater than 100%
            {spec: {updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}}
               ok
        "#]],
    );
}

#[test]
fn budgets_that_make_no_sense_are_refused() {
    // N-49.
    check(
        BUDGET,
        &[
            "{spec: {maxUnavailable: 1}}",
            "{spec: {minAvailable: -1}}",
            "{spec: {minAvailable: 101%}}",
            "{spec: {minAvailable: half}}",
            "{spec: {minAvailable: null, maxUnavailable: 30%}}",
            "{spec: {minAvailable: null}}",
            "{spec: {unhealthyPodEvictionPolicy: Perhaps}}",
            "{spec: {unhealthyPodEvictionPolicy: AlwaysAllow}}",
            "{spec: {selector: {matchExpressions: [{key: a, operator: In}]}}}",
        ],
        expect![[r#"
            {spec: {maxUnavailable: 1}}
               spec: Invalid value: {"MinAvailable":1,"Selector":{"matchLabels":{"app":"web"}},"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set
            {spec: {minAvailable: -1}}
               spec.minAvailable: Invalid value: -1: must be greater than or equal to 0
            {spec: {minAvailable: 101%}}
               spec.minAvailable: Invalid value: "101%": must not be greater than 100%
            {spec: {minAvailable: half}}
               spec.minAvailable: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            {spec: {minAvailable: null, maxUnavailable: 30%}}
               ok
            {spec: {minAvailable: null}}
               ok
            {spec: {unhealthyPodEvictionPolicy: Perhaps}}
               spec.unhealthyPodEvictionPolicy: Unsupported value: "Perhaps": supported values: "AlwaysAllow", "IfHealthyBudget"
            {spec: {unhealthyPodEvictionPolicy: AlwaysAllow}}
               ok
            {spec: {selector: {matchExpressions: [{key: a, operator: In}]}}}
               spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        "#]],
    );
}

#[test]
fn selectors_never_change_and_the_generation_counts_what_matters() {
    check_update(
        DEPLOYMENT,
        &[
            "{spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}",
            "{spec: {replicas: 3}}",
            "{metadata: {annotations: {a: b}}}",
            "{metadata: {labels: {a: b}}}",
            "{status: {replicas: 3}}",
        ],
        expect![[r#"
            {spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}
               spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable
            {spec: {replicas: 3}}
               written, generation 2
            {metadata: {annotations: {a: b}}}
               written, generation 2
            {metadata: {labels: {a: b}}}
               written, generation 1
            {status: {replicas: 3}}
               unchanged
        "#]],
    );
    check_update(
        REPLICA_SET,
        &[
            "{spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}",
            "{spec: {template: {spec: {terminationGracePeriodSeconds: 3}}}}",
            "{metadata: {annotations: {a: b}}}",
        ],
        expect![[r#"
            {spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}
               spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable
            {spec: {template: {spec: {terminationGracePeriodSeconds: 3}}}}
               written, generation 2
            {metadata: {annotations: {a: b}}}
               written, generation 1
        "#]],
    );
    check_update(
        DAEMON_SET,
        &[
            "{spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}",
            "{spec: {minReadySeconds: 3}}",
            "{metadata: {annotations: {a: b}}}",
            "{metadata: {annotations: {deprecated.daemonset.template.generation: '7'}}}",
        ],
        expect![[r#"
            {spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}}
               spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable
            {spec: {minReadySeconds: 3}}
               written, generation 2
            {metadata: {annotations: {a: b}}}
               written, generation 1
            {metadata: {annotations: {deprecated.daemonset.template.generation: '7'}}}
               unchanged
        "#]],
    );
    check_update(
        BUDGET,
        &["{spec: {minAvailable: 2}}", "{metadata: {resourceVersion: null}}", "{spec: {minAvailable: -2}}"],
        expect![[r#"
            {spec: {minAvailable: 2}}
               written, generation 2
            {metadata: {resourceVersion: null}}
               metadata.resourceVersion: Invalid value: 0: must be specified for an update
            {spec: {minAvailable: -2}}
               spec.minAvailable: Invalid value: -2: must be greater than or equal to 0
        "#]],
    );
}

#[test]
fn a_daemon_set_counts_the_changes_of_its_template() {
    let set = stored(yaml(DAEMON_SET));
    let changed = merged(&set, &yaml("{spec: {template: {spec: {terminationGracePeriodSeconds: 3}}}}"));
    let Outcome::Write(set) = update(&set, changed, "").expect("a good change").outcome else {
        panic!("a new template is a change");
    };
    assert_eq!(set["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "2");
    assert_eq!(set["metadata"]["generation"], 2);
}

#[test]
fn statuses_must_add_up() {
    let deployment = merged(&stored(yaml(DEPLOYMENT)), &yaml("{status: {collisionCount: 2}}"));
    check_update_of(
        &deployment,
        "status",
        &[
            "{status: {replicas: 3, readyReplicas: 2, availableReplicas: 1, updatedReplicas: 3}}",
            "{status: {replicas: 1, readyReplicas: 2, availableReplicas: 3, updatedReplicas: 4}}",
            "{status: {replicas: -1, unavailableReplicas: -1}}",
            "{status: {collisionCount: 1}}",
            "{spec: {replicas: 9}}",
            "{metadata: {annotations: {deployment.kubernetes.io/revision: '2'}}}",
            "{metadata: {labels: {a: b}}}",
        ],
        expect![[r#"
            {status: {replicas: 3, readyReplicas: 2, availableReplicas: 1, updatedReplicas: 3}}
               written, generation 1
            {status: {replicas: 1, readyReplicas: 2, availableReplicas: 3, updatedReplicas: 4}}
               status.updatedReplicas: Invalid value: 4: cannot be greater than status.replicas
               status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
               status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
               status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas
            {status: {replicas: -1, unavailableReplicas: -1}}
               status.replicas: Invalid value: -1: must be greater than or equal to 0
               status.unavailableReplicas: Invalid value: -1: must be greater than or equal to 0
               status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas
               status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas
               status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas
            {status: {collisionCount: 1}}
               status.collisionCount: Invalid value: 1: cannot be decremented
            {spec: {replicas: 9}}
               unchanged
            {metadata: {annotations: {deployment.kubernetes.io/revision: '2'}}}
               written, generation 1
            {metadata: {labels: {a: b}}}
               unchanged
        "#]],
    );
    check_update_of(
        &stored(yaml(REPLICA_SET)),
        "status",
        &["{status: {replicas: 1, fullyLabeledReplicas: 2, readyReplicas: 0, availableReplicas: 1}}"],
        expect![[r#"
            {status: {replicas: 1, fullyLabeledReplicas: 2, readyReplicas: 0, availableReplicas: 1}}
               status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas
               status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas
        "#]],
    );
    check_update_of(
        &stored(yaml(DAEMON_SET)),
        "status",
        &["{status: {numberReady: 3, desiredNumberScheduled: -1}}"],
        expect![[r#"
            {status: {numberReady: 3, desiredNumberScheduled: -1}}
               status.desiredNumberScheduled: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check_update_of(
        &stored(yaml(BUDGET)),
        "status",
        &[
            "{status: {disruptionsAllowed: -1}}",
            "{status: {conditions: [{type: DisruptionAllowed, status: Maybe, reason: 9}]}}",
            "{status: {disruptionsAllowed: 1, disruptedPods: {web-0: '2026-11-21T07:00:00Z'}}}",
        ],
        expect![[r#"
            {status: {disruptionsAllowed: -1}}
               status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0
            {status: {conditions: [{type: DisruptionAllowed, status: Maybe, reason: 9}]}}
               400 BadRequest: PodDisruptionBudget in version "v1" cannot be handled as a PodDisruptionBudget: json: cannot unmarshal number into Go struct field Condition.status.conditions.reason of type string
            {status: {disruptionsAllowed: 1, disruptedPods: {web-0: '2026-11-21T07:00:00Z'}}}
               written, generation 1
        "#]],
    );
}

/// The titles and the cells of an object.
fn line(object: &Value) -> String {
    let def = crate::bed::def_of(object);
    let row = (def.row)(object, crate::bed::now() + jiff::SignedDuration::from_secs(90));
    let cells = def.columns.iter().zip(&row.cells);
    let cells: Vec<String> = cells.map(|(column, cell)| format!("{}={cell}", column.name)).collect();
    format!("{}\n", cells.join(" | "))
}

#[test]
fn the_lines_of_kubectl_get_show_what_counts() {
    let rows = [
        (DEPLOYMENT, "{status: {readyReplicas: 1, updatedReplicas: 2, availableReplicas: 3}, spec: {replicas: 4}}"),
        (REPLICA_SET, "{status: {replicas: 1, readyReplicas: 2}, spec: {replicas: 4}}"),
        (DAEMON_SET, "{status: {desiredNumberScheduled: 1, currentNumberScheduled: 2, numberReady: 3}}"),
        (DAEMON_SET, "{spec: {template: {spec: {nodeSelector: {b: c, a: d}}}}}"),
        (BUDGET, "{status: {disruptionsAllowed: 2}}"),
        (BUDGET, "{spec: {minAvailable: null, maxUnavailable: 30%}}"),
    ];
    let lines: String = rows.iter().map(|(base, change)| line(&merged(&stored(yaml(base)), &yaml(change)))).collect();
    expect![[r#"
        Name="web" | Ready="1/4" | Up-to-date=2 | Available=3 | Age="90s" | Containers="web" | Images="nginx:1.27" | Selector="app=web"
        Name="web" | Desired=4 | Current=1 | Ready=2 | Age="90s" | Containers="web" | Images="nginx:1.27" | Selector="app=web"
        Name="web" | Desired=1 | Current=2 | Ready=3 | Up-to-date=0 | Available=0 | Node Selector="<none>" | Age="90s" | Containers="web" | Images="nginx:1.27" | Selector="app=web"
        Name="web" | Desired=0 | Current=0 | Ready=0 | Up-to-date=0 | Available=0 | Node Selector="a=d,b=c" | Age="90s" | Containers="web" | Images="nginx:1.27" | Selector="app=web"
        Name="web" | Min Available="1" | Max Unavailable="N/A" | Allowed Disruptions=2 | Age="90s"
        Name="web" | Min Available="N/A" | Max Unavailable="30%" | Allowed Disruptions=0 | Age="90s"
    "#]].assert_eq(&lines);
}
