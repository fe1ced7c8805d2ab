//! Counts of dynamic admission, under upstream's names.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use skiff_base::metrics::Metrics;

use super::attributes::Attributes;
use super::webhook::Outcome;
use crate::api::Api;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Open {
    name: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    policy: String,
    policy_binding: String,
    enforcement_action: &'static str,
}

/// The counters.
pub(crate) struct Counts {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    rejections: Family<Rejection, Counter>,
    open: Family<Open, Counter>,
    checks: Family<Check, Counter>,
}

impl Counts {
    /// Registered in `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        // Upstream's buckets for webhooks.
        let buckets: fn() -> Histogram = || Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0]);
        let counts = Self {
            durations: Family::new_with_constructor(buckets),
            rejections: Family::default(),
            open: Family::default(),
            checks: Family::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "apiserver_admission_webhook_admission_duration_seconds",
                "Time a webhook took to answer",
                counts.durations.clone(),
            );
            registry.register(
                "apiserver_admission_webhook_rejection_count",
                "Refusals by webhooks, and because of webhooks that could not be asked",
                counts.rejections.clone(),
            );
            registry.register(
                "apiserver_admission_webhook_fail_open_count",
                "Webhooks that could not be asked and need not agree",
                counts.open.clone(),
            );
            registry.register(
                "apiserver_validating_admission_policy_check",
                "Decisions of policies that were not to admit, by what was done",
                counts.checks.clone(),
            );
        });
        counts
    }

    /// A policy did not hold.
    pub(super) fn check(&self, policy: &str, binding: &str, action: &'static str) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        self.checks.get_or_create(&Check { policy, policy_binding, enforcement_action: action }).inc();
    }
}

/// A question to a webhook, timed.
pub(super) struct Asked {
    name: String,
    kind: &'static str,
    operation: &'static str,
    since: Instant,
}

impl Asked {
    pub(super) fn begin(call: &Attributes<'_>, name: &str, kind: &'static str) -> Self {
        Self { name: name.to_owned(), kind, operation: call.operation, since: Instant::now() }
    }

    pub(super) fn finish(self, api: &Api, outcome: &Outcome, ignore: bool) {
        let Self { name, kind, operation, since } = self;
        let counts = &api.admission;
        let rejection = match outcome {
            Outcome::Allowed => None,
            Outcome::Refused(code) => Some(("no_error", *code)),
            Outcome::Failed if ignore => {
                counts.open.get_or_create(&Open { name: name.clone(), r#type: kind }).inc();
                None
            }
            Outcome::Failed => Some(("calling_webhook_error", 0)),
        };
        let rejected = if rejection.is_some() { "true" } else { "false" };
        let labels = Labels { name: name.clone(), r#type: kind, operation, rejected };
        counts.durations.get_or_create(&labels).observe(since.elapsed().as_secs_f64());
        if let Some((error_type, rejection_code)) = rejection {
            let labels = Rejection { name, r#type: kind, operation, error_type, rejection_code };
            counts.rejections.get_or_create(&labels).inc();
        }
    }
}
