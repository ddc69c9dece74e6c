//! How far a cache has got: a value that only its owner moves, and readers that wait for it.
//!
//! Not `tokio::sync::watch`: that wakes its readers in an order drawn at random, and the simulator needs the same order
//! every time. Here they are woken in the order in which they began to wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meta::ResourceVersion;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    seen: Option<ResourceVersion>,
    /// Counts the moves.
    version: u64,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner's side, and every look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    inner: Arc<Inner>,
}

impl Progress {
    /// The newest revision; `None` before the first.
    pub(crate) fn seen(&self) -> Option<ResourceVersion> {
        self.inner.state().seen
    }

    /// Sets it, also back: a list is what it is.
    pub(crate) fn set(&self, revision: ResourceVersion) {
        {
            let mut state = self.inner.state();
            state.seen = Some(revision);
            state.version += 1;
        }
        self.inner.moved.notify_waiters();
    }

    /// Sets it unless that would be a step back.
    pub(crate) fn advance(&self, revision: ResourceVersion) {
        if self.seen() < Some(revision) {
            self.set(revision);
        }
    }

    /// Waits until `wanted` is true of it. Nothing is lost if dropped.
    pub(crate) async fn until(&self, wanted: impl Fn(Option<ResourceVersion>) -> bool) {
        loop {
            // Enlisted before looking, so that no move falls between.
            let moved = self.inner.moved.notified();
            if wanted(self.seen()) {
                return;
            }
            moved.await;
        }
    }

    pub(crate) fn changes(&self) -> Changes {
        let version = self.inner.state().version;
        Changes { inner: Arc::clone(&self.inner), version }
    }
}

/// Follows a cache: tells that it moved since the last look.
#[derive(Debug)]
pub struct Changes {
    inner: Arc<Inner>,
    version: u64,
}

impl Changes {
    /// Everything up to now counts as looked at.
    pub fn mark_unchanged(&mut self) {
        self.version = self.inner.state().version;
    }

    /// Returns once the cache has moved since the last look, and counts that as a look. Nothing is lost if dropped.
    pub async fn changed(&mut self) {
        loop {
            let moved = self.inner.moved.notified();
            let version = self.inner.state().version;
            if version != self.version {
                self.version = version;
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_are_woken_in_the_order_in_which_they_began_to_wait() {
        let progress = Progress::default();
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        let readers: Vec<_> = (0..20)
            .map(|reader| {
                let (progress, order) = (progress.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    progress.until(|seen| seen >= Some(ResourceVersion(3))).await;
                    order.lock().unwrap().push(reader);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        progress.set(ResourceVersion(3));
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_move_before_the_wait_is_not_missed() {
        let progress = Progress::default();
        let mut changes = progress.changes();
        progress.advance(ResourceVersion(2));
        changes.changed().await;
        progress.advance(ResourceVersion(1));
        assert_eq!(progress.seen(), Some(ResourceVersion(2)));
    }
}
