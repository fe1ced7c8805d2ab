//! Values on their way into and out of expressions, and the variables of an evaluation.
//!
//! A value is converted once, when it is bound; expressions borrow from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube_cel::cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional,
    CelString, CelTimestamp, CelUInt,
};
use kube_cel::cel::common::value::Val;
use kube_cel::cel::{self, Context};
use serde_json::Value as Json;

use super::functions;

/// A value of the language.
#[derive(Debug)]
pub struct Value(pub(super) Box<dyn Val>);

impl Clone for Value {
    fn clone(&self) -> Self {
        Self(self.0.clone_as_boxed())
    }
}

impl Value {
    /// Null.
    pub fn null() -> Self {
        Self(Box::new(CelNull))
    }

    /// JSON as it is: numbers become int, uint or double, keys stay as they are.
    pub fn json(json: &Json) -> Self {
        Self(boxed(json))
    }

    /// A map with text keys.
    pub fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Self {
        let map: HashMap<CelMapKey, Box<dyn Val>> =
            entries.into_iter().map(|(key, value)| (CelMapKey::from(key), value.0)).collect();
        Self(Box::new(CelMap::from(map)))
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        let list: Vec<Box<dyn Val>> = items.into_iter().map(|item| item.0).collect();
        Self(Box::new(CelList::from(list)))
    }

    /// A text.
    pub fn string(text: &str) -> Self {
        Self(Box::new(CelString::from(text)))
    }

    /// A truth value.
    pub fn bool(truth: bool) -> Self {
        Self(Box::new(CelBool::from(truth)))
    }

    /// Bytes, from base64 as JSON has them (`format: byte`); nothing if it is not base64.
    pub fn bytes(base64: &str) -> Option<Self> {
        Some(Self(Box::new(CelBytes::from(STANDARD.decode(base64).ok()?))))
    }

    /// A timestamp from RFC 3339 (`format: date-time`); nothing if it is not one.
    pub fn timestamp(text: &str) -> Option<Self> {
        Self::converted("timestamp", text)
    }

    /// A duration as Go writes it (`format: duration`); nothing if it is not one.
    pub fn duration(text: &str) -> Option<Self> {
        Self::converted("duration", text)
    }

    /// The outcome of a conversion function of the language.
    pub(super) fn converted(function: &str, text: &str) -> Option<Self> {
        let mut scope = Scope::new();
        scope.set("text", Self::string(text));
        let call = cel::parser::Parser::new().parse(&format!("{function}(text)")).ok()?;
        let value = cel::Value::resolve_val(&call, scope.context()).ok()?;
        Some(Self(value.into_owned()))
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        self.0.downcast_ref::<CelBool>().map(|truth| *truth.inner())
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.downcast_ref::<CelString>().map(CelString::inner)
    }

    /// True for null and for an optional without a value.
    pub fn is_null(&self) -> bool {
        let none = self.0.downcast_ref::<CelOptional>().is_some_and(|optional| optional.inner().is_none());
        none || self.0.downcast_ref::<CelNull>().is_some()
    }

    /// The value as JSON; nothing for what JSON cannot hold (types, quantities, addresses).
    pub fn to_json(&self) -> Option<Json> {
        to_json(&*self.0)
    }

    /// The name of its type.
    pub fn type_name(&self) -> String {
        functions::type_name(&*self.0)
    }
}

fn boxed(json: &Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(truth) => Box::new(CelBool::from(*truth)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) => Box::new(CelList::from(items.iter().map(boxed).collect::<Vec<_>>())),
        Json::Object(fields) => {
            let map: HashMap<CelMapKey, Box<dyn Val>> =
                fields.iter().map(|(key, value)| (CelMapKey::from(key.as_str()), boxed(value))).collect();
            Box::new(CelMap::from(map))
        }
    }
}

fn to_json(value: &dyn Val) -> Option<Json> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Some(text.inner().into());
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut fields = serde_json::Map::new();
        for (key, value) in map.inner() {
            let key = match to_json(key.inner())? {
                Json::String(text) => text,
                other => other.to_string(),
            };
            fields.insert(key, to_json(value.as_ref())?);
        }
        return Some(Json::Object(fields));
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list
            .inner()
            .iter()
            .map(|item| to_json(item.as_ref()))
            .collect::<Option<_>>()
            .map(Json::Array);
    }
    if let Some(optional) = value.downcast_ref::<CelOptional>() {
        return optional.inner().map_or(Some(Json::Null), to_json);
    }
    let any = value;
    any.downcast_ref::<CelBool>()
        .map(|truth| Json::from(*truth.inner()))
        .or_else(|| any.downcast_ref::<CelInt>().map(|number| Json::from(*number.inner())))
        .or_else(|| any.downcast_ref::<CelUInt>().map(|number| Json::from(*number.inner())))
        .or_else(|| any.downcast_ref::<CelDouble>().map(|number| Json::from(*number.inner())))
        .or_else(|| any.downcast_ref::<CelNull>().map(|_| Json::Null))
        .or_else(|| any.downcast_ref::<CelBytes>().map(|bytes| Json::from(STANDARD.encode(bytes.inner()))))
        .or_else(|| any.downcast_ref::<CelTimestamp>().map(|time| Json::from(time.inner().to_rfc3339())))
        .or_else(|| {
            any.downcast_ref::<CelDuration>().map(|span| {
                let (seconds, nanos) =
                    (span.inner().num_seconds(), span.inner().subsec_nanos().unsigned_abs());
                let text = format!("{seconds}.{nanos:09}");
                Json::from(format!("{}s", text.trim_end_matches('0').trim_end_matches('.')))
            })
        })
}

/// Every function; one for all, made at the first use.
static ROOT: LazyLock<Context<'static>> = LazyLock::new(functions::root);

/// The variables of evaluations.
pub struct Scope(Context<'static>);

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scope")
    }
}

impl Scope {
    /// Without variables.
    pub fn new() -> Self {
        Self(Context::Child { parent: &ROOT, variables: BTreeMap::new(), resolver: None })
    }

    /// Binds a variable, in place of the value it had.
    pub fn set(&mut self, name: &str, value: Value) {
        if let Context::Child { variables, .. } = &mut self.0 {
            variables.insert(name.to_owned(), value.0);
        }
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) {
        if let Context::Child { variables, .. } = &mut self.0 {
            variables.remove(name);
        }
    }

    pub(super) fn context(&self) -> &Context<'static> {
        &self.0
    }
}

/// Words that cannot be a field's name in an expression; `__word__` stands for them.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A declared field's name as expressions over typed objects write it (upstream's `cel.Escape`); nothing if it cannot
/// be written.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let first = name.chars().next()?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-/".contains(letter);
    if first.is_ascii_digit() || !name.chars().all(fits) {
        return None;
    }
    Some(
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}
