//! The scheduler's configuration file, upstream's `KubeSchedulerConfiguration`: profiles, and how long refused pods pause.
//!
//! What the file says is merged with upstream's defaults as upstream does. What Skiff has no use for (leader election,
//! client connection, parallelism) is read and left alone; what it does not have (unknown plugins and fields) is refused
//! with its path.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::Errors;
use skiff_api::decode::{Strictness, decode_own, yaml_to_json};

use crate::NAME;
use crate::extender::Extender;
use crate::plugin::Plugin;
use crate::profile::Profile;

mod extenders;
mod points;
mod profiles;

/// How pods are placed, by the scheduler name they ask for, how long those pause that fit nowhere, and who else has a say.
#[derive(Default)]
pub struct Configuration {
    pub(crate) profiles: Profiles,
    pub(crate) pauses: Pauses,
    pub(crate) extenders: Vec<Extender>,
}

/// All profiles, at least one.
pub(crate) struct Profiles(Vec<Profile>);

/// How long a refused pod pauses before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigurationError(Vec<String>);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    api_version: String,
    kind: String,
    profiles: Vec<profiles::Given>,
    percentage_of_nodes_to_score: Option<i64>,
    pod_initial_backoff_seconds: Option<i64>,
    pod_max_backoff_seconds: Option<i64>,
    extenders: Vec<extenders::Given>,
    #[serde(rename = "parallelism")]
    _parallelism: Option<i64>,
    #[serde(rename = "leaderElection")]
    _leader_election: Option<Value>,
    #[serde(rename = "clientConnection")]
    _client_connection: Option<Value>,
    #[serde(rename = "enableProfiling")]
    _enable_profiling: Option<bool>,
    #[serde(rename = "enableContentionProfiling")]
    _enable_contention_profiling: Option<bool>,
    #[serde(rename = "delayCacheUntilActive")]
    _delay_cache_until_active: Option<bool>,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(10) }
    }
}

impl Default for Profiles {
    /// One, under the default name.
    fn default() -> Self {
        Self(vec![Profile::default()])
    }
}

impl Profiles {
    /// The profile that a pod asks for, if it is one of ours.
    pub(crate) fn of(&self, pod: &Pod) -> Option<&Profile> {
        self.named(scheduler(pod))
    }

    /// Who says which pod goes first: the same for all profiles.
    pub(crate) fn sort(&self) -> Option<Arc<dyn Plugin>> {
        self.0.first().and_then(Profile::sort).cloned()
    }

    /// Plugins that go by a kind of their own.
    pub(crate) fn followers(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        self.0.iter().flat_map(Profile::followers)
    }

    /// The profile with a name.
    pub(crate) fn named(&self, name: &str) -> Option<&Profile> {
        self.0.iter().find(|profile| *profile.name == *name)
    }
}

/// The scheduler that a pod asks for.
pub(crate) fn scheduler(pod: &Pod) -> &str {
    let asked = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    asked.filter(|name| !name.is_empty()).unwrap_or(NAME)
}

impl Configuration {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(yaml: &[u8]) -> Result<Self, ConfigurationError> {
        let unreadable = |error: String| ConfigurationError(vec![error]);
        let json = yaml_to_json(yaml).map_err(|error| unreadable(error.to_string()))?;
        let file = decode_own::<File>(&json, Strictness::Strict);
        let file = file.map_err(|error| unreadable(error.to_string()))?.object;
        let mut errors = Errors::new();
        if file.api_version != "kubescheduler.config.k8s.io/v1" {
            errors.not_supported("apiVersion", &file.api_version, &["kubescheduler.config.k8s.io/v1"]);
        }
        if file.kind != "KubeSchedulerConfiguration" {
            errors.not_supported("kind", &file.kind, &["KubeSchedulerConfiguration"]);
        }
        let percent = percent(file.percentage_of_nodes_to_score, &mut errors);
        let pauses = pauses(&file, &mut errors);
        let (extenders, ignored) = extenders::read(file.extenders, &mut errors);
        let profiles = profiles::read(file.profiles, percent, &ignored, &mut errors);
        if errors.is_empty() {
            return Ok(Self { profiles: Profiles(profiles), pauses, extenders });
        }
        Err(ConfigurationError(errors.list().iter().map(ToString::to_string).collect()))
    }
}

/// How many nodes are compared; zero is as good as nothing, as upstream.
fn percent(given: Option<i64>, errors: &mut Errors) -> Option<usize> {
    if let Some(value) = given.filter(|value| !(0..=100).contains(value)) {
        errors.invalid("percentageOfNodesToScore", &value, "not in valid range [0-100]");
    }
    given.and_then(|value| usize::try_from(value).ok()).filter(|value| *value > 0)
}

fn pauses(file: &File, errors: &mut Errors) -> Pauses {
    let first = file.pod_initial_backoff_seconds.unwrap_or(1);
    let longest = file.pod_max_backoff_seconds.unwrap_or(10);
    if first <= 0 {
        errors.invalid("podInitialBackoffSeconds", &first, "must be greater than 0");
    }
    if longest < first {
        let why = "must be greater than or equal to PodInitialBackoffSeconds";
        errors.invalid("podMaxBackoffSeconds", &longest, why);
    }
    let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or(0));
    Pauses { first: seconds(first), longest: seconds(longest) }
}

/// Reads a plugin's arguments; what does not belong there is noted.
pub(crate) fn args<T: DeserializeOwned + Default>(given: &Value, errors: &mut Errors) -> T {
    let mut given = given.clone();
    if given.is_null() {
        return T::default();
    }
    if let Some(fields) = given.as_object_mut() {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    match decode_own(given.to_string().as_bytes(), Strictness::Strict) {
        Ok(decoded) => decoded.object,
        Err(fault) => {
            errors.invalid("", &given, fault.to_string());
            T::default()
        }
    }
}

#[cfg(test)]
mod tests;
