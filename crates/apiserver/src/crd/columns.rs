//! Columns of custom resources (`additionalPrinterColumns`); follows upstream's `registry/customresource/tableconvertor`.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use serde_json::Value;

use super::path::Path;
use crate::kinds::Heading;

/// A column and where its cells come from.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) heading: Heading,
    path: Option<Path>,
}

/// The columns of a version after `Name`; their age alone where it names none.
pub(super) fn of(version: &CustomResourceDefinitionVersion) -> Vec<Column> {
    let named = version.additional_printer_columns.as_deref().unwrap_or_default();
    if named.is_empty() {
        let heading = Heading {
            name: "Age".into(),
            kind: "date".into(),
            format: "".into(),
            priority: 0,
            description: AGE.into(),
        };
        return vec![Column { heading, path: Path::parse(".metadata.creationTimestamp").ok() }];
    }
    let column = |named: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition| {
        let description = named.description.clone().filter(|text| !text.is_empty());
        let heading = Heading {
            name: named.name.clone().into(),
            kind: named.type_.clone().into(),
            format: named.format.clone().unwrap_or_default().into(),
            priority: named.priority.unwrap_or(0),
            description: description
                .unwrap_or_else(|| format!("Custom resource definition column (in JSONPath format): {}", named.json_path))
                .into(),
        };
        Column { heading, path: Path::parse(&named.json_path).ok() }
    };
    named.iter().map(column).collect()
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

impl Column {
    /// The cell of one object.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.as_ref().map(|path| path.find(object)).unwrap_or_default();
        let Some(first) = found.first().filter(|first| !first.is_null()) else { return Value::Null };
        match &*self.heading.kind {
            "integer" => first
                .as_i64()
                .or_else(|| {
                    #[expect(clippy::cast_possible_truncation, reason = "as upstream's cells")]
                    first.as_f64().map(|number| number as i64)
                })
                .map_or(Value::Null, Value::from),
            "number" => {
                if first.is_number() {
                    (*first).clone()
                } else {
                    Value::Null
                }
            }
            "boolean" => {
                if first.is_boolean() {
                    (*first).clone()
                } else {
                    Value::Null
                }
            }
            "string" => text(&found).into(),
            "date" => match first.as_str() {
                Some(text) => text
                    .parse::<Timestamp>()
                    .map_or_else(|_| "<invalid>".into(), |then| skiff_api::table::age(then, now).into()),
                None => "<unknown>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// What is found as text, several with commas.
fn text(found: &[&Value]) -> String {
    let one = |value: &&Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    found.iter().map(one).collect::<Vec<_>>().join(",")
}
