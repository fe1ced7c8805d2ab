//! Gives each node its part of the ranges that pods' addresses come from: one of each family.
//!
//! Which parts are whose is kept as nodes come, change and go, so that giving one costs a few look-ups however many nodes
//! there are. A part stays promised to its node from before it is written until the node goes: news that is late or an
//! answer that is lost must not have it given twice.

use std::collections::HashMap;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;
use skiff_client::Change;
use skiff_client::cache::decode;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::Patch;

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "node-ipam-controller",
    component: "cidrAllocator",
    wakes: &[on::<Node, Noted>()],
    may: &[("patch", "nodes"), ("create patch", "events")],
    workers: 4,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Each node wakes itself; its parts are noted.
struct Noted;

impl How<Settings> for Noted {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        settings.ranges.note(change);
        Itself::keys(change, caches, settings)
    }
}

/// Which parts are whose.
#[derive(Default)]
pub(crate) struct Ranges(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    of: HashMap<Key, Vec<IpNet>>,
    /// How many nodes have a part: people may have given one twice.
    taken: HashMap<IpNet, usize>,
}

impl Ranges {
    fn note(&self, change: &Change) {
        let key: Key = change.latest().meta().key().into();
        let Some(object) = &change.new else { return self.0.lock().set(&key, Vec::new()) };
        let known = |old: &std::sync::Arc<skiff_api::Object>| old.meta().uid == object.meta().uid;
        // What a node has it keeps: its many reports need not be read.
        if change.old.as_ref().is_some_and(known) && self.0.lock().of.contains_key(&key) {
            return;
        }
        let parts = decode::<Node>(object).map(|node| ranges(&node)).unwrap_or_default();
        if !parts.is_empty() {
            self.0.lock().set(&key, parts);
        }
    }

    /// The parts that a node is to have: what was promised to it, or the first that are free.
    fn promise(&self, node: &Key, wholes: &[IpNet], masks: (u8, u8)) -> Option<Vec<IpNet>> {
        let mut parts = self.0.lock();
        if let Some(promised) = parts.of.get(node) {
            return Some(promised.clone());
        }
        let mask = |whole: &IpNet| if whole.addr().is_ipv4() { masks.0 } else { masks.1 };
        let free: Option<Vec<IpNet>> = wholes.iter().map(|whole| parts.free(*whole, mask(whole))).collect();
        let free = free?;
        parts.set(node, free.clone());
        Some(free)
    }
}

impl Parts {
    fn set(&mut self, node: &Key, parts: Vec<IpNet>) {
        for part in self.of.remove(node).unwrap_or_default() {
            if let Some(count) = self.taken.get_mut(&part) {
                *count -= 1;
                if *count == 0 {
                    self.taken.remove(&part);
                }
            }
        }
        if !parts.is_empty() {
            parts.iter().for_each(|part| *self.taken.entry(*part).or_default() += 1);
            self.of.insert(node.clone(), parts);
        }
    }

    /// The first part of `whole` that overlaps none of those taken.
    fn free(&self, whole: IpNet, mask: u8) -> Option<IpNet> {
        let is_odd =
            |part: &&IpNet| part.prefix_len() != mask && part.addr().is_ipv4() == whole.addr().is_ipv4();
        let odd: Vec<&IpNet> = self.taken.keys().filter(is_odd).collect();
        let clashes = |part: &IpNet| {
            self.taken.contains_key(part)
                || odd.iter().any(|held| held.contains(part) || part.contains(*held))
        };
        whole.subnets(mask).ok()?.find(|part| !clashes(part))
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let settings = ctx.settings();
    if settings.cluster_cidrs.is_empty() {
        return Ok(Next::Rest);
    }
    let Some(node) = ctx.get::<Node>(&key) else { return Ok(Next::Rest) };
    let has = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some());
    if has(&node) || node.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let promised = settings.ranges.promise(&key, &settings.cluster_cidrs, settings.node_cidr_masks);
    let Some(parts) = promised else {
        let message = format!("Node {key} status is now: CIDRNotAvailable");
        ctx.event(reference(&*node), EventKind::Normal, "CIDRNotAvailable", message);
        return Ok(Next::Rest);
    };
    let texts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    let body = json!({ "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
        "spec": { "podCIDR": texts.first(), "podCIDRs": texts } });
    ctx.patch(&*node, Patch::Merge, &body).await?;
    Ok(Next::Rest)
}

fn ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    all.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_part_is_given_and_none_when_all_are_taken() {
        let part = |taken: &[&str]| {
            let mut parts = Parts::default();
            for (n, text) in taken.iter().enumerate() {
                parts.set(&Key::new(None, &n.to_string()), vec![text.parse().unwrap()]);
            }
            parts.free("10.244.0.0/22".parse().unwrap(), 24).map(|part| part.to_string())
        };
        assert_eq!(part(&[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(part(&["10.244.0.0/24", "10.244.2.0/24"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(part(&["10.244.0.0/23"]).as_deref(), Some("10.244.2.0/24"));
        assert_eq!(part(&["10.244.0.0/23", "10.244.2.0/24", "10.244.3.128/25"]), None);
    }

    #[test]
    fn what_was_promised_stays_so_until_the_node_goes() {
        let ranges = Ranges::default();
        let ask = |node: &str| shown(&ranges, node, &["10.244.0.0/23"]);
        assert_eq!(ask("a").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(ask("b").as_deref(), Some("10.244.1.0/24"));
        assert_eq!(ask("a").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(ask("c"), None);
        ranges.0.lock().set(&Key::new(None, "a"), Vec::new());
        assert_eq!(ask("c").as_deref(), Some("10.244.0.0/24"));
    }

    fn shown(ranges: &Ranges, node: &str, wholes: &[&str]) -> Option<String> {
        let wholes: Vec<IpNet> = wholes.iter().map(|text| text.parse().unwrap()).collect();
        let parts = ranges.promise(&Key::new(None, node), &wholes, (24, 64))?;
        Some(parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_node_has_a_part_of_each_family_or_none() {
        let ranges = Ranges::default();
        let ask = |node: &str| shown(&ranges, node, &["fd00:244::/56", "10.244.0.0/23"]);
        assert_eq!(ask("a").as_deref(), Some("fd00:244::/64,10.244.0.0/24"));
        assert_eq!(ask("b").as_deref(), Some("fd00:244:0:1::/64,10.244.1.0/24"));
        // IPv4 is used up: no part of IPv6 is lost.
        assert_eq!(ask("c"), None);
        ranges.0.lock().set(&Key::new(None, "b"), Vec::new());
        assert_eq!(ask("c").as_deref(), Some("fd00:244:0:1::/64,10.244.1.0/24"));
    }
}
