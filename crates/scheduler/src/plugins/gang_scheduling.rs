//! Pods of a gang go together: none queues before as many are there as must go, and none goes unless as many can.
//!
//! Follows upstream's `plugins/gangscheduling` as of 1.37, where a gang's turn is one (`group.rs`): pods do not wait at a
//! permit, holding room that another gang that waits as well may need.

use std::sync::Arc;

use crate::event::{Event, Hope};
use crate::plugin::{Feasible, Plugin, Progress};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{PodGroup, Snapshot};

pub(crate) struct GangScheduling;

impl Plugin for GangScheduling {
    fn name(&self) -> &'static str {
        "GangScheduling"
    }

    fn enqueue(&self, pod: &PodInfo, cluster: &Snapshot) -> Result<(), String> {
        let groups = &cluster.groups;
        let Some(key) = pod.group.as_deref().filter(|_| groups.followed) else { return Ok(()) };
        let Some(group) = groups.known(key) else {
            let name = key.rsplit('/').next().unwrap_or(key);
            return Err(format!("waiting for pod's pod group {name:?} to appear in scheduling queue"));
        };
        if group.gang.is_some_and(|least| groups.size(key) < least) {
            return Err("waiting for minCount pods from a gang to appear in scheduling queue".to_owned());
        }
        Ok(())
    }

    fn feasible(&self, group: &PodGroup, Progress { placed, left }: Progress) -> Feasible {
        let least = group.least();
        if placed + left < least {
            let so_far = format!("{placed} scheduled, {left} remaining");
            return Feasible::No(format!("minCount ({least}) cannot be satisfied: {so_far}"));
        }
        if placed < least {
            let so_far = format!("{placed} scheduled, {left} remaining");
            return Feasible::NotYet(format!("minCount ({least}) is not yet satisfied: {so_far}"));
        }
        Feasible::Yes
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let own = pod.info.group.clone();
        Hope::new(move |event| match (event, &own) {
            (Event::GroupGrew(key), Some(own)) => Arc::ptr_eq(key, own) || key == own,
            _ => false,
        })
    }
}
