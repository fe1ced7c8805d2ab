//! Which replica set is which: the one of the present template, the revisions of all, names by hash, annotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Label: tells the pods of a deployment's replica sets apart.
pub(super) const HASH: &str = "pod-template-hash";
/// Annotation: the number of a replica set in its deployment's history.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation: numbers that a replica set had before.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotation: how many replicas the deployment wanted when the set was last looked at.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation: how many there may have been at most.
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a deployment that are its own and not its replica sets'.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// The template as the deployment has it: without the label that tells replica sets apart.
fn plain(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(meta) = &mut template.metadata {
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH);
        }
        meta.labels.take_if(|labels| labels.is_empty());
        meta.annotations.take_if(|map| map.is_empty());
        meta.creation_timestamp = None;
    }
    template.metadata.take_if(|meta| *meta == Default::default());
    template
}

/// True if the set's pods are as the deployment now wants them.
pub(super) fn is_current(deployment: &Deployment, set: &ReplicaSet) -> bool {
    set.spec.template.as_ref().is_some_and(|own| plain(own) == plain(&deployment.spec.template))
}

/// The sets from old to new.
pub(super) fn by_age(sets: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let mut sorted = sets.to_vec();
    sorted.sort_by_key(|set| {
        let meta = &set.metadata;
        (meta.creation_timestamp.as_ref().map(|time| time.0), meta.name.clone())
    });
    sorted
}

/// The number of an object's annotation.
pub(super) fn number(annotations: Option<&BTreeMap<String, String>>, key: &str) -> Option<i64> {
    annotations?.get(key)?.parse().ok()
}

/// A set's revision; 0 if it has none.
pub(super) fn of(set: &ReplicaSet) -> i64 {
    number(set.metadata.annotations.as_ref(), REVISION).unwrap_or(0)
}

/// The annotations that the current set of the deployment shall have.
pub(super) fn annotations(
    deployment: &Deployment,
    old: Option<&BTreeMap<String, String>>,
    revision: i64,
    max: i32,
) -> BTreeMap<String, String> {
    let mut wanted = old.cloned().unwrap_or_default();
    let given = deployment.metadata.annotations.iter().flatten();
    for (key, value) in given.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())) {
        wanted.insert(key.clone(), value.clone());
    }
    let before = number(old, REVISION).unwrap_or(0);
    if before < revision {
        if before > 0 {
            let history = wanted.get(HISTORY).map(|held| format!("{held},{before}"));
            wanted.insert(HISTORY.to_owned(), history.unwrap_or_else(|| before.to_string()));
        }
        wanted.insert(REVISION.to_owned(), revision.to_string());
    }
    wanted.extend(counts(deployment.spec.replicas.unwrap_or(1), max));
    wanted
}

/// The annotations that remember how many were wanted.
pub(super) fn counts(desired: i32, max: i32) -> [(String, String); 2] {
    [(DESIRED.to_owned(), desired.to_string()), (MAX.to_owned(), max.to_string())]
}
