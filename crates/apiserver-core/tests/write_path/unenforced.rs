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
        expect![[r#"
            {}
               ok, but roles and bindings are stored but not enforced yet: whoever shows credentials, every service account too, may do everything
            {metadata: {name: 'a/b'}}
               metadata.name: Invalid value: "a/b": may not contain '/'
            {rules: [{}]}
               rules[0].verbs: Required value: verbs must contain at least one value
               rules[0].apiGroups: Required value: resource rules must supply at least one api group
               rules[0].resources: Required value: resource rules must supply at least one resource
            {rules: [{verbs: [get], nonResourceURLs: [/healthz]}]}
               rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs
            {rules: [{verbs: [get], nonResourceURLs: [/healthz], resources: [pods]}]}
               rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs
               rules[0].nonResourceURLs: Invalid value: ["/healthz"]: rules cannot apply to both regular resources and non-resource URLs
        "#]],
    );
    check(
        CLUSTER_ROLE,
        &[
            "{}",
            "{aggregationRule: {clusterRoleSelectors: []}}",
            "{aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}}",
        ],
        expect![[r#"
            {}
               ok, but roles and bindings are stored but not enforced yet: whoever shows credentials, every service account too, may do everything
            {aggregationRule: {clusterRoleSelectors: []}}
               aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
            {aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}}
               aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator
               aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.
        "#]],
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
        expect![[r#"
            {roleRef: {kind: Machine}}
               roleRef.kind: Unsupported value: "Machine": supported values: "Role", "ClusterRole"
            {roleRef: {name: null}}
               roleRef.name: Required value
            {roleRef: {apiGroup: example.com}}
               roleRef.apiGroup: Unsupported value: "example.com": supported values: "rbac.authorization.k8s.io"
            {subjects: [{kind: Robot, name: a}]}
               subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
            {subjects: [{kind: User, name: '', apiGroup: example.com}]}
               subjects[0].name: Required value
               subjects[0].apiGroup: Unsupported value: "example.com": supported values: "rbac.authorization.k8s.io"
            {subjects: [{kind: ServiceAccount, name: A, apiGroup: rbac.authorization.k8s.io}]}
               subjects[0].name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
               subjects[0].apiGroup: Unsupported value: "rbac.authorization.k8s.io": supported values: ""
        "#]],
    );
    check(
        CLUSTER_BINDING,
        &["{roleRef: {kind: Role}}", "{subjects: [{kind: ServiceAccount, name: robot}]}"],
        expect![[r#"
            {roleRef: {kind: Role}}
               roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
            {subjects: [{kind: ServiceAccount, name: robot}]}
               subjects[0].namespace: Required value
        "#]],
    );
    check_update(
        BINDING,
        &["{roleRef: {name: other}}", "{subjects: []}"],
        expect![[r#"
        {roleRef: {name: other}}
           roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"other"}: field is immutable
        {subjects: []}
           written
    "#]],
    );
    check_stored(
        BINDING,
        "{}",
        "/subjects",
        expect![[r#"
        [
          {
            "kind": "ServiceAccount",
            "name": "robot"
          },
          {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": "jane"
          }
        ]
    "#]],
    );
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
        expect![[r#"
            {}
               ok, but network policies are stored but not enforced yet: every pod may talk to every pod
            {spec: {policyTypes: [Sideways]}}
               spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Ingress", "Egress"
            {spec: {policyTypes: [Ingress, Egress, Ingress]}}
               spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes
            {spec: {ingress: [{ports: [{port: 0}, {port: 80, endPort: 79}, {endPort: 3}, {port: http, endPort: 3}, {port: A, protocol: ICMP}]}]}}
               spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
               spec.ingress[0].ports[1].endPort: Invalid value: 79: must be greater than or equal to `port`
               spec.ingress[0].ports[2].endPort: Invalid value: 3: may not be specified when `port` is not specified
               spec.ingress[0].ports[3].endPort: Invalid value: 3: may not be specified when `port` is non-numeric
               spec.ingress[0].ports[4].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
               spec.ingress[0].ports[4].port: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
               spec.ingress[0].ports[4].port: Invalid value: "A": must contain at least one letter (a-z)
            {spec: {ingress: [{from: [{}]}]}}
               spec.ingress[0].from[0]: Required value: must specify a peer
            {spec: {ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}}
               spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer
            {spec: {egress: [{to: [{ipBlock: {cidr: ''}}, {ipBlock: {cidr: 10.0.0.0}}]}]}}
               spec.egress[0].to[0].ipBlock.cidr: Required value
               spec.egress[0].to[1].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            {spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16, 10.0.0.0/8, x]}}]}]}}
               spec.egress[0].to[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
               spec.egress[0].to[0].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
               spec.egress[0].to[0].ipBlock.except[3]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        "#]],
    );
    check_stored(
        POLICY,
        "{spec: {egress: [{}]}}",
        "/spec/policyTypes",
        expect![[r#"
        [
          "Ingress",
          "Egress"
        ]
    "#]],
    );
    check_update(
        POLICY,
        &["{spec: {ingress: []}}", "{metadata: {labels: {a: b}}}"],
        expect![[r#"
        {spec: {ingress: []}}
           written, generation 2
        {metadata: {labels: {a: b}}}
           written, generation 1
    "#]],
    );
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
    check(
        INGRESS,
        &changes,
        expect![[r#"
        {}
           ok, but ingresses are stored but nothing serves them until an ingress controller is installed
        {spec: {rules: null}}
           spec: Invalid value: null: either `defaultBackend` or `rules` must be specified
        {spec: {rules: null, defaultBackend: {}}}
           spec.defaultBackend: Invalid value: "": resource or service backend is required
        {spec: {rules: [{host: 10.0.0.1}, {host: 'a.*.b'}, {host: '*.example.com'}, {host: A}]}}
           spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
           spec.rules[1].host: Invalid value: "a.*.b": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
           spec.rules[3].host: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        {spec: {rules: [{http: {paths: []}}]}}
           spec.rules[0].http.paths: Required value
        {spec: {rules: [{http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
           spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified
        {spec: {rules: [{http: {paths: [{path: x, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
           spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path
        {spec: {rules: [{http: {paths: [{path: /a//b/.., pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
           spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": must not contain '//'
           spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": cannot end with '/..'
        {spec: {rules: [{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
           ok, but ingresses are stored but nothing serves them until an ingress controller is installed
        {spec: {rules: [{http: {paths: [{path: /, pathType: Regex, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
           spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"
        {spec: {rules: [{http: {paths: [{path: /, pathType: Exact, backend: {service: {name: A, port: {}}}}]}}]}}
           spec.rules[0].http.paths[0].backend.service.name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
           spec.rules[0].http.paths[0].backend: Required value: port name or number is required
        {spec: {rules: [{http: {paths: [{path: /, pathType: Exact, backend: {service: {name: web, port: {name: http, number: 80}}}}]}}]}}
           spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number
        {spec: {rules: [{http: {paths: [{path: /, pathType: Exact, backend: {service: {name: web, port: {number: 80}}, resource: {kind: A, name: b}}}]}}]}}
           spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both resource and service backends
        {spec: {rules: [{http: {paths: [{path: /, pathType: Exact, backend: {resource: {kind: '', name: 'a/b'}}}]}}]}}
           spec.rules[0].http.paths[0].backend.resource.kind: Required value
           spec.rules[0].http.paths[0].backend.resource.name: Invalid value: "a/b": may not contain '/'
        {spec: {tls: [{hosts: [A], secretName: A}]}}
           spec.tls[0].hosts[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
           spec.tls[0].secretName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        {spec: {ingressClassName: A}}
           spec.ingressClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        {metadata: {annotations: {kubernetes.io/ingress.class: a}}, spec: {ingressClassName: b}}
           annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` when both are specified
        {metadata: {annotations: {kubernetes.io/ingress.class: a}}}
           ok, but annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead; ingresses are stored but nothing serves them until an ingress controller is installed
    "#]],
    );
    check_update_of(
        &stored(yaml(INGRESS)),
        "status",
        &[
            "{status: {loadBalancer: {ingress: [{ip: x}, {hostname: 10.0.0.1}]}}}",
            "{status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}",
        ],
        expect![[r#"
            {status: {loadBalancer: {ingress: [{ip: x}, {hostname: 10.0.0.1}]}}}
               status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
               status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            {status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}
               written, generation 1
        "#]],
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
        expect![[r#"
            {}
               ok, but ingresses are stored but nothing serves them until an ingress controller is installed
            {spec: {controller: nginx}}
               spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")
            {spec: {controller: ''}}
               spec.controller: Required value
            {spec: {parameters: {kind: A, name: b}}}
               ok, but ingresses are stored but nothing serves them until an ingress controller is installed
            {spec: {parameters: {kind: A, name: b, scope: Namespace}}}
               spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
            {spec: {parameters: {kind: A, name: b, namespace: c}}}
               spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
        "#]],
    );
    check_update(
        CLASS,
        &["{spec: {controller: example.com/other}}"],
        expect![[r#"
        {spec: {controller: example.com/other}}
           spec.controller: Invalid value: "example.com/other": field is immutable
    "#]],
    );
}

#[test]
fn autoscalers_are_checked_and_completed() {
    check_stored(
        SCALER,
        "{spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}}",
        "/spec",
        expect![[r#"
        {
          "behavior": {
            "scaleDown": {
              "policies": [
                {
                  "periodSeconds": 15,
                  "type": "Percent",
                  "value": 100
                }
              ],
              "selectPolicy": "Max",
              "stabilizationWindowSeconds": 60
            },
            "scaleUp": {
              "policies": [
                {
                  "periodSeconds": 15,
                  "type": "Pods",
                  "value": 4
                },
                {
                  "periodSeconds": 15,
                  "type": "Percent",
                  "value": 100
                }
              ],
              "selectPolicy": "Max",
              "stabilizationWindowSeconds": 0
            }
          },
          "maxReplicas": 5,
          "metrics": [
            {
              "resource": {
                "name": "cpu",
                "target": {
                  "averageUtilization": 80,
                  "type": "Utilization"
                }
              },
              "type": "Resource"
            }
          ],
          "minReplicas": 1,
          "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": "web"
          }
        }
    "#]],
    );
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
        expect![[r#"
            {}
               ok, but autoscalers are stored but nothing scales yet: there are no metrics and no autoscaler
            {spec: {minReplicas: 0}}
               spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            {spec: {maxReplicas: 0}}
               spec.maxReplicas: Required value: must be set and greater than 0
               spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`
            {spec: {maxReplicas: -1}}
               spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1
               spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`
            {spec: {minReplicas: 6}}
               spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`
            {spec: {scaleTargetRef: {kind: '', name: a/b, apiVersion: a/b/c}}}
               spec.scaleTargetRef.kind: Required value
               spec.scaleTargetRef.name: Invalid value: "a/b": may not contain '/'
               spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
            {spec: {metrics: [{type: Guess}]}}
               spec.metrics[0].type: Unsupported value: "Guess": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            {spec: {metrics: [{type: Resource}]}}
               spec.metrics[0].resource: Required value: must populate information for the given metric source
            {spec: {metrics: [{type: Resource, resource: {name: '', target: {type: ''}}}]}}
               spec.metrics[0].resource.name: Required value: must specify a resource name
               spec.metrics[0].resource.target.type: Required value: must specify a metric target type
               spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
            {spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0, averageValue: '0'}}}]}}
               spec.metrics[0].resource.target.averageValue: Invalid value: "0": must be positive
               spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
               spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization
            {spec: {metrics: [{type: Pods, pods: {metric: {name: a}, target: {type: Value, value: '1'}}}]}}
               spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue
            {spec: {metrics: [{type: Pods, resource: {name: cpu, target: {type: Guess}}}]}}
               spec.metrics[0].resource.target.type: Invalid value: "Guess": must be either Utilization, Value, or AverageValue
               spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
               spec.metrics[0].pods: Required value: must populate information for the given metric source
            {spec: {behavior: {scaleUp: {stabilizationWindowSeconds: 3601, selectPolicy: Any, policies: [{type: Some, value: 0, periodSeconds: 1801}]}}}}
               spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600
               spec.behavior.scaleUp.selectPolicy: Unsupported value: "Any": supported values: "Disabled", "Max", "Min"
               spec.behavior.scaleUp.policies[0].type: Unsupported value: "Some": supported values: "Percent", "Pods"
               spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
               spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800
            {spec: {behavior: {scaleUp: {policies: []}}}}
               ok, but autoscalers are stored but nothing scales yet: there are no metrics and no autoscaler
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
    expect![[r#"
        Name="reader" | Created At="2026-11-21T07:00:00Z"
        Name="system:reader" | Created At="2026-11-21T07:00:00Z"
        Name="readers" | Role="Role/reader" | Age="90s" | Users="jane" | Groups="" | ServiceAccounts="robot"
        Name="readers" | Role="ClusterRole/reader" | Age="90s" | Users="" | Groups="" | ServiceAccounts="shop/robot"
        Name="web" | Pod-Selector="app=web" | Age="90s"
        Name="web" | Pod-Selector="<none>" | Age="90s"
        Name="web" | Class="<none>" | Hosts="example.com" | Address="" | Ports="80" | Age="90s"
        Name="web" | Class="nginx" | Hosts="a,b,c + 1 more..." | Address="10.0.0.1,exam..." | Ports="80, 443" | Age="90s"
        Name="nginx (default)" | Controller="example.com/nginx" | Parameters="A.example.com/b" | Age="90s"
        Name="web" | Reference="StatefulSet/web" | Targets="cpu: <unknown>/80%" | MinPods="1" | MaxPods=5 | Replicas=0 | Age="90s"
        Name="web" | Reference="StatefulSet/web" | Targets="cpu: 20%/80%" | MinPods="1" | MaxPods=5 | Replicas=2 | Age="90s"
        Name="range" | Created At="2026-11-21T07:00:00Z"
        Name="quota" | Request="pods: 1/2" | Limit="limits.cpu: 500m/4" | Age="90s"
        Name="high" | Value=1000 | Global-Default=false | Age="90s" | PreemptionPolicy="PreemptLowerPriority"
    "#]].assert_eq(&lines);
}
