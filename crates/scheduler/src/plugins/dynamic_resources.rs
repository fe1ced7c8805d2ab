//! Claims for devices: those that have theirs are used where these can be, the others get some on the node.
//!
//! Follows upstream's `plugins/dynamicresources`. What upstream treats as an error of the whole turn (a selector that cannot be
//! evaluated, say) is a refusal here: what may help is then a change of claim, class or devices, and nothing is tried again
//! before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelector, Pod};
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use skiff_api::pod::{affinity, claims};
use skiff_client::cache::decode;
use uuid::Uuid;

use crate::devices::{self, Claim, Devices, Needed, Scene, Steps};
use crate::event::{Event, Hope};
use crate::needs::Needs;
use crate::plugin::{Judge, Plugin, Refusal, Relief, scale};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, NodeId, Snapshot};

pub(crate) struct DynamicResources;

const ELSEWHERE: &str = "resourceclaim not available on the node";
const NOT_ENOUGH: &str = "cannot allocate all claims";
/// So many alternatives a request may have (upstream's `FirstAvailableDeviceRequestMaxSize`).
const ALTERNATIVES: i64 = 8;

/// A pod's claims, each there and meant for it.
///
/// # Errors
/// Which one is not.
fn find(pod: &Pod, devices: &Devices) -> Result<Vec<Arc<ResourceClaim>>, String> {
    let mut found = Vec::new();
    for named in claims::of(pod) {
        let name = claims::name(pod, named).map_err(|why| why.to_string())?;
        let Some(text) = name.text() else { continue };
        let key = skiff_api::meta::key(pod.metadata.namespace.as_deref(), text);
        let claim = devices.claim(&key).ok_or_else(|| format!("could not find ResourceClaim {key:?}"))?;
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("resourceclaim {text:?} is being deleted"));
        }
        if matches!(name, claims::Name::Made(_)) {
            claims::is_for(&claim, pod).map_err(|why| why.to_string())?;
        }
        found.push(claim);
    }
    Ok(found)
}

fn has_claims(pod: &Pending) -> bool {
    !claims::of(&pod.pod).is_empty()
}

/// From which nodes an allocated claim can be used; nothing if that is all of them.
fn selector(claim: &ResourceClaim) -> Option<&NodeSelector> {
    claim.status.as_ref()?.allocation.as_ref()?.node_selector.as_ref()
}

fn is_usable_on(claim: &ResourceClaim, node: &Node) -> bool {
    selector(claim).is_none_or(|selector| node.as_target(|target| affinity::matches(selector, target)))
}

/// Those of the claims that have no devices yet, made ready.
fn unallocated(all: &[Arc<ResourceClaim>], devices: &Devices) -> Result<Vec<Claim>, String> {
    let without: Vec<_> = all.iter().filter(|claim| !claims::is_allocated(claim)).cloned().collect();
    devices::prepare(&without, &|name| devices.class(name), &devices.rules)
}

/// A pod's claims, if it can use them at all.
///
/// # Errors
/// Why it cannot.
fn usable(pod: &Pending, devices: &Devices) -> Result<Vec<Arc<ResourceClaim>>, String> {
    let all = find(&pod.pod, devices)?;
    for claim in &all {
        if claims::is_allocated(claim) {
            if !claims::can_be_reserved(claim) && !claims::is_reserved_for(claim, &pod.pod) {
                return Err("resourceclaim in use".to_owned());
            }
        } else if devices.usage.holds(devices::uid(claim)) {
            return Err(format!(
                "resource claim {} is in the process of being allocated",
                devices::key(claim)
            ));
        }
    }
    unallocated(&all, devices).map(|_| all)
}

/// A pod's claims, and what nodes were told.
struct Allocator<'a> {
    devices: &'a Devices,
    /// Those that have devices.
    allocated: Vec<Arc<ResourceClaim>>,
    wanted: Vec<Claim>,
    steps: RefCell<Steps>,
    /// How well the nodes' devices suit, where requests have alternatives.
    scores: RefCell<HashMap<NodeId, i64>>,
    /// Whether there are alternatives.
    graded: bool,
}

impl<'a> Allocator<'a> {
    fn new(all: &[Arc<ResourceClaim>], devices: &'a Devices) -> Result<Self, String> {
        let wanted = unallocated(all, devices)?;
        let allocated = all.iter().filter(|claim| claims::is_allocated(claim)).cloned().collect();
        let graded = wanted.iter().flat_map(|claim| &claim.requests).any(|request| request.len() > 1);
        Ok(Self { devices, allocated, wanted, steps: RefCell::default(), scores: RefCell::default(), graded })
    }

    /// What the claims get on the node, in their order.
    fn allocate(&self, node: &Node) -> Result<Vec<AllocationResult>, String> {
        let scene = Scene { claims: &self.wanted, usage: &self.devices.usage, taints: &self.devices.taints };
        let pools = self.devices.inventory.reachable(node);
        let found = devices::search(&scene, &pools, &mut self.steps.borrow_mut())?;
        let picks = found.ok_or(NOT_ENOUGH)?;
        if self.graded {
            let mut requests = Vec::new();
            let grade = |rank: usize| ALTERNATIVES - i64::try_from(rank).unwrap_or(ALTERNATIVES);
            for pick in picks.iter().filter(|pick| pick.ask.name != pick.ask.parent) {
                let request = (pick.claim, &pick.ask.parent, grade(pick.rank));
                if !requests.contains(&request) {
                    requests.push(request);
                }
            }
            let score = requests.iter().map(|(.., grade)| grade).sum();
            self.scores.borrow_mut().insert(node.id, score);
        }
        let mut fresh = || Uuid::new_v4().to_string();
        let of = |(n, claim)| {
            let own: Vec<_> = picks.iter().filter(|pick| pick.claim == n).cloned().collect();
            devices::allocation(claim, &own, &node.name, &mut fresh)
        };
        Ok(self.wanted.iter().enumerate().map(of).collect())
    }
}

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }

    fn enqueue(&self, pod: &PodInfo, cluster: &Snapshot) -> Result<(), String> {
        if !cluster.devices.followed || devices::named(&pod.object).is_none() {
            return Ok(());
        }
        let Some(pod) = decode::<Pod>(&pod.object) else { return Ok(()) };
        find(&pod, &cluster.devices).map(drop)
    }

    fn admit(&self, pod: &Pending, cluster: &Snapshot) -> Result<(), String> {
        if has_claims(pod) { usable(pod, &cluster.devices).map(drop) } else { Ok(()) }
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        if !has_claims(pod) {
            return None;
        }
        let all = find(&pod.pod, &cluster.devices).ok()?;
        Some(Box::new(Allocator::new(&all, &cluster.devices).ok()?))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let own = devices::named(&pod.info.object).map(|named| named.claims.clone()).unwrap_or_default();
        Hope::new(move |event| match event {
            Event::NodeAdded(_) | Event::NodeLabels(_) | Event::NodeTaints(_) => true,
            Event::DevicesChanged | Event::DeviceClassChanged => true,
            Event::DeviceClaimChanged(change) => change.freed || own.iter().any(|key| **key == *change.key),
            _ => false,
        })
    }

    fn relief(&self, pod: &Pending, cluster: &Snapshot) -> Option<Relief> {
        if !cluster.devices.followed {
            return None;
        }
        let all = usable(pod, &cluster.devices).unwrap_or_default();
        if all.is_empty() {
            return Some(Relief::nothing("no new claims to deallocate"));
        }
        let idle = |claim: &&Arc<ResourceClaim>| {
            claims::consumers(claim).iter().all(|consumer| *consumer.uid == **pod.info.uid())
        };
        let now = cluster.devices.clock.now();
        let unusable = |claim: &&Arc<ResourceClaim>| {
            let allocated = claims::is_allocated(claim);
            allocated && devices::is_hopeless(claim, now)
                || cluster.nodes().any(|node| !is_usable_on(claim, node))
        };
        Some(match all.iter().filter(idle).find(unusable) {
            Some(claim) => {
                Relief { claim: Some(Arc::clone(claim)), words: "deallocation of ResourceClaim completed" }
            }
            None => Relief::nothing("still not schedulable"),
        })
    }

    fn needs(&self, pod: &Pending, cluster: &Snapshot, node: &str) -> Option<Needs> {
        if !has_claims(pod) {
            return None;
        }
        let all = find(&pod.pod, &cluster.devices).ok()?;
        let allocator = Allocator::new(&all, &cluster.devices).ok()?;
        let mut given = allocator.allocate(cluster.node(node)?).ok()?.into_iter();
        let needed = all.into_iter().map(|claim| {
            let allocation = if claims::is_allocated(&claim) { None } else { given.next() };
            Needed { claim, allocation }
        });
        let claims: Vec<Needed> = needed.collect();
        (!claims.is_empty()).then(|| devices::Needs { claims }.into())
    }
}

impl Judge for Allocator<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let now = self.devices.clock.now();
        let usable =
            |claim: &Arc<ResourceClaim>| is_usable_on(claim, node) && !devices::is_hopeless(claim, now);
        if !self.allocated.iter().all(usable) {
            return Err(Refusal::unsuitable(ELSEWHERE));
        }
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.allocate(node).map(drop).map_err(Refusal::unsuitable)
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        self.graded
    }

    fn score(&self, node: &Node) -> i64 {
        self.scores.borrow().get(&node.id).copied().unwrap_or(0)
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        scale(scores);
    }
}
