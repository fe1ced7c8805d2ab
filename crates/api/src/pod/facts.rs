//! What controllers ask of every pod, whether they work on it or not: where it is, whether it has ended, what it claims.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::object::Facts;
use crate::{meta, pod, volume};

/// The facts of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// The node that it is bound to.
    pub node: Option<Box<str>>,
    /// Whether none of its containers will run again.
    pub finished: bool,
    /// The claims behind its volumes, each as `namespace/name`.
    pub claims: Box<[Box<str>]>,
}

impl Facts for PodFacts {
    type Of = Pod;

    fn of(pod: &Pod) -> Self {
        let namespace = pod.metadata.namespace.as_deref();
        Self {
            node: pod::node_name(pod).map(Into::into),
            finished: pod::is_finished(pod),
            claims: volume::claims(pod).map(|(claim, _)| (&*meta::key(namespace, &claim)).into()).collect(),
        }
    }

    fn read(json: &[u8]) -> serde_json::Result<Self> {
        let Glance { metadata, spec, status } = serde_json::from_slice(json)?;
        let claim = |volume: Volume<'_>| match (volume.persistent_volume_claim, volume.ephemeral) {
            (Some(source), _) => Some(source.claim_name.into_owned()),
            (None, Some(_)) => Some(format!("{}-{}", metadata.name, volume.name)),
            (None, None) => None,
        };
        let claims = spec.volumes.unwrap_or_default().into_iter().filter_map(claim);
        Ok(Self {
            node: spec.node_name.filter(|node| !node.is_empty()).map(|node| node.as_ref().into()),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            claims: claims.map(|claim| (&*meta::key(metadata.namespace.as_deref(), &claim)).into()).collect(),
        })
    }
}

#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Spec<'a>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    node_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    volumes: Option<Vec<Volume<'a>>>,
}

#[derive(Default, Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    persistent_volume_claim: Option<Claim<'a>>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim<'a> {
    #[serde(borrow, default)]
    claim_name: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::Object;

    #[test]
    fn a_glance_at_the_json_tells_what_the_typed_form_tells() {
        let pods = [
            json!({"metadata": {"name": "a", "namespace": "n"}}),
            json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"containers": [], "nodeName": ""},
                   "status": {"phase": "Running"}}),
            json!({"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": "Failed"},
                   "spec": {"containers": [], "nodeName": "one", "volumes": [
                       {"name": "x", "emptyDir": {}},
                       {"name": "y", "persistentVolumeClaim": {"claimName": "c"}},
                       {"name": "z", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}}),
        ];
        for (pod, claims) in pods.into_iter().zip([0, 0, 2]) {
            let object = Object::parse(Bytes::from(pod.to_string())).unwrap();
            let glanced = object.facts::<PodFacts>();
            assert_eq!(*glanced, PodFacts::of(&object.decode().unwrap()), "{pod}");
            assert_eq!(glanced.claims.len(), claims);
        }
    }
}
