//! `sim`: plays seeds, twice each, and says which promise which seed breaks.

use std::process::ExitCode;

use clap::Parser;
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
    /// Print the trace
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut failed = false;
    for seed in cli.seed..cli.seed + cli.seeds {
        let scenario = Scenario::of(seed);
        let begun = std::time::Instant::now();
        let (one, two) = (run(&scenario, true), run(&scenario, true));
        println!(
            "seed {seed}: {:016x} {:016x} {} entries {} commits settled {:.1} s, {:?} a pair",
            one.hash,
            two.hash,
            one.entries,
            one.commits,
            one.settled_after_secs,
            begun.elapsed()
        );
        if let Some(violation) = &one.violation {
            println!("  {violation}");
            failed = true;
        }
        if one.hash != two.hash {
            failed = true;
            let differ = one.lines.iter().zip(&two.lines).position(|(a, b)| a != b);
            if let Some(at) = differ {
                println!("  first difference in line {at}:\n   {}\n   {}", one.lines[at], two.lines[at]);
            }
        }
        if cli.trace {
            one.lines.iter().for_each(|line| println!("{line}"));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
