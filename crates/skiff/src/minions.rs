//! Several nodes on one machine: a network namespace each, joined by a bridge, and an agent process in each.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skiff_base::task::Policy;
use skiff_base::{Backoff, Tasks};
use skiff_net::family::further;
use skiff_net::hosts::{Hosts as Made, Spec};
use skiff_net::node::{Net, NetOptions};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};

use crate::certificates;
use crate::cli::ClusterArgs;
use crate::families::Each;
use crate::kubeconfig::Access;
use crate::layout::Layout;
use crate::progress::READY;
use crate::roles::control_plane::ControlPlane;
use crate::roles::node::{SERVICES_TABLE, Sources};
use crate::state::{self, Process, State};

/// The minions' network: names and addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hosts {
    /// Prefix of all names.
    prefix: String,
    /// The ranges the minions' addresses come from; the first address of each is this machine's.
    cidr: Each<IpNet>,
    /// How many minions.
    count: u8,
    /// All pods' ranges, reached through the minions.
    cluster_cidr: Each<IpNet>,
}

/// One minion of a cluster on one machine.
#[derive(Clone, Debug)]
struct Minion {
    name: String,
    addresses: Each<IpAddr>,
    netns: PathBuf,
}

impl Hosts {
    pub(crate) fn new(prefix: &str, cidr: Each<IpNet>, count: u8, cluster_cidr: Each<IpNet>) -> Self {
        Self { prefix: prefix.to_owned(), cidr, count, cluster_cidr }
    }

    /// The network of a cluster that was up, for whoever takes it down.
    pub(crate) fn read(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let path = Self::path(layout);
        match std::fs::read(&path) {
            Ok(text) => {
                Ok(serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Remembers the network, before anything of it is made.
    pub(crate) fn remember(&self, layout: &Layout) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("encode the network")?;
        skiff_base::fs::write_atomically(&Self::path(layout), &text, 0o600).context("remember the network")
    }

    fn path(layout: &Layout) -> PathBuf {
        layout.root().join("hosts.json")
    }

    /// The addresses by which minions reach this machine.
    pub(crate) fn gateways(&self) -> Each<IpAddr> {
        self.cidr.map(|net| further(net.network(), 1))
    }

    /// The namespace of a minion, if the name is one of ours.
    pub(crate) fn netns_path(&self, minion: &str) -> Option<PathBuf> {
        self.minions().into_iter().find(|known| known.name == minion).map(|known| known.netns)
    }

    /// Makes namespaces, links and addresses; what is there already stays.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        Made::create(&self.spec()).map(drop).context("make the minions' network")
    }

    /// Removes all of it.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        Made::remove(&self.spec()).context("remove the minions' network")?;
        // What this machine itself had of the cluster: service rules, routes to the minions' pods.
        skiff_net::proxy::cleanup(SERVICES_TABLE).context("remove the service rules")?;
        skiff_net::routes::cleanup().context("remove the routes")
    }

    fn spec(&self) -> Spec {
        Spec {
            prefix: self.prefix.clone(),
            count: self.count,
            networks: self.cidr.to_vec(),
            inside: self.cluster_cidr.to_vec(),
            ..Spec::default()
        }
    }

    fn minions(&self) -> Vec<Minion> {
        let spec = self.spec();
        let minion = |number: u8| {
            let host = spec.host(number);
            let addresses = Each::of(host.addresses)?;
            Some(Minion { name: format!("minion-{number}"), addresses, netns: host.path })
        };
        (1..=self.count).filter_map(minion).collect()
    }
}

/// Starts an agent for each minion and waits until all say that they are ready; names of the minions.
pub(crate) async fn start(
    hosts: &Hosts,
    plane: &ControlPlane,
    setting: &Setting,
    state: &mut State,
    tasks: &Tasks,
) -> anyhow::Result<Vec<String>> {
    let mut starting = Vec::new();
    for minion in hosts.minions() {
        let folder = setting.layout.node(&minion.name);
        let identity = certificates::node(plane.authority(), &folder, &minion.name, &minion.addresses)?;
        let kubeconfig = folder.join("kubeconfig");
        let gateway = SocketAddr::from((*hosts.gateways().first(), setting.cluster.port));
        let server = format!("https://{gateway}");
        Access { server, ca_pem: plane.authority().cert_pem().to_owned(), identity }.write(&kubeconfig)?;
        let agent = Agent { minion, kubeconfig, setting: Arc::new(setting.clone()) };
        starting.push((agent.clone(), agent.spawn()?));
    }
    let mut agents = HashMap::new();
    for (agent, mut child) in starting {
        agent.ready(&mut child).await?;
        state.nodes.push(state::Node {
            name: agent.minion.name.clone(),
            address: agent.minion.addresses.clone(),
            netns: Some(agent.minion.netns.display().to_string()),
            agent: child.process.id().and_then(Process::find),
            stopped: false,
        });
        agents.insert(agent.minion.name.clone(), (agent, child));
    }
    state.write(&setting.layout)?;
    // This machine is no node, but people on it want to reach services and pods.
    let net = NetOptions {
        cluster_cidrs: setting.cluster.cluster_cidr.to_vec(),
        service_cidrs: setting.cluster.service_cidr.to_vec(),
        table: SERVICES_TABLE.to_owned(),
        dns_addresses: Vec::new(),
        ..NetOptions::new(plane.proxy_link(), "")
    };
    Net::build(net).run(tasks).await.context("start this machine's service network")?;
    let names = state.nodes.iter().map(|node| node.name.clone()).collect();
    for (_, (agent, child)) in agents {
        let stop = tasks.token().clone();
        tasks.spawn("minion", Policy::Optional, async move { agent.keep(child, stop).await });
    }
    Ok(names)
}

/// What every agent of this machine is told.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) layout: Layout,
    pub(crate) cluster: ClusterArgs,
    pub(crate) sources: Sources,
}

/// A running agent.
struct Running {
    process: Child,
    /// It lives until this is closed. Kept apart, since waiting for a process closes its input.
    life: ChildStdin,
}

/// How to start one minion's agent.
#[derive(Clone, Debug)]
struct Agent {
    minion: Minion,
    kubeconfig: PathBuf,
    setting: Arc<Setting>,
}

impl Agent {
    #[expect(clippy::disallowed_methods, reason = "the agent lives as long as we do; its end is watched")]
    fn spawn(&self) -> anyhow::Result<Running> {
        let folder = self.setting.layout.node(&self.minion.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("agent.log"))
            .context("open its log")?;
        let mut command = Command::new(std::env::current_exe().context("find our own program")?);
        command
            .arg("agent")
            .arg("--minion")
            .arg("--data-dir")
            .arg(self.setting.layout.root())
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--node-name", &self.minion.name, "--node-ip", &self.minion.addresses.to_string()])
            .arg("--netns")
            .arg(&self.minion.netns)
            .args(self.setting.cluster.to_args())
            .args(self.setting.sources.to_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for us; the agent ends when its input does.
            .process_group(0);
        let mut process =
            command.spawn().with_context(|| format!("start the agent of {}", self.minion.name))?;
        let life = process.stdin.take().context("its input is piped")?;
        Ok(Running { process, life })
    }

    /// Waits until the agent closes its output: ready, or ended.
    async fn ready(&self, child: &mut Running) -> anyhow::Result<()> {
        let mut output = child.process.stdout.take().context("its output is piped")?;
        let mut words = String::new();
        output.read_to_string(&mut words).await.context("read its output")?;
        if !words.contains(READY) {
            let status = child.process.wait().await.context("wait for the agent")?;
            let log = self.setting.layout.node(&self.minion.name).join("agent.log");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            bail!(
                "the agent of {} ended with {}: {last} (its log is {})",
                self.minion.name,
                status,
                log.display()
            );
        }
        Ok(())
    }

    /// Starts the agent again whenever it ends unasked, until we stop or it was taken out for good.
    async fn keep(self, mut child: Running, stop: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            tokio::select! {
                status = child.process.wait() => tracing::warn!(minion = self.minion.name, ?status, "agent ended"),
                () = stop.cancelled() => {
                    drop(child.life);
                    child.process.wait().await.context("wait for the agent")?;
                    return Ok(());
                }
            }
            if taken_out(&self.setting.layout, &self.minion.name) {
                return Ok(());
            }
            tokio::select! {
                () = backoff.wait() => {}
                () = stop.cancelled() => return Ok(()),
            }
            child = self.spawn()?;
            if let Err(error) = self.ready(&mut child).await {
                tracing::error!(error = format!("{error:#}"), "agent did not come back");
                continue;
            }
            note_agent(&self.setting.layout, &self.minion.name, child.process.id())?;
            backoff.reset();
        }
    }
}

/// Whether `skiff down --node` took the minion out.
fn taken_out(layout: &Layout, name: &str) -> bool {
    let nodes = State::read(layout).ok().flatten().map(|state| state.nodes).unwrap_or_default();
    nodes.iter().any(|node| node.name == name && node.stopped)
}

fn note_agent(layout: &Layout, name: &str, pid: Option<u32>) -> anyhow::Result<()> {
    if let Some(mut state) = State::read(layout)? {
        for node in state.nodes.iter_mut().filter(|node| node.name == name) {
            node.agent = pid.and_then(Process::find);
        }
        state.write(layout)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_and_namespaces_follow_the_number() {
        let (own, pods) = ("10.89.0.0/24,fd00:89::/64", "10.244.0.0/16,fd00:244::/56");
        let hosts = Hosts::new("t", own.parse().unwrap(), 2, pods.parse().unwrap());
        assert_eq!(hosts.gateways().to_string(), "10.89.0.1,fd00:89::1");
        assert_eq!(hosts.netns_path("minion-2").unwrap(), Path::new("/run/netns/t-2"));
        assert_eq!(hosts.minions()[1].addresses.to_string(), "10.89.0.12,fd00:89::c");
        assert!(hosts.netns_path("minion-3").is_none());
    }
}
