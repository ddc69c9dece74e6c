//! One resource, listed and then followed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use client::{Client, Collection, Object, Selection, WatchEvent, WatchStream};
use futures::StreamExt;
use meta::{ObjectId, Reason, ResourceVersion, Status, Uid};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{Cache, Cacheable, Cached, Change, Key};
use crate::progress::{Changes, Progress};

/// First pause after a failed list or watch; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Longest pause between attempts to list or watch.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What an informer follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The resource, in one namespace or in all.
    pub target: Collection,
    /// Which of its objects.
    pub selection: Selection,
}

impl Scope {
    /// Every object of a resource.
    pub fn all(resource: meta::ResourceId) -> Self {
        Self { target: Collection::all(resource), selection: Selection::default() }
    }
}

/// The cache did not see a revision in time; the reader must not act on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the cache has seen revision {seen}, not yet {wanted}, after {limit:?}")]
pub struct NotSeen {
    /// Revision waited for.
    pub wanted: ResourceVersion,
    /// Revision seen.
    pub seen: ResourceVersion,
    /// How long was waited.
    pub limit: Duration,
}

/// What the server knows and a cache may not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// Newest revision of the objects that are there.
    pub newest: ResourceVersion,
    /// Objects in the cache that are gone: name and UID.
    pub gone: Vec<(String, Uid)>,
}

type Handler<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;

struct Inner<T> {
    client: Arc<dyn Client>,
    scope: Scope,
    cache: RwLock<Cache<T>>,
    handlers: Mutex<Vec<Handler<T>>>,
    seen: Progress,
}

/// A cache of one resource that follows the API server; a cheap handle, clone it freely.
///
/// Order: the cache is changed first, then the handlers run, then [`Informer::seen`] moves. Whoever was woken by `seen`
/// or by a handler finds the change in the cache.
pub struct Informer<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> std::fmt::Debug for Informer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Informer").field("scope", &self.inner.scope).field("seen", &self.inner.seen.seen()).finish()
    }
}

impl<T: Cacheable> Informer<T> {
    /// Starts to follow `scope`; ends with `cancel`. List failures are retried for ever, with a pause that grows.
    pub fn start(client: Arc<dyn Client>, scope: Scope, tasks: &TaskTracker, cancel: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            client,
            scope,
            cache: RwLock::new(Cache::default()),
            handlers: Mutex::new(Vec::new()),
            seen: Progress::default(),
        });
        let follower = Arc::clone(&inner);
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = follower.follow() => {}
            }
            // Handlers hold those who hold this informer: with them, none of it would ever be let go.
            let handlers = std::mem::take(&mut *follower.handlers.lock().unwrap_or_else(PoisonError::into_inner));
            drop(handlers);
        });
        Self { inner }
    }

    /// Returns once the first list is in the cache. Nothing is lost if dropped.
    pub async fn synced(&self) {
        self.inner.seen.until(|seen| seen.is_some()).await;
    }

    /// The revision up to which the cache is exact; `None` before the first list.
    pub fn seen(&self) -> Option<ResourceVersion> {
        self.inner.seen.seen()
    }

    /// Follows [`Informer::seen`]: changes with every event and bookmark. For readers that look at the whole state.
    pub fn changes(&self) -> Changes {
        self.inner.seen.changes()
    }

    /// Waits until the cache has seen a revision: read-your-writes (D6). Give it the revision that a write to an object
    /// of *this* informer's resource returned.
    ///
    /// # Errors
    /// [`NotSeen`] after `limit`; plan nothing then.
    pub async fn wait_seen(&self, wanted: ResourceVersion, limit: Duration) -> Result<(), NotSeen> {
        let waited = tokio::time::timeout(limit, self.inner.seen.until(|seen| seen >= Some(wanted))).await;
        if waited.is_ok() {
            return Ok(());
        }
        Err(NotSeen { wanted, seen: self.seen().unwrap_or_default(), limit })
    }

    /// Reads one object from the server, or all of a namespace (empty: cluster-scoped objects): what the cache must show
    /// before somebody plans who was not told what became of his write (C-10).
    ///
    /// # Errors
    /// The server's; that there is no such object is none.
    pub async fn ahead(&self, namespace: &str, name: Option<&str>) -> Result<Ahead, Status> {
        let Scope { target, selection } = &self.inner.scope;
        let resource = target.resource.clone();
        let namespaced = (!namespace.is_empty()).then(|| namespace.to_owned());
        // Looked at before the server is asked: whatever is not there then is gone for good, and not yet to come.
        let cached = match name {
            Some(name) => self.get(namespace, name).into_iter().collect(),
            None => self.in_namespace(namespace),
        };
        let there = match name {
            Some(name) => {
                let id = ObjectId { resource, namespace: namespaced, name: name.to_owned() };
                match self.inner.client.get(&id).await {
                    Ok(object) => vec![object],
                    Err(status) if status.is_not_found() => Vec::new(),
                    Err(status) => return Err(status),
                }
            }
            None => self.inner.client.list(&Collection { resource, namespace: namespaced }, selection).await?.items,
        };
        let newest = there.iter().map(|object| object.resource_version).max().unwrap_or_default();
        let names: BTreeSet<&str> = there.iter().map(|object| object.name()).collect();
        let gone = cached.iter().filter(|cached| !names.contains(cached.name()));
        let gone = gone.map(|cached| (cached.name().to_owned(), Uid(cached.uid().to_owned()))).collect();
        Ok(Ahead { newest, gone })
    }

    /// Calls `handler` for every object that is there now (as appeared), and then for each change, in order, from the
    /// informer's own task. A handler only notes keys (see [`crate::WorkQueue`]); it must not block, and must not
    /// register handlers.
    pub fn on_change(&self, handler: impl Fn(&Change<T>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for cached in self.list() {
            handler(&Change { before: None, after: Some(cached) });
        }
        handlers.push(Box::new(handler));
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Cached<T>>> {
        self.read(|cache| cache.get(namespace, name))
    }

    /// Every object, by namespace and name.
    pub fn list(&self) -> Vec<Arc<Cached<T>>> {
        self.read(|cache| cache.all().cloned().collect())
    }

    /// The objects of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Cached<T>>> {
        self.read(|cache| cache.in_namespace(namespace).cloned().collect())
    }

    /// The objects for which `wanted` is true, by namespace and name.
    pub fn matching(&self, namespace: Option<&str>, wanted: impl Fn(&T) -> bool) -> Vec<Arc<Cached<T>>> {
        self.read(|cache| match namespace {
            Some(namespace) => cache.in_namespace(namespace).filter(|c| wanted(&*c.value)).cloned().collect(),
            None => cache.all().filter(|c| wanted(&*c.value)).cloned().collect(),
        })
    }

    /// The objects that have an owner reference with this UID (controller or not), by namespace and name.
    pub fn owned_by(&self, owner_uid: &str) -> Vec<Arc<Cached<T>>> {
        self.read(|cache| cache.owned_by(owner_uid).cloned().collect())
    }

    /// How many objects are held.
    pub fn len(&self) -> usize {
        self.read(Cache::len)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read<R>(&self, reader: impl FnOnce(&Cache<T>) -> R) -> R {
        reader(&self.inner.cache.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why a watch ended.
enum Ended {
    /// Go on from the last revision seen.
    Resume,
    /// The revision is compacted: list again (410).
    ListAgain,
}

impl<T: Cacheable> Inner<T> {
    /// Lists, watches, resumes; lists again when the server says that the revision is gone.
    async fn follow(&self) {
        let mut pause = RETRY_PAUSE_FIRST;
        loop {
            match self.client.list(&self.scope.target, &self.scope.selection).await {
                Ok(list) => self.replace(list.resource_version, &list.items),
                Err(error) => {
                    self.pause(&mut pause, "list", &error).await;
                    continue;
                }
            }
            loop {
                let from = self.seen.seen().unwrap_or_default();
                let ended = match self.client.watch(&self.scope.target, &self.scope.selection, from).await {
                    Ok(stream) => self.drain(stream, &mut pause).await,
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(Ended::Resume) => {}
                    Ok(Ended::ListAgain) => break,
                    Err(error) if is_gone(&error) => break,
                    Err(error) => self.pause(&mut pause, "watch", &error).await,
                }
            }
        }
    }

    async fn drain(&self, mut stream: WatchStream, pause: &mut Duration) -> Result<Ended, Status> {
        let mut any = false;
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    any = true;
                    *pause = RETRY_PAUSE_FIRST;
                    self.apply(event);
                }
                Err(error) if is_gone(&error) => return Ok(Ended::ListAgain),
                Err(error) => return Err(error),
            }
        }
        if any { Ok(Ended::Resume) } else { Err(Status::new(Reason::ServiceUnavailable, "the watch ended at once")) }
    }

    async fn pause(&self, pause: &mut Duration, verb: &str, error: &Status) {
        tracing::debug!(resource = %self.scope.target.resource, verb, %error, pause = ?*pause, "will try again");
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(RETRY_PAUSE_MAX);
    }

    fn apply(&self, event: WatchEvent) {
        let revision = match event {
            WatchEvent::Bookmark(revision) => revision,
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if self.put(&object).is_none() {
                    self.take(object.namespace(), object.name());
                }
                object.resource_version
            }
            WatchEvent::Deleted(object) => {
                self.take(object.namespace(), object.name());
                object.resource_version
            }
        };
        self.seen.advance(revision);
    }

    /// Makes the cache equal to a list: what is not in it is gone.
    fn replace(&self, revision: ResourceVersion, items: &[Arc<Object>]) {
        let mut gone = self.cache.read().unwrap_or_else(PoisonError::into_inner).keys();
        for object in items {
            if let Some(key) = self.put(object) {
                gone.remove(&key);
            }
        }
        for key in gone {
            if meta::mutants::is_on("relist-keeps-the-gone") {
                continue;
            }
            self.take(&key.namespace, &key.name);
        }
        self.seen.set(revision);
    }

    /// Notes an object's state; its key comes back unless it could not be decoded.
    fn put(&self, object: &Object) -> Option<Key> {
        let cached = match T::decode(object) {
            Ok(value) => Arc::new(Cached { resource_version: object.resource_version, value: Arc::new(value) }),
            Err(error) => {
                tracing::error!(resource = %self.scope.target.resource, namespace = object.namespace(),
                    name = object.name(), %error, "an object that its type cannot hold is left out of the cache");
                return None;
            }
        };
        let key = Key::new(cached.namespace(), cached.name());
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            cache.put(Arc::clone(&cached))
        };
        if before.as_ref().is_some_and(|before| before.resource_version == cached.resource_version) {
            return Some(key);
        }
        // Deleted and created again between two lists: two changes, or readers would mix two incarnations (S8).
        let (gone, before) = match before {
            Some(before) if before.uid() != cached.uid() => (Some(before), None),
            before => (None, before),
        };
        if gone.is_some() {
            let change = Change { before: gone, after: None };
            handlers.iter().for_each(|handler| handler(&change));
        }
        let change = Change { before, after: Some(cached) };
        handlers.iter().for_each(|handler| handler(&change));
        Some(key)
    }

    /// An object is gone.
    fn take(&self, namespace: &str, name: &str) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.cache.write().unwrap_or_else(PoisonError::into_inner).take(namespace, name);
        if before.is_some() {
            let change = Change { before, after: None };
            handlers.iter().for_each(|handler| handler(&change));
        }
    }
}

fn is_gone(error: &Status) -> bool {
    error.code == 410 && !meta::mutants::is_on("expired-watch-is-resumed")
}
