//! What admission plugins are told besides their names: an AdmissionConfiguration, as upstream's
//! `--admission-control-config-file` has it.
//!
//! A plugin's own part is in the file, or in another one beside it. A part for a plugin that takes none is refused: who
//! wrote it believes that it does something.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::decode::yaml_to_json;

use super::event_rate_limit::{Limit, Rates};
use super::pod_node_selector::Selectors;
use super::pod_security::Defaults;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionConfigurationError {
    /// A file cannot be read.
    #[error("read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{0}")]
    Malformed(String),
}

/// What plugins are told.
#[derive(Debug, Default)]
pub struct AdmissionConfiguration {
    pub(super) pod_security: Defaults,
    pub(super) event_rates: Option<Rates>,
    pub(super) node_selectors: Selectors,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Part {
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRates {
    limits: Vec<Limit>,
}

impl AdmissionConfiguration {
    /// Reads a file, and those that it names.
    ///
    /// # Errors
    /// If one cannot be read, or says what there is not.
    pub fn read(path: &Path) -> Result<Self, AdmissionConfigurationError> {
        let beside = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text(path)?, beside)
    }

    /// Reads the text of a file; paths in it are relative to `beside`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(yaml: &str, beside: &Path) -> Result<Self, AdmissionConfigurationError> {
        let file: File = read(value(yaml)?)?;
        let known = ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];
        if !known.contains(&file.api_version.as_str()) || file.kind != "AdmissionConfiguration" {
            return Err(unknown(&file.api_version, &file.kind));
        }
        let mut whole = Self::default();
        for part in file.plugins {
            let own = match part.configuration {
                Some(own) => own,
                None if part.path.is_empty() => continue,
                None => value(&text(&beside.join(&part.path))?)?,
            };
            whole.take(&part.name, own)?;
        }
        Ok(whole)
    }

    fn take(&mut self, plugin: &str, own: Value) -> Result<(), AdmissionConfigurationError> {
        let malformed = |why: String| AdmissionConfigurationError::Malformed(format!("{plugin}: {why}"));
        match plugin {
            "PodSecurity" => {
                let own = kinded(own, "PodSecurityConfiguration", |version| {
                    version.starts_with("pod-security.admission.config.k8s.io/v1")
                })?;
                self.pod_security = Defaults::new(read(own)?).map_err(malformed)?;
            }
            "EventRateLimit" => {
                let own = kinded(own, "Configuration", |version| {
                    version == "eventratelimit.admission.k8s.io/v1alpha1"
                })?;
                let rates: EventRates = read(own)?;
                self.event_rates = Some(Rates::new(rates.limits).map_err(malformed)?);
            }
            "PodNodeSelector" => {
                let mut own = own;
                let own = own["podNodeSelectorPluginConfig"].take();
                self.node_selectors = Selectors::new(read(own)?).map_err(malformed)?;
            }
            _ => return Err(malformed("this plugin takes no configuration".to_owned())),
        }
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, AdmissionConfigurationError> {
    std::fs::read_to_string(path)
        .map_err(|source| AdmissionConfigurationError::Unreadable { path: path.to_owned(), source })
}

fn value(yaml: &str) -> Result<Value, AdmissionConfigurationError> {
    let malformed = |why: String| AdmissionConfigurationError::Malformed(why);
    let json = yaml_to_json(yaml.as_bytes()).map_err(|error| malformed(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| malformed(error.to_string()))
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, AdmissionConfigurationError> {
    serde_json::from_value(value).map_err(|error| AdmissionConfigurationError::Malformed(error.to_string()))
}

fn unknown(version: &str, kind: &str) -> AdmissionConfigurationError {
    AdmissionConfigurationError::Malformed(format!("no kind {kind:?} is registered for version {version:?}"))
}

/// The fields of an object that must be of this kind, without version and kind.
fn kinded(
    mut own: Value,
    kind: &str,
    version: fn(&str) -> bool,
) -> Result<Value, AdmissionConfigurationError> {
    let word = |field: &str| own[field].as_str().unwrap_or_default().to_owned();
    let (own_version, own_kind) = (word("apiVersion"), word("kind"));
    if own_kind != kind || !version(&own_version) {
        return Err(unknown(&own_version, &own_kind));
    }
    if let Some(fields) = own.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(plugins: &str) -> String {
        let yaml = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{plugins}]}}"
        );
        AdmissionConfiguration::parse(&yaml, Path::new("."))
            .map(|_| "fine".to_owned())
            .unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let rates = |limits: &str| {
            fault(&format!(
                "{{name: EventRateLimit, configuration: {{apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: \
                 Configuration, limits: [{limits}]}}}}"
            ))
        };
        assert_eq!(rates("{type: Server, qps: 1, burst: 1}"), "fine");
        assert_eq!(rates(""), "EventRateLimit: limits: Invalid value: no limits");
        assert!(rates("{type: Odd, qps: 1, burst: 1}").contains("unknown variant `Odd`"));
        assert!(rates("{type: User, qps: 0, burst: 1}").contains("must be positive"));
        let security = |rest: &str| {
            fault(&format!(
                "{{name: PodSecurity, configuration: {{apiVersion: pod-security.admission.config.k8s.io/v1, kind: \
                 PodSecurityConfiguration, {rest}}}}}"
            ))
        };
        assert_eq!(security("defaults: {enforce: baseline, enforce-version: v1.30}"), "fine");
        assert!(
            security("defaults: {enforce: odd}").contains("must be one of privileged, baseline, restricted")
        );
        assert!(security("exceptions: {}").contains("unknown field"));
        assert!(fault("{name: LimitRanger, configuration: {}}").contains("takes no configuration"));
        assert!(fault("{name: PodSecurity, path: /nowhere}").contains("/nowhere"));
    }
}
