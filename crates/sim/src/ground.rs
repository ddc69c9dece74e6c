//! What all parts of one run share: the seed, the trace, the weather, the judges.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use client::{Place, Placer};
use meta::{ResourceVersion, Uid};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::control::Server;
use crate::coverage::Coverage;
use crate::oracle::Court;
use crate::process::{Process, VirtualClock};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::weather::Weather;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Id of the property, for example `S1`.
    pub property: &'static str,
    /// What happened, in a sentence.
    pub what: String,
    /// Virtual time, in milliseconds since the beginning.
    pub at_millis: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.property, self.what, crate::oracle::in_words(self.property))
    }
}

/// The process of a scheduler, and how it is asked.
type Placing = (Arc<Process>, Arc<dyn Placer>);

/// One run.
pub struct Ground {
    /// Decides everything.
    pub seed: u64,
    /// How many millionths clocks may run too fast or too slow.
    drift_ppm: u32,
    /// When it began.
    pub begun: Instant,
    /// The API server's own clock.
    pub server_clock: VirtualClock,
    /// Ends the run early: something is wrong.
    pub alarm: Notify,
    trace: Mutex<Trace>,
    coverage: Mutex<Coverage>,
    weather: Mutex<Weather>,
    court: Mutex<Court>,
    server: Mutex<Option<Arc<Server>>>,
    placer: Mutex<Option<Placing>>,
    server_rng: Mutex<Rng>,
    violation: Mutex<Option<Violation>>,
    processes: Mutex<Vec<Arc<Process>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// A clock that is right but for its drift, which is a machine's own.
fn drifting(seed: u64, ppm_max: u32, machine: &str, begun: Instant) -> VirtualClock {
    let all = Rng::of(seed, &format!("drift/{machine}")).below(2 * u64::from(ppm_max) + 1);
    VirtualClock::new(begun, i64::try_from(all).unwrap_or(0) - i64::from(ppm_max))
}

/// Waits while something is so, and looks every second: weather clears suddenly.
pub async fn while_it_lasts(left: impl Fn() -> Option<Duration>) {
    while let Some(left) = left() {
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

impl Ground {
    /// The ground of one run, at its beginning.
    pub fn new(scenario: &Scenario, keep_lines: bool) -> Arc<Self> {
        let (begun, seed) = (Instant::now(), scenario.seed);
        Arc::new(Self {
            seed,
            drift_ppm: scenario.drift_ppm,
            begun,
            server_clock: drifting(seed, scenario.drift_ppm, "server", begun),
            alarm: Notify::new(),
            trace: Mutex::new(Trace::new(keep_lines)),
            coverage: Mutex::default(),
            weather: Mutex::default(),
            court: Mutex::default(),
            server: Mutex::default(),
            placer: Mutex::default(),
            server_rng: Mutex::new(Rng::of(seed, "server")),
            violation: Mutex::default(),
            processes: Mutex::default(),
        })
    }

    /// An event of a set was written.
    pub fn told(&self, reason: &str) {
        self.count("set event", reason);
    }

    /// Virtual milliseconds since the beginning.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line to the trace.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let at = self.millis();
        lock(&self.trace).note(at, what);
    }

    /// The trace.
    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }

    /// Counts something reached.
    pub fn count(&self, group: &'static str, name: &str) {
        lock(&self.coverage).count(group, name);
    }

    /// What was reached.
    pub fn coverage(&self) -> MutexGuard<'_, Coverage> {
        lock(&self.coverage)
    }

    /// Faults that are in force.
    pub fn weather(&self) -> MutexGuard<'_, Weather> {
        lock(&self.weather)
    }

    /// The judges.
    pub fn court(&self) -> MutexGuard<'_, Court> {
        lock(&self.court)
    }

    /// A scheduler places pods at their creation, as long as its process is up.
    pub fn set_placer(&self, process: &Arc<Process>, placer: Arc<dyn Placer>) {
        *lock(&self.placer) = Some((Arc::clone(process), placer));
    }

    /// The API server that answers now.
    pub fn server(&self) -> Option<Arc<Server>> {
        lock(&self.server).clone()
    }

    /// Puts a server in place, or takes it away.
    pub fn set_server(&self, server: Option<Arc<Server>>) -> Option<Arc<Server>> {
        std::mem::replace(&mut *lock(&self.server), server)
    }

    /// Ends every part, and lets go of all that was judged: parts refer to each other and to the ground.
    pub async fn end(&self) {
        let server = self.set_server(None);
        if let Some(server) = server {
            server.kill().await;
        }
        let processes = std::mem::take(&mut *lock(&self.processes));
        processes.iter().for_each(|process| process.kill());
        tokio::time::sleep(Duration::from_secs(1)).await;
        *lock(&self.court) = Court::default();
        *lock(&self.trace) = Trace::new(false);
    }

    /// A number of the API server's chance.
    pub fn server_random(&self) -> u64 {
        lock(&self.server_rng).draw()
    }

    /// A new process of a name, with a clock that is right but for its drift.
    pub fn process(&self, name: &str) -> Arc<Process> {
        let mut processes = lock(&self.processes);
        let incarnation = processes.len() as u64 + 1;
        let clock = drifting(self.seed, self.drift_ppm, name, self.begun);
        let process = Process::new(self.seed, name, incarnation, clock);
        processes.push(Arc::clone(&process));
        process
    }

    /// Says that a promise was broken. The first one counts.
    pub fn violated(&self, property: &'static str, what: String) {
        let mut violation = lock(&self.violation);
        if violation.is_none() {
            self.note(format_args!("VIOLATION {property}: {what}"));
            *violation = Some(Violation { property, what, at_millis: self.millis() });
            self.alarm.notify_one();
        }
    }

    /// The promise that was broken first.
    pub fn violation(&self) -> Option<Violation> {
        lock(&self.violation).clone()
    }

    /// Says all that judges found.
    pub fn violated_all(&self, found: Vec<(&'static str, String)>) {
        for (property, what) in found {
            self.violated(property, what);
        }
    }

    /// Waits as long as the watches of a part stand still.
    pub async fn watches_stand_still(&self, part: &str, resource: &str) {
        while_it_lasts(|| self.weather().stalled_for(part, resource)).await;
    }

    /// Waits until a moment, or until nothing goes wrong any more.
    pub async fn until_or_fair(&self, at: Instant) {
        let left =
            || at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero() && !self.weather().is_fair());
        while_it_lasts(left).await;
    }

    /// Waits a drawn while.
    pub async fn linger(&self, process: &Process, max: Duration) {
        let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX);
        let micros = process.rng(|rng| rng.below(max + 1));
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
}

/// The way from the API server to the scheduler beside it: they are one process in the product, and two here.
#[derive(Debug)]
pub struct ToPlacer(pub Weak<Ground>);

impl ToPlacer {
    fn ask<T>(&self, question: impl FnOnce(&Ground, &Process, &dyn Placer) -> T) -> Option<T> {
        let ground = self.0.upgrade()?;
        let (process, placer) = lock(&ground.placer).clone()?;
        Some(question(&ground, &process, placer.as_ref()))
    }
}

impl Placer for ToPlacer {
    fn place(&self, pod: &Value) -> Option<Place> {
        self.ask(|ground, process, placer| {
            let place = process.is_up().then(|| placer.place(pod))??;
            ground.count("event", "placed at its creation");
            Some(place)
        })?
    }

    fn stored(&self, pod: &Uid, revision: ResourceVersion) {
        self.ask(|_, _, placer| placer.stored(pod, revision));
    }

    fn give_back(&self, pod: &Uid) {
        self.ask(|_, _, placer| placer.give_back(pod));
    }
}
