//! Which other objects a pod is made of, and what was found of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};

/// The objects that a pod's environment and volumes name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Needs {
    /// Config maps in the pod's namespace.
    pub config_maps: BTreeSet<String>,
    /// Secrets in the pod's namespace.
    pub secrets: BTreeSet<String>,
    /// Claims in the pod's namespace.
    pub claims: BTreeSet<String>,
    /// Service-account tokens.
    pub tokens: BTreeSet<TokenNeed>,
}

/// One token that a projected volume asks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TokenNeed {
    /// Audience; empty for the API server's own.
    pub audience: String,
    /// Lifetime asked for, in seconds.
    pub expiration_secs: i64,
}

/// What was found: `None` under a name means that it was looked up and is not there.
#[derive(Clone, Default)]
pub struct Sources {
    /// Config maps by name.
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
    /// Services of the pod's namespace, and `default/kubernetes`.
    pub services: Vec<Arc<Service>>,
    /// Tokens that were issued.
    pub tokens: BTreeMap<TokenNeed, String>,
    /// Addresses of the pod; empty before it has a sandbox.
    pub pod_ips: Vec<IpAddr>,
    /// Addresses of the node.
    pub host_ips: Vec<IpAddr>,
    /// CPU of the node for pods, in millicores: what a container without a limit may use.
    pub node_cpu_millis: i64,
    /// Memory of the node for pods, in bytes.
    pub node_memory_bytes: i64,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = (self.config_maps.keys(), self.secrets.keys());
        write!(f, "Sources({names:?}, {} services, {} tokens ***)", self.services.len(), self.tokens.len())
    }
}

/// Everything the pod names.
pub fn needs(pod: &Pod) -> Needs {
    let mut needs = Needs::default();
    let Some(spec) = &pod.spec else { return needs };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for from in container.env_from.iter().flatten() {
            needs.config_maps.extend(from.config_map_ref.as_ref().map(|one| one.name.clone()));
            needs.secrets.extend(from.secret_ref.as_ref().map(|one| one.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            needs.config_maps.extend(source.config_map_key_ref.as_ref().map(|one| one.name.clone()));
            needs.secrets.extend(source.secret_key_ref.as_ref().map(|one| one.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        needs.config_maps.extend(volume.config_map.as_ref().map(|one| one.name.clone()));
        needs.secrets.extend(volume.secret.as_ref().and_then(|one| one.secret_name.clone()));
        needs.claims.extend(volume.persistent_volume_claim.as_ref().map(|one| one.claim_name.clone()));
        let projected = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
        for source in projected.into_iter().flatten() {
            needs.config_maps.extend(source.config_map.as_ref().map(|one| one.name.clone()));
            needs.secrets.extend(source.secret.as_ref().map(|one| one.name.clone()));
            needs.tokens.extend(source.service_account_token.as_ref().map(token_need));
        }
    }
    needs
}

pub(crate) fn token_need(projection: &k8s_openapi::api::core::v1::ServiceAccountTokenProjection) -> TokenNeed {
    TokenNeed {
        audience: projection.audience.clone().unwrap_or_default(),
        expiration_secs: projection.expiration_seconds.unwrap_or(3600),
    }
}
