//! The few fields of a pod's JSON that its facts are made from; strings are borrowed from it.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{NOTED, Phase, Port};
use crate::pod::conditions::READY;

#[derive(Deserialize)]
pub(super) struct Glance<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Metadata<'a>,
    #[serde(borrow, default)]
    pub(super) spec: Spec<'a>,
    #[serde(borrow, default)]
    pub(super) status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) namespace: Option<Cow<'a, str>>,
    pub(super) annotations: Notes,
    pub(super) creation_timestamp: Option<Timestamp>,
    pub(super) deletion_timestamp: Option<Timestamp>,
    pub(super) deletion_grace_period_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec<'a> {
    #[serde(borrow)]
    pub(super) node_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) hostname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) subdomain: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) containers: Vec<Container<'a>>,
    #[serde(borrow)]
    pub(super) init_containers: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    pub(super) volumes: Option<Vec<Volume<'a>>>,
    #[serde(borrow)]
    pub(super) resource_claims: Option<Vec<Device<'a>>>,
    pub(super) affinity: Option<Affinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container<'a> {
    #[serde(borrow)]
    restart_policy: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ports: Option<Vec<ContainerPort<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    protocol: Option<Cow<'a, str>>,
    container_port: i32,
}

impl Container<'_> {
    pub(super) fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// The ports that have names.
    pub(super) fn named(&self) -> impl Iterator<Item = Port> {
        let named = |port: &ContainerPort<'_>| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").into();
            Some(Port { name: port.name.as_deref()?.into(), protocol, number: port.container_port })
        };
        self.ports.iter().flatten().filter_map(named)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) persistent_volume_claim: Option<Claim<'a>>,
    pub(super) ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim<'a> {
    #[serde(borrow, default)]
    pub(super) claim_name: Cow<'a, str>,
}

/// One of the pod's ResourceClaims, as it is wanted or as it was made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) resource_claim_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExtendedClaim<'a> {
    #[serde(borrow, default)]
    pub(super) resource_claim_name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Required>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Required {
    #[serde(default)]
    node_selector_terms: Vec<Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    match_fields: Option<Vec<Field>>,
}

#[derive(Deserialize)]
struct Field {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl Affinity {
    /// The first of what [`crate::pod::affinity::pinned`] tells.
    pub(super) fn pinned(self) -> Option<String> {
        let mut first = None;
        for term in self.node_affinity?.required?.node_selector_terms {
            let mut fields = term.match_fields.unwrap_or_default().into_iter();
            let named = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
            first = first.or_else(|| named.values?.into_iter().next());
        }
        first
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status<'a> {
    pub(super) phase: Phase,
    #[serde(rename = "podIP", borrow)]
    pub(super) pod_ip: Option<Cow<'a, str>>,
    #[serde(rename = "podIPs", borrow)]
    pub(super) pod_ips: Option<Vec<Address<'a>>>,
    #[serde(borrow)]
    conditions: Option<Vec<Condition<'a>>>,
    pub(super) container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) init_container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(borrow)]
    pub(super) resource_claim_statuses: Option<Vec<Device<'a>>>,
    #[serde(borrow)]
    pub(super) extended_resource_claim_status: Option<ExtendedClaim<'a>>,
}

impl Status<'_> {
    pub(super) fn ready(&self) -> Option<&Condition<'_>> {
        self.conditions.iter().flatten().find(|condition| condition.kind == READY)
    }
}

#[derive(Deserialize)]
pub(super) struct Address<'a> {
    #[serde(borrow, default)]
    pub(super) ip: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    pub(super) last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    #[serde(default)]
    pub(super) restart_count: i32,
    #[serde(default)]
    pub(super) state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    terminated: Option<Terminated>,
}

impl State {
    pub(super) fn finished(&self) -> Option<Timestamp> {
        self.terminated.as_ref()?.finished_at
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    finished_at: Option<Timestamp>,
}

/// Those of the annotations that are noted; the others are not even copied.
#[derive(Default)]
pub(super) struct Notes(pub(super) Box<[(&'static str, Box<str>)]>);

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Noted;
        impl<'de> Visitor<'de> for Noted {
            type Value = Notes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_unit<E>(self) -> Result<Notes, E> {
                Ok(Notes::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Notes, A::Error> {
                let mut found = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    match NOTED.into_iter().find(|noted| *noted == name) {
                        Some(noted) => found.push((noted, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Notes(found.into()))
            }
        }
        from.deserialize_any(Noted)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
