//! The pods that run here, and the nodes they are on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use meta::Uid;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::pod::{Message, PodView};
use crate::shared::Shared;

/// A node whose pods this agent runs.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) shared: Arc<Shared>,
    /// Ends the tasks of the node's pods; the pods stay as they are.
    pub(crate) cancel: CancellationToken,
}

/// All of them, by name: one for a machine, any number for virtual nodes.
#[derive(Clone, Default, Debug)]
pub(crate) struct Homes(Arc<Mutex<BTreeMap<String, Home>>>);

impl Homes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Home>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, home: Home) {
        self.all().insert(home.shared.config.node_name.clone(), home);
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Home> {
        self.all().remove(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Home> {
        self.all().get(name).cloned()
    }

    /// The home of a pod; `None` if it is bound to no node of ours.
    pub(crate) fn of(&self, pod: &Pod) -> Option<Home> {
        self.get(node_of(pod)?)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all().contains_key(name)
    }

    pub(crate) fn list(&self) -> Vec<Home> {
        self.all().values().cloned().collect()
    }
}

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The way to a pod's task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) view: watch::Receiver<PodView>,
}

/// Namespace and name of a pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn of(pod: &Pod) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name) }
    }
}

/// All pods by UID, by name and by node.
#[derive(Clone, Default, Debug)]
pub(crate) struct Handles(Arc<Mutex<Tables>>);

#[derive(Default, Debug)]
struct Tables {
    by_uid: BTreeMap<Uid, Handle>,
    by_name: BTreeMap<Name, BTreeSet<Uid>>,
    by_node: BTreeMap<String, BTreeSet<Uid>>,
}

impl Tables {
    fn some(&self, uids: Option<&BTreeSet<Uid>>) -> Vec<(Uid, Handle)> {
        let uids = uids.into_iter().flatten();
        uids.filter_map(|uid| Some((uid.clone(), self.by_uid.get(uid)?.clone()))).collect()
    }
}

impl Handles {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, uid: &Uid) -> Option<Handle> {
        self.tables().by_uid.get(uid).cloned()
    }

    pub(crate) fn put(&self, uid: Uid, handle: Handle) {
        let mut tables = self.tables();
        tables.by_name.entry(Name::of(&handle.pod)).or_default().insert(uid.clone());
        tables.by_node.entry(handle.shared.config.node_name.clone()).or_default().insert(uid.clone());
        tables.by_uid.insert(uid, handle);
    }

    pub(crate) fn remove(&self, uid: &Uid) {
        let mut tables = self.tables();
        let Some(handle) = tables.by_uid.remove(uid) else { return };
        take(&mut tables.by_name, &Name::of(&handle.pod), uid);
        take(&mut tables.by_node, &handle.shared.config.node_name, uid);
    }

    pub(crate) fn all(&self) -> Vec<(Uid, Handle)> {
        self.tables().by_uid.iter().map(|(uid, handle)| (uid.clone(), handle.clone())).collect()
    }

    pub(crate) fn of_name(&self, name: &Name) -> Vec<(Uid, Handle)> {
        let tables = self.tables();
        tables.some(tables.by_name.get(name))
    }

    pub(crate) fn of_node(&self, node: &str) -> Vec<(Uid, Handle)> {
        let tables = self.tables();
        tables.some(tables.by_node.get(node))
    }
}

fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Uid>>, key: &K, uid: &Uid) {
    if let Some(uids) = index.get_mut(key) {
        uids.remove(uid);
        if uids.is_empty() {
            index.remove(key);
        }
    }
}
