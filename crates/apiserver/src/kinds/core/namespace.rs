//! Namespace: a scope for names.

use k8s_openapi::api::core::v1::Namespace;
use skiff_api::names;

use crate::kinds::{Column, Kind, Row, row};

/// The row of Namespace.
pub(crate) const KIND: Row =
    Row { short: &["ns"], status: true, name_rule: names::dns1123_label, ..row::<Namespace>() };

impl Kind for Namespace {
    fn columns() -> Vec<Column<Self>> {
        let phase = |namespace: &Self, _| {
            namespace.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default().into()
        };
        vec![Column::text("Status", phase), Column::age()]
    }
}
