//! Running foreign programs and saying so.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; 128 + signal if it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a success.
    ///
    /// # Errors
    /// With everything it printed, if the exit code is not 0.
    pub fn success(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}\nstdout: {}\nstderr: {}", self.code, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// Prints one line of progress.
pub fn say(line: &str) {
    eprintln!("==> {line}");
}

/// Runs a program to its end and collects what it prints.
///
/// # Errors
/// If it cannot be started; a bad exit code is not an error.
pub fn run(command: &mut Command) -> Result<Output> {
    let shown = format!("{command:?}");
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start {shown}"))?;
    let code = done.status.code().unwrap_or_else(|| {
        use std::os::unix::process::ExitStatusExt;
        128 + done.status.signal().unwrap_or(0)
    });
    Ok(Output {
        code,
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}
