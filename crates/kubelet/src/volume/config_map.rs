//! configMap: the keys of a ConfigMap as files.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Volume};

use super::kind::{Job, Kind, Place};
use super::payload::{Keys, Payload, add_keys};
use super::{Problem, objects};

pub(super) struct ConfigMapKind;
pub(super) const KIND: ConfigMapKind = ConfigMapKind;

impl Kind for ConfigMapKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/configmap"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn is_local(&self, _volume: &Volume) -> bool {
        true
    }

    fn is_live(&self) -> bool {
        true
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let mut payload = Payload::default();
            if let Some(source) = &job.volume.config_map {
                let optional = source.optional.unwrap_or(false);
                let wanted = Wanted { name: &source.name, items: source.items.as_deref(), optional };
                add(job, &mut payload, &wanted, source.default_mode).await?;
            }
            Ok(Place::Files(payload))
        })
    }
}

/// Which keys of which map.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) items: Option<&'a [KeyToPath]>,
    pub(super) optional: bool,
}

/// Adds a ConfigMap's files; projected volumes do so too.
pub(super) async fn add(
    job: &Job<'_>,
    payload: &mut Payload,
    wanted: &Wanted<'_>,
    default_mode: Option<i32>,
) -> Result<(), Problem> {
    let feed = job.inner.objects.config_map(job.namespace(), wanted.name);
    match objects::heard(feed).await {
        Some(Some(map)) => add_keys(payload, &keys(&map), wanted.items, default_mode, wanted.optional),
        Some(None) if wanted.optional => Ok(()),
        Some(None) => Err(Problem::new(format!("configmap {:?} not found", wanted.name))),
        None => Err(Problem::new("failed to sync configmap cache: timed out waiting for the condition")),
    }
}

fn keys(map: &ConfigMap) -> Keys<'_> {
    let mut values = BTreeMap::new();
    values.extend(map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes())));
    values.extend(map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())));
    Keys { values, missing: "configmap references non-existent config key" }
}
