//! Volumes that say by label in which zone they are go with nodes of that zone.

use k8s_openapi::api::core::v1::PersistentVolume;

use crate::event::{Event, Hope};
use crate::plugin::{Judge, Plugin, Refusal};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) struct VolumeZone;

/// Labels that name a place, old and new.
const PLACES: [(&str, &str); 2] = [
    ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
];

/// A label and the values that will do.
struct Zones(Vec<((&'static str, &'static str), Vec<String>)>);

fn places(volume: &PersistentVolume) -> impl Iterator<Item = ((&'static str, &'static str), Vec<String>)> {
    let labels = volume.metadata.labels.clone().unwrap_or_default();
    PLACES.into_iter().filter_map(move |names| {
        let value = labels.get(names.0).or_else(|| labels.get(names.1))?;
        // A volume in several zones lists them so.
        Some((names, value.split("__").map(str::to_owned).collect()))
    })
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let claims = pod.info.claims.iter().filter_map(|key| cluster.storage.claim(key));
        let volumes =
            claims.filter_map(|claim| cluster.storage.volume(skiff_api::volume::volume_name(&claim)?));
        let zones: Vec<_> = volumes.flat_map(|volume| places(&volume).collect::<Vec<_>>()).collect();
        (!zones.is_empty()).then(|| Box::new(Zones(zones)) as Box<dyn Judge + 'a>)
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let claims = pod.info.claims.clone();
        Hope::new(move |event| match event {
            Event::NodeAdded(_) | Event::NodeLabels(_) | Event::VolumeChanged | Event::ClassChanged => true,
            event => event.changes_claim(&claims),
        })
    }
}

impl Judge for Zones {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let label = |(new, old): (&str, &str)| node.labels.get(new).or_else(|| node.labels.get(old));
        if PLACES.iter().all(|names| label(*names).is_none()) {
            return Ok(());
        }
        for (names, wanted) in &self.0 {
            if !label(*names).is_some_and(|value| wanted.iter().any(|zone| **zone == **value)) {
                return Err(Refusal::unsuitable("node(s) had no available volume zone"));
            }
        }
        Ok(())
    }
}
