//! Custom resources: kinds that are written down as objects and served while they are.
//!
//! A CustomResourceDefinition becomes one [`Entry`] for each served version. Its functions work on `serde_json::Value`
//! under a compiled structural schema: prune, default, validate, in the same registry and with the same verbs as built-in
//! kinds. [`controller`] keeps the catalog and the definitions' status in step.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
};
use skiff_api::Resource;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::catalog::{Entry, Held};

mod columns;
pub(crate) mod controller;
mod convert;
mod defaults;
mod draft;
mod formats;
mod lists;
pub(crate) mod names;
mod ops;
mod path;
mod prune;
pub(crate) mod publish;
mod rules;
pub(crate) mod scale;
pub(crate) mod schema;
pub(crate) mod structural;
mod validate;
mod webhook;

pub(crate) use path::Path;
pub(crate) use schema::Node;

/// The entries of a definition whose names are accepted: one for each version, and whether that is served. Objects written
/// after `since` are as the schema has them; `gone` ends watches when the kind goes.
pub(crate) fn entries(
    crd: &CustomResourceDefinition,
    since: u64,
    gone: &CancellationToken,
    api: &Arc<Api>,
) -> Vec<(bool, Arc<Entry>)> {
    let names = crd.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    let Some(names) = names.filter(|names| !names.plural.is_empty()) else { return Vec::new() };
    let family = Arc::new(convert::Family::new(crd, since, api));
    let one = |version: &CustomResourceDefinitionVersion| {
        let ending = crd.metadata.deletion_timestamp.is_some();
        let entry = Entry { ending, gone: gone.clone(), ..entry(crd, names, version, &family) };
        (version.served, Arc::new(entry))
    };
    crd.spec.versions.iter().map(one).collect()
}

fn entry(
    crd: &CustomResourceDefinition,
    names: &CustomResourceDefinitionNames,
    version: &CustomResourceDefinitionVersion,
    family: &Arc<convert::Family>,
) -> Entry {
    let shared =
        |names: &Option<Vec<String>>| names.iter().flatten().map(|name| name.as_str().into()).collect();
    let resource = Resource {
        group: crd.spec.group.as_str().into(),
        version: version.name.as_str().into(),
        plural: names.plural.as_str().into(),
        kind: names.kind.as_str().into(),
        namespaced: crd.spec.scope == "Namespaced",
    };
    let node = family.node(&version.name);
    let ops = ops::Custom::new(&resource, version, &node);
    let subresources = version.subresources.as_ref();
    let list_kind = names.list_kind.clone().unwrap_or_else(|| format!("{}List", names.kind));
    let entry = Entry {
        list_kind: list_kind.into(),
        singular: names.singular.clone().unwrap_or_else(|| names.kind.to_lowercase()).into(),
        short: shared(&names.short_names),
        categories: shared(&names.categories),
        status: subresources.is_some_and(|sub| sub.status.is_some()),
        scale: subresources.and_then(|sub| sub.scale.as_ref()).map(|scale| Arc::new(scale::Paths::of(scale))),
        unconditional_update: false,
        conversion: Some(Held::Counted(Arc::new(convert::Converts::new(family, &version.name)))),
        deprecation: version.deprecated.unwrap_or(false).then(|| deprecation(&resource, version)),
        published: publish::schema(&resource, version),
        ..Entry::plain(resource, Held::Counted(Arc::new(ops)))
    };
    entry.finished()
}

fn deprecation(resource: &Resource, version: &CustomResourceDefinitionVersion) -> String {
    let said = version.deprecation_warning.clone();
    said.unwrap_or_else(|| format!("{} {} is deprecated", resource.api_version(), resource.kind))
}
