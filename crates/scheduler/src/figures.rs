//! What the scheduler counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use skiff_base::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// Attempts by result, and how long decisions take.
#[derive(Clone)]
pub(crate) struct Figures {
    attempts: Family<Outcome, Counter>,
    pub(crate) seconds: Histogram,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let figures = Self {
            attempts: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.00002, 4.0, 8)),
        };
        metrics.register(|registry| {
            registry.register("scheduler_attempts", "Pods tried, by result", figures.attempts.clone());
            registry.register("scheduler_decision_seconds", "Time of one decision", figures.seconds.clone());
        });
        figures
    }

    /// Counts an attempt: `scheduled`, `unschedulable`, `error`.
    pub(crate) fn attempt(&self, result: &'static str) {
        self.attempts.get_or_create(&Outcome { result }).inc();
    }
}
