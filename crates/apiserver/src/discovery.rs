//! What there is to ask for: groups, versions, resources, verbs. Derived from the table of kinds.
//!
//! Two forms: the old one, a document per group and version, and the aggregated one, all in two documents.

use std::collections::BTreeSet;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::api::Api;
use crate::catalog::Entry;
use crate::openapi;
use crate::subresource;
use crate::wire::{self, Body, Response};

/// The verbs of every kind, as discovery lists them.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The architecture as Go names it.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Every group with its version, core first.
pub(crate) fn group_versions(api: &Api) -> Vec<(&'static str, &'static str)> {
    let all: BTreeSet<(&str, &str)> =
        api.catalog.entries().iter().map(|entry| (entry.row.group, entry.row.version)).collect();
    let policy = ("policy", "v1");
    let mut all: Vec<_> = all.into_iter().collect();
    if !all.contains(&policy) && subresource::offers(policy.0) {
        all.push(policy);
    }
    all
}

/// Answers a discovery or OpenAPI path; nothing for others.
pub(crate) fn serve(api: &Api, parts: &[&str], headers: &HeaderMap) -> Option<Response> {
    match parts {
        ["api"] => Some(match aggregated(headers) {
            Some(version) => aggregate(api, version, true),
            None => wire::encoded(200, &core_versions(api)),
        }),
        ["apis"] => Some(match aggregated(headers) {
            Some(version) => aggregate(api, version, false),
            None => wire::encoded(200, &groups(api)),
        }),
        ["api", version] => resources(api, "", version),
        ["apis", group] => {
            let (_, version) = group_versions(api).into_iter().find(|(own, _)| own == group)?;
            let mut body = group_entry(group, version);
            body["kind"] = "APIGroup".into();
            body["apiVersion"] = "v1".into();
            Some(wire::encoded(200, &body))
        }
        ["apis", group, version] => resources(api, group, version),
        ["openapi", "v2"] => openapi_v2(headers),
        ["openapi", "v3"] => document(Some(openapi::v3_index()), wire::JSON, headers),
        ["openapi", "v3", rest @ ..] => document(openapi::v3(&rest.join("/")), wire::JSON, headers),
        _ => None,
    }
}

/// Clients from before OpenAPI v3 know the document in protobuf only.
fn openapi_v2(headers: &HeaderMap) -> Option<Response> {
    let accepted =
        headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = accepted.split(',').next().unwrap_or_default().trim();
    // In the answer the `@` is a dot, as upstream's: it is no legal character of a media type.
    if first.starts_with("application/com.github.proto-openapi.spec.v2") {
        return document(Some(openapi::v2_protobuf()), &openapi::V2_PROTOBUF.replace('@', "."), headers);
    }
    document(Some(openapi::v2()), wire::JSON, headers)
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

fn groups(api: &Api) -> Value {
    let groups: Vec<Value> = group_versions(api)
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, version)| group_entry(group, version))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn group_entry(group: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "name": group, "versions": [version], "preferredVersion": version })
}

fn entries<'a>(api: &'a Api, group: &str, version: &str) -> Vec<&'a Entry> {
    let mut found: Vec<&Entry> = api
        .catalog
        .entries()
        .iter()
        .map(AsRef::as_ref)
        .filter(|entry| entry.row.group == group && entry.row.version == version)
        .collect();
    found.sort_by_key(|entry| entry.row.plural);
    found
}

/// The old form of one group and version.
fn resources(api: &Api, group: &str, version: &str) -> Option<Response> {
    if !group_versions(api).contains(&(group, version)) {
        return None;
    }
    let mut list = Vec::new();
    for entry in entries(api, group, version) {
        let row = entry.row;
        let mut resource = json!({
            "name": row.plural, "singularName": row.kind.to_lowercase(), "namespaced": row.namespaced,
            "kind": row.kind, "verbs": VERBS, "storageVersionHash": "",
        });
        if !row.short.is_empty() {
            resource["shortNames"] = json!(row.short);
        }
        if !row.categories.is_empty() {
            resource["categories"] = json!(row.categories);
        }
        list.push(resource);
        for sub in subresource::of(entry) {
            let mut resource = json!({
                "name": format!("{}/{}", row.plural, sub.name), "singularName": "",
                "namespaced": row.namespaced, "kind": sub.kind.unwrap_or(row.kind), "verbs": sub.verbs,
            });
            if let Some((group, version)) = sub.group_version {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
            list.push(resource);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list,
    });
    Some(wire::encoded(200, &body))
}

/// The aggregated form: of the core group, or of all others.
fn aggregate(api: &Api, form: &str, core: bool) -> Response {
    let mut items = Vec::new();
    for (group, version) in group_versions(api).into_iter().filter(|(group, _)| group.is_empty() == core) {
        let resources: Vec<Value> =
            entries(api, group, version).into_iter().map(aggregated_resource).collect();
        let metadata = if core { json!({}) } else { json!({ "name": group }) };
        let version = json!({ "version": version, "resources": resources, "freshness": "Current" });
        items.push(json!({ "metadata": metadata, "versions": [version] }));
    }
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {}, "items": items,
    });
    let kind = format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    wire::answer(200, &kind, Body::full(bytes))
}

fn aggregated_resource(entry: &Entry) -> Value {
    let row = entry.row;
    let scope = if row.namespaced { "Namespaced" } else { "Cluster" };
    let kind = json!({ "group": row.group, "version": row.version, "kind": row.kind });
    let mut resource = json!({
        "resource": row.plural, "responseKind": kind, "scope": scope,
        "singularResource": row.kind.to_lowercase(), "verbs": VERBS,
    });
    if !row.short.is_empty() {
        resource["shortNames"] = json!(row.short);
    }
    if !row.categories.is_empty() {
        resource["categories"] = json!(row.categories);
    }
    let subresources: Vec<Value> = subresource::of(entry)
        .map(|sub| {
            let (group, version) = sub.group_version.unwrap_or((row.group, row.version));
            json!({
                "subresource": sub.name,
                "responseKind": { "group": group, "version": version, "kind": sub.kind.unwrap_or(row.kind) },
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}
