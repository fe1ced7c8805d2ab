//! What the pod asks for must be free on the node; the emptier the node, the better.

use crate::plugin::{BEST, Event, Judge, Plugin, Refusal};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: ResourcesFit = ResourcesFit;

pub(crate) struct ResourcesFit;

struct Asks<'a>(&'a PodInfo);

impl Plugin for ResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        Some(Box::new(Asks(&pod.info)))
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeCapacity | Event::PodGone)
    }
}

impl Judge for Asks<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let mut refusal = Refusal { reasons: Vec::new(), resolvable: true };
        if node.pods.len() + 1 > node.room {
            refusal.reasons.push("Too many pods".to_owned());
        }
        for (name, asked) in self.0.requests.iter().filter(|(_, asked)| *asked > 0) {
            let whole = node.allocatable.get(name);
            if asked > whole - node.requested.get(name) {
                refusal.reasons.push(format!("Insufficient {name}"));
                // An empty node would not do either.
                refusal.resolvable &= asked <= whole;
            }
        }
        if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        true
    }

    /// The mean of the free shares of CPU and memory.
    fn score(&self, node: &Node) -> i64 {
        let free = |whole: i64, used: i64| if used > whole { 0 } else { (whole - used) * BEST / whole };
        let (cpu, memory) = (node.assumed.0 + self.0.assumed.0, node.assumed.1 + self.0.assumed.1);
        let (mut sum, mut count) = (0, 0);
        for (whole, used) in [(node.allocatable.cpu, cpu), (node.allocatable.memory, memory)] {
            if whole > 0 {
                sum += free(whole, used);
                count += 1;
            }
        }
        if count == 0 { 0 } else { sum / count }
    }
}
