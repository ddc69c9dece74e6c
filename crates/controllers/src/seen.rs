//! Read-your-writes for one key: what a controller wrote and its caches must show before it plans again (D6, C-10).

use std::sync::Arc;
use std::time::Duration;

use client::Object;
use controllers_core::words::Target;
use informer::{Cacheable, Cached, Informer};
use meta::{ResourceVersion, Status, Uid};

/// Longest wait for a cache; in process it is well under a millisecond.
pub(crate) const SEEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// What an action left behind that a cache must show.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A write with this revision.
    Wrote(ResourceVersion),
    /// A deletion; it returns no revision, so its effect is looked for.
    Deleted { name: String, uid: Uid },
    /// Perhaps something, perhaps nothing: the answer was lost, or the server went while it was at work.
    Unsure,
    /// Nothing.
    Nothing,
}

impl Effect {
    pub(crate) fn wrote(object: Arc<Object>) -> Self {
        Self::Wrote(object.resource_version)
    }

    pub(crate) fn deleted(target: &Target) -> Self {
        Self::Deleted { name: target.name.clone(), uid: target.uid.clone() }
    }

    /// What a write may have left behind that was answered with an error.
    pub(crate) fn failed(error: &Status) -> Self {
        let is_forgotten = meta::mutants::is_on("unsure-writes-are-forgotten");
        if error.may_be_done() && !is_forgotten { Self::Unsure } else { Self::Nothing }
    }
}

/// Writes to one resource that its cache may not have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unseen {
    newest: ResourceVersion,
    deleted: Vec<(String, Uid)>,
    is_unsure: bool,
}

impl Unseen {
    /// Notes what an action left behind.
    pub(crate) fn note(&mut self, effect: Effect) {
        match effect {
            Effect::Wrote(revision) => self.newest = self.newest.max(revision),
            Effect::Deleted { name, uid } => self.deleted.push((name, uid)),
            Effect::Unsure => self.is_unsure = true,
            Effect::Nothing => {}
        }
    }

    /// Waits until the cache shows all of it, and forgets it then. `false` if that took too long: plan nothing.
    pub(crate) async fn settle<T: Cacheable>(&mut self, informer: &Informer<T>, namespace: &str) -> bool {
        if meta::mutants::is_on("own-writes-are-not-awaited") {
            *self = Self::default();
        }
        if self.is_unsure {
            if informer.catch_up(namespace, SEEN_WAIT_MAX).await.is_err() {
                return false;
            }
            self.is_unsure = false;
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
