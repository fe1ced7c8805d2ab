//! Whether and when something is tried again.
//!
//! As upstream: an ended container waits from its end, 10 s doubling to 5 min, and the count starts over
//! when it ran for 10 min; the first restart is immediate.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::is_sidecar;
use super::state::Slot;

const FIRST: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(300);

/// The waits between a container's restarts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RestartBackoff {
    delay: Duration,
    updated: Option<Timestamp>,
}

impl RestartBackoff {
    fn expired(&self, since: Timestamp) -> bool {
        self.updated.is_none_or(|updated| since.duration_since(updated) > signed(MOST * 2))
    }

    /// Until when a container that ended at `finished` has to wait, if at all.
    pub(crate) fn until(&self, finished: Timestamp) -> Option<Timestamp> {
        if self.expired(finished) { None } else { finished.checked_add(self.delay).ok() }
    }

    /// The wait that holds now.
    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    /// It is restarted now: the next time it waits longer.
    pub(crate) fn restarted(&mut self, finished: Timestamp, now: Timestamp) {
        self.delay = if self.expired(finished) { FIRST } else { (self.delay * 2).min(MOST) };
        self.updated = Some(now);
    }
}

/// When a failed step is tried again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Retry {
    delay: Duration,
    since: Option<Timestamp>,
    at: Option<Timestamp>,
}

impl Retry {
    /// It failed now: the wait doubles from `first` to `most`.
    pub(crate) fn failed(&mut self, now: Timestamp, first: Duration, most: Duration) {
        self.delay = if self.delay.is_zero() { first } else { (self.delay * 2).min(most) };
        self.since = Some(now);
        self.at = now.checked_add(self.delay).ok();
    }

    /// When it failed last.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// It succeeded.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// From when it may be tried, if that is yet to come.
    pub(crate) fn pending(&self, now: Timestamp) -> Option<Timestamp> {
        self.at.filter(|at| *at > now)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Whether a container that does not run is to run (again), the pod itself going on.
pub(crate) fn should_run(spec: &PodSpec, container: &Container, slot: Option<&Slot>) -> bool {
    let Some(exited) = slot.and_then(Slot::exited) else { return true };
    if is_sidecar(container) {
        return true;
    }
    match container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always") {
        "Never" => false,
        "OnFailure" => exited.exit_code != 0,
        _ => true,
    }
}
