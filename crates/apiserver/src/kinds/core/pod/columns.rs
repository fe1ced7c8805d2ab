//! What `kubectl get pods` shows.
//!
//! Follows upstream's `pkg/printers/internalversion` for status words and restart counts: a pod's word is its phase
//! until a container, an init container or a deletion has something more telling to say.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition};
use skiff_api::{pod as arithmetic, table};

use crate::kinds::{Column, check};

/// The columns after the name.
pub(super) fn all() -> Vec<Column<Pod>> {
    vec![
        Column::<Pod>::text("Ready", |pod, _| {
            let summary = Summary::of(pod);
            format!("{}/{}", summary.ready, summary.total).into()
        }),
        Column::<Pod>::text("Status", |pod, _| Summary::of(pod).reason.into()),
        Column::<Pod>::text("Restarts", |pod, now| Summary::of(pod).restarts(now).into()),
        Column::age(),
        Column::<Pod>::text("IP", |pod, _| {
            let status = pod.status.as_ref();
            let ips = status.and_then(|status| status.pod_ips.as_ref());
            check::or_none(ips.and_then(|ips| ips.first()).map_or("", |ip| &ip.ip)).into()
        })
        .wide(),
        Column::<Pod>::text("Node", |pod, _| {
            check::or_none(arithmetic::node_name(pod).unwrap_or_default()).into()
        })
        .wide(),
        Column::<Pod>::text("Nominated Node", |pod, _| {
            let node = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
            check::or_none(node.unwrap_or_default()).into()
        })
        .wide(),
        Column::<Pod>::text("Readiness Gates", |pod, _| gates(pod).into()).wide(),
    ]
}

fn conditions(pod: &Pod) -> impl Iterator<Item = &PodCondition> {
    pod.status.iter().flat_map(|status| status.conditions.iter().flatten())
}

fn is_true(pod: &Pod, kind: &str) -> bool {
    conditions(pod).any(|condition| condition.type_ == kind && condition.status == "True")
}

fn gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    if gates.is_empty() {
        return check::or_none("");
    }
    let met = gates.iter().filter(|gate| is_true(pod, &gate.condition_type)).count();
    format!("{met}/{}", gates.len())
}

#[derive(Default)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    count: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts seen so far: how many, and when the last of them ended.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &ContainerStatus) {
        self.count += i64::from(status.restart_count);
        let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        self.last = self.last.max(ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0));
    }
}

fn ended(state: &ContainerStateTerminated) -> String {
    match (check::given(state.reason.as_ref()), state.signal.unwrap_or(0)) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{}", state.exit_code),
        (None, signal) => format!("Signal:{signal}"),
    }
}

fn waiting(status: &ContainerStatus) -> Option<&str> {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.and_then(|waiting| check::given(waiting.reason.as_ref()))
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref().and_then(|state| state.terminated.as_ref())
}

impl Summary {
    fn of(pod: &Pod) -> Self {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let inits = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let is_sidecar =
            |name: &str| inits.iter().any(|init| init.name == name && arithmetic::is_sidecar(init));
        let phase = arithmetic::phase(pod);
        let own = status.and_then(|status| check::given(status.reason.as_ref()));
        let mut summary = Self {
            total: spec.map_or(0, |spec| spec.containers.len())
                + inits.iter().filter(|init| arithmetic::is_sidecar(init)).count(),
            reason: own.unwrap_or(phase).to_owned(),
            ..Self::default()
        };
        let gated = |condition: &PodCondition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
        };
        if conditions(pod).any(gated) {
            summary.reason = "SchedulingGated".to_owned();
        }
        let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());
        let mut initializing = false;
        for (index, init) in
            status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default().iter().enumerate()
        {
            all.add(init);
            let sidecar = is_sidecar(&init.name);
            if sidecar {
                sidecars.add(init);
            }
            match (terminated(init), waiting(init)) {
                (Some(end), _) if end.exit_code == 0 => continue,
                _ if sidecar && init.started == Some(true) => {
                    summary.ready += usize::from(init.ready);
                    continue;
                }
                (Some(end), _) => summary.reason = format!("Init:{}", ended(end)),
                (None, Some(reason)) if reason != "PodInitializing" => {
                    summary.reason = format!("Init:{reason}")
                }
                _ => summary.reason = format!("Init:{index}/{}", inits.len()),
            }
            initializing = true;
            break;
        }
        if !initializing || is_true(pod, "Initialized") {
            all = sidecars;
            let statuses = status.and_then(|status| status.container_statuses.as_deref());
            summary.containers(pod, statuses.unwrap_or_default(), &mut all);
        }
        (summary.count, summary.last_restart) = (all.count, all.last);
        if pod.metadata.deletion_timestamp.is_some() {
            if own == Some("NodeLost") {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// The first container with something to say has the last word.
    fn containers(&mut self, pod: &Pod, statuses: &[ContainerStatus], restarts: &mut Restarts) {
        let mut running = false;
        for status in statuses.iter().rev() {
            restarts.add(status);
            let running_now = status.state.as_ref().is_some_and(|state| state.running.is_some());
            if let Some(reason) = waiting(status) {
                self.reason = reason.to_owned();
            } else if let Some(end) = terminated(status) {
                self.reason = ended(end);
            } else if status.ready && running_now {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if is_true(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.count > 0 => format!("{} ({} ago)", self.count, table::age(last, now)),
            _ => self.count.to_string(),
        }
    }
}
