//! What controllers ask of every node: whom it keeps away.

use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

use crate::object::Facts;

/// The facts of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// Its taints.
    pub taints: Box<[Taint]>,
}

impl Facts for NodeFacts {
    fn read(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Glance {
            #[serde(default)]
            spec: Spec,
        }
        #[derive(Default, Deserialize)]
        struct Spec {
            taints: Option<Vec<Taint>>,
        }
        let glance: Glance = serde_json::from_slice(json)?;
        Ok(Self { taints: glance.spec.taints.unwrap_or_default().into() })
    }
}
