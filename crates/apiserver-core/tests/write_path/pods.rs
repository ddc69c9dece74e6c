//! Pod: defaults, admission and rules (K-1 to K-3, K-31, M-6 to M-8).

use crate::bed::{POD, World, check, check_stored, create_in, refusal, shown, variant, yaml};
use expect_test::expect;
use serde_json::json;

/// Changes to the only container of the pod.
fn container(members: &str) -> String {
    format!("spec: {{containers: [{{name: web, image: 'nginx:1.27', {members}}}]}}")
}

fn check_container(members: &[&str], expected: expect_test::Expect) {
    let changes: Vec<String> = members.iter().map(|members| container(members)).collect();
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    check(POD, &changes, expected);
}

#[test]
fn a_small_pod_is_stored_with_every_default() {
    // N-44.
    // C-38.
    check_stored(
        POD,
        "",
        "/spec",
        expect![[r#"
        {
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
          "enableServiceLinks": true,
          "preemptionPolicy": "PreemptLowerPriority",
          "priority": 0,
          "restartPolicy": "Always",
          "schedulerName": "default-scheduler",
          "securityContext": {},
          "serviceAccount": "default",
          "serviceAccountName": "default",
          "terminationGracePeriodSeconds": 30,
          "tolerations": [
            {
              "effect": "NoExecute",
              "key": "node.kubernetes.io/not-ready",
              "operator": "Exists",
              "tolerationSeconds": 300
            },
            {
              "effect": "NoExecute",
              "key": "node.kubernetes.io/unreachable",
              "operator": "Exists",
              "tolerationSeconds": 300
            }
          ]
        }
    "#]],
    );
    check_stored(
        POD,
        "status: {phase: Running}",
        "/status",
        expect![[r#"
        {
          "phase": "Pending",
          "qosClass": "BestEffort"
        }
    "#]],
    );
}

#[test]
fn limits_become_requests_and_amounts_are_rounded_up() {
    check_stored(
        POD,
        &container("resources: {limits: {cpu: 0.5, memory: 1024Mi}, requests: {cpu: 100u}}"),
        "/spec/containers/0/resources",
        expect![[r#"
            {
              "limits": {
                "cpu": "500m",
                "memory": "1Gi"
              },
              "requests": {
                "cpu": "1m",
                "memory": "1Gi"
              }
            }
        "#]],
    );
}

#[test]
fn a_pod_gets_the_token_of_its_account_where_nothing_else_is_mounted() {
    // M-6.
    let world = World { account: Some(json!({"metadata": {"name": "default"}})), ..World::default() };
    let tree = variant(
        POD,
        "spec: {containers: [{name: a, image: x}, {name: b, image: x, volumeMounts: [{name: t, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}], volumes: [{name: t, emptyDir: {}}]}",
    );
    let pod = create_in(&world, tree).expect("a good pod").object;
    let part = json!({"volumes": pod["spec"]["volumes"], "mounts": [
        pod["spec"]["containers"][0]["volumeMounts"], pod["spec"]["containers"][1]["volumeMounts"],
    ], "account": pod["spec"]["serviceAccountName"], "old": pod["spec"]["serviceAccount"]});
    expect![[r#"
        {
          "account": "default",
          "mounts": [
            [
              {
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "name": "kube-api-access-qjd9z",
                "readOnly": true
              }
            ],
            [
              {
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "name": "t"
              }
            ]
          ],
          "old": "default",
          "volumes": [
            {
              "emptyDir": {},
              "name": "t"
            },
            {
              "name": "kube-api-access-qjd9z",
              "projected": {
                "defaultMode": 420,
                "sources": [
                  {
                    "serviceAccountToken": {
                      "expirationSeconds": 3607,
                      "path": "token"
                    }
                  },
                  {
                    "configMap": {
                      "items": [
                        {
                          "key": "ca.crt",
                          "path": "ca.crt"
                        }
                      ],
                      "name": "kube-root-ca.crt"
                    }
                  },
                  {
                    "downwardAPI": {
                      "items": [
                        {
                          "fieldRef": {
                            "apiVersion": "v1",
                            "fieldPath": "metadata.namespace"
                          },
                          "path": "namespace"
                        }
                      ]
                    }
                  }
                ]
              }
            }
          ]
        }
    "#]]
    .assert_eq(&shown(&part));
}

#[test]
fn a_pod_without_its_account_is_refused() {
    let world = World { account: None, ..World::default() };
    let status = create_in(&world, yaml(POD)).expect_err("no account");
    expect![[r#"403 Forbidden: pods "web-0" is forbidden: error looking up service account default/default: serviceaccount "default" not found"#]].assert_eq(&refusal(&status));
}

#[test]
fn pull_secrets_of_the_account_are_taken_over() {
    let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "r"}]});
    let world = World { account: Some(account), ..World::default() };
    let pod = create_in(&world, yaml(POD)).expect("a good pod").object;
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "r"}]));
}

#[test]
fn names_images_and_policies_of_containers() {
    check(
        POD,
        &[
            "spec: {containers: null}",
            "spec: {containers: [{image: nginx}]}",
            "spec: {containers: [{name: web}]}",
            "spec: {containers: [{name: Web, image: nginx}]}",
            "spec: {containers: [{name: web, image: ' nginx'}]}",
            "spec: {containers: [{name: web, image: nginx}, {name: web, image: nginx}]}",
            "spec: {initContainers: [{name: web, image: nginx}]}",
            "spec: {initContainers: [{name: init, image: nginx, restartPolicy: Never}]}",
            "spec: {initContainers: [{name: init, image: nginx, livenessProbe: {exec: {command: [a]}}}]}",
            "spec: {initContainers: [{name: init, image: nginx, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}}]}",
            "spec: {restartPolicy: Sometimes}",
            "spec: {dnsPolicy: Sometimes}",
            "spec: {dnsPolicy: None}",
            "spec: {hostname: A_B}",
            "spec: {subdomain: A.B}",
            "spec: {nodeSelector: {'a b': c}}",
            "spec: {nodeName: A_B}",
            "spec: {activeDeadlineSeconds: 0}",
            "spec: {activeDeadlineSeconds: 1}",
            "spec: {activeDeadlineSeconds: 2147483648}",
            "spec: {priorityClassName: no-such-class}",
            "spec: {priorityClassName: system-node-critical}",
            "spec: {terminationGracePeriodSeconds: -1}",
            "spec: {ephemeralContainers: [{name: e, image: x}]}",
            "spec: {imagePullSecrets: [{}]}",
            "spec: {hostAliases: [{ip: 1.2.3, hostnames: [a_b]}]}",
            "spec: {readinessGates: [{conditionType: a/b/c}]}",
            "spec: {preemptionPolicy: Maybe}",
        ],
        expect![[r#"
            spec: {containers: null}
               spec.containers: Required value
            spec: {containers: [{image: nginx}]}
               spec.containers[0].name: Required value
            spec: {containers: [{name: web}]}
               spec.containers[0].image: Required value
            spec: {containers: [{name: Web, image: nginx}]}
               spec.containers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec: {containers: [{name: web, image: ' nginx'}]}
               spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace
            spec: {containers: [{name: web, image: nginx}, {name: web, image: nginx}]}
               spec.containers[1].name: Duplicate value: "web"
            spec: {initContainers: [{name: web, image: nginx}]}
               spec.initContainers[0].name: Duplicate value: "web"
            spec: {initContainers: [{name: init, image: nginx, restartPolicy: Never}]}
               spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec: {initContainers: [{name: init, image: nginx, livenessProbe: {exec: {command: [a]}}}]}
               spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec: {initContainers: [{name: init, image: nginx, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}}]}
               ok
            spec: {restartPolicy: Sometimes}
               spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
            spec: {dnsPolicy: Sometimes}
               spec.dnsPolicy: Unsupported value: "Sometimes": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
            spec: {dnsPolicy: None}
               spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None
            spec: {hostname: A_B}
               spec.hostname: Invalid value: "A_B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec: {subdomain: A.B}
               spec.subdomain: Invalid value: "A.B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec: {nodeSelector: {'a b': c}}
               spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec: {nodeName: A_B}
               spec.nodeName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec: {activeDeadlineSeconds: 0}
               spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            spec: {activeDeadlineSeconds: 1}
               ok
            spec: {activeDeadlineSeconds: 2147483648}
               spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive
            spec: {priorityClassName: no-such-class}
               403 Forbidden: pods "web-0" is forbidden: no PriorityClass with name no-such-class was found
            spec: {priorityClassName: system-node-critical}
               ok
            spec: {terminationGracePeriodSeconds: -1}
               ok, but spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1
            spec: {ephemeralContainers: [{name: e, image: x}]}
               spec.ephemeralContainers: Forbidden: cannot be set on create
            spec: {imagePullSecrets: [{}]}
               ok, but spec.imagePullSecrets[0].name: invalid empty name ""
            spec: {hostAliases: [{ip: 1.2.3, hostnames: [a_b]}]}
               spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
               spec.hostAliases[0].hostnames: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec: {readinessGates: [{conditionType: a/b/c}]}
               spec.readinessGates[0].conditionType: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            spec: {preemptionPolicy: Maybe}
               403 Forbidden: pods "web-0" is forbidden: the string value of PreemptionPolicy (Maybe) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name
        "#]],
    );
    check_container(
        &["imagePullPolicy: Sometimes", "terminationMessagePolicy: Nowhere", "restartPolicy: Always"],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', imagePullPolicy: Sometimes}]}
               spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
            spec: {containers: [{name: web, image: 'nginx:1.27', terminationMessagePolicy: Nowhere}]}
               spec.containers[0].terminationMessagePolicy: Unsupported value: "Nowhere": supported values: "FallbackToLogsOnError", "File"
            spec: {containers: [{name: web, image: 'nginx:1.27', restartPolicy: Always}]}
               spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers
        "#]],
    );
}

#[test]
fn environment_variables() {
    check_container(
        &[
            "env: [{name: '', value: x}]",
            "env: [{name: A=B, value: x}]",
            "env: [{name: MYSQL ROOT PASSWORD, value: x}]",
            "env: [{name: ä, value: x}]",
            "env: [{name: A, value: x}, {name: A, value: z}]",
            "env: [{name: A, valueFrom: {}}]",
            "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: s, key: k}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''a'']'}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''-'']'}}}]",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.containers}}}]",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2}}}]",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 3Mi}}}]",
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: c}}}]",
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: a b}}}]",
            "envFrom: [{}]",
            "envFrom: [{configMapRef: {name: c}, secretRef: {name: s}}]",
            "envFrom: [{configMapRef: {}}]",
            "envFrom: [{prefix: a=, secretRef: {name: s}}]",
        ],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: '', value: x}]}]}
               spec.containers[0].env[0].name: Required value
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A=B, value: x}]}]}
               spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: MYSQL ROOT PASSWORD, value: x}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: ä, value: x}]}]}
               spec.containers[0].env[0].name: Invalid value: "ä": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, value: x}, {name: A, value: z}]}]}
               ok, but spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {}}]}]}
               spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}
               spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: s, key: k}}}]}]}
               spec.containers[0].env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]}]}
               spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''a'']'}}}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''-'']'}}}]}]}
               spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.containers}}}]}]}
               spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.containers": error converting fieldPath: field label not supported: spec.containers
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]}]}
               spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2}}}]}]}
               spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 3Mi}}}]}]}
               spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.memory": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {configMapKeyRef: {name: c}}}]}]}
               spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Required value
            spec: {containers: [{name: web, image: 'nginx:1.27', env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: a b}}}]}]}
               spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            spec: {containers: [{name: web, image: 'nginx:1.27', envFrom: [{}]}]}
               spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec: {containers: [{name: web, image: 'nginx:1.27', envFrom: [{configMapRef: {name: c}, secretRef: {name: s}}]}]}
               spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time
            spec: {containers: [{name: web, image: 'nginx:1.27', envFrom: [{configMapRef: {}}]}]}
               spec.containers[0].envFrom[0].configMapRef.name: Required value
            spec: {containers: [{name: web, image: 'nginx:1.27', envFrom: [{prefix: a=, secretRef: {name: s}}]}]}
               spec.containers[0].envFrom[0].prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='
        "#]],
    );
}

#[test]
fn ports_at_their_limits() {
    check_container(
        &[
            "ports: [{containerPort: 0}]",
            "ports: [{containerPort: 1}]",
            "ports: [{containerPort: 65535}]",
            "ports: [{containerPort: 65536}]",
            "ports: [{containerPort: 80, hostPort: 65536}]",
            "ports: [{containerPort: 80, name: a-very-long-name}]",
            "ports: [{containerPort: 80, name: '80'}]",
            "ports: [{containerPort: 80, name: a--b}]",
            "ports: [{containerPort: 80, name: http}, {containerPort: 81, name: http}]",
            "ports: [{containerPort: 80, protocol: ICMP}]",
            "ports: [{containerPort: 80}, {containerPort: 80}]",
            "ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]",
        ],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 0}]}]}
               spec.containers[0].ports[0].containerPort: Required value
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 1}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 65535}]}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 65536}]}]}
               spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, hostPort: 65536}]}]}
               spec.containers[0].ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, name: a-very-long-name}]}]}
               spec.containers[0].ports[0].name: Invalid value: "a-very-long-name": must be no more than 15 bytes
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, name: '80'}]}]}
               spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, name: a--b}]}]}
               spec.containers[0].ports[0].name: Invalid value: "a--b": must not contain consecutive hyphens
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, name: http}, {containerPort: 81, name: http}]}]}
               spec.containers[0].ports[1].name: Duplicate value: "http"
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, protocol: ICMP}]}]}
               spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80}, {containerPort: 80}]}]}
               ok, but spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]
            spec: {containers: [{name: web, image: 'nginx:1.27', ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]}]}
               spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"
        "#]],
    );
}

#[test]
fn probes_and_hooks() {
    check_container(
        &[
            "livenessProbe: {}",
            "livenessProbe: {exec: {}}",
            "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 80}}",
            "livenessProbe: {httpGet: {port: 80}}",
            "livenessProbe: {httpGet: {port: 0}}",
            "livenessProbe: {httpGet: {port: web}}",
            "livenessProbe: {httpGet: {port: WEB}}",
            "livenessProbe: {httpGet: {port: 80, scheme: FTP}}",
            "livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: a b, value: c}]}}",
            "livenessProbe: {grpc: {port: 70000}}",
            "livenessProbe: {exec: {command: [a]}, successThreshold: 2}",
            "readinessProbe: {exec: {command: [a]}, successThreshold: 2}",
            "startupProbe: {exec: {command: [a]}, successThreshold: 2}",
            "livenessProbe: {exec: {command: [a]}, periodSeconds: -1, initialDelaySeconds: -1, timeoutSeconds: -1, failureThreshold: -1}",
            "livenessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 0}",
            "readinessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 5}",
            "lifecycle: {preStop: {}}",
            "lifecycle: {preStop: {sleep: {seconds: 30}}}",
            "lifecycle: {preStop: {sleep: {seconds: 31}}}",
            "lifecycle: {postStart: {httpGet: {port: 80}}}",
        ],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {}}]}
               spec.containers[0].livenessProbe: Required value: must specify a handler type
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {exec: {}}}]}
               spec.containers[0].livenessProbe.exec.command: Required value
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 80}}}]}
               spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: 80}}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: 0}}}]}
               spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: web}}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: WEB}}}]}
               spec.containers[0].livenessProbe.httpGet.port: Invalid value: "WEB": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
               spec.containers[0].livenessProbe.httpGet.port: Invalid value: "WEB": must contain at least one letter (a-z)
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: 80, scheme: FTP}}}]}
               spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: a b, value: c}]}}}]}
               spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {grpc: {port: 70000}}}]}
               spec.containers[0].livenessProbe.grpc.port: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {exec: {command: [a]}, successThreshold: 2}}]}
               spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec: {containers: [{name: web, image: 'nginx:1.27', readinessProbe: {exec: {command: [a]}, successThreshold: 2}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', startupProbe: {exec: {command: [a]}, successThreshold: 2}}]}
               spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {exec: {command: [a]}, periodSeconds: -1, initialDelaySeconds: -1, timeoutSeconds: -1, failureThreshold: -1}}]}
               spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0
               spec.containers[0].livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0
               spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
               spec.containers[0].livenessProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0
            spec: {containers: [{name: web, image: 'nginx:1.27', livenessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 0}}]}
               spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0
            spec: {containers: [{name: web, image: 'nginx:1.27', readinessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 5}}]}
               spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes
            spec: {containers: [{name: web, image: 'nginx:1.27', lifecycle: {preStop: {}}}]}
               spec.containers[0].lifecycle.preStop: Required value: must specify a handler type
            spec: {containers: [{name: web, image: 'nginx:1.27', lifecycle: {preStop: {sleep: {seconds: 30}}}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', lifecycle: {preStop: {sleep: {seconds: 31}}}}]}
               spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)
            spec: {containers: [{name: web, image: 'nginx:1.27', lifecycle: {postStart: {httpGet: {port: 80}}}}]}
               ok
        "#]],
    );
}

#[test]
fn resources() {
    check_container(
        &[
            "resources: {limits: {cpu: 1}, requests: {cpu: 1}}",
            "resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}",
            "resources: {limits: {memory: -1}}",
            "resources: {limits: {memory: 1.5}}",
            "resources: {requests: {gpu: 1}}",
            "resources: {requests: {storage: 1}}",
            "resources: {requests: {example.com/gpu: 1}}",
            "resources: {limits: {example.com/gpu: 1}}",
            "resources: {limits: {example.com/gpu: 1.5}}",
            "resources: {limits: {example.com/gpu: 2}, requests: {example.com/gpu: 1}}",
            "resources: {limits: {a/b/c: 1}}",
        ],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {cpu: 1}, requests: {cpu: 1}}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}}]}
               spec.containers[0].resources.requests: Invalid value: "1001m": must be less than or equal to cpu limit of 1
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {memory: -1}}}]}
               spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0
               spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {memory: 1.5}}}]}
               ok, but spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer; spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, must be an integer
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {requests: {gpu: 1}}}]}
               spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
               spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {requests: {storage: 1}}}]}
               spec.containers[0].resources.requests[storage]: Invalid value: "storage": must be a standard resource for containers
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {requests: {example.com/gpu: 1}}}]}
               spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {example.com/gpu: 1}}}]}
               ok
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {example.com/gpu: 1.5}}}]}
               spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer
               spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {example.com/gpu: 2}, requests: {example.com/gpu: 1}}}]}
               spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2
            spec: {containers: [{name: web, image: 'nginx:1.27', resources: {limits: {a/b/c: 1}}}]}
               spec.containers[0].resources.limits[a/b/c]: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
               spec.containers[0].resources.requests[a/b/c]: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
        "#]],
    );
}

#[test]
fn volumes_and_mounts() {
    let with = |volume: &str, mount: &str| {
        format!("spec: {{volumes: [{volume}], containers: [{{name: web, image: nginx, volumeMounts: [{mount}]}}]}}")
    };
    let rows = [
        with("{name: v}", "{name: v, mountPath: /v}"),
        with("{name: v}", "{name: w, mountPath: /v}"),
        with("{name: v}", "{name: v}"),
        with("{name: v}", "{name: v, mountPath: /v}, {name: v, mountPath: /v}"),
        with("{name: v}", "{name: v, mountPath: /v, subPath: ../x}"),
        with("{name: v}", "{name: v, mountPath: /v, subPath: /x}"),
        with("{name: v}", "{name: v, mountPath: /v, subPath: a, subPathExpr: b}"),
        with("{name: v}", "{name: v, mountPath: /v, mountPropagation: Bidirectional}"),
        with("{name: v}", "{name: v, mountPath: /v, mountPropagation: Sideways}"),
        with("{name: V}", "{name: V, mountPath: /v}"),
        with("{emptyDir: {}}", ""),
        with("{name: v}, {name: v}", ""),
        with("{name: v, emptyDir: {}, hostPath: {path: /x}}", ""),
        with("{name: v, emptyDir: {sizeLimit: -1}}", ""),
        with("{name: v, hostPath: {}}", ""),
        with("{name: v, hostPath: {path: /a/../b}}", ""),
        with("{name: v, hostPath: {path: /a, type: Pipe}}", ""),
        with("{name: v, secret: {}}", ""),
        with("{name: v, secret: {secretName: s, defaultMode: 511}}", ""),
        with("{name: v, secret: {secretName: s, defaultMode: 512}}", ""),
        with("{name: v, secret: {secretName: s, items: [{}]}}", ""),
        with("{name: v, configMap: {name: c, items: [{key: k, path: ../p}]}}", ""),
        with("{name: v, configMap: {name: c, items: [{key: k, path: /p, mode: -1}]}}", ""),
        with("{name: v, persistentVolumeClaim: {}}", ""),
        with("{name: v, downwardAPI: {items: [{path: p}]}}", ""),
        with("{name: v, downwardAPI: {items: [{path: p, fieldRef: {fieldPath: status.podIP}}]}}", ""),
        with("{name: v, downwardAPI: {items: [{path: p, resourceFieldRef: {resource: limits.cpu}}]}}", ""),
        with("{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 599}}]}}", ""),
        with("{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}", ""),
        with("{name: v, projected: {sources: [{serviceAccountToken: {}}]}}", ""),
        with("{name: v, projected: {sources: [{secret: {}}]}}", ""),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    check(
        POD,
        &rows,
        expect![[r#"
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v}]}]}
           ok
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: w, mountPath: /v}]}]}
           spec.containers[0].volumeMounts[0].name: Not found: "w"
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v}]}]}
           spec.containers[0].volumeMounts[0].mountPath: Required value
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /v}]}]}
           spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]}]}
           spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v, subPath: /x}]}]}
           spec.containers[0].volumeMounts.subPath: Invalid value: "/x": must be a relative path
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v, subPath: a, subPathExpr: b}]}]}
           spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]}]}
           spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
        spec: {volumes: [{name: v}], containers: [{name: web, image: nginx, volumeMounts: [{name: v, mountPath: /v, mountPropagation: Sideways}]}]}
           spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "Sideways": supported values: "Bidirectional", "HostToContainer", "None"
        spec: {volumes: [{name: V}], containers: [{name: web, image: nginx, volumeMounts: [{name: V, mountPath: /v}]}]}
           spec.volumes[0].name: Invalid value: "V": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
           spec.containers[0].volumeMounts[0].name: Not found: "V"
        spec: {volumes: [{emptyDir: {}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].name: Required value
        spec: {volumes: [{name: v}, {name: v}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[1].name: Duplicate value: "v"
        spec: {volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
        spec: {volumes: [{name: v, emptyDir: {sizeLimit: -1}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity
        spec: {volumes: [{name: v, hostPath: {}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].hostPath.path: Required value
        spec: {volumes: [{name: v, hostPath: {path: /a/../b}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec: {volumes: [{name: v, hostPath: {path: /a, type: Pipe}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
        spec: {volumes: [{name: v, secret: {}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].secret.secretName: Required value
        spec: {volumes: [{name: v, secret: {secretName: s, defaultMode: 511}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           ok
        spec: {volumes: [{name: v, secret: {secretName: s, defaultMode: 512}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
        spec: {volumes: [{name: v, secret: {secretName: s, items: [{}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].secret.items[0].key: Required value
           spec.volumes[0].secret.items[0].path: Required value
        spec: {volumes: [{name: v, configMap: {name: c, items: [{key: k, path: ../p}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].configMap.items[0].path: Invalid value: "../p": must not contain '..'
        spec: {volumes: [{name: v, configMap: {name: c, items: [{key: k, path: /p, mode: -1}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].configMap.items[0].path: Invalid value: "/p": must be a relative path
           spec.volumes[0].configMap.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive
        spec: {volumes: [{name: v, persistentVolumeClaim: {}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].persistentVolumeClaim.claimName: Required value
        spec: {volumes: [{name: v, downwardAPI: {items: [{path: p}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].downwardAPI.items[0].fieldRef: Required value: one of fieldRef and resourceFieldRef is required
        spec: {volumes: [{name: v, downwardAPI: {items: [{path: p, fieldRef: {fieldPath: status.podIP}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"
        spec: {volumes: [{name: v, downwardAPI: {items: [{path: p, resourceFieldRef: {resource: limits.cpu}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value
        spec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 599}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes
        spec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           ok
        spec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].projected.sources[0].serviceAccountToken.path: Required value
        spec: {volumes: [{name: v, projected: {sources: [{secret: {}}]}}], containers: [{name: web, image: nginx, volumeMounts: []}]}
           spec.volumes[0].projected.sources[0].secret.name: Required value
    "#]],
    );
}

#[test]
fn security_contexts() {
    check(
        POD,
        &[
            "spec: {securityContext: {runAsUser: -1}}",
            "spec: {securityContext: {runAsUser: 0, runAsGroup: 2147483647, fsGroup: 2147483648}}",
            "spec: {securityContext: {supplementalGroups: [1, -2]}}",
            "spec: {securityContext: {fsGroupChangePolicy: Never}}",
            "spec: {securityContext: {seccompProfile: {type: Custom}}}",
            "spec: {securityContext: {seccompProfile: {type: Localhost}}}",
            "spec: {securityContext: {seccompProfile: {type: RuntimeDefault, localhostProfile: x}}}",
            "spec: {securityContext: {sysctls: [{name: a, value: b}, {name: a, value: c}]}}",
            "spec: {shareProcessNamespace: true, hostPID: true}",
        ],
        expect![[r#"
            spec: {securityContext: {runAsUser: -1}}
               spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec: {securityContext: {runAsUser: 0, runAsGroup: 2147483647, fsGroup: 2147483648}}
               spec.securityContext.fsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive
            spec: {securityContext: {supplementalGroups: [1, -2]}}
               spec.securityContext.supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, inclusive
            spec: {securityContext: {fsGroupChangePolicy: Never}}
               spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"
            spec: {securityContext: {seccompProfile: {type: Custom}}}
               spec.securityContext.seccompProfile.type: Unsupported value: "Custom": supported values: "Localhost", "RuntimeDefault", "Unconfined"
            spec: {securityContext: {seccompProfile: {type: Localhost}}}
               spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
            spec: {securityContext: {seccompProfile: {type: RuntimeDefault, localhostProfile: x}}}
               spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"localhostProfile":"x","type":"RuntimeDefault"}: can only be set when seccomp type is Localhost
            spec: {securityContext: {sysctls: [{name: a, value: b}, {name: a, value: c}]}}
               spec.securityContext.sysctls[1].name: Duplicate value: "a"
            spec: {shareProcessNamespace: true, hostPID: true}
               spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled
        "#]],
    );
    check_container(
        &[
            "securityContext: {runAsUser: -1}",
            "securityContext: {allowPrivilegeEscalation: false, privileged: true}",
            "securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}",
            "securityContext: {procMount: Half}",
            "securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}",
        ],
        expect![[r#"
            spec: {containers: [{name: web, image: 'nginx:1.27', securityContext: {runAsUser: -1}}]}
               spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec: {containers: [{name: web, image: 'nginx:1.27', securityContext: {allowPrivilegeEscalation: false, privileged: true}}]}
               spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec: {containers: [{name: web, image: 'nginx:1.27', securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}}]}
               spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"capabilities":{"add":["SYS_ADMIN"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN
            spec: {containers: [{name: web, image: 'nginx:1.27', securityContext: {procMount: Half}}]}
               spec.containers[0].securityContext.procMount: Unsupported value: "Half": supported values: "Default", "Unmasked"
            spec: {containers: [{name: web, image: 'nginx:1.27', securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}}]}
               ok
        "#]],
    );
}

#[test]
fn placement() {
    check(
        POD,
        &[
            "spec: {tolerations: [{key: a, operator: Exists}]}",
            "spec: {tolerations: [{operator: Equal}]}",
            "spec: {tolerations: [{key: a, operator: Near}]}",
            "spec: {tolerations: [{key: a, operator: Exists, value: b}]}",
            "spec: {tolerations: [{key: a, effect: Never}]}",
            "spec: {tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]}",
            "spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}",
            "spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: ['1', '2']}]}]}}}}",
            "spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {matchExpressions: [{key: a, operator: In}]}}]}}}",
            "spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {a: b}}}]}}}",
            "spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}}}",
            "spec: {topologySpreadConstraints: [{maxSkew: 0, whenUnsatisfiable: Maybe}]}",
            "spec: {schedulingGates: [{name: a}, {name: a}]}",
        ],
        expect![[r#"
            spec: {tolerations: [{key: a, operator: Exists}]}
               ok
            spec: {tolerations: [{operator: Equal}]}
               spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec: {tolerations: [{key: a, operator: Near}]}
               spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"
            spec: {tolerations: [{key: a, operator: Exists, value: b}]}
               spec.tolerations[0].operator: Invalid value: {"Key":"a","Operator":"Exists","Value":"b","Effect":"","TolerationSeconds":null}: value must be empty when `operator` is 'Exists'
            spec: {tolerations: [{key: a, effect: Never}]}
               spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec: {tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]}
               spec.tolerations[0].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}
               spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
            spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: ['1', '2']}]}]}}}}
               spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
            spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {matchExpressions: [{key: a, operator: In}]}}]}}}
               spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100
               spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {a: b}}}]}}}
               spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
            spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}}}
               ok
            spec: {topologySpreadConstraints: [{maxSkew: 0, whenUnsatisfiable: Maybe}]}
               spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
               spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
               spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": supported values: "DoNotSchedule", "ScheduleAnyway"
            spec: {schedulingGates: [{name: a}, {name: a}]}
               spec.schedulingGates[1]: Duplicate value: "a"
        "#]],
    );
}
