//! What all scenarios share: the arguments, the place, and the way to a Skiff under test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::Parser;

use crate::cluster::{Cluster, Role};
use crate::place::Place;

/// Figures of a running Skiff, taken from outside.
#[derive(Clone, Debug, Parser)]
#[command(name = "skiff-bench", about)]
pub(crate) struct Args {
    /// start, idle, writes, lists, watch, schedule, workloads, limits, crds, pods, size; or all
    #[arg(required = true)]
    pub(crate) scenarios: Vec<String>,
    /// The program under test
    #[arg(long, default_value = "target/release/skiff")]
    pub(crate) skiff: PathBuf,
    /// Measure the cluster that runs from this directory, instead of one of our own
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Measure any Kubernetes: its kubeconfig with client certificates
    #[arg(long, requires = "pids", conflicts_with = "data_dir")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The processes of that Kubernetes whose CPU counts
    #[arg(long, value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,
    /// Where our own clusters keep their data: a real disk, for writes are durable
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) work_dir: PathBuf,
    /// How long one figure of a rate is measured
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Small numbers of everything: to try the program, not to quote
    #[arg(long)]
    pub(crate) quick: bool,
    /// The archive of the image that pods run
    #[arg(long, default_value = "target/images/busybox.tar")]
    pub(crate) image: PathBuf,
}

/// Where scenarios work.
pub(crate) struct Lab {
    pub(crate) args: Args,
    _place: Option<Place>,
    clusters: AtomicU32,
}

impl Lab {
    /// Takes a place for clusters of our own, or enters that of the cluster to measure.
    pub(crate) fn open(args: Args) -> anyhow::Result<Self> {
        let place = match (&args.data_dir, &args.kubeconfig) {
            (Some(dir), _) => {
                Place::join(Cluster::running(dir)?)?;
                None
            }
            (None, Some(_)) => None,
            (None, None) => Some(Place::make()?),
        };
        Ok(Self { args, _place: place, clusters: AtomicU32::new(0) })
    }

    /// The Skiff under test: a new one, unless we were told of one.
    pub(crate) async fn cluster(&self, role: Role) -> anyhow::Result<Cluster> {
        if let Some(dir) = &self.args.data_dir {
            return Cluster::attach(dir).await;
        }
        if let Some(kubeconfig) = &self.args.kubeconfig {
            return Cluster::foreign(kubeconfig, self.args.pids.clone()).await;
        }
        Cluster::start(&self.args.skiff, &self.new_dir()?, role).await
    }

    /// An absent directory for a new cluster.
    pub(crate) fn new_dir(&self) -> anyhow::Result<PathBuf> {
        if self.args.data_dir.is_some() || self.args.kubeconfig.is_some() {
            bail!("this scenario starts clusters of its own: leave out --data-dir and --kubeconfig");
        }
        let number = self.clusters.fetch_add(1, Ordering::Relaxed);
        Ok(self.args.work_dir.join(format!("skiff-bench-{}-{number}", std::process::id())))
    }

    /// How long one rate is measured.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(if self.args.quick { 0.5 } else { self.args.seconds.clamp(0.1, 60.0) })
    }

    /// `full`, or `quick` when only trying.
    pub(crate) fn count(&self, full: usize, quick: usize) -> usize {
        if self.args.quick { quick } else { full }
    }
}
