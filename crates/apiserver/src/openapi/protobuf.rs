//! The v2 document as protobuf, which clients up to 1.27 insist on.
//!
//! The message is gnostic's `openapi.v2.Document`; its field numbers stand here as facts. The encoder walks the finished
//! JSON document, so both forms always say the same, and knows only what our documents contain.

use serde_json::{Map, Value};

/// The document as an `openapi.v2.Document`.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.message(2, info);
    let mut paths = Message::default();
    for (path, item) in entries(&document["paths"]) {
        paths.message(2, named(path, path_item(item)));
    }
    out.message(8, paths);
    let mut definitions = Message::default();
    for (name, definition) in entries(&document["definitions"]) {
        definitions.message(1, named(name, schema(definition)));
    }
    out.message(9, definitions);
    out.0
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The low seven bits always fit.
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, message: Message) {
        self.bytes(field, &message.0);
    }

    /// A text; nothing if the value is none.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, value: &Value) {
        for text in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u32, value: &Value) {
        if value.as_bool() == Some(true) {
            self.varint(u64::from(field << 3));
            self.varint(1);
        }
    }

    /// `x-...` members.
    fn extensions(&mut self, field: u32, value: &Value) {
        for (name, value) in entries(value).filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, named(name, any(value)));
        }
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A `Named...` message: a name and a value.
fn named(name: &str, value: Message) -> Message {
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    message.message(2, value);
    message
}

/// An `Any`: its YAML, and JSON is YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

/// A message that holds just one other, as the variants of a union do.
fn holding(field: u32, inner: Message) -> Message {
    let mut message = Message::default();
    message.message(field, inner);
    message
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in
        [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")]
    {
        if let Some(found) = item.get(method) {
            message.message(field, operation(found));
        }
    }
    for found in item["parameters"].as_array().into_iter().flatten() {
        message.message(9, parameter(found));
    }
    message.extensions(10, item);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.text(3, &operation["description"]);
    message.text(5, &operation["operationId"]);
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    for found in operation["parameters"].as_array().into_iter().flatten() {
        message.message(8, parameter(found));
    }
    let mut responses = Message::default();
    for (code, response) in entries(&operation["responses"]) {
        let mut inner = Message::default();
        inner.text(1, &response["description"]);
        if let Some(found) = response.get("schema") {
            inner.message(2, holding(1, schema(found)));
        }
        responses.message(1, named(code, holding(1, inner)));
    }
    message.message(9, responses);
    message.extensions(13, operation);
    message
}

fn parameter(parameter: &Value) -> Message {
    let mut inner = Message::default();
    let place = parameter["in"].as_str().unwrap_or_default();
    if place == "body" {
        inner.text(1, &parameter["description"]);
        inner.text(2, &parameter["name"]);
        inner.text(3, &parameter["in"]);
        inner.flag(4, &parameter["required"]);
        inner.message(5, schema(&parameter["schema"]));
        return holding(1, holding(1, inner));
    }
    inner.flag(1, &parameter["required"]);
    inner.text(2, &parameter["in"]);
    inner.text(3, &parameter["description"]);
    inner.text(4, &parameter["name"]);
    let variant = match place {
        "query" => {
            inner.text(6, &parameter["type"]);
            inner.flag(20, &parameter["uniqueItems"]);
            3
        }
        _ => {
            inner.text(5, &parameter["type"]);
            inner.flag(19, &parameter["uniqueItems"]);
            4
        }
    };
    holding(1, holding(2, holding(variant, inner)))
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema["$ref"]);
    message.text(2, &schema["format"]);
    message.text(3, &schema["title"]);
    message.text(4, &schema["description"]);
    if let Some(default) = schema.get("default") {
        message.message(5, any(default));
    }
    message.text(13, &schema["pattern"]);
    message.flag(16, &schema["uniqueItems"]);
    message.texts(19, &schema["required"]);
    for value in schema["enum"].as_array().into_iter().flatten() {
        message.message(20, any(value));
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(open)) => {
            let mut inner = Message::default();
            inner.varint(2 << 3);
            inner.varint(u64::from(*open));
            message.message(21, inner);
        }
        Some(inner) => message.message(21, holding(1, self::schema(inner))),
        None => {}
    }
    if let Some(kind) = schema["type"].as_str() {
        let mut inner = Message::default();
        inner.bytes(1, kind.as_bytes());
        message.message(22, inner);
    }
    if let Some(items) = schema.get("items") {
        message.message(23, holding(1, self::schema(items)));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        message.message(24, self::schema(part));
    }
    if schema["properties"].is_object() {
        let mut inner = Message::default();
        for (name, property) in entries(&schema["properties"]) {
            inner.message(1, named(name, self::schema(property)));
        }
        message.message(25, inner);
    }
    message.extensions(31, schema);
    message
}
