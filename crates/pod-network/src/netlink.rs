//! The network of a real node: veths and routes over netlink, service rules by `nft`.
//!
//! A pod has one veth whose host end is routed (`<address>/32`), without a shared bridge: a client's address is kept
//! without br_netfilter, and a pod reaches nothing at layer 2 but its gateway. The gateway's address lives on a bridge
//! without ports, which serves as a dummy device. The attachment of a pod is one small file under the state folder, so that
//! a restarted agent knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use meta::Uid;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::addresses::Addresses;
use crate::rules::{ruleset, table_name};
use crate::{Attachment, NetworkError, PodNetwork, Ranges, ServicePort};

/// Name of the link inside a pod.
const POD_LINK: &str = "eth0";

/// What a node's network is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Eight lower-case hexadecimal digits.
    pub cluster_id: String,
    /// The cluster's addresses.
    pub ranges: Ranges,
    /// Folder of this room's own; made if missing.
    pub state_dir: PathBuf,
}

/// The network of a real node.
#[derive(Debug)]
pub struct NetlinkNetwork {
    config: Config,
    handle: Handle,
    addresses: Mutex<Addresses>,
    /// Affinity sets in the kernel; `None` until the first ruleset of this process. Held while `nft` runs, so that
    /// rulesets arrive in order.
    sets: Arc<Mutex<Option<BTreeSet<String>>>>,
}

fn kernel(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let doing = doing.into();
    move |error| NetworkError::Kernel { doing, why: error.to_string() }
}

fn disk(doing: String) -> impl FnOnce(std::io::Error) -> NetworkError {
    move |error| NetworkError::Kernel { doing, why: error.to_string() }
}

/// True if the kernel says that it is there already.
fn exists(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(m) if m.raw_code() == -nix::libc::EEXIST)
}

impl NetlinkNetwork {
    /// Prepares the node: gateway device, routes, forwarding. What is there already stays.
    ///
    /// # Errors
    /// If the kernel refuses (not root, no bridge support) or the state folder cannot be read.
    pub async fn open(config: Config) -> Result<Self, NetworkError> {
        let pods = config.state_dir.join("pods");
        fs::create_dir_all(&pods).map_err(disk(format!("create {}", pods.display())))?;
        let addresses = load(&config)?;
        let handle = connect("open a netlink socket")?;
        let network = Self { config, handle, addresses: Mutex::new(addresses), sets: Arc::new(Mutex::new(None)) };
        network.make_gateway().await?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            .map_err(disk("allow forwarding between pods (net.ipv4.ip_forward)".to_owned()))?;
        Ok(network)
    }

    /// The cluster's addresses.
    pub fn ranges(&self) -> &Ranges {
        &self.config.ranges
    }

    async fn make_gateway(&self) -> Result<(), NetworkError> {
        let name = gateway_link(&self.config.cluster_id);
        let made = self.handle.link().add(LinkBridge::new(&name).up().build()).execute().await;
        match made {
            Err(error) if !exists(&error) => return Err(kernel(format!("create the device {name}"))(error)),
            _ => {}
        }
        let index = self.link_index(&name).await?;
        let gateway = self.config.ranges.gateway();
        self.handle
            .address()
            .add(index, IpAddr::V4(gateway), 32)
            .replace()
            .execute()
            .await
            .map_err(kernel(format!("give {name} the address {gateway}")))?;
        // Connections from the node itself to a service address need a route to be rewritten on; nothing travels it.
        let services = self.config.ranges.services;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(services.network(), services.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(gateway)
            .build();
        self.handle.route().add(route).replace().execute().await.map_err(kernel(format!("route {services} to {name}")))
    }

    async fn link_index(&self, name: &str) -> Result<u32, NetworkError> {
        find_link(&self.handle, name).await.map_err(kernel(format!("look up {name}")))?.ok_or_else(|| {
            NetworkError::Kernel { doing: format!("look up {name}"), why: "there is no such link".into() }
        })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, pod: &Uid) -> Result<Ipv4Addr, NetworkError> {
        let mut addresses = self.addresses();
        let before = addresses.of(pod);
        let (total, range) = (addresses.total(), self.config.ranges.pods.to_string());
        let address = addresses.allocate(pod).ok_or(NetworkError::Exhausted { total, range })?;
        if before.is_none() {
            // On disk before anything is made of it: an agent that dies now does not give it again.
            write_file(&pod_file(&self.config, pod), &address.to_string())?;
            write_file(&self.config.state_dir.join("cursor"), &addresses.cursor().to_string())?;
        }
        Ok(address)
    }

    fn attachment_at(&self, address: Ipv4Addr) -> Attachment {
        Attachment { address: IpAddr::V4(address), gateway: IpAddr::V4(self.config.ranges.gateway()) }
    }

    /// Makes the pair of links, the far end directly in the pod's namespace: moving it there costs 18 ms.
    async fn make_link(&self, name: &str, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(POD_LINK).setns_by_fd(netns.as_raw_fd()).build();
        let link = LinkMessageBuilder::<LinkVeth>::new(name, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        match self.handle.link().add(link.clone()).execute().await {
            Err(error) if exists(&error) => {
                // A leaving pod's link under this name, or a pair that an agent before us made and did not finish.
                self.delete_link(name).await?;
                self.handle.link().add(link).execute().await.map_err(kernel(format!("create the link {name}")))
            }
            made => made.map_err(kernel(format!("create the link {name}"))),
        }
    }

    async fn delete_link(&self, name: &str) -> Result<(), NetworkError> {
        delete_link(&self.handle, name).await
    }
}

async fn find_link(handle: &Handle, name: &str) -> Result<Option<u32>, rtnetlink::Error> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(found) => Ok(found.map(|link| link.header.index)),
        Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

async fn delete_link(handle: &Handle, name: &str) -> Result<(), NetworkError> {
    let Some(index) = find_link(handle, name).await.map_err(kernel(format!("look up {name}")))? else {
        return Ok(());
    };
    match handle.link().del(index).execute().await {
        Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ENODEV => Ok(()),
        done => done.map_err(kernel(format!("delete the link {name}"))),
    }
}

fn connect(doing: &str) -> Result<Handle, NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(disk(doing.to_owned()))?;
    // Ends when the last handle is dropped.
    tokio::spawn(connection);
    Ok(handle)
}

/// Configures the pod's end. Netlink acts on the namespace of the thread that opened the socket, so this needs a thread
/// of its own, which is thrown away with its namespace.
async fn configure_pod(netns: OwnedFd, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("pod-netns".to_owned())
        .stack_size(256 << 10)
        .spawn(move || {
            let _ = done.send(configure_here(&netns, address, gateway));
        })
        .map_err(disk("start a thread for the pod's network".to_owned()))?;
    result.await.unwrap_or_else(|_| {
        Err(NetworkError::Kernel { doing: "configure the pod's link".into(), why: "the thread ended early".into() })
    })
}

fn configure_here(netns: &OwnedFd, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    nix::sched::setns(netns.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|e| NetworkError::Kernel { doing: "enter the pod's network namespace".into(), why: e.to_string() })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(disk("start the async runtime for the pod's network".to_owned()))?;
    runtime.block_on(async {
        let handle = connect("open a netlink socket in the pod")?;
        // The loopback is always the first link of a namespace.
        let lo = LinkUnspec::new_with_index(1).up().build();
        handle.link().set(lo).execute().await.map_err(kernel("bring up the pod's loopback"))?;
        let found = find_link(&handle, POD_LINK).await.map_err(kernel("look up the pod's link"))?;
        let index = found.ok_or_else(|| NetworkError::Kernel {
            doing: "look up the pod's link".into(),
            why: "it is not in the namespace".into(),
        })?;
        // Not when it is made: the far end of a pair cannot be up before the near end knows it.
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(kernel("bring up the pod's link"))?;
        handle
            .address()
            .add(index, IpAddr::V4(address), 32)
            .replace()
            .execute()
            .await
            .map_err(kernel(format!("give the pod the address {address}")))?;
        let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(gateway, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        handle.route().add(to_gateway).replace().execute().await.map_err(kernel("route the gateway in the pod"))?;
        let default = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .gateway(gateway)
            .output_interface(index)
            .build();
        handle.route().add(default).replace().execute().await.map_err(kernel("add the pod's default route"))
    })
}

#[async_trait]
impl PodNetwork for NetlinkNetwork {
    async fn attach(&self, pod: &Uid, netns: BorrowedFd<'_>) -> Result<Attachment, NetworkError> {
        let address = self.allocate(pod)?;
        let name = pod_link(&self.config, address);
        let netns = netns.try_clone_to_owned().map_err(disk("hold the pod's network namespace".to_owned()))?;
        if !has_link(&netns)? {
            self.make_link(&name, netns.as_fd()).await?;
        }
        configure_pod(netns, address, self.config.ranges.gateway()).await?;
        let index = self.link_index(&name).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(self.config.ranges.gateway())
            .build();
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(kernel(format!("route {address} to {name}")))?;
        Ok(self.attachment_at(address))
    }

    async fn attachment(&self, pod: &Uid) -> Option<Attachment> {
        self.addresses().of(pod).map(|address| self.attachment_at(address))
    }

    async fn detach(&self, pod: &Uid) -> Result<(), NetworkError> {
        let Some(address) = self.addresses().of(pod) else {
            return Ok(());
        };
        let name = pod_link(&self.config, address);
        let handle = self.handle.clone();
        // Deleting a veth waits some 17 ms for the kernel's readers. Nobody needs to wait with it: the address rests until
        // the range has gone round, and a link that is still there then is deleted first.
        tokio::spawn(async move {
            if let Err(error) = delete_link(&handle, &name).await {
                tracing::warn!(link = name, %error, "a pod's link is left behind");
            }
        });
        let path = pod_file(&self.config, pod);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(disk(format!("remove {}", path.display()))(error));
            }
            _ => {}
        }
        self.addresses().release(pod);
        Ok(())
    }

    async fn set_services(&self, services: &[ServicePort]) -> Result<(), NetworkError> {
        let (config, services, sets) = (self.config.clone(), services.to_vec(), Arc::clone(&self.sets));
        let applied = tokio::task::spawn_blocking(move || {
            let mut known = sets.lock().unwrap_or_else(PoisonError::into_inner);
            let (text, left) = ruleset(&config.cluster_id, &config.ranges, &services, known.as_ref());
            let applied = nft(&["-f", "-"], &text);
            // What the kernel holds after a refusal is not known: the next ruleset starts from nothing.
            *known = applied.is_ok().then_some(left);
            applied
        });
        applied
            .await
            .unwrap_or_else(|e| Err(NetworkError::Kernel { doing: "apply service rules".into(), why: e.to_string() }))
    }
}

/// True if the pod's namespace has its link already.
fn has_link(netns: &OwnedFd) -> Result<bool, NetworkError> {
    let netns = netns.try_clone().map_err(disk("hold the pod's network namespace".to_owned()))?;
    let looked = std::thread::Builder::new()
        .name("pod-netns".to_owned())
        .stack_size(128 << 10)
        .spawn(move || {
            nix::sched::setns(netns.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)?;
            nix::net::if_::if_nametoindex(POD_LINK).map(drop)
        })
        .map_err(disk("start a thread for the pod's network".to_owned()))?
        .join();
    match looked {
        Ok(Ok(())) => Ok(true),
        Ok(Err(nix::errno::Errno::ENODEV)) => Ok(false),
        Ok(Err(error)) => {
            Err(NetworkError::Kernel { doing: "look into the pod's network".into(), why: error.to_string() })
        }
        Err(_) => {
            Err(NetworkError::Kernel { doing: "look into the pod's network".into(), why: "the thread died".into() })
        }
    }
}

/// Name of the device that has the gateway's address.
fn gateway_link(cluster_id: &str) -> String {
    format!("rs{cluster_id}")
}

/// Name of the host's end of a pod's link: the cluster's id and the address' place in the range, 15 characters.
fn pod_link(config: &Config, address: Ipv4Addr) -> String {
    let offset = u32::from(address) - u32::from(config.ranges.pods.network());
    format!("rs{}{offset:05x}", config.cluster_id)
}

fn pod_file(config: &Config, pod: &Uid) -> PathBuf {
    config.state_dir.join("pods").join(&pod.0)
}

/// Replaces a small file in one step.
fn write_file(path: &Path, text: &str) -> Result<(), NetworkError> {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(disk(format!("write {}", path.display())))
}

fn load(config: &Config) -> Result<Addresses, NetworkError> {
    let folder = config.state_dir.join("pods");
    let mut by_pod = BTreeMap::new();
    let read = || disk(format!("read {}", folder.display()));
    for entry in fs::read_dir(&folder).map_err(read())? {
        let path = entry.map_err(read())?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let text = fs::read_to_string(&path).map_err(disk(format!("read {}", path.display())))?;
        match text.parse::<Ipv4Addr>() {
            Ok(address) if config.ranges.pods.contains(&address) && path.extension().is_none() => {
                by_pod.insert(Uid(name), address);
            }
            // A write that a power loss cut off: nothing was made of it yet.
            _ => fs::remove_file(&path).map_err(disk(format!("remove {}", path.display())))?,
        }
    }
    let cursor =
        fs::read_to_string(config.state_dir.join("cursor")).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
    Ok(Addresses::new(config.ranges.pods, by_pod, cursor))
}

fn nft(arguments: &[&str], input: &str) -> Result<(), NetworkError> {
    let run = || -> std::io::Result<std::process::Output> {
        let mut child = Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(disk("run nft (package nftables)".to_owned()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetworkError::Kernel {
        doing: format!("nft {}", arguments.join(" ")),
        why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Links and tables of a cluster that are on this host now; empty after [`remove_everything`].
///
/// # Errors
/// If the kernel cannot be asked.
pub async fn audit(cluster_id: &str) -> Result<Vec<String>, NetworkError> {
    let handle = connect("open a netlink socket")?;
    let mut found: Vec<String> = cluster_links(&handle, cluster_id).await?.into_iter().map(|(_, name)| name).collect();
    let table = table_name(cluster_id);
    if nft(&["list", "table", "ip", &table], "").is_ok() {
        found.push(format!("table ip {table}"));
    }
    Ok(found)
}

async fn cluster_links(handle: &Handle, cluster_id: &str) -> Result<Vec<(u32, String)>, NetworkError> {
    let prefix = gateway_link(cluster_id);
    let links: Vec<_> = handle.link().get().execute().try_collect().await.map_err(kernel("list the links"))?;
    Ok(links
        .into_iter()
        .filter_map(|link| {
            let index = link.header.index;
            link.attributes.into_iter().find_map(|a| match a {
                LinkAttribute::IfName(name) if name.starts_with(&prefix) => Some((index, name)),
                _ => None,
            })
        })
        .collect())
}

/// Removes every link, route and rule of a cluster from this host; nothing of another is touched.
///
/// # Errors
/// If the kernel refuses.
pub async fn remove_everything(cluster_id: &str) -> Result<(), NetworkError> {
    let handle = connect("open a netlink socket")?;
    for (_, name) in cluster_links(&handle, cluster_id).await? {
        delete_link(&handle, &name).await?;
    }
    let own = format!("ip {}", table_name(cluster_id));
    nft(&["-f", "-"], &format!("table {own}\ndelete table {own}\n"))
}
