//! `skiff hollow`: nodes that only exist at the API, to try schedulers, controllers and the server itself at scale.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use skiff_base::{Clock, Tasks};
use skiff_hollow::{Hollow as Nodes, Shape};

use crate::kubeconfig::Access;
use crate::layout::Layout;
use crate::progress::{Progress, say};
use crate::roles;

/// How long removing the nodes may take at the end.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Hollow {
    /// How many nodes
    #[arg(long, default_value_t = 10)]
    nodes: usize,
    /// Access to the cluster; by default that of the cluster on this machine
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// What the nodes are called: PREFIX-0, PREFIX-1 and so on
    #[arg(long, default_value = "hollow")]
    prefix: String,
    /// What each node has: cpu=32,memory=256Gi,pods=110
    #[arg(long, value_name = "NAME=AMOUNT,...", value_delimiter = ',', value_parser = pair)]
    resources: Vec<(String, String)>,
    /// Labels of each node
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Spread the nodes over so many zones (topology.kubernetes.io/zone)
    #[arg(long, default_value_t = 0)]
    zones: usize,
    /// Leave the nodes in the API when this process ends
    #[arg(long)]
    keep: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Hollow {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        skiff_base::trace::start("warn");
        super::runtime(2)?.block_on(self.live())
    }

    async fn live(self) -> anyhow::Result<ExitCode> {
        let path = self.kubeconfig.unwrap_or_else(|| Layout::new("/var/lib/skiff".as_ref()).kubeconfig());
        let access = Access::read(&path)?;
        let mut shape = Shape {
            prefix: self.prefix,
            nodes: self.nodes,
            labels: self.labels,
            zones: self.zones,
            ..Shape::default()
        };
        for (name, amount) in self.resources {
            shape.resources.retain(|(known, _)| *known != name);
            shape.resources.push((name, amount));
        }
        let (count, tasks) = (shape.nodes, Tasks::new());
        let mut progress = Progress::start();
        let nodes = Nodes::build(roles::remote(&access)?, Clock::system(), shape);
        nodes.run(&tasks).await.with_context(|| format!("register {count} nodes at {}", access.server))?;
        progress.done(&format!("{count} hollow nodes at {}", access.server));
        say("Pods that are bound to them run at once, for ever or for as many seconds as their annotation");
        say(&format!("  {} says. Ctrl-C ends the nodes.", skiff_hollow::pod::RUN_FOR));
        super::up::stopped(&tasks).await?;
        tasks.drain(Duration::from_secs(5)).await;
        if !self.keep {
            nodes.remove(PATIENCE).await.context("remove the nodes")?;
        }
        match tasks.failure() {
            Some(why) => bail!("stopped because {why}"),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
