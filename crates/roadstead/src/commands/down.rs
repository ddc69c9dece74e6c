//! `roadstead down`: a graceful node shutdown.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::DownArgs;
use crate::instance::Instance;

/// Stops the cluster; deletes its data if asked and confirmed.
///
/// # Errors
/// If it does not stop in time, or the data cannot be deleted.
pub async fn run(args: &DownArgs) -> Result<ExitCode> {
    let instance = Instance::from_args(&args.instance)?;
    if args.delete_data && !args.yes && !confirm(&instance)? {
        eprintln!("nothing was stopped or deleted");
        return Ok(ExitCode::FAILURE);
    }
    match instance.server_pid()? {
        Some(pid) => {
            stop(pid, args).await?;
            eprintln!("cluster {:?} is down", instance.name);
        }
        None => eprintln!("cluster {:?} does not run", instance.name),
    }
    if args.delete_data && instance.data.exists() {
        server::remove_everything(&instance.data).await?;
        eprintln!("deleted {}", instance.data.display());
    } else if instance.data.exists() {
        eprintln!("its data is kept in {}; `roadstead up` brings the pods back", instance.data.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn confirm(instance: &Instance) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("--delete-data asks first, and there is no terminal to ask on: add --yes");
    }
    eprint!(
        "Delete all objects, volumes and images of cluster {:?} in {}? Type yes: ",
        instance.name,
        instance.data.display()
    );
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

async fn stop(pid: u32, args: &DownArgs) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the pid file holds no process id")?;
    // A pidfd names this process even if its number is given to another meanwhile.
    let process = pidfd_open(pid, PidfdFlags::empty()).context("open the server process")?;
    eprintln!("stopping pods, highest ordinal first");
    pidfd_send_signal(&process, Signal::TERM).context("signal the server")?;
    let limit = Timespec { tv_sec: i64::try_from(args.timeout.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    let ended = tokio::task::spawn_blocking(move || {
        // A pidfd becomes readable when its process has ended.
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit))
    });
    if ended.await?? > 0 {
        return Ok(());
    }
    bail!(
        "the server (process {}) has not stopped within {} s: a pod may have a long grace period; wait longer with \
         --timeout, or look into its log",
        pid.as_raw_nonzero(),
        args.timeout.as_secs()
    )
}
