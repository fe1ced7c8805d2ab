//! Gives each node its part of the range that pods' addresses come from.
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

    /// The part that a node is to have: what was promised to it, or the first that is free.
    fn promise(&self, node: &Key, whole: IpNet, mask: u8) -> Option<IpNet> {
        let mut parts = self.0.lock();
        if let Some(promised) = parts.of.get(node).and_then(|own| own.first()) {
            return Some(*promised);
        }
        let free = parts.free(whole, mask)?;
        parts.set(node, vec![free]);
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
        let odd: Vec<&IpNet> = self.taken.keys().filter(|part| part.prefix_len() != mask).collect();
        let clashes = |part: &IpNet| {
            self.taken.contains_key(part)
                || odd.iter().any(|held| held.contains(part) || part.contains(*held))
        };
        whole.subnets(mask).ok()?.find(|part| !clashes(part))
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(whole) = ctx.settings().cluster_cidr else { return Ok(Next::Rest) };
    let Some(node) = ctx.get::<Node>(&key) else { return Ok(Next::Rest) };
    let has = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some());
    if has(&node) || node.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let Some(part) = ctx.settings().ranges.promise(&key, whole, ctx.settings().node_cidr_mask) else {
        let message = format!("Node {key} status is now: CIDRNotAvailable");
        ctx.event(reference(&*node), EventKind::Normal, "CIDRNotAvailable", message);
        return Ok(Next::Rest);
    };
    let text = part.to_string();
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
        let (ranges, whole) = (Ranges::default(), "10.244.0.0/23".parse().unwrap());
        let ask = |node: &str| ranges.promise(&Key::new(None, node), whole, 24).map(|part| part.to_string());
        assert_eq!(ask("a").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(ask("b").as_deref(), Some("10.244.1.0/24"));
        assert_eq!(ask("a").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(ask("c"), None);
        ranges.0.lock().set(&Key::new(None, "a"), Vec::new());
        assert_eq!(ask("c").as_deref(), Some("10.244.0.0/24"));
    }
}
