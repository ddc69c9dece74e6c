//! The in-memory twin: addresses without links, for virtual nodes and tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use meta::Uid;

use crate::addresses::Addresses;
use crate::{Attachment, NetworkError, PodNetwork, Ranges, ServicePort};

/// A network that hands out addresses and remembers services, and touches no kernel.
#[derive(Debug)]
pub struct MemoryNetwork {
    ranges: Ranges,
    state: Mutex<(Addresses, Vec<ServicePort>)>,
}

impl MemoryNetwork {
    /// An empty network over these ranges.
    pub fn new(ranges: Ranges) -> Self {
        Self { ranges, state: Mutex::new((Addresses::new(ranges.pods, BTreeMap::new(), 0), Vec::new())) }
    }

    /// The services that were set last.
    pub fn services(&self) -> Vec<ServicePort> {
        self.state().1.clone()
    }

    fn state(&self) -> MutexGuard<'_, (Addresses, Vec<ServicePort>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attachment_at(&self, address: std::net::Ipv4Addr) -> Attachment {
        Attachment { address: IpAddr::V4(address), gateway: IpAddr::V4(self.ranges.gateway()) }
    }
}

#[async_trait]
impl PodNetwork for MemoryNetwork {
    async fn attach(&self, pod: &Uid, _netns: BorrowedFd<'_>) -> Result<Attachment, NetworkError> {
        let mut state = self.state();
        let (total, range) = (state.0.total(), self.ranges.pods.to_string());
        let address = state.0.allocate(pod).ok_or(NetworkError::Exhausted { total, range })?;
        Ok(self.attachment_at(address))
    }

    async fn attachment(&self, pod: &Uid) -> Option<Attachment> {
        self.state().0.of(pod).map(|address| self.attachment_at(address))
    }

    async fn detach(&self, pod: &Uid) -> Result<(), NetworkError> {
        self.state().0.release(pod);
        Ok(())
    }

    async fn set_services(&self, services: &[ServicePort]) -> Result<(), NetworkError> {
        self.state().1 = services.to_vec();
        Ok(())
    }
}
