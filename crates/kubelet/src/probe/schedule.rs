//! When a probe is tried, and when its verdict changes. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;

use super::ProbeKind;

/// The rhythm of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) delay: Duration,
    pub(super) period: Duration,
    success: u32,
    failure: u32,
}

impl Schedule {
    pub(super) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, usual: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(usual))
        };
        let count = |value: Option<i32>, usual| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(usual).max(1)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            success: count(probe.success_threshold, 1),
            failure: count(probe.failure_threshold, 3),
        }
    }

    /// How long to wait before the first try.
    pub(super) fn first_wait(&self, started: Timestamp, now: Timestamp) -> Duration {
        let passed = Duration::try_from(now.duration_since(started)).unwrap_or_default();
        self.delay.saturating_sub(passed)
    }
}

/// The verdict so far.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    healthy: bool,
    /// Whether it was told already: the first verdict is, even if it is the assumed one.
    told: bool,
    run: u32,
    last: Option<bool>,
}

impl Verdict {
    /// What is assumed before the first try: alive, not ready, not started.
    pub(super) fn assumed(kind: ProbeKind) -> Self {
        Self { healthy: kind == ProbeKind::Liveness, told: false, run: 0, last: None }
    }

    /// Counts one try; a verdict if it is new.
    pub(super) fn count(&mut self, schedule: &Schedule, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let needed = if success { schedule.success } else { schedule.failure };
        if self.run < needed || (self.told && self.healthy == success) {
            return None;
        }
        self.healthy = success;
        self.told = true;
        Some(success)
    }
}
