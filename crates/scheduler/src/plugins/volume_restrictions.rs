//! A claim that only one pod may use at a time is used by one pod at a time.

use skiff_api::volume;

use crate::event::{Event, Hope};
use crate::plugin::{Judge, Plugin, Refusal};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) struct VolumeRestrictions;

const CONFLICT: &str =
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

/// In use elsewhere, be it where it may.
struct InUse;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let alone = |key: &&std::sync::Arc<str>| {
            let claim = cluster.storage.claim(key);
            let modes = claim.as_ref().and_then(|claim| claim.spec.as_ref()?.access_modes.as_ref());
            modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod"))
        };
        let mut alone = pod.info.claims.iter().filter(alone);
        let used = alone.any(|key| cluster.nodes().any(|node| node.claims.contains_key(key)));
        used.then(|| Box::new(InUse) as Box<dyn Judge + 'a>)
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let claims = pod.info.claims.clone();
        Hope::new(move |event| match event {
            Event::PodGone(gone) => gone.claims.iter().any(|claim| claims.contains(claim)),
            event => event.changes_claim(&claims),
        })
    }
}

impl Judge for InUse {
    fn filter(&self, _: &Node) -> Result<(), Refusal> {
        Err(Refusal::crowded(CONFLICT))
    }
}

/// The claims of a pod by `namespace/name`.
pub(crate) fn claims(pod: &k8s_openapi::api::core::v1::Pod) -> Vec<std::sync::Arc<str>> {
    let namespace = pod.metadata.namespace.as_deref();
    volume::claims(pod).map(|(name, _)| skiff_api::meta::key(namespace, &name)).collect()
}
