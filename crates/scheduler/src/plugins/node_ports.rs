//! Ports of the host can be had once on each node.

use std::collections::BTreeSet;

use skiff_api::pod::ports::HostPort;

use crate::plugin::{Event, Judge, Plugin, Refusal};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: NodePorts = NodePorts;

pub(crate) struct NodePorts;

struct Wanted<'a>(&'a BTreeSet<HostPort>);

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let ports = &pod.info.ports;
        if ports.is_empty() { None } else { Some(Box::new(Wanted(ports))) }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::PodGone)
    }
}

impl Judge for Wanted<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let taken = |port: &HostPort| node.ports.keys().any(|held| held.clashes_with(port));
        if self.0.iter().any(taken) {
            return Err(Refusal::crowded("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
