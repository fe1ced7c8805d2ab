//! Small values of the wire: integer-or-string, amounts, and the helpers that decide what is left out.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Deserializer, Serialize};

/// Labels, selectors, annotations.
pub type Map = BTreeMap<String, String>;

/// `{}`: a member whose presence is all it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A port by number or by name. Zero and the empty string both mean "not given".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// A number.
    Number(i64),
    /// The name of a container's port.
    Name(String),
}

impl Default for Port {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Port {
    /// Nothing was given.
    pub fn is_unset(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0,
            Self::Name(name) => name.is_empty(),
        }
    }

    /// As v1 has it; a number in quotes is a number, as the clients of 2014 wrote it.
    pub fn to_v1(&self) -> IntOrString {
        match self {
            Self::Number(number) => IntOrString::Int(clamp(*number)),
            Self::Name(name) => match name.parse() {
                Ok(number) => IntOrString::Int(number),
                Err(_) => IntOrString::String(name.clone()),
            },
        }
    }

    /// From v1.
    pub fn from_v1(port: &IntOrString) -> Self {
        match port {
            IntOrString::Int(number) => Self::Number(i64::from(*number)),
            IntOrString::String(name) => Self::Name(name.clone()),
        }
    }
}

/// An amount of something: the wire allows numbers and strings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// A whole number.
    Whole(i64),
    /// Go wrote cpu as cores with a fraction at times.
    Fraction(f64),
    /// A number with or without a unit.
    Text(String),
}

impl Amount {
    /// As a v1 quantity.
    pub fn to_v1(&self) -> Quantity {
        Quantity(match self {
            Self::Whole(number) => number.to_string(),
            Self::Fraction(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        })
    }

    /// From a v1 quantity: whole units as a number, everything else as a decimal string.
    pub fn from_v1(quantity: &Quantity) -> Self {
        match milli(&quantity.0) {
            Some(milli) if milli % 1000 == 0 => Self::Whole(milli / 1000),
            Some(milli) => {
                let text = format!("{}.{:03}", milli / 1000, milli.unsigned_abs() % 1000);
                Self::Text(text.trim_end_matches('0').to_owned())
            }
            None => Self::Text(quantity.0.clone()),
        }
    }
}

/// A quantity's value in thousandths, rounded up; `None` if it is not a quantity.
pub fn milli(text: &str) -> Option<i64> {
    crate::quantity::Quantity::parse(text).ok().map(crate::quantity::Quantity::milli_value)
}

/// An `i64` of the wire in the `i32` v1 has for it; out of range stays out of range for validation to find.
pub fn clamp(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// Text, if there is any.
pub fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Text, or none as the empty string.
pub fn text(option: Option<&String>) -> String {
    option.cloned().unwrap_or_default()
}

/// A map, if there is anything in it.
pub fn some_map(map: &Map) -> Option<Map> {
    (!map.is_empty()).then(|| map.clone())
}

/// A list, if there is anything in it.
pub fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// For `skip_serializing_if`.
pub fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// For `skip_serializing_if`.
pub fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A revision on the wire: a number; a string of digits is taken as well.
///
/// # Errors
/// If it is neither.
pub fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(u64),
        Text(String),
    }
    match Raw::deserialize(deserializer)? {
        Raw::Number(number) => Ok(number),
        Raw::Text(text) if text.is_empty() => Ok(0),
        Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// A time on the wire: RFC 3339, or the empty string for none.
///
/// # Errors
/// If it is neither.
pub fn time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let stamp: k8s_openapi::jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(Some(stamp.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers_where_they_are_whole() {
        let shown = |text: &str| serde_json::to_string(&Amount::from_v1(&Quantity(text.into()))).unwrap();
        assert_eq!(shown("4"), "4");
        assert_eq!(shown("1500m"), "\"1.5\"");
        assert_eq!(shown("2Ki"), "2048");
    }

    #[test]
    fn a_quoted_number_is_a_port_number() {
        assert_eq!(Port::Name("6379".into()).to_v1(), IntOrString::Int(6379));
        assert_eq!(Port::Name("redis".into()).to_v1(), IntOrString::String("redis".into()));
    }
}
