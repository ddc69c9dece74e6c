//! Read-your-writes for one key: what a controller wrote and its caches must show before it plans again (D6, C-10).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::Object;
use informer::{Cacheable, Cached, Informer};
use meta::{ResourceVersion, Status, Uid};

/// Longest wait for a cache; in process it is well under a millisecond.
pub(crate) const SEEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// What an action left behind that a cache must show.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A write with this outcome.
    Wrote(Arc<Object>),
    /// A deletion; it returns no revision, so its effect is looked for.
    Deleted { name: String, uid: Uid },
    /// Perhaps something, perhaps nothing. Without a name: something that the server was to name.
    Unsure { name: Option<String> },
    /// Nothing.
    Nothing,
}

impl Effect {
    /// Name of the object that was written; empty otherwise.
    pub(crate) fn name(&self) -> &str {
        if let Self::Wrote(object) = self { object.name() } else { "" }
    }
}

/// A write that was answered with an error, and what it may have left behind all the same.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub(crate) status: Status,
    left: Effect,
}

impl Unwritten {
    /// A write of an object that was answered so. The answer can have been lost; that of a repeated request says that
    /// the object is no longer what it was.
    pub(crate) fn new(status: Status, name: Option<&str>) -> Self {
        let is_unsure = status.may_be_done() || status.is_conflict() || status.is_already_exists();
        let is_forgotten = meta::mutants::is_on("unsure-writes-are-forgotten");
        let unsure = Effect::Unsure { name: name.map(str::to_owned) };
        Self { status, left: if is_unsure && !is_forgotten { unsure } else { Effect::Nothing } }
    }
}

/// Something else was answered so: a read.
impl From<Status> for Unwritten {
    fn from(status: Status) -> Self {
        Self { status, left: Effect::Nothing }
    }
}

impl From<Unwritten> for Status {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.status
    }
}

/// What became of a write.
pub(crate) type Written = Result<Effect, Unwritten>;

/// Writes to one resource that its cache may not have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unseen {
    newest: ResourceVersion,
    deleted: Vec<(String, Uid)>,
    unsure: BTreeSet<Option<String>>,
}

impl Unseen {
    /// Notes what a write left behind, also one that failed.
    pub(crate) fn noted(&mut self, written: Written) -> Result<(), Status> {
        let (effect, outcome) = match written {
            Ok(effect) => (effect, Ok(())),
            Err(Unwritten { status, left }) => (left, Err(status)),
        };
        match effect {
            Effect::Wrote(object) => self.newest = self.newest.max(object.resource_version),
            Effect::Deleted { name, uid } => self.deleted.push((name, uid)),
            Effect::Unsure { name } => drop(self.unsure.insert(name)),
            Effect::Nothing => {}
        }
        outcome
    }

    /// Asks the server about what is unsure; `false` if it does not say.
    async fn ask<T: Cacheable>(&mut self, informer: &Informer<T>, namespace: &str) -> bool {
        while let Some(name) = self.unsure.first().cloned() {
            let asked = tokio::time::timeout(SEEN_WAIT_MAX, informer.ahead(namespace, name.as_deref())).await;
            match asked {
                Ok(Ok(ahead)) => {
                    self.newest = self.newest.max(ahead.newest);
                    self.deleted.extend(ahead.gone);
                }
                Ok(Err(error)) => {
                    tracing::debug!(namespace, ?name, %error, "what became of a write is not known yet");
                    return false;
                }
                Err(_) => return false,
            }
            self.unsure.pop_first();
        }
        true
    }

    /// Waits until the cache shows all of it, and forgets it then. `false` if that took too long: plan nothing.
    pub(crate) async fn settle<T: Cacheable>(&mut self, informer: &Informer<T>, namespace: &str) -> bool {
        if meta::mutants::is_on("own-writes-are-not-awaited") {
            *self = Self::default();
        }
        if !self.ask(informer, namespace).await {
            return false;
        }
        if self.newest > ResourceVersion::default() {
            if informer.wait_seen(self.newest, SEEN_WAIT_MAX).await.is_err() {
                return false;
            }
            self.newest = ResourceVersion::default();
        }
        if self.deleted.is_empty() {
            return true;
        }
        let mut changes = informer.changes();
        let shows = |(name, uid): &(String, Uid)| {
            let found: Option<Arc<Cached<T>>> = informer.get(namespace, name);
            found.is_none_or(|found| found.uid() != uid.0 || found.is_terminating())
        };
        let waited = tokio::time::timeout(SEEN_WAIT_MAX, async {
            loop {
                changes.mark_unchanged();
                self.deleted.retain(|deletion| !shows(deletion));
                if self.deleted.is_empty() {
                    return;
                }
                changes.changed().await;
            }
        })
        .await;
        waited.is_ok() && self.deleted.is_empty()
    }
}
