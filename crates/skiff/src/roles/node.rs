//! A node: kubelet with a containerd of its own, pod network, service proxy, cluster DNS, routes to the other nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use skiff_base::Tasks;
use skiff_base::task::Policy;
use skiff_client::{Delta, Link, Topic};
use skiff_kubelet::runtime::cri::daemon;
use skiff_kubelet::{Cgroups, ClusterChoice, Kubelet, Options, RuntimeChoice};
use skiff_net::cni;
use skiff_net::family::Family;
use skiff_net::netlink::route::Routing;
use skiff_net::node::{CleanupOptions, Net, NetOptions};

use crate::cli::{ClusterArgs, EvictionArgs};
use crate::families::{Each, word};
use crate::state;

/// The bridge that a node's pods hang on; every node has its own network namespace or machine.
const BRIDGE: &str = "skiff0";
/// The nftables table of a node's services.
pub(crate) const SERVICES_TABLE: &str = "skiff";
/// The nftables table of a node's host ports.
const PODS_TABLE: &str = "skiff-pods";
/// The names under which containerd calls this program for a pod's network.
const PLUGINS: &[&str] = &["skiff-cni", "loopback"];
/// The image that holds a pod's namespaces; made by ourselves where we can.
const PAUSE: &str = "skiff.local/pause:1";
/// Where cluster DNS answers unless told otherwise.
pub(crate) const DEFAULT_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// Where a kubelet listens.
const KUBELET_PORT: u16 = 10250;

/// What a node is told besides what the cluster says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Sources {
    /// A directory of pods to run without the API: v1 pods or container manifests of 2014
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// A URL of pods to run without the API
    #[arg(long, value_name = "URL")]
    manifest_url: Option<String>,
    #[command(flatten)]
    eviction: EvictionArgs,
    /// Run containers that say nothing about system calls behind the runtime's filter
    #[arg(long)]
    seccomp_default: bool,
}

impl Sources {
    /// The same again as arguments, for a process of our own.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let manifests =
            self.manifests.as_ref().map(|path| ["--manifests".to_owned(), path.display().to_string()]);
        let url = self.manifest_url.as_ref().map(|url| ["--manifest-url".to_owned(), url.clone()]);
        let seccomp = self.seccomp_default.then(|| "--seccomp-default".to_owned());
        manifests.into_iter().chain(url).flatten().chain(self.eviction.to_args()).chain(seccomp).collect()
    }
}

/// A node as it shall be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) addresses: Each<IpAddr>,
    pub(crate) node_dir: PathBuf,
    dns: Each<IpAddr>,
    domain: String,
    cluster_cidr: Each<IpNet>,
    service_cidr: Each<IpNet>,
    sources: Sources,
}

/// Who the node is: client of the server, and server of logs and exec.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) identity: skiff_base::pki::Identity,
    pub(crate) ca_pem: String,
}

impl Spec {
    pub(crate) fn new(
        name: String,
        addresses: Each<IpAddr>,
        node_dir: PathBuf,
        cluster: &ClusterArgs,
        sources: &Sources,
    ) -> Self {
        Self {
            name,
            addresses,
            node_dir,
            dns: cluster.dns(),
            domain: cluster.cluster_domain.clone(),
            cluster_cidr: cluster.cluster_cidr.clone(),
            service_cidr: cluster.service_cidr.clone(),
            sources: sources.clone(),
        }
    }

    /// What is remembered of it while it runs.
    pub(crate) fn state(&self, agent: Option<state::Process>) -> state::Node {
        let (name, address) = (self.name.clone(), self.addresses.clone());
        state::Node { name, address, netns: None, agent, stopped: false }
    }

    /// Its containerd, with our pause image and CNI plugin.
    fn containerd(&self) -> anyhow::Result<daemon::Options> {
        let mut options = daemon::Options::under(&self.node_dir);
        if let Some(archive) = skiff_image::pause::archive(PAUSE).context("make the pause image")? {
            let path = self.node_dir.join("pause.tar");
            skiff_base::fs::write_atomically(&path, &archive, 0o644).context("write the pause image")?;
            options.sandbox_image = PAUSE.to_owned();
            options.sandbox_archive = Some(path);
        }
        std::fs::create_dir_all(&options.cni_conf_dir).context("make the CNI directory")?;
        std::fs::create_dir_all(&options.cni_bin_dir).context("make the CNI directory")?;
        let program = std::env::current_exe().context("find our own program")?;
        for name in PLUGINS {
            link(&program, &options.cni_bin_dir, name)
                .with_context(|| format!("link the CNI plugin {name}"))?;
        }
        Ok(options)
    }
}

/// Points `folder/name` at a program, in one step: containerd may call it at any time.
fn link(program: &Path, folder: &Path, name: &str) -> std::io::Result<()> {
    let path = folder.join(name);
    if std::fs::read_link(&path).ok().as_deref() == Some(program) {
        return Ok(());
    }
    let draft = folder.join(format!(".{name}"));
    let _none_left = std::fs::remove_file(&draft);
    std::os::unix::fs::symlink(program, &draft)?;
    std::fs::rename(&draft, &path)
}

/// The network of a node's pods, which get an address of each of `subnets`.
fn pod_network(node_dir: &Path, subnets: Vec<IpNet>, cluster_cidrs: Vec<IpNet>) -> cni::Config {
    cni::Config {
        bridge: BRIDGE.to_owned(),
        subnets,
        cluster_cidrs,
        data_dir: node_dir.join("cni/addresses"),
        table: PODS_TABLE.to_owned(),
        ..cni::Config::default()
    }
}

/// Starts everything of a node; returns once its services and network will work as soon as the API has told of them.
pub(crate) async fn start(spec: Spec, link: Link, identity: Identity, tasks: &Tasks) -> anyhow::Result<()> {
    let mut options = Options::new(
        &spec.name,
        ClusterChoice::Link(link.clone()),
        RuntimeChoice::Own(Box::new(spec.containerd()?)),
        &spec.node_dir,
    );
    options.node_addresses = spec.addresses.to_vec();
    options.cluster_dns = vec![*spec.dns.first()];
    options.cluster_domain = spec.domain.clone();
    options.cgroup_root = cgroup_root(&spec.node_dir);
    options.manifest_dir = spec.sources.manifests.clone();
    options.manifest_url = spec.sources.manifest_url.clone();
    options.eviction = spec.sources.eviction.settings()?;
    options.seccomp_default = spec.sources.seccomp_default;
    options.port = KUBELET_PORT;
    let tls = skiff_base::tls::server(&identity.identity, &identity.ca_pem)
        .context("use the node's certificate")?;
    let allowed = skiff_kubelet::server::only(vec!["kube-apiserver".to_owned()]);
    let address = SocketAddr::from((*spec.addresses.first(), KUBELET_PORT));
    let kubelet = Kubelet::build(options)
        .with_server(skiff_kubelet::server::Options::new(address, tls, allowed))
        .with_context(|| format!("listen on {address}"))?;
    let group = tasks.clone();
    tasks.spawn("kubelet", Policy::Essential, async move { kubelet.run(group).await });

    let net = NetOptions {
        cluster_cidrs: spec.cluster_cidr.to_vec(),
        service_cidrs: spec.service_cidr.to_vec(),
        table: SERVICES_TABLE.to_owned(),
        dns_addresses: spec.dns.to_vec(),
        domain: spec.domain.clone(),
        ..NetOptions::new(link.clone(), spec.name.clone())
    };
    Net::build(net).run(tasks).await.context("start the service network")?;
    tasks.spawn_until_stop(make_pod_network(spec, link, tasks.clone()));
    Ok(())
}

/// Waits until the API has given the node its ranges of pod addresses, then tells containerd; again if that changes.
async fn make_pod_network(spec: Spec, link: Link, tasks: Tasks) {
    let mut feed = link.feed(&Topic::of::<Node>().fields(format!("metadata.name={}", spec.name)));
    let mut known = Vec::new();
    while let Some(delta) = feed.next().await {
        let node = match delta {
            Delta::Reset(nodes) => nodes.into_iter().next(),
            Delta::Put(node) => Some(node),
            Delta::Gone(_) => None,
        };
        let node = node.and_then(|object| object.decode::<Node>().ok());
        let ranges = node.map(|node| ranges(&node)).unwrap_or_default();
        if ranges.is_empty() || ranges == known {
            continue;
        }
        known.clone_from(&ranges);
        let network = pod_network(&spec.node_dir, ranges, spec.cluster_cidr.to_vec());
        let path = spec.node_dir.join("cni/conf/10-skiff.conflist");
        if let Err(error) = skiff_base::fs::write_atomically(&path, cni::config(&network).as_bytes(), 0o644) {
            tracing::error!(%error, path = %path.display(), "cannot write the pod network's configuration");
        }
        if let Err(error) = skiff_net::node::keep_pod_rules(network, &tasks) {
            tracing::error!(%error, "cannot watch over the pods' packet rules");
        }
    }
}

/// The ranges of a node's pods, the first leading.
fn ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.clone().unwrap_or_else(|| spec.pod_cidr.clone().into_iter().collect());
    all.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A node's part of the cgroup tree, told from other nodes of this machine by its directory.
fn cgroup_root(node_dir: &Path) -> String {
    let text = node_dir.display().to_string();
    format!("/skiff{}", text.trim_end_matches('/').replace("/", "-"))
}

/// Ends a node's pods and its containerd, and takes its network apart. Runs inside the node's namespaces.
pub(crate) async fn stop_for_good(node_dir: &Path, dns: &Each<IpAddr>) -> anyhow::Result<()> {
    daemon::stop_for_good(&daemon::Options::under(node_dir)).await.context("stop containerd and its pods")?;
    Cgroups::detect(&cgroup_root(node_dir)).remove_all();
    let defaults = cni::Config::default();
    skiff_net::node::cleanup(&CleanupOptions {
        pods: pod_network(node_dir, defaults.subnets, defaults.cluster_cidrs),
        table: SERVICES_TABLE.to_owned(),
        dns_addresses: dns.to_vec(),
    })
    .context("take the node's network apart")
}

/// The machine's name, as a node is called by default.
pub(crate) fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The machine's address of a family: the one by which it reaches others, or its first one that is of none of the ranges
/// `inside`, which are the cluster's.
pub(crate) fn machine_address(family: Family, inside: &[IpNet]) -> anyhow::Result<IpAddr> {
    let is_own = |address: &IpAddr| {
        let of_link = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        !address.is_loopback() && !address.is_unspecified() && !of_link
    };
    let is_clusters = |address: &IpAddr| inside.iter().any(|net| net.contains(address));
    // Connecting a datagram socket sends nothing; the kernel only chooses the source address.
    let elsewhere = match family {
        Family::Four => "203.0.113.1:9",
        Family::Six => "[2001:db8::1]:9",
    };
    let chosen = std::net::UdpSocket::bind((family.unspecified(), 0)).and_then(|socket| {
        socket.connect(elsewhere)?;
        socket.local_addr()
    });
    if let Some(address) = chosen.ok().map(|own| own.ip()).filter(is_own) {
        return Ok(address);
    }
    let all = Routing::open().and_then(|mut routing| routing.addresses(family)).unwrap_or_default();
    let mut all = all.iter().map(|known| known.net.addr());
    all.find(|address| is_own(address) && !is_clusters(address)).with_context(|| {
        let family = word(family);
        format!("this machine has no address of {family} that others could reach; name one with --node-ip")
    })
}
