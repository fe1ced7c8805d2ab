//! Probes: asks containers whether they have started, live, and are ready, and tells the pod's worker when the answer changes.
//!
//! One task per probe of one run of a container; dropping [`Probing`] ends them. What is asked is a `Check` (one kind a
//! file under `probe/`); when and how often is `schedule`, which is pure. Liveness and readiness wait until the startup probe
//! has succeeded once. Unlike upstream there is no random delay at first: it only guards against a whole
//! kubelet's restart, and our tasks are spread by their containers' own starts.

mod check;
mod exec;
mod grpc;
mod http;
mod schedule;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use skiff_base::Tasks;
use tokio::sync::{mpsc, watch};

use crate::record::Record;
use crate::runtime::{ContainerId, Runtime};

pub(crate) use check::Outcome;
pub(crate) use http::get as http_get;
pub(crate) use target::{port_number, request_of};

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Whether it has started; until then the others wait.
    Startup,
    /// Whether it lives; if not, it is restarted.
    Liveness,
    /// Whether it may be sent requests.
    Readiness,
}

impl ProbeKind {
    /// The word with which upstream's messages begin.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// A verdict that differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose, by its name in the pod.
    pub container: String,
    /// Whose, by the runtime's name.
    pub container_id: ContainerId,
    /// Of which probe.
    pub kind: ProbeKind,
    /// The verdict.
    pub healthy: bool,
    /// What the last try said.
    pub message: String,
}

/// One run of a container to be probed.
#[derive(Clone)]
pub struct Target {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// Its name in the pod.
    pub container: String,
    /// The runtime's name for it.
    pub container_id: ContainerId,
    /// The pod's address.
    pub pod_ip: Option<IpAddr>,
    /// When it started; initial delays count from here.
    pub started_at: Timestamp,
}

/// Starts probes; cheap to clone.
#[derive(Clone)]
pub struct Prober {
    runtime: Arc<dyn Runtime>,
    record: Arc<dyn Record>,
    clock: skiff_base::Clock,
}

/// The probes of one run of a container; they end when this is dropped.
pub struct Probing {
    tasks: Tasks,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Prober {
    /// Asks through `runtime` and the network, and records `Unhealthy` and `ProbeWarning` with `record`.
    pub fn new(runtime: Arc<dyn Runtime>, record: Arc<dyn Record>) -> Self {
        Self { runtime, record, clock: skiff_base::Clock::system() }
    }

    /// With another idea of the time, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: skiff_base::Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts all probes of one run of a container.
    #[must_use]
    pub fn start(&self, target: Target, reports: mpsc::Sender<Report>) -> Probing {
        let tasks = Tasks::new();
        let container = target
            .pod
            .spec
            .iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let Some(container) = container.into_iter().find(|one| one.name == target.container).cloned() else {
            return Probing { tasks };
        };
        // Without a startup probe the container counts as started at once.
        let (started, has_started) = watch::channel(container.startup_probe.is_none());
        let started = Arc::new(started);
        for kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
            let Some(probe) = kind.of(&container) else { continue };
            let work = worker::Worker {
                kind,
                probe: probe.clone(),
                container: container.clone(),
                target: target.clone(),
                prober: self.clone(),
                reports: reports.clone(),
                started: Arc::clone(&started),
            };
            let has_started = has_started.clone();
            tasks.spawn_until_stop(work.run(has_started));
        }
        Probing { tasks }
    }
}
