//! PodNodeSelector: the pods of a namespace run on the nodes that an annotation of the namespace selects, or else the
//! configuration, which may also say what the pods of a namespace may select at all. Off unless asked for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use skiff_api::ApiError;
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

/// What the configuration says.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    /// For namespaces without an annotation.
    default: BTreeMap<String, String>,
    /// What pods may select, by namespace; nothing for anything.
    allowed: BTreeMap<String, BTreeMap<String, String>>,
}

impl Selectors {
    /// From texts by namespace, and `clusterDefaultNodeSelector`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(texts: BTreeMap<String, String>) -> Result<Self, String> {
        let mut selectors = Self::default();
        for (name, text) in texts {
            let read = parse(&text).ok_or_else(|| format!("{name}: invalid node selector {text:?}"))?;
            let read = read.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            if name == "clusterDefaultNodeSelector" {
                selectors.default = read;
            } else {
                selectors.allowed.insert(name, read);
            }
        }
        Ok(selectors)
    }
}

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::optional("PodNodeSelector") };

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>().filter(|_| attempt.creates()) else {
        return Ok(());
    };
    let key = Key::new("namespaces", attempt.scope.namespace);
    let namespace =
        attempt.scope.api.store.get(&key).and_then(|stored| stored.object().decode::<Namespace>().ok());
    let annotations = namespace.as_ref().and_then(|namespace| namespace.metadata.annotations.as_ref());
    let configured = &attempt.scope.api.settings.admission.configuration.node_selectors;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let wanted = match annotations.and_then(|all| all.get(ANNOTATION)) {
        Some(selector) => parse(selector).ok_or_else(|| {
            attempt.forbidden(&name, format!("invalid node selector {selector:?} of the namespace"))
        })?,
        None => configured.default.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
    };
    let allowed = configured.allowed.get(attempt.scope.namespace).filter(|allowed| !allowed.is_empty());
    if wanted.is_empty() && allowed.is_none() {
        return Ok(());
    }
    let own = pod.spec.get_or_insert_default().node_selector.get_or_insert_default();
    if wanted.iter().any(|(key, value)| own.get(*key).is_some_and(|own| own != value)) {
        let why = "pod node label selector conflicts with its namespace node label selector";
        return Err(attempt.forbidden(&name, why));
    }
    own.extend(wanted.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    let strays =
        |allowed: &BTreeMap<String, String>| own.iter().any(|(key, value)| allowed.get(key) != Some(value));
    if allowed.is_some_and(strays) {
        let why = "pod node label selector labels conflict with its namespace whitelist";
        return Err(attempt.forbidden(&name, why));
    }
    Ok(())
}

/// `a=b,c=d`
fn parse(text: &str) -> Option<BTreeMap<&str, &str>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').map(|(key, value)| (key.trim(), value.trim()))).collect()
}
