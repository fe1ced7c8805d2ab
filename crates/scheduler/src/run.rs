//! The scheduler's loop: a turn, a decision, and a task that tells the server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use skiff_base::{Clock, Tasks};
use skiff_client::events::{EventKind, Source, reference};
use skiff_client::{Link, Recorder, write};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::feeds::Feeds;
use crate::figures::Figures;
use crate::fit::Unfit;
use crate::plugin::Event;
use crate::pod::Pending;
use crate::queue::{Failure, Queue, Turn};
use crate::snapshot::Snapshot;
use crate::{NAME, bind, cycle, plugins};

/// How many bindings may be on their way at once.
const BINDINGS: usize = 64;

pub(crate) struct Loop {
    link: Link,
    clock: Clock,
    figures: Figures,
    tasks: Tasks,
    recorder: Recorder,
    snapshot: Arc<Mutex<Snapshot>>,
    queue: Queue,
    feeds: Feeds,
    bindings: Arc<Semaphore>,
}

impl Loop {
    pub(crate) fn new(link: Link, clock: Clock, figures: Figures, tasks: &Tasks) -> Self {
        let snapshot = Arc::default();
        let queue = Queue::default();
        let feeds = Feeds::follow(&link, &snapshot, &queue, tasks);
        let source = Source { component: NAME.to_owned(), host: String::new() };
        let recorder = Recorder::start(&link, source, clock.clone(), tasks);
        let bindings = Arc::new(Semaphore::new(BINDINGS));
        Self { link, clock, figures, tasks: tasks.clone(), recorder, snapshot, queue, feeds, bindings }
    }

    pub(crate) async fn run(self: Arc<Self>) {
        self.feeds.synced().await;
        let mut start = 0;
        loop {
            let turn = self.queue.next().await;
            // A permit first: while the server cannot keep up there is no use in deciding more.
            let Ok(permit) = Arc::clone(&self.bindings).acquire_owned().await else { return };
            let Some(pending) = self.pending(&turn) else {
                self.queue.remove(&turn.uid);
                continue;
            };
            let begun = Instant::now();
            let decision = self.decide(&pending, &mut start);
            self.figures.seconds.observe(begun.elapsed().as_secs_f64());
            let (this, pod) = (Arc::clone(&self), Arc::clone(&pending.pod));
            self.tasks.spawn_until_stop(async move {
                let _permit = permit;
                match decision {
                    Ok(node) => this.bind(&turn, &pending, &node).await,
                    Err(unfit) => this.refuse(&turn, &pod, *unfit).await,
                }
            });
            tokio::task::consume_budget().await;
        }
    }

    /// The pod as it is now; nothing if it is gone or has its node already.
    fn pending(&self, turn: &Turn) -> Option<Pending> {
        let object = self.feeds.pods.get(&turn.key).filter(|object| object.meta().uid == turn.uid)?;
        let pod = skiff_client::cache::decode::<Pod>(&object)?;
        let wants = skiff_api::pod::node_name(&pod).is_none() && pod.metadata.deletion_timestamp.is_none();
        wants.then(|| Pending::new(object, pod))
    }

    fn decide(&self, pending: &Pending, start: &mut usize) -> Result<Arc<str>, Box<Unfit>> {
        let mut snapshot = self.snapshot.lock();
        let node = cycle::choose(pending, &snapshot, start)?;
        snapshot.place(Arc::clone(&pending.info), &node, true);
        Ok(node)
    }

    async fn bind(&self, turn: &Turn, pending: &Pending, node: &str) {
        plugins::ALL.iter().for_each(|row| row.plugin.reserve(pending, node));
        let pod = &pending.pod;
        match bind::bind(&self.link, pod, node).await {
            Ok(()) => {
                self.queue.remove(&turn.uid);
                self.figures.attempt("scheduled");
                let message = format!("Successfully assigned {} to {node}", turn.key);
                self.recorder.record(reference(&**pod), EventKind::Normal, "Scheduled", message);
            }
            Err(error) => {
                plugins::ALL.iter().for_each(|row| row.plugin.unreserve(pending, node));
                if self.snapshot.lock().forget(&turn.uid) {
                    self.queue.happened(Event::PodGone);
                }
                self.figures.attempt("error");
                if write::is_not_found(&error) {
                    return self.queue.remove(&turn.uid);
                }
                tracing::warn!(pod = %turn.key, node, %error, "binding failed");
                self.queue.give_back(&turn.uid, Failure::Error);
                let message = format!("binding rejected: {}", write::words(&error));
                self.tell(pod, "SchedulerError", message).await;
            }
        }
    }

    async fn refuse(&self, turn: &Turn, pod: &Pod, unfit: Unfit) {
        self.figures.attempt("unschedulable");
        let message = unfit.to_string();
        tracing::debug!(pod = %turn.key, %message, "a pod fits nowhere");
        self.queue.give_back(&turn.uid, Failure::Unfit(unfit.plugins));
        self.tell(pod, "Unschedulable", message).await;
    }

    async fn tell(&self, pod: &Pod, reason: &str, message: String) {
        let report = bind::report(&self.link, &self.clock, pod, reason, &message).await;
        if let Err(error) =
            report.or_else(|error| if write::is_not_found(&error) { Ok(()) } else { Err(error) })
        {
            tracing::debug!(%error, "the reason could not be written into the pod's status");
        }
        self.recorder.record(reference(pod), EventKind::Warning, "FailedScheduling", message);
    }
}
