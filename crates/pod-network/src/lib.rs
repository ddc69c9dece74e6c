//! Links, addresses, routes and service rules of one node.
//!
//! Here live the [`PodNetwork`] trait, its implementation over netlink and nftables, and the in-memory twins. What is
//! not here: names (`dns-server`) and the decision which services exist (`node-agent`). Start with [`PodNetwork`]; then
//! `addresses` and `rules`, the deciding halves, and `netlink`, which obeys.

mod addresses;
mod netlink;
mod ranges;
mod rules;
mod twin;
mod virtual_network;

pub use netlink::{Config, NetlinkNetwork, audit, remove_everything};
pub use ranges::{Ranges, choose_ranges, routed};
pub use twin::MemoryNetwork;
pub use virtual_network::{VirtualNetwork, is_virtual};

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use async_trait::async_trait;
use meta::Uid;

/// What a pod was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The pod's address; nobody else's while the attachment lives.
    pub address: IpAddr,
    /// The pod's default gateway: the node's own address towards pods, and the DNS server's.
    pub gateway: IpAddr,
}

/// Why the network could not do it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Every address of the pod range is in use.
    #[error("all {total} pod addresses of {range} are in use")]
    Exhausted {
        /// Usable addresses in the range.
        total: u32,
        /// The range, as CIDR.
        range: String,
    },
    /// The kernel or a tool refused.
    #[error("{doing}: {why}")]
    Kernel {
        /// What was being done, to what.
        doing: String,
        /// What came back.
        why: String,
    },
}

/// One way in to a service: traffic to `address:port` goes to one of the backends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServicePort {
    /// ClusterIP of the service.
    pub address: IpAddr,
    /// Port of the service.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Ready endpoints; empty means: refuse.
    pub backends: Vec<(IpAddr, u16)>,
    /// Seconds a client stays with one backend (`sessionAffinity: ClientIP`); `None` for no affinity.
    pub affinity_secs: Option<u32>,
}

/// Transport of a [`ServicePort`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The network of one node. Everything is keyed by pod UID (D7) and carries the cluster's id on the host.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Gives the pod an address and a link into its network namespace. Repeating it for a pod that has one returns
    /// the same attachment and changes nothing.
    async fn attach(&self, pod: &Uid, netns: BorrowedFd<'_>) -> Result<Attachment, NetworkError>;

    /// The attachment a pod has, also across a restart of the agent.
    async fn attachment(&self, pod: &Uid) -> Option<Attachment>;

    /// Takes the link and the address away; nothing happens if there is none.
    async fn detach(&self, pod: &Uid) -> Result<(), NetworkError>;

    /// Makes the node's service rules exactly these, in one atomic step.
    async fn set_services(&self, services: &[ServicePort]) -> Result<(), NetworkError>;
}
