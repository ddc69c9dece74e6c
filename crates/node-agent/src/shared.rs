//! What all tasks of the agent share: nothing in here changes.

use std::path::PathBuf;
use std::sync::Arc;

use informer::events::Source;
use informer::{Clock, EventRecorder};
use k8s_openapi::api::core::v1::Pod;
use meta::{ObjectId, Timestamp, Uid};
use node_core::Settings;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mounts::Mounts;
use crate::watches::Watches;
use crate::{Config, Parts};

/// Prefix of container ids in pod statuses.
pub(crate) const RUNTIME_NAME: &str = "roadstead";

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) parts: Parts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: EventRecorder,
    pub(crate) watches: Arc<Watches>,
    pub(crate) machine: MachineFacts,
    pub(crate) reality: Reality,
    pub(crate) mounts: Mounts,
}

/// Whether there is a machine behind the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reality {
    /// Pods are processes of this machine, with files and addresses.
    Machine,
    /// Pods live by the script of their annotations: no process, no file, nothing to connect to.
    Virtual,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the machine has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct MachineFacts {
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) boot_id: String,
    pub(crate) machine_id: String,
}

impl MachineFacts {
    fn read(data_dir: &std::path::Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let memory_kib = text("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next().and_then(|kib| kib.parse::<i64>().ok()))
            .unwrap_or(0);
        let os_image = text("/etc/os-release")
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .map(|name| name.trim_matches('"').to_owned())
            .unwrap_or_else(|| "Linux".to_owned());
        Self {
            cpu_millis: std::thread::available_parallelism()
                .map_or(1, |cpus| i64::try_from(cpus.get()).unwrap_or(1))
                .saturating_mul(1000),
            memory_bytes: memory_kib * 1024,
            disk_bytes: rustix::fs::statvfs(data_dir).map_or(0, |stat| stat.f_blocks * stat.f_frsize),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            machine_id: text("/etc/machine-id"),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        parts: Parts,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Self {
        let source = Source { component: "kubelet".to_owned(), host: config.node_name.clone() };
        let recorder = EventRecorder::start(parts.client.clone(), source, clock.clone(), tasks, cancel.clone());
        let watches = Arc::new(Watches::new(parts.client.clone(), tasks.clone(), cancel.clone()));
        let machine = MachineFacts::read(&config.data_dir);
        Self { config, parts, clock, recorder, watches, machine, reality: Reality::Machine, mounts: Mounts::default() }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.reality == Reality::Virtual
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { host_ips: vec![self.config.gateway], runtime_name: RUNTIME_NAME.to_owned() }
    }

    /// The folder of the pod's own files.
    pub(crate) fn pod_dir(&self, pod: &Uid) -> PathBuf {
        self.config.data_dir.join("pods").join(&pod.0)
    }

    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.config.data_dir.join("logs")
    }

    /// `<namespace>_<name>_<uid>`: the folder of a pod's logs.
    pub(crate) fn pod_logs_dir(&self, pod: &Pod) -> PathBuf {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let metadata = &pod.metadata;
        let name = format!("{}_{}_{}", text(&metadata.namespace), text(&metadata.name), text(&metadata.uid));
        self.logs_dir().join(name)
    }

    pub(crate) fn log_path(&self, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
        self.pod_logs_dir(pod).join(container).join(format!("{attempt}.log"))
    }
}

/// The object id of a pod.
pub(crate) fn pod_id(pod: &Pod) -> ObjectId {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    ObjectId::namespaced(api::resources::PODS, namespace, pod.metadata.name.as_deref().unwrap_or_default())
}

pub(crate) fn pod_uid(pod: &Pod) -> Uid {
    Uid(pod.metadata.uid.clone().unwrap_or_default())
}
