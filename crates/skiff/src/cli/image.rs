//! `skiff image`: brings archives to the nodes of this machine, and shows what they have.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use skiff_kubelet::runtime::Runtime;
use skiff_kubelet::runtime::cri::Cri;
use skiff_kubelet::runtime::cri::daemon;

use super::DataDir;
use crate::layout::Layout;
use crate::progress::say;

#[derive(Subcommand)]
pub(crate) enum Image {
    /// Import an image archive (docker or OCI) on every node of this machine
    Import {
        #[command(flatten)]
        data_dir: DataDir,
        /// The archives
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// List the images of every node of this machine
    List {
        #[command(flatten)]
        data_dir: DataDir,
    },
}

impl Image {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = super::runtime(1)?;
        match self {
            Self::Import { data_dir, archives } => {
                for archive in &archives {
                    let archive =
                        archive.canonicalize().with_context(|| format!("find {}", archive.display()))?;
                    for (node, cri) in runtimes(&data_dir.layout(), &runtime)? {
                        let names = runtime
                            .block_on(cri.import_images(&archive))
                            .with_context(|| format!("import {} on {node}", archive.display()))?;
                        say(&format!("{node}: {}", names.join(", ")));
                    }
                }
            }
            Self::List { data_dir } => {
                let nodes = runtimes(&data_dir.layout(), &runtime)?;
                say(&format!("{:<16} {:>9}  IMAGE", "NODE", "SIZE"));
                for (node, cri) in nodes {
                    for image in runtime
                        .block_on(cri.list_images())
                        .with_context(|| format!("list images of {node}"))?
                    {
                        let size = format!("{:.1} MB", image.size as f64 / 1e6);
                        let name = image.tags.first().or(image.digests.first()).unwrap_or(&image.id);
                        say(&format!("{node:<16} {size:>9}  {name}"));
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The runtimes of this machine's nodes.
fn runtimes(layout: &Layout, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Vec<(String, Cri)>> {
    let _inside = runtime.enter();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(layout.nodes()).into_iter().flatten().flatten() {
        let socket = daemon::Options::under(&entry.path()).socket();
        if daemon::listener(&socket).is_some() {
            found.push((entry.file_name().to_string_lossy().into_owned(), Cri::at(&socket)));
        }
    }
    if found.is_empty() {
        bail!("no node runs from {}: start it with `skiff up`", layout.root().display());
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
