//! The control plane: API server, controllers, scheduler; each with an identity of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use skiff_apiserver::{
    AdmissionConfiguration, Audit, AuditPolicy, ComponentRole, KubeletAccess, Listener, Options,
    RuntimeConfig, Server, Storage, Tls, User, Version,
};
use skiff_base::metrics::Metrics;
use skiff_base::pki::Authority;
use skiff_base::task::Policy;
use skiff_base::{Clock, Tasks};
use skiff_client::{Delta, Link, Topic};
use skiff_controllers::Switches;
use skiff_net::family::{Family, further};
use skiff_scheduler::Scheduler;
use tokio::net::TcpListener;

use crate::certificates::{self, ADMIN, APISERVER, CONTROLLERS, Component, PROXY, SCHEDULER};
use crate::cli::ClusterArgs;
use crate::families::{Each, word};
use crate::kubeconfig::Access;
use crate::layout::Layout;
use crate::roles::node;

/// A running control plane.
pub(crate) struct ControlPlane {
    authority: Authority,
    layout: Layout,
    port: u16,
    admin: Link,
    proxy: Link,
    node: Option<Link>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl ControlPlane {
    /// Starts it; returns once the API answers. `node` names the node of this process, which gets a link too.
    pub(crate) async fn start(
        layout: &Layout,
        cluster: &ClusterArgs,
        addresses: &Each<IpAddr>,
        node: Option<&str>,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let configuration = scheduler_configuration(cluster)?;
        let switches =
            Switches::parse(cluster.controllers.iter().map(String::as_str)).context("--controllers")?;
        let authority = certificates::authority(layout)?;
        let server = Server::build(options(&authority, layout, cluster, addresses)?)
            .context("build the API server")?;
        let link_of =
            |component: &Component| server.link(User::new(component.user, component.groups.iter().copied()));
        let controllers = link_of(&CONTROLLERS);
        let account = server.linker();
        let scheduler = link_of(&SCHEDULER);
        let admin = link_of(&ADMIN);
        let proxy = link_of(&PROXY);
        let node = node
            .map(|name| server.link(User::new(&certificates::node_user(name), [certificates::NODES_GROUP])));

        // The unspecified address of IPv6 takes clients of both.
        let any: IpAddr = match cluster.cluster_cidr.get(Family::Six) {
            Some(_) => Ipv6Addr::UNSPECIFIED.into(),
            None => Ipv4Addr::UNSPECIFIED.into(),
        };
        let everywhere = SocketAddr::from((any, cluster.port));
        let socket =
            TcpListener::bind(everywhere).await.with_context(|| format!("listen on {everywhere}"))?;
        let mut listeners = vec![Listener::tls(socket)];
        if let Some(port) = cluster.legacy_port {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let socket =
                TcpListener::bind(loopback).await.with_context(|| format!("listen on {loopback}"))?;
            listeners.push(Listener::plain(socket, User::new(ADMIN.user, ADMIN.groups.iter().copied())));
        }
        let ready = server.ready();
        let (end, ended) = tokio::sync::oneshot::channel();
        let group = tasks.clone();
        tasks.spawn("API server", Policy::Essential, async move {
            let result = server.run(listeners, group).await;
            drop(end);
            result
        });
        tokio::select! {
            () = ready.opened() => {}
            () = tasks.stopped() => anyhow::bail!("the API server did not start: {}", tasks.failure().unwrap_or_default()),
        }

        let mut settings = skiff_controllers::Options::over(controllers);
        settings.links = Arc::new(move |name| account(User::service_account("kube-system", name)));
        settings.cluster_cidrs = cluster.cluster_cidr.to_vec();
        settings.root_ca = Some(authority.cert_pem().to_owned());
        let signer = Authority::from_pem(authority.identity().clone()).context("read the authority")?;
        settings.signer = Some(Arc::new(signer));
        settings.switches = switches;
        settings.node_grace = Duration::from_secs(cluster.node_monitor_grace_period);
        skiff_controllers::build(settings).run(tasks);
        let settings = skiff_scheduler::Options {
            link: scheduler,
            clock: Clock::system(),
            metrics: Metrics::new(),
            configuration,
        };
        Scheduler::build(settings).run(tasks);
        Ok(Self { authority, layout: layout.clone(), port: cluster.port, admin, proxy, node, ended })
    }

    /// How people on this machine reach it.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The server's URL at another of its addresses.
    pub(crate) fn url_at(&self, address: IpAddr) -> String {
        format!("https://{}", SocketAddr::from((address, self.port)))
    }

    /// The administrator's access by `server`'s URL.
    pub(crate) fn admin(&self, server: String) -> anyhow::Result<Access> {
        let identity = ADMIN.identity(&self.authority, &self.layout)?;
        Ok(Access { server, ca_pem: self.authority.cert_pem().to_owned(), identity })
    }

    pub(crate) fn admin_link(&self) -> Link {
        self.admin.clone()
    }

    /// For the service network of this machine, if it is no node itself.
    pub(crate) fn proxy_link(&self) -> Link {
        self.proxy.clone()
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What the node of this process needs: its link and its certificates.
    pub(crate) fn node(
        &self,
        folder: &Path,
        name: &str,
        addresses: &Each<IpAddr>,
    ) -> anyhow::Result<(Link, node::Identity)> {
        let link = self.node.clone().context("the node was named at the start")?;
        let identity = certificates::node(&self.authority, folder, name, addresses)?;
        Ok((link, node::Identity { identity, ca_pem: self.authority.cert_pem().to_owned() }))
    }

    /// Waits until the store is closed.
    pub(crate) async fn close(self) {
        // The sender is dropped when the server has ended, however it did.
        let _ended = self.ended.await;
    }
}

fn options(
    authority: &Authority,
    layout: &Layout,
    cluster: &ClusterArgs,
    addresses: &Each<IpAddr>,
) -> anyhow::Result<Options> {
    let family = Family::of(cluster.service_cidr.first().addr());
    let advertise = addresses.get(family).with_context(|| {
        let family = word(family);
        format!("services have addresses of {family} first, but the server has none of {addresses}")
    })?;
    let mut hosts = vec![
        "localhost".to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{}", cluster.cluster_domain),
        Ipv4Addr::LOCALHOST.to_string(),
        node::machine_name(),
    ];
    hosts.extend(cluster.service_cidr.iter().map(|net| further(net.network(), 1).to_string()));
    hosts.extend(addresses.iter().map(IpAddr::to_string));
    if cluster.cluster_cidr.get(Family::Six).is_some() {
        hosts.push(Ipv6Addr::LOCALHOST.to_string());
    }
    std::fs::create_dir_all(layout.pki()).context("make the data directory")?;
    let ca_pem = authority.cert_pem().to_owned();
    let own = format!("https://kubernetes.default.svc.{}", cluster.cluster_domain);
    let issuers = cluster.tokens.issuers(own)?;
    let mut believed = cluster.authn.configuration(&issuers)?;
    believed.issuers.extend(cluster.oidc.issuer()?);
    Ok(Options {
        storage: Storage::Disk(layout.store()),
        tls: Some(Tls { identity: certificates::server(authority, hosts)?, client_ca_pem: ca_pem.clone() }),
        kubelets: Some(KubeletAccess { identity: APISERVER.identity(authority, layout)?, ca_pem }),
        front_proxy: Some(certificates::front_proxy(layout)?),
        services: cluster.service_cidr.to_vec(),
        advertise: Some(SocketAddr::from((*advertise, cluster.port))),
        machine: Some(node::machine_name()),
        garbage_collector: true,
        roles: component_roles(),
        token_key_pem: Some(match cluster.tokens.signing_key()? {
            Some(key) => key,
            None => skiff_base::pki::key_once(&layout.pki(), "sa")
                .context("make the key for service accounts' tokens")?,
        }),
        token_keys_pem: cluster.tokens.keys()?,
        issuers,
        jwks_uri: cluster.tokens.jwks_uri(),
        audiences: cluster.tokens.audiences(),
        token_file: cluster.authn.token_file()?,
        oidc: believed.issuers,
        anonymous: believed.anonymous,
        token_webhook: cluster.webhooks.tokens()?,
        authorizers: cluster.webhooks.authorizers()?,
        encryption: cluster.authn.encryption(layout)?,
        audit: audit(cluster)?,
        default_unreachable_toleration_seconds: cluster.default_unreachable_toleration_seconds,
        admission_configuration: admission(cluster)?,
        runtime_config: RuntimeConfig::parse(cluster.runtime_config.iter().map(String::as_str))
            .context("--runtime-config")?,
        enable_admission_plugins: cluster.enable_admission_plugins.clone(),
        disable_admission_plugins: cluster.disable_admission_plugins.clone(),
        version: Version { git_commit: env!("SKIFF_COMMIT").to_owned(), ..Version::default() },
        ..Options::in_memory()
    })
}

/// What each controller may do, as its row says.
fn component_roles() -> Vec<ComponentRole> {
    let role = |(name, may): (&str, &[(&str, &str)])| ComponentRole {
        account: name.to_owned(),
        rules: may.iter().map(|(verbs, what)| ((*verbs).to_owned(), (*what).to_owned())).collect(),
    };
    skiff_controllers::names().map(role).collect()
}

/// What admission plugins are told.
fn admission(cluster: &ClusterArgs) -> anyhow::Result<Arc<AdmissionConfiguration>> {
    let Some(file) = &cluster.admission_control_config_file else { return Ok(Arc::default()) };
    let read = AdmissionConfiguration::read(file);
    read.map(Arc::new).with_context(|| format!("read --admission-control-config-file {}", file.display()))
}

/// The audit log, if one is asked for.
fn audit(cluster: &ClusterArgs) -> anyhow::Result<Option<Audit>> {
    let (Some(policy), Some(log)) = (&cluster.audit_policy_file, &cluster.audit_log_path) else {
        return Ok(None);
    };
    let text = std::fs::read(policy).with_context(|| format!("read {}", policy.display()))?;
    let read = AuditPolicy::parse(&text).with_context(|| format!("read {}", policy.display()))?;
    Ok(Some(Audit { policy: Arc::new(read), log: log.clone() }))
}

/// How the scheduler places pods, if a file says so.
fn scheduler_configuration(cluster: &ClusterArgs) -> anyhow::Result<skiff_scheduler::Configuration> {
    let Some(file) = &cluster.scheduler_config else { return Ok(skiff_scheduler::Configuration::default()) };
    let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    skiff_scheduler::Configuration::parse(&text).with_context(|| format!("read {}", file.display()))
}

/// Waits until all these nodes are Ready.
pub(crate) async fn nodes_ready(link: &Link, names: &[String]) {
    let mut waiting: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut feed = link.feed(&Topic::of::<Node>());
    while !waiting.is_empty() {
        let nodes = match feed.next().await {
            Some(Delta::Reset(nodes)) => nodes,
            Some(Delta::Put(node)) => vec![node],
            Some(Delta::Gone(_)) => continue,
            None => return,
        };
        for object in nodes {
            let ready = object.decode::<Node>().is_ok_and(|node| is_ready(&node));
            if ready {
                waiting.retain(|name| *name != &*object.meta().name);
            }
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rights_of_every_controller_are_to_what_is_served() {
        let server = Server::build(Options { roles: component_roles(), ..Options::in_memory() });
        let server = server.expect("a server in memory can be built");
        let (ready, tasks) = (server.ready(), Tasks::new());
        tokio::select! {
            () = ready.opened() => {}
            ended = server.run(Vec::new(), tasks.clone()) => panic!("{ended:?}"),
        }
        tasks.stop();
    }
}
