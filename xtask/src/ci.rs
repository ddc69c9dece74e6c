//! `cargo xtask ci`: what CI runs, and the README's test command.

use anyhow::Result;
use conformance::{Kubectl, TestImage, Tools, build_image, say};

use crate::build::{self, Profile, cargo, stream};
use crate::{sim, spelling, supply, tidy};

/// Arguments of `ci`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the scenarios with real containers (they need root)
    #[arg(long)]
    without_scenarios: bool,
}

/// Nothing here is published: a crate's page may lead to its private modules.
const RUSTDOC: &str = "--deny warnings --allow rustdoc::private_intra_doc_links";

/// Seeds of the simulator that every change has to live through.
const SEEDS: u64 = 500;

/// Runs everything; stops at the first failure.
///
/// # Errors
/// The step that failed.
pub fn run(args: &Args) -> Result<()> {
    build::install_packages()?;
    say("format");
    stream(cargo().args(["fmt", "--all", "--check"]))?;
    rules()?;
    say("lints");
    stream(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    say("documentation");
    stream(cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", RUSTDOC))?;
    say("tests");
    Tools::install_packages(&["busybox-static", "docker-registry", "redis-tools", "skopeo"])?;
    stream(cargo().args(["test", "--quiet"]).args(build::TESTED))?;
    say(&format!("the simulator: {SEEDS} seeds, each twice"));
    sim::play(SEEDS)?;
    say("the simulator: every known bug, switched on one at a time");
    sim::hunt()?;
    if !args.without_scenarios {
        scenarios()?;
    }
    say("all green");
    Ok(())
}

/// The rules that need no build, so they come early; also `cargo xtask tidy`.
///
/// # Errors
/// The first rule that is broken.
pub fn rules() -> Result<()> {
    say("the project's own rules");
    tidy::run()?;
    say("licences, bans, sources, unused dependencies");
    supply::run()?;
    say("spelling");
    spelling::run()
}

fn scenarios() -> Result<()> {
    say("scenarios with real kubectl and real containers");
    let binary = build::build(Profile::Dev)?;
    let tools = Tools::new();
    for which in [Kubectl::Newest, Kubectl::Oldest] {
        tools.install_kubectl(which)?;
    }
    for image in [TestImage::Redis, TestImage::Busybox] {
        build_image(image)?;
    }
    // One at a time: each has a cluster of its own, and two cores are soon full.
    stream(
        cargo()
            .args(["test", "--package", "conformance", "--test", "scenarios", "--", "--test-threads=1"])
            .env("ROADSTEAD_BINARY", binary),
    )
}
