//! One stored object, shared by all who read it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use meta::{ResourceVersion, Uid};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One state of one object: the bytes that go over the wire, and their decoded tree once somebody asked for it.
///
/// The bytes hold `apiVersion`, `kind` and `metadata.resourceVersion`: get, list and every watcher are handed the same
/// ones.
#[derive(Debug)]
pub struct Object {
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// The JSON text.
    pub json: Bytes,
    tree: OnceLock<Arc<Value>>,
    encoded: OnceLock<Option<Bytes>>,
}

impl Object {
    /// An object from its stored bytes.
    pub fn new(resource_version: ResourceVersion, json: Bytes) -> Self {
        Self { resource_version, json, tree: OnceLock::new(), encoded: OnceLock::new() }
    }

    /// An object from its stored bytes, and the tree that they were made from, whatever revision that names.
    pub fn with_tree(resource_version: ResourceVersion, json: Bytes, mut tree: Value) -> Self {
        if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), resource_version.to_string().into());
        }
        Self { tree: OnceLock::from(Arc::new(tree)), ..Self::new(resource_version, json) }
    }

    /// The decoded tree; decoded at most once.
    ///
    /// # Panics
    /// If the bytes are not JSON: stored bytes are checked by the store and written by the API server only.
    pub fn tree(&self) -> &Arc<Value> {
        self.tree.get_or_init(|| {
            Arc::new(serde_json::from_slice(&self.json).expect("stored objects are JSON that we wrote"))
        })
    }

    /// The object in another encoding, made by `make` at most once: what a crowd of watchers is sent. All callers make
    /// the same one; `None` if the kind has none.
    pub fn encoded(&self, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        self.encoded.get_or_init(make).clone()
    }

    /// A typed view, for controllers.
    ///
    /// # Errors
    /// If the object does not have the type's shape.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.json)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata_text("name")
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.metadata_text("namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Uid {
        Uid(self.metadata_text("uid").to_owned())
    }

    fn metadata_text(&self, field: &str) -> &str {
        self.tree()["metadata"][field].as_str().unwrap_or_default()
    }
}
