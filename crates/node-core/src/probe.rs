//! One probe of one container instance: when it is due, and what its results mean.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use meta::Timestamp;

use crate::after;
use crate::step::{ProbeKind, ProbeOutcome};

/// First wait between the early tries of a probe that never succeeded; grows by half each time until the regular period
/// takes over for good (about three periods after the start).
///
/// Upstream asks once a period, so a container that is ready 5 ms after its start is noticed up to a second late. An
/// early try that fails counts for nothing: no threshold, no event. Only readiness and startup probes have them.
const EARLY_WAIT: Duration = Duration::from_millis(10);

/// A change of a probe's verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing new.
    Same,
    /// From failing to well.
    Well,
    /// From well to failing.
    Failing,
}

#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) kind: ProbeKind,
    timeout: Duration,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    well: bool,
    ever_well: bool,
    has_begun: bool,
    has_failed: bool,
    successes: u32,
    failures: u32,
    next_regular: Timestamp,
    next_early: Option<(Timestamp, Duration)>,
    in_flight: Option<Attempt>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    Regular,
    Early,
}

fn secs(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(default))
}

fn count(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0).unwrap_or(default)
}

impl Probe {
    /// A probe of an instance that was started at `started`; `well` is its verdict until it has asked.
    pub(crate) fn new(kind: ProbeKind, spec: &core::Probe, started: Timestamp, now: Timestamp, well: bool) -> Self {
        let first = after(started, secs(spec.initial_delay_seconds, 0)).max(now);
        Self {
            kind,
            timeout: secs(spec.timeout_seconds, 1).max(Duration::from_secs(1)),
            period: secs(spec.period_seconds, 10).max(Duration::from_secs(1)),
            success_threshold: count(spec.success_threshold, 1),
            failure_threshold: count(spec.failure_threshold, 3),
            well,
            ever_well: well && kind != ProbeKind::Liveness,
            has_begun: false,
            has_failed: false,
            successes: 0,
            failures: 0,
            next_regular: first,
            next_early: None,
            in_flight: None,
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        self.well
    }

    /// When the next attempt is due; `None` while one is under way.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        match (self.in_flight, self.next_early) {
            (Some(_), _) => None,
            (None, Some((early, _))) => Some(early.min(self.next_regular)),
            (None, None) => Some(self.next_regular),
        }
    }

    /// Begins an attempt if one is due; returns its time limit.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Option<Duration> {
        if self.next_at()? > now {
            return None;
        }
        if self.next_regular <= now {
            self.in_flight = Some(Attempt::Regular);
            self.next_regular = after(now, self.period);
            if !self.ever_well && self.kind != ProbeKind::Liveness && !self.has_begun {
                self.next_early = Some((after(now, EARLY_WAIT), EARLY_WAIT));
            }
            self.has_begun = true;
        } else {
            self.in_flight = Some(Attempt::Early);
        }
        Some(self.timeout)
    }

    /// Takes over a verdict that was reached before (S24): a container that was ready stays ready until its probe says
    /// otherwise as often as its threshold wants.
    pub(crate) fn carry(&mut self, well: bool) {
        self.well = well;
        self.ever_well = self.ever_well || well;
    }

    /// Makes the next attempt regular and due now: something that it depends on has just happened.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.next_regular = self.next_regular.min(now);
    }

    /// Takes a result; returns what it changes and whether a failure is worth telling.
    pub(crate) fn take(&mut self, outcome: &ProbeOutcome, now: Timestamp) -> (Verdict, bool) {
        let Some(attempt) = self.in_flight.take() else { return (Verdict::Same, false) };
        if *outcome == ProbeOutcome::Success {
            self.failures = 0;
            self.successes += 1;
            self.ever_well = true;
            self.next_early = None;
            if self.well || self.successes < self.success_threshold {
                return (Verdict::Same, false);
            }
            self.well = true;
            return (Verdict::Well, false);
        }
        self.successes = 0;
        if let Some((due, wait)) = self.next_early
            && due <= now
        {
            let wait = wait * 3 / 2;
            self.next_early = (wait < self.period).then(|| (after(now, wait), wait));
        }
        if attempt == Attempt::Early {
            return (Verdict::Same, false);
        }
        self.failures += 1;
        // The very first try comes when the program has hardly begun: its failure is no news.
        let tell = self.kind == ProbeKind::Liveness || self.has_failed || self.ever_well;
        self.has_failed = true;
        if self.failures < self.failure_threshold {
            return (Verdict::Same, tell);
        }
        let was_well = std::mem::replace(&mut self.well, false);
        // A liveness or startup probe that reaches its threshold asks for a restart even if it never was well.
        let failing = was_well || self.kind == ProbeKind::Startup;
        if failing {
            self.failures = 0;
        }
        (if failing { Verdict::Failing } else { Verdict::Same }, tell || failing)
    }
}
