//! From the slices there are to the slices there should be, with as few writes as can be; pure.
//!
//! As upstream's reconciler: endpoints stay in their slice; what is new goes first into slices that must be written
//! anyway, then into one that has room for all of the rest, and only then into new slices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::desired::{Group, key};
use crate::shared::pods::name_prefix;

/// The most endpoints in a slice.
const FULL: usize = 100;

/// What to write.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

/// A slice being looked at, with the endpoints it is to have.
struct Open {
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

/// What all slices of one service bear.
pub(crate) struct Frame {
    pub(crate) service: String,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) owner: OwnerReference,
}

/// What turns `held` into slices of the groups.
pub(crate) fn plan(frame: &Frame, groups: Vec<Group>, held: Vec<Arc<EndpointSlice>>) -> Plan {
    let mut plan = Plan::default();
    let mut by_group: HashMap<(String, String), Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in held {
        if slice.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let place = (slice.address_type.clone(), key(slice.ports.as_deref().unwrap_or_default()));
        by_group.entry(place).or_default().push(slice);
    }
    for group in groups {
        let slices = by_group.remove(&(group.family.clone(), key(&group.ports))).unwrap_or_default();
        fill(frame, group, slices, &mut plan);
    }
    // Ports or families that no pod has any more.
    plan.delete.extend(by_group.into_values().flatten());
    reuse(frame, &mut plan);
    plan
}

/// Who an endpoint is for: the same pod at the same address is the same endpoint, whatever its conditions.
fn identity(endpoint: &Endpoint) -> (String, String) {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default();
    (uid, endpoint.addresses.join(","))
}

fn fill(frame: &Frame, group: Group, mut slices: Vec<Arc<EndpointSlice>>, plan: &mut Plan) {
    let Group { family, ports, endpoints } = group;
    let mut wanted: BTreeMap<(String, String), Endpoint> =
        endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut open: Vec<Open> = slices.into_iter().map(|slice| keep(frame, slice, &mut wanted)).collect();

    let mut rest: Vec<Endpoint> = wanted.into_values().collect();
    for slice in open.iter_mut().filter(|slice| slice.changed) {
        let room = FULL.saturating_sub(slice.endpoints.len()).min(rest.len());
        slice.endpoints.extend(rest.drain(..room));
    }
    if !rest.is_empty() {
        // The fullest slice that has room for all: slices stay few.
        let fits = |slice: &&mut Open| slice.endpoints.len() + rest.len() <= FULL;
        if let Some(slice) = open.iter_mut().filter(fits).max_by_key(|slice| slice.endpoints.len()) {
            slice.endpoints.append(&mut rest);
            slice.changed = true;
        }
    }
    let none_before = open.is_empty();
    let fresh = |endpoints: &[Endpoint]| EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(&frame.service)),
            namespace: frame.namespace.clone(),
            labels: Some(frame.labels.clone()),
            owner_references: Some(vec![frame.owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: family.clone(),
        endpoints: Some(endpoints.to_vec()),
        ports: Some(ports.clone()),
    };
    plan.create.extend(rest.chunks(FULL).map(&fresh));
    if none_before && rest.is_empty() {
        plan.create.push(fresh(&[]));
    }
    // A slice with nothing left goes, unless it is the last one.
    let filled = open.iter().filter(|slice| !slice.endpoints.is_empty()).count();
    let mut spare = usize::from(filled == 0 && rest.is_empty());
    for Open { slice, endpoints, changed } in open {
        if endpoints.is_empty() {
            if spare == 0 {
                plan.delete.push(slice);
                continue;
            }
            spare -= 1;
        }
        if changed {
            let mut written = (*slice).clone();
            written.metadata.labels = Some(frame.labels.clone());
            written.endpoints = Some(endpoints);
            plan.update.push(written);
        }
    }
}

/// A held slice without the endpoints that are no longer wanted, and with the others as they are now; takes from
/// `wanted` those that it has.
fn keep(frame: &Frame, slice: Arc<EndpointSlice>, wanted: &mut BTreeMap<(String, String), Endpoint>) -> Open {
    let before = slice.endpoints.as_deref().unwrap_or_default();
    let mut changed = slice.metadata.labels.as_ref() != Some(&frame.labels);
    let mut endpoints = Vec::with_capacity(before.len());
    for endpoint in before {
        match wanted.remove(&identity(endpoint)) {
            Some(fresh) => {
                changed |= fresh != *endpoint;
                endpoints.push(fresh);
            }
            None => changed = true,
        }
    }
    Open { slice, endpoints, changed }
}

/// Writing a slice over another is one write instead of two. Only where family and count allow it.
fn reuse(frame: &Frame, plan: &mut Plan) {
    while let (Some(fresh), Some(old)) = (plan.create.last(), plan.delete.last()) {
        if fresh.address_type != old.address_type {
            return;
        }
        let (Some(fresh), Some(old)) = (plan.create.pop(), plan.delete.pop()) else { return };
        let mut written = (*old).clone();
        written.metadata.labels = Some(frame.labels.clone());
        written.endpoints = fresh.endpoints;
        written.ports = fresh.ports;
        plan.update.push(written);
    }
}
