//! The core, shared by those who ask it: the loop, and whoever is about to store a pod.

use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Place, Placer};
use k8s_openapi::api::core::v1::Pod;
use meta::{ResourceVersion, Uid};
use scheduler_core::PodFacts;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::dirty::Dirty;

/// The core with its caches.
pub(crate) struct Desk {
    /// `None` until the caches are filled.
    core: Mutex<Option<scheduler_core::Scheduler>>,
    pub(crate) dirty: Dirty,
    cancel: CancellationToken,
}

impl Desk {
    /// A desk at which nobody is served yet, and nobody after `cancel`.
    pub(crate) fn new(dirty: Dirty, cancel: CancellationToken) -> Self {
        Self { core: Mutex::default(), dirty, cancel }
    }

    /// Begins to serve, once the caches are filled.
    pub(crate) async fn open(&self) {
        self.dirty.synced().await;
        *self.lock() = Some(scheduler_core::Scheduler::default());
    }

    fn lock(&self) -> MutexGuard<'_, Option<scheduler_core::Scheduler>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the core, which knows all that the caches show; `None` before it is open and after its end.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&mut scheduler_core::Scheduler) -> T) -> Option<T> {
        if self.cancel.is_cancelled() {
            return None;
        }
        let mut core = self.lock();
        let core = core.as_mut()?;
        self.dirty.feed(core);
        Some(question(core))
    }

    /// As [`Desk::ask`], from outside the loop, which is woken if that left something to do.
    fn ask_beside<T>(&self, question: impl FnOnce(&mut scheduler_core::Scheduler) -> T) -> Option<T> {
        let (answer, has_turns) = self.ask(|core| (question(core), core.has_turns()))?;
        if has_turns {
            self.dirty.wake();
        }
        Some(answer)
    }
}

impl Placer for Desk {
    fn place(&self, pod: &Value) -> Option<Place> {
        let pod = Pod::deserialize(pod).ok()?;
        let ahead = self.ask_beside(|core| core.place_ahead(PodFacts::of(&pod)))??;
        let claims = ahead.claims.into_iter().map(|(key, uid)| (key.name, uid)).collect();
        Some(Place { node: ahead.node, claims })
    }

    fn stored(&self, pod: &Uid, revision: ResourceVersion) {
        self.ask_beside(|core| core.stored(pod, revision));
    }

    fn give_back(&self, pod: &Uid) {
        self.ask_beside(|core| core.give_back(pod));
    }
}
