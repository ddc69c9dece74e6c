//! `cargo xtask sim`: whole clusters by seed, with faults, judged; see `crates/sim`.

use std::process::Command;

use anyhow::Result;
use conformance::{root_folder, say};

use crate::build::{self, cargo, stream};

/// Arguments of `sim`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds; each is played twice and must give the same trace
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave these steps of the one seed out, as a failure's replay says
    #[arg(long)]
    without: Option<String>,
    /// Print the whole trace of the one seed
    #[arg(long)]
    trace: bool,
    /// Play one story, a script written by hand, instead of a seed
    #[arg(long)]
    story: Option<String>,
    /// Switch a known bug on
    #[arg(long)]
    mutant: Option<String>,
    /// Re-create every known bug in turn, say what kills it, and write docs/mutants.md
    #[arg(long)]
    mutants: bool,
    /// Threads side by side
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    /// Print the table of what was reached
    #[arg(long)]
    coverage: bool,
}

/// Builds the simulator and plays.
///
/// # Errors
/// If a seed breaks a promise; what and how to replay it was printed then.
pub fn run(args: &Args) -> Result<()> {
    let mut command = simulator()?;
    command.args(["--seeds", &args.seeds.to_string(), "--seed", &args.seed.to_string()]);
    command.args(["--jobs", &args.jobs.to_string()]);
    for (flag, value) in [("--without", &args.without), ("--mutant", &args.mutant), ("--story", &args.story)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    for (flag, is_on) in [("--trace", args.trace), ("--mutants", args.mutants), ("--coverage", args.coverage)] {
        if is_on {
            command.arg(flag);
        }
    }
    if args.mutants {
        command.arg("--page").arg(root_folder().join("docs/mutants.md"));
    }
    stream(&mut command)
}

/// Plays the first seeds, for CI.
///
/// # Errors
/// As [`run`].
pub fn play(seeds: u64) -> Result<()> {
    stream(simulator()?.args(["--seeds", &seeds.to_string()]))
}

/// Re-creates every known bug, for CI.
///
/// # Errors
/// If nothing notices one of them.
pub fn hunt() -> Result<()> {
    stream(simulator()?.arg("--mutants"))
}

/// The simulator, built with the profile of the tests: it is optimised, and its assertions are on.
fn simulator() -> Result<Command> {
    build::install_packages()?;
    say("building the simulator");
    stream(cargo().args(["build", "--quiet"]).args(build::TESTED).args(["--bin", "sim"]))?;
    Ok(Command::new(build::target_folder().join("debug/sim")))
}
