//! `roadstead up --foreground`: the server itself.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::up::notify;
use crate::cli::UpArgs;
use crate::instance::Instance;
use crate::terminal;

/// Runs the server until SIGTERM or SIGINT (a graceful node shutdown: pods are stopped) or SIGQUIT (pods go on).
///
/// # Errors
/// If a part cannot start.
pub fn run(args: &UpArgs) -> Result<ExitCode> {
    let filter = EnvFilter::try_from_env("ROADSTEAD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(server::WORKER_THREADS)
        .max_blocking_threads(server::BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let ended = runtime.block_on(serve(args));
    if let Err(error) = &ended {
        let _ = notify(args.notify_fd, &terminal::sentence(error));
    }
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(args: &UpArgs) -> Result<()> {
    let instance = Instance::from_args(&args.instance)?;
    let _claim = instance.claim()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let config = server::Config {
        name: instance.name.clone(),
        data: instance.data.clone(),
        listen: args.listen,
        node_name: args.node_name.clone().unwrap_or_else(server::host_name),
        pods_max: args.max_pods,
        heal_rollout: args.heal_rollout,
    };
    let running = server::Server::start(config).await?;
    if args.virtual_args.virtual_nodes > 0 {
        super::virtual_nodes::ensure(&super::connect(&instance).await?, &args.virtual_args).await?;
    }
    notify(args.notify_fd, &format!("ready {}\n", running.address()))?;
    let shutdown = tokio::select! {
        biased;
        _ = quit.recv() => server::Shutdown::LeavePods,
        _ = terminate.recv() => server::Shutdown::StopPods,
        _ = interrupt.recv() => server::Shutdown::StopPods,
        error = running.failed() => return Err(error.into()),
    };
    running.stop(shutdown).await?;
    Ok(())
}
