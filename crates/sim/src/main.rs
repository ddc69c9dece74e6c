//! `sim`: plays seeds, twice each, and says which promise which seed breaks.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::replay::{self, Plan};
use sim::run::run;
use sim::scenario::Scenario;

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
    if cli.trace || !cli.without.is_empty() { one(&cli) } else { many(&cli) }
}

fn one(cli: &Cli) -> ExitCode {
    let scenario = Scenario::of(cli.seed).without(&cli.without);
    let (outcome, again) = (run(&scenario, true), run(&scenario, true));
    outcome.lines.iter().for_each(|line| println!("{line}"));
    println!("seed {}: trace {:016x}, {} commits", cli.seed, outcome.hash, outcome.commits);
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

fn many(cli: &Cli) -> ExitCode {
    let began = Instant::now();
    let plan = Plan { seed: cli.seed, seeds: cli.seeds, jobs: cli.jobs, failures_max: cli.failures };
    let summary = replay::play(plan, &|done, failure| {
        if let Some(failure) = failure {
            println!("{}", failure.tell());
        }
        if done.is_multiple_of(100) {
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
