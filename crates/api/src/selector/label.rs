//! Selection by labels: `app=web,tier in (a,b),!legacy`.
//!
//! A selector is a list of requirements, all of which must hold; the empty list selects everything. Selecting nothing
//! is a matter of the caller (an absent selector), never of a special value here.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::SelectorError;
use crate::names;

mod parse;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key!=value`; also holds where the key is absent.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`; also holds where the key is absent.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>5`
    GreaterThan,
    /// `key<5`
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: Box<str>,
    operator: Operator,
    values: Vec<Box<str>>,
}

impl Requirement {
    /// A checked requirement; `values` are sorted and freed of repetitions.
    ///
    /// # Errors
    /// If the key or a value breaks the rules for labels, or their number does not suit the operator.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        check_key(key)?;
        let mut sorted: Vec<Box<str>> = values.into_iter().map(Into::into).collect();
        sorted.sort();
        sorted.dedup();
        let shown =
            || format!("{{{}}}", sorted.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(","));
        let refuse = |detail: &str| {
            let value = format!("[]string{}", shown());
            Err(SelectorError(format!("values: Invalid value: {value}: {detail}")))
        };
        match operator {
            Operator::In | Operator::NotIn if sorted.is_empty() => {
                return refuse("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::NotEquals if sorted.len() != 1 => {
                return refuse("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !sorted.is_empty() => {
                return refuse("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if sorted.len() != 1 {
                    return refuse("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                if sorted[0].parse::<i64>().is_err() {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(SelectorError(format!(
                        "values[0]: Invalid value: {:?}: {detail}",
                        sorted[0]
                    )));
                }
            }
            _ => {}
        }
        for (index, value) in sorted.iter().enumerate() {
            let why = names::label_value(value);
            if !why.is_empty() {
                let why = why.join("; ");
                return Err(SelectorError(format!(
                    "values[{index}][{key}]: Invalid value: {value:?}: {why}"
                )));
            }
        }
        Ok(Self { key: key.into(), operator, values: sorted })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it compares.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Whether a label value (or its absence) meets the requirement.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let among = |value: &str| self.values.iter().any(|v| **v == *value);
        let number = || self.values.first().and_then(|v| v.parse::<i64>().ok());
        match self.operator {
            Operator::Equals | Operator::In => value.is_some_and(among),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(among),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => {
                matches!((value.and_then(|v| v.parse::<i64>().ok()), number()), (Some(a), Some(b)) if a > b)
            }
            Operator::LessThan => {
                matches!((value.and_then(|v| v.parse::<i64>().ok()), number()), (Some(a), Some(b)) if a < b)
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let why = names::qualified_name(key);
    if why.is_empty() {
        return Ok(());
    }
    Err(SelectorError(format!("<nil>: Invalid value: {key:?}: {}", why.join("; "))))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let only = self.values.first().map_or("", |value| value);
        match self.operator {
            Operator::Equals => write!(f, "{key}={only}"),
            Operator::NotEquals => write!(f, "{key}!={only}"),
            Operator::In => write!(f, "{key} in ({})", self.values.join(",")),
            Operator::NotIn => write!(f, "{key} notin ({})", self.values.join(",")),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{only}"),
            Operator::LessThan => write!(f, "{key}<{only}"),
        }
    }
}

/// A conjunction of requirements; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses what stands in `?labelSelector=` or behind `kubectl -l`.
    ///
    /// # Errors
    /// If it is not a selector; in upstream's words.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = parse::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// The requirements a v1 `LabelSelector` stands for. (An absent selector selects nothing: the caller's case.)
    ///
    /// # Errors
    /// If a key, value or operator is not allowed.
    pub fn of(selector: &meta::LabelSelector) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!("{other:?} is not a valid label selector operator")));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Exactly these labels, unchecked: a replication controller's or a service's selector.
    pub fn of_map<K: AsRef<str>, V: AsRef<str>>(labels: &BTreeMap<K, V>) -> Self {
        let equal = |(key, value): (&K, &V)| Requirement {
            key: key.as_ref().into(),
            operator: Operator::Equals,
            values: vec![value.as_ref().into()],
        };
        Self { requirements: labels.iter().map(equal).collect() }
    }

    /// What meets all of these.
    pub fn all_of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    /// True if it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches<K, V>(&self, labels: &BTreeMap<K, V>) -> bool
    where
        K: Ord + std::borrow::Borrow<str>,
        V: AsRef<str>,
    {
        self.requirements.iter().all(|r| r.holds(labels.get(&*r.key).map(AsRef::as_ref)))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}
