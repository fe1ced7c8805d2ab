//! The few fields of a pod's JSON that its row in a table is made from; texts are borrowed from it where they can be.
//!
//! Pods are listed by the ten thousand, and a typed pod is costly to make: all its fields, each in memory of its own.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

/// A pod at a glance; its metadata is decoded with every object.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Glimpse<'a> {
    #[serde(borrow)]
    pub(super) spec: Spec<'a>,
    #[serde(borrow)]
    pub(super) status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec<'a> {
    #[serde(borrow)]
    pub(super) containers: Vec<Container<'a>>,
    #[serde(borrow)]
    pub(super) init_containers: Vec<Container<'a>>,
    #[serde(borrow)]
    pub(super) node_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) readiness_gates: Vec<Gate<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    restart_policy: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gate<'a> {
    #[serde(borrow)]
    pub(super) condition_type: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status<'a> {
    #[serde(borrow)]
    pub(super) phase: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) nominated_node_name: Cow<'a, str>,
    #[serde(rename = "podIPs", borrow)]
    pub(super) pod_ips: Vec<Address<'a>>,
    #[serde(borrow)]
    pub(super) conditions: Vec<Condition<'a>>,
    #[serde(borrow)]
    pub(super) container_statuses: Vec<ContainerStatus<'a>>,
    #[serde(borrow)]
    pub(super) init_container_statuses: Vec<ContainerStatus<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Address<'a> {
    #[serde(borrow, default)]
    pub(super) ip: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Condition<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatus<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) ready: bool,
    pub(super) started: Option<bool>,
    pub(super) restart_count: i64,
    #[serde(borrow)]
    pub(super) state: State<'a>,
    #[serde(borrow)]
    pub(super) last_state: State<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct State<'a> {
    #[serde(borrow)]
    waiting: Option<Waiting<'a>>,
    pub(super) running: Option<Running>,
    #[serde(borrow)]
    pub(super) terminated: Option<Terminated<'a>>,
}

#[derive(Deserialize)]
struct Waiting<'a> {
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

/// That a container runs is all that is asked.
#[derive(Deserialize)]
pub(super) struct Running {}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Terminated<'a> {
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
    pub(super) signal: i32,
    pub(super) exit_code: i32,
    pub(super) finished_at: Option<Timestamp>,
}

impl Container<'_> {
    /// An init container that goes on running beside the others.
    pub(super) fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

impl ContainerStatus<'_> {
    /// Why it waits, if it does and says so.
    pub(super) fn waiting(&self) -> Option<&str> {
        self.state.waiting.as_ref().map(|waiting| &*waiting.reason).filter(|reason| !reason.is_empty())
    }
}

impl Status<'_> {
    pub(super) fn is_true(&self, kind: &str) -> bool {
        self.conditions.iter().any(|condition| condition.kind == kind && condition.status == "True")
    }
}
