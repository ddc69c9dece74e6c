//! What an agent that starts finds on its machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use container_runtime::{ContainerState, SandboxStatus, Signal};
use meta::Uid;
use node_core::{Found, FoundContainer};

use crate::StartError;
use crate::containers::{STOP_SIGNAL, exit};
use crate::sandbox::{self, GRACE};
use crate::shared::Shared;

/// Grace of a pod that says nothing about it.
const GRACE_SECS: u64 = 30;
/// Pause between two attempts to remove what is left of a pod.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Everything that was found, by pod UID.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) sandboxes: BTreeMap<Uid, SandboxStatus>,
    /// Pods that have volumes or folders here, with or without a sandbox.
    pub(crate) folders: BTreeSet<Uid>,
    /// Pods that have log files here.
    pub(crate) logged: BTreeSet<Uid>,
}

/// Looks at the machine.
pub(crate) async fn inventory(shared: &Shared) -> Result<Inventory, StartError> {
    let sandboxes = shared.parts.runtime.list().await.map_err(StartError::Sandboxes)?;
    let folders = shared.parts.volumes.pods().await.map_err(StartError::Volumes)?;
    Ok(Inventory {
        sandboxes: sandboxes.into_iter().map(|one| (one.pod.clone(), one)).collect(),
        folders: folders.into_iter().collect(),
        logged: logged(shared),
    })
}

/// One pod's part of it, in the machine's words.
pub(crate) async fn found(shared: &Shared, sandbox: &SandboxStatus) -> Found {
    let address = shared.parts.network.attachment(&sandbox.pod).await.map(|attachment| attachment.address);
    let containers: Vec<FoundContainer> = sandbox
        .containers
        .iter()
        .filter_map(|one| {
            let state = match &one.state {
                // Made but never started: it is made again.
                ContainerState::Created => return None,
                ContainerState::Running { started_at, .. } => Ok(*started_at),
                ContainerState::Exited(ended) => Err(exit(ended.clone())),
            };
            Some(FoundContainer { id: one.id.0.clone(), name: one.name.clone(), attempt: one.attempt, state })
        })
        .collect();
    let host = shared.config.gateway;
    // Where nothing was ever started, the agent before may have been killed with half of the address, the files or the
    // volumes made. Setting up once more finds what is there.
    let whole = sandbox.alive.as_ref().filter(|_| !containers.is_empty());
    let ips = whole.map(|alive| {
        // Without an attachment it is the host's network.
        let on_host = alive.netns.is_none();
        address.or(on_host.then_some(host)).into_iter().collect()
    });
    Found { sandbox: ips, containers }
}

/// How the containers of a sandbox are asked to end.
pub(crate) fn stop_signals(sandbox: &SandboxStatus) -> BTreeMap<String, Signal> {
    let of = |text: &String| Signal::parse(text);
    let all = sandbox.containers.iter();
    all.filter_map(|one| Some((one.name.clone(), one.annotations.get(STOP_SIGNAL).and_then(of)?))).collect()
}

/// Stops and removes a pod that has no API object: deleted while no agent looked. It gets the grace that it was made
/// with.
pub(crate) async fn remove_orphan(shared: Arc<Shared>, uid: Uid, sandbox: Option<SandboxStatus>) -> Uid {
    if let Some(sandbox) = &sandbox {
        tracing::info!(pod = %uid, namespace = sandbox.namespace, name = sandbox.name, "stopping a pod without object");
        stop_orphan(&shared, sandbox).await;
    }
    while let Err(why) = sandbox::remove(&shared, &uid, true).await {
        tracing::warn!(pod = %uid, why, "a pod without object is not removed yet");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    remove_logs(&shared, &uid);
    uid
}

async fn stop_orphan(shared: &Shared, sandbox: &SandboxStatus) {
    let secs = sandbox.annotations.get(GRACE).and_then(|secs| secs.parse().ok()).unwrap_or(GRACE_SECS);
    let signals = stop_signals(sandbox);
    let mut events = shared.parts.runtime.subscribe();
    let mut alive: BTreeSet<_> = sandbox
        .containers
        .iter()
        .filter(|one| matches!(one.state, ContainerState::Running { .. }))
        .map(|one| one.id.clone())
        .collect();
    for one in sandbox.containers.iter().filter(|one| alive.contains(&one.id)) {
        let signal = signals.get(&one.name).copied().unwrap_or(Signal::TERM);
        if let Err(error) = shared.parts.runtime.signal(&sandbox.pod, &one.id, signal).await {
            tracing::warn!(pod = %sandbox.pod, container = %one.id, error = sandbox::sentence(&error), "not signalled");
        }
    }
    let all_ended = async {
        while !alive.is_empty() {
            match events.recv().await {
                Some(container_runtime::RuntimeEvent::ContainerExited { container, .. }) => {
                    alive.remove(&container);
                }
                Some(container_runtime::RuntimeEvent::SandboxDied { pod }) if pod == sandbox.pod => return,
                Some(container_runtime::RuntimeEvent::SandboxDied { .. }) => {}
                None => return,
            }
        }
    };
    // What is left after its grace is killed with its sandbox.
    let _over = tokio::time::timeout(Duration::from_secs(secs), all_ended).await;
}

/// Log folders are named by namespace, name and UID; the name may not be known any more.
fn remove_logs(shared: &Shared, uid: &Uid) {
    let suffix = format!("_{uid}");
    let Ok(folders) = std::fs::read_dir(shared.logs_dir()) else { return };
    for folder in folders.flatten() {
        if folder.file_name().to_string_lossy().ends_with(&suffix)
            && let Err(error) = sandbox::remove_folder(&folder.path())
        {
            tracing::warn!(path = %folder.path().display(), %error, "logs not removed");
        }
    }
}

/// UIDs that log folders are named by.
fn logged(shared: &Shared) -> BTreeSet<Uid> {
    let Ok(folders) = std::fs::read_dir(shared.logs_dir()) else { return BTreeSet::new() };
    let names = folders.flatten().filter_map(|folder| folder.file_name().into_string().ok());
    names.filter_map(|name| name.rsplit_once('_').map(|(_, uid)| Uid(uid.to_owned()))).collect()
}
