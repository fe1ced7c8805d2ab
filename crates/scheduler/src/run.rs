//! The scheduler's loop: a turn, a decision, and a task that tells the server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use skiff_api::Resource;
use skiff_base::{Clock, Tasks};
use skiff_client::events::{EventKind, Source, reference, reference_to};
use skiff_client::{Link, Recorder, write};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Profiles;
use crate::cycle::{self, Search};
use crate::event::Hope;
use crate::extender::Extender;
use crate::feeds::Feeds;
use crate::figures::Figures;
use crate::fit::Unfit;
use crate::plugins::PrioritySort;
use crate::pod::{Pending, PodInfo};
use crate::preemption::{self, Plan};
use crate::profile::Profile;
use crate::queue::{Failure, Queue, Turn};
use crate::served::Served;
use crate::snapshot::Snapshot;
use crate::{NAME, Options, bind, devices, preempt};

mod extended;
mod going;
mod groups;

use extended::Parked;
use going::Going;

/// How many bindings may be on their way at once.
const BINDINGS: usize = 64;

/// What became of a pod's turn.
enum Decision {
    /// It has its room.
    Bind(Going),
    /// It fits nowhere; perhaps others can make room. True if room that was being made for it is no use any more.
    Refuse(Box<Unfit>, Vec<Hope>, Option<Plan>, bool),
}

pub(crate) struct Loop {
    link: Link,
    clock: Clock,
    figures: Figures,
    tasks: Tasks,
    recorder: Recorder,
    snapshot: Arc<Mutex<Snapshot>>,
    queue: Queue,
    feeds: Feeds,
    profiles: Arc<Profiles>,
    bindings: Arc<Semaphore>,
    extenders: Vec<Extender>,
    parked: Mutex<Parked>,
}

impl Loop {
    /// Begins to follow the cluster, as far as the server has it.
    pub(crate) fn new(options: Options, served: &Served, figures: Figures, tasks: &Tasks) -> Self {
        let Options { link, clock, configuration, .. } = options;
        let profiles = Arc::new(configuration.profiles);
        let snapshot: Arc<Mutex<Snapshot>> = Arc::default();
        snapshot.lock().devices.clock = clock.clone();
        let sort = profiles.sort().unwrap_or_else(|| Arc::new(PrioritySort));
        let queue = Queue::new(configuration.pauses, sort, clock.clone());
        let feeds = Feeds::follow(&link, served, &snapshot, &queue, &profiles, tasks);
        let source = Source { component: NAME.to_owned(), host: String::new() };
        let recorder = Recorder::start(&link, source, clock.clone(), tasks);
        let bindings = Arc::new(Semaphore::new(BINDINGS));
        Self {
            link,
            clock,
            figures,
            tasks: tasks.clone(),
            recorder,
            snapshot,
            queue,
            feeds,
            profiles,
            bindings,
            extenders: configuration.extenders,
            parked: Mutex::default(),
        }
    }

    pub(crate) async fn run(self: Arc<Self>) {
        self.feeds.synced().await;
        let mut search = Search::default();
        loop {
            let turn = self.queue.next().await;
            if turn.is_group() {
                self.group_turn(&turn, &mut search);
                tokio::task::consume_budget().await;
                continue;
            }
            // A slot first: while the server cannot keep up there is no use in deciding more.
            let Ok(slot) = Arc::clone(&self.bindings).acquire_owned().await else { return };
            let Some(pending) = self.pending(&turn) else {
                self.queue.remove(&turn.uid);
                continue;
            };
            let begun = Instant::now();
            let Some(profile) = self.profiles.of(&pending.pod) else {
                self.queue.remove(&turn.uid);
                continue;
            };
            if self.asked(&pending).next().is_some() {
                self.park(turn, pending.info.priority);
                continue;
            }
            let decision = self.decide(&pending, profile, &mut search);
            self.figures.seconds.observe(begun.elapsed().as_secs_f64());
            let this = Arc::clone(&self);
            self.tasks.spawn_until_stop(async move {
                this.carry_out(decision, &turn, &pending, Some(slot)).await;
            });
            tokio::task::consume_budget().await;
        }
    }

    /// Does what was decided; a slot among the bindings is held meanwhile.
    async fn carry_out(
        &self,
        decision: Decision,
        turn: &Turn,
        pending: &Pending,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        match decision {
            Decision::Bind(going) => self.go(going, slot).await,
            Decision::Refuse(unfit, hopes, plan, lost) => {
                if lost && let Err(error) = preempt::denominate(&self.link, &pending.info).await {
                    tracing::debug!(%error, "a nomination could not be taken back");
                }
                self.refuse(turn, &pending.pod, (*unfit, hopes), plan).await;
                drop(slot);
            }
        }
    }

    /// The pod as it is now; nothing if it is gone or has its node already.
    fn pending(&self, turn: &Turn) -> Option<Pending> {
        let object = self.feeds.pods.get(&turn.key).filter(|object| object.meta().uid == turn.uid)?;
        let pod = skiff_client::cache::decode::<Pod>(&object)?;
        let wants = skiff_api::pod::node_name(&pod).is_none() && pod.metadata.deletion_timestamp.is_none();
        wants.then(|| Pending::new(object, pod))
    }

    fn decide(&self, pending: &Pending, profile: &Profile, search: &mut Search) -> Decision {
        let mut snapshot = self.snapshot.lock();
        profile.track(pending, &mut snapshot);
        match cycle::node_for(pending, &mut snapshot, profile, search) {
            Ok(node) => Decision::Bind(self.take(pending, profile, node, &mut snapshot)),
            Err(mut unfit) => {
                let had = snapshot.nominated_node(pending.info.uid()).is_some();
                let ghosts = snapshot.conjure(pending);
                let plan = preemption::plan(pending, &mut snapshot, profile, &mut unfit);
                snapshot.banish(&ghosts);
                self.give_up(pending, profile, &mut snapshot, unfit, (plan, had))
            }
        }
    }

    /// Takes the pod's room on a node, so far only assumed.
    fn take(&self, pending: &Pending, profile: &Profile, node: Arc<str>, cluster: &mut Snapshot) -> Going {
        let needs = profile.needs(pending, cluster, &node);
        if let Some(needs) = &needs {
            needs.promise(cluster);
        }
        cluster.denominate(pending.info.uid());
        cluster.place(Arc::clone(&pending.info), &node, true);
        let verdict = profile.permit(pending, &node, cluster, &self.queue);
        Going { pending: pending.clone(), node, needs, verdict }
    }

    /// The pod fits nowhere; with the plan by which others make room for it, if any, and whether they were already.
    fn give_up(
        &self,
        pending: &Pending,
        profile: &Profile,
        cluster: &mut Snapshot,
        mut unfit: Box<Unfit>,
        (plan, had): (Option<Plan>, bool),
    ) -> Decision {
        unfit.relief = profile.relief(pending, cluster);
        if plan.is_none() && !unfit.is_nowhere() {
            unfit.after(profile.post_filter(pending, cluster));
        }
        let lost = had && cluster.nominated_node(pending.info.uid()).is_none();
        let hopes = profile.hopes(pending, cluster, &unfit.plugins);
        if let Some(plan) = &plan {
            cluster.nominate(Arc::clone(&pending.info), &plan.node);
        }
        Decision::Refuse(unfit, hopes, plan, lost)
    }

    async fn refuse(
        &self,
        turn: &Turn,
        pod: &Pod,
        (mut unfit, hopes): (Unfit, Vec<Hope>),
        plan: Option<Plan>,
    ) {
        self.figures.attempt("unschedulable");
        if plan.is_some() {
            unfit.preempts();
        }
        let message = unfit.to_string();
        tracing::debug!(pod = %turn.key, %message, "a pod fits nowhere");
        if let Some(claim) = unfit.relief.as_ref().and_then(|relief| relief.claim.as_ref())
            && let Err(error) = devices::deallocate(&self.link, claim).await
        {
            tracing::debug!(%error, "a claim keeps devices that are of no use");
        }
        self.queue.give_back(&turn.uid, Failure::Unfit(hopes));
        let node = plan.as_ref().map(|plan| &*plan.node);
        self.tell(pod, "Unschedulable", message, node).await;
        if let Some(plan) = &plan {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            self.make_room(&format!("pod {uid}"), priority, &plan.node, &plan.victims).await;
        }
    }

    /// Sends victims away from a node, and whoever else was to go there but matters less than the one it is for.
    async fn make_room(&self, by: &str, priority: i32, node: &str, victims: &[Arc<PodInfo>]) {
        let outranked = self.snapshot.lock().outranked(node, priority);
        for other in outranked {
            self.snapshot.lock().denominate(other.uid());
            if let Err(error) = preempt::denominate(&self.link, &other).await {
                tracing::debug!(%error, "a nomination could not be taken back");
            }
        }
        for victim in victims {
            match preempt::evict(&self.link, &self.clock, victim).await {
                Ok(()) => {
                    let message = format!("Preempted by {by} on node {node}");
                    let about = reference_to(&Resource::of::<Pod>(), &victim.object);
                    self.recorder.record(about, EventKind::Normal, "Preempted", message);
                }
                Err(error) => {
                    tracing::warn!(pod = %victim.object.meta().key(), %error, "preemption failed");
                }
            }
        }
    }

    async fn tell(&self, pod: &Pod, reason: &str, message: String, nominated: Option<&str>) {
        let report = bind::report(&self.link, &self.clock, pod, reason, &message, nominated).await;
        if let Err(error) =
            report.or_else(|error| if write::is_not_found(&error) { Ok(()) } else { Err(error) })
        {
            tracing::debug!(%error, "the reason could not be written into the pod's status");
        }
        self.recorder.record(reference(pod), EventKind::Warning, "FailedScheduling", message);
    }
}
