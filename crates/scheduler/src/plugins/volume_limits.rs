//! NodeVolumeLimits: a node takes as many volumes of a driver as the driver says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_api::volume;

use crate::event::{Event, Hope};
use crate::plugin::{Judge, Plugin, Refusal};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};
use crate::storage::Storage;

pub(crate) struct VolumeLimits;

/// Volumes by driver.
type ByDriver = HashMap<String, HashSet<String>>;

struct Counted<'a> {
    new: ByDriver,
    storage: &'a Storage,
}

/// The volumes of drivers behind some claims.
fn volumes<'a>(claims: impl Iterator<Item = &'a Arc<str>>, storage: &Storage) -> ByDriver {
    let mut found = ByDriver::new();
    for key in claims {
        let Some(claim) = storage.claim(key) else { continue };
        let held = volume::volume_name(&claim).and_then(|name| storage.volume(name));
        let csi = held.as_ref().and_then(|volume| volume.spec.as_ref()?.csi.as_ref());
        if let Some(csi) = csi {
            found.entry(csi.driver.clone()).or_default().insert(csi.volume_handle.clone());
        } else if volume::volume_name(&claim).is_none()
            && let Some(class) = storage.class(&claim)
        {
            // Yet to be made: counts under its claim's name.
            found.entry(class.provisioner.clone()).or_default().insert(key.to_string());
        }
    }
    found
}

impl Plugin for VolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        if pod.info.claims.is_empty() || cluster.storage.csi_nodes.is_empty() {
            return None;
        }
        let new = volumes(pod.info.claims.iter(), &cluster.storage);
        (!new.is_empty()).then(|| Box::new(Counted { new, storage: &cluster.storage }) as Box<dyn Judge + 'a>)
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let claims = pod.info.claims.clone();
        Hope::new(move |event| match event {
            Event::NodeAdded(_) | Event::CsiNodeChanged => true,
            Event::PodGone(gone) => !gone.claims.is_empty(),
            event => event.changes_claim(&claims),
        })
    }
}

impl Judge for Counted<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let mut held = None;
        for (driver, new) in &self.new {
            let Some(limit) = self.storage.limit(&node.name, driver) else { continue };
            let held = held.get_or_insert_with(|| volumes(node.claims.keys(), self.storage));
            let there = held.get(driver).cloned().unwrap_or_default();
            if there.union(new).count() > limit {
                return Err(Refusal::crowded("node(s) exceed max volume count"));
            }
        }
        Ok(())
    }
}
