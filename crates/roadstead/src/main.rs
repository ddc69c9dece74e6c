//! The `roadstead` program.
//!
//! Here live flags, commands and terminal output. What is not here: everything else; `server` assembles it. Start with
//! [`cli`] for what can be typed and `commands/` for what it does.

mod apply;
mod cli;
mod commands;
mod gather;
mod instance;
mod manifest;
mod progress;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The helper of a pod must be single-threaded from its first instruction: it is told apart before anything else.
    container_runtime::helper_main();
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
