//! What the server counts about itself.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use skiff_base::metrics::Metrics;

use crate::request::Verb;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

/// The server's counters; clones count together.
#[derive(Clone)]
pub(crate) struct Counters {
    requests: Family<Labels, Counter>,
    durations: Family<VerbLabel, Histogram, fn() -> Histogram>,
}

impl Counters {
    /// Registered in `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let counters = Self { requests: Family::default(), durations: Family::new_with_constructor(buckets) };
        metrics.register(|registry| {
            registry.register(
                "apiserver_request",
                "Requests by verb, resource and code",
                counters.requests.clone(),
            );
            registry.register(
                "apiserver_request_duration_seconds",
                "Time from a request's head to its answer's head, by verb",
                counters.durations.clone(),
            );
        });
        counters
    }

    /// One request was answered.
    pub(crate) fn request(&self, verb: Verb, resource: &str, code: u16, took: Duration) {
        let labels = Labels { verb: verb.word(), resource: resource.to_owned(), code };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&VerbLabel { verb: verb.word() }).observe(took.as_secs_f64());
    }
}
