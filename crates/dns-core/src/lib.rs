//! Names of services and pods, decided.
//!
//! Here live the meaning of a name ([`Question`]) and the answer to it as a value ([`answer`]), by the Kubernetes DNS
//! specification 1.1.0. What is not here: wire format, sockets and forwarding (`dns-server`). Start with [`answer`].
//!
//! Names are never late (D11): a negative answer has a lifetime of 0, and is given only from a view that is up to date.

mod question;

pub use question::Question;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// Lifetime of a positive answer, in seconds.
pub const TTL_SECS: u32 = 5;
/// Version of the specification that is followed.
const SPECIFICATION: &str = "1.1.0";

/// Type of the records that are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Ports with their targets.
    Srv,
    /// Name of an address.
    Ptr,
    /// Alias.
    Cname,
    /// Text.
    Txt,
    /// Whatever there is.
    Any,
    /// A type that names here never have.
    Other,
}

/// Content of a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A port, and the name that has it.
    Srv {
        /// Port number.
        port: u16,
        /// Weight among the records of one answer.
        weight: u16,
        /// Absolute name without the last dot.
        target: String,
    },
    /// A name, absolute without the last dot.
    Ptr(String),
    /// The name that is meant, absolute without the last dot.
    Cname(String),
    /// A text.
    Txt(String),
}

/// One record of an answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Record {
    /// The name it is about, absolute without the last dot.
    pub name: String,
    /// Its content.
    pub data: Data,
}

/// The answer to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// There is something.
    Records {
        /// What was asked for.
        answers: Vec<Record>,
        /// Addresses of the targets, so that nobody has to ask again.
        additionals: Vec<Record>,
    },
    /// The name exists and has nothing of this type; lifetime 0.
    NoData,
    /// The name does not exist; lifetime 0.
    NoSuchName,
    /// The view is not up to date: ask again (SERVFAIL), because "no" could be wrong.
    NotYet,
    /// An alias to a name outside: the server resolves the target and adds what it finds.
    Alias {
        /// The alias.
        alias: Record,
        /// Where it leads; absolute without the last dot.
        target: String,
    },
    /// Not ours: ask the host's resolver.
    Forward,
}

/// What the cluster knows of the names in question.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Domain of the cluster, for example `cluster.local`.
    pub domain: &'a str,
    /// True if the view is up to date.
    pub synced: bool,
    /// The services of the namespace in question; every service for a question by address.
    pub services: &'a [&'a Service],
    /// Their slices.
    pub slices: &'a [&'a EndpointSlice],
    /// Ranges of pod and service addresses, as network and prefix length: questions by address inside them are ours.
    pub ranges: &'a [(Ipv4Addr, u8)],
}

/// Answers a question. `seed` turns the order of addresses, so that clients that take the first one spread.
pub fn answer(question: &Question, record_type: RecordType, view: &View<'_>, seed: u64) -> Answer {
    if *question == Question::Outside {
        return Answer::Forward;
    }
    if let Question::Address(address) = question {
        return by_address(*address, record_type, view);
    }
    if !view.synced {
        return Answer::NotYet;
    }
    match question {
        Question::Service { service, namespace } => of_service(service, namespace, record_type, view, seed),
        Question::Endpoint { host, service, namespace } => of_endpoint(host, service, namespace, record_type, view),
        Question::Port { port, protocol, service, namespace } => {
            of_port(port, protocol, service, namespace, record_type, view, seed)
        }
        Question::PodAddress { address, namespace } => {
            let name = format!("{}.{namespace}.pod.{}", dashed(IpAddr::V4(*address)), view.domain);
            addresses(&name, &[IpAddr::V4(*address)], record_type, 0)
        }
        Question::Namespace(namespace) => {
            let has_services = view.services.iter().any(|s| s.metadata.namespace.as_deref() == Some(namespace));
            if has_services { Answer::NoData } else { Answer::NoSuchName }
        }
        Question::Branch => Answer::NoData,
        Question::Version if matches!(record_type, RecordType::Txt | RecordType::Any) => Answer::Records {
            answers: vec![Record {
                name: format!("dns-version.{}", view.domain),
                data: Data::Txt(SPECIFICATION.to_owned()),
            }],
            additionals: Vec::new(),
        },
        Question::Version => Answer::NoData,
        Question::Unknown | Question::Address(_) | Question::Outside => Answer::NoSuchName,
    }
}

fn find<'a>(view: &View<'a>, name: &str, namespace: &str) -> Option<&'a Service> {
    let is_it =
        |s: &&&Service| s.metadata.name.as_deref() == Some(name) && s.metadata.namespace.as_deref() == Some(namespace);
    view.services.iter().find(is_it).copied()
}

/// The service's own addresses; none if it is headless.
fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let listed =
        spec.cluster_ips.filter(|ips| !ips.is_empty()).unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
    listed.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// Ready endpoints of a service with the ports of their slice. `ready` is true for all of them where the service
/// publishes addresses that are not ready; absent means ready.
fn endpoints<'a>(view: &View<'a>, service: &Service) -> Vec<(&'a EndpointSlice, &'a Endpoint, IpAddr)> {
    let of = |slice: &&&EndpointSlice| {
        slice.metadata.namespace == service.metadata.namespace
            && slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"))
                == service.metadata.name.as_ref()
    };
    let mut found: Vec<_> = view
        .slices
        .iter()
        .filter(of)
        .flat_map(|slice| slice.endpoints.iter().flatten().map(move |e| (*slice, e)))
        .filter(|(_, e)| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true))
        .flat_map(|(slice, e)| e.addresses.iter().filter_map(move |a| Some((slice, e, a.parse().ok()?))))
        .collect();
    found.sort_by_key(|(_, _, address)| *address);
    found.dedup_by_key(|(_, e, address)| (*address, e.hostname.clone()));
    found
}

/// `10-0-0-1`: how an endpoint without a host name is called.
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn host_of(endpoint: &Endpoint, address: IpAddr) -> String {
    endpoint.hostname.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| dashed(address))
}

fn service_name(service: &Service, domain: &str) -> String {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    format!("{name}.{namespace}.svc.{domain}")
}

fn of_service(name: &str, namespace: &str, record_type: RecordType, view: &View<'_>, seed: u64) -> Answer {
    let Some(service) = find(view, name, namespace) else {
        return Answer::NoSuchName;
    };
    let full = service_name(service, view.domain);
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.unwrap_or_default().trim_end_matches('.').to_owned();
        let alias = Record { name: full, data: Data::Cname(target.clone()) };
        return match record_type {
            RecordType::Cname => Answer::Records { answers: vec![alias], additionals: Vec::new() },
            _ => Answer::Alias { alias, target },
        };
    }
    if record_type == RecordType::Srv {
        return Answer::NoData;
    }
    let own = cluster_addresses(service);
    if !own.is_empty() {
        return addresses(&full, &own, record_type, seed);
    }
    let ready: Vec<IpAddr> = endpoints(view, service).into_iter().map(|(_, _, address)| address).collect();
    if ready.is_empty() {
        // A headless service without a ready endpoint does not exist as a name, as with upstream.
        return Answer::NoSuchName;
    }
    addresses(&full, &ready, record_type, seed)
}

fn of_endpoint(host: &str, name: &str, namespace: &str, record_type: RecordType, view: &View<'_>) -> Answer {
    let Some(service) = find(view, name, namespace) else {
        return Answer::NoSuchName;
    };
    let found: Vec<IpAddr> = endpoints(view, service)
        .into_iter()
        .filter(|(_, endpoint, address)| host_of(endpoint, *address).eq_ignore_ascii_case(host))
        .map(|(_, _, address)| address)
        .collect();
    if found.is_empty() || !cluster_addresses(service).is_empty() {
        return Answer::NoSuchName;
    }
    addresses(&format!("{host}.{}", service_name(service, view.domain)), &found, record_type, 0)
}

fn of_port(
    port: &str,
    protocol: &str,
    name: &str,
    namespace: &str,
    record_type: RecordType,
    view: &View<'_>,
    seed: u64,
) -> Answer {
    let Some(service) = find(view, name, namespace) else {
        return Answer::NoSuchName;
    };
    let full = service_name(service, view.domain);
    let asked = format!("_{port}._{protocol}.{full}");
    let fits = |p: Option<&str>, n: Option<&str>| {
        n.is_some_and(|n| n.eq_ignore_ascii_case(port)) && p.unwrap_or("TCP").eq_ignore_ascii_case(protocol)
    };
    let mut answers = Vec::new();
    let mut additionals = Vec::new();
    let own = cluster_addresses(service);
    if own.is_empty() {
        let ready = endpoints(view, service);
        let weight = 100 / u16::try_from(ready.len().max(1)).unwrap_or(100).min(100);
        for (slice, endpoint, address) in ready {
            let target = format!("{}.{full}", host_of(endpoint, address));
            for p in slice.ports.iter().flatten().filter(|p| fits(p.protocol.as_deref(), p.name.as_deref())) {
                let Some(port) = p.port.and_then(|p| u16::try_from(p).ok()) else {
                    continue;
                };
                answers.push(Record { name: asked.clone(), data: Data::Srv { port, weight, target: target.clone() } });
                additionals.push(address_record(&target, address));
            }
        }
    } else {
        let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
        for p in ports.filter(|p| fits(p.protocol.as_deref(), p.name.as_deref())) {
            let port = u16::try_from(p.port).unwrap_or_default();
            answers.push(Record { name: asked.clone(), data: Data::Srv { port, weight: 100, target: full.clone() } });
        }
        additionals.extend(own.into_iter().map(|address| address_record(&full, address)));
    }
    if answers.is_empty() {
        return Answer::NoSuchName;
    }
    if !matches!(record_type, RecordType::Srv | RecordType::Any) {
        return Answer::NoData;
    }
    turn(&mut answers, seed);
    Answer::Records { answers, additionals }
}

fn by_address(address: IpAddr, record_type: RecordType, view: &View<'_>) -> Answer {
    let ours = match address {
        IpAddr::V4(v4) => view.ranges.iter().any(|(network, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            u32::from(v4) & mask == u32::from(*network) & mask
        }),
        IpAddr::V6(_) => false,
    };
    if !ours {
        return Answer::Forward;
    }
    if !view.synced {
        return Answer::NotYet;
    }
    let mut names = Vec::new();
    for service in view.services {
        let full = service_name(service, view.domain);
        if cluster_addresses(service).contains(&address) {
            names.push(full);
        } else {
            let there = endpoints(view, service).into_iter().filter(|(_, e, a)| *a == address && e.hostname.is_some());
            names.extend(there.map(|(_, e, a)| format!("{}.{full}", host_of(e, a))));
        }
    }
    if names.is_empty() {
        return Answer::NoSuchName;
    }
    if !matches!(record_type, RecordType::Ptr | RecordType::Any) {
        return Answer::NoData;
    }
    names.sort();
    let asked = question::reverse_name(address);
    let answers = names.into_iter().map(|n| Record { name: asked.clone(), data: Data::Ptr(n) }).collect();
    Answer::Records { answers, additionals: Vec::new() }
}

fn address_record(name: &str, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => Data::A(v4),
        IpAddr::V6(v6) => Data::Aaaa(v6),
    };
    Record { name: name.to_owned(), data }
}

fn addresses(name: &str, all: &[IpAddr], record_type: RecordType, seed: u64) -> Answer {
    let wanted = |address: &&IpAddr| match record_type {
        RecordType::A => address.is_ipv4(),
        RecordType::Aaaa => address.is_ipv6(),
        RecordType::Any => true,
        RecordType::Srv | RecordType::Ptr | RecordType::Cname | RecordType::Txt | RecordType::Other => false,
    };
    let mut answers: Vec<Record> = all.iter().filter(wanted).map(|a| address_record(name, *a)).collect();
    if answers.is_empty() {
        return Answer::NoData;
    }
    turn(&mut answers, seed);
    Answer::Records { answers, additionals: Vec::new() }
}

fn turn(records: &mut [Record], seed: u64) {
    let by = usize::try_from(seed % records.len() as u64).unwrap_or(0);
    records.rotate_left(by);
}

#[cfg(test)]
mod tests;
