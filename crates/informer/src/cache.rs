//! What an informer holds: typed values by namespace and name, with an index by owner.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use client::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use meta::{ResourceId, ResourceVersion};
use serde::de::DeserializeOwned;

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A value that an informer can hold: decoded once from each state of an object.
pub trait Cacheable: Sized + Send + Sync + 'static {
    /// Reads what is kept of an object.
    ///
    /// # Errors
    /// If the object does not have the type's shape.
    fn decode(object: &Object) -> Result<Self, serde_json::Error>;

    /// `metadata.namespace`; empty for cluster-scoped objects.
    fn namespace(&self) -> &str;

    /// `metadata.name`.
    fn name(&self) -> &str;

    /// `metadata.uid`.
    fn uid(&self) -> &str;

    /// UIDs of all owner references.
    fn owner_uids(&self) -> Vec<&str>;

    /// Whether its deletion has begun (`metadata.deletionTimestamp`).
    fn is_terminating(&self) -> bool;
}

/// A cacheable value of one resource.
pub trait Kinded: Cacheable {
    /// The resource it is listed from.
    fn resource() -> ResourceId;
}

impl<T> Cacheable for T
where
    T: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    /// Everything but `metadata.managedFields`, which no part of ours reads.
    fn decode(object: &Object) -> Result<Self, serde_json::Error> {
        let mut value: T = object.view()?;
        value.metadata_mut().managed_fields = None;
        Ok(value)
    }

    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn owner_uids(&self) -> Vec<&str> {
        self.metadata().owner_references.iter().flatten().map(|owner| owner.uid.as_str()).collect()
    }

    fn is_terminating(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }
}

impl<T> Kinded for T
where
    T: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    fn resource() -> ResourceId {
        ResourceId::of(T::GROUP, T::VERSION, T::URL_PATH_SEGMENT)
    }
}

/// One state of one object in a cache.
#[derive(Clone, PartialEq, Debug)]
pub struct Cached<T> {
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// The typed value; read it directly, `Cached` dereferences to it. Whoever keeps it keeps no copy.
    pub value: Arc<T>,
}

impl<T> Deref for Cached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One step of one object in a cache: appeared (`before` is `None`), changed, or gone (`after` is `None`).
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// The state before.
    pub before: Option<Arc<Cached<T>>>,
    /// The state after.
    pub after: Option<Arc<Cached<T>>>,
}

impl<T: Cacheable> Change<T> {
    /// The newest state known: after the change, or the last one of an object that is gone.
    ///
    /// # Panics
    /// Never: a change has at least one side.
    pub fn newest(&self) -> &Arc<Cached<T>> {
        self.after.as_ref().or(self.before.as_ref()).expect("a change has at least one side")
    }

    /// Namespace and name.
    pub fn key(&self) -> Key {
        Key::new(self.newest().namespace(), self.newest().name())
    }
}

/// The objects, by namespace and name.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    by_namespace: BTreeMap<String, BTreeMap<String, Arc<Cached<T>>>>,
    by_owner: BTreeMap<String, BTreeSet<Key>>,
    len: usize,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { by_namespace: BTreeMap::new(), by_owner: BTreeMap::new(), len: 0 }
    }
}

impl<T: Cacheable> Cache<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Cached<T>>> {
        self.by_namespace.get(namespace)?.get(name).cloned()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Cached<T>>> {
        self.by_namespace.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Cached<T>>> {
        self.by_namespace.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Cached<T>>> {
        self.by_owner.get(uid).into_iter().flatten().map(|key| {
            self.by_namespace
                .get(&key.namespace)
                .and_then(|names| names.get(&key.name))
                .expect("the owner index names only objects that are here")
        })
    }

    /// Puts a state in; the state it replaces comes out.
    pub(crate) fn put(&mut self, cached: Arc<Cached<T>>) -> Option<Arc<Cached<T>>> {
        let key = Key::new(cached.namespace(), cached.name());
        let before = self.take(&key.namespace, &key.name);
        for uid in cached.owner_uids() {
            self.by_owner.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        self.by_namespace.entry(key.namespace).or_default().insert(key.name, cached);
        self.len += 1;
        before
    }

    /// Takes an object out.
    pub(crate) fn take(&mut self, namespace: &str, name: &str) -> Option<Arc<Cached<T>>> {
        let names = self.by_namespace.get_mut(namespace)?;
        let before = names.remove(name)?;
        if names.is_empty() {
            self.by_namespace.remove(namespace);
        }
        let key = Key::new(namespace, name);
        for uid in before.owner_uids() {
            if let Some(keys) = self.by_owner.get_mut(uid) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_owner.remove(uid);
                }
            }
        }
        self.len -= 1;
        Some(before)
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.all().map(|cached| Key::new(cached.namespace(), cached.name())).collect()
    }
}
