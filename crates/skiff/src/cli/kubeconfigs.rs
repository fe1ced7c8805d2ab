//! `skiff kubeconfig`: access for people, and for nodes on other machines.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::DataDir;
use crate::certificates;
use crate::families::Each;
use crate::kubeconfig::Access;
use crate::progress::say;
use crate::state::State;

#[derive(Args)]
pub(crate) struct Kubeconfig {
    #[command(flatten)]
    data_dir: DataDir,
    /// Issue access for a node of this name instead; give it to `skiff agent --kubeconfig` on its machine
    #[arg(long, value_name = "NAME", requires = "address")]
    node: Option<String>,
    /// The node's address, or one of each family with a comma
    #[arg(long)]
    address: Option<Each<IpAddr>>,
    /// The server's URL as the reader of the kubeconfig reaches it; for a node, by default, the address that the server advertises
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl Kubeconfig {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let layout = self.data_dir.layout();
        let mut access = Access::read(&layout.kubeconfig())
            .with_context(|| format!("no cluster in {}: run `skiff up` first", layout.root().display()))?;
        if let Some(server) = self.server {
            access.server = server;
        } else if self.node.is_some()
            && let Some(state) = State::read(&layout)?
        {
            access.server = state.advertised.unwrap_or(state.server);
        }
        if let (Some(node), Some(addresses)) = (&self.node, &self.address) {
            let authority = certificates::authority(&layout)?;
            let folder = layout.pki().join("nodes").join(node);
            access.identity = certificates::node(&authority, &folder, node, addresses)?;
        }
        say(serde_saphyr::to_string(&access.document()).context("encode the kubeconfig")?.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
