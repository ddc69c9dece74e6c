//! What the agent knows of one pod's sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use meta::Uid;
use tokio::sync::{mpsc, watch};

use super::connection::Command;
use crate::events::lock;
use crate::helper;
use crate::wire::SandboxRecord;
use crate::{ContainerId, ContainerState, ContainerStatus, Exit, ExitReason, RuntimeEvent, Sandbox, SandboxStatus};

/// One pod that has, or had, a sandbox.
pub(super) struct PodEntry {
    pub(super) uid: Uid,
    pub(super) dir: PathBuf,
    pub(super) cgroup: String,
    /// Held while the sandbox is being made or taken away.
    pub(super) gate: tokio::sync::Mutex<()>,
    alive: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    record: SandboxRecord,
    sandbox: Option<Sandbox>,
    commands: Option<mpsc::Sender<Command>>,
    containers: BTreeMap<ContainerId, ContainerStatus>,
    /// Its end is wanted.
    ending: bool,
}

impl PodEntry {
    pub(super) fn new(uid: Uid, dir: PathBuf, cgroup: String) -> Self {
        Self {
            uid,
            dir,
            cgroup,
            gate: tokio::sync::Mutex::new(()),
            alive: watch::Sender::new(false),
            state: Mutex::new(State::default()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Reads what a sandbox has left on disk. Containers that were not told to have ended have ended with it.
    pub(super) fn load(&self) {
        let record = read(&self.dir.join(helper::SANDBOX_RECORD)).unwrap_or_default();
        let mut containers = BTreeMap::new();
        for entry in fs::read_dir(self.dir.join(helper::CONTAINERS)).into_iter().flatten().flatten() {
            if let Some(status) = read::<ContainerStatus>(&entry.path().join(helper::RECORD)) {
                containers.insert(status.id.clone(), status);
            }
        }
        let mut state = self.state();
        state.record = record;
        state.containers = containers;
    }

    /// The sandbox lives: as its helper says.
    pub(super) fn lives(
        &self,
        sandbox: Sandbox,
        record: Option<SandboxRecord>,
        containers: Vec<ContainerStatus>,
        commands: mpsc::Sender<Command>,
    ) {
        let mut state = self.state();
        if let Some(record) = record {
            state.record = record;
        }
        state.sandbox = Some(sandbox);
        state.commands = Some(commands);
        state.ending = false;
        state.containers.extend(containers.into_iter().map(|status| (status.id.clone(), status)));
        drop(state);
        self.alive.send_replace(true);
    }

    /// The sandbox is dead, with all its processes. Returns whether that was wanted, and the ends of its containers
    /// that nobody was told of.
    pub(super) fn died(&self) -> (bool, Vec<RuntimeEvent>) {
        let mut state = self.state();
        state.sandbox = None;
        state.commands = None;
        let deliberate = state.ending;
        let mut events = Vec::new();
        for status in state.containers.values_mut() {
            let started_at = match &status.state {
                ContainerState::Exited(_) => continue,
                ContainerState::Created => None,
                ContainerState::Running { started_at, .. } => Some(*started_at),
            };
            let exit = Exit {
                code: 128 + libc::SIGKILL,
                signal: Some(libc::SIGKILL),
                reason: ExitReason::SandboxDied,
                message: String::new(),
                started_at,
                finished_at: meta::clock::now(),
            };
            status.state = ContainerState::Exited(exit.clone());
            let path = self.dir.join(helper::CONTAINERS).join(&status.id.0).join(helper::RECORD);
            if path.exists()
                && let Err(error) = helper::write_atomically(&path, status)
            {
                tracing::warn!(path = %path.display(), %error, "end of a container cannot be written down");
            }
            events.push(RuntimeEvent::ContainerExited { pod: self.uid.clone(), container: status.id.clone(), exit });
        }
        drop(state);
        self.alive.send_replace(false);
        (deliberate, events)
    }

    /// Waits until the sandbox is dead.
    pub(super) async fn until_dead(&self) {
        // The sender lives as long as this.
        let _ = self.alive.subscribe().wait_for(|alive| !alive).await;
    }

    pub(super) fn sandbox(&self) -> Option<Sandbox> {
        self.state().sandbox.clone()
    }

    pub(super) fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.state().commands.clone()
    }

    pub(super) fn set_ending(&self) {
        self.state().ending = true;
    }

    pub(super) fn container(&self, id: &ContainerId) -> Option<ContainerStatus> {
        self.state().containers.get(id).cloned()
    }

    pub(super) fn put(&self, status: ContainerStatus) {
        self.state().containers.insert(status.id.clone(), status);
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        self.state().containers.remove(id);
    }

    /// The program runs, unless its end is known already.
    pub(super) fn set_state(&self, id: &ContainerId, now: &ContainerState) {
        if let Some(status) = self.state().containers.get_mut(id)
            && !matches!(status.state, ContainerState::Exited(_))
        {
            status.state = now.clone();
        }
    }

    /// Returns whether that is news: a container that is being removed is none.
    pub(super) fn container_exited(&self, id: &ContainerId, exit: &Exit) -> bool {
        match self.state().containers.get_mut(id) {
            Some(status) => {
                status.state = ContainerState::Exited(exit.clone());
                true
            }
            None => false,
        }
    }

    pub(super) fn status(&self) -> SandboxStatus {
        let state = self.state();
        let mut containers: Vec<ContainerStatus> = state.containers.values().cloned().collect();
        containers.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        SandboxStatus {
            pod: self.uid.clone(),
            name: state.record.name.clone(),
            namespace: state.record.namespace.clone(),
            annotations: state.record.annotations.clone(),
            alive: state.sandbox.clone(),
            containers,
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
