//! Forgetting Events after their time: a queue ordered by deadline, not a scan.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use store_core::{Key, Revision};

/// Events in the order in which they end; all live equally long, so that is the order of their writing.
#[derive(Debug, Default)]
pub struct Expiry {
    queue: Mutex<VecDeque<Deadline>>,
    changed: Notify,
}

/// One state of one Event and its end.
#[derive(Clone, Debug)]
pub struct Deadline {
    /// When it ends.
    pub at: Instant,
    /// Which Event.
    pub key: Key,
    /// The state that ends; a later one has a deadline of its own.
    pub revision: Revision,
}

impl Expiry {
    /// Adds a deadline `ttl` from now.
    pub fn add(&self, key: Key, revision: Revision, ttl: Duration) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(Deadline { at: Instant::now() + ttl, key, revision });
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.changed.notify_one();
        }
    }

    /// The next deadline that has passed; waits for it. Dropping the future loses nothing.
    pub async fn next(&self) -> Deadline {
        loop {
            let first = self.queue.lock().unwrap_or_else(PoisonError::into_inner).front().map(|deadline| deadline.at);
            match first {
                None => self.changed.notified().await,
                Some(at) => {
                    tokio::time::sleep_until(at).await;
                    let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(deadline) = queue.pop_front() {
                        return deadline;
                    }
                }
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
