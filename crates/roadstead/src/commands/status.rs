//! `roadstead status`.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::cli::InstanceArgs;
use crate::instance::Instance;

/// Prints where the cluster runs and its pods; exit code 3 if it does not run.
///
/// # Errors
/// If the running server does not answer.
pub async fn run(args: &InstanceArgs) -> Result<ExitCode> {
    let instance = Instance::from_args(args)?;
    let Some(pid) = instance.server_pid()? else {
        println!("cluster {:?} in {}: not running; `roadstead up` starts it", instance.name, instance.data.display());
        return Ok(ExitCode::from(3));
    };
    let client = super::connect(&instance).await?;
    let version = client.apiserver_version().await?;
    println!("cluster {:?}: running, process {pid}, Kubernetes API {}", instance.name, version.git_version);
    println!("data:       {}", instance.data.display());
    println!("kubeconfig: {}", instance.kubeconfig().display());
    println!("log:        {}", instance.log().display());

    let pods = Api::<Pod>::all(client).list(&ListParams::default()).await?;
    if pods.items.is_empty() {
        println!("no pods");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header([
        "NAMESPACE",
        "NAME",
        "READY",
        "PHASE",
        "RESTARTS",
        "IP",
    ]);
    for pod in &pods.items {
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let ready = containers.iter().filter(|c| c.ready).count();
        let restarts: i32 = containers.iter().map(|c| c.restart_count).sum();
        table.add_row([
            pod.namespace().unwrap_or_default(),
            pod.name_any(),
            format!("{ready}/{}", pod.spec.as_ref().map_or(0, |s| s.containers.len())),
            status.phase.unwrap_or_default(),
            restarts.to_string(),
            status.pod_ip.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
