//! The node agent put together: options in, a running kubelet out.
//!
//! `build` wires and starts nothing; `run` brings the runtime up, registers the node and works until told to stop.
//! Stopping leaves pods and containerd running: they are taken up again by the next start. Only
//! [`runtime::cri::daemon::stop_for_good`](crate::runtime::cri::daemon::stop_for_good) ends them.

mod wiring;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use skiff_base::clock::Clock;
use skiff_base::ready::Latch;
use skiff_base::task::{Policy, Tasks};
use skiff_client::Link;
use tokio::sync::{Notify, mpsc};

use crate::cgroup::Cgroups;
use crate::cluster::Cluster;
use crate::csi::{self, Drivers};
use crate::device_plugins::DevicePlugins;
use crate::dra::Devices;
use crate::eviction::{self, Eviction};
use crate::gc;
use crate::handle::Handle;
use crate::manager::{Evictions, Manager};
use crate::node::admit::Allocatable;
use crate::node::object::{Me, allocatable};
use crate::node::{NodeAgent, facts};
use crate::plugins;
use crate::record::Record;
use crate::runtime::cri::Cri;
use crate::runtime::cri::daemon::{self, Daemon, DaemonError};
use crate::runtime::{Runtime, RuntimeError};
use crate::server::{self, Server};
use crate::source::{self, Source};

/// Which runtime the pods run in.
#[derive(Clone)]
pub enum RuntimeChoice {
    /// One that listens at this socket and is someone else's.
    Socket(PathBuf),
    /// A containerd of our own.
    Own(Box<daemon::Options>),
    /// Any other, such as a fake one in tests.
    Custom(Arc<dyn Runtime>),
}

/// How the cluster is reached.
#[derive(Clone)]
pub enum ClusterChoice {
    /// Through the API.
    Link(Link),
    /// As told: without an API server, or in tests. The node is not registered anywhere.
    Custom(Arc<CustomCluster>),
}

/// A stand-in for the API.
pub struct CustomCluster {
    /// Where statuses go.
    pub cluster: Arc<dyn Cluster>,
    /// Where events go.
    pub record: Arc<dyn Record>,
    /// Where pods come from; taken by the first kubelet built with it.
    pub source: std::sync::Mutex<Option<Source>>,
}

/// What a kubelet is built from.
#[derive(Clone)]
pub struct Options {
    /// The Node's name.
    pub node_name: String,
    /// The node's addresses, the main one first.
    pub node_addresses: Vec<IpAddr>,
    /// Labels of the Node besides the usual ones.
    pub node_labels: BTreeMap<String, String>,
    /// Taints the Node begins with.
    pub node_taints: Vec<Taint>,
    /// How the cluster is reached.
    pub cluster: ClusterChoice,
    /// Which runtime.
    pub runtime: RuntimeChoice,
    /// Where the kubelet keeps its files.
    pub data_dir: PathBuf,
    /// This node's part of the machine's cgroup tree, such as `/skiff/minion-1`; empty on a machine of its own.
    pub cgroup_root: String,
    /// Addresses of the cluster's DNS.
    pub cluster_dns: Vec<IpAddr>,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
    /// From which range the node's pods get addresses.
    pub pod_cidr: Option<String>,
    /// A directory of static pods.
    pub manifest_dir: Option<PathBuf>,
    /// An address of static pods.
    pub manifest_url: Option<String>,
    /// How many pods at most; upstream's default is 110.
    pub max_pods: u64,
    /// The kubelet's version, as `kubectl get nodes` shows it.
    pub version: String,
    /// Where the node's server is reached.
    pub port: u16,
    /// CPU held back from pods, in thousandths.
    pub reserved_cpu_milli: u64,
    /// Memory held back from pods, in bytes.
    pub reserved_memory: u64,
    /// When the node is short of memory, disk space or process ids, and what it does then.
    pub eviction: eviction::Settings,
    /// Whether containers that say nothing about system calls run behind the runtime's filter.
    pub seccomp_default: bool,
    /// Tells the time.
    pub clock: Clock,
}

impl Options {
    /// The usual options of a node that keeps its files in `data_dir`.
    #[must_use]
    pub fn new(node_name: &str, cluster: ClusterChoice, runtime: RuntimeChoice, data_dir: &Path) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_addresses: Vec::new(),
            node_labels: BTreeMap::new(),
            node_taints: Vec::new(),
            cluster,
            runtime,
            data_dir: data_dir.to_owned(),
            cgroup_root: String::new(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            pod_cidr: None,
            manifest_dir: None,
            manifest_url: None,
            max_pods: 110,
            version: concat!("v1.37.0+skiff.", env!("CARGO_PKG_VERSION")).to_owned(),
            port: 10250,
            reserved_cpu_milli: 0,
            reserved_memory: 0,
            eviction: eviction::Settings::default(),
            seccomp_default: false,
            clock: Clock::system(),
        }
    }
}

/// Why a kubelet does not run.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A directory could not be made.
    #[error("prepare {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Our containerd does not run.
    #[error("run containerd")]
    Daemon(#[from] DaemonError),
    /// The runtime does not answer.
    #[error("ask the runtime")]
    Runtime(#[from] RuntimeError),
}

/// A node agent, built and not running.
pub struct Kubelet {
    options: Options,
    handle: Handle,
    cgroups: Cgroups,
    drivers: Drivers,
    devices: Devices,
    device_plugins: DevicePlugins,
    ready: Latch,
    server: Option<Server>,
}

impl Kubelet {
    /// Wires a kubelet; starts nothing.
    #[must_use]
    pub fn build(options: Options) -> Self {
        let runtime: Arc<dyn Runtime> = match &options.runtime {
            RuntimeChoice::Socket(socket) => Arc::new(Cri::at(socket)),
            RuntimeChoice::Own(own) => Arc::new(Cri::at(&own.socket()).pinning(&own.sandbox_image)),
            RuntimeChoice::Custom(runtime) => Arc::clone(runtime),
        };
        let handle = Handle::new(options.node_name.clone(), options.data_dir.clone(), runtime);
        let cgroups = Cgroups::detect(&options.cgroup_root);
        let drivers = Drivers::new(&options.data_dir);
        let devices = Devices::new(&options.data_dir);
        let device_plugins = DevicePlugins::new(&options.data_dir);
        Self { options, handle, cgroups, drivers, devices, device_plugins, ready: Latch::new(), server: None }
    }

    /// With the node's own server, which serves logs, exec and the like.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn with_server(mut self, options: server::Options) -> std::io::Result<Self> {
        self.server = Some(Server::build(options, self.handle.clone())?);
        Ok(self)
    }

    /// What others may see of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Opens when every source of pods spoke and what ran before was taken up.
    #[must_use]
    pub fn ready(&self) -> Latch {
        self.ready.clone()
    }

    /// Works until the tasks are told to stop. Pods are left running.
    ///
    /// # Errors
    /// [`KubeletError`] if the runtime cannot be had.
    pub async fn run(self, tasks: Tasks) -> Result<(), KubeletError> {
        let data_dir = self.options.data_dir.clone();
        let prepare = |path: PathBuf| move |source| KubeletError::Prepare { path, source };
        std::fs::create_dir_all(data_dir.join("pods")).map_err(prepare(data_dir))?;
        if let RuntimeChoice::Own(own) = &self.options.runtime {
            let daemon = Daemon::start(own.as_ref().clone()).await?;
            tasks.spawn_until_stop(daemon.keep_alive());
        }
        let (cgroups, top) = (self.cgroups.clone(), PathBuf::from("/sys/fs/cgroup"));
        tokio::task::spawn_blocking(move || cgroups.prepare())
            .await
            .map_err(std::io::Error::other)
            .and_then(|result| result)
            .map_err(prepare(top))?;
        let version = self.handle.runtime().version().await?;
        let me = self.me(version);
        let room = Allocatable::new(&me.name, allocatable(&me), me.max_pods, me.labels.clone());
        let room = Arc::new(room);
        let wiring::Wired { context, mut sources, recorder } = wiring::wire(&self, &me, &tasks);
        sources.extend(self.files());
        let (orders_to, orders) = mpsc::unbounded_channel();
        let (images_to, images_asked) = mpsc::channel(1);
        let evictions = Eviction::new(eviction::Parts {
            settings: self.options.eviction.clone(),
            handle: self.handle.clone(),
            data_dir: self.options.data_dir.clone(),
            places: context.places.clone(),
            volumes: context.volumes.clone(),
            cgroups: context.cgroups.clone(),
            recorder: recorder.clone(),
            orders: orders_to,
            images: images_to,
        });
        let pressure = evictions.pressure();
        let images_changed = Arc::new(Notify::new());

        if let (ClusterChoice::Link(link), Some(recorder)) = (&self.options.cluster, recorder) {
            let (name, data_dir) = (me.name.clone(), me.data_dir.clone());
            tasks.spawn_until_stop(csi::announce(link.clone(), name.clone(), self.drivers.clone()));
            tasks.spawn_until_stop(crate::volume::local_path::run(link.clone(), name, data_dir));
            let agent = NodeAgent {
                link: link.clone(),
                runtime: Arc::clone(self.handle.runtime()),
                recorder,
                clock: self.options.clock.clone(),
                me,
                allocatable: Arc::clone(&room),
                images_changed: Arc::clone(&images_changed),
                pressure: pressure.clone(),
                volumes: self.drivers.in_use(),
                devices: self.device_plugins.amounts(),
            };
            tasks.spawn("node", Policy::Essential, agent.run(tasks.clone()));
        }
        let cluster = match &self.options.cluster {
            ClusterChoice::Link(link) => Some((link.clone(), self.options.node_name.clone())),
            ClusterChoice::Custom(_) => None,
        };
        self.devices.begin(cluster, &tasks);
        self.device_plugins.begin(&tasks);
        let handlers: Vec<Arc<dyn plugins::Handler>> = vec![
            Arc::new(self.drivers.clone()),
            Arc::new(self.device_plugins.clone()),
            self.devices.handler(),
        ];
        tasks.spawn_until_stop(plugins::listen(self.options.data_dir.clone(), handlers));
        tasks.spawn_until_stop(evictions.run());
        let (handle, clock) = (self.handle.clone(), self.options.clock.clone());
        tasks.spawn_until_stop(gc::images::run(handle, clock, images_changed, images_asked));
        tasks.spawn_until_stop(gc::logs::run(self.handle.clone(), self.options.clock.clone()));
        if let Some(server) = self.server {
            server.start(&tasks);
        }
        let evictions = Evictions { pressure, orders };
        Manager::new(context, tasks, room, self.ready, evictions).run(sources).await;
        Ok(())
    }

    fn me(&self, runtime: crate::runtime::Version) -> Me {
        let options = &self.options;
        Me {
            name: options.node_name.clone(),
            addresses: options.node_addresses.clone(),
            labels: options.node_labels.clone(),
            taints: options.node_taints.clone(),
            pod_cidr: options.pod_cidr.clone(),
            max_pods: options.max_pods,
            port: options.port,
            version: options.version.clone(),
            runtime,
            facts: facts::read(&options.data_dir),
            data_dir: options.data_dir.clone(),
            reserved_cpu_milli: options.reserved_cpu_milli,
            reserved_memory: options.reserved_memory,
        }
    }

    /// Static pods, from wherever they are to come.
    fn files(&self) -> Vec<Source> {
        let options = &self.options;
        let directory = options
            .manifest_dir
            .as_ref()
            .map(|path| source::of_sets(source::files::directory(path.clone(), &options.node_name)));
        let url = options.manifest_url.as_ref().and_then(|url| match url.parse() {
            Ok(url) => Some(source::of_sets(source::files::url(url, &options.node_name))),
            Err(_) => {
                tracing::error!(url, "manifest URL is none");
                None
            }
        });
        directory.into_iter().chain(url).collect()
    }
}
