//! `roadstead kubeconfig`.

use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cli::KubeconfigArgs;
use crate::instance::Instance;

/// Prints the kubeconfig, or its path.
///
/// # Errors
/// If the cluster has never been started.
pub fn run(args: &KubeconfigArgs) -> Result<ExitCode> {
    let instance = Instance::from_args(&args.instance)?;
    let path = instance.kubeconfig();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no kubeconfig at {}: `roadstead up` starts the cluster and writes it", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    if args.path {
        println!("{}", path.display());
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}
