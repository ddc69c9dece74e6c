//! `down --delete-data`: everything of a cluster goes, and nothing else.

use std::path::{Path, PathBuf};

use crate::cluster::Cluster;

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The cluster's file cannot be read: without its id nothing on the host can be found.
    #[error("find what belongs to the cluster")]
    Cluster(#[from] crate::StartError),
    /// Containers, mounts or cgroups.
    #[error("remove containers: {0}")]
    Runtime(String),
    /// Links and rules.
    #[error("remove links and rules")]
    Network(#[from] pod_network::NetworkError),
    /// Files.
    #[error("delete {path:?}")]
    Files {
        /// The folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Something is mounted below the folder: deleting through it would delete somebody else's data.
    #[error("{0:?} is still mounted below the data folder; unmount it, then try again")]
    Mounted(String),
}

/// Removes processes, cgroups, mounts, links, rules and files of the cluster in `data`. The server must not run.
///
/// # Errors
/// What could not be removed; calling again goes on.
pub async fn remove_everything(data: &Path) -> Result<(), RemovalError> {
    if let Some(cluster) = Cluster::load(data)? {
        let id = cluster.id.clone();
        let folder = data.to_path_buf();
        tokio::task::spawn_blocking(move || container_runtime::remove_everything(&id, &folder.join("runtime")))
            .await
            .map_err(|e| RemovalError::Runtime(e.to_string()))?
            .map_err(|e| RemovalError::Runtime(e.to_string()))?;
        pod_network::remove_everything(&cluster.id).await?;
    }
    unmount_below(data)?;
    std::fs::remove_dir_all(data).map_err(|source| RemovalError::Files { path: data.to_path_buf(), source })
}

/// Unmounts what our own parts mounted below the folder, deepest first; refuses to go on if something stays.
fn unmount_below(data: &Path) -> Result<(), RemovalError> {
    let mut points = mounts_below(data);
    points.sort_by_key(|p| std::cmp::Reverse(p.len()));
    for point in &points {
        let _ = rustix::mount::unmount(point.as_str(), rustix::mount::UnmountFlags::DETACH);
    }
    match mounts_below(data).into_iter().next() {
        Some(left) => Err(RemovalError::Mounted(left)),
        None => Ok(()),
    }
}

fn mounts_below(data: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let prefix = format!("{}/", data.display());
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(&prefix))
        .collect()
}

/// The mount table writes space, tab, newline and backslash as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
