//! The functions an expression may call: the language's, Kubernetes' libraries, and a few that the crates lack.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::types::CelOptional;
use kube_cel::cel::common::value::Val;
use kube_cel::cel::objects::{Key, Map, Value};
use kube_cel::cel::{Context, ExecutionError, FunctionContext};

/// Counts the steps of loops; no text of a user can name it.
pub(super) const TICK: &str = "@tick";
/// The entries of a list or map, for loops with two variables.
pub(super) const ENTRIES: &str = "@entries";
/// A list made by a loop: of what is gone through, the variable's name, the item made, and the condition. The
/// interpreter's own loop would copy the list at each step.
pub(super) const COLLECT: &str = "@collect";
/// A map with one more entry.
pub(super) const PUT: &str = "@put";
/// The longest list that `lists.range` makes.
const LONGEST_RANGE: i64 = 10_000;

thread_local! {
    /// What the evaluation under way may still cost. An evaluation runs on one thread from its start to its end.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Sets what may be spent; gives what was left before.
pub(super) fn left(budget: u64) -> u64 {
    LEFT.replace(budget)
}

/// Takes from what may be spent.
fn spend(cost: u64) -> Result<(), ExecutionError> {
    let left = LEFT.get().checked_sub(cost);
    LEFT.set(left.unwrap_or(0));
    left.map(|_| ()).ok_or_else(|| ExecutionError::function_error(TICK, "cost"))
}

/// Every function, and the names of types as values.
pub(super) fn root() -> Context<'static> {
    let mut root = Context::default().with_all();
    for name in TYPES {
        root.add_variable_from_value(*name, *name);
    }
    add(&mut root, TICK, |ftx| {
        let Value::Int(cost) = argument(ftx, 0)? else { return Err(ExecutionError::NoSuchOverload) };
        spend(cost.unsigned_abs()).map(|()| Value::Bool(true))
    });
    add(&mut root, COLLECT, collect);
    add(&mut root, ENTRIES, |ftx| {
        let entry = |key: Value, value: &Value| {
            Value::from(HashMap::from([("k".to_owned(), key), ("v".to_owned(), value.clone())]))
        };
        let entries = match argument(ftx, 0)? {
            Value::List(items) => {
                (0_i64..).zip(items.iter()).map(|(at, item)| entry(at.into(), item)).collect()
            }
            Value::Map(map) => {
                map.map.iter().map(|(key, value)| entry(key.into(), value)).collect::<Vec<_>>()
            }
            _ => return Err(ExecutionError::NoSuchOverload),
        };
        Ok(Value::List(Arc::new(entries)))
    });
    add(&mut root, PUT, |ftx| {
        let Value::Map(map) = argument(ftx, 0)? else { return Err(ExecutionError::NoSuchOverload) };
        let key: Key = argument(ftx, 1)?.try_into().map_err(|_| ExecutionError::NoSuchOverload)?;
        spend(map.map.len() as u64)?;
        let mut map = HashMap::clone(&map.map);
        if map.insert(key, argument(ftx, 2)?).is_some() {
            return Err(ExecutionError::function_error(PUT, "insert failed: key already exists"));
        }
        Ok(Value::Map(Map { map: Arc::new(map) }))
    });
    add(&mut root, "dyn", |ftx| argument(ftx, 0));
    add(&mut root, "type", |ftx| {
        let value: Box<dyn Val> = argument(ftx, 0)?.try_into()?;
        Ok(Value::from(type_name(&*value)))
    });
    add(&mut root, "bool", |ftx| match argument(ftx, 0)? {
        Value::Bool(truth) => Ok(Value::Bool(truth)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(ExecutionError::function_error("bool", "type conversion error from 'string' to 'bool'")),
        },
        _ => Err(ExecutionError::NoSuchOverload),
    });
    add(&mut root, "lists.range", |ftx| match argument(ftx, 0)? {
        Value::Int(count) if count <= LONGEST_RANGE => {
            Ok(Value::List(Arc::new((0..count.max(0)).map(Value::Int).collect())))
        }
        Value::Int(_) => Err(ExecutionError::function_error(TICK, "cost")),
        _ => Err(ExecutionError::NoSuchOverload),
    });
    super::authorizer::add(&mut root);
    root
}

fn collect(ftx: &FunctionContext<'_, '_>) -> Result<Value, ExecutionError> {
    let items = match argument(ftx, 0)? {
        Value::List(items) => items,
        Value::Map(map) => Arc::new(map.map.keys().map(Value::from).collect()),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let (Value::String(variable), Value::Int(cost)) = (argument(ftx, 1)?, argument(ftx, 2)?) else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let body = ftx.args.get(3).ok_or(ExecutionError::NoSuchOverload)?;
    let mut scope = ftx.ptx.new_inner_scope();
    let mut made = Vec::new();
    for item in items.iter() {
        spend(cost.unsigned_abs())?;
        scope.add_variable_from_value(variable.as_str(), item.clone());
        match ftx.args.get(4).map(|condition| scope.resolve(condition)).transpose()? {
            None | Some(Value::Bool(true)) => made.push(scope.resolve(body)?),
            Some(Value::Bool(false)) => {}
            Some(_) => return Err(ExecutionError::NoSuchOverload),
        }
    }
    Ok(Value::List(Arc::new(made)))
}

/// Adds a function that reads its own arguments.
pub(super) fn add(
    root: &mut Context<'static>,
    name: &str,
    function: fn(&FunctionContext<'_, '_>) -> Result<Value, ExecutionError>,
) {
    type Boxed = Box<dyn Fn(&mut FunctionContext<'_, '_>) -> Result<Value, ExecutionError> + Send + Sync>;
    let boxed: Boxed = Box::new(move |ftx| function(ftx));
    root.add_function(name, boxed);
}

/// The value of an argument.
pub(super) fn argument(ftx: &FunctionContext<'_, '_>, index: usize) -> Result<Value, ExecutionError> {
    let expression = ftx.args.get(index).ok_or(ExecutionError::NoSuchOverload)?;
    ftx.ptx.resolve(expression)
}

/// The name of a value's type.
pub(super) fn type_name(value: &dyn Val) -> String {
    if value.downcast_ref::<CelOptional>().is_some() {
        return "optional_type".to_owned();
    }
    value.get_type().name().to_owned()
}

/// Types that an expression may name.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Prefixes of functions that look like methods of a variable.
const LIBRARIES: &[&str] =
    &["base64", "format", "ip", "jsonpatch", "lists", "math", "optional", "sets", "strings"];

/// True if `name` is a function of a library, such as `math.abs`.
pub(super) fn qualified(library: &str, name: &str) -> bool {
    LIBRARIES.contains(&library) && KNOWN.binary_search(&format!("{library}.{name}").as_str()).is_ok()
}

/// True if a function of this name can be called.
pub(super) fn known(name: &str) -> bool {
    name.starts_with(['_', '@', '!', '-']) || KNOWN.binary_search(&name).is_ok()
}

/// Every function, sorted. The crates keep their tables to themselves; a test calls each name.
#[rustfmt::skip]
static KNOWN: &[&str] = &[
    "add", "allowed", "asApproximateFloat", "asInteger", "base64.decode", "base64.encode", "bool", "bytes", "charAt",
    "check", "cidr", "compareTo", "contains", "containsCIDR", "containsIP", "distinct", "double", "duration", "dyn",
    "endsWith", "error", "errored", "family", "fieldSelector", "find", "findAll", "first", "flatten", "format",
    "format.byte", "format.date", "format.datetime", "format.dns1035Label", "format.dns1035LabelPrefix",
    "format.dns1123Label", "format.dns1123LabelPrefix", "format.dns1123Subdomain", "format.dns1123SubdomainPrefix",
    "format.labelValue", "format.named", "format.qualifiedName", "format.uri", "format.uuid", "getDate",
    "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getEscapedPath", "getFullYear", "getHost", "getHostname",
    "getHours", "getMilliseconds", "getMinutes", "getMonth", "getPort", "getQuery", "getScheme", "getSeconds", "group",
    "hasValue", "indexOf", "int", "ip", "ip.isCanonical", "isCIDR", "isCIDRv4", "isCIDRv6", "isGlobalUnicast",
    "isGreaterThan", "isIP", "isIPv4", "isIPv6", "isInteger", "isLessThan", "isLinkLocalMulticast",
    "isLinkLocalUnicast", "isLoopback", "isQuantity", "isSemver", "isSorted", "isURL", "isUnspecified", "join",
    "jsonpatch.escapeKey", "labelSelector", "last", "lastIndexOf", "lists.range", "lowerAscii", "major", "masked",
    "matches", "math.abs", "math.bitAnd", "math.bitNot", "math.bitOr", "math.bitShiftLeft", "math.bitShiftRight",
    "math.bitXor", "math.ceil", "math.floor", "math.greatest", "math.isFinite", "math.isInf", "math.isNaN",
    "math.least", "math.round", "math.sign", "math.sqrt", "math.trunc", "max", "min", "minor", "name", "namespace",
    "optional.none", "optional.of", "optional.ofNonZeroValue", "or", "orValue", "patch", "path", "prefixLength",
    "quantity", "reason", "replace", "resource", "reverse", "semver", "serviceAccount", "sets.contains",
    "sets.equivalent", "sets.intersects", "sign", "size", "slice", "sort", "split", "startsWith", "string",
    "strings.quote", "sub", "subresource", "substring", "sum", "timestamp", "trim", "type", "uint", "upperAscii",
    "url", "validate", "value",
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_of_names_is_sorted() {
        assert!(super::KNOWN.is_sorted());
    }
}
