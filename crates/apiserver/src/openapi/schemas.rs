//! Definitions: the schemas of the Rust types, mended and enriched.
//!
//! k8s-openapi's schemas differ from the published ones in a few ways which matter to kubectl: `metadata` is required,
//! int-or-string has no type, and nothing says how lists merge or which kind a definition is. All of that is put right
//! here. Inside this module references are `{"$ref": "#/definitions/NAME", "description": ..}`; v3 rewrites them.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    APIResourceList, DeleteOptions, ListMeta, ObjectMeta, Patch, Status, WatchEvent,
};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use skiff_api::Resource;
use skiff_api::patch::facts;

use super::reviews;
use crate::catalog::Entry;
use crate::reviews::Review;

pub(super) type Definitions = Map<String, Value>;

const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// References whose `name` the Rust types demand and the published schemas do not.
const NAME_OPTIONAL: &[&str] = &[
    "io.k8s.api.core.v1.ConfigMapEnvSource",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.ConfigMapProjection",
    "io.k8s.api.core.v1.ConfigMapVolumeSource",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.SecretEnvSource",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.SecretProjection",
];

/// The definitions of `entries`, of their lists, and of what requests and answers besides carry.
pub(super) fn definitions(entries: &[Arc<Entry>], reviews: &[&'static Review]) -> Definitions {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/definitions".into());
    let mut generator = settings.into_generator();
    for entry in entries.iter().filter(|entry| entry.published.is_none()) {
        entry.ops.schema(&mut generator);
    }
    besides(&mut generator, entries);
    reviews::schemas(&mut generator, reviews);
    let mut definitions = generator.take_definitions(true);
    for entry in entries {
        let Resource { group, version, kind: name, .. } = &entry.resource;
        let kind = super::paths::definition(entry);
        if let Some(published) = &entry.published {
            definitions.insert(kind.clone(), serde_json::from_str(published.get()).unwrap_or_default());
        }
        let list = json!({
            "description": format!("{} is a list of {name}.", entry.list_kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": definitions[&kind]["properties"]["apiVersion"],
                "items": {
                    "description": format!("items is the list of {name}."),
                    "type": "array",
                    "items": reference(&kind),
                },
                "kind": definitions[&kind]["properties"]["kind"],
                "metadata": described(&format!("{META}.ListMeta"), "Standard list metadata."),
            },
        });
        definitions.insert(format!("{kind}List"), list);
        name_kind(&mut definitions, &kind, group, version, name);
        name_kind(&mut definitions, &format!("{kind}List"), group, version, &entry.list_kind);
    }
    for (definition, group, version, kind) in [
        (format!("{META}.DeleteOptions"), "", "v1", "DeleteOptions"),
        (format!("{META}.Status"), "", "v1", "Status"),
        (format!("{META}.WatchEvent"), "", "v1", "WatchEvent"),
        (format!("{META}.APIResourceList"), "", "v1", "APIResourceList"),
        ("io.k8s.api.core.v1.Binding".to_owned(), "", "v1", "Binding"),
        ("io.k8s.api.policy.v1.Eviction".to_owned(), "policy", "v1", "Eviction"),
        ("io.k8s.api.autoscaling.v1.Scale".to_owned(), "autoscaling", "v1", "Scale"),
        (
            "io.k8s.api.authentication.v1.TokenRequest".to_owned(),
            "authentication.k8s.io",
            "v1",
            "TokenRequest",
        ),
    ] {
        name_kind(&mut definitions, &definition, group, version, kind);
    }
    for review in reviews {
        let Review { group, version, kind, .. } = review;
        name_kind(&mut definitions, &reviews::definition(review), group, version, kind);
    }
    for (name, schema) in &mut definitions {
        mend(name, schema);
    }
    definitions
}

fn besides(generator: &mut SchemaGenerator, entries: &[Arc<Entry>]) {
    generator.subschema_for::<DeleteOptions>();
    generator.subschema_for::<Status>();
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<ObjectMeta>();
    generator.subschema_for::<Patch>();
    generator.subschema_for::<APIResourceList>();
    generator.subschema_for::<WatchEvent<RawExtension>>();
    if entries.iter().any(|entry| entry.resource.group.is_empty()) {
        generator.subschema_for::<Binding>();
        generator.subschema_for::<Eviction>();
        generator.subschema_for::<TokenRequest>();
    }
    if entries.iter().any(|entry| entry.scale.is_some()) {
        generator.subschema_for::<Scale>();
    }
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

fn described(definition: &str, description: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}"), "description": description })
}

fn name_kind(definitions: &mut Definitions, definition: &str, group: &str, version: &str, kind: &str) {
    if let Some(schema) = definitions.get_mut(definition) {
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": group, "kind": kind, "version": version }]);
    }
}

/// Mends one definition and adds what the table of facts knows.
fn mend(name: &str, schema: &mut Value) {
    if let Some(topology) = facts::of(name, ".").topology {
        schema["x-kubernetes-map-type"] = topology.into();
    }
    let is_kind = schema["properties"]["apiVersion"].is_object();
    let optional = |field: &Value| match field.as_str() {
        Some("metadata") => is_kind,
        Some("name") => NAME_OPTIONAL.contains(&name),
        _ => false,
    };
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| !optional(field));
        if required.is_empty()
            && let Some(map) = schema.as_object_mut()
        {
            map.remove("required");
        }
    }
    for (field, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        let fact = facts::of(name, field);
        if let Some(topology) = fact.topology {
            let is_list = property["type"] == "array";
            let key = if is_list { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
            property[key] = topology.into();
        }
        let keys: Vec<&str> = fact.map_keys().collect();
        if !keys.is_empty() {
            property["x-kubernetes-list-map-keys"] = json!(keys);
        }
        if let Some(strategy) = fact.strategy() {
            property["x-kubernetes-patch-strategy"] = strategy.into();
        }
        if let Some(key) = fact.merge_key {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        if let Some(default) = facts::default_of(name, field) {
            property["default"] = default.into();
        }
    }
}

/// The last touches for v2.
pub(super) fn for_v2(definitions: &mut Definitions) {
    if let Some(schema) = definitions.get_mut(INT_OR_STRING).and_then(Value::as_object_mut) {
        schema.remove("x-kubernetes-int-or-string");
        schema.insert("type".to_owned(), "string".into());
        schema.insert("format".to_owned(), "int-or-string".into());
    }
    // v2 knows no alternatives and no union types: such a schema allows anything.
    definitions.values_mut().for_each(plain);
}

fn plain(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.retain(|key, _| !["type", "items", "properties"].contains(&key.as_str()));
            }
            if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
                map.remove("items");
                // kubectl of old takes what is declared for all there may be; of a whole object nothing is said at all.
                map.remove("properties");
                if map.contains_key("x-kubernetes-group-version-kind") {
                    map.retain(|key, _| ["type", "x-kubernetes-group-version-kind"].contains(&key.as_str()));
                } else {
                    // Of what lies within one it looks into objects and lists, and takes offence at a null there.
                    map.remove("type");
                }
            }
            for key in ["anyOf", "oneOf", "nullable", "x-kubernetes-int-or-string"] {
                map.remove(key);
            }
            if let Some(Value::Array(types)) = map.get("type").cloned() {
                match types.into_iter().find(|kind| kind != "null") {
                    Some(kind) => map.insert("type".to_owned(), kind),
                    None => map.remove("type"),
                };
            }
            map.values_mut().for_each(plain);
        }
        Value::Array(list) => list.iter_mut().for_each(plain),
        _ => {}
    }
}

/// Rewrites definitions to v3's ways.
pub(super) fn for_v3(definitions: &mut Definitions) {
    if let Some(schema) = definitions.get_mut(INT_OR_STRING).and_then(Value::as_object_mut) {
        schema.remove("x-kubernetes-int-or-string");
        schema.insert("format".to_owned(), "int-or-string".into());
        schema.insert("oneOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
    }
    if let Some(schema) = definitions.get_mut(QUANTITY).and_then(Value::as_object_mut) {
        schema.remove("type");
        schema.insert("oneOf".to_owned(), json!([{ "type": "string" }, { "type": "number" }]));
    }
    definitions.values_mut().for_each(wrap);
}

/// In v3 nothing may stand beside a `$ref`, so references move into an `allOf`.
fn wrap(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref").cloned() {
                let target = target.replace("#/definitions/", "#/components/schemas/");
                if map.len() == 1 {
                    map.insert("$ref".to_owned(), target.into());
                } else {
                    map.remove("$ref");
                    map.insert("allOf".to_owned(), json!([{ "$ref": target }]));
                    return;
                }
            }
            map.values_mut().for_each(wrap);
        }
        Value::Array(list) => list.iter_mut().for_each(wrap),
        _ => {}
    }
}
