//! The names a pod knows itself by, and where it asks for others: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

/// Longest host name the kernel takes for a pod's short name.
const HOSTNAME_CHARS_MAX: usize = 63;
/// Most search domains a resolver file may have.
const SEARCH_DOMAINS_MAX: usize = 32;
/// Most name servers a resolver file may have.
const NAMESERVERS_MAX: usize = 3;

/// The pod's short host name (N-33).
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = wanted.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(HOSTNAME_CHARS_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's full name, if it has a subdomain (N-33).
pub fn full_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

/// What the kernel's host name is: the short one, or the full one with `setHostnameAsFQDN`.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    let wants_full = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    match full_name(pod, cluster_domain) {
        Some(full) if wants_full => full,
        _ => hostname(pod),
    }
}

/// `/etc/hosts` of a pod with a network of its own.
pub fn hosts_file(pod: &Pod, ips: &[IpAddr], cluster_domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let short = hostname(pod);
    for ip in ips {
        match full_name(pod, cluster_domain) {
            Some(full) => text.push_str(&format!("{ip}\t{full}\t{short}\n")),
            None => text.push_str(&format!("{ip}\t{short}\n")),
        }
    }
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_ref());
    if aliases.is_some_and(|aliases| !aliases.is_empty()) {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases.into_iter().flatten() {
        text.push_str(&format!(
            "{}\t{}\n",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
        ));
    }
    text
}

/// A resolver's configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resolver {
    /// Name servers, first asked first.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a `resolv.conf`.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => resolver.searches = words.map(str::to_owned).collect(),
                Some("options") => resolver.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        resolver
    }

    /// Prints a `resolv.conf`.
    pub fn print(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// The resolver of a pod by its `dnsPolicy` and `dnsConfig`.
pub fn resolver(pod: &Pod, cluster_server: IpAddr, cluster_domain: &str, host: &Resolver) -> Resolver {
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let on_host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut resolver = match policy {
        "None" => Resolver::default(),
        "Default" => host.clone(),
        "ClusterFirst" if on_host_network => host.clone(),
        _ => {
            let own = [
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ];
            let searches = own.into_iter().chain(host.searches.iter().cloned()).collect();
            Resolver { servers: vec![cluster_server.to_string()], searches, options: vec!["ndots:5".to_owned()] }
        }
    };
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        add_new(&mut resolver.servers, config.nameservers.iter().flatten());
        add_new(&mut resolver.searches, config.searches.iter().flatten());
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            let text = match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            };
            resolver.options.retain(|old| old.split(':').next() != Some(name));
            resolver.options.push(text);
        }
    }
    resolver.servers.truncate(NAMESERVERS_MAX);
    resolver.searches.truncate(SEARCH_DOMAINS_MAX);
    resolver
}

fn add_new<'a>(all: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "redis-0", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_pod_of_a_set_finds_its_own_full_name_in_its_hosts_file() {
        // N-21, N-33, N-34.
        let pod = pod(json!({"hostname": "redis-0", "subdomain": "redis",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let text = hosts_file(&pod, &["10.1.2.3".parse().unwrap()], "cluster.local");
        let own: Vec<&str> = text.lines().skip(7).collect();
        assert_eq!(
            own,
            [
                "10.1.2.3\tredis-0.redis.ns.svc.cluster.local\tredis-0",
                "",
                "# Entries added by HostAliases.",
                "1.2.3.4\ta\tb"
            ]
        );
    }

    #[test]
    fn host_names_are_short_unless_asked_otherwise_and_cut_at_63() {
        // N-33, N-34.
        let kernel = |spec| kernel_hostname(&pod(spec), "cluster.local");
        assert_eq!(kernel(json!({})), "redis-0");
        assert_eq!(kernel(json!({"hostname": "a", "subdomain": "b"})), "a");
        assert_eq!(
            kernel(json!({"hostname": "a", "subdomain": "b", "setHostnameAsFQDN": true})),
            "a.b.ns.svc.cluster.local"
        );
        assert_eq!(kernel(json!({"hostname": "n".repeat(70)})), "n".repeat(63));
        let alone = hosts_file(&pod(json!({})), &["10.1.2.3".parse().unwrap()], "cluster.local");
        assert_eq!(alone.lines().last(), Some("10.1.2.3\tredis-0"), "no subdomain");
    }

    #[test]
    fn resolvers_follow_policy_and_configuration() {
        // N-26.
        let host = Resolver::parse("nameserver 9.9.9.9\nsearch corp.example\noptions edns0\n");
        let server = "10.1.0.1".parse().unwrap();
        let of = |spec| resolver(&pod(spec), server, "cluster.local", &host).print();
        assert_eq!(
            of(json!({})),
            "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
             nameserver 10.1.0.1\noptions ndots:5\n"
        );
        assert_eq!(of(json!({"dnsPolicy": "Default"})), host.print());
        assert_eq!(of(json!({"hostNetwork": true})), host.print());
        assert_eq!(
            of(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}})),
            "search x\nnameserver 1.1.1.1\noptions ndots:2 rotate\n"
        );
    }
}
