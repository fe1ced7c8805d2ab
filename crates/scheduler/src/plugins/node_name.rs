//! A pod that names its node runs there or nowhere.

use std::hash::Hasher;

use crate::event::{Event, Hope};
use crate::plugin::{Judge, Plugin, Refusal, Share};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) struct NodeName;

struct Named<'a>(&'a str);

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let name = skiff_api::pod::node_name(&pod.pod)?;
        Some(Box::new(Named(name)))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let name = skiff_api::pod::node_name(&pod.pod).unwrap_or_default().to_owned();
        Hope::new(move |event| matches!(event, Event::NodeAdded(node) if *node.name == *name))
    }
}

impl Judge for Named<'_> {
    fn share(&self, key: &mut dyn Hasher) -> Share {
        key.write(self.0.as_bytes());
        Share::Everything
    }

    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        if &*node.name == self.0 {
            return Ok(());
        }
        Err(Refusal::unsuitable("node(s) didn't match the requested node name"))
    }
}
