//! Which addresses a cluster uses: chosen once, beside everything that the host already routes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// Addresses of one cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ranges {
    /// Pods; the first usable address is the gateway.
    pub pods: Ipv4Net,
    /// Services; the first usable address is `default/kubernetes`.
    pub services: Ipv4Net,
}

impl Ranges {
    /// The node's own address towards its pods.
    pub fn gateway(&self) -> Ipv4Addr {
        nth(self.pods, 1)
    }

    /// ClusterIP of the service `default/kubernetes`.
    pub fn kubernetes_service(&self) -> Ipv4Addr {
        nth(self.services, 1)
    }
}

/// The `n`-th address of a range.
pub(crate) fn nth(range: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()) + n)
}

/// The block from which clusters take their ranges; private, and away from what routers and container tools use.
const BLOCK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 64, 0, 0), 10);
/// One cluster takes two neighbouring ranges of this length: 4,094 addresses each.
const PREFIX: u8 = 20;

/// Chooses the ranges of a cluster: the same for the same id, unless something of `routed` overlaps; then the next that
/// is free. `None` if the whole block is routed already.
pub fn choose_ranges(routed: &[Ipv4Net], cluster_id: &str) -> Option<Ranges> {
    let slots = 1_u32 << (PREFIX - 1 - BLOCK.prefix_len());
    let seed =
        cluster_id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..slots).map(|step| seed.wrapping_add(step) % slots).find_map(|slot| {
        let first = u32::from(BLOCK.network()) + (slot << (32 - u32::from(PREFIX) + 1));
        let both = Ipv4Net::new_assert(Ipv4Addr::from(first), PREFIX - 1);
        // A default route overlaps everything and means nothing here.
        let taken = routed.iter().any(|r| r.prefix_len() > 0 && (r.contains(&both) || both.contains(r)));
        (!taken).then(|| Ranges {
            pods: Ipv4Net::new_assert(Ipv4Addr::from(first), PREFIX),
            services: Ipv4Net::new_assert(Ipv4Addr::from(first + (1 << (32 - u32::from(PREFIX)))), PREFIX),
        })
    })
}

/// Everything that this network namespace routes now, from the kernel's table.
///
/// # Errors
/// If the table cannot be read.
pub fn routed() -> Result<Vec<Ipv4Net>, NetworkError> {
    let path = "/proc/thread-self/net/route";
    let text = std::fs::read_to_string(path)
        .map_err(|source| NetworkError::Kernel { doing: format!("read {path}"), why: source.to_string() })?;
    Ok(parse_routes(&text))
}

/// Reads the kernel's table: addresses and masks as hexadecimal numbers in host byte order.
fn parse_routes(text: &str) -> Vec<Ipv4Net> {
    let number = |word: Option<&&str>| word.and_then(|w| u32::from_str_radix(w, 16).ok()).map(u32::from_be);
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (destination, mask) = (number(words.get(1))?, number(words.get(7))?);
            Ipv4Net::with_netmask(Ipv4Addr::from(destination), Ipv4Addr::from(mask)).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_id_gives_the_same_ranges_and_they_do_not_overlap() {
        let ranges = choose_ranges(&[], "0badcafe").expect("an empty host has room");
        assert_eq!(choose_ranges(&[], "0badcafe"), Some(ranges));
        assert!(
            !ranges.pods.contains(&ranges.services) && BLOCK.contains(&ranges.pods) && BLOCK.contains(&ranges.services)
        );
        assert_ne!(ranges.gateway(), ranges.kubernetes_service());
    }

    #[test]
    fn a_routed_range_is_avoided_and_a_default_route_is_not_a_range() {
        let first = choose_ranges(&[], "0badcafe").expect("room");
        let default: Ipv4Net = "0.0.0.0/0".parse().expect("a net");
        assert_eq!(choose_ranges(&[default], "0badcafe"), Some(first));
        let second = choose_ranges(&[default, first.services], "0badcafe").expect("room");
        assert_ne!(second.pods, first.pods);
        let single: Ipv4Net = format!("{}/32", first.gateway()).parse().expect("a net");
        assert_ne!(choose_ranges(&[single], "0badcafe").expect("room").pods, first.pods);
    }

    #[test]
    fn a_full_block_is_said_instead_of_overlapping() {
        assert_eq!(choose_ranges(&["10.0.0.0/8".parse().expect("a net")], "x"), None);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\neth0\t0000400A\t00000000\t0001\t0\t0\t0\t00F0FFFF\n";
        let nets: Vec<String> = parse_routes(text).iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["0.0.0.0/0", "10.64.0.0/20"]);
    }
}
