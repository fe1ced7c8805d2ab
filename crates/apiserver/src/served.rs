//! Which of the built-in kinds are served: those whose rows say so, and what `--runtime-config` says otherwise.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/server/resourceconfig`: the more exactly something is named, the more it counts,
//! in whatever order things are said.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds::{self, Row};
use crate::reviews::{self, Review};

/// Of which versions or resources something is said; later ones count more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    /// `api/all`
    All,
    /// `api/ga`
    Stable,
    /// `api/beta`
    Beta,
    /// `api/alpha`
    Alpha,
    /// `GROUP/VERSION`
    Version(String, String),
    /// `GROUP/VERSION/RESOURCE`
    Resource(String, String, String),
}

/// What is said of built-in kinds; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    said: BTreeMap<Whom, bool>,
}

/// What upstream refuses as well, in its words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeConfigError {
    /// A key that names neither versions nor a resource.
    #[error("runtime-config invalid key {0}")]
    Key(String),
    /// A resource that is not in small letters.
    #[error("invalid key {0}: group/version/resource and resource is always lowercase plural, not {1:?}")]
    Plural(String, String),
    /// Many versions at once, and neither `true` nor `false`.
    #[error("invalid value {0}={1}")]
    Value(String, String),
    /// One version or resource, and neither `true` nor `false`.
    #[error("invalid value of {0}: {1}, err: strconv.ParseBool: parsing {1:?}: invalid syntax")]
    Bool(String, String),
    /// Groups that do not exist.
    #[error("unknown api groups {0}")]
    Groups(String),
    /// A version that its group has not.
    #[error("group version {0}/{1} that has not been registered")]
    Version(String, String),
    /// Nothing at all would be served.
    #[error("invalid key with only api/all=false")]
    Nothing,
}

impl RuntimeConfig {
    /// Reads `KEY=true|false` pairs; of two with the same key the later counts.
    ///
    /// # Errors
    /// If a pair means nothing, or names what does not exist.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, RuntimeConfigError> {
        let mut said = BTreeMap::new();
        for pair in pairs.into_iter().filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (key.trim(), value.trim());
            let whom = Whom::parse(key)?;
            let is_one = matches!(whom, Whom::Version(..) | Whom::Resource(..));
            let wanted = match value {
                "true" => true,
                "false" => false,
                "" | "1" | "t" | "T" | "TRUE" | "True" if is_one => true,
                "0" | "f" | "F" | "FALSE" | "False" if is_one => false,
                _ if is_one => return Err(RuntimeConfigError::Bool(key.to_owned(), value.to_owned())),
                _ => return Err(RuntimeConfigError::Value(key.to_owned(), value.to_owned())),
            };
            said.insert(whom, wanted);
        }
        if said.iter().eq([(&Whom::All, &false)]) {
            return Err(RuntimeConfigError::Nothing);
        }
        let config = Self { said };
        config.exists()?;
        Ok(config)
    }

    /// Refuses groups and versions that there are not; of resources nobody asks, as upstream.
    fn exists(&self) -> Result<(), RuntimeConfigError> {
        let of_kinds = kinds::ALL.iter().map(|row| (row.group, row.version));
        let known: BTreeSet<(&str, &str)> =
            of_kinds.chain(reviews::ALL.iter().map(|review| (review.group, review.version))).collect();
        let named: Vec<(&str, &str)> = self.said.keys().filter_map(Whom::version).collect();
        let group = |group: &str| known.iter().any(|(own, _)| *own == group);
        let unknown: BTreeSet<&str> =
            named.iter().map(|(group, _)| *group).filter(|own| !group(own)).collect();
        if !unknown.is_empty() {
            return Err(RuntimeConfigError::Groups(Vec::from_iter(unknown).join(",")));
        }
        match named.iter().find(|named| !known.contains(*named)) {
            Some((group, version)) => {
                Err(RuntimeConfigError::Version((*group).to_owned(), (*version).to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Whether a kind is served.
    pub(crate) fn serves(&self, row: &Row) -> bool {
        self.says(row.group, row.version, row.plural).unwrap_or(row.served)
    }

    /// Whether a review is answered.
    pub(crate) fn answers(&self, review: &Review) -> bool {
        self.says(review.group, review.version, review.plural).unwrap_or(true)
    }

    fn says(&self, group: &str, version: &str, plural: &str) -> Option<bool> {
        let fits = |whom: &Whom| match whom {
            Whom::All => true,
            Whom::Stable => kinds::is_stable(version),
            Whom::Beta => version.contains("beta"),
            Whom::Alpha => version.contains("alpha"),
            Whom::Version(own, number) => own == group && number == version,
            Whom::Resource(own, number, name) => own == group && number == version && name == plural,
        };
        self.said.iter().rev().find(|(whom, _)| fits(whom)).map(|(_, wanted)| *wanted)
    }
}

impl Whom {
    fn parse(key: &str) -> Result<Self, RuntimeConfigError> {
        Ok(match key.split('/').collect::<Vec<_>>().as_slice() {
            ["api", "all"] => Self::All,
            ["api", "ga"] => Self::Stable,
            ["api", "beta"] => Self::Beta,
            ["api", "alpha"] => Self::Alpha,
            // As the flag's help has the core group; upstream's own check knows the form with a slash alone.
            ["v1"] => Self::Version(String::new(), "v1".to_owned()),
            [group, version] => Self::Version((*group).to_owned(), (*version).to_owned()),
            [_, _, plural] if plural.to_lowercase() != **plural => {
                return Err(RuntimeConfigError::Plural(key.to_owned(), (*plural).to_owned()));
            }
            [group, version, plural] => {
                Self::Resource((*group).to_owned(), (*version).to_owned(), (*plural).to_owned())
            }
            _ => return Err(RuntimeConfigError::Key(key.to_owned())),
        })
    }

    fn version(&self) -> Option<(&str, &str)> {
        match self {
            Self::Version(group, version) | Self::Resource(group, version, _) => Some((group, version)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(pairs: &str, group: &str, plural: &str) -> bool {
        let config = RuntimeConfig::parse(pairs.split(',')).unwrap();
        let row = kinds::ALL.iter().find(|row| row.group == group && row.plural == plural).unwrap();
        config.serves(row)
    }

    #[test]
    fn the_more_exactly_a_kind_is_named_the_more_it_counts() {
        const INTERNAL: &str = "internal.apiserver.k8s.io";
        for (pairs, pods, deployments, versions) in [
            ("", true, true, false),
            ("api/all=true", true, true, true),
            ("api/alpha=true", true, true, true),
            ("api/beta=true", true, true, false),
            ("api/all=true,api/alpha=false", true, true, false),
            ("api/alpha=false,api/all=true", true, true, false),
            ("api/all=false,api/ga=true", true, true, false),
            ("api/all=false,/v1=true", true, false, false),
            ("api/all=false,v1", true, false, false),
            ("apps/v1=false", true, false, false),
            ("apps/v1=false,apps/v1/deployments=true", true, true, false),
            ("apps/v1=true,apps/v1/deployments=0", true, false, false),
            ("internal.apiserver.k8s.io/v1alpha1=true", true, true, true),
            ("internal.apiserver.k8s.io/v1alpha1/storageversions=T", true, true, true),
            ("apps/v1=true,apps/v1=false", true, false, false),
        ] {
            assert_eq!(served(pairs, "", "pods"), pods, "{pairs}");
            assert_eq!(served(pairs, "apps", "deployments"), deployments, "{pairs}");
            assert_eq!(served(pairs, INTERNAL, "storageversions"), versions, "{pairs}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_in_upstreams_words() {
        for (pairs, expected) in [
            ("api/all=false", "invalid key with only api/all=false"),
            ("api/all=", "invalid value api/all="),
            ("apps", "runtime-config invalid key apps"),
            ("apps/v1/deployments/scale=true", "runtime-config invalid key apps/v1/deployments/scale"),
            ("unicorns/v1=true,fauns/v2=true,apps/v1=true", "unknown api groups fauns,unicorns"),
            ("apps/v7=true", "group version apps/v7 that has not been registered"),
            (
                "apps/v1=maybe",
                "invalid value of apps/v1: maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "apps/v1/Deployments=true",
                "invalid key apps/v1/Deployments: group/version/resource and resource is always lowercase plural, not \
                 \"Deployments\"",
            ),
        ] {
            let refused = RuntimeConfig::parse(pairs.split(',')).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }
}
