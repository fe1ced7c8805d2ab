//! What is written into a claim's status: its devices, how they are to be set up, and on which nodes they can be used.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceRequestAllocationResult,
};

use super::device::Reach;
use super::search::Pick;
use super::wanted::Claim;

/// The allocation of a claim that got these devices on a node; `fresh` gives a new id for each part of a shared device.
pub(crate) fn allocation(
    claim: &Claim,
    picks: &[Pick<'_>],
    node: &str,
    fresh: &mut dyn FnMut() -> String,
) -> AllocationResult {
    let results = picks.iter().map(|pick| result(pick, fresh)).collect();
    let config = configuration(claim, picks);
    AllocationResult {
        allocation_timestamp: None,
        devices: Some(DeviceAllocationResult {
            config: (!config.is_empty()).then_some(config),
            results: Some(results),
        }),
        node_selector: node_selector(picks, node),
    }
}

fn result(pick: &Pick<'_>, fresh: &mut dyn FnMut() -> String) -> DeviceRequestAllocationResult {
    let consumed = pick.part.as_ref().map(|part| {
        part.iter().map(|(name, amount)| (name.clone(), amount.to_text())).collect::<BTreeMap<_, _>>()
    });
    let tolerations = &pick.ask.tolerations;
    DeviceRequestAllocationResult {
        admin_access: pick.ask.admin.then_some(true),
        binding_conditions: pick.device.spec.binding_conditions.clone(),
        binding_failure_conditions: pick.device.spec.binding_failure_conditions.clone(),
        consumed_capacity: consumed,
        device: pick.device.spec.name.clone(),
        driver: pick.device.driver.to_string(),
        pool: pick.device.pool.to_string(),
        request: pick.ask.name.clone(),
        share_id: pick.part.is_some().then(fresh),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        ..DeviceRequestAllocationResult::default()
    }
}

/// How the devices are to be set up: what their classes say, then what the claim says about the requests that were chosen.
fn configuration(claim: &Claim, picks: &[Pick<'_>]) -> Vec<DeviceAllocationConfiguration> {
    let mut all: Vec<DeviceAllocationConfiguration> = Vec::new();
    // Each class once, for all requests that have it.
    let mut classes: Vec<(&str, Vec<String>)> = Vec::new();
    let mut chosen: Vec<(&str, &str)> = Vec::new();
    for pick in picks {
        let names = (pick.ask.parent.as_str(), pick.ask.name.as_str());
        if chosen.contains(&names) {
            continue;
        }
        chosen.push(names);
        let class = pick.ask.class.metadata.name.as_deref().unwrap_or_default();
        if let Some((_, requests)) = classes.iter_mut().find(|(known, _)| *known == class) {
            requests.push(pick.ask.name.clone());
        } else {
            classes.push((class, vec![pick.ask.name.clone()]));
        }
    }
    for (class, requests) in classes {
        let of = picks.iter().find(|pick| pick.ask.class.metadata.name.as_deref() == Some(class));
        let config = of.and_then(|pick| pick.ask.class.spec.as_ref()?.config.as_ref());
        all.extend(config.into_iter().flatten().map(|config| DeviceAllocationConfiguration {
            opaque: config.opaque.clone(),
            requests: Some(requests.clone()),
            source: "FromClass".to_owned(),
        }));
    }
    let devices = claim.object.spec.as_ref().and_then(|spec| spec.devices.as_ref());
    for config in devices.and_then(|devices| devices.config.as_ref()).into_iter().flatten() {
        let requests = config.requests.as_deref().unwrap_or_default();
        let named = |name: &str| requests.iter().any(|request| request == name);
        if requests.is_empty() || chosen.iter().any(|(parent, name)| named(parent) || named(name)) {
            all.push(DeviceAllocationConfiguration {
                opaque: config.opaque.clone(),
                requests: config.requests.clone(),
                source: "FromClaim".to_owned(),
            });
        }
    }
    all
}

/// From which nodes all of the devices can be used; nothing if that is all of them.
fn node_selector(picks: &[Pick<'_>], node: &str) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for pick in picks {
        match &pick.device.reach {
            // One device that belongs to a node, or to whichever is chosen, settles it.
            Reach::Node(_) => return Some(only(node)),
            _ if pick.device.spec.binds_to_node == Some(true) => return Some(only(node)),
            Reach::Selected(selector) => {
                // Validation allows one term.
                for own in selector.node_selector_terms.iter().take(1) {
                    join(&mut term.match_fields, own.match_fields.as_ref());
                    join(&mut term.match_expressions, own.match_expressions.as_ref());
                }
            }
            Reach::All | Reach::Unknown => {}
        }
    }
    let bounds = term.match_fields.is_some() || term.match_expressions.is_some();
    bounds.then(|| NodeSelector { node_selector_terms: vec![term] })
}

/// The node with this name.
fn only(node: &str) -> NodeSelector {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    NodeSelector { node_selector_terms: vec![term] }
}

fn join(into: &mut Option<Vec<NodeSelectorRequirement>>, from: Option<&Vec<NodeSelectorRequirement>>) {
    for requirement in from.into_iter().flatten() {
        let known = into.get_or_insert_default();
        if !known.contains(requirement) {
            known.push(requirement.clone());
        }
    }
}
