//! Telling every subscriber what happens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::RuntimeEvent;

/// Events that wait for one subscriber; then it holds the teller back.
const EVENTS_MAX: usize = 1024;

/// Who wants to know what happens.
#[derive(Default)]
pub(crate) struct Events {
    subscribers: Mutex<Vec<mpsc::Sender<RuntimeEvent>>>,
}

impl Events {
    pub(crate) fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        lock(&self.subscribers).push(sender);
        receiver
    }

    /// Tells everybody; waits for those who have not read enough yet.
    pub(crate) async fn publish(&self, event: RuntimeEvent) {
        let subscribers = {
            let mut all = lock(&self.subscribers);
            all.retain(|subscriber| !subscriber.is_closed());
            all.clone()
        };
        for subscriber in subscribers {
            // One that has just gone needs no word.
            let _ = subscriber.send(event.clone()).await;
        }
    }
}

/// A lock whose holders never leave something half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
