//! Kinds that are stored and served, and that nothing acts on yet: roles, network policies, ingresses, autoscalers.

use crate::bed::{check, check_stored, check_update, check_update_of, merged, stored, yaml};
use expect_test::expect;
use serde_json::Value;

pub(crate) const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get]}
";

pub(crate) const CLUSTER_ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: 'system:reader'}
rules:
- {nonResourceURLs: [/healthz], verbs: [get]}
";

pub(crate) const BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: default}
roleRef: {kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: robot}
- {kind: User, name: jane}
";

pub(crate) const CLUSTER_BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {kind: ClusterRole, name: reader}
subjects:
- {kind: ServiceAccount, name: robot, namespace: shop}
";

pub(crate) const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 80}]
    from: [{podSelector: {}}]
";

pub(crate) const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default}
spec:
  rules:
  - host: example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

pub(crate) const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: example.com/nginx}
";

pub(crate) const SCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  maxReplicas: 5
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: web}
";

#[test]
fn roles_and_bindings_are_checked_and_say_that_they_mean_nothing_yet() {
    check(
        ROLE,
        &[
            "{}",
            "{metadata: {name: 'a/b'}}",
            "{rules: [{}]}",
            "{rules: [{verbs: [get], nonResourceURLs: [/healthz]}]}",
            "{rules: [{verbs: [get], nonResourceURLs: [/healthz], resources: [pods]}]}",
        ],
        expect![[""]],
    );
    check(
        CLUSTER_ROLE,
        &[
            "{}",
            "{aggregationRule: {clusterRoleSelectors: []}}",
            "{aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}}",
        ],
        expect![[""]],
    );
    check(
        BINDING,
        &[
            "{roleRef: {kind: Machine}}",
            "{roleRef: {name: null}}",
            "{roleRef: {apiGroup: example.com}}",
            "{subjects: [{kind: Robot, name: a}]}",
            "{subjects: [{kind: User, name: '', apiGroup: example.com}]}",
            "{subjects: [{kind: ServiceAccount, name: A, apiGroup: rbac.authorization.k8s.io}]}",
        ],
        expect![[""]],
    );
    check(
        CLUSTER_BINDING,
        &["{roleRef: {kind: Role}}", "{subjects: [{kind: ServiceAccount, name: robot}]}"],
        expect![[""]],
    );
    check_update(BINDING, &["{roleRef: {name: other}}", "{subjects: []}"], expect![[""]]);
    check_stored(BINDING, "{}", "/subjects", expect![[""]]);
}

#[test]
fn network_policies_are_checked() {
    check(
        POLICY,
        &[
            "{}",
            "{spec: {policyTypes: [Sideways]}}",
            "{spec: {policyTypes: [Ingress, Egress, Ingress]}}",
            "{spec: {ingress: [{ports: [{port: 0}, {port: 80, endPort: 79}, {endPort: 3}, {port: http, endPort: 3}, {port: A, protocol: ICMP}]}]}}",
            "{spec: {ingress: [{from: [{}]}]}}",
            "{spec: {ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}}",
            "{spec: {egress: [{to: [{ipBlock: {cidr: ''}}, {ipBlock: {cidr: 10.0.0.0}}]}]}}",
            "{spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16, 10.0.0.0/8, x]}}]}]}}",
        ],
        expect![[""]],
    );
    check_stored(POLICY, "{spec: {egress: [{}]}}", "/spec/policyTypes", expect![[""]]);
    check_update(POLICY, &["{spec: {ingress: []}}", "{metadata: {labels: {a: b}}}"], expect![[""]]);
}

#[test]
fn ingresses_and_their_classes_are_checked() {
    let path = |path: &str| format!("{{spec: {{rules: [{{http: {{paths: [{path}]}}}}]}}}}");
    let backend = "backend: {service: {name: web, port: {number: 80}}}";
    let changes = [
        "{}".to_owned(),
        "{spec: {rules: null}}".to_owned(),
        "{spec: {rules: null, defaultBackend: {}}}".to_owned(),
        "{spec: {rules: [{host: 10.0.0.1}, {host: 'a.*.b'}, {host: '*.example.com'}, {host: A}]}}".to_owned(),
        "{spec: {rules: [{http: {paths: []}}]}}".to_owned(),
        path(&format!("{{path: /, {backend}}}")),
        path(&format!("{{path: x, pathType: Exact, {backend}}}")),
        path(&format!("{{path: /a//b/.., pathType: Prefix, {backend}}}")),
        path(&format!("{{pathType: ImplementationSpecific, {backend}}}")),
        path(&format!("{{path: /, pathType: Regex, {backend}}}")),
        path("{path: /, pathType: Exact, backend: {service: {name: A, port: {}}}}"),
        path("{path: /, pathType: Exact, backend: {service: {name: web, port: {name: http, number: 80}}}}"),
        path(
            "{path: /, pathType: Exact, backend: {service: {name: web, port: {number: 80}}, resource: {kind: A, name: b}}}",
        ),
        path("{path: /, pathType: Exact, backend: {resource: {kind: '', name: 'a/b'}}}"),
        "{spec: {tls: [{hosts: [A], secretName: A}]}}".to_owned(),
        "{spec: {ingressClassName: A}}".to_owned(),
        "{metadata: {annotations: {kubernetes.io/ingress.class: a}}, spec: {ingressClassName: b}}".to_owned(),
        "{metadata: {annotations: {kubernetes.io/ingress.class: a}}}".to_owned(),
    ];
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    check(INGRESS, &changes, expect![[""]]);
    check_update_of(
        &stored(yaml(INGRESS)),
        "status",
        &[
            "{status: {loadBalancer: {ingress: [{ip: x}, {hostname: 10.0.0.1}]}}}",
            "{status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}",
        ],
        expect![[""]],
    );
    check(
        CLASS,
        &[
            "{}",
            "{spec: {controller: nginx}}",
            "{spec: {controller: ''}}",
            "{spec: {parameters: {kind: A, name: b}}}",
            "{spec: {parameters: {kind: A, name: b, scope: Namespace}}}",
            "{spec: {parameters: {kind: A, name: b, namespace: c}}}",
        ],
        expect![[""]],
    );
    check_update(CLASS, &["{spec: {controller: example.com/other}}"], expect![[""]]);
}

#[test]
fn autoscalers_are_checked_and_completed() {
    check_stored(SCALER, "{spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}}", "/spec", expect![[""]]);
    check(
        SCALER,
        &[
            "{}",
            "{spec: {minReplicas: 0}}",
            "{spec: {maxReplicas: 0}}",
            "{spec: {maxReplicas: -1}}",
            "{spec: {minReplicas: 6}}",
            "{spec: {scaleTargetRef: {kind: '', name: a/b, apiVersion: a/b/c}}}",
            "{spec: {metrics: [{type: Guess}]}}",
            "{spec: {metrics: [{type: Resource}]}}",
            "{spec: {metrics: [{type: Resource, resource: {name: '', target: {type: ''}}}]}}",
            "{spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0, averageValue: '0'}}}]}}",
            "{spec: {metrics: [{type: Pods, pods: {metric: {name: a}, target: {type: Value, value: '1'}}}]}}",
            "{spec: {metrics: [{type: Pods, resource: {name: cpu, target: {type: Guess}}}]}}",
            "{spec: {behavior: {scaleUp: {stabilizationWindowSeconds: 3601, selectPolicy: Any, policies: [{type: Some, value: 0, periodSeconds: 1801}]}}}}",
            "{spec: {behavior: {scaleUp: {policies: []}}}}",
        ],
        expect![[""]],
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
        (ROLE, "{}"),
        (CLUSTER_ROLE, "{}"),
        (BINDING, "{}"),
        (CLUSTER_BINDING, "{}"),
        (POLICY, "{}"),
        (POLICY, "{spec: {podSelector: {matchLabels: null}}}"),
        (INGRESS, "{}"),
        (
            INGRESS,
            "{spec: {ingressClassName: nginx, tls: [{}], rules: [{host: a}, {host: b}, {host: c}, {host: d}]}, status: {loadBalancer: {ingress: [{ip: 10.0.0.1}, {hostname: example.com}]}}}",
        ),
        (
            CLASS,
            "{metadata: {annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: {parameters: {apiGroup: example.com, kind: A, name: b}}}",
        ),
        (SCALER, "{}"),
        (
            SCALER,
            "{status: {currentReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 20}}}]}}",
        ),
        (crate::policies::RANGE, "{}"),
        (crate::policies::QUOTA, "{status: {hard: {pods: '2', limits.cpu: '4'}, used: {pods: '1', limits.cpu: 500m}}}"),
        (crate::policies::PRIORITY, "{}"),
    ];
    let lines: String = rows.iter().map(|(base, change)| line(&merged(&stored(yaml(base)), &yaml(change)))).collect();
    expect![[""]].assert_eq(&lines);
}
