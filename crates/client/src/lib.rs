//! The Kubernetes client that every part of Roadstead uses.
//!
//! Here live the [`Client`] trait and the values it trades in. In process the API server implements it: a call hands
//! over shared bytes and decoded values, no socket and no second encoding (D2). Over HTTP the same trait will serve
//! foreign clusters. What is not here: caches and queues (`informer`), and anything that decides. Start with
//! [`Client`].

mod hooked;
mod node;
mod object;
mod placer;

use async_trait::async_trait;
use futures::stream::BoxStream;
use meta::{ObjectId, ResourceId, ResourceVersion, Status, Uid};
use serde_json::Value;
use std::sync::Arc;

pub use hooked::{Call, Hooked};
pub use node::{ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams, TerminalSize};
pub use object::Object;
pub use placer::{Place, Placer};

/// The objects of one resource, in one namespace or in all.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Collection {
    /// The resource.
    pub resource: ResourceId,
    /// One namespace, or `None` for all of them or for a cluster-scoped resource.
    pub namespace: Option<String>,
}

impl Collection {
    /// The resource in every namespace.
    pub fn all(resource: ResourceId) -> Self {
        Self { resource, namespace: None }
    }

    /// The resource in one namespace.
    pub fn in_namespace(resource: ResourceId, namespace: &str) -> Self {
        Self { resource, namespace: Some(namespace.to_owned()) }
    }
}

/// Which objects of a [`Collection`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// `labelSelector` as on the wire; empty selects everything.
    pub labels: String,
    /// `fieldSelector` as on the wire; empty selects everything.
    pub fields: String,
}

/// A snapshot of a collection.
#[derive(Clone, Debug)]
pub struct ObjectList {
    /// The store's revision at which the list is exact; a watch from here misses and repeats nothing (V-62).
    pub resource_version: ResourceVersion,
    /// Sorted by namespace, then name.
    pub items: Vec<Arc<Object>>,
}

/// One step of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Appeared, or began to match the selection.
    Added(Arc<Object>),
    /// Changed.
    Modified(Arc<Object>),
    /// Gone, or stopped to match; the last state with the revision of the deletion.
    Deleted(Arc<Object>),
    /// Everything up to this revision has been delivered.
    Bookmark(ResourceVersion),
}

/// A live watch; ends with an error of 410 `Expired` when the reader must list again.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

/// The kinds of patch.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Value),
    /// Upstream's strategic merge patch; built-in kinds only.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// The applied configuration.
        body: Value,
        /// Take fields from other managers.
        force: bool,
    },
}

/// Options of every write.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WriteOptions {
    /// Name under which changed fields are recorded in `managedFields`; empty takes the client's user agent.
    pub field_manager: String,
    /// Answer as if, change nothing.
    pub dry_run: bool,
    /// Nobody waits for this write: in process it may be kept back for a moment, to be flushed together with others.
    pub patient: bool,
    /// A pod that is created takes its node along, if the scheduler of this process can tell one at once (decision 24).
    /// In process only.
    pub place: bool,
}

impl WriteOptions {
    /// Options of a write that nobody waits for.
    pub fn patient() -> Self {
        Self { patient: true, ..Self::default() }
    }
}

/// Options of a deletion.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeleteOptions {
    /// Only this UID; 409 otherwise.
    pub uid: Option<Uid>,
    /// Only this revision; 409 otherwise.
    pub resource_version: Option<ResourceVersion>,
    /// Grace in seconds; `None` takes the object's own, 0 removes at once.
    pub grace_period_secs: Option<i64>,
    /// What becomes of dependents; `None` takes the kind's default.
    pub propagation: Option<Propagation>,
    /// A strategic merge patch by which the status comes to its end, stored in the same moment: one write and one event
    /// for what would be two. In process only.
    pub last_status: Option<Value>,
}

/// `propagationPolicy` of a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// Dependents lose their owner and stay.
    Orphan,
    /// Dependents go afterwards.
    Background,
    /// Dependents go first.
    Foreground,
}

/// The verbs of the Kubernetes API.
///
/// `subresource` is `None` for the object itself, or `"status"`, `"scale"`, `"binding"`, `"eviction"`, `"token"`,
/// `"finalize"`. Every call is atomic: a call whose future is dropped either happened wholly or not at all.
#[async_trait]
pub trait Client: Send + Sync + 'static {
    /// Reads the latest state of one object.
    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status>;

    /// Reads a consistent, latest snapshot.
    async fn list(&self, target: &Collection, selection: &Selection) -> Result<ObjectList, Status>;

    /// Follows a collection from a revision: every later event exactly once and in order, or 410.
    async fn watch(
        &self,
        target: &Collection,
        selection: &Selection,
        from: ResourceVersion,
    ) -> Result<WatchStream, Status>;

    /// Creates an object, or posts to a subresource of `body.metadata.name` (binding, eviction, token).
    async fn create(
        &self,
        target: &Collection,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Replaces an object; `metadata.resourceVersion` in the body is a precondition.
    async fn update(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Patches an object; `metadata.uid` and `metadata.resourceVersion` in the patch are preconditions.
    async fn patch(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Deletes an object, or begins its deletion where grace or finalizers hold it.
    async fn delete(&self, id: &ObjectId, options: &DeleteOptions) -> Result<(), Status>;
}
