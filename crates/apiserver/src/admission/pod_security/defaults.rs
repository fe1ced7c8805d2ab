//! What applies where a namespace says nothing, and who is not judged at all: upstream's `PodSecurityConfiguration`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;

use super::policy::{self, Policy};
use crate::user::User;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::admission) struct Written {
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    exemptions: Exemptions,
}

/// Who is not judged, by exact names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exemptions {
    #[serde(default)]
    usernames: Vec<String>,
    #[serde(default)]
    runtime_classes: Vec<String>,
    #[serde(default)]
    namespaces: Vec<String>,
}

/// What applies without labels, and to whom nothing does.
#[derive(Debug, Default)]
pub(in crate::admission) struct Defaults {
    pub(super) policy: Policy,
    exemptions: Exemptions,
}

impl Defaults {
    /// # Errors
    /// What is wrong with it.
    pub(in crate::admission) fn new(written: Written) -> Result<Self, String> {
        let mut policy = Policy::default();
        for (field, text) in &written.defaults {
            let standard = match field.trim_end_matches("-version") {
                "enforce" => &mut policy.enforce,
                "audit" => &mut policy.audit,
                "warn" => &mut policy.warn,
                _ => return Err(format!("unknown field \"defaults.{field}\"")),
            };
            let invalid = |why: &str| format!("defaults.{field}: Invalid value: {text:?}: {why}");
            if field.ends_with("-version") {
                standard.version =
                    policy::version(text).ok_or_else(|| invalid("must be \"latest\" or \"v1.x\""))?;
            } else {
                standard.level = policy::level(text)
                    .ok_or_else(|| invalid("must be one of privileged, baseline, restricted"))?;
            }
        }
        let exemptions = written.exemptions;
        for (field, names) in [
            ("namespaces", &exemptions.namespaces),
            ("usernames", &exemptions.usernames),
            ("runtimeClasses", &exemptions.runtime_classes),
        ] {
            for (index, name) in names.iter().enumerate() {
                if name.is_empty() {
                    return Err(format!(
                        "exemptions.{field}[{index}]: Invalid value: \"\": must not be empty"
                    ));
                }
                if names[..index].contains(name) {
                    return Err(format!("exemptions.{field}[{index}]: Duplicate value: {name:?}"));
                }
            }
        }
        Ok(Self { policy, exemptions })
    }

    /// Whether a namespace is exempt.
    pub(super) fn spares(&self, namespace: &str) -> bool {
        self.exemptions.namespaces.iter().any(|own| own == namespace)
    }

    /// Why a pod is not judged, in the word that the audit log has for it.
    pub(super) fn exempts(&self, namespace: &str, user: &User, spec: &PodSpec) -> Option<&'static str> {
        let class = spec.runtime_class_name.as_deref().filter(|class| !class.is_empty());
        let has = |list: &[String], name: &str| list.iter().any(|own| own == name);
        if self.spares(namespace) {
            Some("namespace")
        } else if has(&self.exemptions.usernames, &user.name) {
            Some("user")
        } else {
            class.filter(|class| has(&self.exemptions.runtime_classes, class)).map(|_| "runtimeClass")
        }
    }

    /// Whether the pods of a runtime class are exempt.
    pub(super) fn spares_class(&self, spec: &PodSpec) -> bool {
        spec.runtime_class_name.as_ref().is_some_and(|class| self.exemptions.runtime_classes.contains(class))
    }
}
