//! `skiff up`: a cluster on this machine, told step by step.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use ipnet::IpNet;
use skiff_base::Tasks;
use skiff_net::family::Family;

use super::{ClusterArgs, DataDir};
use crate::families::{Each, word};
use crate::isolate::Place;
use crate::layout::Layout;
use crate::minions::{self, Hosts, Setting};
use crate::progress::{Progress, say};
use crate::roles::control_plane::{self, ControlPlane};
use crate::roles::node;
use crate::state::State;
use crate::{check, kubeconfig};

pub(super) mod detach;

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    sources: node::Sources,
    /// How many nodes; more than one get a network namespace each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Go to the background once everything is ready
    #[arg(long)]
    detach: bool,
    /// The node's name, if there is one node; by default the machine's
    #[arg(long)]
    node_name: Option<String>,
    /// The node's address, if there is one node, of each family that pods have, with a comma; by default the machine's
    #[arg(long)]
    node_ip: Option<Each<IpAddr>>,
    /// Prefix of network names, if there are several nodes; at most ten letters
    #[arg(long, default_value = "minion")]
    name: String,
    /// Addresses of the nodes, if there are several: a range of each family that pods have, with a comma; by default
    /// 10.89.0.0/24 and fd00:89::/64
    #[arg(long)]
    minion_cidr: Option<Each<IpNet>>,
    /// Leave the user's kubeconfig alone; there is one in the data directory anyway
    #[arg(long)]
    no_kubeconfig: bool,
    /// Set by `--detach`: close standard output once ready
    #[arg(long, hide = true)]
    close_when_ready: bool,
}

impl Up {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.cluster.check_ranges()?;
        let layout = self.data_dir.layout();
        let vital: Vec<String> = check::missing()
            .into_iter()
            .filter(|(_, vital, _)| *vital)
            .map(|(what, _, mend)| format!("  {what}: {mend}"))
            .collect();
        if !vital.is_empty() {
            bail!("this machine lacks something:\n{}", vital.join("\n"));
        }
        if let Some(state) = State::read(&layout)?
            && state.is_running()
        {
            bail!(
                "already up (process {}); see `skiff status`, end it with `skiff down`, or choose another --data-dir",
                state.process.pid
            );
        }
        if self.detach {
            return detach::run(&layout);
        }
        skiff_base::trace::start(if self.close_when_ready { "info" } else { "warn" });
        let single = self.single(&layout)?;
        if let Some(spec) = &single {
            Place { node_dir: spec.node_dir.clone(), netns: None, hostname: None }.enter()?;
        }
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        super::runtime(threads)?.block_on(self.live(layout, single))
    }

    /// The one node of this process, if there is one node only.
    fn single(&self, layout: &Layout) -> anyhow::Result<Option<node::Spec>> {
        if self.nodes > 1 {
            return Ok(None);
        }
        let name = match &self.node_name {
            Some(name) => name.clone(),
            None => node::machine_name(),
        };
        let addresses = self.cluster.node_addresses(self.node_ip.as_ref())?;
        let node_dir = layout.node(&name);
        Ok(Some(node::Spec::new(name, addresses, node_dir, &self.cluster, &self.sources)))
    }

    /// The network of several nodes.
    fn hosts(&self) -> anyhow::Result<Hosts> {
        let pods = &self.cluster.cluster_cidr;
        let ranges = match &self.minion_cidr {
            Some(ranges) => ranges.clone(),
            None => pods.map(|net| match Family::of(net.addr()) {
                Family::Four => IpNet::new_assert([10, 89, 0, 0].into(), 24),
                Family::Six => IpNet::new_assert([0xfd00, 0x89, 0, 0, 0, 0, 0, 0].into(), 64),
            }),
        };
        if let Some(family) = pods.families().find(|family| ranges.get(*family).is_none()) {
            bail!(
                "--minion-cidr {ranges}: pods have addresses of {0}, so nodes need such as well",
                word(family)
            );
        }
        Ok(Hosts::new(&self.name, ranges, self.nodes, pods.clone()))
    }

    async fn live(self, layout: Layout, single: Option<node::Spec>) -> anyhow::Result<ExitCode> {
        let mut progress = Progress::start();
        let tasks = Tasks::new();
        let hosts = (self.nodes > 1).then(|| self.hosts()).transpose()?;
        let addresses = match (&hosts, &single) {
            (Some(hosts), _) => hosts.gateways(),
            (None, Some(spec)) => spec.addresses.clone(),
            (None, None) => IpAddr::from([127, 0, 0, 1]).into(),
        };
        if let Some(hosts) = &hosts {
            hosts.remember(&layout)?;
            hosts.create()?;
            progress.done(&format!("network of {} minions", self.nodes));
        }
        let own = single.as_ref().map(|spec| spec.name.as_str());
        let plane = ControlPlane::start(&layout, &self.cluster, &addresses, own, &tasks).await?;
        progress.done(&format!("API server at {}", plane.url()));
        let mut state = State::of_this_process(plane.url(), self.cluster.dns());
        state.advertised = Some(plane.url_at(*addresses.first()));
        plane.admin(plane.url())?.write(&layout.kubeconfig())?;
        let names = match (single, hosts) {
            (Some(spec), _) => {
                state.nodes.push(spec.state(None));
                state.write(&layout)?;
                let name = spec.name.clone();
                let (link, identity) = plane.node(&spec.node_dir, &name, &addresses)?;
                node::start(spec, link, identity, &tasks).await?;
                vec![name]
            }
            (None, Some(hosts)) => {
                let setting = Setting {
                    layout: layout.clone(),
                    cluster: self.cluster.clone(),
                    sources: self.sources.clone(),
                };
                minions::start(&hosts, &plane, &setting, &mut state, &tasks).await?
            }
            (None, None) => Vec::new(),
        };
        progress.done("container runtime and pod network");
        let admin = plane.admin_link();
        tokio::select! {
            () = control_plane::nodes_ready(&admin, &names) => {}
            () = tasks.stopped() => bail!("a part failed: {}", tasks.failure().unwrap_or_default()),
        }
        progress.done(&format!("ready: {}", names.join(", ")));
        self.tell_ready(&layout, &plane, &progress)?;
        if self.close_when_ready {
            detach::close_output()?;
        }
        stopped(&tasks).await?;
        if !self.close_when_ready {
            say(
                "\nStopping. Pods keep running and are picked up by the next `skiff up`; `skiff down` ends them.",
            );
        }
        tasks.drain(std::time::Duration::from_secs(15)).await;
        plane.close().await;
        std::fs::remove_file(layout.state()).context("remove the state file").or_else(|error| {
            tracing::debug!(%error, "state file");
            anyhow::Ok(())
        })?;
        match tasks.failure() {
            Some(why) => bail!("stopped because {why}"),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn tell_ready(&self, layout: &Layout, plane: &ControlPlane, progress: &Progress) -> anyhow::Result<()> {
        say(&format!("\nUp in {}.", progress.total()));
        let own = layout.kubeconfig();
        if self.no_kubeconfig {
            say(&format!("  export KUBECONFIG={}", own.display()));
        } else {
            let path = plane.admin(plane.url())?.merge_into_users()?;
            say(&format!("  kubectl uses it now: context `{}` in {}", kubeconfig::NAME, path.display()));
        }
        if let Some(port) = self.cluster.legacy_port {
            say(&format!("  clients of 2014: export KUBERNETES_MASTER=http://127.0.0.1:{port}"));
        }
        say("Next:");
        say("  kubectl get nodes");
        say("  kubecfg list /minions          (or: skiff kubecfg list /minions)");
        say("  skiff status | skiff down");
        Ok(())
    }
}

/// Waits for a signal to stop, or for an essential task to fail.
pub(super) async fn stopped(tasks: &Tasks) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tasks.spawn_until_stop(crate::memory::settle());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tasks.stopped() => {}
    }
    Ok(())
}
