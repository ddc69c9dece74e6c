//! The node's twins as one process sees them: dead processes reach nothing, and the judges see every change.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use container_runtime::{
    ContainerId, ContainerSpec, ContainerState, ExecSession, ExecSpec, Runtime, RuntimeError, RuntimeEvent, Sandbox,
    SandboxSpec, SandboxStatus, Signal, VirtualRuntime,
};
use futures::FutureExt;
use images::{Image, ImageError, Images, MemoryImages, RegistryAuth};
use meta::Uid;
use pod_network::{Attachment, MemoryNetwork, NetworkError, PodNetwork, ServicePort};
use tokio::sync::mpsc;
use volumes::{BindRequest, FileSet, FsGroup, MemoryVolumes, PodVolumes, SizeEnforcement, VolumeError, Volumes};

use crate::ground::Ground;
use crate::oracle::identity::Deed;
use crate::process::Process;
use crate::scenario::Trouble;
use crate::weather::Spell;

/// Longest time that processes take to die when they are killed.
const DEATH_MILLIS_MAX: u64 = 300;

/// What a node has that outlives its agents.
#[derive(Clone)]
pub struct Machine {
    /// Name of the node.
    pub node: String,
    /// Sandboxes and containers.
    pub runtime: VirtualRuntime,
    /// Addresses.
    pub network: Arc<MemoryNetwork>,
    /// Images.
    pub images: Arc<MemoryImages>,
    /// Volumes.
    pub volumes: Arc<MemoryVolumes>,
}

impl Machine {
    /// What runs here now.
    pub fn sandboxes(&self) -> Vec<SandboxStatus> {
        self.runtime.list().now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    /// Shows the judges what runs here.
    pub fn inspect(&self, ground: &Ground) {
        let found = ground.court().running(&self.node, &self.sandboxes());
        ground.violated_all(found);
    }
}

/// A machine as one agent sees it.
#[derive(Clone)]
pub struct Guarded {
    ground: Arc<Ground>,
    process: Arc<Process>,
    machine: Machine,
}

impl Guarded {
    /// The machine for a process.
    pub fn new(ground: &Arc<Ground>, process: &Arc<Process>, machine: &Machine) -> Self {
        Self { ground: Arc::clone(ground), process: Arc::clone(process), machine: machine.clone() }
    }

    /// Does something to the machine and lets the judges look at it afterwards.
    async fn act<T>(&self, deed: Option<Deed<'_>>, work: impl Future<Output = T>) -> T {
        let checked = async {
            if let Some(deed) = deed {
                let found = self.ground.court().doing(&self.machine.node, &deed, &self.machine.sandboxes());
                self.ground.note(format_args!("{} {deed}", self.process.name));
                self.ground.violated_all(found);
            }
            let done = work.await;
            self.machine.inspect(&self.ground);
            done
        };
        self.process.living(checked).await
    }

    /// Does something to the machine that may be refused, done and not said, or kept waiting.
    async fn try_to<T, E>(
        &self,
        deed: Option<Deed<'_>>,
        work: impl Future<Output = Result<T, E>>,
        refusal: impl FnOnce(&str) -> E,
    ) -> Result<T, E> {
        let spell = {
            let weather = self.ground.weather();
            self.process.rng(|rng| weather.trouble(&self.machine.node, rng))
        };
        let Some(Spell { trouble, until, .. }) = spell else { return self.act(deed, work).await };
        self.ground.count("fault", trouble.name());
        self.ground.note(format_args!("{}: {}", self.process.name, trouble.name()));
        match trouble {
            Trouble::Refuses => self.process.living(async { Err(refusal("the runtime refuses")) }).await,
            Trouble::Lies => {
                let _done = self.act(deed, work).await;
                Err(refusal("the runtime says that it failed"))
            }
            Trouble::Hangs => {
                self.process.living(self.ground.until_or_fair(until)).await;
                self.act(deed, work).await
            }
        }
    }
}

fn helper(why: &str) -> RuntimeError {
    RuntimeError::Helper { doing: "ask the runtime".to_owned(), why: why.to_owned() }
}

fn unreachable(why: &str) -> VolumeError {
    VolumeError::Io { doing: "reach the volumes".to_owned(), source: std::io::Error::other(why.to_owned()) }
}

fn kernel(why: &str) -> NetworkError {
    NetworkError::Kernel { doing: "ask the kernel".to_owned(), why: why.to_owned() }
}

#[async_trait]
impl Runtime for Guarded {
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let pod = spec.pod.clone();
        self.try_to(Some(Deed::RunSandbox { pod: &pod }), self.machine.runtime.run_sandbox(spec), helper).await
    }

    async fn create_container(&self, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError> {
        self.try_to(None, self.machine.runtime.create_container(pod, spec), helper).await
    }

    async fn start_container(&self, pod: &Uid, container: &ContainerId) -> Result<ContainerState, RuntimeError> {
        let deed = Deed::StartContainer { pod, container };
        self.try_to(Some(deed), self.machine.runtime.start_container(pod, container), helper).await
    }

    async fn signal(&self, pod: &Uid, container: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        let deed = Deed::Signal { pod, container, signal };
        self.try_to(Some(deed), self.machine.runtime.signal(pod, container, signal), helper).await
    }

    async fn kill_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        let killing = async {
            // Processes take a moment to die.
            tokio::time::sleep(Duration::from_millis(self.process.rng(|rng| rng.below(DEATH_MILLIS_MAX)))).await;
            self.machine.runtime.kill_sandbox(pod).await
        };
        self.try_to(Some(Deed::KillSandbox { pod }), killing, helper).await
    }

    async fn remove_container(&self, pod: &Uid, container: &ContainerId) -> Result<(), RuntimeError> {
        self.try_to(None, self.machine.runtime.remove_container(pod, container), helper).await
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.try_to(Some(Deed::RemoveSandbox { pod }), self.machine.runtime.remove_sandbox(pod), helper).await
    }

    async fn exec(&self, pod: &Uid, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        self.try_to(None, self.machine.runtime.exec(pod, container, spec), helper).await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        self.try_to(None, self.machine.runtime.list(), helper).await
    }

    fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent> {
        self.machine.runtime.subscribe()
    }
}

#[async_trait]
impl Volumes for Guarded {
    async fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError> {
        self.try_to(Some(Deed::Mount { request }), self.machine.volumes.set_up(request), unreachable).await
    }

    async fn update_files(
        &self,
        pod: &Uid,
        volume: &str,
        files: &FileSet,
        group: Option<FsGroup>,
    ) -> Result<(), VolumeError> {
        self.process.living(self.machine.volumes.update_files(pod, volume, files, group)).await
    }

    async fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError> {
        self.process.living(self.machine.volumes.bind_source(request)).await
    }

    async fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError> {
        self.try_to(Some(Deed::Unmount { pod }), self.machine.volumes.tear_down(pod), unreachable).await
    }

    async fn pods(&self) -> Result<Vec<Uid>, VolumeError> {
        self.try_to(None, self.machine.volumes.pods(), unreachable).await
    }

    async fn delete_data(&self, volume_name: &str) -> Result<(), VolumeError> {
        let deleting = self.machine.volumes.delete_data(volume_name);
        self.try_to(Some(Deed::DeleteData { volume: volume_name }), deleting, unreachable).await
    }

    async fn close(&self) -> Result<(), VolumeError> {
        self.process.living(self.machine.volumes.close()).await
    }

    fn data_path(&self, volume_name: &str) -> PathBuf {
        self.machine.volumes.data_path(volume_name)
    }

    fn size_enforcement(&self) -> SizeEnforcement {
        self.machine.volumes.size_enforcement()
    }
}

#[async_trait]
impl PodNetwork for Guarded {
    async fn attach(&self, pod: &Uid, netns: BorrowedFd<'_>) -> Result<Attachment, NetworkError> {
        let attaching = async {
            let attached = self.machine.network.attach(pod, netns).await;
            if let Ok(attachment) = &attached {
                let found = self.ground.court().attached(&self.machine.node, pod, attachment.address);
                self.ground.violated_all(found);
            }
            attached
        };
        self.try_to(None, attaching, kernel).await
    }

    async fn attachment(&self, pod: &Uid) -> Option<Attachment> {
        self.process.living(self.machine.network.attachment(pod)).await
    }

    async fn detach(&self, pod: &Uid) -> Result<(), NetworkError> {
        let detaching = async {
            let detached = self.machine.network.detach(pod).await;
            self.ground.court().detached(pod);
            detached
        };
        self.try_to(None, detaching, kernel).await
    }

    async fn set_services(&self, services: &[ServicePort]) -> Result<(), NetworkError> {
        self.process.living(self.machine.network.set_services(services)).await
    }
}

#[async_trait]
impl Images for Guarded {
    async fn find(&self, name: &str) -> Result<Option<Image>, ImageError> {
        self.process.living(self.machine.images.find(name)).await
    }

    async fn pull(&self, name: &str, auths: &BTreeMap<String, RegistryAuth>) -> Result<Image, ImageError> {
        let pulling = async {
            tokio::time::sleep(Duration::from_millis(self.process.rng(|rng| rng.below(3000)))).await;
            self.machine.images.pull(name, auths).await
        };
        self.process.living(pulling).await
    }

    async fn list(&self) -> Result<Vec<Image>, ImageError> {
        self.process.living(self.machine.images.list()).await
    }
}
