//! Who has which address: decides only; `netlink` keeps it on disk.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use meta::Uid;

use crate::ranges::nth;

/// The addresses of one pod range. The first usable one is the gateway's and is never given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Addresses {
    range: Ipv4Net,
    by_pod: BTreeMap<Uid, Ipv4Addr>,
    /// Offset after the one given last: addresses go round, so that a replaced pod gets a new one and a freed one rests
    /// as long as possible.
    cursor: u32,
}

impl Addresses {
    /// Takes up where an agent before this one left off.
    pub(crate) fn new(range: Ipv4Net, by_pod: BTreeMap<Uid, Ipv4Addr>, cursor: u32) -> Self {
        Self { range, by_pod, cursor }
    }

    /// Usable addresses.
    pub(crate) fn total(&self) -> u32 {
        // Network, gateway and broadcast are not for pods.
        (1 << (32 - u32::from(self.range.prefix_len()))) - 3
    }

    /// The offset that is tried next.
    pub(crate) fn cursor(&self) -> u32 {
        self.cursor
    }

    /// The pod's address.
    pub(crate) fn of(&self, pod: &Uid) -> Option<Ipv4Addr> {
        self.by_pod.get(pod).copied()
    }

    /// Gives the pod an address, or the one it has; `None` if all are in use.
    pub(crate) fn allocate(&mut self, pod: &Uid) -> Option<Ipv4Addr> {
        if let Some(address) = self.of(pod) {
            return Some(address);
        }
        let taken: std::collections::BTreeSet<Ipv4Addr> = self.by_pod.values().copied().collect();
        for step in 0..self.total() {
            let offset = self.cursor.wrapping_add(step) % self.total();
            let address = nth(self.range, offset + 2);
            if !taken.contains(&address) {
                self.cursor = (offset + 1) % self.total();
                self.by_pod.insert(pod.clone(), address);
                return Some(address);
            }
        }
        None
    }

    /// Takes the pod's address away.
    pub(crate) fn release(&mut self, pod: &Uid) -> Option<Ipv4Addr> {
        self.by_pod.remove(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pod(n: u8) -> Uid {
        Uid(format!("pod-{n}"))
    }

    fn small() -> Addresses {
        Addresses::new("10.64.0.0/29".parse().expect("a net"), BTreeMap::new(), 0)
    }

    #[test]
    fn a_replaced_pod_gets_a_new_address_until_the_range_has_gone_round() {
        let mut addresses = small();
        let first = addresses.allocate(&pod(1));
        addresses.release(&pod(1));
        let second = addresses.allocate(&pod(2));
        assert_ne!(first, second);
        assert_eq!(addresses.allocate(&pod(2)), second, "asking again changes nothing");
    }

    #[test]
    fn a_full_range_gives_nothing_and_the_gateway_is_never_given() {
        let mut addresses = small();
        let given: Vec<Ipv4Addr> = (0..5).filter_map(|n| addresses.allocate(&pod(n))).collect();
        let shown: Vec<String> = given.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.64.0.2", "10.64.0.3", "10.64.0.4", "10.64.0.5", "10.64.0.6"]);
        assert_eq!(addresses.allocate(&pod(9)), None);
        addresses.release(&pod(3));
        assert_eq!(addresses.allocate(&pod(9)), Some(given[3]));
    }

    proptest! {
        #[test]
        fn no_address_is_ever_given_twice_at_once(steps in prop::collection::vec((any::<bool>(), 0_u8..12), 0..60)) {
            let mut addresses = small();
            for (give, n) in steps {
                if give {
                    addresses.allocate(&pod(n));
                } else {
                    addresses.release(&pod(n));
                }
                let mut given: Vec<_> = addresses.by_pod.values().copied().collect();
                let count = given.len();
                given.sort();
                given.dedup();
                prop_assert_eq!(given.len(), count);
            }
        }
    }
}
