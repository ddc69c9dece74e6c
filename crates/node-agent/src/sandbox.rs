//! A pod's sandbox: namespaces, network, and the files that tell it who it is. And the removal of all that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use container_runtime::{Resources, RuntimeError, SandboxSpec};
use k8s_openapi::api::core::v1::Pod;
use meta::Uid;
use node_core::Event;
use node_core::hosts::{self, Resolver};

use tokio::sync::mpsc;

use crate::pod::Done;
use crate::shared::{Shared, pod_uid};

/// Sandbox annotation: seconds the pod may take to end, for an agent that finds it without an API object.
pub(crate) const GRACE: &str = "roadstead.dev/termination-grace-secs";

/// Prints an error with its sources.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

/// Makes the sandbox and gives it an address and its files.
pub(crate) async fn set_up(shared: Arc<Shared>, pod: Arc<Pod>) -> Done {
    Done::Event(Event::Sandbox(try_set_up(&shared, &pod).await))
}

async fn try_set_up(shared: &Shared, pod: &Pod) -> Result<Vec<IpAddr>, String> {
    let uid = pod_uid(pod);
    let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    // An address that is left over belongs to a sandbox that is dead.
    if shared.parts.network.attachment(&uid).await.is_some() {
        shared.parts.network.detach(&uid).await.map_err(|error| sentence(&error))?;
    }
    let sandbox = shared.parts.runtime.run_sandbox(spec(shared, pod)).await.map_err(|error| sentence(&error))?;
    let ips = match (&sandbox.netns, on_host) {
        (_, true) => vec![shared.config.gateway],
        (Some(netns), false) => {
            let attached = shared.parts.network.attach(&uid, netns.as_fd()).await;
            vec![attached.map_err(|error| sentence(&error))?.address]
        }
        // A runtime in memory has no namespaces; its network takes any descriptor.
        (None, false) => {
            let nothing = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
            let attached = shared.parts.network.attach(&uid, nothing.as_fd()).await;
            vec![attached.map_err(|error| sentence(&error))?.address]
        }
    };
    if !shared.is_virtual() {
        write_files(shared, pod, &ips).map_err(|error| format!("write the pod's own files: {error}"))?;
    }
    Ok(ips)
}

fn spec(shared: &Shared, pod: &Pod) -> SandboxSpec {
    let spec = pod.spec.clone().unwrap_or_default();
    let sysctls = spec.security_context.iter().flat_map(|security| security.sysctls.iter().flatten());
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    SandboxSpec {
        pod: pod_uid(pod),
        name: pod.metadata.name.clone().unwrap_or_default(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        hostname: hosts::kernel_hostname(pod, &shared.config.cluster_domain),
        host_network: spec.host_network == Some(true),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        sysctls: sysctls.map(|one| (one.name.clone(), one.value.clone())).collect(),
        resources: Resources::default(),
        annotations: BTreeMap::from([(GRACE.to_owned(), grace.to_string())]),
    }
}

fn write_files(shared: &Shared, pod: &Pod, ips: &[IpAddr]) -> std::io::Result<()> {
    let folder = shared.pod_dir(&pod_uid(pod));
    std::fs::create_dir_all(&folder)?;
    let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let domain = &shared.config.cluster_domain;
    let hosts = if on_host {
        std::fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        hosts::hosts_file(pod, ips, domain)
    };
    let host = Resolver::parse(&std::fs::read_to_string(&shared.config.host_resolv_conf).unwrap_or_default());
    let resolver = hosts::resolver(pod, shared.config.dns_server, domain, &host).print();
    std::fs::write(folder.join("etc-hosts"), hosts)?;
    std::fs::write(folder.join("resolv.conf"), resolver)?;
    std::fs::write(folder.join("hostname"), format!("{}\n", hosts::kernel_hostname(pod, domain)))
}

/// Removes what the pod has on this machine. Its death is told as soon as it is certain, before what it leaves behind
/// is cleaned away: a pod of the same name may begin then (S2).
pub(crate) async fn tear_down(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    deaths: mpsc::Sender<Uid>,
    volumes: bool,
    logs: bool,
) -> Done {
    let uid = pod_uid(&pod);
    let result = async {
        if meta::mutants::is_on("gone-before-dead") {
            let _ended = deaths.send(uid.clone()).await;
            return Ok(());
        }
        kill(&shared, &uid).await?;
        // A dispatcher that has ended starts nothing any more.
        let _ended = deaths.send(uid.clone()).await;
        remove(&shared, &uid, volumes).await?;
        if logs && !shared.is_virtual() {
            remove_folder(&shared.pod_logs_dir(&pod)).map_err(|error| format!("remove logs: {error}"))?;
        }
        Ok(())
    };
    Done::Event(Event::TornDown(result.await))
}

/// Kills every process of the pod; returns when the kernel has confirmed the last one's death.
async fn kill(shared: &Shared, uid: &Uid) -> Result<(), String> {
    match shared.parts.runtime.kill_sandbox(uid).await {
        Ok(()) | Err(RuntimeError::NoSandbox { .. }) => Ok(()),
        Err(error) => Err(sentence(&error)),
    }
}

/// Removes sandbox, network and, if asked, volumes and files of a pod by its UID.
pub(crate) async fn remove(shared: &Shared, uid: &Uid, volumes: bool) -> Result<(), String> {
    match shared.parts.runtime.remove_sandbox(uid).await {
        Ok(()) | Err(RuntimeError::NoSandbox { .. }) => {}
        Err(error) => return Err(sentence(&error)),
    }
    tracing::trace!(pod = %uid, "sandbox removed");
    shared.parts.network.detach(uid).await.map_err(|error| sentence(&error))?;
    tracing::trace!(pod = %uid, "network removed");
    if volumes {
        shared.parts.volumes.tear_down(uid).await.map_err(|error| error.sentence())?;
        shared.mounts.end(uid);
        if !shared.is_virtual() {
            // The volumes' folder and that of the pod's own files are one where volumes are on disk.
            remove_folder(&shared.pod_dir(uid)).map_err(|error| format!("remove the pod's own files: {error}"))?;
        }
    }
    tracing::trace!(pod = %uid, "volumes removed");
    Ok(())
}

pub(crate) fn remove_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
