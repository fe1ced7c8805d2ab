//! One thing of each family of addresses: ranges or addresses, written with a comma between them, the first leading.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skiff_net::family::Family;

/// What has a family.
pub(crate) trait Kin {
    /// Which.
    fn family(&self) -> Family;
}

impl Kin for IpNet {
    fn family(&self) -> Family {
        Family::of(self.addr())
    }
}

impl Kin for IpAddr {
    fn family(&self) -> Family {
        Family::of(*self)
    }
}

/// One or two of different families.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "T: Kin + FromStr + fmt::Display + Clone")]
pub(crate) struct Each<T> {
    first: T,
    second: Option<T>,
}

impl<T: Kin> Each<T> {
    /// Those; nothing if there is none, or several of one family.
    pub(crate) fn of(all: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut all = all.into_iter();
        let (first, second) = (all.next()?, all.next());
        let clash = second.as_ref().is_some_and(|second| second.family() == first.family());
        (!clash && all.next().is_none()).then_some(Self { first, second })
    }

    /// The one that leads.
    pub(crate) fn first(&self) -> &T {
        &self.first
    }

    /// The leading one, then the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// That of a family.
    pub(crate) fn get(&self, family: Family) -> Option<&T> {
        self.iter().find(|one| one.family() == family)
    }

    /// Its families, in the same order.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        self.iter().map(Kin::family)
    }

    /// Another thing of each.
    pub(crate) fn map<U: Kin>(&self, to: impl Fn(&T) -> U) -> Each<U> {
        Each { first: to(&self.first), second: self.second.as_ref().map(to) }
    }
}

impl<T: Clone + Kin> Each<T> {
    /// As a list.
    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.iter().cloned().collect()
    }
}

impl<T> From<T> for Each<T> {
    fn from(first: T) -> Self {
        Self { first, second: None }
    }
}

impl<T: Kin + fmt::Display> fmt::Display for Each<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.second.as_ref().map_or(Ok(()), |second| write!(f, ",{second}"))
    }
}

impl<T: Kin + FromStr> FromStr for Each<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` cannot be read"));
        let all: Vec<T> = text.split(',').map(read).collect::<Result<_, _>>()?;
        Self::of(all)
            .ok_or_else(|| "at most one of IPv4 and one of IPv6, with a comma between them".to_owned())
    }
}

impl<T: Kin + FromStr> TryFrom<String> for Each<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl<T: Kin + fmt::Display> From<Each<T>> for String {
    fn from(each: Each<T>) -> Self {
        each.to_string()
    }
}

/// A family as people call it.
pub(crate) fn word(family: Family) -> &'static str {
    match family {
        Family::Four => "IPv4",
        Family::Six => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_family_is_read_and_written_in_its_order() {
        for text in ["10.0.0.0/16", "fd00::/56", "10.0.0.0/16,fd00::/56", "fd00::/56,10.0.0.0/16"] {
            let each: Each<IpNet> = text.parse().unwrap();
            assert_eq!(each.to_string(), text);
            let json = serde_json::to_string(&each).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Each<IpNet>>(&json).unwrap(), each);
        }
        let both: Each<IpAddr> = "10.0.0.1, fd00::1".parse().unwrap();
        assert_eq!(both.get(Family::Six).map(ToString::to_string).as_deref(), Some("fd00::1"));
        for wrong in ["", "10.0.0.1,10.0.0.2", "fd00::1,10.0.0.1,10.0.0.2", "host"] {
            assert!(wrong.parse::<Each<IpAddr>>().is_err(), "{wrong}");
        }
    }
}
