//! One informer per kind for everybody in a process.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::Kinded;
use crate::follow::{Informer, Scope};

/// Informers over whole resources, started when first asked for and shared: each object is decoded and held once in a
/// process, whoever reads it.
#[derive(Clone)]
pub struct Informers {
    client: Arc<dyn Client>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    started: Arc<Mutex<BTreeMap<TypeId, Box<dyn Any + Send + Sync>>>>,
}

impl std::fmt::Debug for Informers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Informers").finish_non_exhaustive()
    }
}

impl Informers {
    /// No informers yet. All that are started run in `tasks` and end with `cancel`.
    pub fn new(client: Arc<dyn Client>, tasks: TaskTracker, cancel: CancellationToken) -> Self {
        Self { client, tasks, cancel, started: Arc::default() }
    }

    /// An informer of one's own over a part of a resource.
    pub fn scoped<T: crate::Cacheable>(&self, scope: Scope) -> Informer<T> {
        Informer::start(Arc::clone(&self.client), scope, &self.tasks, self.cancel.clone())
    }

    /// The informer over every object of `T`, for example `informers.of::<Pod>()`.
    pub fn of<T: Kinded>(&self) -> Informer<T> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let any = started.entry(TypeId::of::<T>()).or_insert_with(|| {
            let scope = Scope::all(T::resource());
            Box::new(Informer::<T>::start(Arc::clone(&self.client), scope, &self.tasks, self.cancel.clone()))
        });
        any.downcast_ref::<Informer<T>>().cloned().expect("the entry of a type holds that type's informer")
    }
}
