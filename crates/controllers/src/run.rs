//! The loop that every controller runs in: caches filled, wakes wired, keys worked off, own writes seen, memory kept.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError};

use informer::{Backoff, Outcome, WorkQueue, work};

use crate::Parts;

/// One controller, as far as its loop goes: which caches it stands on, what wakes it, what it does with a key.
pub(crate) trait Controller: Send + Sync + 'static {
    /// What is looked at: an object, or a class of objects.
    type Key: Ord + Clone + Debug + Send + Sync + 'static;
    /// What one look at a key leaves for the next, for as long as there is something to look at; `()` for nothing.
    type Memory: Default + Send;

    /// The queue that its wakes fill, made by [`Parts::queue`].
    fn queue(&self) -> &Arc<WorkQueue<Self::Key>>;

    /// Waits until every cache that a plan reads is filled. Nothing is lost if dropped.
    fn synced(&self) -> impl Future<Output = ()> + Send;

    /// Wires changes to wakes; called once, when all caches are filled. What is there already arrives as changes.
    fn listen(self: &Arc<Self>);

    /// Wakes every key there is, for the safety net.
    fn wake_all(&self);

    /// Waits until the caches show what earlier looks at the key wrote (D6, C-10); `false` if that took too long, and
    /// then nothing is planned and the key is tried again.
    fn settle(&self, key: &Self::Key, memory: &mut Self::Memory) -> impl Future<Output = bool> + Send {
        let _ = (key, memory);
        ready(true)
    }

    /// Looks at one key: view, plan, obey. `None` if there is no such object, and its memory is forgotten.
    ///
    /// Dropped in the middle when the controllers stop: every write happens wholly or not at all.
    fn look(&self, key: &Self::Key, memory: &mut Self::Memory) -> impl Future<Output = Option<Outcome>> + Send;
}

impl Parts {
    /// An empty queue with the controllers' back-off.
    pub(crate) fn queue<K: Ord + Clone>(&self) -> Arc<WorkQueue<K>> {
        Arc::new(WorkQueue::new(Arc::clone(&self.clock), Backoff::CONTROLLER))
    }

    /// Starts a controller and its safety net; both stop with `cancel`. Returns at once.
    pub(crate) fn run<C: Controller>(&self, controller: C) {
        let controller = Arc::new(controller);
        self.safety_net(Arc::clone(&controller));
        let (cancel, workers) = (self.cancel.clone(), self.config.workers);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = controller.synced() => {}
            }
            controller.listen();
            let memories = Memories::default();
            work(controller.queue(), workers, &cancel, |key| one_look(&*controller, &memories, key)).await;
        });
    }

    /// The one periodic look: everything again, so that a lost wake heals some day. Nothing depends on it (D9).
    fn safety_net<C: Controller>(&self, controller: Arc<C>) {
        let (cancel, clock, period) = (self.cancel.clone(), Arc::clone(&self.clock), self.config.resync);
        self.tasks.spawn(async move {
            loop {
                let next = clock.now().checked_add(period).unwrap_or(meta::Timestamp::MAX);
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    () = clock.sleep_until(next) => controller.wake_all(),
                }
            }
        });
    }
}

/// The memories of the keys that are not being looked at; a key at work has its own in hand.
struct Memories<C: Controller>(Mutex<BTreeMap<C::Key, C::Memory>>);

impl<C: Controller> Default for Memories<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: Controller> Memories<C> {
    fn recall(&self, key: &C::Key) -> C::Memory {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default()
    }

    fn remember(&self, key: C::Key, memory: C::Memory) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, memory);
    }
}

async fn one_look<C: Controller>(controller: &C, memories: &Memories<C>, key: C::Key) -> Outcome {
    let mut memory = memories.recall(&key);
    let outcome = if controller.settle(&key, &mut memory).await {
        controller.look(&key, &mut memory).await
    } else {
        tracing::warn!(
            controller = std::any::type_name::<C>(),
            ?key,
            "caches do not show all own writes yet; will look again"
        );
        Some(Outcome::Failed)
    };
    match outcome {
        Some(outcome) => {
            memories.remember(key, memory);
            outcome
        }
        None => Outcome::Done,
    }
}
