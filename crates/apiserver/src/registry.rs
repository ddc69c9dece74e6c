//! Reading and watching stored objects, without any transport.
//!
//! [`Registry`] is what the HTTP handlers and the in-process client share; its writing half is in
//! [`crate::writing`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use api::Kind;
use apiserver_core::kinds::KindDef;
use apiserver_core::page::ContinueToken;
use apiserver_core::selector::Selector;
use apiserver_core::write::AddressPool;
use client::{NodeStreams, Object, Placer};
use meta::{Cause, Reason, ResourceVersion, Status, Timestamp};
use store::{ReadError, Store, WatchError};
use store_core::{At, Key, Range, Record, Revision};
use tokio::sync::Semaphore;

use crate::chance::TimeAndChance;
use crate::config::Config;
use crate::expiry::Expiry;
use crate::keys;
use crate::metrics::{Figures, Metrics};
use crate::quotas::QuotaGate;
use crate::stored;

/// Decoded objects of recent events that are kept, so that a thousand watchers decode each of them once: so many at
/// most, and so many bytes of JSON (their trees are some times larger).
const RECENT_OBJECTS_MAX: usize = 512;
const RECENT_BYTES_MAX: usize = 1 << 20;
/// How long a read waits for a revision that has not been reached (V-65).
const FUTURE_WAIT: std::time::Duration = std::time::Duration::from_secs(3);

/// Stored objects and what is needed to change them.
pub struct Registry {
    /// Where objects are.
    pub store: Store,
    /// Settings.
    pub config: Config,
    /// Addresses and ports that services hold.
    pub addresses: Mutex<AddressPool>,
    /// Logs and exec; absent until the node agent has started.
    pub streams: OnceLock<Arc<dyn NodeStreams>>,
    /// Who gives pods their nodes before they are stored; absent until the scheduler has started.
    pub placer: OnceLock<Arc<dyn Placer>>,
    /// What other parts show in `/metrics`; absent until they have started.
    pub figures: OnceLock<Figures>,
    /// Events that are to be forgotten.
    pub expiry: Expiry,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// One permit for each request that is not long-running.
    pub requests: Semaphore,
    /// One permit for each watch.
    pub watches: Arc<Semaphore>,
    /// Where time and chance come from.
    pub chance: TimeAndChance,
    /// Who may write while quotas are counted.
    pub quotas: QuotaGate,
    /// Held by the one eviction that is being decided.
    pub evictions: tokio::sync::Mutex<()>,
    recent: Mutex<Recent>,
}

/// Objects of recent events.
#[derive(Default)]
struct Recent {
    objects: VecDeque<Arc<Object>>,
    bytes: usize,
}

impl Recent {
    /// Takes an object in; those that make room come out, to be dropped without the lock.
    fn push(&mut self, object: Arc<Object>) -> Vec<Arc<Object>> {
        self.bytes += object.json.len();
        self.objects.push_back(object);
        let mut old = Vec::new();
        while (self.objects.len() > RECENT_OBJECTS_MAX || self.bytes > RECENT_BYTES_MAX)
            && let Some(oldest) = self.objects.pop_front()
        {
            self.bytes -= oldest.json.len();
            old.push(oldest);
        }
        old
    }
}

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
    /// Most objects on one page; 0 for all.
    pub limit: usize,
    /// Where the page begins.
    pub continue_token: Option<ContinueToken>,
    /// Which state.
    pub at: ListAt,
}

/// Which state a list shows (V-63).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ListAt {
    /// The latest.
    #[default]
    Latest,
    /// Not older than this one; the latest is served.
    NotOlderThan(Revision),
    /// Exactly this one.
    Exactly(Revision),
}

/// A page of a list.
#[derive(Debug)]
pub struct ListPage {
    /// The revision at which it is exact.
    pub revision: Revision,
    /// The objects in the order of their keys.
    pub records: Vec<Arc<Record>>,
    /// Where the next page begins.
    pub continue_token: Option<String>,
    /// Objects after this page; known only without selectors.
    pub remaining: Option<u64>,
    /// Objects that are left out because their bytes are corrupt (S19).
    pub quarantined: usize,
}

impl Registry {
    /// A registry over an open store.
    pub fn new(store: Store, config: Config, metrics: Arc<Metrics>, chance: TimeAndChance) -> Self {
        let range = config.service_range;
        let addresses = Mutex::new(AddressPool::new(range.network(), range.prefix_len()));
        let expiry = Expiry::default();
        let requests = Semaphore::new(config.limits.requests_max);
        let watches = Arc::new(Semaphore::new(config.limits.watches_max));
        let recent = Mutex::default();
        let (streams, placer, figures) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (evictions, quotas) = (tokio::sync::Mutex::default(), QuotaGate::default());
        Self {
            store,
            config,
            addresses,
            streams,
            placer,
            figures,
            expiry,
            metrics,
            requests,
            watches,
            chance,
            quotas,
            evictions,
            recent,
        }
    }

    /// The time of a request.
    pub fn now(&self) -> Timestamp {
        self.chance.now()
    }

    /// One object as it is stored; `None` if there is none.
    ///
    /// # Errors
    /// 500 if the store cannot read it.
    pub fn find(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Arc<Record>>, Status> {
        let key = keys::object(kind, namespace, name);
        self.store.get(&key.0, At::Latest).map_err(|error| read_status(&error))
    }

    /// The latest state of one object.
    ///
    /// # Errors
    /// 404 if there is none.
    pub fn get(&self, def: &KindDef, namespace: Option<&str>, name: &str) -> Result<Arc<Object>, Status> {
        let record = self.find(&def.kind, namespace, name)?;
        let record = record.ok_or_else(|| Status::not_found(&def.kind.resource, name))?;
        Ok(object(def, &record))
    }

    /// All objects of a kind, of one namespace or of all.
    ///
    /// # Errors
    /// 500 if the store cannot read them.
    pub fn all(&self, def: &KindDef, namespace: Option<&str>) -> Result<Vec<Arc<Object>>, Status> {
        let values = self.store.range(&Range::prefix(keys::prefix(&def.kind, namespace)));
        let values = values.map_err(|error| read_status(&error))?;
        Ok(values.records.iter().map(|record| object(def, record)).collect())
    }

    /// Waits until the store has reached a revision.
    ///
    /// # Errors
    /// 504 with upstream's cause if that takes longer than three seconds (V-65).
    pub async fn reached(&self, revision: Revision) -> Result<(), Status> {
        if self.store.revision() >= revision {
            return Ok(());
        }
        let reached = tokio::time::timeout(FUTURE_WAIT, self.store.reached(revision)).await;
        reached.map_err(|_| too_large(revision, self.store.revision()))
    }

    /// A page of a list.
    ///
    /// # Errors
    /// 410 for a state that is gone, 504 for one that has not come.
    pub async fn list(&self, def: &KindDef, request: &ListRequest) -> Result<ListPage, Status> {
        let prefix = keys::prefix(&def.kind, request.namespace.as_deref());
        let at = match (&request.continue_token, request.at) {
            (Some(token), _) => token.revision.map_or(At::Latest, |revision| At::Revision(Revision(revision.0))),
            (None, ListAt::Latest) => At::Latest,
            (None, ListAt::NotOlderThan(revision)) => {
                self.reached(revision).await?;
                At::Latest
            }
            (None, ListAt::Exactly(revision)) => {
                self.reached(revision).await?;
                At::Revision(revision)
            }
        };
        let mut range = Range::prefix(prefix.clone());
        range.at = at;
        if let Some(token) = &request.continue_token {
            range.start = Key::from(format!("{prefix}{}", token.start));
        } else if let Some(name) =
            request.selector.exact_name().filter(|_| request.namespace.is_some() || !def.kind.is_namespaced())
        {
            // A list of one name reads one key.
            range.start = Key::from(format!("{prefix}{name}"));
            range.end = Some(range.start.successor());
        }
        let everything = request.selector.selects_everything();
        range.limit = (everything && request.limit > 0).then_some(request.limit);
        let values = self.store.range(&range).map_err(|error| match (&request.continue_token, &error) {
            (Some(token), ReadError::Compacted { .. }) => token.expired(),
            _ => read_status(&error),
        })?;
        let mut records = values.records;
        let mut remaining = (everything && values.remaining > 0).then_some(values.remaining as u64);
        let mut more = values.remaining > 0;
        if !everything {
            let limit = if request.limit == 0 { usize::MAX } else { request.limit };
            let mut selected =
                records.into_iter().filter(|record| request.selector.matches(object(def, record).tree()));
            let page: Vec<_> = selected.by_ref().take(limit).collect();
            more = page.len() == limit && selected.next().is_some();
            remaining = None;
            records = page;
        }
        let continue_token = records.last().filter(|_| more).map(|last| {
            let start = String::from_utf8_lossy(&last.key.successor().0[prefix.len()..]).into_owned();
            ContinueToken { revision: Some(ResourceVersion(values.revision.0)), start }.encode()
        });
        let quarantined = values.quarantined.len();
        Ok(ListPage { revision: values.revision, records, continue_token, remaining, quarantined })
    }

    /// The shared decoded form of an object that was just written, kept for a while for those who are told of it, and
    /// for the next who changes it.
    pub fn event_object(&self, def: &KindDef, record: &Arc<Record>) -> Arc<Object> {
        if def.conversion.is_some() {
            return object(def, record);
        }
        let mut made = false;
        let object = stored::object(record, || made = true);
        if made {
            let old = self.recent.lock().unwrap_or_else(PoisonError::into_inner).push(object.clone());
            drop(old);
        }
        object
    }
}

/// The object of a record in the kind's own representation.
pub fn object(def: &KindDef, record: &Arc<Record>) -> Arc<Object> {
    let stored = stored::object(record, || {});
    let Some(conversion) = def.conversion else { return stored };
    let tree = (conversion.from_stored)(stored.tree().as_ref().clone());
    stored::shown(tree, record.revision)
}

/// The answer for a read that failed.
pub fn read_status(error: &ReadError) -> Status {
    match error {
        ReadError::Compacted { requested, floor } => Status::new(
            Reason::Expired,
            format!("The resourceVersion for the provided list is too old. ({requested} < {floor})"),
        ),
        ReadError::Future { requested, current } => too_large(*requested, *current),
        ReadError::Quarantined { .. } | ReadError::Engine { .. } => Status::internal(error),
    }
}

/// The answer for a watch that cannot begin or go on (V-78).
pub fn watch_status(error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { requested, floor } => {
            Status::new(Reason::Expired, format!("too old resource version: {requested} ({floor})"))
        }
        WatchError::Future { requested, current } => too_large(*requested, *current),
        other => Status::new(Reason::ServiceUnavailable, other.to_string()),
    }
}

/// 429: the server has as much to do as it may have (D12).
pub fn too_many(what: &str) -> Status {
    let mut status = Status::new(Reason::TooManyRequests, format!("too many {what}, please try again later"));
    status.details.get_or_insert_default().retry_after_secs = 1;
    status
}

fn too_large(requested: Revision, current: Revision) -> Status {
    let mut status =
        Status::new(Reason::Timeout, format!("Timeout: Too large resource version: {requested}, current: {current}"));
    let details = status.details.get_or_insert_default();
    details.retry_after_secs = 1;
    details.causes.push(Cause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    status
}
