//! The JSONPath dialect of printer columns, selectable fields and scales: kubectl's, not RFC 9535.
//!
//! Known are `.field`, `['field']`, `["field"]`, `[3]`, `[-1]`, `[*]`, `.*`, slices `[a:b]` and filters `[?(@.a=="b")]`; what
//! is nothing in it finds nothing. Follows upstream's `client-go/util/jsonpath`, for the paths that definitions may name.

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Every,
    Filter { path: Path, operator: Operator, value: Value },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Exists,
    Equal,
    Differs,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Differs),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Path {
    /// Parses a path such as `.spec.replicas` or `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = name_end(after);
                let name = after[..end].replace('\\', "");
                match name.as_str() {
                    "" if after.starts_with('[') => {}
                    "" => return Err(format!("unexpected end of path in {text:?}")),
                    "*" => steps.push(Step::Every),
                    _ => steps.push(Step::Field(name)),
                }
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix('[') {
                let end = bracket_end(after).ok_or_else(|| "unterminated array".to_owned())?;
                steps.push(bracket(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                return Err(format!(
                    "unrecognized character in path: {:?}",
                    rest.chars().next().unwrap_or_default()
                ));
            }
        }
        Ok(Self(steps))
    }

    /// Everything that the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.from(value)).collect();
        }
        found
    }

    /// The one thing that a path of fields leads to.
    pub(crate) fn one<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).into_iter().next()
    }

    /// Puts `new` where a path of fields leads, making objects on the way.
    pub(crate) fn set(&self, value: &mut Value, new: Value) {
        let mut place = value;
        for step in &self.0 {
            let Step::Field(name) = step else { return };
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            let Value::Object(map) = place else { return };
            place = map.entry(name.clone()).or_insert(Value::Null);
        }
        *place = new;
    }

    /// A path that leads nowhere.
    pub(crate) fn nowhere() -> Self {
        Self(vec![Step::Slice(Some(0), Some(0))])
    }

    /// The names of a path that has only fields.
    pub(crate) fn fields(&self) -> Option<Vec<&str>> {
        self.0
            .iter()
            .map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None })
            .collect()
    }
}

impl std::fmt::Display for Path {
    /// The path of fields, as it is written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fields().unwrap_or_default().iter().try_for_each(|name| write!(f, ".{name}"))
    }
}

/// Where a name ends: at a dot or bracket that no backslash escapes.
fn name_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '.' | '[' => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where a bracket closes, quotes and brackets within left aside.
fn bracket_end(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::Every);
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name));
    }
    if let Some(inner) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        return filter(inner.trim());
    }
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| format!("invalid array index {text}")),
    };
    if let Some((from, to)) = text.split_once(':') {
        return Ok(Step::Slice(number(from)?, number(to)?));
    }
    number(text)?.map(Step::Index).ok_or_else(|| "invalid array index ".to_owned())
}

fn filter(text: &str) -> Result<Step, String> {
    let path = |text: &str| {
        let inner = text.trim().strip_prefix('@').ok_or_else(|| format!("unrecognized filter {text:?}"))?;
        Path::parse(inner)
    };
    for (sign, operator) in OPERATORS {
        let Some((left, right)) = text.split_once(sign) else { continue };
        let right = right.trim();
        let value = match quoted(right) {
            Some(text) => Value::String(text),
            None => serde_json::from_str(right).map_err(|_| format!("unrecognized identifier {right}"))?,
        };
        return Ok(Step::Filter { path: path(left)?, operator, value });
    }
    Ok(Step::Filter { path: path(text)?, operator: Operator::Exists, value: Value::Null })
}

fn quoted(text: &str) -> Option<String> {
    let inner = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))?;
    Some(inner.replace("\\'", "'").replace("\\\"", "\"").replace("\\.", "."))
}

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let place = |index: i64, length: usize| {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            if index < 0 { index + length } else { index }
        };
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let at = usize::try_from(place(*index, items.len())).ok();
                at.and_then(|at| items.get(at)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let bound = |at: Option<i64>, otherwise: usize| {
                    at.map_or(otherwise, |at| usize::try_from(place(at, items.len())).unwrap_or(0))
                        .min(items.len())
                };
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::Every, Value::Array(items)) => items.iter().collect(),
            (Self::Every, Value::Object(map)) => map.values().collect(),
            (Self::Filter { path, operator, value }, Value::Array(items)) => {
                items.iter().filter(|item| operator.holds(path.one(item), value)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Operator {
    fn holds(self, found: Option<&Value>, wanted: &Value) -> bool {
        let Some(found) = found else { return false };
        let order = match (found, wanted) {
            (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
            _ => found.as_f64().zip(wanted.as_f64()).and_then(|(found, wanted)| found.partial_cmp(&wanted)),
        };
        match self {
            Self::Exists => true,
            Self::Equal => found == wanted || order.is_some_and(std::cmp::Ordering::is_eq),
            Self::Differs => found != wanted && !order.is_some_and(std::cmp::Ordering::is_eq),
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_columns_find_what_kubectls_do() {
        let object = json!({
            "metadata": { "annotations": { "a.b/c": "dotted" } },
            "spec": { "ports": [80, 443], "map": { "x": 1, "y": 2 } },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Done", "status": "False" }] },
        });
        for (path, expected) in [
            (".spec.ports[0]", json!([80])),
            (".spec.ports[-1]", json!([443])),
            (".spec.ports[*]", json!([80, 443])),
            (".spec.ports[1:]", json!([443])),
            (".spec.map.*", json!([1, 2])),
            (".metadata.annotations.a\\.b/c", json!(["dotted"])),
            (".metadata.annotations['a\\.b/c']", json!(["dotted"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Done')].status", json!(["False"])),
            (".status.conditions[*].type", json!(["Ready", "Done"])),
            (".nothing.here", json!([])),
        ] {
            let found: Vec<Value> = Path::parse(path).unwrap().find(&object).into_iter().cloned().collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        }
        assert!(Path::parse("spec").is_err());
        assert!(Path::parse(".a[").is_err());
    }
}
