//! What workers share, made from the options: over the API, or over what a test stands in for it.

use std::sync::{Arc, PoisonError};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use sha2::{Digest, Sha256};
use skiff_base::task::Tasks;
use skiff_client::events::{Recorder, Source as EventSource};
use skiff_client::{Cache, Topic};

use super::{ClusterChoice, Kubelet};
use crate::cdi;
use crate::cluster::Cluster;
use crate::cluster::link::LinkedCluster;
use crate::image::Images;
use crate::node::facts;
use crate::node::object::{Me, allocatable};
use crate::node::shares::Shares;
use crate::pod::config::Places;
use crate::pod::hosts::ClusterDns;
use crate::pod::security::Filters;
use crate::probe::Prober;
use crate::record::{EventKind, Record};
use crate::runtime::Seccomp;
use crate::source::{self, Source};
use crate::volume::{self, LinkObjects, NoObjects, Objects, Volumes};
use crate::worker::Context;
use crate::worker::context::{Node, Routes};

pub(super) struct Wired {
    pub(super) context: Context,
    /// The API first, if there is one: only it has mirrors.
    pub(super) sources: Vec<Source>,
    pub(super) recorder: Option<Recorder>,
}

pub(super) fn wire(kubelet: &Kubelet, me: &Me, tasks: &Tasks) -> Wired {
    let options = &kubelet.options;
    let mut sources = Vec::new();
    let mut recorder = None;
    let (cluster, record, objects): (Arc<dyn Cluster>, Arc<dyn Record>, Arc<dyn Objects>) =
        match &options.cluster {
            ClusterChoice::Link(link) => {
                let services = Cache::follow(link, &Topic::of::<Service>(), &[], tasks);
                let from = EventSource { component: "kubelet".to_owned(), host: me.name.clone() };
                let events = Recorder::start(link, from, options.clock.clone(), tasks);
                recorder = Some(events.clone());
                sources.push(source::api::pods(link, &me.name));
                (
                    Arc::new(LinkedCluster::new(link.clone(), services)),
                    Arc::new(Events(events)),
                    Arc::new(LinkObjects::new(link.clone(), tasks.clone())),
                )
            }
            ClusterChoice::Custom(custom) => {
                sources.extend(custom.source.lock().unwrap_or_else(PoisonError::into_inner).take());
                (Arc::clone(&custom.cluster), Arc::clone(&custom.record), Arc::new(NoObjects))
            }
        };
    let runtime = Arc::clone(kubelet.handle.runtime());
    let clock = options.clock.clone();
    let (cpu, memory) = allocatable(me);
    let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let images = Images {
        runtime: Arc::clone(&runtime),
        cluster: Arc::clone(&cluster),
        record: Arc::clone(&record),
        clock: clock.clone(),
    };
    let volumes = Volumes::new(volume::Options {
        data_dir: options.data_dir.clone(),
        objects,
        record: Arc::clone(&record),
        images: Arc::new(images.clone()),
        clock: clock.clone(),
        allocatable: (int(cpu), int(memory)),
        drivers: kubelet.drivers.clone(),
    });
    let places = Places::new(&options.data_dir);
    let node = Node {
        addresses: me.addresses.clone(),
        runtime_name: me.runtime.name.clone(),
        memory: me.facts.memory,
        cpu_milli: int(cpu),
        cluster_dns: ClusterDns {
            servers: options.cluster_dns.iter().map(ToString::to_string).collect(),
            domain: options.cluster_domain.clone(),
        },
        dns: facts::dns(),
        filters: Filters {
            profiles: places.seccomp(),
            default: if options.seccomp_default { Seccomp::RuntimeDefault } else { Seccomp::Unconfined },
        },
        cdi: cdi::is_spoken_by(&me.runtime),
        owner: owner(&me.name, &options.data_dir),
    };
    let context = Context {
        prober: Prober::new(Arc::clone(&runtime), Arc::clone(&record)),
        runtime,
        cluster,
        record,
        images,
        volumes,
        devices: kubelet.devices.clone(),
        device_plugins: kubelet.device_plugins.clone(),
        cgroups: kubelet.cgroups.clone(),
        places,
        routes: Routes::default(),
        handle: kubelet.handle(),
        clock,
        shares: Arc::new(Shares::new()),
        node: Arc::new(node),
    };
    Wired { context, sources, recorder }
}

/// Marks what this kubelet makes: where two share a runtime, neither may take the other's pods for orphans.
fn owner(name: &str, data_dir: &std::path::Path) -> String {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([0])
        .chain_update(data_dir.as_os_str().as_encoded_bytes());
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Events about pods and claims, through the client's recorder.
struct Events(Recorder);

fn kind_of(kind: EventKind) -> skiff_client::EventKind {
    match kind {
        EventKind::Normal => skiff_client::EventKind::Normal,
        EventKind::Warning => skiff_client::EventKind::Warning,
    }
}

impl Record for Events {
    fn record(&self, pod: &Pod, field_path: Option<&str>, kind: EventKind, reason: &str, message: String) {
        let mut about = skiff_client::events::reference(pod);
        about.field_path = field_path.map(str::to_owned);
        self.0.record(about, kind_of(kind), reason, message);
    }

    fn record_claim(&self, claim: &PersistentVolumeClaim, kind: EventKind, reason: &str, message: String) {
        self.0.record(skiff_client::events::reference(claim), kind_of(kind), reason, message);
    }
}
