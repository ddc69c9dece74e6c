//! Forgetting Events after their time: a queue ordered by deadline, not a scan.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use store_core::{Key, Revision};

/// Event states that may wait; beyond that the oldest are forgotten before their time.
const WAITING_MAX: usize = 100_000;

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
        let wakes = queue.len() == 1 || queue.len() > WAITING_MAX;
        drop(queue);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// The next deadline that has passed; waits for it. Dropping the future loses nothing.
    pub async fn next(&self) -> Deadline {
        loop {
            let first = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let first = queue.front().map(|deadline| deadline.at);
                let due = queue.len() > WAITING_MAX || first.is_some_and(|at| at <= Instant::now());
                if let Some(deadline) = queue.pop_front_if(|_| due) {
                    return deadline;
                }
                first
            };
            match first {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store_core::{Key, Revision};
    use tokio::time::Instant;

    use super::{Expiry, WAITING_MAX};

    const TTL: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn events_end_in_the_order_of_their_writing_and_not_before_their_time() {
        let expiry = Expiry::default();
        let begun = Instant::now();
        expiry.add(Key::from("a"), Revision(1), TTL);
        tokio::time::advance(Duration::from_secs(60)).await;
        expiry.add(Key::from("b"), Revision(2), TTL);
        assert_eq!(expiry.next().await.revision, Revision(1));
        assert_eq!(begun.elapsed().as_secs(), 3600);
        assert_eq!(expiry.next().await.revision, Revision(2));
        assert_eq!(begun.elapsed().as_secs(), 3660);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_the_oldest_end_at_once() {
        let expiry = Expiry::default();
        let begun = Instant::now();
        for n in 0..=WAITING_MAX as u64 {
            expiry.add(Key::from("a"), Revision(n), TTL);
        }
        assert_eq!(expiry.next().await.revision, Revision(0));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
