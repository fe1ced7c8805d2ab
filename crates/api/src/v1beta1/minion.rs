//! Minion: a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::meta::{TypeMeta, keep_map, keep_text};
use super::validate;
use super::value::{self, Amount, Map};
use crate::errors::FieldError;

static ROW: Row = Row {
    segment: "minions",
    also: &["nodes"],
    kind: "Minion",
    kind_also: &["Node"],
    list_kind: "MinionList",
    plural: "nodes",
    namespaced: false,
    word: "minion",
    paths: &[("status.capacity", "resources.capacity"), ("spec", "")],
    ..row::<Minion>()
};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Minion {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// Its address.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// How much it has.
    pub resources: NodeResources,
    /// Its labels (B).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// How it is (B).
    pub status: MinionStatus,
    /// The addresses of its pods (L).
    #[serde(rename = "podCIDR", skip_serializing_if = "String::is_empty")]
    pub pod_cidr: String,
    /// Whether new pods are kept away (L).
    #[serde(skip_serializing_if = "value::is_false")]
    pub unschedulable: bool,
}

/// How much a minion has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeResources {
    /// `cpu` in cores, `memory` in bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, Amount>,
}

/// How a minion is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinionStatus {
    /// `Pending`, `Running`, `Terminated`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// One by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<MinionCondition>,
}

/// One aspect of how a minion is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MinionCondition {
    /// `Ready` and others.
    pub kind: String,
    /// `Full`, `None`, `Unknown`.
    pub status: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub last_transition_time: Option<Time>,
    /// In a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl MinionCondition {
    fn from_v1(condition: &v1::NodeCondition) -> Self {
        Self {
            kind: condition.type_.clone(),
            status: match condition.status.as_str() {
                "True" => "Full",
                "False" => "None",
                _ => "Unknown",
            }
            .to_owned(),
            last_transition_time: condition.last_transition_time.clone(),
            reason: value::text(condition.reason.as_ref()),
            message: value::text(condition.message.as_ref()),
        }
    }

    fn to_v1(&self) -> v1::NodeCondition {
        v1::NodeCondition {
            type_: self.kind.clone(),
            status: match self.status.as_str() {
                "Full" => "True",
                "None" => "False",
                _ => "Unknown",
            }
            .to_owned(),
            last_transition_time: self.last_transition_time.clone(),
            reason: value::some(&self.reason),
            message: value::some(&self.message),
            last_heartbeat_time: None,
        }
    }
}

impl Kind for Minion {
    type V1 = v1::Node;
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

    fn from_v1(node: &v1::Node) -> Self {
        let empty = v1::NodeStatus::default();
        let status = node.status.as_ref().unwrap_or(&empty);
        let spec = node.spec.as_ref();
        let inside = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP");
        // The two that 2014 had words for.
        let had = |name: &str| name == "cpu" || name == "memory";
        Self {
            meta: TypeMeta::from_v1(&node.metadata),
            host_ip: inside.map(|address| address.address.clone()).unwrap_or_default(),
            resources: NodeResources {
                capacity: status
                    .capacity
                    .iter()
                    .flatten()
                    .filter(|(name, _)| had(name))
                    .map(|(name, quantity)| (name.clone(), Amount::from_v1(quantity)))
                    .collect(),
            },
            labels: node.metadata.labels.clone().unwrap_or_default(),
            status: MinionStatus {
                phase: value::text(status.phase.as_ref()),
                conditions: status.conditions.iter().flatten().map(MinionCondition::from_v1).collect(),
            },
            pod_cidr: value::text(spec.and_then(|spec| spec.pod_cidr.as_ref())),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        }
    }

    fn to_v1(&self) -> v1::Node {
        let capacity: BTreeMap<_, _> =
            self.resources.capacity.iter().map(|(name, amount)| (name.clone(), amount.to_v1())).collect();
        let status = v1::NodeStatus {
            addresses: (!self.host_ip.is_empty()).then(|| {
                vec![v1::NodeAddress { type_: "InternalIP".to_owned(), address: self.host_ip.clone() }]
            }),
            capacity: (!capacity.is_empty()).then_some(capacity),
            conditions: value::some_list(self.status.conditions.iter().map(MinionCondition::to_v1).collect()),
            phase: value::some(&self.status.phase),
            ..v1::NodeStatus::default()
        };
        v1::Node {
            metadata: self.meta.to_v1(&self.labels),
            spec: Some(v1::NodeSpec {
                pod_cidr: value::some(&self.pod_cidr),
                unschedulable: self.unschedulable.then_some(true),
                ..v1::NodeSpec::default()
            }),
            status: (status != v1::NodeStatus::default()).then_some(status),
        }
    }

    /// Only labels could be changed (B); the rest is the agent's word.
    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        keep_map(&mut self.labels, &shown.labels);
        keep_text(&mut self.pod_cidr, &shown.pod_cidr);
        self.host_ip.clone_from(&shown.host_ip);
        self.resources = shown.resources.clone();
        self.status = shown.status.clone();
        self.unschedulable |= shown.unschedulable;
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        if self.meta.id.is_empty() {
            faults.push(validate::required("id"));
        }
    }
}
