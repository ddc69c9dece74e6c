//! `cargo xtask fuzz`: the fuzzers of `fuzz/`, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use conformance::{Tools, root_folder, say};

use crate::build::{self, stream};

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this target; all if left out
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// A file to run once instead, such as a crash that was found before
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

/// Memory of one run beyond which it is a find, in MiB.
const MEMORY_MIB_MAX: u32 = 2_048;
/// Time of one run beyond which it is a find, in seconds.
const RUN_SECS_MAX: u32 = 10;
/// Longest input that is made up, in bytes.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// Builds and runs the fuzzers with the address sanitizer; stops at the first find.
///
/// The corpus grows under the build folder and is kept for the next run; `fuzz/seeds` is where it begins.
///
/// # Errors
/// If a target finds something; the input lies in `fuzz/artifacts` then.
pub fn run(args: &Args) -> Result<()> {
    build::install_packages()?;
    Tools::install_packages(&["g++"])?;
    let cargo_fuzz = Tools::new().install_cargo_fuzz()?;
    let root = root_folder();
    let built = build::target_folder().join("fuzz");
    // The versions that the product has.
    fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"))?;
    say("building the fuzzers (the first time takes some minutes)");
    stream(fuzz(&cargo_fuzz, "build", &built).args(&args.target))?;
    for target in targets(&root)? {
        if args.target.as_ref().is_some_and(|only| *only != target) {
            continue;
        }
        let mut command = fuzz(&cargo_fuzz, "run", &built);
        command.arg(&target);
        if let Some(input) = &args.input {
            return stream(command.arg(input));
        }
        say(&format!("fuzzing {target} for {} seconds", args.seconds));
        let corpus = built.join("corpus").join(&target);
        fs::create_dir_all(&corpus)?;
        let limits = [
            format!("-max_total_time={}", args.seconds),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            format!("-timeout={RUN_SECS_MAX}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            "-print_final_stats=1".to_owned(),
        ];
        stream(command.arg(&corpus).arg(root.join("fuzz/seeds").join(&target)).arg("--").args(limits))?;
    }
    Ok(())
}

/// A cargo-fuzz command. The compiler is a stable one: it is told to know the sanitizer all the same.
fn fuzz(cargo_fuzz: &Path, verb: &str, built: &Path) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command.current_dir(root_folder()).env("RUSTC_BOOTSTRAP", "1").arg("fuzz").arg(verb).arg("--target-dir").arg(built);
    command
}

/// Names of all targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        match path.file_stem().and_then(|name| name.to_str()) {
            Some(name) => names.push(name.to_owned()),
            None => bail!("{} is no name of a target", path.display()),
        }
    }
    names.sort();
    Ok(names)
}
