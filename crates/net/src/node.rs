//! A node's whole network: model, proxy, DNS and routes, wired together; and its removal.
//!
//! The one thing an agent has to start. It must run on threads that live in the node's network namespace.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use skiff_base::Latch;
use skiff_base::task::{Policy, Tasks};
use skiff_client::Link;

use crate::dns::{Dns, DnsOptions};
use crate::family::Family;
use crate::follow::Services;
use crate::netlink::watch::Removals;
use crate::policy::{Policies, PolicyOptions};
use crate::proxy::{Proxy, ProxyOptions};
use crate::routes::{RouteOptions, Routes};
use crate::{Error, cni, dns, policy, proxy, routes};

/// What a node's network needs to know.
#[derive(Clone)]
pub struct NetOptions {
    /// The way to the API.
    pub link: Link,
    /// The node's name.
    pub node_name: String,
    /// All pods' ranges, at most one of a family.
    pub cluster_cidrs: Vec<IpNet>,
    /// The services' ranges, at most one of a family.
    pub service_cidrs: Vec<IpNet>,
    /// The proxy's nftables table.
    pub table: String,
    /// Where cluster DNS answers; nowhere for no DNS.
    pub dns_addresses: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
    /// Names the resolvers for other names.
    pub resolv_conf: PathBuf,
}

impl NetOptions {
    /// Upstream's usual ranges and names.
    pub fn new(link: Link, node_name: impl Into<String>) -> Self {
        Self {
            link,
            node_name: node_name.into(),
            cluster_cidrs: vec![IpNet::new_assert([10, 244, 0, 0].into(), 16)],
            service_cidrs: vec![IpNet::new_assert([10, 96, 0, 0].into(), 12)],
            table: "skiff".to_owned(),
            dns_addresses: vec![[10, 96, 0, 10].into()],
            domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// A node's network, wired but not running.
pub struct Net {
    link: Link,
    services: Services,
    proxy: Proxy,
    dns: Option<Dns>,
    routes: Routes,
    policies: Option<Policies>,
}

/// The table of network policies beside the proxy's: while there is no policy there is none.
fn policy_table(table: &str) -> String {
    format!("{table}-policies")
}

impl Net {
    /// Wires the parts; nothing is touched yet.
    pub fn build(options: NetOptions) -> Self {
        let services = Services::new();
        let (of_pods, of_services) =
            (Family::of_all(&options.cluster_cidrs), Family::of_all(&options.service_cidrs));
        // Only where pods are.
        let policies = (!options.node_name.is_empty()).then(|| {
            Policies::build(PolicyOptions {
                link: options.link.clone(),
                node_name: options.node_name.clone(),
                families: of_pods,
                table: policy_table(&options.table),
                dns_addresses: options.dns_addresses.clone(),
            })
        });
        let proxy = Proxy::build(ProxyOptions {
            services: services.clone(),
            node_name: options.node_name.clone(),
            cluster_cidrs: options.cluster_cidrs.clone(),
            families: of_services,
            table: options.table,
            own_addresses: options.dns_addresses.clone(),
        });
        let dns = (!options.dns_addresses.is_empty()).then(|| {
            Dns::build(DnsOptions {
                addresses: options.dns_addresses,
                domain: options.domain,
                resolv_conf: options.resolv_conf,
                ..DnsOptions::new(services.clone())
            })
        });
        let routes = Routes::build(RouteOptions {
            link: options.link.clone(),
            node_name: options.node_name,
            service_cidrs: options.service_cidrs,
            cluster_cidrs: options.cluster_cidrs,
        });
        Self { link: options.link, services, proxy, dns, routes, policies }
    }

    /// Opens once service rules are in place.
    pub fn ready(&self) -> Latch {
        self.proxy.ready()
    }

    /// Opens once ways to the other nodes are.
    pub fn routed(&self) -> Latch {
        self.routes.ready()
    }

    /// Runs until the group stops; rules stay, since pods do.
    ///
    /// # Errors
    /// If DNS can't have its addresses or port.
    pub async fn run(self, tasks: &Tasks) -> Result<(), Error> {
        self.proxy.run(tasks);
        self.routes.run(tasks);
        if let Some(policies) = self.policies {
            policies.run(tasks);
        }
        if let Some(dns) = self.dns {
            dns.run(tasks).await?;
        }
        self.services.follow(&self.link, tasks);
        Ok(())
    }
}

/// Watches over the pods' rules until the group stops: who flushes all rules takes pods' host ports and their way out
/// along, and no pod would notice until the next one starts.
///
/// # Errors
/// If the kernel's messages can't be had.
pub fn keep_pod_rules(pods: cni::Config, tasks: &Tasks) -> Result<(), Error> {
    let removals = Removals::open()?;
    let token = tasks.token().clone();
    tasks.spawn("pod-rules", Policy::Optional, async move {
        loop {
            if let Err(fault) = cni::repair(&pods) {
                tracing::error!(%fault, "the pods' rules were removed and could not be written anew");
            }
            tokio::select! {
                () = token.cancelled() => return Ok::<(), Error>(()),
                gone = removals.of(&pods.table) => gone?,
            }
        }
    });
    Ok(())
}

/// What to remove of a node.
#[derive(Clone, Debug)]
pub struct CleanupOptions {
    /// The pods' network.
    pub pods: cni::Config,
    /// The proxy's table.
    pub table: String,
    /// Where cluster DNS answered.
    pub dns_addresses: Vec<IpAddr>,
}

impl Default for CleanupOptions {
    fn default() -> Self {
        Self {
            pods: cni::Config::default(),
            table: "skiff".to_owned(),
            dns_addresses: vec![[10, 96, 0, 10].into()],
        }
    }
}

/// Removes everything of a node in the calling thread's network namespace: bridge, the pods' links, rules, routes, the
/// DNS address, remembered addresses. Goes on after a failure; the first one is returned.
///
/// # Errors
/// The first thing that could not be removed.
pub fn cleanup(options: &CleanupOptions) -> Result<(), Error> {
    let steps = [
        proxy::cleanup(&options.table),
        policy::cleanup(&policy_table(&options.table)),
        cni::forget_all(&options.pods),
        options.dns_addresses.iter().try_for_each(|address| dns::cleanup(*address)),
        routes::cleanup(),
    ];
    steps.into_iter().collect()
}
