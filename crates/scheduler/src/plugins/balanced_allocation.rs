//! Nodes on which CPU and memory would be used up alike suit better.

use crate::plugin::{BEST, Event, Judge, Plugin};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: BalancedAllocation = BalancedAllocation;

pub(crate) struct BalancedAllocation;

struct Balance<'a>(&'a PodInfo);

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A pod that asks for nothing changes no balance.
    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let requests = &pod.info.requests;
        if requests.cpu == 0 && requests.memory == 0 { None } else { Some(Box::new(Balance(&pod.info))) }
    }

    fn helps(&self, _: Event) -> bool {
        false
    }
}

impl Judge for Balance<'_> {
    fn prepare(&mut self, _: &[&Node]) -> bool {
        true
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "shares between 0 and 1"
    )]
    fn score(&self, node: &Node) -> i64 {
        let share = |whole: i64, used: i64| (whole > 0).then(|| (used as f64 / whole as f64).min(1.0));
        let asked = &self.0.requests;
        let cpu = share(node.allocatable.cpu, node.requested.cpu + asked.cpu);
        let memory = share(node.allocatable.memory, node.requested.memory + asked.memory);
        // The standard deviation of two numbers is half their distance.
        let deviation = match (cpu, memory) {
            (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
            _ => 0.0,
        };
        ((1.0 - deviation) * BEST as f64) as i64
    }
}
