//! Where the kubelet says what happened to a pod.
//!
//! A narrow trait of our own, so that workers, probes and volumes can be tested without an API server, and so
//! that none of them knows how events are counted and sent.

use k8s_openapi::api::core::v1::Pod;

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

/// Takes events about pods; never waits, never fails.
pub trait Record: Send + Sync {
    /// Something happened to a pod, or to the part of it that `field_path` names (`spec.containers{name}`).
    fn record(&self, pod: &Pod, field_path: Option<&str>, kind: EventKind, reason: &str, message: String);
}
