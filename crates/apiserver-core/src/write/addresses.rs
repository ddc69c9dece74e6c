//! Which cluster addresses and node ports are taken, and which one is next (K-26).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::tree::{int, items, member, text};

/// First port that a service may open on the node.
pub const NODE_PORT_MIN: u16 = 30000;
/// Last port that a service may open on the node.
pub const NODE_PORT_MAX: u16 = 32767;

/// The addresses and node ports that services hold.
///
/// A value, so that the choice is a pure function; the shell keeps the current one under a lock across decision and
/// commit, [`occupy`](Self::occupy)s what a decision took and [`release`](Self::release)s it when the commit fails.
#[derive(Clone, Debug)]
pub struct AddressPool {
    network: Ipv4Addr,
    prefix_len: u8,
    used: BTreeMap<Ipv4Addr, u32>,
    used_ports: BTreeMap<(String, u16), u32>,
}

impl AddressPool {
    /// An empty pool over `network/prefix_len`.
    pub fn new(network: Ipv4Addr, prefix_len: u8) -> Self {
        Self { network, prefix_len: prefix_len.min(32), used: BTreeMap::new(), used_ports: BTreeMap::new() }
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0)
    }

    fn base(&self) -> u32 {
        u32::from(self.network) & self.mask()
    }

    /// How many addresses can be given to services: all but the network's own and the last one.
    pub fn capacity(&self) -> u32 {
        (!self.mask()).saturating_sub(1)
    }

    /// The first address, which belongs to `default/kubernetes`.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base() + 1)
    }

    /// The range as upstream's errors print it.
    pub fn range(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.base()), self.prefix_len)
    }

    /// True if a service may have the address at all.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.base());
        offset >= 1 && offset <= self.capacity()
    }

    /// True if a service has the address.
    pub fn is_used(&self, address: Ipv4Addr) -> bool {
        self.used.contains_key(&address)
    }

    /// A free address, beginning the search at a place given by `seed`; never the first. `None` if all are taken.
    pub fn pick(&self, seed: u64) -> Option<Ipv4Addr> {
        let choices = u64::from(self.capacity()).checked_sub(1).filter(|choices| *choices > 0)?;
        (0..choices)
            .map(|step| Ipv4Addr::from(self.base() + 2 + ((seed % choices + step) % choices) as u32))
            .find(|address| !self.is_used(*address))
    }

    /// True if a service has the node port.
    pub fn is_port_used(&self, protocol: &str, port: u16) -> bool {
        self.used_ports.contains_key(&(protocol.to_owned(), port))
    }

    /// A free node port that is not in `taken` either. `None` if all are taken.
    pub fn pick_port(&self, protocol: &str, taken: &BTreeSet<(String, u16)>, seed: u64) -> Option<u16> {
        let choices = u64::from(NODE_PORT_MAX - NODE_PORT_MIN) + 1;
        (0..choices)
            .map(|step| NODE_PORT_MIN + ((seed % choices + step) % choices) as u16)
            .find(|port| !self.is_port_used(protocol, *port) && !taken.contains(&(protocol.to_owned(), *port)))
    }

    /// Notes what a stored service holds.
    pub fn occupy(&mut self, service: &Value) {
        for address in addresses_of(service) {
            *self.used.entry(address).or_default() += 1;
        }
        for port in node_ports_of(service) {
            *self.used_ports.entry(port).or_default() += 1;
        }
    }

    /// Forgets what a service held; call it with the state that was given to [`occupy`](Self::occupy).
    pub fn release(&mut self, service: &Value) {
        for address in addresses_of(service) {
            give_back(&mut self.used, &address);
        }
        for port in node_ports_of(service) {
            give_back(&mut self.used_ports, &port);
        }
    }
}

fn give_back<K: Ord>(used: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = used.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            used.remove(key);
        }
    }
}

/// The cluster addresses that a service holds.
pub(crate) fn addresses_of(service: &Value) -> Vec<Ipv4Addr> {
    let spec = member(service, "spec");
    let mut addresses: Vec<Ipv4Addr> = items(spec, "clusterIPs")
        .iter()
        .filter_map(Value::as_str)
        .chain(Some(text(spec, "clusterIP")))
        .filter_map(|address| address.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The node ports that a service holds, with their protocols.
pub(crate) fn node_ports_of(service: &Value) -> BTreeSet<(String, u16)> {
    items(member(service, "spec"), "ports")
        .iter()
        .filter_map(|port| {
            let number = u16::try_from(int(port, "nodePort")?).ok().filter(|number| *number != 0)?;
            Some((text(port, "protocol").to_owned(), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_address_but_the_first_and_the_edges_is_given_exactly_once() {
        let mut pool = AddressPool::new(Ipv4Addr::new(10, 0, 0, 0), 29);
        assert_eq!((pool.first(), pool.capacity()), (Ipv4Addr::new(10, 0, 0, 1), 6));
        let mut given = Vec::new();
        while let Some(address) = pool.pick(4) {
            pool.occupy(&json!({"spec": {"clusterIP": address.to_string(), "clusterIPs": [address.to_string()]}}));
            given.push(address.octets()[3]);
        }
        given.sort_unstable();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        pool.release(&json!({"spec": {"clusterIP": "10.0.0.3"}}));
        assert_eq!(pool.pick(0), Some(Ipv4Addr::new(10, 0, 0, 3)));
        assert!(!pool.contains(Ipv4Addr::new(10, 0, 0, 0)) && !pool.contains(Ipv4Addr::new(10, 0, 0, 7)));
        assert!(!pool.contains(Ipv4Addr::new(10, 0, 0, 8)) && pool.contains(pool.first()));
    }

    #[test]
    fn headless_services_hold_no_address() {
        assert_eq!(
            addresses_of(&json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})),
            Vec::<Ipv4Addr>::new()
        );
    }
}
