//! Where the server takes time and chance from.

use std::sync::Arc;

use meta::Timestamp;

/// The time and the chance of one server: the machine's, or a simulator's.
#[derive(Clone)]
pub struct TimeAndChance {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for TimeAndChance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TimeAndChance")
    }
}

impl TimeAndChance {
    /// The machine's clock and its source of randomness.
    pub fn machine() -> Self {
        Self { now: Arc::new(meta::clock::now), random: Arc::new(rand::random) }
    }

    /// Others, for tests and simulation.
    pub fn injected(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), random: Arc::new(random) }
    }

    /// The moment.
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Any number.
    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    /// A UUID of version 4.
    pub(crate) fn uuid(&self) -> String {
        let (high, low) = (u128::from(self.random()), u128::from(self.random()));
        uuid::Builder::from_random_bytes(((high << 64) | low).to_be_bytes()).into_uuid().to_string()
    }
}
