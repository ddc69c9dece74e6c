//! What a name asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The meaning of a name within the cluster's domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// `<service>.<namespace>.svc.<domain>`.
    Service {
        /// Service.
        service: String,
        /// Namespace.
        namespace: String,
    },
    /// `<host>.<service>.<namespace>.svc.<domain>`: one pod of a set.
    Endpoint {
        /// Host name, or the address with dashes.
        host: String,
        /// Service.
        service: String,
        /// Namespace.
        namespace: String,
    },
    /// `_<port>._<protocol>.<service>.<namespace>.svc.<domain>`.
    Port {
        /// Name of the port.
        port: String,
        /// Protocol.
        protocol: String,
        /// Service.
        service: String,
        /// Namespace.
        namespace: String,
    },
    /// `<a-b-c-d>.<namespace>.pod.<domain>`.
    PodAddress {
        /// The address in the name.
        address: Ipv4Addr,
        /// Namespace.
        namespace: String,
    },
    /// `<namespace>.svc.<domain>`.
    Namespace(String),
    /// `svc.<domain>`, `pod.<domain>` or the domain itself.
    Branch,
    /// `dns-version.<domain>`.
    Version,
    /// An address, by `in-addr.arpa` or `ip6.arpa`.
    Address(IpAddr),
    /// Within the domain, and nothing that can exist.
    Unknown,
    /// Not within the domain.
    Outside,
}

impl Question {
    /// Reads a name, absolute, with or without the last dot; upper and lower case mean the same.
    pub fn parse(name: &str, domain: &str) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(address) = parse_reverse(&name) {
            return Self::Address(address);
        }
        let within = if name == domain {
            ""
        } else {
            match name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) {
                Some(rest) => rest,
                None => return Self::Outside,
            }
        };
        let labels: Vec<&str> = within.split('.').filter(|l| !l.is_empty()).collect();
        let own = |text: &&str| (*text).to_owned();
        match labels.as_slice() {
            [] | ["svc" | "pod"] => Self::Branch,
            ["dns-version"] => Self::Version,
            [namespace, "svc"] => Self::Namespace(own(namespace)),
            [service, namespace, "svc"] => Self::Service { service: own(service), namespace: own(namespace) },
            [host, service, namespace, "svc"] => {
                Self::Endpoint { host: own(host), service: own(service), namespace: own(namespace) }
            }
            [port, protocol, service, namespace, "svc"] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => Self::Port {
                    port: port.to_owned(),
                    protocol: protocol.to_owned(),
                    service: own(service),
                    namespace: own(namespace),
                },
                _ => Self::Unknown,
            },
            [address, namespace, "pod"] => match address.replace('-', ".").parse() {
                Ok(address) => Self::PodAddress { address, namespace: own(namespace) },
                Err(_) => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The namespace whose services and slices are needed; `None` for a question that needs all or none.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Service { namespace, .. }
            | Self::Endpoint { namespace, .. }
            | Self::Port { namespace, .. }
            | Self::PodAddress { namespace, .. }
            | Self::Namespace(namespace) => Some(namespace),
            Self::Branch | Self::Version | Self::Address(_) | Self::Unknown | Self::Outside => None,
        }
    }
}

fn parse_reverse(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<u8> = rest.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        octets.reverse();
        return <[u8; 4]>::try_from(octets).ok().map(|o| IpAddr::V4(Ipv4Addr::from(o)));
    }
    let rest = name.strip_suffix(".ip6.arpa")?;
    let digits: Vec<u128> = rest.split('.').map(|d| u128::from_str_radix(d, 16)).collect::<Result<_, _>>().ok()?;
    if digits.len() != 32 || digits.iter().any(|d| *d > 15) {
        return None;
    }
    Some(IpAddr::V6(Ipv6Addr::from(digits.iter().rev().fold(0, |sum, d| sum << 4 | d))))
}

/// The name by which an address is asked for.
pub(crate) fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits: Vec<String> = (0..32).map(|n| format!("{:x}", u128::from(v6) >> (4 * n) & 15)).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}
