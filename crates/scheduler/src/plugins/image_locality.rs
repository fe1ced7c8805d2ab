//! Nodes that have the pod's images already start it sooner.

use crate::plugin::{BEST, Event, Judge, Plugin};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot, image_name};

pub(crate) const PLUGIN: ImageLocality = ImageLocality;

pub(crate) struct ImageLocality;

const MEGABYTE: i64 = 1024 * 1024;
/// Smaller images are pulled so quickly that they should not count.
const LEAST: i64 = 23 * MEGABYTE;
/// Greater ones should not count more.
const MOST: i64 = 1000 * MEGABYTE;

struct Images<'a> {
    cluster: &'a Snapshot,
    names: Vec<String>,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let spec = pod.spec();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let names: Vec<String> = containers.filter_map(|c| c.image.as_deref()).map(image_name).collect();
        if names.is_empty() { None } else { Some(Box::new(Images { cluster, names })) }
    }

    fn helps(&self, _: Event) -> bool {
        false
    }
}

impl Judge for Images<'_> {
    fn prepare(&mut self, feasible: &[&Node]) -> bool {
        self.names.iter().any(|name| feasible.iter().any(|node| node.images.contains_key(name)))
    }

    /// The size of the images there, each counted by how many nodes have it, so that one lucky node does not draw all
    /// pods to itself.
    fn score(&self, node: &Node) -> i64 {
        let all = i64::try_from(self.cluster.len()).unwrap_or(1).max(1);
        let size = |name: &String| {
            let size = node.images.get(name).copied().unwrap_or(0);
            let spread = i64::try_from(self.cluster.holders(name)).unwrap_or(0);
            size / all * spread
        };
        let sum: i64 = self.names.iter().map(size).sum();
        let most = MOST * i64::try_from(self.names.len()).unwrap_or(1);
        BEST * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}
