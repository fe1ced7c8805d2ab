//! The task of one probe: waits, tries, counts, tells.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::check::{self, Outcome};
use super::schedule::{Schedule, Verdict};
use super::{ProbeKind, Prober, Report, Target};
use crate::record::EventKind;

pub(super) struct Worker {
    pub(super) kind: ProbeKind,
    pub(super) probe: Probe,
    pub(super) container: Container,
    pub(super) target: Target,
    pub(super) prober: Prober,
    pub(super) reports: mpsc::Sender<Report>,
    /// Set by the startup probe, awaited by the others.
    pub(super) started: Arc<watch::Sender<bool>>,
}

impl Worker {
    pub(super) async fn run(self, mut has_started: watch::Receiver<bool>) {
        let schedule = Schedule::of(&self.probe);
        if self.kind != ProbeKind::Startup && has_started.wait_for(|started| *started).await.is_err() {
            return;
        }
        tokio::time::sleep(schedule.first_wait(self.target.started_at, self.prober.clock.now())).await;
        let mut ticks = tokio::time::interval(schedule.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut verdict = Verdict::assumed(self.kind);
        loop {
            ticks.tick().await;
            let runtime = &*self.prober.runtime;
            let outcome = check::once(&self.probe, &self.container, &self.target, runtime).await;
            let (success, message) = match outcome {
                Outcome::Success(text) => (true, text),
                Outcome::Warning(text) => {
                    let told = format!("{} probe warning: {text}", self.kind.title());
                    self.record("ProbeWarning", told);
                    (true, text)
                }
                Outcome::Failure(text) => {
                    self.record("Unhealthy", format!("{} probe failed: {text}", self.kind.title()));
                    (false, text)
                }
                // Neither good nor bad: upstream keeps the verdict as well.
                Outcome::Unknown(text) => {
                    self.record(
                        "Unhealthy",
                        format!("{} probe errored and resulted in unknown state: {text}", self.kind.title()),
                    );
                    continue;
                }
            };
            if let Some(healthy) = verdict.count(&schedule, success) {
                let report = Report {
                    container: self.container.name.clone(),
                    container_id: self.target.container_id.clone(),
                    kind: self.kind,
                    healthy,
                    message,
                };
                if self.reports.send(report).await.is_err() {
                    return;
                }
                let decided = match self.kind {
                    // Started once is started for good.
                    ProbeKind::Startup => true,
                    // A container that is not alive is restarted, and probed anew then.
                    ProbeKind::Liveness => !healthy,
                    ProbeKind::Readiness => false,
                };
                if self.kind == ProbeKind::Startup && healthy {
                    self.started.send_replace(true);
                }
                if decided {
                    return;
                }
            }
        }
    }

    fn record(&self, reason: &str, message: String) {
        let path = format!("spec.containers{{{}}}", self.container.name);
        self.prober.record.record(&self.target.pod, Some(&path), EventKind::Warning, reason, message);
    }
}
