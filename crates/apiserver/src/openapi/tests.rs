//! The documents are whole: every reference has its target, every kind its schema and its paths.

use std::collections::BTreeSet;

use super::*;
use crate::catalog::Catalog;
use crate::served::RuntimeConfig;

fn kinds() -> &'static Kinds {
    static KINDS: std::sync::LazyLock<Arc<Kinds>> = std::sync::LazyLock::new(|| {
        Catalog::built_in(&RuntimeConfig::parse(["api/all=true"]).unwrap()).kinds()
    });
    &KINDS
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn parsed(document: &Document) -> Value {
    serde_json::from_slice(&document.body).unwrap()
}

#[test]
fn every_reference_has_its_target() {
    let check = |document: &Value, prefix: &str, definitions: &Value| {
        let mut found = BTreeSet::new();
        references(document, &mut found);
        for target in found {
            let name = target.strip_prefix(prefix).unwrap_or_else(|| panic!("{target}"));
            assert!(definitions.get(name).is_some(), "{target}");
        }
    };
    let whole = parsed(&kinds().documents.v2(kinds()));
    check(&whole, "#/definitions/", &whole["definitions"]);
    for group in kinds().documents.v3.values() {
        let document = parsed(&group.document());
        check(&document, "#/components/schemas/", &document["components"]["schemas"]);
    }
}

#[test]
fn kinds_are_named_and_metadata_is_optional() {
    let whole = parsed(&kinds().documents.v2(kinds()));
    for entry in kinds().entries() {
        let row = &entry.resource;
        let schema = &whole["definitions"][paths::definition(entry)];
        let kind = json!([{ "group": row.group, "kind": row.kind, "version": row.version }]);
        assert_eq!(schema["x-kubernetes-group-version-kind"], kind, "{}", row.kind);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        assert!(!required.contains(&json!("metadata")), "{}", row.kind);
        if !entry.verbs.contains(&"patch") {
            continue;
        }
        let patch = whole["paths"]
            .as_object()
            .unwrap()
            .values()
            .find(|item| item["patch"]["x-kubernetes-group-version-kind"]["kind"] == *row.kind);
        let parameters = patch.unwrap()["patch"]["parameters"].to_string();
        assert!(parameters.contains("fieldValidation") && parameters.contains("dryRun"));
    }
}

#[test]
fn fields_carry_their_merge_facts() {
    let documents = &kinds().documents;
    let document = parsed(&documents.v3("api/v1").unwrap());
    let containers =
        &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.PodSpec");
    assert!(documents.v3("apis/nothing/v1").is_none());
    let index = parsed(&documents.v3_index());
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/api/v1?hash={}", documents.v3("api/v1").unwrap().etag));
}

/// Reads back one level of protobuf: field numbers and their bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let varint = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let number = varint(&mut bytes);
        let length = if key & 7 == 2 { usize::try_from(number).unwrap() } else { 0 };
        let (inner, rest) = bytes.split_at(length);
        bytes = rest;
        found.push((key >> 3, inner));
    }
    found
}

#[test]
fn the_protobuf_form_has_every_definition() {
    let document = kinds().documents.v2_protobuf(kinds());
    let top = fields(&document.body);
    assert_eq!(top[0], (1, b"2.0".as_slice()));
    let definitions = top.iter().find(|(field, _)| *field == 9).unwrap().1;
    let names: Vec<String> = fields(definitions)
        .iter()
        .map(|(_, named)| String::from_utf8(fields(named)[0].1.to_vec()).unwrap())
        .collect();
    let whole = parsed(&kinds().documents.v2(kinds()));
    let expected: Vec<&String> = whole["definitions"].as_object().unwrap().keys().collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), expected);
}

/// Compares with the published definitions if `SKIFF_DEFINITIONS` names their file (`_definitions.json` of the PyPI
/// package kubernetes-validate, whose version is that of Kubernetes).
#[test]
fn definitions_agree_with_the_published_ones() {
    let Some(path) = std::env::var_os("SKIFF_DEFINITIONS") else { return };
    let published: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |schema: &Value| -> BTreeSet<String> {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|f| f.as_str().map(str::to_owned))
            .collect()
    };
    for (name, ours) in parsed(&kinds().documents.v2(kinds()))["definitions"].as_object().unwrap() {
        let theirs = &published["$defs"][name];
        let keys = |schema: &Value| -> BTreeSet<String> {
            schema["properties"].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
        };
        assert_eq!(keys(ours), keys(theirs), "{name}");
        // Upstream's Event alone requires its metadata; we accept one without, as its server does.
        if name != "io.k8s.api.core.v1.Event" {
            assert_eq!(list(ours), list(theirs), "{name}");
        }
    }
}

#[test]
fn reviews_and_scales_have_paths() {
    let whole = parsed(&kinds().documents.v2(kinds()));
    let paths = &whole["paths"];
    for (path, kind) in [
        ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "SubjectAccessReview"),
        (
            "/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews",
            "LocalSubjectAccessReview",
        ),
        ("/apis/authentication.k8s.io/v1/tokenreviews", "TokenReview"),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews", "SelfSubjectReview"),
        ("/api/v1/namespaces/{namespace}/bindings", "Binding"),
        ("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", "TokenRequest"),
    ] {
        assert_eq!(paths[path]["post"]["x-kubernetes-group-version-kind"]["kind"], kind, "{path}");
    }
    for kind in ["deployments", "replicasets", "statefulsets"] {
        let path = format!("/apis/apps/v1/namespaces/{{namespace}}/{kind}/{{name}}/scale");
        assert_eq!(paths[&path]["patch"]["x-kubernetes-group-version-kind"]["kind"], "Scale", "{kind}");
    }
    let reviews = parsed(&kinds().documents.v3("apis/authorization.k8s.io/v1").unwrap());
    let schemas = &reviews["components"]["schemas"];
    assert!(schemas["io.k8s.api.authorization.v1.SubjectAccessReview"]["properties"]["spec"].is_object());
}
