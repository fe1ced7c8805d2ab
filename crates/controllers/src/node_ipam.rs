//! Gives each node its part of the range that pods' addresses come from.

use std::collections::HashSet;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::Patch;

use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "node-ipam-controller",
    component: "cidrAllocator",
    wakes: &[on::<Node, Itself>()],
    may: &[("patch", "nodes"), ("create patch", "events")],
    // One, so that two nodes are never given the same part.
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(whole) = ctx.settings().cluster_cidr else { return Ok(Next::Rest) };
    let Some(node) = ctx.get::<Node>(&key) else { return Ok(Next::Rest) };
    let has = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some());
    if has(&node) || node.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let taken: HashSet<IpNet> = ctx.all::<Node>().iter().flat_map(|node| ranges(node)).collect();
    let Some(free) = free(whole, ctx.settings().node_cidr_mask, &taken) else {
        let message = format!("Node {key} status is now: CIDRNotAvailable");
        ctx.event(reference(&*node), EventKind::Normal, "CIDRNotAvailable", message);
        return Ok(Next::Rest);
    };
    let text = free.to_string();
    let body = json!({ "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
        "spec": { "podCIDR": text, "podCIDRs": [text] } });
    ctx.patch(&*node, Patch::Merge, &body).await?;
    Ok(Next::Rest)
}

fn ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    all.filter_map(|text| text.parse().ok()).collect()
}

/// The first part of `whole` that overlaps none of those taken.
fn free(whole: IpNet, mask: u8, taken: &HashSet<IpNet>) -> Option<IpNet> {
    let clashes = |part: &IpNet| {
        taken.contains(part) || taken.iter().any(|held| held.contains(part) || part.contains(held))
    };
    whole.subnets(mask).ok()?.find(|part| !clashes(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_part_is_given_and_none_when_all_are_taken() {
        let part = |taken: &[&str]| {
            let taken = taken.iter().map(|text| text.parse().unwrap()).collect();
            free("10.244.0.0/22".parse().unwrap(), 24, &taken).map(|part| part.to_string())
        };
        assert_eq!(part(&[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(part(&["10.244.0.0/24", "10.244.2.0/24"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(part(&["10.244.0.0/23"]).as_deref(), Some("10.244.2.0/24"));
        assert_eq!(part(&["10.244.0.0/23", "10.244.2.0/24", "10.244.3.128/25"]), None);
    }
}
