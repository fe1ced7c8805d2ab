//! The functions of one version of a custom resource.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use skiff_api::apply::{self, Owners};
use skiff_api::decode::{DecodeFault, decode};
use skiff_api::object::DecodeError;
use skiff_api::patch::strategic;
use skiff_api::{Decoded, Object, Resource, Strictness};

use super::draft::{self, Shape};
use super::path::Path;
use super::schema::Node;
use super::{columns, prune};
use crate::kinds::{Draft, Ops, Table};

/// See [`Ops`].
pub(super) struct Custom {
    shape: Arc<Shape>,
    columns: Arc<[columns::Column]>,
    /// Selectable fields: their names, and where they are.
    fields: Vec<(String, Path)>,
    apply: apply::Schema,
}

impl Custom {
    pub(super) fn new(
        resource: &Resource,
        version: &CustomResourceDefinitionVersion,
        node: &Arc<Node>,
    ) -> Self {
        let shape = Shape {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            node: Arc::clone(node),
            status: version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()),
        };
        let field = |field: &str| Some((field.trim_start_matches('.').to_owned(), Path::parse(field).ok()?));
        let fields = version.selectable_fields.iter().flatten().filter_map(|named| field(&named.json_path));
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = schema.and_then(|schema| skiff_api::decode::tree(schema).ok()).unwrap_or_default();
        Self {
            shape: Arc::new(shape),
            columns: columns::of(version).into(),
            fields: fields.collect(),
            apply: apply::custom(&schema),
        }
    }
}

/// Metadata, with the warnings that it gives.
fn metadata(value: Option<Value>, warnings: &mut Vec<String>) -> Result<ObjectMeta, DecodeFault> {
    let value = match value {
        None | Some(Value::Null) => return Ok(ObjectMeta::default()),
        Some(value) => value,
    };
    let json = serde_json::to_vec(&value).map_err(|error| DecodeFault::Malformed(error.to_string()))?;
    let decoded = decode::<ObjectMeta>(&json, Strictness::Warn)?;
    warnings.extend(
        decoded.warnings.into_iter().map(|warning| warning.replacen("field \"", "field \"metadata.", 1)),
    );
    Ok(decoded.object)
}

impl Ops for Custom {
    fn decode(&self, json: &[u8], strictness: Strictness) -> Result<Decoded<Box<dyn Draft>>, DecodeFault> {
        let Decoded { object: mut value, mut warnings } = decode::<Value>(json, Strictness::Warn)?;
        let mut gone = Vec::new();
        prune::prune(&self.shape.node, &mut value, &mut gone);
        warnings.extend(gone.iter().map(|path| format!("unknown field \"{path}\"")));
        let Value::Object(mut rest) = value else {
            return Err(DecodeFault::Malformed("the object is not a JSON object".to_owned()));
        };
        let mut meta = metadata(rest.remove("metadata"), &mut warnings)?;
        let owners = Owners::sent(meta.managed_fields.take());
        match strictness {
            Strictness::Strict if !warnings.is_empty() => return Err(DecodeFault::Strict(warnings)),
            Strictness::Ignore => warnings.clear(),
            Strictness::Strict | Strictness::Warn => {}
        }
        Ok(Decoded { object: Box::new(draft::Custom::new(&self.shape, meta, owners, rest)), warnings })
    }

    fn thaw(&self, object: &Object) -> Result<Box<dyn Draft>, DecodeError> {
        let fault = |error| DecodeError::untyped(object, error);
        let Value::Object(mut rest) = object.value().map_err(fault)? else {
            return Err(fault(serde::de::Error::custom("not an object")));
        };
        let owners = object.owners().map_err(fault)?;
        let mut meta = rest.remove("metadata").unwrap_or_default();
        meta.as_object_mut().and_then(|meta| meta.remove("managedFields"));
        let meta =
            serde_json::to_vec(&meta).and_then(|json| skiff_api::decode::from_slice(&json)).map_err(fault)?;
        Ok(Box::new(draft::Custom::new(&self.shape, meta, owners, rest)))
    }

    fn table(&self) -> Table {
        let headings = self.columns.iter().map(|column| column.heading.clone()).collect();
        let columns = Arc::clone(&self.columns);
        Table::new(headings, move |object, now| {
            let value = object.value().map_err(|error| DecodeError::untyped(object, error))?;
            Ok(columns.iter().map(|column| column.cell(&value, now)).collect())
        })
    }

    fn fields(&self, object: &Object) -> Result<Vec<(Cow<'static, str>, String)>, DecodeError> {
        if self.fields.is_empty() {
            return Ok(Vec::new());
        }
        let value = object.value().map_err(|error| DecodeError::untyped(object, error))?;
        let text = |path: &Path| match path.one(&value) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        Ok(self.fields.iter().map(|(name, path)| (name.clone().into(), text(path))).collect())
    }

    fn schema(&self, _generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }

    fn apply_schema(&self) -> apply::Schema {
        self.apply.clone()
    }

    fn patch_schema(&self) -> Arc<strategic::Schema> {
        // Never applied: strategic merge patches are refused. What is known of any object is its metadata.
        static META: LazyLock<Arc<strategic::Schema>> =
            LazyLock::new(|| Arc::new(strategic::Schema::of::<ObjectMeta>()));
        Arc::clone(&META)
    }
}
