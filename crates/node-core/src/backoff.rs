//! Waiting longer each time.

use std::time::Duration;

use meta::Timestamp;

use crate::after;

/// Doubles from a first wait up to a longest one, and forgets after twice the longest wait without a failure.
///
/// Source for containers and image pulls: 10 s doubling to 5 min, reset after 10 min (Kubernetes documentation, pod
/// lifecycle).
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    current: Option<(Duration, Timestamp)>,
}

impl Backoff {
    /// A back-off that has not been used.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, current: None }
    }

    /// For containers that end and images that cannot be pulled.
    pub const fn container() -> Self {
        Self::new(Duration::from_secs(10), Duration::from_secs(300))
    }

    /// For steps that hang on something else in the cluster or on this machine.
    pub const fn step() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(122))
    }

    /// How long to wait after something that ended at `ended`, counted from there; zero the first time.
    pub fn wait(&self, ended: Timestamp) -> Duration {
        match self.current {
            Some((wait, updated)) if !self.is_forgotten(updated, ended) => wait,
            _ => Duration::ZERO,
        }
    }

    /// Notes one more try at `now`: the next wait is twice as long.
    pub fn grow(&mut self, now: Timestamp) {
        let next = match self.current {
            Some((wait, updated)) if !self.is_forgotten(updated, now) => (wait * 2).min(self.longest),
            _ => self.first,
        };
        self.current = Some((next, now));
    }

    /// Notes a failure at `now` and says when to try again.
    pub fn fail(&mut self, now: Timestamp) -> Timestamp {
        self.grow(now);
        after(now, self.wait(now))
    }

    /// Forgets everything: it worked.
    pub fn reset(&mut self) {
        self.current = None;
    }

    fn is_forgotten(&self, updated: Timestamp, now: Timestamp) -> bool {
        now > after(updated, self.longest * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_longest_wait_and_forgets_after_twice_that() {
        let mut backoff = Backoff::container();
        let mut now = Timestamp::UNIX_EPOCH;
        assert_eq!(backoff.wait(now), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoff.grow(now);
            waits.push(backoff.wait(now).as_secs());
            now = after(now, backoff.wait(now));
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.wait(after(now, Duration::from_secs(601))), Duration::ZERO);
    }
}
