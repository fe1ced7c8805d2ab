//! What OpenAPI says of a custom resource; follows upstream's `pkg/controller/openapi/builder/builder.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use skiff_api::Resource;

const META: &str = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The name of the definition: the group backwards, version, kind.
pub(crate) fn definition(resource: &Resource) -> String {
    let group: Vec<&str> = resource.group.split('.').rev().collect();
    format!("{}.{}.{}", group.join("."), resource.version, resource.kind)
}

/// The schema of a version, with what every object has; as text, which is a tenth of a tree and seldom asked for.
pub(super) fn schema(
    resource: &Resource,
    version: &CustomResourceDefinitionVersion,
) -> Option<Box<RawValue>> {
    let given = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut schema = given.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_else(|| json!({}));
    whole(&mut schema);
    integers(&mut schema);
    schema["type"] = "object".into();
    schema["properties"]["apiVersion"] = json!({ "type": "string", "description": API_VERSION });
    schema["properties"]["kind"] = json!({ "type": "string", "description": KIND });
    schema["properties"]["metadata"] = json!({ "$ref": META, "description": METADATA });
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": resource.group, "kind": resource.kind, "version": resource.version }]);
    to_raw_value(&schema).ok()
}

/// Embedded objects have metadata too.
fn whole(schema: &mut Value) {
    if schema["x-kubernetes-embedded-resource"] == true {
        schema["properties"]["apiVersion"] = json!({ "type": "string", "description": API_VERSION });
        schema["properties"]["kind"] = json!({ "type": "string", "description": KIND });
        schema["properties"]["metadata"] = json!({ "$ref": META, "description": METADATA });
    }
    for field in ["items", "additionalProperties"] {
        if schema[field].is_object() {
            whole(&mut schema[field]);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().filter(|field| field.is_object()).for_each(whole);
    }
    // Looking made these up.
    if let Value::Object(map) = schema {
        map.retain(|_, value| !value.is_null());
    }
}

/// Bounds are numbers with a point in the Rust type; whole ones are shown as they were written.
fn integers(schema: &mut Value) {
    match schema {
        Value::Number(number) => {
            let whole =
                number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < 9e15);
            if let Some(whole) = whole {
                #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
                let whole = whole as i64;
                *schema = whole.into();
            }
        }
        Value::Object(map) => map.values_mut().for_each(integers),
        Value::Array(items) => items.iter_mut().for_each(integers),
        _ => {}
    }
}
