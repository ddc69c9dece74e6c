//! All automation of the project, in Rust: `cargo xtask ci | tidy | statements | sim | fuzz | demo | bench | codegen`.

mod bench;
mod build;
mod ci;
mod codegen;
mod demo;
mod fuzz;
mod sim;
mod spelling;
mod statements;
mod supply;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "All automation of the project")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything CI runs: format, lints, tests, the rules of `tidy`, and the scenarios with real programs
    Ci(ci::Args),
    /// The rules that need no build: layers, file sizes, forbidden words, licences, unused dependencies, spelling
    Tidy,
    /// The fuzzers: each parser of outside bytes for a while, or one of them
    Fuzz(fuzz::Args),
    /// Every statement of the StatefulSet specification, and what keeps it (docs/statements.toml)
    Statements,
    /// The simulator: whole clusters by seed, with faults, judged
    Sim(sim::Args),
    /// The main job on a fresh machine: three real Redis pods from YAML to ready
    Demo(demo::Args),
    /// The benchmarks; writes the table of docs/benchmarks.md
    Bench(bench::Args),
    /// Rebuilds the schema table of `crates/api` from upstream's published definitions (needs pip and go)
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Ci(args) => ci::run(&args),
        Command::Tidy => ci::rules(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Statements => statements::run(),
        Command::Sim(args) => sim::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run_all(&args),
        Command::Codegen(args) => codegen::run(&args),
    }
}
