//! What changed since the core was last told: a set of names, so that a burst of changes to one object is one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use informer::{Cacheable, Informer, Informers, Kinded};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use scheduler_core::{BudgetFacts, ClaimFacts, ClassFacts, Key, NodeFacts, PodFacts, Scheduler, VolumeFacts};
use tokio::sync::Notify;

/// One object whose state is to be read anew. In the order in which the core is told: what pods need comes before them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Name {
    Namespace(String),
    Budget(Key),
    Class(String),
    Node(String),
    Volume(String),
    Claim(Key),
    Pod(Key),
}

#[derive(Debug, Default)]
struct Names {
    names: Mutex<BTreeSet<Name>>,
    notify: Notify,
}

impl Names {
    fn add(&self, name: Name) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<Name> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The caches that the scheduler reads, and what in them the core has not been told yet.
pub(crate) struct Dirty {
    names: Arc<Names>,
    namespaces: Informer<Namespace>,
    budgets: Informer<PodDisruptionBudget>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
    volumes: Informer<PersistentVolume>,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

impl Dirty {
    /// Begins to follow all kinds that count.
    pub(crate) fn follow(informers: &Informers) -> Self {
        let names = Arc::new(Names::default());
        let key = |key: informer::Key| Key { namespace: key.namespace, name: key.name };
        Self {
            namespaces: followed(informers, &names, |key| Name::Namespace(key.name)),
            budgets: followed(informers, &names, move |changed| Name::Budget(key(changed))),
            classes: followed(informers, &names, |key| Name::Class(key.name)),
            nodes: followed(informers, &names, |key| Name::Node(key.name)),
            volumes: followed(informers, &names, |key| Name::Volume(key.name)),
            claims: followed(informers, &names, move |changed| Name::Claim(key(changed))),
            pods: followed(informers, &names, move |changed| Name::Pod(key(changed))),
            names,
        }
    }

    /// Waits until all caches hold their first list.
    pub(crate) async fn synced(&self) {
        self.namespaces.synced().await;
        self.budgets.synced().await;
        self.classes.synced().await;
        self.nodes.synced().await;
        self.volumes.synced().await;
        self.claims.synced().await;
        self.pods.synced().await;
    }

    /// Waits for something that the core has not been told. Nothing is lost if dropped.
    pub(crate) async fn changed(&self) {
        self.names.notify.notified().await;
    }

    /// Wakes who waits in [`Dirty::changed`].
    pub(crate) fn wake(&self) {
        self.names.notify.notify_one();
    }

    /// Tells the core all that changed.
    pub(crate) fn feed(&self, core: &mut Scheduler) {
        // Read first: what happens after it may be told as well, what happened before it must be.
        let upto = self.pods.seen();
        for name in self.names.take() {
            match name {
                Name::Namespace(name) => {
                    let labels =
                        self.namespaces.get("", &name).map(|found| found.metadata.labels.clone().unwrap_or_default());
                    core.namespace(&name, labels);
                }
                Name::Budget(key) => match self.budgets.get(&key.namespace, &key.name) {
                    Some(budget) => core.budget(BudgetFacts::of(&budget)),
                    None => core.budget_gone(&key),
                },
                Name::Class(name) => match self.classes.get("", &name) {
                    Some(class) => core.class(ClassFacts::of(&class)),
                    None => core.class_gone(&name),
                },
                Name::Node(name) => match self.nodes.get("", &name) {
                    Some(node) => core.node(NodeFacts::of(&node)),
                    None => core.node_gone(&name),
                },
                Name::Volume(name) => match self.volumes.get("", &name) {
                    Some(volume) => core.volume(VolumeFacts::of(&volume)),
                    None => core.volume_gone(&name),
                },
                Name::Claim(key) => match self.claims.get(&key.namespace, &key.name) {
                    Some(claim) => core.claim(ClaimFacts::of(&claim)),
                    None => core.claim_gone(&key),
                },
                Name::Pod(key) => match self.pods.get(&key.namespace, &key.name) {
                    Some(pod) => core.pod(PodFacts::of(&pod)),
                    None => core.pod_gone(&key),
                },
            }
        }
        if let Some(upto) = upto {
            core.pods_told(upto);
        }
    }
}

fn followed<T: Kinded + Cacheable>(
    informers: &Informers,
    names: &Arc<Names>,
    name: impl Fn(informer::Key) -> Name + Send + Sync + 'static,
) -> Informer<T> {
    let informer = informers.of::<T>();
    let names = Arc::clone(names);
    informer.on_change(move |change| names.add(name(change.key())));
    informer
}
