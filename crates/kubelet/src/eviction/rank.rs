//! Which pod goes first when a node is short; pure.
//!
//! Follows upstream: who uses more than it asked for goes before who does not, then the lower priority, then who uses the most
//! beyond what it asked for. What uses process ids goes by priority, then by their number. Nothing known of a pod's use means
//! that it barely began, and losing it costs the least.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::core::v1::Pod;
use skiff_api::pod::requests;

use super::signal::{Resource, Signal};
use super::usage::PodUse;

/// A pod that may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) pod: &'a Pod,
    /// Nothing if not known.
    pub(crate) usage: Option<&'a PodUse>,
}

/// The pod's priority; without a class it is nobody's.
pub(crate) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// Puts those who go first before the others. `apart`: images have a disk of their own.
pub(crate) fn order(signal: Signal, apart: bool, candidates: &mut [Candidate<'_>]) {
    candidates.sort_by(|a, b| compare(signal, apart, a, b));
}

fn compare(signal: Signal, apart: bool, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let by_priority = priority(a.pod).cmp(&priority(b.pod));
    // Who is not known goes first.
    let known = |one: &Candidate<'_>| one.usage.is_some();
    let (Some(a_uses), Some(b_uses)) = (a.usage, b.usage) else {
        let by_knowledge = known(a).cmp(&known(b));
        return if signal.resource() == Resource::Pids {
            by_priority.then(by_knowledge)
        } else {
            by_knowledge.then(by_priority)
        };
    };
    let beyond = |one: &Candidate<'_>, uses: &PodUse| {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let asked = one.pod.spec.as_ref().map(requests::of).unwrap_or_default();
        match signal.resource() {
            Resource::Memory => int(uses.memory()) - asked.memory,
            Resource::Storage => int(uses.on(signal, apart).bytes) - asked.storage,
            Resource::Inodes => int(uses.on(signal, apart).inodes),
            Resource::Pids => int(uses.processes),
        }
    };
    let (a_beyond, b_beyond) = (beyond(a, a_uses), beyond(b, b_uses));
    let by_excess = Reverse(a_beyond).cmp(&Reverse(b_beyond));
    if signal.resource() == Resource::Pids {
        return by_priority.then(by_excess);
    }
    Reverse(a_beyond > 0).cmp(&Reverse(b_beyond > 0)).then(by_priority).then(by_excess)
}
