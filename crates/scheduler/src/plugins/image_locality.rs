//! Nodes that have the pod's images already start it sooner.

use std::hash::{Hash, Hasher};

use crate::plugin::{BEST, Judge, Plugin, Share};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot, image_name};

pub(crate) struct ImageLocality;

const MEGABYTE: i64 = 1024 * 1024;
/// Smaller images are pulled so quickly that they should not count.
const LEAST: i64 = 23 * MEGABYTE;
/// Greater ones should not count more.
const MOST: i64 = 1000 * MEGABYTE;

/// The pod's images, each with the number of nodes that have it, and the number of all nodes.
struct Images {
    names: Vec<(String, i64)>,
    nodes: i64,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let spec = pod.spec();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let held = |name: String| {
            let holders = number(cluster.holders.of(&name));
            (name, holders)
        };
        let names: Vec<(String, i64)> =
            containers.filter_map(|c| c.image.as_deref()).map(image_name).map(held).collect();
        if names.iter().all(|(_, holders)| *holders == 0) {
            return None;
        }
        Some(Box::new(Images { names, nodes: number(cluster.len()).max(1) }))
    }
}

impl Judge for Images {
    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        (&self.names, self.nodes).hash(&mut key);
        Share::Everything
    }

    fn prepare(&mut self, feasible: &[&Node]) -> bool {
        self.names.iter().any(|(name, _)| feasible.iter().any(|node| node.images.contains_key(name)))
    }

    /// The size of the images there, each counted by how many nodes have it, so that one lucky node does not draw all
    /// pods to itself.
    fn score(&self, node: &Node) -> i64 {
        let size = |(name, holders): &(String, i64)| {
            node.images.get(name).copied().unwrap_or(0) / self.nodes * holders
        };
        let sum: i64 = self.names.iter().map(size).sum();
        let most = MOST * i64::try_from(self.names.len()).unwrap_or(1);
        BEST * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}
