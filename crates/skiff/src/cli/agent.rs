//! `skiff agent`: one node; on another machine, or as one of several minions on this one.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use skiff_base::Tasks;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::{ClusterArgs, DataDir};
use crate::families::Each;
use crate::isolate::Place;
use crate::kubeconfig::Access;
use crate::progress::say;
use crate::roles::{self, node};
use crate::state::{self, Process, State};

#[derive(Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    sources: node::Sources,
    /// Access to the server, as `skiff kubeconfig --node` prints it
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The node's name; by default the machine's
    #[arg(long)]
    node_name: Option<String>,
    /// The node's address, of each family that pods have, with a comma; by default the machine's
    #[arg(long)]
    node_ip: Option<Each<IpAddr>>,
    /// The network namespace to live in (`/run/netns/NAME`)
    #[arg(long, hide = true)]
    netns: Option<PathBuf>,
    /// Set by `skiff up`: stop when standard input ends, and close standard output once ready
    #[arg(long, hide = true)]
    minion: bool,
}

impl Agent {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        skiff_base::trace::start("info");
        self.cluster.check_ranges()?;
        let name = self.node_name.clone().unwrap_or_else(node::machine_name);
        let node_dir = self.data_dir.layout().node(&name);
        let hostname = self.netns.is_some().then(|| name.clone());
        Place { node_dir: node_dir.clone(), netns: self.netns.clone(), hostname }.enter()?;
        let addresses = self.cluster.node_addresses(self.node_ip.as_ref())?;
        let spec = node::Spec::new(name, addresses, node_dir, &self.cluster, &self.sources);
        super::runtime(2)?.block_on(self.live(spec))
    }

    async fn live(self, spec: node::Spec) -> anyhow::Result<ExitCode> {
        let tasks = Tasks::new();
        let access = Access::read(&self.kubeconfig)?;
        if !self.minion {
            self.remember(&spec, &access.server)?;
        }
        let name = spec.name.clone();
        let identity = node::Identity { identity: access.identity.clone(), ca_pem: access.ca_pem.clone() };
        node::start(spec, roles::remote(&access)?, identity, &tasks).await?;
        if self.minion {
            super::up::detach::close_output()?;
        } else {
            say(&format!("Node {name} runs; the server is {}.", access.server));
        }
        tokio::select! {
            stopped = super::up::stopped(&tasks) => stopped?,
            () = parent_gone(), if self.minion => {}
        }
        tasks.drain(Duration::from_secs(15)).await;
        match tasks.failure() {
            Some(why) => bail!("stopped because {why}"),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

impl Agent {
    /// Notes that it runs, for `status`, `image` and `down`: beside a server from the same directory if there is one.
    fn remember(&self, spec: &node::Spec, server: &str) -> anyhow::Result<()> {
        let layout = self.data_dir.layout();
        let beside = State::read(&layout)?.filter(State::is_running);
        let node = spec.state(beside.is_some().then(Process::current));
        let mut state =
            beside.unwrap_or_else(|| State::of_this_process(server.to_owned(), self.cluster.dns()));
        let runs = |other: &state::Node| other.agent.unwrap_or(state.process);
        let running = state.nodes.iter().filter(|other| other.name == node.name).map(runs);
        if let Some(process) = running.into_iter().find(|process| process.is_running()) {
            bail!("{} runs already (process {}); `skiff down` stops it", node.name, process.pid);
        }
        state.nodes.retain(|other| other.name != node.name);
        state.nodes.push(node);
        state.write(&layout)
    }
}

/// `skiff up` holds the other end of our standard input; it ends when that process does, however it does.
async fn parent_gone() {
    let own = std::io::stdin().as_fd().try_clone_to_owned();
    let Ok(mut pipe) = own.and_then(pipe::Receiver::from_owned_fd) else { return };
    let mut nothing = [0];
    while pipe.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
