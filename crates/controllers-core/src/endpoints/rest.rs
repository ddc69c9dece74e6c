//! How often a large Service's lists may be written (decision 23).

use std::time::Duration;

use meta::Timestamp;

/// Rest for each listed pod: a few times what writing it costs, so that a Service whose pods change all the time takes a
/// part of one core and no more.
const REST_PER_MEMBER: Duration = Duration::from_micros(250);
/// Longest rest.
const REST_MAX: Duration = Duration::from_millis(50);

/// After lists were written they rest for a while that grows with their length: what changes meanwhile is written
/// together. A first change never waits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rest {
    until: Option<Timestamp>,
}

impl Rest {
    /// The rest after so many listed pods were written.
    pub fn after(now: Timestamp, members: usize) -> Self {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let rest = REST_PER_MEMBER.saturating_mul(members).min(REST_MAX);
        Self { until: now.checked_add(rest).ok() }
    }

    /// Until when nothing is to be written; `None` if now is right. A clock that was set back ends the rest.
    pub fn lasts(&self, now: Timestamp) -> Option<Timestamp> {
        let latest = now.checked_add(REST_MAX).unwrap_or(Timestamp::MAX);
        self.until.filter(|until| now < *until && *until <= latest)
    }
}
