//! Runs a table of controllers: caches, queues, workers, metrics.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use skiff_base::metrics::Metrics;
use skiff_base::{Clock, Tasks};
use tokio::time::Instant;

use super::ctx::Writes;
use super::{Caches, Ctx, Fault, Key, Next, Outcome, Row};
use crate::events::{Recorder, Source};
use crate::link::Link;
use crate::queue::Queue;
use crate::write;

/// How long a key waits for the caches to show its own writes.
const FRESHNESS: Duration = Duration::from_secs(5);
/// When a key is worked on again whose writes the caches never showed: what was made and undone while a feed was lost is
/// told to nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a runner needs.
pub struct Options<S: 'static> {
    /// The controllers.
    pub rows: Vec<&'static Row<S>>,
    /// The link that feeds the caches.
    pub reader: Link,
    /// Each controller's own link, by its name: writes carry its identity.
    pub links: Arc<dyn Fn(&'static str) -> Link + Send + Sync>,
    /// What all controllers are given.
    pub settings: Arc<S>,
    /// The time of day.
    pub clock: Clock,
    /// Where to count.
    pub metrics: Metrics,
}

/// A table of controllers, ready to run.
pub struct Runner<S: 'static> {
    options: Options<S>,
    figures: Figures,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    controller: &'static str,
}

#[derive(Clone)]
struct Figures {
    runs: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    stale: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let figures = Self {
            runs: Family::default(),
            failures: Family::default(),
            stale: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 4.0, 8))),
        };
        metrics.register(|registry| {
            registry.register("controller_reconciles", "Keys worked on", figures.runs.clone());
            registry.register("controller_failures", "Keys that failed", figures.failures.clone());
            registry.register("controller_stale", "Writes not seen in time", figures.stale.clone());
            registry.register("controller_seconds", "Time for one key", figures.seconds.clone());
        });
        figures
    }
}

impl<S: Send + Sync + 'static> Runner<S> {
    /// Wires the controllers; nothing runs yet.
    pub fn build(options: Options<S>) -> Self {
        let figures = Figures::new(&options.metrics);
        Self { options, figures }
    }

    /// Starts all of them; they run until `tasks` stop.
    pub fn run(self, tasks: &Tasks) {
        let Options { rows, reader, links, settings, clock, .. } = self.options;
        let caches = Caches::follow(&rows, &reader, tasks);
        for row in rows {
            let link = links(row.name);
            let source = Source { component: row.component.to_owned(), host: String::new() };
            let recorder = Recorder::start(&link, source, clock.clone(), tasks);
            let queue = Queue::new();
            subscribe(row, &caches, &settings, &queue);
            let worker = Worker {
                row,
                queue,
                link,
                recorder,
                caches: caches.clone(),
                settings: Arc::clone(&settings),
                clock: clock.clone(),
                figures: self.figures.clone(),
            };
            let worker = Arc::new(worker);
            for _ in 0..row.workers.max(1) {
                tasks.spawn_until_stop(Arc::clone(&worker).work());
            }
        }
    }
}

/// Turns changes into keys.
fn subscribe<S: Send + Sync>(row: &'static Row<S>, caches: &Caches, settings: &Arc<S>, queue: &Queue<Key>) {
    for wake in row.wakes {
        let Some(cache) = caches.at(wake.kind.0, wake.kind.1) else { continue };
        let (caches, settings, queue) = (caches.clone(), Arc::clone(settings), queue.clone());
        cache.subscribe(move |change| {
            for key in (wake.keys)(change, &caches, &settings) {
                queue.add(key);
            }
        });
    }
}

struct Worker<S: 'static> {
    row: &'static Row<S>,
    queue: Queue<Key>,
    link: Link,
    recorder: Recorder,
    caches: Caches,
    settings: Arc<S>,
    clock: Clock,
    figures: Figures,
}

impl<S: Send + Sync + 'static> Worker<S> {
    async fn work(self: Arc<Self>) {
        self.caches.synced().await;
        loop {
            let key = self.queue.next().await;
            let writes = Writes::default();
            let ctx = Ctx {
                link: self.link.clone(),
                caches: self.caches.clone(),
                settings: Arc::clone(&self.settings),
                clock: self.clock.clone(),
                recorder: self.recorder.clone(),
                writes: Arc::clone(&writes),
            };
            let begun = Instant::now();
            let outcome = (self.row.run)(ctx, key.clone()).await;
            let labels = Labels { controller: self.row.name };
            self.figures.runs.get_or_create(&labels).inc();
            self.figures.seconds.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
            let fresh = self.freshen(&labels, &key, &writes).await;
            self.settle(&labels, &key, outcome);
            if !fresh {
                self.queue.add_after(key.clone(), LOOK_AGAIN);
            }
            self.queue.done(&key);
        }
    }

    /// Waits until the caches show what was written; false if they do not in time.
    async fn freshen(&self, labels: &Labels, key: &Key, writes: &Mutex<Vec<WrittenTo>>) -> bool {
        let writes = std::mem::take(&mut *writes.lock());
        let end = Instant::now() + FRESHNESS;
        let mut fresh = true;
        for ((group, plural), write) in writes {
            let Some(cache) = self.caches.at(&group, &plural) else { continue };
            let left = end.saturating_duration_since(Instant::now());
            if !cache.wait_for(&write, left).await {
                fresh = false;
                self.figures.stale.get_or_create(labels).inc();
                tracing::debug!(controller = self.row.name, %key, ?write, "the cache lags behind a write");
            }
        }
        fresh
    }

    fn settle(&self, labels: &Labels, key: &Key, outcome: Outcome) {
        match outcome {
            Ok(next) => {
                self.queue.forget(key);
                if let Next::After(delay) = next {
                    self.queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                self.figures.failures.get_or_create(labels).inc();
                let pause = self.queue.retry(key.clone());
                let controller = self.row.name;
                if matches!(&error, Fault::Api(error) if write::is_conflict(error)) {
                    tracing::debug!(controller, %key, %error, ?pause, "somebody else wrote first");
                } else {
                    tracing::warn!(controller, %key, %error, ?pause, "reconciling failed");
                }
            }
        }
    }
}

type WrittenTo = ((Arc<str>, Arc<str>), crate::cache::Written);
