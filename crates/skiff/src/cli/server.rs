//! `skiff server`: API, scheduler and controllers, without a node.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use skiff_base::Tasks;

use super::{ClusterArgs, DataDir};
use crate::families::Each;
use crate::progress::{Progress, say};
use crate::roles::control_plane::ControlPlane;
use crate::state::State;

#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The address that nodes and pods reach the server by, of one family or both, with a comma; by default the machine's
    #[arg(long)]
    advertise_address: Option<Each<IpAddr>>,
}

impl Server {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        skiff_base::trace::start("info");
        self.cluster.check_ranges()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        super::runtime(threads)?.block_on(self.live())
    }

    async fn live(self) -> anyhow::Result<ExitCode> {
        let layout = self.data_dir.layout();
        let addresses = match &self.advertise_address {
            Some(addresses) => addresses.clone(),
            None => self.cluster.node_addresses(None)?,
        };
        let mut progress = Progress::start();
        let tasks = Tasks::new();
        let plane = ControlPlane::start(&layout, &self.cluster, &addresses, None, &tasks).await?;
        progress.done(&format!("API server at {}", plane.url()));
        plane.admin(plane.url())?.write(&layout.kubeconfig())?;
        let mut state = State::of_this_process(plane.url(), self.cluster.dns());
        state.advertised = Some(plane.url_at(*addresses.first()));
        state.write(&layout)?;
        say(&format!("\nUp in {}. Next:", progress.total()));
        say(&format!("  export KUBECONFIG={}", layout.kubeconfig().display()));
        say("  skiff kubeconfig --node NAME --address IP > node.kubeconfig    # then, on that machine:");
        say("  skiff agent --kubeconfig node.kubeconfig --node-name NAME --node-ip IP");
        super::up::stopped(&tasks).await?;
        tasks.drain(Duration::from_secs(15)).await;
        plane.close().await;
        match tasks.failure() {
            Some(why) => bail!("stopped because {why}"),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
