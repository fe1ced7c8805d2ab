//! What `kubectl get pods` shows.
//!
//! Follows upstream's `pkg/printers/internalversion` for status words and restart counts: a pod's word is its phase
//! until a container, an init container or a deletion has something more telling to say.

use jiff::Timestamp;
use serde_json::Value;
use skiff_api::object::DecodeError;
use skiff_api::{Object, table};

use super::glimpse::{Condition, ContainerStatus, Glimpse, Status, Terminated};
use crate::kinds::{Heading, Table, age, check};

/// The columns after the name.
pub(super) fn all() -> Table {
    let headings = ["Ready", "Status", "Restarts", "Age"].map(Heading::text);
    let wide = ["IP", "Node", "Nominated Node", "Readiness Gates"].map(|name| Heading::text(name).wide());
    Table::new(headings.into_iter().chain(wide).collect(), cells)
}

fn cells(object: &Object, now: Timestamp) -> Result<Vec<Value>, DecodeError> {
    let fault = |error| DecodeError::of("Pod", object, error);
    let text = object.without_metadata().map_err(fault)?;
    let pod: Glimpse<'_> = serde_json::from_slice(&text).map_err(fault)?;
    let meta = object.meta();
    let summary = Summary::of(&pod, meta.deletion_timestamp.is_some());
    let Glimpse { spec, status } = &pod;
    Ok(vec![
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.as_str().into(),
        summary.restarts(now).into(),
        age(meta.creation_timestamp, now),
        check::or_none(status.pod_ips.first().map_or("", |address| &address.ip)).into(),
        check::or_none(&spec.node_name).into(),
        check::or_none(&status.nominated_node_name).into(),
        gates(&pod).into(),
    ])
}

fn gates(pod: &Glimpse<'_>) -> String {
    let gates = &pod.spec.readiness_gates;
    if gates.is_empty() {
        return check::or_none("");
    }
    let met = gates.iter().filter(|gate| pod.status.is_true(&gate.condition_type)).count();
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
    fn add(&mut self, status: &ContainerStatus<'_>) {
        self.count += status.restart_count;
        let ended = status.last_state.terminated.as_ref();
        self.last = self.last.max(ended.and_then(|ended| ended.finished_at));
    }
}

fn ended(state: &Terminated<'_>) -> String {
    match (&*state.reason, state.signal) {
        ("", 0) => format!("ExitCode:{}", state.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

impl Summary {
    fn of(pod: &Glimpse<'_>, leaving: bool) -> Self {
        let Glimpse { spec, status } = pod;
        let inits = &spec.init_containers;
        let is_sidecar = |name: &str| inits.iter().any(|init| init.name == name && init.is_sidecar());
        let word = if status.reason.is_empty() { &status.phase } else { &status.reason };
        let mut summary = Self {
            total: spec.containers.len() + inits.iter().filter(|init| init.is_sidecar()).count(),
            reason: (**word).to_owned(),
            ..Self::default()
        };
        let gated = |condition: &Condition<'_>| {
            condition.kind == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
        };
        if status.conditions.iter().any(gated) {
            summary.reason = "SchedulingGated".to_owned();
        }
        let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());
        let mut initializing = false;
        for (index, init) in status.init_container_statuses.iter().enumerate() {
            all.add(init);
            let sidecar = is_sidecar(&init.name);
            if sidecar {
                sidecars.add(init);
            }
            match (&init.state.terminated, init.waiting()) {
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
        if !initializing || status.is_true("Initialized") {
            all = sidecars;
            summary.containers(status, &mut all);
        }
        (summary.count, summary.last_restart) = (all.count, all.last);
        if leaving {
            if status.reason == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(&*status.phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// The first container with something to say has the last word.
    fn containers(&mut self, pod: &Status<'_>, restarts: &mut Restarts) {
        let mut running = false;
        for status in pod.container_statuses.iter().rev() {
            restarts.add(status);
            if let Some(reason) = status.waiting() {
                self.reason = reason.to_owned();
            } else if let Some(end) = &status.state.terminated {
                self.reason = ended(end);
            } else if status.ready && status.state.running.is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if pod.is_true("Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.count > 0 => format!("{} ({} ago)", self.count, table::age(last, now)),
            _ => self.count.to_string(),
        }
    }
}
