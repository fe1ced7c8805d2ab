//! What there is to ask for: groups, versions, resources, verbs. Derived from the table of kinds, and from what other
//! servers say of theirs.
//!
//! Two forms: the old one, a document per group and version, and the aggregated one, all in two documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skiff_api::Resource;

use crate::aggregate::{Merged, Services};
use crate::api::Api;
use crate::catalog::{Entry, Kinds};
use crate::reviews::Review;
use crate::subresource;
use crate::wire::{self, Body, Response};
use crate::{aggregate, openapi, resource_metrics};

/// The architecture as Go names it.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A group and its versions, the preferred one first.
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) versions: Vec<Arc<str>>,
}

/// Every group, as clients prefer them: as their APIServices say, or would say.
pub(crate) fn groups(kinds: &Kinds, services: &Services) -> Vec<Group> {
    let mut found: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut add = |group: &str, version: &str| {
        found.entry(group.into()).or_default().insert(version.into());
    };
    for entry in kinds.entries() {
        add(&entry.resource.group, &entry.resource.version);
    }
    for review in kinds.reviews() {
        add(review.group, review.version);
    }
    add(resource_metrics::GROUP, resource_metrics::VERSION);
    for (service, _) in services.remote() {
        add(&service.group, &service.version);
    }
    let ordered = |(name, versions): (Arc<str>, BTreeSet<Arc<str>>)| {
        let priority = |version: &Arc<str>| match services.get(&name, version) {
            Some(service) => service.priority,
            None => aggregate::priority_of(&name, version).unwrap_or(aggregate::DEFINED),
        };
        let mut versions: Vec<Arc<str>> = versions.into_iter().collect();
        let first = versions
            .iter()
            .map(|version| (std::cmp::Reverse(priority(version).group), format!("{version}.{name}")))
            .min();
        versions.sort_by_key(|version| std::cmp::Reverse((priority(version).version, Maturity::of(version))));
        // Nothing else could be found if this group were not.
        (*name != *REGISTRATION, first, Group { name, versions })
    };
    let mut groups: Vec<_> = found.into_iter().map(ordered).collect();
    groups.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    groups.into_iter().map(|(.., group)| group).collect()
}

/// The group of APIServices themselves, which nobody else may serve.
const REGISTRATION: &str = "apiregistration.k8s.io";

/// Orders versions as clients prefer them: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then all others by name.
/// Follows upstream's `k8s.io/apimachinery/pkg/version/helpers.go`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Maturity {
    stage: u8,
    major: u64,
    minor: u64,
    /// Among versions that follow no scheme the alphabet decides, first letters first.
    other: std::cmp::Reverse<String>,
}

impl Maturity {
    pub(crate) fn of(version: &str) -> Self {
        Self::known(version).unwrap_or_else(|| Self {
            stage: 0,
            major: 0,
            minor: 0,
            other: std::cmp::Reverse(version.to_owned()),
        })
    }

    fn known(version: &str) -> Option<Self> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok().filter(|major| *major > 0)?;
        let (stage, minor) = match &rest[digits..] {
            "" => (3, 0),
            other => {
                let (stage, minor) = other
                    .strip_prefix("beta")
                    .map(|minor| (2, minor))
                    .or(other.strip_prefix("alpha").map(|minor| (1, minor)))?;
                (stage, minor.parse().ok().filter(|minor| *minor > 0)?)
            }
        };
        Some(Self { stage, major, minor, other: std::cmp::Reverse(String::new()) })
    }
}

/// Answers a discovery or OpenAPI path; nothing for others.
pub(crate) fn serve(api: &Api, parts: &[&str], headers: &HeaderMap) -> Option<Response> {
    let (kinds, services) = (api.catalog.kinds(), api.aggregation.services(api));
    match parts {
        ["api"] => Some(match aggregated(headers) {
            Some(version) => aggregated_form(&kinds, &services, version, true),
            None => wire::encoded(200, &core_versions(api)),
        }),
        ["apis"] => Some(match aggregated(headers) {
            Some(version) => aggregated_form(&kinds, &services, version, false),
            None => wire::encoded(200, &group_list(&kinds, &services)),
        }),
        ["api", version] => resources(&kinds, "", version),
        ["apis", group] => {
            let group = groups(&kinds, &services).into_iter().find(|own| *own.name == **group)?;
            let mut body = group_entry(&group);
            body["kind"] = "APIGroup".into();
            body["apiVersion"] = "v1".into();
            Some(wire::encoded(200, &body))
        }
        ["apis", group, version] => resources(&kinds, group, version),
        ["openapi", "v2"] => openapi_v2(api, &kinds, &services, headers),
        ["openapi", "v3"] => {
            document(Some(Merged::v3_index(kinds.documents.v3_index(), &services)), wire::JSON, headers)
        }
        ["openapi", "v3", rest @ ..] => document(kinds.documents.v3(&rest.join("/")), wire::JSON, headers),
        _ => None,
    }
}

/// Clients from before OpenAPI v3 know the document in protobuf only.
fn openapi_v2(api: &Api, kinds: &Arc<Kinds>, services: &Services, headers: &HeaderMap) -> Option<Response> {
    let accepted =
        headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = accepted.split(',').next().unwrap_or_default().trim();
    let protobuf = first.starts_with("application/com.github.proto-openapi.spec.v2");
    let merged = api.aggregation.documents.v2(kinds, services, protobuf);
    // In the answer the `@` is a dot, as upstream's: it is no legal character of a media type.
    if protobuf {
        let whole = merged.unwrap_or_else(|| kinds.documents.v2_protobuf(kinds));
        return document(Some(whole), &openapi::V2_PROTOBUF.replace('@', "."), headers);
    }
    let whole = merged.unwrap_or_else(|| kinds.documents.v2(kinds));
    document(Some(whole), wire::JSON, headers)
}

fn document(found: Option<openapi::Document>, kind: &str, headers: &HeaderMap) -> Option<Response> {
    let found = found?;
    let tag = format!("\"{}\"", found.etag.trim_matches('"'));
    let known = headers.get("if-none-match").and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        wire::answer(304, kind, Body::empty())
    } else {
        wire::answer(200, kind, Body::full(found.body))
    };
    if let Ok(tag) = http::HeaderValue::from_str(&tag) {
        response.headers_mut().insert("etag", tag);
    }
    Some(response)
}

/// The version of the aggregated form that the client wants before the old form, if it does.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(http::header::ACCEPT)?.to_str().ok()?;
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        if parts.next() != Some("application/json") {
            continue;
        }
        let parts: Vec<&str> = parts.collect();
        let wanted = parts.contains(&"as=APIGroupDiscoveryList") && parts.contains(&"g=apidiscovery.k8s.io");
        if wanted && parts.contains(&"v=v2") {
            return Some("v2");
        }
        if wanted && parts.contains(&"v=v2beta1") {
            return Some("v2beta1");
        }
        if !wanted {
            return None;
        }
    }
    None
}

fn core_versions(api: &Api) -> Value {
    let address = api.settings.advertise.map(|address| address.to_string()).unwrap_or_default();
    json!({
        "kind": "APIVersions",
        // The second is the API of 2014, which the legacy door answers.
        "versions": ["v1", "v1beta1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

fn group_list(kinds: &Kinds, services: &Services) -> Value {
    let groups: Vec<Value> =
        groups(kinds, services).iter().filter(|group| !group.name.is_empty()).map(group_entry).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn group_entry(group: &Group) -> Value {
    let version = |version: &Arc<str>| json!({ "groupVersion": format!("{}/{version}", group.name), "version": version });
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({ "name": group.name, "preferredVersion": versions.first(), "versions": versions })
}

fn entries<'a>(kinds: &'a Kinds, group: &str, version: &str) -> Vec<&'a Entry> {
    let mut found: Vec<&Entry> = kinds
        .entries()
        .iter()
        .map(AsRef::as_ref)
        .filter(|entry| *entry.resource.group == *group && *entry.resource.version == *version)
        .collect();
    found.sort_by(|a, b| a.resource.plural.cmp(&b.resource.plural));
    found
}

/// Changes when objects are kept in another version; a kind that is not kept has none. Follows upstream's
/// `k8s.io/apiserver/pkg/endpoints/discovery/storageversionhash.go`.
fn storage_version_hash(kinds: &Kinds, entry: &Entry) -> String {
    if entry.computed.is_some() {
        return String::new();
    }
    let stored = |other: &&Arc<Entry>| {
        other.table == entry.table && other.conversion.as_ref().is_none_or(|it| it.stores_as_is())
    };
    let kept = kinds.entries().iter().find(stored).map_or(&entry.resource, |stored| &stored.resource);
    let whole = Sha256::digest(format!("{}/{}/{}", kept.group, kept.version, kept.kind));
    STANDARD.encode(&whole[..8])
}

fn reviews_of(kinds: &Kinds, group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    kinds.reviews().iter().copied().filter(move |review| review.group == group && review.version == version)
}

/// The old form of one group and version.
fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Response> {
    let known = entries(kinds, group, version);
    let measured = is_measured(group, version);
    if known.is_empty() && !measured && reviews_of(kinds, group, version).next().is_none() {
        return None;
    }
    let mut list = Vec::new();
    for (plural, kind, namespaced) in resource_metrics::RESOURCES.into_iter().filter(|_| measured) {
        list.push(json!({
            "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind,
            "verbs": resource_metrics::VERBS,
        }));
    }
    for entry in known {
        let Resource { plural, kind, namespaced, .. } = &entry.resource;
        let mut resource = json!({
            "name": plural, "singularName": entry.singular, "namespaced": namespaced,
            "kind": kind, "verbs": entry.verbs, "storageVersionHash": storage_version_hash(kinds, entry),
        });
        if !entry.short.is_empty() {
            resource["shortNames"] = json!(entry.short);
        }
        if !entry.categories.is_empty() {
            resource["categories"] = json!(entry.categories);
        }
        list.push(resource);
        for sub in subresource::of(entry) {
            let mut resource = json!({
                "name": format!("{plural}/{}", sub.name), "singularName": "",
                "namespaced": namespaced, "kind": sub.kind.unwrap_or(kind), "verbs": sub.verbs,
            });
            if let Some((group, version)) = sub.group_version {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
            list.push(resource);
        }
    }
    for review in reviews_of(kinds, group, version) {
        list.push(json!({
            "name": review.plural, "singularName": review.kind.to_lowercase(), "namespaced": review.namespaced,
            "kind": review.kind, "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list,
    });
    Some(wire::encoded(200, &body))
}

/// The aggregated form: of the core group, or of all others.
fn aggregated_form(kinds: &Kinds, services: &Services, form: &str, core: bool) -> Response {
    let mut items = Vec::new();
    for group in groups(kinds, services).into_iter().filter(|group| group.name.is_empty() == core) {
        let version = |version: &Arc<str>| {
            let theirs = services.get(&group.name, version).and_then(|service| service.discovered());
            if let Some(theirs) = theirs {
                return theirs;
            }
            let mut resources: Vec<Value> =
                entries(kinds, &group.name, version).into_iter().map(aggregated_resource).collect();
            resources.extend(reviews_of(kinds, &group.name, version).map(aggregated_review));
            if is_measured(&group.name, version) {
                resources.extend(resource_metrics::RESOURCES.map(aggregated_measure));
            }
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        };
        let versions: Vec<Value> = group.versions.iter().map(version).collect();
        let metadata = if core { json!({}) } else { json!({ "name": group.name }) };
        items.push(json!({ "metadata": metadata, "versions": versions }));
    }
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {}, "items": items,
    });
    let kind = format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    wire::answer(200, &kind, Body::full(bytes))
}

fn aggregated_review(review: &Review) -> Value {
    let scope = if review.namespaced { "Namespaced" } else { "Cluster" };
    json!({
        "resource": review.plural, "scope": scope, "singularResource": review.kind.to_lowercase(),
        "responseKind": { "group": review.group, "version": review.version, "kind": review.kind },
        "verbs": ["create"],
    })
}

/// Whether these are the resources that are measured when somebody asks.
fn is_measured(group: &str, version: &str) -> bool {
    group == resource_metrics::GROUP && version == resource_metrics::VERSION
}

fn aggregated_measure((plural, kind, namespaced): (&str, &str, bool)) -> Value {
    let kind =
        json!({ "group": resource_metrics::GROUP, "version": resource_metrics::VERSION, "kind": kind });
    json!({
        "resource": plural, "responseKind": kind, "scope": if namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": "", "verbs": resource_metrics::VERBS,
    })
}

fn aggregated_resource(entry: &Entry) -> Value {
    let Resource { group, version, plural, kind, namespaced } = &entry.resource;
    let scope = if *namespaced { "Namespaced" } else { "Cluster" };
    let mut resource = json!({
        "resource": plural, "responseKind": { "group": group, "version": version, "kind": kind }, "scope": scope,
        "singularResource": entry.singular, "verbs": entry.verbs,
    });
    if !entry.short.is_empty() {
        resource["shortNames"] = json!(entry.short);
    }
    if !entry.categories.is_empty() {
        resource["categories"] = json!(entry.categories);
    }
    let subresources: Vec<Value> = subresource::of(entry)
        .map(|sub| {
            let (group, version) = sub.group_version.unwrap_or((group, version));
            json!({
                "subresource": sub.name,
                "responseKind": { "group": group, "version": version, "kind": sub.kind.unwrap_or(kind) },
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}
