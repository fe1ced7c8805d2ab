//! One task per pod, which owns everything that is known about that pod on this node.
//!
//! It wakes when the pod changes, when the runtime or a probe reports, when a step it began ends, or at a
//! deadline; then it makes a plan, begins the plan's steps, and reports the pod's status if that changed. Steps run
//! side by side as futures inside the task: no other task ever holds a piece of the pod's state.

mod apply;
mod begin;
pub(crate) mod context;
mod fetch;
mod reclaim;
mod report;
mod resize;
mod steps;
mod terminal;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};

use crate::handle::PodView;
use crate::node::shares;
use crate::pod::plan::{Plan, Step, plan};
use crate::pod::restart::Retry;
use crate::pod::state::{DeviceState, PodState, Progress, Room, Slot, Verdict, VolumeState, Waiting, Work};
use crate::pod::status::{NodeFacts, status};
use crate::pod::{field_path, find_container, uid};
use crate::probe::{Probing, Report};
use crate::record::EventKind;
use crate::runtime::Event;
use crate::volume::{Follow, Mounts};

pub(crate) use context::Context;
pub(crate) use steps::Found;
use steps::{Done, Prepared};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The pod as it is wanted now.
    Pod(Arc<Pod>),
    /// The pod is not in its source any more.
    Gone,
    /// Something happened to one of its containers or its sandbox.
    Runtime(Event),
    /// Events may have been missed.
    Resync,
    /// The node puts the pod out.
    Evict(Verdict),
    /// If the pod ended, its dead containers are to go; the sender is held until then.
    Reclaim(mpsc::Sender<()>),
    /// The pod, a static one, has a new mirror in the API that knows nothing yet.
    Mirrored,
}

/// The pod's worker.
pub(crate) struct Worker {
    ctx: Context,
    pod: Arc<Pod>,
    state: PodState,
    inbox: mpsc::UnboundedReceiver<Message>,
    reports: mpsc::Receiver<Report>,
    report_to: mpsc::Sender<Report>,
    steps: FuturesUnordered<BoxFuture<'static, Done>>,
    probing: HashMap<String, Probing>,
    prepared: HashMap<String, Prepared>,
    mounts: Option<Arc<Mounts>>,
    follow: Option<Follow>,
    /// The last status that reached the API, or is on its way.
    reported: Option<PodStatus>,
    /// The status on its way to the API, and whether somebody has overruled it meanwhile.
    sent: Option<(PodStatus, bool)>,
    report_retry: Retry,
    /// Until when the container that was started last may keep the status waiting.
    start_awaited: Option<Timestamp>,
    /// The generation for which the pod has its share of the node.
    shared: Option<Option<i64>>,
    /// Hears when drivers of devices come.
    drivers: watch::Receiver<()>,
    /// Hears when others leave room.
    freed: watch::Receiver<()>,
    /// What others see of the pod, and what it was made from.
    shown: Option<(Arc<Pod>, Arc<PodView>)>,
    facts: NodeFacts,
}

impl Worker {
    pub(crate) fn new(ctx: Context, pod: Arc<Pod>, inbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let (report_to, reports) = mpsc::channel(64);
        let room = Room {
            cpu_milli: ctx.node.cpu_milli,
            memory: i64::try_from(ctx.node.memory).unwrap_or(i64::MAX),
        };
        let facts =
            NodeFacts { addresses: ctx.node.addresses.clone(), runtime: ctx.node.runtime_name.clone() };
        let state = PodState { accepted_at: ctx.clock.now_seconds(), room, ..PodState::default() };
        if let Some(spec) = &pod.spec {
            ctx.shares.set(uid(&pod), shares::asked(spec));
        }
        let (freed, drivers) = (ctx.shares.freed(), ctx.devices.news());
        Self {
            ctx,
            pod,
            state,
            inbox,
            reports,
            report_to,
            steps: FuturesUnordered::new(),
            probing: HashMap::new(),
            prepared: HashMap::new(),
            mounts: None,
            follow: None,
            reported: None,
            sent: None,
            report_retry: Retry::default(),
            start_awaited: None,
            shared: None,
            drivers,
            freed,
            shown: None,
            facts,
        }
    }

    /// The node refuses the pod: it fails without ever having had anything.
    pub(crate) fn reject(&mut self, verdict: Verdict) {
        self.ctx.record.record(&self.pod, None, EventKind::Warning, &verdict.reason, verdict.message.clone());
        self.ctx.shares.release(uid(&self.pod));
        self.state.verdict = Some(verdict);
    }

    /// Works until nothing of the pod is left. `found` is what the runtime already holds of it.
    pub(crate) async fn run(mut self, found: Found) {
        if !found.is_empty() {
            let seen = fetch::statuses(&self.ctx, found).await;
            self.adopt(seen);
        }
        while !self.finished() {
            // All that is known already comes before the plan.
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            self.share();
            let now = self.ctx.clock.now();
            let plan = plan(&self.pod, &self.state, now);
            let wake_at = self.carry_out(plan, now);
            let status = status(&self.pod, &self.state, &self.facts, self.ctx.clock.now_seconds());
            let wake_at = self.report(&status, now, wake_at);
            let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
            if ended || (self.state.gone && !self.state.any_alive()) {
                self.ctx.shares.release(uid(&self.pod));
            }
            self.publish(status);
            self.wait(wake_at, now).await;
        }
        self.probing.clear();
        self.ctx.shares.release(uid(&self.pod));
        self.ctx.handle.forget(uid(&self.pod));
    }

    fn finished(&self) -> bool {
        self.state.gone && self.state.removal == Progress::Done
    }

    async fn wait(&mut self, wake_at: Option<Timestamp>, now: Timestamp) {
        let sleep = wake_at.map(|at| at.duration_since(now).unsigned_abs().max(Duration::from_millis(1)));
        let timer = async {
            match sleep {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.inbox.recv() => match message {
                Some(message) => self.take(message),
                // The manager is gone: the node agent stops. Pods stay as they are.
                None => std::future::pending().await,
            },
            Some(done) = self.steps.next() => self.apply(done),
            Some(report) = self.reports.recv() => self.take_report(report),
            // Perhaps the one that was missing.
            Ok(()) = self.drivers.changed(), if self.state.device_retry.pending(now).is_some() => {
                self.state.device_retry.reset();
            }
            Ok(()) = self.freed.changed(), if self.state.deferred.is_some() => {}
            () = timer => {}
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Pod(pod) => {
                let changed = pod.metadata.generation != self.pod.metadata.generation
                    || pod.metadata.annotations != self.pod.metadata.annotations
                    || pod.metadata.labels != self.pod.metadata.labels;
                self.pod = pod;
                self.heed_others();
                if changed && self.state.volumes == VolumeState::Mounted {
                    // Files of the downward API say what the pod says.
                    let (ctx, pod) = (self.ctx.clone(), Arc::clone(&self.pod));
                    self.steps.push(Box::pin(async move {
                        Done::Mounted(ctx.volumes.mount_all(&pod).await.map_err(|error| error.to_string()))
                    }));
                }
            }
            Message::Gone => {
                self.state.gone = true;
                self.state.delete = Progress::Done;
            }
            Message::Runtime(event) => self.look(&event),
            Message::Evict(verdict) => self.evict(verdict),
            Message::Reclaim(done) => self.reclaim(&done),
            Message::Mirrored => self.reported = None,
            Message::Resync => {
                self.steps.push(Box::pin(fetch::everything(self.ctx.clone(), uid(&self.pod).to_owned())))
            }
        }
    }

    /// Something happened to what has this id: ask the runtime what it is like now.
    fn look(&mut self, event: &Event) {
        let (Event::Started { id } | Event::Exited { id, .. } | Event::OutOfMemory { id }) = event else {
            return;
        };
        let started = matches!(event, Event::Started { .. });
        // What we start ourselves we look at ourselves.
        if started {
            return;
        }
        if self.state.sandbox.as_ref().is_some_and(|status| status.sandbox.id == *id) {
            self.steps.push(Box::pin(fetch::sandbox(self.ctx.clone(), id.clone())));
        } else {
            self.steps.push(Box::pin(fetch::container(self.ctx.clone(), id.clone())));
        }
    }

    fn carry_out(&mut self, plan: Plan, now: Timestamp) -> Option<Timestamp> {
        if let Some(verdict) = plan.verdict {
            self.ctx.record.record(
                &self.pod,
                None,
                EventKind::Normal,
                &verdict.reason,
                verdict.message.clone(),
            );
            self.state.verdict = Some(verdict);
            // The next plan begins the end; there is nothing to wait for.
            return Some(now);
        }
        for (name, waiting) in plan.waiting {
            self.keep_waiting(&name, waiting);
        }
        for step in plan.steps {
            self.begin(step);
        }
        plan.wake_at
    }

    fn keep_waiting(&mut self, name: &str, waiting: Waiting) {
        let slot = self.state.slots.entry(name.to_owned()).or_default();
        if slot.waiting.as_ref() == Some(&waiting) {
            return;
        }
        let pod = &self.pod;
        let path = field_path(pod, name);
        match waiting.reason.as_str() {
            "CrashLoopBackOff" => {
                let place = format!(
                    "{}_{}({})",
                    crate::pod::name(pod),
                    crate::pod::namespace(pod),
                    crate::pod::uid(pod)
                );
                let message = format!("Back-off restarting failed container {name} in pod {place}");
                self.ctx.record.record(pod, Some(&path), EventKind::Warning, "BackOff", message);
            }
            "ImagePullBackOff" => {
                let image = find_container(pod, name).and_then(|container| container.image.clone());
                let message = format!("Back-off pulling image \"{}\"", image.unwrap_or_default());
                self.ctx.record.record(pod, Some(&path), EventKind::Normal, "BackOff", message);
                let error = "Error: ImagePullBackOff".to_owned();
                self.ctx.record.record(pod, Some(&path), EventKind::Warning, "Failed", error);
            }
            _ => {}
        }
        slot.waiting = Some(waiting);
    }

    /// Begins a step: from now on the state says that it is under way.
    fn begin(&mut self, step: Step) {
        self.mark(&step);
        if let Some(future) = self.start(step) {
            self.steps.push(future);
        }
    }

    fn mark(&mut self, step: &Step) {
        use crate::pod::state::SandboxWork;
        let state = &mut self.state;
        match step {
            Step::Mount => state.volumes = VolumeState::Mounting,
            Step::PrepareDevices => state.devices = DeviceState::Preparing,
            Step::Unmount => state.volumes = VolumeState::Unmounting,
            Step::RunSandbox { .. } => state.sandbox_work = Some(SandboxWork::Running),
            Step::StopSandbox { .. } => state.sandbox_work = Some(SandboxWork::Stopping),
            Step::Delete => state.delete = Progress::Busy,
            Step::Remove => state.removal = Progress::Busy,
            Step::Prepare { name } => self.slot(name).work = Some(Work::Preparing),
            Step::Start { name, .. } => {
                self.start_awaited = self.ctx.clock.now().checked_add(report::START).ok();
                self.slot(name).work = Some(Work::Starting);
            }
            Step::Kill { name, .. } => self.slot(name).work = Some(Work::Killing),
            Step::RemoveContainer { name, id } => self.slot(name).history.retain(|status| status.id != *id),
            Step::Resize { .. } => state.resizing = true,
            Step::SandboxChanged => {}
        }
    }

    fn slot(&mut self, name: &str) -> &mut Slot {
        self.state.slots.entry(name.to_owned()).or_default()
    }
}
