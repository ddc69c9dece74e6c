//! Amounts of resources by name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use meta::Quantity;

/// The resource that counts pods.
pub(crate) const PODS: &str = "pods";

/// Amounts by resource name; what is absent is zero.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Resources(BTreeMap<String, Quantity>);

impl Resources {
    /// Reads a resource list; amounts that are none count as zero, as they cannot have passed validation.
    pub fn of(list: Option<&BTreeMap<String, resource::Quantity>>) -> Self {
        let amount = |text: &resource::Quantity| Quantity::parse(&text.0).unwrap_or_default();
        Self(list.into_iter().flatten().map(|(name, text)| (name.clone(), amount(text))).collect())
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> Quantity {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Adds other amounts.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += *amount;
        }
    }

    /// Takes other amounts away.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= *amount;
        }
    }

    /// Raises every amount to at least that of `other`.
    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            if *amount > *mine {
                *mine = *amount;
            }
        }
    }

    /// Sets one amount.
    pub(crate) fn set(&mut self, name: &str, amount: Quantity) {
        self.0.insert(name.to_owned(), amount);
    }
}

fn requests(resources: Option<&ResourceRequirements>) -> Resources {
    Resources::of(resources.and_then(|r| r.requests.as_ref()))
}

/// What a pod asks of a node: the larger of what its containers need together and what any init container needs while it
/// runs, sidecars running beside both, plus the overhead. Requests of the pod itself win.
pub(crate) fn of_pod(spec: &PodSpec) -> Resources {
    let mut together = Resources::default();
    for container in &spec.containers {
        together.add(&requests(container.resources.as_ref()));
    }
    let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let own = requests(container.resources.as_ref());
        if is_sidecar(container) {
            sidecars.add(&own);
            peak.raise_to(&sidecars);
        } else {
            let mut now = own;
            now.add(&sidecars);
            peak.raise_to(&now);
        }
    }
    together.add(&sidecars);
    together.raise_to(&peak);
    for (name, amount) in requests(spec.resources.as_ref()).0 {
        together.0.insert(name, amount);
    }
    together.add(&Resources::of(spec.overhead.as_ref()));
    together.0.retain(|_, amount| !amount.is_zero());
    together
}
