//! One module for each command.

mod down;
mod image;
mod kubeconfig;
mod plan;
mod serve;
mod status;
mod up;
mod virtual_nodes;
mod why;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::cli::{Cli, Command, InstanceArgs};
use crate::instance::Instance;

/// Does what was typed.
///
/// # Errors
/// Whatever the command could not do, in sentences.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Up(args) if args.foreground => serve::run(&args),
        Command::Up(args) => runtime()?.block_on(up::run(&args)),
        Command::Down(args) => runtime()?.block_on(down::run(&args)),
        Command::Status(args) => runtime()?.block_on(status::run(&args)),
        Command::Plan(args) => runtime()?.block_on(plan::run(&args)),
        Command::Why(args) => runtime()?.block_on(why::run(&args)),
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Image(args) => runtime()?.block_on(image::run(&args.command)),
        Command::Version => {
            println!("roadstead {} (Kubernetes API {})", env!("CARGO_PKG_VERSION"), server::KUBERNETES_VERSION);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A small runtime for commands that talk to the server.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the async runtime")
}

/// A client of the running cluster.
///
/// # Errors
/// If it does not run, or its kubeconfig cannot be read.
async fn connect(instance: &Instance) -> Result<Client> {
    if instance.server_pid()?.is_none() {
        bail!("cluster {:?} in {} does not run; `roadstead up` starts it", instance.name, instance.data.display());
    }
    connect_by(&instance.kubeconfig()).await
}

/// A client of the running cluster, or of the one that a kubeconfig file leads to.
///
/// # Errors
/// As [`connect`].
async fn connect_to(instance: &InstanceArgs, kubeconfig: Option<&Path>) -> Result<Client> {
    match kubeconfig {
        Some(path) => connect_by(path).await,
        None => connect(&Instance::from_args(instance)?).await,
    }
}

async fn connect_by(path: &Path) -> Result<Client> {
    // Another provider may be compiled in by a dependency; ours is named once, and a second naming is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| {
        format!(
            "the kubeconfig {} is missing or damaged; that of a cluster here is written anew by `roadstead down` and `up`",
            path.display()
        )
    })?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
