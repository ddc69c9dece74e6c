//! The network of virtual nodes: addresses that nobody answers on, and that are never given twice.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use meta::Uid;

use crate::{Attachment, NetworkError, PodNetwork, ServicePort};

/// Addresses of virtual nodes and pods: the reserved range 240.0.0.0/4, which no machine has.
const FIRST: u32 = 240 << 24;
/// One beyond the last: 255.0.0.0/8 holds the broadcast address and is left alone.
const END: u32 = 255 << 24;
/// Addresses that are taken from the range at once. What was taken is written down before it is given, so that an
/// address that was given before a restart is not given after it.
const BLOCK: u32 = 4096;
/// File in the state folder that holds the first address that was not taken.
const FILE: &str = "virtual-addresses";

/// True for an address of a virtual node or of a pod on one: nobody answers there.
pub fn is_virtual(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if (FIRST..END).contains(&u32::from(v4)))
}

/// Hands out addresses of the virtual range, each only once in the life of a cluster, and touches no kernel.
#[derive(Debug)]
pub struct VirtualNetwork {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    by_holder: BTreeMap<Uid, Ipv4Addr>,
    next: u32,
    /// Addresses from here on have not been taken; reading it is put off until the first is needed.
    taken_until: Option<u32>,
}

impl VirtualNetwork {
    /// The network that keeps its count in a folder; nothing is read or written until an address is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::new(State { by_holder: BTreeMap::new(), next: FIRST, taken_until: None }) }
    }

    /// Gives a pod or a node its address, or the one it has.
    ///
    /// # Errors
    /// If the count cannot be kept on disk, or the range is used up.
    pub fn give(&self, holder: &Uid) -> Result<IpAddr, NetworkError> {
        let mut state = self.state();
        if let Some(address) = state.by_holder.get(holder) {
            return Ok(IpAddr::V4(*address));
        }
        let address = loop {
            if state.taken_until.is_none_or(|until| state.next >= until) {
                self.take_block(&mut state)?;
            }
            let candidate = state.next;
            state.next += 1;
            // What ends like a network or a broadcast address looks wrong to people.
            if !matches!(candidate & 0xff, 0 | 0xff) {
                break Ipv4Addr::from(candidate);
            }
        };
        state.by_holder.insert(holder.clone(), address);
        Ok(IpAddr::V4(address))
    }

    fn take_block(&self, state: &mut State) -> Result<(), NetworkError> {
        let path = self.folder.join(FILE);
        let failed = |error: std::io::Error| NetworkError::Kernel {
            doing: format!("keep count of virtual addresses in {}", path.display()),
            why: error.to_string(),
        };
        if state.taken_until.is_none() {
            state.next = read(&path).map_err(failed)?;
        }
        if state.next >= END {
            return Err(NetworkError::Exhausted { total: END - FIRST, range: "240.0.0.0/4".to_owned() });
        }
        let until = (state.next + BLOCK).min(END);
        write(&self.folder, &path, until).map_err(failed)?;
        state.taken_until = Some(until);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> std::io::Result<u32> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse::<Ipv4Addr>()
            .map(u32::from)
            .ok()
            .filter(|next| (FIRST..=END).contains(next))
            .ok_or_else(|| std::io::Error::other(format!("{text:?} is not an address of the virtual range"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FIRST),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, path: &Path, until: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!("{FILE}.new"));
    let mut file = std::fs::File::create(&unfinished)?;
    writeln!(file, "{}", Ipv4Addr::from(until))?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

#[async_trait]
impl PodNetwork for VirtualNetwork {
    async fn attach(&self, pod: &Uid, _netns: BorrowedFd<'_>) -> Result<Attachment, NetworkError> {
        let address = self.give(pod)?;
        Ok(Attachment { address, gateway: address })
    }

    async fn attachment(&self, pod: &Uid) -> Option<Attachment> {
        let address = self.state().by_holder.get(pod).copied().map(IpAddr::V4)?;
        Some(Attachment { address, gateway: address })
    }

    async fn detach(&self, pod: &Uid) -> Result<(), NetworkError> {
        self.state().by_holder.remove(pod);
        Ok(())
    }

    async fn set_services(&self, _services: &[ServicePort]) -> Result<(), NetworkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(n: u32) -> Uid {
        Uid(format!("pod-{n}"))
    }

    #[test]
    fn no_address_is_given_twice_not_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut given = std::collections::BTreeSet::new();
        for life in 0..3 {
            let network = VirtualNetwork::new(folder.path().to_path_buf());
            for n in 0..5000 {
                let holder = pod(life * 10_000 + n);
                let address = network.give(&holder).unwrap();
                assert!(is_virtual(address) && given.insert(address), "{address}");
                assert_eq!(network.give(&holder).unwrap(), address, "asking again changes nothing");
                network.state().by_holder.remove(&holder);
            }
        }
    }

    #[test]
    fn a_damaged_count_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "10.0.0.1\n").unwrap();
        let error = VirtualNetwork::new(folder.path().to_path_buf()).give(&pod(1)).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("10.0.0.1"), "{error}");
    }

    #[test]
    fn the_end_of_the_range_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "254.255.255.254\n").unwrap();
        let network = VirtualNetwork::new(folder.path().to_path_buf());
        assert_eq!(network.give(&pod(1)).unwrap().to_string(), "254.255.255.254");
        assert!(matches!(network.give(&pod(2)), Err(NetworkError::Exhausted { .. })));
    }
}
