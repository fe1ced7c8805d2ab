//! Cordoned nodes take no new pods, except those that tolerate it.

use std::hash::Hasher;

use k8s_openapi::api::core::v1::Taint;
use skiff_api::names::TAINT_UNSCHEDULABLE;
use skiff_api::pod::tolerations::{NO_SCHEDULE, tolerates};

use crate::event::Hope;
use crate::plugin::{Judge, Plugin, Refusal, Share};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) struct NodeUnschedulable;

struct Cordon;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let taint =
            Taint { key: TAINT_UNSCHEDULABLE.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
        let mut tolerations = pod.spec().tolerations.iter().flatten();
        if tolerations.any(|toleration| tolerates(toleration, &taint)) {
            None
        } else {
            Some(Box::new(Cordon))
        }
    }

    fn hope(&self, _: &Pending, _: &Snapshot) -> Hope {
        Hope::new(|event| event.makes_right(|node| !node.unschedulable))
    }
}

impl Judge for Cordon {
    fn share(&self, _: &mut dyn Hasher) -> Share {
        Share::Everything
    }

    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        if node.unschedulable { Err(Refusal::unsuitable("node(s) were unschedulable")) } else { Ok(()) }
    }
}
