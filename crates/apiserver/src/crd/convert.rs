//! Between the versions of a custom resource: only the name of the version changes (strategy `None`), or a webhook is asked.
//!
//! What is stored may also be older than the present schema: then it is pruned and defaulted on its way out, as if it had
//! been written now. Objects written since the schema took effect pass untouched, bytes and all.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use skiff_api::{ApiError, Object};

use super::schema::Node;
use super::webhook::{self, Hook};
use super::{defaults, prune};
use crate::api::Api;
use crate::conversion::Conversion;

/// All versions of one kind.
pub(super) struct Family {
    group: String,
    storage: String,
    nodes: HashMap<String, Arc<Node>>,
    webhook: Option<Hook>,
    kind: String,
    /// Objects written after this revision are as the present schema has them.
    since: u64,
    api: Weak<Api>,
}

impl Family {
    pub(super) fn new(crd: &CustomResourceDefinition, since: u64, api: &Arc<Api>) -> Self {
        let node = |version: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion| {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            // Of old, a definition could keep everything for all its versions.
            let keeps = crd.spec.preserve_unknown_fields == Some(true);
            let mut node = schema.map_or_else(Node::anything, Node::root);
            node.preserve |= keeps;
            (version.name.clone(), Arc::new(node))
        };
        let conversion = crd.spec.conversion.as_ref().filter(|conversion| conversion.strategy == "Webhook");
        let storage = crd.spec.versions.iter().find(|version| version.storage);
        Self {
            group: crd.spec.group.clone(),
            storage: storage.map(|version| version.name.clone()).unwrap_or_default(),
            nodes: crd.spec.versions.iter().map(node).collect(),
            webhook: conversion.and_then(|conversion| conversion.webhook.as_ref()).and_then(Hook::of),
            kind: crd.spec.names.kind.clone(),
            since,
            api: Weak::clone(&Arc::downgrade(api)),
        }
    }

    /// The schema of a version.
    pub(super) fn node(&self, version: &str) -> Arc<Node> {
        self.nodes.get(version).cloned().unwrap_or_else(|| Arc::new(Node::anything()))
    }

    fn api_version(&self, version: &str) -> String {
        format!("{}/{version}", self.group)
    }

    /// Objects in `version`, whatever they are in.
    async fn convert(&self, mut objects: Vec<Value>, version: &str) -> Result<Vec<Value>, ApiError> {
        let wanted = self.api_version(version);
        let foreign: Vec<usize> =
            (0..objects.len()).filter(|index| objects[*index]["apiVersion"] != *wanted).collect();
        match &self.webhook {
            Some(hook) if !foreign.is_empty() => {
                let api =
                    self.api.upgrade().ok_or_else(|| ApiError::unavailable("the server is shutting down"))?;
                let sent: Vec<Value> = foreign.iter().map(|index| objects[*index].clone()).collect();
                let converted = webhook::convert(&api, hook, &self.kind, &wanted, sent).await?;
                for (index, converted) in foreign.into_iter().zip(converted) {
                    objects[index] = converted;
                }
            }
            _ => foreign.into_iter().for_each(|index| objects[index]["apiVersion"] = wanted.as_str().into()),
        }
        Ok(objects)
    }
}

/// The way to one version and back.
pub(super) struct Converts {
    family: Arc<Family>,
    version: String,
    /// How the JSON of an object of the version begins.
    head: String,
}

impl Converts {
    pub(super) fn new(family: &Arc<Family>, version: &str) -> Self {
        let head = format!(r#"{{"apiVersion":"{}","#, family.api_version(version));
        Self { family: Arc::clone(family), version: version.to_owned(), head }
    }
}

fn encode(value: &Value) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(ApiError::internal)
}

/// A converted object as if it had been written in its version now.
fn fitted(node: &Node, mut value: Value) -> Value {
    prune::prune(node, &mut value, &mut Vec::new());
    let metadata = value.get_mut("metadata").map(Value::take);
    defaults::fill(node, &mut value);
    value["metadata"] = metadata.unwrap_or_default();
    value
}

impl Conversion for Converts {
    fn stores_as_is(&self) -> bool {
        self.version == self.family.storage
    }

    fn is_served(&self, stored: &Object) -> bool {
        stored.meta().revision > self.family.since && stored.bytes().starts_with(self.head.as_bytes())
    }

    fn serve(&self, stored: Vec<Arc<Object>>) -> BoxFuture<'_, Result<Vec<Object>, ApiError>> {
        let values: Result<Vec<Value>, _> = stored.iter().map(|object| object.value()).collect();
        let values = match values {
            Ok(values) => values,
            Err(error) => return Box::pin(ready(Err(ApiError::internal(error)))),
        };
        Box::pin(async move {
            let node = self.family.node(&self.version);
            let object =
                |value: Value| Object::parse(encode(&fitted(&node, value))?).map_err(ApiError::internal);
            self.family.convert(values, &self.version).await?.into_iter().map(object).collect()
        })
    }

    fn store(&self, served: Bytes) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        Box::pin(async move {
            let value = serde_json::from_slice(&served).map_err(ApiError::internal)?;
            let mut stored = self.family.convert(vec![value], &self.family.storage).await?;
            let value = stored.pop().ok_or_else(|| ApiError::internal("an object was lost in conversion"))?;
            // Who reads it in the stored version reads these bytes, so they have that version's defaults.
            encode(&fitted(&self.family.node(&self.family.storage), value))
        })
    }
}
