//! Objects as rows of a table: what `kubectl get` prints.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use skiff_api::{ApiError, Object};

use super::media;
use crate::catalog::Entry;
use crate::kinds::Table;
use crate::request::Info;

/// What of an object its row carries (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    Nothing,
    Metadata,
    Whole,
}

/// How one request wants its tables.
pub(crate) struct View {
    entry: Arc<Entry>,
    version: &'static str,
    include: Include,
    now: Timestamp,
    table: Table,
}

impl View {
    /// # Errors
    /// 400 for an unknown `includeObject`.
    pub(crate) fn new(
        entry: &Arc<Entry>,
        info: &Info,
        version: &'static str,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let include = match info.query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::Nothing,
            Some("Object") => Include::Whole,
            Some(other) => {
                return Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}")));
            }
        };
        Ok(Self { entry: Arc::clone(entry), version, include, now, table: entry.ops.table() })
    }

    /// The table up to and with the opening of its rows.
    ///
    /// # Errors
    /// Never in practice: the headings are JSON.
    pub(crate) fn head(&self, metadata: &serde_json::Value, headings: bool) -> Result<Bytes, ApiError> {
        let name = json!({
            "name": "Name", "type": "string", "format": "name", "priority": 0,
            "description": "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
        });
        let mut columns = if self.entry.name_first { vec![name] } else { Vec::new() };
        for heading in &self.table.headings {
            columns.push(json!({
                "name": heading.name, "type": heading.kind, "format": heading.format,
                "description": heading.description, "priority": heading.priority,
            }));
        }
        let columns = if headings { serde_json::Value::Array(columns) } else { json!([]) };
        let columns = serde_json::to_string(&columns).map_err(ApiError::internal)?;
        Ok(format!(
            r#"{{"kind":"Table","apiVersion":"meta.k8s.io/{}","metadata":{metadata},"columnDefinitions":{columns},"rows":["#,
            self.version
        )
        .into())
    }

    /// One object's row.
    ///
    /// # Errors
    /// 500 if stored JSON cannot be read.
    pub(crate) fn row(&self, object: &Object) -> Result<Bytes, ApiError> {
        let mut cells = Vec::new();
        if self.entry.name_first {
            cells.push(serde_json::Value::from(&*object.meta().name));
        }
        cells.extend((self.table.printer)(object, self.now).map_err(ApiError::internal)?);
        let cells = serde_json::to_string(&cells).map_err(ApiError::internal)?;
        let object = match self.include {
            Include::Nothing => return Ok(format!(r#"{{"cells":{cells}}}"#).into()),
            Include::Metadata => media::partial(object, self.version)?,
            Include::Whole => object.bytes().clone(),
        };
        let mut row = Vec::with_capacity(object.len() + cells.len() + 24);
        row.extend_from_slice(format!(r#"{{"cells":{cells},"object":"#).as_bytes());
        row.extend_from_slice(&object);
        row.push(b'}');
        Ok(row.into())
    }
}
