//! Spelling of everything in the checkout, by `typos` (typos.toml).

use std::process::Command;

use anyhow::Result;
use conformance::{Tools, root_folder};

use crate::build::stream;

/// Checks it; findings are printed.
///
/// # Errors
/// If a word is misspelled, or typos cannot be installed.
pub fn run() -> Result<()> {
    let typos = Tools::new().install_typos()?;
    stream(Command::new(typos).args(["--format", "brief"]).current_dir(root_folder()))
}
