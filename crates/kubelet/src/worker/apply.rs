//! How the end of a step, a look into the runtime or a probe's verdict changes what is known of the pod.

use std::sync::Arc;
use std::time::Duration;

use super::steps::{Done, Prepared, Seen, StartFault};
use super::{Report, Worker};
use crate::cluster::ClusterError;
use crate::image::ImageFault;
use crate::pod::addresses::ordered;
use crate::pod::state::{DeviceState, Progress, Verdict, VolumeState, Waiting};
use crate::pod::{find_container, name, namespace, uid};
use crate::probe::{ProbeKind, Target};
use crate::record::EventKind;
use crate::runtime::{ContainerState, ContainerStatus, RuntimeError, SandboxState};

/// Between tries of what the machine or the runtime refused.
const SOON: Duration = Duration::from_secs(1);
/// Between tries of a pull: as upstream, 10 s doubling to 5 min.
const PULL: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(300);

impl Worker {
    /// Takes in what the runtime held before this worker began; running containers are left alone.
    pub(super) fn adopt(&mut self, seen: Seen) {
        self.state.accepted_at = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref())
            .map_or(self.state.accepted_at, |time| time.0);
        // What the API last said about probes holds until they speak again: a restart of ours is no news.
        let status = self.pod.status.clone().unwrap_or_default();
        let reported = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        for reported in reported {
            let slot = self.state.slots.entry(reported.name.clone()).or_default();
            slot.ready = reported.ready;
            slot.started = reported.started.unwrap_or(false);
            slot.given = reported.resources.as_ref().map(|given| crate::pod::resize::text(Some(given)));
        }
        self.replace(seen);
    }

    fn replace(&mut self, seen: Seen) {
        let uid = uid(&self.pod).to_owned();
        let ids = seen.sandbox.iter().map(|status| &status.sandbox.id).chain(&seen.old_sandboxes);
        for id in ids.chain(seen.containers.iter().map(|status| &status.id)) {
            self.ctx.routes.add(id, &uid);
        }
        if self.state.sandbox_work.is_none() {
            self.state.sandbox = seen.sandbox;
            self.state.old_sandboxes = seen.old_sandboxes;
        }
        for slot in self.state.slots.values_mut() {
            // A step under way knows better than a list made before it ends.
            if slot.work.is_none() {
                slot.history.clear();
            }
        }
        // Newest first in, so each name's history keeps that order.
        for status in seen.containers {
            self.see(status);
        }
    }

    pub(super) fn apply(&mut self, done: Done) {
        let now = self.ctx.clock.now();
        match done {
            Done::Nothing => {}
            // The pod is on its way out since: what was made anew goes with the rest.
            Done::Mounted(_)
                if matches!(self.state.volumes, VolumeState::Unmounting | VolumeState::Removed) => {}
            Done::Mounted(Ok(mounts)) => {
                let mounts = Arc::new(mounts);
                self.follow = Some(self.ctx.volumes.follow(Arc::clone(&self.pod), &mounts));
                self.mounts = Some(mounts);
                self.state.volumes = VolumeState::Mounted;
                self.state.volume_retry.reset();
            }
            Done::Mounted(Err(message)) => {
                self.ctx.record.record(&self.pod, None, EventKind::Warning, "FailedMount", message);
                self.state.volumes = VolumeState::Absent;
                self.state.volume_retry.failed(now, Duration::from_millis(500), Duration::from_secs(122));
            }
            Done::Unmounted(Ok(())) => {
                self.state.volumes = VolumeState::Removed;
                self.state.volume_retry.reset();
            }
            Done::Unmounted(Err(message)) => {
                tracing::warn!(pod = name(&self.pod), error = message, "volumes and devices not taken out");
                self.state.volumes = VolumeState::Absent;
                self.state.volume_retry.failed(now, Duration::from_millis(500), Duration::from_secs(122));
            }
            Done::DevicesRefused(why) => {
                self.state.devices = DeviceState::Absent;
                self.reject(Verdict {
                    reason: "UnexpectedAdmissionError".to_owned(),
                    message: format!("Pod was rejected: Allocate failed due to {why}, which is unexpected"),
                    rejected: true,
                    ..Verdict::default()
                });
            }
            Done::DevicesPrepared(Ok(())) => {
                self.state.devices = DeviceState::Prepared;
                self.state.device_retry.reset();
            }
            Done::DevicesPrepared(Err(message)) => {
                let message =
                    format!("Failed to prepare dynamic resources: prepare dynamic resources: {message}");
                let reason = "FailedPrepareDynamicResources";
                self.ctx.record.record(&self.pod, None, EventKind::Warning, reason, message);
                self.state.devices = DeviceState::Absent;
                self.state.device_retry.failed(now, Duration::from_millis(500), Duration::from_secs(122));
            }
            Done::SandboxRan(result) => self.sandbox_ran(result.map(|status| *status)),
            Done::SandboxStopped { id, result } => self.sandbox_stopped(&id, result),
            Done::SandboxSeen(status) => {
                if self.state.sandbox.as_ref().is_some_and(|known| known.sandbox.id == status.sandbox.id) {
                    self.state.sandbox = Some(*status);
                }
            }
            Done::SandboxLost(id) => {
                self.state.sandbox.take_if(|status| status.sandbox.id == id);
            }
            Done::Prepared { name, result } => self.was_prepared(&name, result),
            Done::Started { name, result } => self.was_started(&name, result.map(|status| *status)),
            Done::Killed { name, id, result } => self.was_killed(&name, &id, result),
            Done::Resized { given, error } => self.was_resized(given, error),
            Done::Container(status) => self.see(*status),
            Done::ContainerLost(id) => {
                for slot in self.state.slots.values_mut() {
                    slot.history.retain(|status| status.id != id);
                }
            }
            Done::Everything(seen) => self.replace(*seen),
            Done::Reported { status, result } => {
                let overruled = self.sent.take().is_some_and(|(_, overruled)| overruled);
                match result {
                    Ok(()) => {
                        self.reported = (!overruled).then_some(*status);
                        self.report_retry.reset();
                    }
                    // The object is gone: its source will say so. Till then there is no one to tell.
                    Err(ClusterError::NotFound(_)) => self.reported = Some(*status),
                    Err(error) => {
                        tracing::warn!(pod = name(&self.pod), %error, "status not written");
                        self.report_retry.failed(now, Duration::from_millis(200), Duration::from_secs(30));
                    }
                }
            }
            Done::Deleted(result) => match result {
                Ok(()) | Err(ClusterError::NotFound(_) | ClusterError::Conflict(_)) => {
                    self.state.delete = Progress::Done;
                }
                Err(error) => {
                    tracing::warn!(pod = name(&self.pod), %error, "pod not deleted from the API");
                    self.state.delete = Progress::Open;
                    self.state.end_retry.failed(now, SOON, Duration::from_secs(30));
                }
            },
            Done::Removed(Ok(())) => self.state.removal = Progress::Done,
            Done::Removed(Err(message)) => {
                tracing::warn!(pod = name(&self.pod), error = message, "pod not removed from the node");
                self.state.removal = Progress::Open;
                self.state.end_retry.failed(now, SOON, Duration::from_secs(30));
            }
        }
    }

    fn sandbox_ran(&mut self, result: Result<crate::runtime::SandboxStatus, String>) {
        self.state.sandbox_work = None;
        match result {
            Ok(status) => {
                self.state.sandbox_retry.reset();
                self.state.sandbox_failures = 0;
                self.state.sandbox = Some(status);
            }
            Err(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                self.ctx.record.record(
                    &self.pod,
                    None,
                    EventKind::Warning,
                    "FailedCreatePodSandBox",
                    message,
                );
                self.state.sandbox_retry.failed(self.ctx.clock.now(), SOON, Duration::from_secs(30));
            }
        }
    }

    fn sandbox_stopped(&mut self, id: &str, result: Result<(), RuntimeError>) {
        self.state.sandbox_work = None;
        match result {
            Ok(()) => {
                self.state.sandbox_retry.reset();
                if let Some(status) = &mut self.state.sandbox
                    && status.sandbox.id == id
                {
                    status.sandbox.state = SandboxState::NotReady;
                    status.addresses.clear();
                }
            }
            Err(error) => {
                let place = format!("{}_{}({})", name(&self.pod), namespace(&self.pod), uid(&self.pod));
                let message = format!("error killing pod: failed to \"KillPodSandbox\" for {place}: {error}");
                self.ctx.record.record(&self.pod, None, EventKind::Warning, "FailedKillPod", message);
                self.state.sandbox_retry.failed(self.ctx.clock.now(), SOON, Duration::from_secs(30));
            }
        }
    }

    fn was_prepared(&mut self, name: &str, result: Result<Prepared, ImageFault>) {
        let now = self.ctx.clock.now();
        let slot = self.slot(name);
        slot.work = None;
        match result {
            Ok(prepared) => {
                slot.prepared = true;
                slot.retry.reset();
                // What was said about the image or the configuration does not hold any more.
                slot.waiting.take_if(|waiting| waiting.reason != "CrashLoopBackOff");
                self.prepared.insert(name.to_owned(), prepared);
            }
            Err(fault) => {
                if fault.reason == "ErrImagePull" {
                    slot.retry.failed(now, PULL, MOST);
                } else {
                    slot.retry.failed(now, PULL, PULL);
                }
                slot.waiting =
                    Some(Waiting { reason: fault.reason.to_owned(), message: fault.message.clone() });
                if fault.reason == "ErrImagePull" {
                    let path = crate::pod::field_path(&self.pod, name);
                    let error = "Error: ErrImagePull".to_owned();
                    self.ctx.record.record(&self.pod, Some(&path), EventKind::Warning, "Failed", error);
                }
            }
        }
    }

    fn was_started(&mut self, name: &str, result: Result<ContainerStatus, StartFault>) {
        let now = self.ctx.clock.now();
        let pod = Arc::clone(&self.pod);
        let slot = self.slot(name);
        slot.work = None;
        slot.prepared = false;
        slot.unhealthy = None;
        slot.given = None;
        // A restart was due: the next one waits longer. The first start is none.
        if let Some(finished) = slot.exited().map(|before| before.finished_at.unwrap_or(before.created_at)) {
            slot.restarts.restarted(finished, now);
        }
        let container = find_container(&pod, name);
        let container = container.as_deref();
        slot.started = container.is_none_or(|container| container.startup_probe.is_none());
        slot.ready = container.is_none_or(|container| container.readiness_probe.is_none());
        match result {
            Ok(status) => {
                slot.waiting = None;
                slot.retry.reset();
                self.see(status);
            }
            Err(fault) => {
                slot.waiting = Some(Waiting { reason: fault.reason.to_owned(), message: fault.message });
                match fault.container {
                    Some(status) => self.see(*status),
                    // Nothing ended, so no restart back-off applies.
                    None => slot.retry.failed(now, PULL, PULL),
                }
            }
        }
    }

    fn was_killed(
        &mut self,
        name: &str,
        id: &str,
        result: Result<Option<Box<ContainerStatus>>, RuntimeError>,
    ) {
        let now = self.ctx.clock.now();
        let slot = self.slot(name);
        slot.work = None;
        slot.unhealthy = None;
        match result {
            Ok(Some(status)) => {
                slot.retry.reset();
                self.see(*status);
            }
            Ok(None) => slot.history.retain(|status| status.id != id),
            Err(error) => {
                slot.retry.failed(now, SOON, Duration::from_secs(30));
                tracing::warn!(pod = crate::pod::name(&self.pod), container = name, %error, "container not stopped");
            }
        }
    }

    fn was_resized(&mut self, given: Vec<(String, String)>, error: Option<String>) {
        self.state.resizing = false;
        for (name, given) in given {
            self.slot(&name).given = Some(given);
        }
        match error {
            None => self.state.resize_retry.reset(),
            Some(message) => {
                self.ctx.record.record(&self.pod, None, EventKind::Warning, "ResizeError", message);
                self.state.resize_retry.failed(self.ctx.clock.now(), SOON, Duration::from_secs(30));
            }
        }
    }

    /// A container as the runtime says it is now.
    fn see(&mut self, status: ContainerStatus) {
        let name = status.name.clone();
        let (id, state, started_at) = (status.id.clone(), status.state, status.started_at);
        let slot = self.slot(&name);
        match slot.history.iter_mut().find(|known| known.id == status.id) {
            // What ended stays ended and what ran was started, whatever order the answers come in.
            Some(known) if known.state == ContainerState::Exited && state != ContainerState::Exited => return,
            Some(known) if known.state == ContainerState::Running && state == ContainerState::Created => {
                return;
            }
            Some(known) => *known = status,
            None => {
                slot.history.push(status);
                slot.history.sort_by_key(|known| std::cmp::Reverse((known.attempt, known.created_at)));
            }
        }
        let newest = slot.newest().is_some_and(|newest| newest.id == id);
        match state {
            ContainerState::Running if newest => self.probe(&name, id, started_at),
            ContainerState::Exited if newest => {
                slot.ready = false;
                slot.started = false;
                slot.unhealthy = None;
                self.probing.remove(&name);
            }
            _ => {}
        }
    }

    fn probe(&mut self, name: &str, container_id: String, started_at: Option<jiff::Timestamp>) {
        let Some(container) = find_container(&self.pod, name) else { return };
        let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
        if probes.iter().all(|probe| probe.is_none()) || self.probing.contains_key(name) {
            return;
        }
        let host_network = self.pod.spec.as_ref().is_some_and(|spec| spec.host_network.unwrap_or(false));
        let pod_ip = if host_network {
            self.ctx.node.addresses.first().copied()
        } else {
            let sandbox = self.state.sandbox.as_ref();
            sandbox.and_then(|status| ordered(&status.addresses, &self.ctx.node.addresses).first().copied())
        };
        let target = Target {
            pod: Arc::clone(&self.pod),
            container: name.to_owned(),
            container_id,
            pod_ip,
            started_at: started_at.unwrap_or_else(|| self.ctx.clock.now()),
        };
        let probing = self.ctx.prober.start(target, self.report_to.clone());
        self.probing.insert(name.to_owned(), probing);
    }

    /// A probe's verdict about the newest attempt of a container.
    pub(super) fn take_report(&mut self, report: Report) {
        let pod = Arc::clone(&self.pod);
        let slot = self.slot(&report.container);
        if slot.newest().is_none_or(|newest| newest.id != report.container_id) || !slot.is_running() {
            return;
        }
        let name = &report.container;
        match report.kind {
            ProbeKind::Readiness => slot.ready = report.healthy,
            ProbeKind::Startup if report.healthy => slot.started = true,
            ProbeKind::Startup => {
                slot.unhealthy =
                    Some(format!("Container {name} failed startup probe{}", outlook(&pod, name)));
            }
            ProbeKind::Liveness if report.healthy => slot.unhealthy = None,
            ProbeKind::Liveness => {
                slot.unhealthy =
                    Some(format!("Container {name} failed liveness probe{}", outlook(&pod, name)));
            }
        }
    }
}

/// What follows from a failed probe, as the event says it.
fn outlook(pod: &k8s_openapi::api::core::v1::Pod, name: &str) -> &'static str {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let sidecar = find_container(pod, name).is_some_and(|container| crate::pod::is_sidecar(&container));
    if policy == "Never" && !sidecar { "" } else { ", will be restarted" }
}
