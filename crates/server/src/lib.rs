//! Assembly only: a [`Config`] in, parts started in order, stopped in reverse.
//!
//! Here lives the order of things and the cluster's own small file. What is not here: anything a part could know itself.
//! Start with [`Server::start`].

mod cluster;
mod error;
mod parts;
mod removal;
mod runtimes;

pub use controllers::HealRollout;
pub use error::{StartError, StopError};
pub use parts::{Server, Shutdown};
pub use removal::{RemovalError, remove_everything};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The Kubernetes version whose API is served.
pub const KUBERNETES_VERSION: &str = "v1.37";
/// Pods that this node takes unless told otherwise.
pub const PODS_MAX: usize = 250;
/// Threads of the control plane and the node, for the runtime that [`Server::start`] is called on: they wait for each
/// other, and for the disk, so that a second one would only be one more to wake.
pub const WORKER_THREADS: usize = 1;
/// Threads that serve requests, and run crowds of virtual pods. Two keep a laptop quiet.
const FRONT_THREADS: usize = 2;
/// Threads for calls that block: the container runtime, unpacking, `nft`.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster; stands in the kubeconfig.
    pub name: String,
    /// Data folder, absolute; made with mode 0700.
    pub data: PathBuf,
    /// Address and port of the API server for people; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Name of this node.
    pub node_name: String,
    /// Most pods that this node takes; 0: none, all run on virtual nodes.
    pub pods_max: usize,
    /// Whether rollouts of StatefulSets that say nothing about it are healed (docs/decisions/0016).
    pub heal_rollout: HealRollout,
}

/// The host's name as a node's name: lower case, as upstream's node agent takes it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// Where a cluster keeps its images.
pub fn images_folder(data: &Path) -> PathBuf {
    data.join("images")
}
