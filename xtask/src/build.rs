//! Building the product with what it needs from Debian.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use conformance::{Tools, root_folder, say};

/// Debian packages without which Roadstead does not build.
const TO_BUILD: [&str; 4] = ["libseccomp-dev", "gcc", "libc6-dev", "pkg-config"];
/// Debian packages without which it does not run.
const TO_RUN: [&str; 5] = ["nftables", "iproute2", "kmod", "procps", "util-linux"];

/// What the tests select. A program of theirs is built with the same selection: with another one cargo chooses other
/// features for what all depend on, and builds that a second time.
pub const TESTED: [&str; 3] = ["--workspace", "--exclude", "conformance"];

/// How the product is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// As tests use it.
    Dev,
    /// As the demo shows it.
    Release,
    /// As users get it.
    Dist,
}

impl Profile {
    /// Cargo's folder for it.
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// Installs what building and running need.
///
/// # Errors
/// If apt fails.
pub fn install_packages() -> Result<()> {
    Tools::install_packages(&TO_BUILD)?;
    Tools::install_packages(&TO_RUN)
}

/// Builds the binary; returns its path.
///
/// # Errors
/// If it does not build.
pub fn build(profile: Profile) -> Result<PathBuf> {
    install_packages()?;
    say(match profile {
        Profile::Dev => "building roadstead",
        Profile::Release => "building roadstead (release; the first time takes some minutes)",
        Profile::Dist => "building roadstead (dist; the first time takes a quarter of an hour)",
    });
    let mut command = cargo();
    command.arg("build");
    match profile {
        Profile::Dev => command.args(TESTED).args(["--bin", "roadstead"]),
        Profile::Release => command.args(["--package", "roadstead", "--release"]),
        Profile::Dist => command.args(["--package", "roadstead", "--profile", "dist"]),
    };
    stream(&mut command)?;
    Ok(target_folder().join(profile.folder()).join("roadstead"))
}

/// Where cargo builds.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root_folder().join("target"), PathBuf::from)
}

/// A cargo command at the checkout's root, like one that somebody types there: the build script of `ring` runs again, and
/// with it half of the build, when it sees the variables by which the cargo that runs us describes this package.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let of_package =
            name.to_str().is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p)));
        if of_package {
            command.env_remove(name);
        }
    }
    command.current_dir(root_folder());
    command
}

/// Runs a command whose output the person at the terminal wants to see.
///
/// # Errors
/// If it fails.
pub fn stream(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
