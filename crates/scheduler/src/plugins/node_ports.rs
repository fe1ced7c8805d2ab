//! Ports of the host can be had once on each node.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use skiff_api::pod::ports::HostPort;

use crate::event::{Event, Hope};
use crate::plugin::{Judge, Plugin, Refusal, Share};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

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

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let ports = pod.info.ports.clone();
        Hope::new(move |event| match event {
            Event::NodeAdded(_) => true,
            Event::PodGone(gone) => {
                gone.ports.iter().any(|held| ports.iter().any(|port| held.clashes_with(port)))
            }
            _ => false,
        })
    }
}

impl Judge for Wanted<'_> {
    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        self.0.hash(&mut key);
        Share::Everything
    }

    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let taken = |port: &HostPort| node.ports.keys().any(|held| held.clashes_with(port));
        if self.0.iter().any(taken) {
            return Err(Refusal::crowded("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
