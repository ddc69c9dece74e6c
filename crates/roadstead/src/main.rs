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
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Not clap's 2, which is an answer of `plan` and `why`. Help and the version are no mistakes.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
