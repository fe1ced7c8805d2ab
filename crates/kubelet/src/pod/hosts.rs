//! A pod's names: its host name, its `/etc/hosts`, how it resolves others.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{HostAlias, Pod, PodSpec};

use super::{name, namespace};
use crate::runtime::Dns;

/// The kernel takes no longer host names.
const LONGEST: usize = 63;

/// What `hostname` says in the pod, and its full name if it has a subdomain.
pub(crate) fn hostname(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    if let Some(own) = spec.and_then(|spec| spec.hostname_override.clone()).filter(|own| !own.is_empty()) {
        return (own, None);
    }
    let wanted = spec.and_then(|spec| spec.hostname.as_deref()).filter(|text| !text.is_empty());
    let mut host = wanted.unwrap_or_else(|| name(pod)).to_owned();
    if host.len() > LONGEST {
        host.truncate(LONGEST);
        host.truncate(host.trim_end_matches(['-', '.']).len());
    }
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|text| !text.is_empty());
    let full =
        subdomain.map(|subdomain| format!("{host}.{subdomain}.{}.svc.{cluster_domain}", namespace(pod)));
    (host, full)
}

/// The text of `/etc/hosts` for a pod with its own network.
pub(crate) fn hosts(ips: &[String], host: &str, full: Option<&str>, aliases: &[HostAlias]) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    for ip in ips {
        // Writing to a string cannot fail.
        let _fine = match full {
            Some(full) => writeln!(text, "{ip}\t{full}\t{host}"),
            None => writeln!(text, "{ip}\t{host}"),
        };
    }
    text + &alias_lines(aliases)
}

/// The machine's own file with the pod's aliases, for a pod on the machine's network.
pub(crate) fn node_hosts(node: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node}") + &alias_lines(aliases)
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        let _fine = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
    }
    text
}

/// The cluster's part in resolving names.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterDns {
    pub(crate) servers: Vec<String>,
    pub(crate) domain: String,
}

/// How the pod resolves names. `node` is the machine's own way.
pub(crate) fn dns(pod: &Pod, spec: &PodSpec, cluster: &ClusterDns, node: &Dns) -> Dns {
    let host_network = spec.host_network.unwrap_or(false);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let clustered = match policy {
        "ClusterFirst" => !host_network,
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = match policy {
        "None" => Dns::default(),
        _ if clustered && !cluster.servers.is_empty() => {
            let domain = &cluster.domain;
            let mut searches =
                vec![format!("{}.svc.{domain}", namespace(pod)), format!("svc.{domain}"), domain.clone()];
            searches.extend(node.searches.iter().cloned());
            Dns { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
        }
        _ => node.clone(),
    };
    if let Some(more) = &spec.dns_config {
        dns.servers.extend(more.nameservers.iter().flatten().cloned());
        dns.searches.extend(more.searches.iter().flatten().cloned());
        for option in more.options.iter().flatten() {
            let Some(key) = &option.name else { continue };
            let text = option.value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}:{value}"));
            // The pod's word replaces the cluster's about the same option.
            dns.options.retain(|known| known.split(':').next() != Some(key));
            dns.options.push(text);
        }
    }
    unique(&mut dns.servers);
    unique(&mut dns.searches);
    dns
}

fn unique(items: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
}

/// The machine's `/etc/resolv.conf`.
pub(crate) fn parse_resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let rest: fn(std::str::SplitWhitespace<'_>) -> Vec<String> =
            |words| words.map(str::to_owned).collect();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = rest(words),
            Some("options") => dns.options = rest(words),
            _ => {}
        }
    }
    dns
}
