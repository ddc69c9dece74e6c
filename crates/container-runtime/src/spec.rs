//! What to run: values handed to the runtime, with every choice of the pod's spec already made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use meta::Uid;
use serde::{Deserialize, Serialize};

/// The id of one container instance: unique for all time on a node, chosen by the caller (D7).
///
/// Up to 64 characters of `[a-z0-9-]`; it names a cgroup and a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Limits that land in a cgroup; `None` leaves the kernel's default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Most memory, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Relative share of CPU time, in the v1 unit (1024 is one CPU's request); converted to a weight on v2.
    pub cpu_shares: Option<u64>,
    /// CPU time per period, in microseconds.
    pub cpu_quota_micros: Option<i64>,
    /// Length of the period, in microseconds; 100,000 if only a quota is given.
    pub cpu_period_micros: Option<u64>,
    /// Most processes and threads.
    pub pids_max: Option<i64>,
}

/// A pod's sandbox: the namespaces its containers share, and their cgroup.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// UID of the pod.
    pub pod: Uid,
    /// Name of the pod; for people and for `list`.
    pub name: String,
    /// Namespace of the pod; for people and for `list`.
    pub namespace: String,
    /// Host name inside the pod (at most 63 characters).
    pub hostname: String,
    /// Share the host's network namespace and host name.
    pub host_network: bool,
    /// Share the host's process ids.
    pub host_pid: bool,
    /// Share the host's System V IPC.
    pub host_ipc: bool,
    /// Sysctls set inside the pod's namespaces before any container exists.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the whole pod.
    pub resources: Resources,
    /// Kept as they are and given back by `list`.
    pub annotations: BTreeMap<String, String>,
}

/// A container's root file system: unpacked image layers, with a private writable layer above.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Unpacked layer folders, lowest first. Never written to.
    pub layers: Vec<PathBuf>,
}

/// Whether mounts made later inside a volume are seen on the other side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Propagation {
    /// Never.
    #[default]
    None,
    /// The container sees what the host mounts.
    HostToContainer,
    /// Both see each other's mounts.
    Bidirectional,
}

/// A host folder or file that appears in a container.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Folder or file on the host. A symlink here is followed.
    pub source: PathBuf,
    /// Path below `source`, resolved as if `source` were the root, so that no symlink in the volume leads out of it;
    /// missing folders are made with mode 0750.
    pub sub_path: Option<PathBuf>,
    /// Absolute path in the container; made if missing.
    pub target: PathBuf,
    /// The container may not write.
    pub read_only: bool,
    /// Whether later mounts are seen on the other side.
    pub propagation: Propagation,
}

/// Who a process runs as.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Numeric user id (`runAsUser`); `None`: as `image_user` says.
    pub uid: Option<u32>,
    /// Numeric group id (`runAsGroup`); `None`: the user's primary group by the image's `/etc/passwd`, else 0.
    pub gid: Option<u32>,
    /// The image's `USER`: `name`, `uid`, `name:group` or `uid:gid`; empty for root. Used when `uid` is `None`.
    pub image_user: String,
    /// Further group ids (`fsGroup`, `supplementalGroups`), beside those the image's `/etc/group` gives the user.
    pub supplementary_gids: Vec<u32>,
}

/// Which system calls a container may make.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Seccomp {
    /// Our own allow-list (`RuntimeDefault`); what is safe for programs that expect an ordinary Linux.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile file on this node, in the OCI JSON form.
    Localhost(PathBuf),
}

/// Security choices for a container.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// All capabilities, all devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// Capabilities beside the default set, without `CAP_`; `ALL` for all.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken from the default set, without `CAP_`; `ALL` for all. Adding wins over `ALL` here.
    pub capabilities_drop: Vec<String>,
    /// A program cannot gain privileges by running another (`allowPrivilegeEscalation: false`).
    pub no_new_privileges: bool,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// Filter of system calls.
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`: leave `/proc` as it is.
    pub unmasked_proc: bool,
}

/// One container instance.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Its id.
    pub id: ContainerId,
    /// Name in the pod's spec.
    pub name: String,
    /// How many instances of this name the pod has had before.
    pub attempt: u32,
    /// Image layers.
    pub rootfs: RootFs,
    /// Volumes and files, mounted in this order.
    pub mounts: Vec<Mount>,
    /// Program and arguments; must not be empty.
    pub args: Vec<String>,
    /// `NAME=value`, in order; `PATH`, `HOSTNAME` and `HOME` are added where missing.
    pub env: Vec<String>,
    /// Working directory; empty for `/`; made if missing.
    pub cwd: String,
    /// User and groups.
    pub user: User,
    /// Security choices.
    pub security: Security,
    /// Limits of this container.
    pub resources: Resources,
    /// Badness for the kernel's out-of-memory choice, -1000 … 1000. If the kernel refuses (no CAP_SYS_RESOURCE), the
    /// container runs without it.
    pub oom_score_adj: Option<i32>,
    /// Run on a terminal; its output is logged as `stdout`.
    pub tty: bool,
    /// Keep standard input open instead of giving `/dev/null`.
    pub stdin: bool,
    /// The log file, in the CRI format; rotated by the helper ([`crate::logs`]).
    pub log_path: PathBuf,
    /// Absolute path in the container at which a program may leave its last words; `None` for nowhere. What stands
    /// there at the end comes back in [`crate::Exit::message`].
    pub termination_message_path: Option<PathBuf>,
    /// Kept as they are and given back by `list`.
    pub annotations: BTreeMap<String, String>,
}

/// What to run beside a container's own program, in its namespaces and cgroup.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Further `NAME=value`, after the container's own.
    pub env: Vec<String>,
    /// The caller sends standard input.
    pub stdin: bool,
    /// The caller wants standard output.
    pub stdout: bool,
    /// The caller wants standard error (never on a terminal).
    pub stderr: bool,
    /// Run on a terminal.
    pub tty: bool,
    /// Kill it after this time.
    pub timeout: Option<Duration>,
}

/// A signal by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

impl Signal {
    /// `SIGTERM`.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// `SIGKILL`.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// Reads `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`: the forms an image's `STOPSIGNAL` and a pod's `stopSignal` take.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i32>() {
            return (1..=64).contains(&number).then_some(Self(number));
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(rest) = name.strip_prefix("RTMIN") {
            let plus = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
            return (0..=30).contains(&plus).then_some(Self(34 + plus));
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            let minus = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? };
            return (0..=30).contains(&minus).then_some(Self(64 - minus));
        }
        format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| Self(signal as i32))
    }
}
