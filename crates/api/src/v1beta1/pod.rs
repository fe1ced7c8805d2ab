//! Pod: labels, the state that is wanted and the state that is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::manifest::ContainerManifest;
use super::meta::{TypeMeta, keep_map, keep_text};
use super::validate;
use super::value::{self, Map};
use crate::errors::FieldError;

static ROW: Row = Row {
    segment: "pods",
    kind: "Pod",
    list_kind: "PodList",
    plural: "pods",
    word: "pod",
    free_names: true,
    paths: &[
        ("spec.nodeName", "desiredState.host"),
        ("spec.nodeSelector", "nodeSelector"),
        ("spec.serviceAccountName", "serviceAccount"),
        ("spec", "desiredState.manifest"),
        ("status", "currentState"),
    ],
    ..row::<Pod>()
};

/// A group of containers that share a minion and an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// Its labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// v1's spec.
    pub desired_state: PodState,
    /// v1's status.
    pub current_state: PodState,
    /// Which minions it may run on (B).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub node_selector: Map,
    /// Who it is towards the API (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
}

/// One type for both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodState {
    /// What runs; an empty shell in the current state.
    pub manifest: ContainerManifest,
    /// `Waiting`, `Running`, `Terminated`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Why (B).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The minion's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The minion's address; only a cloud provider told it, so it stays empty here.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// The pod's address.
    #[serde(rename = "podIP", skip_serializing_if = "String::is_empty")]
    pub pod_ip: String,
    /// What is known of each container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub info: BTreeMap<String, ContainerStatus>,
}

/// What is known of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// One of three.
    pub state: ContainerState,
    /// How often it was started again.
    pub restart_count: i64,
    /// Only on the entry `net`.
    #[serde(rename = "podIP", skip_serializing_if = "String::is_empty")]
    pub pod_ip: String,
    /// The image.
    pub image: String,
    /// The runtime's name for it (B).
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// The state before the last start (L).
    #[serde(skip_serializing_if = "is_stateless")]
    pub last_state: ContainerState,
    /// Whether it serves (L).
    #[serde(skip_serializing_if = "value::is_false")]
    pub ready: bool,
    /// The image's digest (L).
    #[serde(rename = "imageID", skip_serializing_if = "String::is_empty")]
    pub image_id: String,
}

/// At most one member is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// Not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Ended; v1 says `terminated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination: Option<Termination>,
}

fn is_stateless(state: &ContainerState) -> bool {
    *state == ContainerState::default()
}

/// Why a container is not started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// In a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Since when a container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Running {
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub started_at: Option<Time>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Termination {
    /// The exit code.
    pub exit_code: i64,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub signal: i64,
    /// In a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In its own words (B).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when it ran.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub finished_at: Option<Time>,
}

impl ContainerState {
    fn from_v1(state: Option<&v1::ContainerState>) -> Self {
        let Some(state) = state else { return Self::default() };
        Self {
            waiting: state
                .waiting
                .as_ref()
                .map(|waiting| Waiting { reason: value::text(waiting.reason.as_ref()) }),
            running: state.running.as_ref().map(|run| Running { started_at: run.started_at.clone() }),
            termination: state.terminated.as_ref().map(|end| Termination {
                exit_code: end.exit_code.into(),
                signal: end.signal.unwrap_or(0).into(),
                reason: value::text(end.reason.as_ref()),
                message: value::text(end.message.as_ref()),
                started_at: end.started_at.clone(),
                finished_at: end.finished_at.clone(),
            }),
        }
    }

    fn to_v1(&self) -> Option<v1::ContainerState> {
        let state = v1::ContainerState {
            waiting: self.waiting.as_ref().map(|waiting| v1::ContainerStateWaiting {
                reason: value::some(&waiting.reason),
                message: None,
            }),
            running: self
                .running
                .as_ref()
                .map(|run| v1::ContainerStateRunning { started_at: run.started_at.clone() }),
            terminated: self.termination.as_ref().map(|end| v1::ContainerStateTerminated {
                exit_code: value::clamp(end.exit_code),
                signal: (end.signal != 0).then(|| value::clamp(end.signal)),
                reason: value::some(&end.reason),
                message: value::some(&end.message),
                started_at: end.started_at.clone(),
                finished_at: end.finished_at.clone(),
                container_id: None,
            }),
        };
        (state != v1::ContainerState::default()).then_some(state)
    }
}

/// The entry that stood for the pause container; its address fed the pod's.
const NET: &str = "net";

fn info_from_v1(status: &v1::PodStatus) -> BTreeMap<String, ContainerStatus> {
    let mut info: BTreeMap<String, ContainerStatus> = status
        .container_statuses
        .iter()
        .flatten()
        .map(|seen| {
            let shown = ContainerStatus {
                state: ContainerState::from_v1(seen.state.as_ref()),
                restart_count: seen.restart_count.into(),
                pod_ip: String::new(),
                image: seen.image.clone(),
                container_id: value::text(seen.container_id.as_ref()),
                last_state: ContainerState::from_v1(seen.last_state.as_ref()),
                ready: seen.ready,
                image_id: seen.image_id.clone(),
            };
            (seen.name.clone(), shown)
        })
        .collect();
    if let Some(ip) = status.pod_ip.as_ref().filter(|ip| !ip.is_empty()) {
        let state = ContainerState {
            running: Some(Running { started_at: status.start_time.clone() }),
            ..ContainerState::default()
        };
        let net = ContainerStatus { pod_ip: ip.clone(), state, ..ContainerStatus::default() };
        info.entry(NET.to_owned()).or_insert(net);
    }
    info
}

fn info_to_v1(info: &BTreeMap<String, ContainerStatus>) -> Vec<v1::ContainerStatus> {
    info.iter()
        .filter(|(name, _)| name.as_str() != NET)
        .map(|(name, seen)| v1::ContainerStatus {
            name: name.clone(),
            state: seen.state.to_v1(),
            last_state: seen.last_state.to_v1(),
            restart_count: value::clamp(seen.restart_count),
            image: seen.image.clone(),
            image_id: seen.image_id.clone(),
            container_id: value::some(&seen.container_id),
            ready: seen.ready,
            ..v1::ContainerStatus::default()
        })
        .collect()
}

/// A phase in the words of 2014: both ends are `Terminated`, and what is not known is waited for.
pub fn status_word(phase: Option<&str>) -> &'static str {
    match phase {
        Some("Running") => "Running",
        Some("Succeeded" | "Failed") => "Terminated",
        _ => "Waiting",
    }
}

/// The phase behind a word of 2014; the exit codes tell the two ends apart.
fn phase(state: &PodState) -> Option<&'static str> {
    let ended_well = || {
        let mut ends = state.info.values().filter_map(|seen| seen.state.termination.as_ref()).peekable();
        ends.peek().is_some() && ends.all(|end| end.exit_code == 0)
    };
    match state.status.as_str() {
        "Waiting" | "Pending" => Some("Pending"),
        "Running" => Some("Running"),
        "Succeeded" => Some("Succeeded"),
        "Terminated" if ended_well() => Some("Succeeded"),
        "Terminated" | "Failed" => Some("Failed"),
        "Unknown" => Some("Unknown"),
        _ => None,
    }
}

impl Kind for Pod {
    type V1 = v1::Pod;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }
    fn labels(&self) -> Map {
        self.labels.clone()
    }

    fn from_v1(pod: &v1::Pod) -> Self {
        let empty_spec = v1::PodSpec::default();
        let empty_status = v1::PodStatus::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty_spec);
        let status = pod.status.as_ref().unwrap_or(&empty_status);
        let meta = TypeMeta::from_v1(&pod.metadata);
        let host = value::text(spec.node_name.as_ref());
        let mut manifest = ContainerManifest::from_v1(spec);
        manifest.id.clone_from(&meta.id);
        manifest.uuid = value::text(pod.metadata.uid.as_ref());
        let account = spec.service_account_name.clone().filter(|account| account != "default");
        Self {
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            desired_state: PodState {
                manifest,
                status: "Running".to_owned(),
                host: host.clone(),
                ..PodState::default()
            },
            current_state: PodState {
                status: status_word(status.phase.as_deref()).to_owned(),
                message: value::text(status.message.as_ref()),
                host,
                pod_ip: value::text(status.pod_ip.as_ref()),
                info: info_from_v1(status),
                ..PodState::default()
            },
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            service_account: account.unwrap_or_default(),
            meta,
        }
    }

    fn to_v1(&self) -> v1::Pod {
        let current = &self.current_state;
        let status = v1::PodStatus {
            phase: phase(current).map(str::to_owned),
            message: value::some(&current.message),
            pod_ip: value::some(&current.pod_ip),
            host_ip: value::some(&current.host_ip),
            container_statuses: value::some_list(info_to_v1(&current.info)),
            ..v1::PodStatus::default()
        };
        v1::Pod {
            metadata: self.meta.to_v1(&self.labels),
            spec: Some(v1::PodSpec {
                node_name: value::some(&self.desired_state.host),
                node_selector: value::some_map(&self.node_selector),
                service_account_name: value::some(&self.service_account),
                ..self.desired_state.manifest.to_v1()
            }),
            status: (status != v1::PodStatus::default()).then_some(status),
        }
    }

    fn prepare(&mut self) {
        let manifest = &mut self.desired_state.manifest;
        keep_text(&mut self.meta.id, &manifest.id);
        manifest.id.clone_from(&self.meta.id);
        manifest.uuid.clear();
        self.current_state = PodState::default();
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        self.desired_state.manifest.keep(&shown.desired_state.manifest);
        keep_text(&mut self.desired_state.host, &shown.desired_state.host);
        keep_map(&mut self.node_selector, &shown.node_selector);
        keep_text(&mut self.service_account, &shown.service_account);
        self.current_state = shown.current_state.clone();
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        validate::free_name(&self.meta, faults);
        validate::manifest("desiredState.manifest", &self.desired_state.manifest, faults);
    }
}
