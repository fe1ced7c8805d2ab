//! The pods of all hollow nodes: one feed, one queue, a few workers.
//!
//! Only pods that something is still to be done about are held; one that runs for ever costs nothing here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use serde_json::json;
use skiff_api::pod::facts::{Phase, PodFacts};
use skiff_api::{Object, Resource};
use skiff_base::{Clock, Tasks};
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, Link, Queue, Topic};

use crate::addresses;
use crate::pod::{Addresses, RUN_FOR, Step, plan};

/// How many writes are under way at once: one a node, as kubelets would, but not so many that signs of life have to wait,
/// or that the one task that reads the feed falls behind: who falls too far behind has to read all pods again.
const WORKERS: std::ops::RangeInclusive<usize> = 8..=32;

/// What the workers share.
struct Pods {
    link: Link,
    clock: Clock,
    /// Our nodes and their numbers.
    ours: HashMap<Arc<str>, usize>,
    /// Pods to look at, by uid: as they were last seen.
    open: Mutex<HashMap<Arc<str>, Arc<Object>>>,
    queue: Queue<Arc<str>>,
    /// How many pods have had an address.
    given: AtomicUsize,
}

/// Starts taking care of the pods of these nodes, until `tasks` stop.
pub(crate) fn start(link: &Link, clock: &Clock, ours: HashMap<Arc<str>, usize>, tasks: &Tasks) {
    let workers = ours.len().clamp(*WORKERS.start(), *WORKERS.end());
    let pods = Arc::new(Pods {
        link: link.clone(),
        clock: clock.clone(),
        ours,
        open: Mutex::default(),
        queue: Queue::new(),
        given: AtomicUsize::new(0),
    });
    for _ in 0..workers {
        tasks.spawn_until_stop(Arc::clone(&pods).work());
    }
    tasks.spawn_until_stop(pods.read());
}

/// Whether a pod runs for ever: most do, and are not even decoded.
fn is_settled(object: &Object, facts: &PodFacts) -> bool {
    let ends = || std::str::from_utf8(object.bytes()).is_ok_and(|text| text.contains(RUN_FOR));
    facts.phase == Phase::Running && object.meta().deletion_timestamp.is_none() && !ends()
}

impl Pods {
    async fn read(self: Arc<Self>) {
        let mut feed = self.link.feed(&Topic::of::<Pod>());
        while let Some(delta) = feed.next().await {
            match delta {
                Delta::Reset(objects) => {
                    self.open.lock().clear();
                    for object in objects {
                        self.take(object);
                    }
                }
                Delta::Put(object) => self.take(object),
                Delta::Gone(object) => {
                    self.open.lock().remove(&object.meta().uid);
                }
            }
        }
    }

    /// Remembers a pod of ours for the workers.
    fn take(&self, object: Arc<Object>) {
        let facts = object.facts::<PodFacts>();
        if !facts.node.as_deref().is_some_and(|node| self.ours.contains_key(node)) {
            return;
        }
        let uid = Arc::clone(&object.meta().uid);
        if is_settled(&object, facts) {
            self.open.lock().remove(&uid);
            return;
        }
        let Ok(pod) = object.decode::<Pod>() else { return };
        let nowhere = || Addresses { host: addresses::node(0), pod: addresses::pod(0) };
        match plan(&pod, nowhere, self.clock.now()) {
            Step::Rest => {
                self.open.lock().remove(&uid);
            }
            Step::Later(delay) => {
                self.open.lock().insert(Arc::clone(&uid), object);
                self.queue.add_after(uid, delay);
            }
            Step::Report(_) | Step::LetGo => {
                self.open.lock().insert(Arc::clone(&uid), object);
                self.queue.add(uid);
            }
        }
    }

    async fn work(self: Arc<Self>) {
        loop {
            let uid = self.queue.next().await;
            match self.attend(&uid).await {
                Ok(()) => self.queue.forget(&uid),
                // The pod changed or went; its news is on the way.
                Err(error) if write::is_conflict(&error) || write::is_not_found(&error) => {
                    self.queue.forget(&uid);
                }
                Err(error) => {
                    tracing::warn!(%uid, %error, "a hollow pod could not be taken further");
                    self.queue.retry(Arc::clone(&uid));
                }
            }
            self.queue.done(&uid);
        }
    }

    /// Takes a pod one step further.
    async fn attend(&self, uid: &Arc<str>) -> write::Result<()> {
        let Some(object) = self.open.lock().get(uid).cloned() else { return Ok(()) };
        let Ok(pod) = object.decode::<Pod>() else { return Ok(()) };
        let meta = object.meta();
        let place = Place::new(&Resource::of::<Pod>(), meta.namespace.as_deref(), &meta.name);
        match plan(&pod, || self.addresses(&pod), self.clock.now_seconds()) {
            Step::Rest => {}
            Step::Later(delay) => self.queue.add_after(Arc::clone(uid), delay),
            Step::Report(status) => {
                let body = json!({ "metadata": { "uid": &**uid }, "status": status });
                write::patch::<()>(&self.link, &place.part("status"), Patch::Strategic, &body).await?;
            }
            Step::LetGo => {
                let now = DeleteOptions { grace_period_seconds: Some(0), ..write::only(uid) };
                write::delete(&self.link, &place, &now).await?;
            }
        }
        Ok(())
    }

    fn addresses(&self, pod: &Pod) -> Addresses {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let host = addresses::node(self.ours.get(node).copied().unwrap_or(0));
        let network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
        let pod = if network { host } else { addresses::pod(self.given.fetch_add(1, Ordering::Relaxed)) };
        Addresses { host, pod }
    }
}
