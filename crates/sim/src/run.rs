//! One run of a scenario, from the empty disk to the verdict.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clients::Person;
use crate::coverage::Coverage;
use crate::ears;
use crate::ground::{Ground, Violation};
use crate::liveness;
use crate::scenario::{Act, Fault, Scenario, Trouble};
use crate::weather::Mishap;
use crate::world::World;

/// Longest time for everything to come right after the faults ended: by clocks that are minutes ahead of each other, each
/// pod of an ordered set is available minutes late.
const SETTLE_SECS_MAX: u64 = 1_800;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash of everything that happened.
    pub hash: u64,
    /// How many entries the trace has.
    pub entries: u64,
    /// Commits of the store.
    pub commits: usize,
    /// Virtual seconds from the end of the faults until everything was right.
    pub settled_after_secs: f64,
    /// The promise that was broken first.
    pub violation: Option<Violation>,
    /// What was reached.
    pub coverage: Coverage,
    /// The trace, if it was kept.
    pub lines: Vec<String>,
}

/// Runs a scenario on a runtime of its own, in virtual time.
///
/// # Panics
/// If the machine cannot make a runtime.
pub fn run(scenario: &Scenario, keep_lines: bool) -> Outcome {
    meta::mutants::switch_on(scenario.mutant);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let ears = ears::listen();
    let outcome = runtime.block_on(play(scenario, keep_lines, &ears));
    drop(runtime);
    outcome
}

async fn play(scenario: &Scenario, keep_lines: bool, ears: &ears::Ears) -> Outcome {
    let ground = Ground::new(scenario, keep_lines);
    declare(&mut ground.coverage());
    let settled = tokio::select! {
        biased;
        () = ground.alarm.notified() => None,
        settled = perform(&ground, scenario, ears) => settled,
    };
    if let Some(said) = ears.first() {
        ground.violated(said.property, said.what);
    }
    let (hash, entries, lines) = {
        let trace = ground.trace();
        (trace.digest(), trace.entries(), trace.lines().to_vec())
    };
    let commits = ground.court().history.len();
    let coverage = ground.coverage().clone();
    let settled_after_secs = settled.unwrap_or_default().as_secs_f64();
    let outcome =
        Outcome { hash, entries, commits, settled_after_secs, violation: ground.violation(), coverage, lines };
    ground.end().await;
    outcome
}

async fn perform(ground: &Arc<Ground>, scenario: &Scenario, ears: &ears::Ears) -> Option<Duration> {
    let world = World::start(ground, scenario);
    let process = ground.process("client");
    let person = Person::new(world.client(&process, "admin"));
    liveness::wait_for_server(ground).await;
    let begun = Instant::now();
    let errands = TaskTracker::new();
    for step in &scenario.steps {
        tokio::time::sleep_until(begun + step.at).await;
        ground.note(format_args!("{step}"));
        if let Act::Fault(fault) = &step.act {
            world.befall(fault).await;
        } else {
            ground.count("client", step.act.name());
            let (person, act, ground) = (person.clone(), step.act.clone(), Arc::clone(ground));
            errands.spawn(async move {
                if let Err(status) = person.perform(&act).await {
                    ground.note(format_args!("client: {} is refused: {}", act.name(), status.code));
                }
            });
        }
        report(ground, ears);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.calm_down();
    errands.close();
    errands.wait().await;
    let settled = liveness::come_right(ground, &person, Duration::from_secs(SETTLE_SECS_MAX)).await?;
    liveness::stay_right(ground, &world).await;
    report(ground, ears);
    Some(settled)
}

fn report(ground: &Ground, ears: &ears::Ears) {
    if let Some(said) = ears.first() {
        ground.violated(said.property, said.what);
    }
}

fn declare(coverage: &mut Coverage) {
    coverage.declare("fault", &Fault::NAMES);
    coverage.declare("fault", &Mishap::ALL.map(Mishap::name));
    coverage.declare("fault", &Trouble::ALL.map(Trouble::name));
    coverage.declare("client", &Act::NAMES);
    crate::branches::declare(coverage);
}
