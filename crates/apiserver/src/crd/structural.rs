//! Whether a schema is structural: every field has a type outside of junctions, and what junctions say is about values only.
//!
//! Follows upstream's `apiserver/schema/validation.go` and `complete.go`, and the checks of extensions in
//! `pkg/apis/apiextensions/validation/validation.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use skiff_api::Errors;
use skiff_api::errors::Fault;

use super::rules::Rule;
use super::schema::{Node, type_named};
use super::{defaults, prune, validate};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Judges the schema of a version.
pub(crate) fn check(schema: &JSONSchemaProps, errors: &mut Errors) {
    place(schema, Level::Root, errors);
}

fn place(schema: &JSONSchemaProps, level: Level, errors: &mut Errors) {
    let flag = |flag: Option<bool>| flag == Some(true);
    let kind = schema.type_.as_deref().unwrap_or_default();
    let embedded = flag(schema.x_kubernetes_embedded_resource);
    let (int_or_string, preserve) =
        (flag(schema.x_kubernetes_int_or_string), flag(schema.x_kubernetes_preserve_unknown_fields));
    unsupported(schema, errors);
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => {
            errors.at("items", |errors| place(items, Level::Item, errors))
        }
        Some(JSONSchemaPropsOrArray::Schemas(_)) => {
            errors.forbidden("items", "items must be a schema object and not an array");
        }
        None if kind == "array" => errors.required("items", "must be specified"),
        None => {}
    }
    for (name, field) in schema.properties.iter().flatten() {
        errors.entry("properties", name, |errors| {
            place(field, Level::Field, errors);
            if name == "metadata" && (level == Level::Root || embedded) {
                metadata(field, level, errors);
            }
            if matches!(name.as_str(), "kind" | "apiVersion") && (level == Level::Root || embedded) {
                let kind = field.type_.as_deref().unwrap_or_default();
                if kind != "string" {
                    errors.invalid("type", kind, "must be string");
                }
            }
        });
    }
    if let Some(additional) = &schema.additional_properties {
        if level == Level::Root {
            errors.forbidden("additionalProperties", "must not be used at the root");
        }
        if embedded {
            errors.forbidden(
                "additionalProperties",
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        let only_true = matches!(additional, JSONSchemaPropsOrBool::Bool(true));
        if schema.properties.as_ref().is_some_and(|properties| !properties.is_empty()) && !only_true {
            errors.forbidden(
                "additionalProperties",
                "additionalProperties and properties are mutual exclusive",
            );
        }
        if let JSONSchemaPropsOrBool::Schema(additional) = additional {
            errors.at("additionalProperties", |errors| place(additional, Level::Field, errors));
        }
    }
    if int_or_string && preserve {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid("x-kubernetes-preserve-unknown-fields", &true, why);
    }
    if int_or_string && embedded {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid("x-kubernetes-embedded-resource", &true, why);
    }
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() { errors.required("type", why) } else { errors.invalid("type", kind, why) }
    } else if kind.is_empty() && !int_or_string && !preserve {
        errors.required(
            "type",
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        );
    } else if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid("type", kind, "must be object at the root");
    }
    if embedded && !preserve && schema.properties.as_ref().is_none_or(|properties| properties.is_empty()) {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required("properties", why);
    }
    lists(schema, errors);
    junctions(schema, schema, errors);
    pattern(schema, errors);
    rules(schema, errors);
    default(schema, level, errors);
}

fn unsupported(schema: &JSONSchemaProps, errors: &mut Errors) {
    for (field, there) in [
        ("id", schema.id.is_some()),
        ("additionalItems", schema.additional_items.is_some()),
        ("patternProperties", schema.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())),
        ("definitions", schema.definitions.as_ref().is_some_and(|map| !map.is_empty())),
        ("dependencies", schema.dependencies.is_some()),
        ("$ref", schema.ref_path.is_some()),
    ] {
        if there {
            errors.forbidden(field, format!("{field} is not supported"));
        }
    }
    if schema.unique_items == Some(true) {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden("uniqueItems", why);
    }
    match schema.type_.as_deref() {
        Some("null") => {
            errors.forbidden("type", "type cannot be set to null, use nullable as an alternative")
        }
        Some(kind) if !["", "array", "boolean", "integer", "number", "object", "string"].contains(&kind) => {
            errors.not_supported(
                "type",
                kind,
                &["array", "boolean", "integer", "number", "object", "string"],
            );
        }
        _ => {}
    }
}

/// Of metadata a schema may restrict the names alone.
fn metadata(schema: &JSONSchemaProps, level: Level, errors: &mut Errors) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    if kind != "object" {
        errors.invalid("type", kind, "must be object");
    }
    if level != Level::Root {
        return;
    }
    let names_only =
        schema.properties.iter().flatten().all(|(name, _)| name == "name" || name == "generateName");
    let bare = JSONSchemaProps {
        type_: schema.type_.clone(),
        properties: schema.properties.clone(),
        description: schema.description.clone(),
        ..JSONSchemaProps::default()
    };
    if !names_only || *schema != bare {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden("", why);
    }
}

fn lists(schema: &JSONSchemaProps, errors: &mut Errors) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    let list_type = schema.x_kubernetes_list_type.as_deref();
    if let Some(list_type) = list_type {
        if kind != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            if kind.is_empty() { errors.required("type", why) } else { errors.invalid("type", kind, why) }
        }
        if !["atomic", "set", "map"].contains(&list_type) {
            errors.not_supported("x-kubernetes-list-type", list_type, &["atomic", "map", "set"]);
        }
    }
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    if list_type != Some("map") {
        if !keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            match list_type {
                None => errors.required("x-kubernetes-list-type", why),
                Some(other) => errors.invalid("x-kubernetes-list-type", other, why),
            }
        }
    } else if keys.is_empty() {
        errors.required("x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
    }
    let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { return };
    for (index, key) in keys.iter().enumerate() {
        let field = items.properties.as_ref().and_then(|properties| properties.get(key));
        match field {
            None => errors.item("x-kubernetes-list-map-keys", index, |errors| {
                errors.invalid("", key, "entries must all be names of item properties");
            }),
            Some(field) => {
                let required = items.required.iter().flatten().any(|name| name == key);
                if !required && field.default.is_none() {
                    errors.at("items", |errors| errors.entry("properties", key, |errors| {
                        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        errors.required("default", why);
                    }));
                }
            }
        }
    }
    let map_type = schema.x_kubernetes_map_type.as_deref();
    if let Some(map_type) = map_type.filter(|map_type| !["granular", "atomic"].contains(map_type)) {
        errors.not_supported("x-kubernetes-map-type", map_type, &["atomic", "granular"]);
    }
}

fn pattern(schema: &JSONSchemaProps, errors: &mut Errors) {
    let Some(pattern) = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty()) else { return };
    if let Err(error) = regex::Regex::new(pattern) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.invalid("pattern", pattern, why);
    }
}

/// Junctions speak of values; the fields they name must be declared outside.
fn junctions(schema: &JSONSchemaProps, outside: &JSONSchemaProps, errors: &mut Errors) {
    let lists = [("allOf", &schema.all_of), ("anyOf", &schema.any_of), ("oneOf", &schema.one_of)];
    let int_or_string = outside.x_kubernetes_int_or_string == Some(true);
    for (field, list) in lists {
        for (index, nested_schema) in list.iter().flatten().enumerate() {
            // int-or-string may say so once more.
            let said = |schema: &JSONSchemaProps| {
                let bare = JSONSchemaProps { type_: schema.type_.clone(), ..JSONSchemaProps::default() };
                *schema == bare && matches!(schema.type_.as_deref(), Some("integer" | "string"))
            };
            if int_or_string && field == "anyOf" && said(nested_schema) {
                continue;
            }
            errors.item(field, index, |errors| nested(nested_schema, outside, errors));
        }
    }
    if let Some(not) = &schema.not {
        errors.at("not", |errors| nested(not, outside, errors));
    }
}

fn nested(schema: &JSONSchemaProps, outside: &JSONSchemaProps, errors: &mut Errors) {
    let text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    for (field, there, why) in [
        ("type", text(&schema.type_), "must be empty to be structural"),
        (
            "additionalProperties",
            schema.additional_properties.is_some(),
            "must be undefined to be structural",
        ),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("title", text(&schema.title), "must be empty to be structural"),
        ("description", text(&schema.description), "must be empty to be structural"),
        ("nullable", schema.nullable == Some(true), "must be false to be structural"),
        ("externalDocs", schema.external_docs.is_some(), "must be undefined to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            schema.x_kubernetes_preserve_unknown_fields == Some(true),
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            schema.x_kubernetes_embedded_resource == Some(true),
            "must be false to be structural",
        ),
        (
            "x-kubernetes-int-or-string",
            schema.x_kubernetes_int_or_string == Some(true),
            "must be false to be structural",
        ),
        (
            "x-kubernetes-list-type",
            schema.x_kubernetes_list_type.is_some(),
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-map-type",
            schema.x_kubernetes_map_type.is_some(),
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-validations",
            schema.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty()),
            "must be empty to be structural",
        ),
    ] {
        if there {
            errors.forbidden(field, why);
        }
    }
    pattern(schema, errors);
    junctions(schema, outside, errors);
    for (name, field) in schema.properties.iter().flatten() {
        errors.entry("properties", name, |errors| {
            if name == "metadata" {
                errors.forbidden("", "must not be specified in a nested context");
            }
            let declared = outside.properties.as_ref().and_then(|properties| properties.get(name));
            let map = match &outside.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(map)) => Some(&**map),
                _ => None,
            };
            match declared.or(map) {
                Some(declared) => nested(field, declared, errors),
                None => nested(field, &JSONSchemaProps::default(), errors),
            }
        });
        let open = outside.x_kubernetes_preserve_unknown_fields == Some(true);
        if outside.properties.as_ref().is_none_or(|properties| !properties.contains_key(name)) && !open {
            let at = errors.path("");
            let outer =
                ["allOf[", "anyOf[", "oneOf[", "not"].iter().filter_map(|junction| at.find(junction)).min();
            let root = outer.map_or(at.as_str(), |end| at[..end].trim_end_matches('.'));
            let path = format!("{root}.properties[{name}]");
            let why = format!("because it is defined in {at}.properties[{name}]");
            errors.push_at(&path, Fault::Required, "", why);
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        let declared = match &outside.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&**items),
            _ => None,
        };
        errors.at("items", |errors| nested(items, declared.unwrap_or(&JSONSchemaProps::default()), errors));
    }
}

fn rules(schema: &JSONSchemaProps, errors: &mut Errors) {
    let reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    for (index, rule) in Rule::all(schema).iter().enumerate() {
        errors.item("x-kubernetes-validations", index, |errors| {
            if rule.source.rule.trim().is_empty() {
                return errors.required("rule", "rule is not specified");
            }
            let message = rule.source.message.as_deref().unwrap_or_default();
            if message.trim() != message || message.contains('\n') {
                errors.invalid("message", message, "message must not contain line breaks");
            }
            if let Some(reason) = rule.source.reason.as_deref().filter(|reason| !reasons.contains(reason)) {
                errors.not_supported("reason", reason, &reasons);
            }
            for (field, why) in rule.faults() {
                let shown = if field == "rule" {
                    serde_json::to_string(&rule.source).unwrap_or_default()
                } else {
                    format!("{:?}", rule.source.message_expression.as_deref().unwrap_or_default())
                };
                errors.push(Fault::Invalid, field, shown, format!("compilation failed: {why}"));
            }
        });
    }
}

/// A default must be what it would be after pruning, and valid.
fn default(schema: &JSONSchemaProps, level: Level, errors: &mut Errors) {
    let Some(default) = &schema.default else { return };
    if level == Level::Root {
        return errors.forbidden("default", "must not be set at the root");
    }
    let mut node = Node::root(schema);
    node.kind = type_named(schema.type_.as_deref());
    let mut pruned = default.0.clone();
    let mut gone = Vec::new();
    prune::below(&node, &mut pruned, &mut gone);
    if !gone.is_empty() {
        errors.push(Fault::Invalid, "default", default.0.to_string(), "must be pruned");
    }
    defaults::fill(&node, &mut pruned);
    errors.at("default", |errors| validate::check(&node, &pruned, None, errors));
}
