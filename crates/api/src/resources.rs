//! Names of the resources that our own code speaks of.

use meta::ResourceId;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $group:literal / $version:literal / $resource:literal;)*) => {
        $($(#[$doc])* pub const $name: ResourceId = ResourceId::of($group, $version, $resource);)*
    };
}

resources! {
    /// Pods.
    PODS = "" / "v1" / "pods";
    /// Namespaces.
    NAMESPACES = "" / "v1" / "namespaces";
    /// Nodes.
    NODES = "" / "v1" / "nodes";
    /// Services.
    SERVICES = "" / "v1" / "services";
    /// Endpoints, the old form.
    ENDPOINTS = "" / "v1" / "endpoints";
    /// Config maps.
    CONFIG_MAPS = "" / "v1" / "configmaps";
    /// Secrets.
    SECRETS = "" / "v1" / "secrets";
    /// Service accounts.
    SERVICE_ACCOUNTS = "" / "v1" / "serviceaccounts";
    /// Claims.
    PERSISTENT_VOLUME_CLAIMS = "" / "v1" / "persistentvolumeclaims";
    /// Volumes.
    PERSISTENT_VOLUMES = "" / "v1" / "persistentvolumes";
    /// Limit ranges.
    LIMIT_RANGES = "" / "v1" / "limitranges";
    /// Quotas.
    RESOURCE_QUOTAS = "" / "v1" / "resourcequotas";
    /// Events of the core group.
    EVENTS = "" / "v1" / "events";
    /// Events of the newer group; the same storage as [`EVENTS`] (K-34).
    EVENTS_V1 = "events.k8s.io" / "v1" / "events";
    /// Stateful sets.
    STATEFUL_SETS = "apps" / "v1" / "statefulsets";
    /// Controller revisions.
    CONTROLLER_REVISIONS = "apps" / "v1" / "controllerrevisions";
    /// Deployments.
    DEPLOYMENTS = "apps" / "v1" / "deployments";
    /// Replica sets.
    REPLICA_SETS = "apps" / "v1" / "replicasets";
    /// Daemon sets.
    DAEMON_SETS = "apps" / "v1" / "daemonsets";
    /// Jobs.
    JOBS = "batch" / "v1" / "jobs";
    /// Cron jobs.
    CRON_JOBS = "batch" / "v1" / "cronjobs";
    /// Autoscalers of pods.
    HORIZONTAL_POD_AUTOSCALERS = "autoscaling" / "v2" / "horizontalpodautoscalers";
    /// Roles in a namespace.
    ROLES = "rbac.authorization.k8s.io" / "v1" / "roles";
    /// Bindings of roles in a namespace.
    ROLE_BINDINGS = "rbac.authorization.k8s.io" / "v1" / "rolebindings";
    /// Roles of the cluster.
    CLUSTER_ROLES = "rbac.authorization.k8s.io" / "v1" / "clusterroles";
    /// Bindings of roles of the cluster.
    CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io" / "v1" / "clusterrolebindings";
    /// Network policies.
    NETWORK_POLICIES = "networking.k8s.io" / "v1" / "networkpolicies";
    /// Ingresses.
    INGRESSES = "networking.k8s.io" / "v1" / "ingresses";
    /// Classes of ingresses.
    INGRESS_CLASSES = "networking.k8s.io" / "v1" / "ingressclasses";
    /// Endpoint slices.
    ENDPOINT_SLICES = "discovery.k8s.io" / "v1" / "endpointslices";
    /// Storage classes.
    STORAGE_CLASSES = "storage.k8s.io" / "v1" / "storageclasses";
    /// Leases.
    LEASES = "coordination.k8s.io" / "v1" / "leases";
    /// Access reviews of the caller itself.
    SELF_SUBJECT_ACCESS_REVIEWS = "authorization.k8s.io" / "v1" / "selfsubjectaccessreviews";
    /// Access reviews of anybody.
    SUBJECT_ACCESS_REVIEWS = "authorization.k8s.io" / "v1" / "subjectaccessreviews";
    /// Access reviews of anybody in a namespace.
    LOCAL_SUBJECT_ACCESS_REVIEWS = "authorization.k8s.io" / "v1" / "localsubjectaccessreviews";
    /// Rules reviews of the caller itself.
    SELF_SUBJECT_RULES_REVIEWS = "authorization.k8s.io" / "v1" / "selfsubjectrulesreviews";
    /// Who the caller is.
    SELF_SUBJECT_REVIEWS = "authentication.k8s.io" / "v1" / "selfsubjectreviews";
    /// Token reviews.
    TOKEN_REVIEWS = "authentication.k8s.io" / "v1" / "tokenreviews";
    /// Priority classes.
    PRIORITY_CLASSES = "scheduling.k8s.io" / "v1" / "priorityclasses";
    /// Disruption budgets.
    POD_DISRUPTION_BUDGETS = "policy" / "v1" / "poddisruptionbudgets";
}
