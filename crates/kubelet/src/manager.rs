//! The table of workers: which pods there are, and which worker hears of what.
//!
//! It decides nothing about a pod but whether the node lets it in; everything else is its worker's. A pod that the
//! runtime or the disk holds and that no source wants any more gets a worker too, which only takes it away.

mod mirror;
mod orphan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, SelectAll};
use k8s_openapi::api::core::v1::Pod;
use skiff_base::ready::Latch;
use skiff_base::task::Tasks;
use tokio::sync::{mpsc, watch};

use crate::eviction::{Order, Pressure, refuse};
use crate::node::admit::{Allocatable, admit};
use crate::pod::config::OWNER_LABEL;
use crate::pod::{is_mirror, is_static, uid};
use crate::runtime::{Event, Result};
use crate::source::{Change, Source};
use crate::worker::{Context, Found, Message, Worker};

/// The table of workers.
pub(crate) struct Manager {
    ctx: Context,
    tasks: Tasks,
    allocatable: Arc<Allocatable>,
    workers: HashMap<String, mpsc::UnboundedSender<Message>>,
    /// Per source its pods by uid.
    wanted: Vec<Option<HashMap<String, Arc<Pod>>>>,
    mirrors: HashMap<(String, String), Arc<Pod>>,
    found: BTreeMap<String, Found>,
    ended_to: mpsc::UnboundedSender<String>,
    ended: mpsc::UnboundedReceiver<String>,
    settled: bool,
    ready: Latch,
    /// What the node is short of.
    pressure: watch::Receiver<Pressure>,
    orders: mpsc::UnboundedReceiver<Order>,
}

/// What the manager hears of evictions.
pub(crate) struct Evictions {
    pub(crate) pressure: watch::Receiver<Pressure>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
}

impl Manager {
    pub(crate) fn new(
        ctx: Context,
        tasks: Tasks,
        allocatable: Arc<Allocatable>,
        ready: Latch,
        evictions: Evictions,
    ) -> Self {
        let Evictions { pressure, orders } = evictions;
        let (ended_to, ended) = mpsc::unbounded_channel();
        Self {
            ctx,
            tasks,
            allocatable,
            workers: HashMap::new(),
            wanted: Vec::new(),
            mirrors: HashMap::new(),
            found: BTreeMap::new(),
            ended_to,
            ended,
            settled: false,
            ready,
            pressure,
            orders,
        }
    }

    /// Works until the node agent stops; pods stay as they are then.
    pub(crate) async fn run(mut self, sources: Vec<Source>) {
        let mut events = self.ctx.runtime.events();
        // Nothing is known before the runtime told what it holds.
        while !matches!(events.next().await, Some(Event::Resync)) {}
        self.survey().await;
        self.wanted = sources.iter().map(|_| None).collect();
        self.settle();
        let numbered = sources.into_iter().enumerate();
        let mut changes: SelectAll<_> = stream::select_all(
            numbered.map(|(number, source)| source.map(move |change| (number, change)).boxed()),
        );
        loop {
            tokio::select! {
                () = self.tasks.token().cancelled() => return,
                Some((number, change)) = changes.next(), if !changes.is_empty() => self.change(number, change),
                Some(event) = events.next() => self.route(event),
                Some(order) = self.orders.recv() => self.obey(order),
                Some(uid) = self.ended.recv() => {
                    self.workers.remove(&uid);
                }
            }
        }
    }

    /// What the runtime holds that is ours, by pod.
    async fn survey(&mut self) {
        match self.look().await {
            Ok(found) => self.found = found,
            Err(error) => tracing::error!(%error, "runtime not surveyed: running pods will be seen as new"),
        }
    }

    async fn look(&self) -> Result<BTreeMap<String, Found>> {
        let runtime = &self.ctx.runtime;
        let (sandboxes, containers) =
            tokio::join!(runtime.list_sandboxes(None), runtime.list_containers(None));
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        let mut pod_of = HashMap::new();
        for sandbox in sandboxes? {
            if sandbox.labels.get(OWNER_LABEL) == Some(&self.ctx.node.owner) {
                pod_of.insert(sandbox.id.clone(), sandbox.uid.clone());
                found.entry(sandbox.uid.clone()).or_default().sandboxes.push(sandbox);
            }
        }
        for container in containers? {
            if let Some(pod) = pod_of.get(&container.sandbox).and_then(|uid| found.get_mut(uid)) {
                pod.containers.push(container);
            }
        }
        Ok(found)
    }

    fn route(&self, event: Event) {
        match &event {
            Event::Resync => {
                for worker in self.workers.values() {
                    // A worker that just ended has nothing to look at.
                    let _ended = worker.send(Message::Resync);
                }
            }
            Event::Started { id } | Event::Exited { id, .. } | Event::OutOfMemory { id } => {
                let worker = self.ctx.routes.find(id).and_then(|uid| self.workers.get(&uid));
                if let Some(worker) = worker {
                    let _ended = worker.send(Message::Runtime(event));
                }
            }
        }
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Evict { uid, verdict } => {
                if let Some(worker) = self.workers.get(&uid) {
                    let _ended = worker.send(Message::Evict(verdict));
                }
            }
            Order::Reclaim(done) => {
                for worker in self.workers.values() {
                    let _ended = worker.send(Message::Reclaim(done.clone()));
                }
            }
        }
    }

    fn change(&mut self, number: usize, change: Change) {
        match change {
            Change::Reset(pods) => {
                let (mirrors, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_mirror(pod));
                let new: HashMap<String, Arc<Pod>> =
                    pods.into_iter().map(|pod| (uid(&pod).to_owned(), pod)).collect();
                let old = self.wanted[number].replace(new.clone()).unwrap_or_default();
                for (gone, pod) in old.iter().filter(|(uid, _)| !new.contains_key(*uid)) {
                    self.gone(gone, pod);
                }
                let mut pods: Vec<Arc<Pod>> = new.into_values().collect();
                // The oldest first: where not all fit, they were here before.
                pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
                for pod in pods {
                    self.put(&pod);
                }
                self.reset_mirrors(number, mirrors);
                self.settle();
            }
            Change::Put(pod) if is_mirror(&pod) => self.put_mirror(pod),
            Change::Put(pod) => {
                if let Some(wanted) = &mut self.wanted[number] {
                    wanted.insert(uid(&pod).to_owned(), Arc::clone(&pod));
                }
                self.put(&pod);
            }
            Change::Gone(uid) => {
                let known = self.wanted[number].as_mut().and_then(|wanted| wanted.remove(&uid));
                match known {
                    Some(pod) => self.gone(&uid, &pod),
                    None => self.gone_mirror(&uid),
                }
            }
        }
    }

    fn gone(&self, uid: &str, pod: &Pod) {
        if is_static(pod) {
            self.hide(pod);
        }
        if let Some(worker) = self.workers.get(uid) {
            let _ended = worker.send(Message::Gone);
        }
    }

    fn put(&mut self, pod: &Arc<Pod>) {
        if let Some(worker) = self.workers.get(uid(pod))
            && worker.send(Message::Pod(Arc::clone(pod))).is_ok()
        {
            return;
        }
        let found = self.found.remove(uid(pod)).unwrap_or_default();
        let refused = if found.is_empty() && is_new(pod) {
            let others = self.wanted.iter().flatten().flat_map(HashMap::values);
            let others: Vec<&Pod> = others
                .filter(|other| uid(other) != uid(pod) && self.workers.contains_key(uid(other)))
                .map(Arc::as_ref)
                .collect();
            let pressure = *self.pressure.borrow();
            refuse(pod, pressure).or_else(|| admit(pod, &others, &self.allocatable.get()).err())
        } else {
            None
        };
        let (to, inbox) = mpsc::unbounded_channel();
        let mut worker = Worker::new(self.ctx.clone(), Arc::clone(pod), inbox);
        if let Some(verdict) = refused {
            worker.reject(verdict);
        }
        self.employ(uid(pod), to, worker, found);
        self.show(pod);
    }

    fn employ(&mut self, uid: &str, to: mpsc::UnboundedSender<Message>, worker: Worker, found: Found) {
        self.workers.insert(uid.to_owned(), to);
        let (uid, ended) = (uid.to_owned(), self.ended_to.clone());
        self.tasks.spawn_until_stop(async move {
            worker.run(found).await;
            // The manager may be gone already, then no one keeps the table.
            let _stopped = ended.send(uid);
        });
    }

    /// Once every source spoke, what is left over belongs to nobody.
    fn settle(&mut self) {
        if self.settled || self.wanted.iter().any(Option::is_none) {
            return;
        }
        self.settled = true;
        self.take_away_orphans();
        self.undo_devices();
        self.ready.open();
    }
}

/// Whether the pod never ran here: what ran was let in before.
fn is_new(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().is_none_or(|status| {
            status.start_time.is_none() && matches!(status.phase.as_deref(), None | Some("" | "Pending"))
        })
}
