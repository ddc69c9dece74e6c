//! `roadstead kubeconfig`.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::KubeconfigArgs;
use crate::instance::Instance;

/// Prints the kubeconfig, or its path.
///
/// # Errors
/// If the cluster has never been started.
pub fn run(args: &KubeconfigArgs) -> Result<ExitCode> {
    let instance = Instance::from_args(&args.instance)?;
    let path = instance.kubeconfig();
    let text = fs::read_to_string(&path).with_context(|| {
        format!("there is no kubeconfig at {}: `roadstead up` starts the cluster and writes it", path.display())
    })?;
    if args.path {
        println!("{}", path.display());
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}
