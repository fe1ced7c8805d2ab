//! Puts pods out when the node runs short of memory, disk space or process ids, before the kernel or a full disk hits whoever
//! comes next; and pods that take more of the disk than they said.
//!
//! Follows upstream's `pkg/kubelet/eviction`. A turn looks at what is left ([`observe`]), compares it with the thresholds
//! ([`assess`]), reclaims what nobody needs, and only then ranks pods and puts one of them out ([`rank`]); the next turn comes when
//! that one is gone. What of this is a decision is pure and has its table of tests; this file only carries out. Turns come
//! every ten seconds, since disks have no event for being nearly full, and at once when tasks begin to wait for memory
//! ([`squeeze`]). Pods are measured only while something is short, or where they have limits on the disk.

mod admit;
mod assess;
mod du;
mod limits;
mod measure;
mod message;
mod observe;
mod rank;
mod settings;
mod signal;
mod squeeze;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use skiff_api::pod::is_finished;
use skiff_client::{EventKind, Recorder};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cgroup::Cgroups;
use crate::handle::{Handle, PodView};
use crate::pod::config::Places;
use crate::pod::state::Verdict;
use crate::pod::uid;
use crate::volume::Volumes;
use assess::Shortage;
use measure::Meter;
use observe::Eyes;
use rank::Candidate;
use squeeze::Squeeze;

pub(crate) use admit::{EVICTED, refuse};
pub use settings::{Flags, Settings, SettingsError};
pub(crate) use signal::Pressure;
use signal::{Resource, Signal};

/// Upstream's monitoring interval.
const EVERY: Duration = Duration::from_secs(10);
/// How long a pod that was put out may take to be gone before the next turn.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long pods get when there is no time to lose.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Measuring limited pods may take this part of a core, and comes at least once a minute.
const MEASURED_PART: u32 = 200;
const MEASURED_WITHIN: Duration = Duration::from_secs(60);

/// What the workers are told from here.
#[derive(Debug)]
pub(crate) enum Order {
    /// This pod is over.
    Evict { uid: String, verdict: Verdict },
    /// Dead containers of ended pods are to go. Whoever is at it holds the sender.
    Reclaim(mpsc::Sender<()>),
}

/// What evictions are made with.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) handle: Handle,
    pub(crate) data_dir: PathBuf,
    pub(crate) places: Places,
    pub(crate) volumes: Volumes,
    pub(crate) cgroups: Cgroups,
    /// Where events about the node go, if anywhere.
    pub(crate) recorder: Option<Recorder>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    /// Asks for unused images to go.
    pub(crate) images: mpsc::Sender<mpsc::Sender<()>>,
}

/// Keeps the node from running out.
pub(crate) struct Eviction {
    settings: Settings,
    handle: Handle,
    eyes: Eyes,
    meter: Meter,
    recorder: Option<Recorder>,
    orders: mpsc::UnboundedSender<Order>,
    images: mpsc::Sender<mpsc::Sender<()>>,
    before: assess::Before,
    begun: Instant,
    pressure: watch::Sender<Pressure>,
    /// Pods that were told to go.
    told: HashSet<String>,
    limited: Limited,
}

/// The pods with limits on the disk.
struct Limited {
    changes: watch::Receiver<u64>,
    pods: Vec<(Arc<PodView>, limits::Scope)>,
    /// When they are measured again.
    due: Instant,
}

impl Eviction {
    /// Takes a first look at the machine, so that the node is honest from the start.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { settings, handle, data_dir, places, volumes, cgroups, recorder, orders, images } = parts;
        let runtime = Arc::clone(handle.runtime());
        let mut changes = handle.changes();
        changes.mark_changed();
        let mut eviction = Self {
            settings,
            eyes: Eyes { data_dir, images: None },
            meter: Meter { runtime, places, volumes, cgroups },
            recorder,
            orders,
            images,
            before: assess::Before::default(),
            begun: Instant::now(),
            pressure: watch::Sender::default(),
            told: HashSet::new(),
            limited: Limited { changes, pods: Vec::new(), due: Instant::now() },
            handle,
        };
        eviction.look();
        eviction
    }

    /// What the node is short of, now and as it changes.
    pub(crate) fn pressure(&self) -> watch::Receiver<Pressure> {
        self.pressure.subscribe()
    }

    /// Works for ever.
    pub(crate) async fn run(mut self) {
        match self.handle.runtime().image_fs().await {
            Ok(places) => places.first().into_iter().for_each(|place| self.eyes.learn_images(&place.path)),
            Err(error) => tracing::warn!(%error, "the images' file system is not known"),
        }
        let for_memory = |one: &settings::Threshold| one.signal == Signal::MemoryAvailable;
        let mut squeeze = self.settings.thresholds.iter().any(for_memory).then(Squeeze::new);
        loop {
            let gone = self.turn().await;
            if !gone.is_empty() {
                self.see_off(&gone).await;
                continue;
            }
            let squeezed = async {
                match &mut squeeze {
                    Some(squeeze) => squeeze.felt().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = squeezed => {}
            }
        }
    }

    /// How short the node is now; says so to whoever listens.
    fn look(&mut self) -> assess::Assessment {
        let levels = self.eyes.levels();
        let now = self.begun.elapsed();
        let seen = assess::assess(&self.settings, &mut self.before, &levels, now);
        self.pressure.send_if_modified(|known| std::mem::replace(known, seen.pressure) != seen.pressure);
        seen
    }

    /// One turn; the pods that were told to go.
    async fn turn(&mut self) -> Vec<String> {
        let seen = self.look();
        let over = self.over_limits().await;
        if !over.is_empty() {
            let each = over.into_iter().map(|(view, message)| {
                let verdict = Verdict { grace: Some(AT_ONCE), message, ..evicted() };
                self.tell(&view, verdict)
            });
            return each.collect();
        }
        // The first is memory, if that is short.
        let Some(first) = seen.shortages.first().copied() else { return Vec::new() };
        let resource = first.threshold.signal.resource();
        let (signal, available, least) = (first.threshold.signal.name(), first.available, first.least);
        tracing::warn!(signal, available, least, "the node is short");
        self.say("EvictionThresholdMet", format!("Attempting to reclaim {}", resource.as_str()));
        if matches!(resource, Resource::Storage | Resource::Inodes)
            && self.reclaim(first.threshold.signal).await
        {
            return Vec::new();
        }
        self.put_one_out(&seen.shortages, first).await
    }

    async fn put_one_out(&mut self, shortages: &[Shortage], first: Shortage) -> Vec<String> {
        let signal = first.threshold.signal;
        let views = self.candidates();
        let uses = self.meter.all(&views, signal.resource()).await;
        let mut candidates: Vec<Candidate<'_>> =
            views.iter().map(|view| Candidate { pod: &view.pod, usage: uses.get(uid(&view.pod)) }).collect();
        rank::order(signal, self.eyes.images.is_some(), &mut candidates);
        let Some(chosen) = candidates.iter().find(|candidate| !admit::is_critical(candidate.pod)) else {
            tracing::warn!("no pod can be put out");
            return Vec::new();
        };
        let grace = if first.threshold.is_hard() { AT_ONCE } else { self.settings.max_pod_grace };
        // As upstream: told is the first threshold that is about the same thing.
        let about = shortages.iter().find(|one| one.threshold.signal.resource() == signal.resource());
        let message = message::low(about.unwrap_or(&first), chosen);
        let verdict = Verdict { grace: Some(grace), disruption: true, message, ..evicted() };
        let Some(view) = views.iter().find(|view| uid(&view.pod) == uid(chosen.pod)) else {
            return Vec::new();
        };
        vec![self.tell(view, verdict)]
    }

    /// Pods that are not over yet and were not told to go.
    fn candidates(&mut self) -> Vec<Arc<PodView>> {
        let mut views = self.handle.pods();
        self.told.retain(|told| views.iter().any(|view| uid(&view.pod) == told));
        views.retain(|view| !is_finished(&view.pod) && !self.told.contains(uid(&view.pod)));
        views
    }

    fn tell(&mut self, view: &PodView, verdict: Verdict) -> String {
        let uid = uid(&view.pod).to_owned();
        tracing::warn!(pod = crate::pod::name(&view.pod), why = verdict.message, "pod is put out");
        self.told.insert(uid.clone());
        // Without its manager the node agent is at its end.
        let _stopped = self.orders.send(Order::Evict { uid: uid.clone(), verdict });
        uid
    }

    /// Pods that use more of the disk than they may, and what is said of them.
    async fn over_limits(&mut self) -> Vec<(Arc<PodView>, String)> {
        if self.limited.changes.has_changed().unwrap_or(false) {
            self.limited.changes.mark_unchanged();
            let views = self.candidates();
            let limited = |view: Arc<PodView>| limits::scope(&view.pod).map(|scope| (view, scope));
            self.limited.pods =
                views.into_iter().filter(|view| !admit::is_critical(&view.pod)).filter_map(limited).collect();
        }
        if self.limited.pods.is_empty() || Instant::now() < self.limited.due {
            return Vec::new();
        }
        let (begun, apart) = (Instant::now(), self.eyes.images.is_some());
        let mut over = Vec::new();
        for (view, scope) in self.limited.pods.iter().filter(|(view, _)| view.sandbox.is_some()) {
            let used = self.meter.limited(&view.pod, *scope).await;
            over.extend(limits::exceeded(&view.pod, &used, apart).map(|why| (Arc::clone(view), why)));
        }
        // Less than a turn, so that the next turn is not just too early.
        let pause = (begun.elapsed() * MEASURED_PART).clamp(EVERY / 2, MEASURED_WITHIN);
        self.limited.due = Instant::now() + pause;
        over
    }

    /// Removes what nobody needs from a full disk; whether that is enough.
    async fn reclaim(&self, signal: Signal) -> bool {
        // Images and dead containers are not on the kubelet's disk if they have one of their own.
        let on_images = matches!(signal, Signal::ImageFsAvailable | Signal::ImageFsInodesFree);
        if self.eyes.images.is_some() && !on_images {
            return false;
        }
        let (done, all) = mpsc::channel(1);
        let _stopped = self.orders.send(Order::Reclaim(done));
        ended(all).await;
        let (done, all) = mpsc::channel(1);
        // Where nobody collects images none will go.
        let _nobody = self.images.send(done).await;
        ended(all).await;
        assess::is_enough(&self.settings, &self.eyes.levels())
    }

    /// Waits until pods are gone with their volumes.
    async fn see_off(&self, uids: &[String]) {
        let mut changes = self.handle.changes();
        let gone = changes
            .wait_for(|_| uids.iter().all(|uid| self.handle.by_uid(uid).is_none_or(|view| view.cleared)));
        if tokio::time::timeout(PATIENCE, gone).await.is_err() {
            tracing::warn!(?uids, "pods that were put out take long to be gone");
        }
    }

    fn say(&self, reason: &str, message: String) {
        let Some(recorder) = &self.recorder else { return };
        let name = self.handle.node_name();
        // As upstream: events about a node go by its name, not its uid.
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        recorder.record(about, EventKind::Warning, reason, message);
    }
}

fn evicted() -> Verdict {
    Verdict { reason: EVICTED.to_owned(), ..Verdict::default() }
}

/// Waits until nobody holds a sender any more.
async fn ended(mut all: mpsc::Receiver<()>) {
    let over = async { while all.recv().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, over).await.is_err() {
        tracing::warn!("reclaiming takes long");
    }
}
