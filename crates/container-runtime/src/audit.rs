//! What of a cluster is on this machine: to prove that nothing was left behind, and to take it away.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::cluster_cgroup;
use crate::cgroup::Cgroups;

/// How long the processes of a cluster may take to die after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What carries a cluster's id, or lies in its runtime's folder.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Leftovers {
    /// Processes in the cluster's control groups: id and command line.
    pub processes: Vec<(i32, String)>,
    /// Control groups of pods. The cluster's own empty group is not counted: it is made once and kept.
    pub cgroups: Vec<PathBuf>,
    /// Mount points below the runtime's folder, in this process's mount namespace.
    pub mounts: Vec<String>,
    /// Bound sockets below the runtime's folder.
    pub sockets: Vec<String>,
    /// Pods' folders.
    pub folders: Vec<PathBuf>,
}

impl Leftovers {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pid, command) in &self.processes {
            writeln!(f, "process {pid}: {command}")?;
        }
        for path in self.cgroups.iter().chain(&self.folders) {
            writeln!(f, "folder {}", path.display())?;
        }
        for mount in &self.mounts {
            writeln!(f, "mount {mount}")?;
        }
        for socket in &self.sockets {
            writeln!(f, "socket {socket}")?;
        }
        Ok(())
    }
}

/// Lists what of a cluster's pods is on this machine. `state_dir` is that of [`crate::Config`].
///
/// # Errors
/// If `/proc` cannot be read.
pub fn audit(cluster_id: &str, state_dir: &Path) -> io::Result<Leftovers> {
    let cgroups = Cgroups::detect()?;
    let group = cluster_cgroup(cluster_id);
    let processes = cgroups.pids(&group).into_iter().map(|pid| (pid, command_line(pid))).collect();
    let pods = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
    };
    let below = |text: &str| Path::new(text).starts_with(state_dir);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|m| below(m)).map(str::to_owned);
    let sockets = fs::read_to_string("/proc/net/unix")?;
    let sockets = sockets.lines().filter_map(|line| line.split_whitespace().nth(7)).filter(|s| below(s));
    Ok(Leftovers {
        processes,
        cgroups: cgroups.existing(&group).iter().flat_map(|dir| pods(dir)).collect(),
        mounts: mounts.collect(),
        sockets: sockets.map(str::to_owned).collect(),
        folders: pods(&state_dir.join("pods")),
    })
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Kills every process of a cluster's pods and removes everything the runtime has made for it, records included. No
/// agent of the cluster may run.
///
/// # Errors
/// If something could not be removed.
pub fn remove_everything(cluster_id: &str, state_dir: &Path) -> io::Result<()> {
    let cgroups = Cgroups::detect()?;
    let group = cluster_cgroup(cluster_id);
    if !cgroups.kill(&group, KILL_LIMIT) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes of cluster {cluster_id} do not die")));
    }
    crate::agent::remove_pod(&cgroups, &group, &state_dir.join("pods"))
}
