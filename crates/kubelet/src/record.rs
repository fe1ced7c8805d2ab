//! Where the kubelet says what happened to a pod.
//!
//! A narrow trait of our own, so that workers, probes and volumes can be tested without an API server, and so
//! that none of them knows how events are counted and sent.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

/// Whether something went as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It did.
    Normal,
    /// Someone may want to look.
    Warning,
}

impl EventKind {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Takes events about pods and their claims; never waits, never fails.
pub trait Record: Send + Sync {
    /// Something happened to a pod, or to the part of it that `field_path` names (`spec.containers{name}`).
    fn record(&self, pod: &Pod, field_path: Option<&str>, kind: EventKind, reason: &str, message: String);

    /// Something happened to a claim that a pod here uses.
    fn record_claim(
        &self,
        _claim: &PersistentVolumeClaim,
        _kind: EventKind,
        _reason: &str,
        _message: String,
    ) {
    }
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecord;

impl Record for NoRecord {
    fn record(&self, _: &Pod, _: Option<&str>, _: EventKind, _: &str, _: String) {}
}
