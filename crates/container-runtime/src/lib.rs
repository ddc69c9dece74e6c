//! Pod sandboxes and containers: trait, libcontainer helper process, in-memory twin.
//!
//! Here live the [`Runtime`] trait with its values, [`LibcontainerRuntime`] (one helper process of our own binary per
//! pod, D7), [`VirtualRuntime`] (the twin of D8) and the leak audit. What is not here: when a container is started,
//! restarted or probed (`node-core`), addresses (`pod-network`), volumes and images. Start with [`Runtime`]; then
//! `helper` for the process that holds a pod.

mod agent;
mod audit;
mod cgroup;
mod config;
mod devices;
mod error;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod helper;
pub mod logs;
mod oci;
mod seccomp;
mod spec;
mod status;
mod twin;
mod user;
mod wire;

pub use agent::LibcontainerRuntime;
pub use audit::{Leftovers, audit, remove_everything};
pub use config::{Config, LogLimits};

pub use error::RuntimeError;
pub use helper::helper_main;
pub use spec::{
    ContainerId, ContainerSpec, ExecSpec, Mount, Propagation, Resources, RootFs, SandboxSpec, Seccomp, Security,
    Signal, User,
};
pub use status::{
    ContainerState, ContainerStatus, ExecExit, ExecSession, Exit, ExitReason, RuntimeEvent, Sandbox, SandboxStatus,
    TerminalSize,
};
pub use twin::{Life, Script, VirtualRuntime};

use async_trait::async_trait;
use meta::Uid;
use tokio::sync::mpsc;

/// The sandboxes and containers of one node, keyed by pod UID and container id (D7).
///
/// Every operation may be repeated: what is done already is left alone. A future that is dropped leaves the operation
/// either done or not done; `list` tells which.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Makes the pod's sandbox: namespaces, cgroup, helper. Returns the living one if there is one; a dead one's
    /// container records are kept and a new sandbox takes its place.
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError>;

    /// Makes a container up to the point where only its program is missing.
    async fn create_container(&self, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError>;

    /// Starts the container's program; returns its state, which is `Running` or, if it was quick, `Exited`.
    async fn start_container(&self, pod: &Uid, container: &ContainerId) -> Result<ContainerState, RuntimeError>;

    /// Sends a signal to the container's first process; nothing happens if it has ended.
    async fn signal(&self, pod: &Uid, container: &ContainerId, signal: Signal) -> Result<(), RuntimeError>;

    /// Kills every process of the pod, helper included, and returns when the kernel has confirmed the last one's
    /// death. Records stay until [`Runtime::remove_sandbox`].
    async fn kill_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError>;

    /// Removes a container that has ended: its cgroup, root file system and record; its log file stays. A container
    /// that runs is killed first.
    async fn remove_container(&self, pod: &Uid, container: &ContainerId) -> Result<(), RuntimeError>;

    /// Kills what runs and removes everything the runtime holds for the pod; log files stay.
    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError>;

    /// Runs a program in a running container. Not `is_not_found` but `WrongState` if the container is not running.
    async fn exec(&self, pod: &Uid, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError>;

    /// Everything that is here, also what an agent before this one has started.
    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError>;

    /// What happens from now on, in order, without loss; a subscriber that does not read holds the others back.
    /// Subscribe before listing, so that nothing falls between.
    fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent>;
}
