//! Binding: puts a pod on a minion. Write-only.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::meta::TypeMeta;
use super::validate;
use super::value::{self, Map};
use crate::errors::FieldError;

static ROW: Row = Row {
    segment: "bindings",
    kind: "Binding",
    list_kind: "BindingList",
    plural: "bindings",
    word: "binding",
    paths: &[("target.name", "host"), ("metadata.name", "podID")],
    ..row::<Binding>()
};

/// Puts a pod on a minion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// Which pod.
    #[serde(rename = "podID")]
    pub pod_id: String,
    /// Which minion.
    pub host: String,
}

impl Kind for Binding {
    type V1 = v1::Binding;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }

    fn from_v1(binding: &v1::Binding) -> Self {
        let mut meta = TypeMeta::from_v1(&binding.metadata);
        let pod_id = std::mem::take(&mut meta.id);
        Self { meta, pod_id, host: value::text(binding.target.name.as_ref()) }
    }

    fn to_v1(&self) -> v1::Binding {
        let mut metadata = self.meta.to_v1(&Map::new());
        metadata.name = value::some(&self.pod_id);
        v1::Binding {
            metadata,
            target: v1::ObjectReference {
                kind: Some("Node".to_owned()),
                name: value::some(&self.host),
                ..v1::ObjectReference::default()
            },
        }
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        if self.pod_id.is_empty() {
            faults.push(validate::required("podID"));
        }
        if self.host.is_empty() {
            faults.push(validate::required("host"));
        }
    }
}
