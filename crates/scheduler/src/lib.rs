//! Chooses a node for a pod, or nodes for a group of pods.
//!
//! The cluster as the scheduler sees it (`snapshot.rs`) is kept current by what changed, never rebuilt. A cycle takes
//! the most urgent pod from the queue, asks every plugin which nodes can hold it and which suit it best, marks the pod
//! as assumed there, and leaves the binding to a task of its own, so that the next pod need not wait for the server. A group
//! queues as one, and its pods are placed together or not at all (`group.rs`).
//!
//! Invariant: the scheduler's only acts are bindings, what claims for volumes and devices get before them, the conditions that
//! say whether pods and groups were placed, nominations, events, and the deletion of pods that must make room for more
//! important ones.

use std::sync::Arc;

use skiff_base::metrics::Metrics;
use skiff_base::{Clock, Tasks};
use skiff_client::Link;

mod bind;
mod classes;
mod config;
mod cycle;
mod devices;
mod event;
mod extender;
mod feeds;
mod figures;
mod fit;
mod group;
mod needs;
mod plugin;
mod plugins;
mod pod;
mod points;
mod preempt;
mod preemption;
mod profile;
mod queue;
mod run;
mod served;
mod snapshot;
mod storage;

#[cfg(test)]
mod history;

#[doc(hidden)]
pub mod bench;

pub use config::{Configuration, ConfigurationError};

/// The name pods ask for in `spec.schedulerName`, unless they ask for another scheduler.
pub const NAME: &str = "default-scheduler";

/// What the scheduler needs.
pub struct Options {
    /// Its way to the API.
    pub link: Link,
    /// The time of day.
    pub clock: Clock,
    /// Where to count.
    pub metrics: Metrics,
    /// How pods are placed, by the scheduler name they ask for.
    pub configuration: Configuration,
}

impl Options {
    /// The machine's clock, and metrics that nobody reads.
    pub fn new(link: Link) -> Self {
        Self {
            link,
            clock: Clock::system(),
            metrics: Metrics::new(),
            configuration: Configuration::default(),
        }
    }
}

/// The scheduler, ready to run.
pub struct Scheduler {
    options: Options,
    figures: figures::Figures,
}

impl Scheduler {
    /// Wires the scheduler; nothing runs yet.
    pub fn build(options: Options) -> Self {
        let figures = figures::Figures::new(&options.metrics);
        Self { options, figures }
    }

    /// Starts it; it runs until `tasks` stop.
    pub fn run(self, tasks: &Tasks) {
        let within = tasks.clone();
        tasks.spawn_until_stop(async move {
            let served = served::Served::ask(&self.options.link).await;
            let loop_ = run::Loop::new(self.options, &served, self.figures, &within);
            Arc::new(loop_).run().await;
        });
    }
}

/// What the scheduler may do: verbs and resources.
pub const MAY: &[(&str, &str)] = &[
    (
        "get list watch",
        "pods nodes services replicationcontrollers replicasets statefulsets namespaces poddisruptionbudgets persistentvolumeclaims persistentvolumes storageclasses csinodes",
    ),
    ("patch update", "persistentvolumeclaims persistentvolumes"),
    ("create", "pods/binding"),
    ("delete", "pods"),
    ("patch", "pods/status"),
    ("get list watch", "podgroups"),
    ("patch", "podgroups/status"),
    ("get list watch", "deviceclasses resourceslices devicetaintrules"),
    ("get list watch update", "resourceclaims"),
    ("patch update", "resourceclaims/status"),
    ("create patch", "events"),
];
