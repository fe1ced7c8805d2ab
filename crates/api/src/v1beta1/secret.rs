//! Secret (L): values by key, in base64.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::kind::{Kind, Row, row};
use super::meta::{TypeMeta, keep_text};
use super::value::{self, Map};

static ROW: Row = Row {
    segment: "secrets",
    kind: "Secret",
    list_kind: "SecretList",
    plural: "secrets",
    word: "secret",
    ..row::<Secret>()
};

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// Its labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// The values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, ByteString>,
    /// What it is for.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind_of: String,
}

impl Kind for Secret {
    type V1 = v1::Secret;
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

    fn from_v1(secret: &v1::Secret) -> Self {
        Self {
            meta: TypeMeta::from_v1(&secret.metadata),
            labels: secret.metadata.labels.clone().unwrap_or_default(),
            data: secret.data.clone().unwrap_or_default(),
            kind_of: value::text(secret.type_.as_ref()),
        }
    }

    fn to_v1(&self) -> v1::Secret {
        v1::Secret {
            metadata: self.meta.to_v1(&self.labels),
            data: (!self.data.is_empty()).then(|| self.data.clone()),
            type_: value::some(&self.kind_of),
            ..v1::Secret::default()
        }
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        keep_text(&mut self.kind_of, &shown.kind_of);
    }
}
