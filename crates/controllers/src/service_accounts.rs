//! What every namespace has: the service account `default` and the config map `kube-root-ca.crt`.

use std::sync::Arc;

use api::resources::{CONFIG_MAPS, SERVICE_ACCOUNTS};
use client::{Client, Collection, Selection};
use informer::{Cacheable, Informer, Outcome, Scope, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use meta::{ResourceId, Status};
use serde_json::json;

use crate::Parts;
use crate::act::Api;
use crate::run::Controller;
use crate::seen::{Unwritten, Written};

/// Name of the account that pods use unless they name another.
const DEFAULT_ACCOUNT: &str = "default";
/// Name of the config map that holds the cluster's CA.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Gives each namespace its account and its CA.
struct Furnisher {
    accounts_client: Arc<dyn Client>,
    root_ca_client: Arc<dyn Client>,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
    root_cas: Informer<ConfigMap>,
    queue: Arc<WorkQueue<String>>,
    root_ca_pem: String,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    let named = |resource: ResourceId, name: &str| Scope {
        target: Collection::all(resource),
        selection: Selection { fields: format!("metadata.name={name}"), ..Selection::default() },
    };
    parts.run(Furnisher {
        accounts_client: parts.client("service-account-controller"),
        root_ca_client: parts.client("root-ca-cert-publisher"),
        namespaces: parts.informers.of(),
        accounts: parts.informers.scoped(named(SERVICE_ACCOUNTS, DEFAULT_ACCOUNT)),
        root_cas: parts.informers.scoped(named(CONFIG_MAPS, ROOT_CA)),
        queue: parts.queue(),
        root_ca_pem: parts.config.root_ca_pem.clone(),
    });
}

impl Controller for Furnisher {
    type Key = String;
    type Memory = ();

    fn queue(&self) -> &Arc<WorkQueue<String>> {
        &self.queue
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
        self.accounts.synced().await;
        self.root_cas.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        let queue = Arc::clone(&self.queue);
        self.namespaces.on_change(move |change| queue.add(change.key().name));
        let queue = Arc::clone(&self.queue);
        self.accounts.on_change(move |change| queue.add(change.newest().namespace().to_owned()));
        let queue = Arc::clone(&self.queue);
        self.root_cas.on_change(move |change| queue.add(change.newest().namespace().to_owned()));
    }

    fn wake_all(&self) {
        for namespace in self.namespaces.list() {
            self.queue.add(namespace.name().to_owned());
        }
    }

    async fn look(&self, namespace: &String, _memory: &mut ()) -> Option<Outcome> {
        if self.namespaces.get("", namespace)?.is_terminating() {
            return None;
        }
        match tokio::try_join!(self.account(namespace), self.root_ca(namespace)) {
            Ok(_) => Some(Outcome::Done),
            Err(error) => {
                tracing::debug!(namespace, %error, "a namespace could not be furnished");
                Some(Outcome::Failed)
            }
        }
    }
}

impl Furnisher {
    async fn account(&self, namespace: &str) -> Result<(), Status> {
        if self.accounts.get(namespace, DEFAULT_ACCOUNT).is_some() {
            return Ok(());
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace},
        });
        created(Api::new(&self.accounts_client, namespace).create(SERVICE_ACCOUNTS, body).await)
    }

    async fn root_ca(&self, namespace: &str) -> Result<(), Status> {
        let api = Api::new(&self.root_ca_client, namespace);
        let data = json!({"ca.crt": self.root_ca_pem});
        let Some(found) = self.root_cas.get(namespace, ROOT_CA) else {
            let text = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
                        such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                        distributions of Kubernetes clusters.";
            let body = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CA,
                    "namespace": namespace,
                    "annotations": {"kubernetes.io/description": text},
                },
                "data": data,
            });
            return created(api.create(CONFIG_MAPS, body).await);
        };
        let is_right =
            found.data.as_ref().is_some_and(|data| data.len() == 1 && data.get("ca.crt") == Some(&self.root_ca_pem));
        if is_right {
            return Ok(());
        }
        let mut wanted = data;
        for key in found.data.iter().flatten().map(|(key, _)| key).filter(|key| *key != "ca.crt") {
            wanted[key.as_str()] = serde_json::Value::Null;
        }
        api.merge(CONFIG_MAPS, ROOT_CA, json!({"data": wanted})).await?;
        Ok(())
    }
}

/// That it is there already is success: names are deterministic.
fn created(outcome: Written) -> Result<(), Status> {
    match outcome {
        Err(Unwritten { status, .. }) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}
