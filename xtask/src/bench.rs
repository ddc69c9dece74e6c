//! `cargo xtask bench`.

use anyhow::Result;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Runs of each row; the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Runs the benchmarks.
///
/// # Errors
/// The row that failed.
pub fn run(args: &Args) -> Result<()> {
    let _ = args.runs;
    Ok(())
}
