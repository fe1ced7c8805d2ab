//! Makes the cluster follow the objects: one file a controller, one table.
//!
//! Invariant: a controller speaks to the API only, through its own `Link`; it keeps nothing that it could not learn
//! again from there. What it decides is a pure function beside it, what it does is a few writes.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use skiff_base::metrics::Metrics;
use skiff_base::pki::Authority;
use skiff_base::{Clock, Tasks};
use skiff_client::Link;
use skiff_client::controller::{self, Runner};

mod autoscale;
mod bootstrap_signer;
mod certificates;
mod cron_job;
mod daemon;
mod deployment;
mod disruption;
mod endpoint_slices;
mod endpoints;
mod garbage;
mod identity_leases;
mod job;
mod load_balancers;
mod namespaces;
mod node_ipam;
mod node_lifecycle;
mod node_ttl;
mod pod_gc;
mod policy_types;
mod replica_set;
mod replicas;
mod replication;
mod resource_claims;
mod role_aggregation;
mod root_ca;
mod service_accounts;
mod service_cidrs;
mod shared;
mod slice_mirroring;
mod stateful;
mod storage_migration;
mod storage_versions;
mod switches;
mod table;
mod taint_eviction;
mod token_cleaner;
mod token_secrets;
mod ttl_after_finished;
mod volumes;

pub use switches::{Switches, Unknown};

/// What the controllers need.
pub struct Options {
    /// The link that feeds the shared caches.
    pub reader: Link,
    /// Each controller's own link by its name (see [`names`]), so that its writes carry its identity.
    pub links: Arc<dyn Fn(&'static str) -> Link + Send + Sync>,
    /// The ranges that pods' addresses come from, at most one of a family; nodes are given a part of each. None: nodes bring
    /// their own.
    pub cluster_cidrs: Vec<IpNet>,
    /// The prefix length of a node's part: of IPv4, of IPv6.
    pub node_cidr_masks: (u8, u8),
    /// The authority that pods need to trust the server, PEM; published in every namespace.
    pub root_ca: Option<String>,
    /// Signs approved certificate signing requests; nothing does without it.
    pub signer: Option<Arc<Authority>>,
    /// How long a node may be silent before it counts as lost.
    pub node_grace: Duration,
    /// How many finished pods are kept.
    pub finished_pods: usize,
    /// Which of them run.
    pub switches: Switches,
    /// The time of day.
    pub clock: Clock,
    /// Where to count.
    pub metrics: Metrics,
}

impl Options {
    /// Upstream's defaults over one link for all.
    pub fn over(link: Link) -> Self {
        let own = link.clone();
        Self {
            reader: link,
            links: Arc::new(move |_| own.clone()),
            cluster_cidrs: Vec::new(),
            node_cidr_masks: (24, 64),
            root_ca: None,
            signer: None,
            node_grace: Duration::from_secs(50),
            finished_pods: 12_500,
            switches: Switches::default(),
            clock: Clock::system(),
            metrics: Metrics::new(),
        }
    }
}

/// What every controller can ask for besides the API.
struct Settings {
    cluster_cidrs: Vec<IpNet>,
    node_cidr_masks: (u8, u8),
    root_ca: Option<String>,
    signer: Option<Arc<Authority>>,
    node_grace: Duration,
    finished_pods: usize,
    selectors: shared::selectors::Selectors,
    heartbeats: node_lifecycle::Heartbeats,
    missing: pod_gc::Missing,
    ttl: node_ttl::Step,
    ranges: node_ipam::Ranges,
    flocks: replicas::Flocks,
    awaited: deployment::Awaited,
    /// Attachments that the cache may not show yet.
    asked: volumes::attach::Asked,
    autoscalers: autoscale::Memory,
    daemons: daemon::Failures,
    doomed: taint_eviction::Doomed,
}

/// The controllers, ready to run.
pub struct Controllers {
    runner: Runner<Settings>,
    collector: Option<garbage::Collector>,
}

/// Wires the controllers; nothing runs yet.
pub fn build(options: Options) -> Controllers {
    let settings = Settings {
        cluster_cidrs: options.cluster_cidrs,
        node_cidr_masks: options.node_cidr_masks,
        root_ca: options.root_ca,
        signer: options.signer,
        node_grace: options.node_grace,
        finished_pods: options.finished_pods,
        selectors: shared::selectors::Selectors::default(),
        heartbeats: node_lifecycle::Heartbeats::default(),
        missing: pod_gc::Missing::default(),
        ttl: node_ttl::Step::default(),
        ranges: node_ipam::Ranges::default(),
        flocks: replicas::Flocks::default(),
        awaited: deployment::Awaited::default(),
        asked: volumes::attach::Asked::default(),
        autoscalers: autoscale::Memory::default(),
        daemons: daemon::Failures::default(),
        doomed: taint_eviction::Doomed::default(),
    };
    let collector = options.switches.runs(garbage::NAME);
    let collector =
        collector.then(|| garbage::Collector::new((options.links)(garbage::NAME), options.clock.clone()));
    let runner = Runner::build(controller::Options {
        rows: options.switches.rows(),
        reader: options.reader,
        links: options.links,
        settings: Arc::new(settings),
        clock: options.clock,
        metrics: options.metrics,
    });
    Controllers { runner, collector }
}

impl Controllers {
    /// Starts all of them; they run until `tasks` stop.
    pub fn run(self, tasks: &Tasks) {
        self.runner.run(tasks);
        if let Some(collector) = self.collector {
            collector.run(tasks);
        }
    }
}

/// All controllers' names and what each may do besides reading: verbs and resources.
pub fn names() -> impl Iterator<Item = (&'static str, &'static [(&'static str, &'static str)])> {
    table::ALL.iter().map(|row| (row.name, row.may)).chain([(garbage::NAME, garbage::MAY)])
}
