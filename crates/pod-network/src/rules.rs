//! The node's nftables ruleset as text: decides only; `netlink` hands it to `nft`, which applies it in one step.
//!
//! A connection to a service address is rewritten to one backend when it begins; the kernel keeps to that choice for the
//! connection's life. Traffic between pods keeps its source address; only a pod that reaches itself through a service, and
//! traffic that leaves the cluster, are rewritten.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::{Protocol, Ranges, ServicePort};

/// The table's name; nft takes no hyphen without quotes.
pub(crate) fn table_name(cluster_id: &str) -> String {
    format!("roadstead_{cluster_id}")
}

/// The script that makes the table exactly this. `known_sets` are the affinity sets that are in the kernel now: those
/// that stay keep their members, so that a change of another service moves no client.
pub(crate) fn ruleset(
    cluster_id: &str,
    ranges: &Ranges,
    services: &[ServicePort],
    known_sets: Option<&BTreeSet<String>>,
) -> (String, BTreeSet<String>) {
    let table = table_name(cluster_id);
    let mut sets = BTreeSet::new();
    let mut rules = String::new();
    let mut hairpins: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for service in services {
        service_rules(service, &mut rules, &mut sets);
        hairpins.extend(service.backends.iter().filter_map(|(address, _)| v4(*address)));
    }
    let mut text = String::new();
    let Ranges { pods, services: service_range } = ranges;
    let gateway = ranges.gateway();
    let own = format!("ip {table}");
    // After a start nothing is known of the kernel's table: it is made anew.
    if known_sets.is_none() {
        let _ = writeln!(text, "table {own}\ndelete table {own}");
    }
    let _ = writeln!(text, "table {own} {{");
    for set in &sets {
        let _ = writeln!(text, "  set {set} {{ type ipv4_addr; flags dynamic,timeout; timeout 3h; }}");
    }
    let _ = write!(
        text,
        "  chain services {{ }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}
  chain output {{ type nat hook output priority -100; policy accept; }}
  chain postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
  chain forward {{ type filter hook forward priority filter; policy accept; }}
  chain refuse {{ type filter hook output priority filter; policy accept; }}
}}
"
    );
    for chain in ["services", "prerouting", "output", "postrouting", "forward", "refuse"] {
        let _ = writeln!(text, "flush chain {own} {chain}");
    }
    let _ = writeln!(text, "table {own} {{\n  chain services {{\n{rules}  }}");
    let _ = writeln!(text, "  chain prerouting {{ ip daddr {service_range} jump services; }}");
    let _ = writeln!(text, "  chain output {{ ip daddr {service_range} jump services; }}");
    let _ = writeln!(text, "  chain postrouting {{");
    for address in hairpins {
        let _ = writeln!(text, "    ip saddr {address} ip daddr {address} snat to {gateway}");
    }
    let _ = writeln!(text, "    ip saddr {pods} ip daddr != {{ {pods}, {service_range} }} masquerade\n  }}");
    // What still has a service address after the rewriting has no backend: it is refused, not left to time out.
    for chain in ["forward", "refuse"] {
        let _ = writeln!(
            text,
            "  chain {chain} {{ ip daddr {service_range} meta l4proto tcp reject with tcp reset; ip daddr {service_range} reject; }}"
        );
    }
    text.push_str("}\n");
    for stale in known_sets.into_iter().flatten().filter(|s| !sets.contains(*s)) {
        let _ = writeln!(text, "delete set {own} {stale}");
    }
    (text, sets)
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn service_rules(service: &ServicePort, rules: &mut String, sets: &mut BTreeSet<String>) {
    let protocol = match service.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let to = format!("ip daddr {} {protocol} dport {}", service.address, service.port);
    let count = service.backends.len();
    let Some(timeout) = service.affinity_secs else {
        match service.backends.as_slice() {
            [] => {}
            [(address, port)] => {
                let _ = writeln!(rules, "    {to} dnat to {address}:{port}");
            }
            many => {
                let map: Vec<String> =
                    many.iter().enumerate().map(|(n, (address, port))| format!("{n} : {address} . {port}")).collect();
                let _ = writeln!(rules, "    {to} dnat to numgen random mod {count} map {{ {} }}", map.join(", "));
            }
        }
        return;
    };
    // A client that has a backend stays with it; the others are spread, and remembered.
    for (address, port) in &service.backends {
        let set = set_name(service, *address, *port);
        let _ = writeln!(
            rules,
            "    {to} ip saddr @{set} update @{set} {{ ip saddr timeout {timeout}s }} dnat to {address}:{port}"
        );
    }
    for (n, (address, port)) in service.backends.iter().enumerate() {
        let set = set_name(service, *address, *port);
        let spread = if n + 1 < count { format!(" numgen random mod {} 0", count - n) } else { String::new() };
        let _ = writeln!(
            rules,
            "    {to}{spread} update @{set} {{ ip saddr timeout {timeout}s }} dnat to {address}:{port}"
        );
        sets.insert(set);
    }
}

fn set_name(service: &ServicePort, address: IpAddr, port: u16) -> String {
    let protocol = match service.protocol {
        Protocol::Tcp => "t",
        Protocol::Udp => "u",
    };
    let name = format!("aff_{}_{protocol}{}_{address}_{port}", service.address, service.port);
    name.replace(['.', ':'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn ranges() -> Ranges {
        Ranges { pods: "10.64.0.0/20".parse().expect("a net"), services: "10.64.16.0/20".parse().expect("a net") }
    }

    fn service(affinity_secs: Option<u32>) -> ServicePort {
        let backend = |n: u8| (IpAddr::V4(Ipv4Addr::new(10, 64, 0, n)), 6379);
        ServicePort {
            address: IpAddr::V4(Ipv4Addr::new(10, 64, 16, 9)),
            port: 80,
            protocol: Protocol::Tcp,
            backends: vec![backend(2), backend(3)],
            affinity_secs,
        }
    }

    #[test]
    fn connections_are_spread_over_the_backends_and_a_pod_reaches_itself() {
        let (text, _) = ruleset("0badcafe", &ranges(), &[service(None)], None);
        expect![[r#"
            table ip roadstead_0badcafe
            delete table ip roadstead_0badcafe
            table ip roadstead_0badcafe {
              chain services { }
              chain prerouting { type nat hook prerouting priority dstnat; policy accept; }
              chain output { type nat hook output priority -100; policy accept; }
              chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
              chain forward { type filter hook forward priority filter; policy accept; }
              chain refuse { type filter hook output priority filter; policy accept; }
            }
            flush chain ip roadstead_0badcafe services
            flush chain ip roadstead_0badcafe prerouting
            flush chain ip roadstead_0badcafe output
            flush chain ip roadstead_0badcafe postrouting
            flush chain ip roadstead_0badcafe forward
            flush chain ip roadstead_0badcafe refuse
            table ip roadstead_0badcafe {
              chain services {
                ip daddr 10.64.16.9 tcp dport 80 dnat to numgen random mod 2 map { 0 : 10.64.0.2 . 6379, 1 : 10.64.0.3 . 6379 }
              }
              chain prerouting { ip daddr 10.64.16.0/20 jump services; }
              chain output { ip daddr 10.64.16.0/20 jump services; }
              chain postrouting {
                ip saddr 10.64.0.2 ip daddr 10.64.0.2 snat to 10.64.0.1
                ip saddr 10.64.0.3 ip daddr 10.64.0.3 snat to 10.64.0.1
                ip saddr 10.64.0.0/20 ip daddr != { 10.64.0.0/20, 10.64.16.0/20 } masquerade
              }
              chain forward { ip daddr 10.64.16.0/20 meta l4proto tcp reject with tcp reset; ip daddr 10.64.16.0/20 reject; }
              chain refuse { ip daddr 10.64.16.0/20 meta l4proto tcp reject with tcp reset; ip daddr 10.64.16.0/20 reject; }
            }
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn affinity_remembers_a_clients_backend_and_forgets_sets_that_are_not_used() {
        let (_, sets) = ruleset("0badcafe", &ranges(), &[service(Some(60))], None);
        assert_eq!(sets.len(), 2);
        let (text, left) = ruleset("0badcafe", &ranges(), &[], Some(&sets));
        assert!(left.is_empty() && text.contains("delete set ip roadstead_0badcafe aff_10_64_16_9_t80_10_64_0_2_6379"));
        assert!(!text.contains("delete table"), "what is known is changed, not made anew");
    }
}
