//! All that is known about one pod on this node: owned by its worker, read by the pure functions.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::restart::Retry;
use crate::runtime::{ContainerState, ContainerStatus, SandboxState, SandboxStatus};

/// Everything about a pod here, now.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodState {
    /// When this kubelet first accepted the pod.
    pub(crate) accepted_at: Timestamp,
    /// The newest sandbox.
    pub(crate) sandbox: Option<SandboxStatus>,
    /// What is being done to the sandbox.
    pub(crate) sandbox_work: Option<SandboxWork>,
    /// How many sandboxes failed: a runtime may keep the name of a failed one taken.
    pub(crate) sandbox_failures: u32,
    /// When a failed sandbox is tried again.
    pub(crate) sandbox_retry: Retry,
    /// Sandboxes of before, still to be removed.
    pub(crate) old_sandboxes: Vec<String>,
    /// Where the volumes are.
    pub(crate) volumes: VolumeState,
    /// When failed volumes are tried again.
    pub(crate) volume_retry: Retry,
    /// How far the devices are that the pod claims.
    pub(crate) devices: DeviceState,
    /// When those that failed are tried again.
    pub(crate) device_retry: Retry,
    /// Each container by name.
    pub(crate) slots: BTreeMap<String, Slot>,
    /// Why the pod is over, if something other than its containers decides so.
    pub(crate) verdict: Option<Verdict>,
    /// The object is not in its source any more.
    pub(crate) gone: bool,
    /// The object's deletion from the API is under way or done.
    pub(crate) delete: Progress,
    /// The removal of what the runtime and the disk hold of it.
    pub(crate) removal: Progress,
    /// When a failed deletion or removal is tried again.
    pub(crate) end_retry: Retry,
    /// What the node has in all.
    pub(crate) room: Room,
    /// Containers are being given what they may use now.
    pub(crate) resizing: bool,
    /// When that, having failed, is tried again.
    pub(crate) resize_retry: Retry,
    /// Why they must wait for it: other pods leave no room.
    pub(crate) deferred: Option<String>,
}

/// What a node has in all, or a pod of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Processors, in thousandths.
    pub(crate) cpu_milli: i64,
    /// Bytes of memory.
    pub(crate) memory: i64,
}

/// How far a one-time piece of work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    #[default]
    Open,
    Busy,
    Done,
}

/// What is being done to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SandboxWork {
    Running,
    Stopping,
}

/// Where a pod's volumes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum VolumeState {
    #[default]
    Absent,
    Mounting,
    Mounted,
    Unmounting,
    /// Nothing of them is left and nothing will come: the pod is over.
    Removed,
}

/// How far a pod's claimed devices are. They are taken back together with its volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeviceState {
    #[default]
    Absent,
    Preparing,
    Prepared,
}

/// Why a pod is over although its containers may say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The node never let it in: it gets no sandbox and no volumes.
    pub(crate) rejected: bool,
    /// Its containers get this long at most to end.
    pub(crate) grace: Option<Duration>,
    /// It goes for the node's sake, not its own: its condition `DisruptionTarget` says so.
    pub(crate) disruption: bool,
}

/// What is being done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Its image and its configuration are being fetched.
    Preparing,
    /// It is being created and started.
    Starting,
    /// It is being stopped.
    Killing,
}

/// Why a container does not run yet, as its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// One container name of a pod over all its attempts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot {
    /// What is being done.
    pub(crate) work: Option<Work>,
    /// Image and configuration are here; the next step is to start.
    pub(crate) prepared: bool,
    /// What the runtime knows, newest first.
    pub(crate) history: Vec<ContainerStatus>,
    /// Why it does not run.
    pub(crate) waiting: Option<Waiting>,
    /// When a failed preparation or start is tried again.
    pub(crate) retry: Retry,
    /// When it may be restarted after it ended.
    pub(crate) restarts: super::restart::RestartBackoff,
    /// What its startup probe says; true without one.
    pub(crate) started: bool,
    /// What its readiness probe says; true without one.
    pub(crate) ready: bool,
    /// Its liveness or startup probe failed: the reason to kill it.
    pub(crate) unhealthy: Option<String>,
    /// The requests and limits that it was given after it was made, as `resize::text` writes them.
    pub(crate) given: Option<String>,
}

impl Slot {
    /// The newest attempt.
    pub(crate) fn newest(&self) -> Option<&ContainerStatus> {
        self.history.first()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.newest().is_some_and(|status| status.state == ContainerState::Running)
    }

    /// How it ended, if its newest attempt did.
    pub(crate) fn exited(&self) -> Option<&ContainerStatus> {
        self.newest().filter(|status| status.state == ContainerState::Exited)
    }

    /// Whether its newest attempt ended well.
    pub(crate) fn succeeded(&self) -> bool {
        self.exited().is_some_and(|status| status.exit_code == 0)
    }

    /// Whether something is there or coming that must end before the pod has.
    pub(crate) fn is_alive(&self) -> bool {
        let there = self
            .newest()
            .is_some_and(|status| matches!(status.state, ContainerState::Running | ContainerState::Unknown));
        there || matches!(self.work, Some(Work::Starting | Work::Killing))
    }
}

impl PodState {
    /// The sandbox, if it is of use.
    pub(crate) fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandbox.as_ref().filter(|status| status.sandbox.state == SandboxState::Ready)
    }

    /// A container's slot; absent is as good as empty.
    pub(crate) fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.get(name)
    }

    /// Whether any container is there or coming.
    pub(crate) fn any_alive(&self) -> bool {
        self.slots.values().any(Slot::is_alive)
    }
}
