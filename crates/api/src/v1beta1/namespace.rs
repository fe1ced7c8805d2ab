//! Namespace (L): a room for names.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::meta::TypeMeta;
use super::value::{self, Map};

static ROW: Row = Row {
    segment: "namespaces",
    kind: "Namespace",
    list_kind: "NamespaceList",
    plural: "namespaces",
    namespaced: false,
    word: "namespace",
    ..row::<Namespace>()
};

/// A room for names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// Its labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// Who must agree to its end.
    pub spec: NamespaceSpec,
    /// How it is.
    pub status: NamespaceStatus,
}

/// Who must agree to a namespace's end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// How a namespace is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

impl Kind for Namespace {
    type V1 = v1::Namespace;
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

    fn from_v1(namespace: &v1::Namespace) -> Self {
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone());
        let phase = namespace.status.as_ref().and_then(|status| status.phase.as_ref());
        Self {
            meta: TypeMeta::from_v1(&namespace.metadata),
            labels: namespace.metadata.labels.clone().unwrap_or_default(),
            spec: NamespaceSpec { finalizers: finalizers.unwrap_or_default() },
            status: NamespaceStatus { phase: value::text(phase) },
        }
    }

    fn to_v1(&self) -> v1::Namespace {
        let finalizers = value::some_list(self.spec.finalizers.clone());
        v1::Namespace {
            metadata: self.meta.to_v1(&self.labels),
            spec: Some(v1::NamespaceSpec { finalizers }),
            status: value::some(&self.status.phase)
                .map(|phase| v1::NamespaceStatus { phase: Some(phase), conditions: None }),
        }
    }

    fn keep(&mut self, shown: &Self) {
        let (labels, spec) = (self.labels.clone(), shown.spec.clone());
        let mut meta = std::mem::take(&mut self.meta);
        meta.keep(&shown.meta);
        *self = Self { meta, labels, spec, status: shown.status.clone() };
    }
}
