//! `sim`: plays seeds, twice each, and says which promise which seed breaks.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use sim::mutants;
use sim::replay::{self, Plan};
use sim::run::run;
use sim::scenario::Scenario;
use sim::stories::{self, Story};

#[derive(Parser)]
#[command(name = "sim", about = "Plays whole clusters by seed, with faults, and judges them")]
struct Cli {
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave these steps of the seed out
    #[arg(long, value_delimiter = ',')]
    without: Vec<usize>,
    /// Print the whole trace of the first seed
    #[arg(long)]
    trace: bool,
    /// Play this story instead of a seed
    #[arg(long)]
    story: Option<String>,
    /// Write the page about the known bugs there
    #[arg(long)]
    page: Option<std::path::PathBuf>,
    /// Switch a known bug on
    #[arg(long)]
    mutant: Option<String>,
    /// Re-create every known bug in turn and say which seed kills it
    #[arg(long)]
    mutants: bool,
    /// Threads side by side
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Stop after so many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Print the table of what was reached
    #[arg(long)]
    coverage: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.mutants {
        return hunt(&cli);
    }
    let is_one = cli.trace || !cli.without.is_empty() || cli.mutant.is_some() || cli.story.is_some();
    if is_one { one(&cli) } else { many(&cli) }
}

fn one(cli: &Cli) -> ExitCode {
    let whole = match &cli.story {
        None => Scenario::of(cli.seed),
        Some(name) => {
            let Some(story) = Story::named(name) else {
                println!("there is no story {name:?}; these are known:");
                stories::ALL.iter().for_each(|story| println!("  {}: {}", story.name, story.what));
                return ExitCode::FAILURE;
            };
            story.scenario()
        }
    };
    let mut scenario = whole.without(&cli.without);
    if let Some(name) = &cli.mutant {
        let known = mutants::ALL.iter().find(|mutant| mutant.name == name);
        let Some(known) = known else {
            println!("there is no mutant {name:?}; these are known:");
            mutants::ALL.iter().for_each(|mutant| println!("  {}", mutant.name));
            return ExitCode::FAILURE;
        };
        scenario.mutant = Some(known.name);
    }
    let (outcome, again) = (run(&scenario, true), run(&scenario, true));
    if cli.trace {
        outcome.lines.iter().for_each(|line| println!("{line}"));
    }
    println!("{}: trace {:016x}, {} commits", scenario.name(), outcome.hash, outcome.commits);
    let differ = outcome.lines.iter().zip(&again.lines).find(|(a, b)| a != b);
    if outcome.hash != again.hash {
        println!("the second run differs ({:016x}), first here: {differ:?}", again.hash);
        return ExitCode::FAILURE;
    }
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

/// Seeds that a mutant may live through before it counts as alive.
const SEEDS_MAX: u64 = 100;

fn hunt(cli: &Cli) -> ExitCode {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let fates = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cli.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(mutant) = mutants::ALL.get(index) else { return };
                    let fate = mutants::hunt(*mutant, cli.seed, cli.seeds.max(SEEDS_MAX));
                    eprintln!("{}: {:?} of {} seeds", mutant.name, fate.killed, fate.played);
                    fates.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, fate));
                }
            });
        }
    });
    let mut fates = fates.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    fates.sort_by_key(|(index, _)| *index);
    let fates: Vec<_> = fates.into_iter().map(|(_, fate)| fate).collect();
    print!("{}", mutants::table(&fates));
    if let Some(path) = &cli.page {
        let now = meta::Timestamp::now().to_string();
        let day = now.split('T').next().unwrap_or_default();
        if let Err(error) = std::fs::write(path, mutants::page(&fates, day, cli.seeds.max(SEEDS_MAX))) {
            println!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    let alive = fates.iter().filter(|fate| fate.killed.is_none()).count();
    println!("{} of {} killed", fates.len() - alive, fates.len());
    if alive == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(cli: &Cli) -> ExitCode {
    let began = Instant::now();
    let plan =
        Plan { seed: cli.seed, seeds: cli.seeds, jobs: cli.jobs, failures_max: cli.failures, stories: cli.seeds > 1 };
    let summary = replay::play(plan, &|done, failure| {
        if let Some(failure) = failure {
            println!("{}", failure.tell());
        }
        if done > 0 && done.is_multiple_of(50) {
            eprintln!("{done} of {} seeds, {:.0} s", cli.seeds, began.elapsed().as_secs_f64());
        }
    });
    if cli.coverage {
        println!("{}", summary.coverage.table());
    }
    println!(
        "{} seeds twice in {:.1} s: {} commits, {} faults, everything right at most {:.0} s after the last fault, {} failures",
        summary.seeds,
        began.elapsed().as_secs_f64(),
        summary.commits,
        summary.faults,
        summary.settled_secs_max,
        summary.failures.len()
    );
    for (group, name) in summary.coverage.unreached() {
        println!("never reached: {group}: {name}");
    }
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
