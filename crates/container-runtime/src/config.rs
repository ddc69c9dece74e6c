//! How a [`crate::LibcontainerRuntime`] is set up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a [`crate::LibcontainerRuntime`] is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Eight lower-case hex digits; part of every cgroup's name on the host.
    pub cluster_id: String,
    /// Folder of the runtime's own files; made with mode 0700. Must be on a file system that can be the upper side of
    /// an overlay (not an overlay itself).
    pub state_dir: PathBuf,
    /// Folders whose mounts a pod's helper must not keep alive: wherever volumes of pods are mounted.
    pub volume_dirs: Vec<PathBuf>,
    /// The program that is run as the helper: one whose `main` begins with [`crate::helper_main`].
    pub program: PathBuf,
    /// When and how log files are rotated.
    pub logs: LogLimits,
}

impl Config {
    /// The ordinary setup: the running program is its own helper.
    pub fn new(cluster_id: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            state_dir: state_dir.into(),
            volume_dirs: Vec::new(),
            program: PathBuf::from("/proc/self/exe"),
            logs: LogLimits::default(),
        }
    }
}

/// When a container's log file is rotated, and how many are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogLimits {
    /// A file is rotated before it grows beyond this many bytes.
    pub file_bytes_max: u64,
    /// Files kept for one container, the current one included.
    pub files_max: u32,
}

impl Default for LogLimits {
    /// Upstream's: 10 MiB in each of 5 files (KubeletConfiguration containerLogMaxSize, containerLogMaxFiles).
    fn default() -> Self {
        Self { file_bytes_max: 10 * 1024 * 1024, files_max: 5 }
    }
}
