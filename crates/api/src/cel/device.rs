//! Selectors of devices: the expressions by which claims and classes say which devices they mean.
//!
//! Follows upstream's `k8s.io/dynamic-resource-allocation/cel`: a device's attributes and capacity are found under the
//! domain of their name, which is the driver's where the name has none, and a domain that the device does not know is empty
//! rather than an error.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::resource::v1::{DeviceAttribute, DeviceCapacity};
use kube_cel::cel::ExecutionError;
use kube_cel::cel::common::traits::{Container, Indexer, Iterable};
use kube_cel::cel::common::types::{self, CelMap, CelString, Type};
use kube_cel::cel::common::value::Val;
use serde_json::json;

use super::{Env, Kind, PER_CALL, Program, Scope, Value};

/// The variable that stands for the device.
const DEVICE: &str = "device";

/// A device as selectors see it.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Its driver, and the domain of all names that have none.
    pub driver: &'a str,
    /// What the driver says about it.
    pub attributes: Option<&'a BTreeMap<String, DeviceAttribute>>,
    /// How much of something it has.
    pub capacity: Option<&'a BTreeMap<String, DeviceCapacity>>,
    /// Whether more than one request may have it at a time.
    pub allow_multiple_allocations: bool,
}

/// A compiled selector.
#[derive(Debug)]
pub struct Selector(Program);

impl Selector {
    /// Compiles an expression.
    ///
    /// # Errors
    /// All that is wrong with it, in upstream's words.
    pub fn compile(expression: &str) -> Result<Self, String> {
        let env = Env { variables: &[DEVICE], ..Env::default() };
        let program =
            Program::compile(expression, &env).map_err(|why| format!("compilation failed: {why}"))?;
        match program.kind() {
            None | Some(Kind::Bool) => Ok(Self(program)),
            Some(other) => Err(format!("must evaluate to bool or the unknown type, not {}", other.name())),
        }
    }

    /// Whether it means the device.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn matches(&self, device: &Device<'_>) -> Result<bool, String> {
        let mut scope = Scope::new();
        scope.set(DEVICE, device.value()?);
        let mut budget = PER_CALL;
        self.0.holds(&scope, &mut budget).map_err(|fault| fault.to_string())
    }
}

impl Device<'_> {
    fn value(&self) -> Result<Value, String> {
        let mut attributes = Domains::default();
        for (name, attribute) in self.attributes.into_iter().flatten() {
            let value = attribute_value(attribute).map_err(|why| format!("attribute {name}: {why}"))?;
            attributes.put(self.driver, name, value);
        }
        let mut capacity = Domains::default();
        for (name, amount) in self.capacity.into_iter().flatten() {
            let value = Value::converted("quantity", &amount.value.0);
            capacity.put(self.driver, name, value.ok_or_else(|| format!("capacity {name}: not a quantity"))?);
        }
        Ok(Value::map([
            ("driver".to_owned(), Value::string(self.driver)),
            ("attributes".to_owned(), attributes.into_value()),
            ("capacity".to_owned(), capacity.into_value()),
            ("allowMultipleAllocations".to_owned(), Value::bool(self.allow_multiple_allocations)),
        ]))
    }
}

fn attribute_value(attribute: &DeviceAttribute) -> Result<Value, String> {
    let version = |text: &String| {
        Value::converted("semver", text).ok_or_else(|| format!("parse semantic version: {text:?}"))
    };
    let json = match attribute {
        DeviceAttribute { int: Some(number), .. } => json!(number),
        DeviceAttribute { bool: Some(truth), .. } => json!(truth),
        DeviceAttribute { string: Some(text), .. } => json!(text),
        DeviceAttribute { version: Some(text), .. } => return version(text),
        DeviceAttribute { ints: Some(numbers), .. } => json!(numbers),
        DeviceAttribute { bools: Some(truths), .. } => json!(truths),
        DeviceAttribute { strings: Some(texts), .. } => json!(texts),
        DeviceAttribute { versions: Some(texts), .. } => {
            return Ok(Value::list(texts.iter().map(version).collect::<Result<Vec<_>, _>>()?));
        }
        _ => return Err("unsupported attribute value".to_owned()),
    };
    Ok(Value::json(&json))
}

/// Values by domain and name.
#[derive(Default)]
struct Domains(BTreeMap<String, BTreeMap<String, Value>>);

impl Domains {
    fn put(&mut self, driver: &str, name: &str, value: Value) {
        let (domain, id) = name.split_once('/').unwrap_or((driver, name));
        self.0.entry(domain.to_owned()).or_default().insert(id.to_owned(), value);
    }

    fn into_value(self) -> Value {
        let domains = self.0.into_iter().map(|(domain, values)| {
            let key: types::CelMapKey = domain.into();
            (key, Value::map(values).0)
        });
        Value(Box::new(Lenient(CelMap::from(domains.collect::<HashMap<_, _>>()))))
    }
}

/// A map that has an empty map for every key that it does not know.
#[derive(Debug)]
struct Lenient(CelMap);

impl Lenient {
    fn empty() -> Box<dyn Val> {
        Box::new(CelMap::default())
    }

    fn knows(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        if key.downcast_ref::<CelString>().is_none() {
            return Err(ExecutionError::NoSuchOverload);
        }
        self.0.contains(key)
    }
}

impl Val for Lenient {
    fn get_type(&self) -> Type<'_> {
        self.0.get_type()
    }

    fn as_container(&self) -> Option<&dyn Container> {
        self.0.as_container()
    }

    fn as_indexer(&self) -> Option<&dyn Indexer> {
        Some(self)
    }

    fn into_indexer(self: Box<Self>) -> Option<Box<dyn Indexer>> {
        Some(self)
    }

    fn as_iterable(&self) -> Option<&dyn Iterable> {
        self.0.as_iterable()
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| self.0.equals(&other.0)) || self.0.equals(other)
    }

    fn clone_as_boxed(&self) -> Box<dyn Val> {
        let copy = self.0.inner().iter().map(|(key, value)| (key.clone(), value.clone_as_boxed()));
        Box::new(Self(CelMap::from(copy.collect::<HashMap<_, _>>())))
    }
}

impl Indexer for Lenient {
    fn get<'a>(&'a self, key: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        if self.knows(key)? { self.0.get(key) } else { Ok(Cow::Owned(Self::empty())) }
    }

    fn steal(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val>, ExecutionError> {
        if self.knows(key)? { Box::new(self.0).steal(key) } else { Ok(Self::empty()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(attributes: &str, capacity: &str, expression: &str) -> Result<bool, String> {
        let attributes = serde_json::from_str(attributes).unwrap();
        let capacity = serde_json::from_str(capacity).unwrap();
        Selector::compile(expression)?.matches(&Device {
            driver: "gpu.example.com",
            attributes: Some(&attributes),
            capacity: Some(&capacity),
            allow_multiple_allocations: false,
        })
    }

    #[test]
    fn selectors_see_driver_attributes_and_capacity() {
        let attributes = r#"{"model": {"string": "a100"}, "other.com/numa": {"int": 1}, "version": {"version": "1.2.3"},
            "gpu.example.com/ecc": {"bool": true}, "links": {"strings": ["a", "b"]}}"#;
        let capacity = r#"{"memory": {"value": "80Gi"}}"#;
        for (expression, expected) in [
            ("device.driver == 'gpu.example.com'", true),
            ("device.attributes['gpu.example.com'].model == 'a100'", true),
            ("device.attributes['other.com'].numa == 2", false),
            ("device.attributes['gpu.example.com'].ecc", true),
            ("device.attributes['gpu.example.com'].version.isGreaterThan(semver('1.0.0'))", true),
            ("device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0", true),
            ("device.capacity['gpu.example.com'].memory.isLessThan(quantity('40Gi'))", false),
            ("'b' in device.attributes['gpu.example.com'].links", true),
            ("device.allowMultipleAllocations", false),
            ("cel.bind(g, device.attributes['gpu.example.com'], g.ecc && g.model.startsWith('a'))", true),
            ("device.attributes['gpu.example.com'].?model.orValue('') == 'a100'", true),
        ] {
            assert_eq!(device(attributes, capacity, expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn an_unknown_domain_is_empty_and_an_unknown_name_is_an_error() {
        for (expression, expected) in [
            ("has(device.attributes['else.com'].model)", Ok(false)),
            ("'else.com' in device.attributes", Ok(false)),
            ("'gpu.example.com' in device.attributes", Ok(true)),
            ("device.attributes['else.com'].model == 'x'", Err("no such key: model".to_owned())),
            ("device.attributes['gpu.example.com'].size == 1", Err("no such key: size".to_owned())),
            ("device.attributes.exists(d, d == 'gpu.example.com')", Ok(true)),
        ] {
            assert_eq!(device(r#"{"a": {"int": 1}}"#, "{}", expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let refused = |expression: &str| Selector::compile(expression).unwrap_err();
        assert_eq!(refused("'x'"), "must evaluate to bool or the unknown type, not string");
        assert!(
            refused("devise.driver == 'x'").starts_with("compilation failed: ERROR: <input>:1:1: undeclared")
        );
    }
}
