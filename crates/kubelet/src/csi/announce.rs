//! Tells the API which drivers the node has: in its CSINode, for scheduler and attachers, and on the Node itself (the node's
//! names with the drivers as an annotation, where volumes can be reached from as labels).
//!
//! Drivers of which only the API knows are left there: after a restart of the kubelet they have yet to be heard. Only those
//! that were heard and went are taken off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use skiff_api::Resource;
use skiff_base::Backoff;
use skiff_client::Link;
use skiff_client::write::{self, Patch, Place};

use super::{Drivers, Known};

/// Where attachers find the node's name with a driver.
const NODE_IDS: &str = "csi.volume.kubernetes.io/nodeid";

/// Tells for ever.
pub(crate) async fn run(link: Link, node: String, drivers: Drivers) {
    let mut known = drivers.known();
    let mut heard: BTreeSet<String> = BTreeSet::new();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    loop {
        let now = known.borrow_and_update().clone();
        heard.extend(now.keys().cloned());
        let told = heard.is_empty() || tell(&link, &node, &now, &heard).await;
        if told {
            backoff.reset();
            if known.changed().await.is_err() {
                return;
            }
        } else {
            backoff.wait().await;
        }
    }
}

async fn tell(link: &Link, name: &str, now: &Known, heard: &BTreeSet<String>) -> bool {
    let told = async {
        let place = Place::new(&Resource::of::<Node>(), None, name);
        let node: Node = write::get(link, &place).await?;
        if let Some(patch) = on_node(&node, now, heard) {
            write::patch::<Node>(link, &place, Patch::Merge, &patch).await?;
        }
        let place = Place::new(&Resource::of::<CSINode>(), None, name);
        match write::get::<CSINode>(link, &place).await {
            Ok(held) => {
                let drivers = listed(&held.spec.drivers, now, heard);
                if drivers != held.spec.drivers {
                    let version = held.metadata.resource_version;
                    let drivers = skiff_api::decode::tree(&drivers).map_err(kube::Error::SerdeError)?;
                    let patch =
                        json!({ "metadata": { "resourceVersion": version }, "spec": { "drivers": drivers } });
                    write::patch::<CSINode>(link, &place, Patch::Merge, &patch).await?;
                }
                Ok(())
            }
            Err(error) if write::is_not_found(&error) => {
                write::create_unseen(link, &made(&node, listed(&[], now, heard))).await
            }
            Err(error) => Err(error),
        }
    };
    let outcome: write::Result<()> = told.await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, "the node's drivers are not told yet");
    }
    outcome.is_ok()
}

fn made(node: &Node, drivers: Vec<CSINodeDriver>) -> CSINode {
    let name = node.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    CSINode {
        metadata: ObjectMeta {
            name: Some(name),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: CSINodeSpec { drivers },
        status: None,
    }
}

/// The drivers as CSINode is to list them: what was there and was never heard, then ours.
fn listed(held: &[CSINodeDriver], now: &Known, heard: &BTreeSet<String>) -> Vec<CSINodeDriver> {
    let unheard = held.iter().filter(|driver| !heard.contains(&driver.name)).cloned();
    let ours = now.values().map(|driver| {
        let mut keys: Vec<String> =
            driver.node.accessible_topology.iter().flat_map(|place| place.segments.keys().cloned()).collect();
        keys.sort();
        let most = i32::try_from(driver.node.max_volumes_per_node).unwrap_or(i32::MAX);
        CSINodeDriver {
            name: driver.name.clone(),
            node_id: driver.node.node_id.clone(),
            topology_keys: Some(keys),
            allocatable: (most > 0).then_some(VolumeNodeResources { count: Some(most) }),
        }
    });
    let mut all: Vec<CSINodeDriver> = unheard.chain(ours).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What changes on the Node, if anything does. A label that says otherwise already is left alone.
fn on_node(node: &Node, now: &Known, heard: &BTreeSet<String>) -> Option<Value> {
    let notes = node.metadata.annotations.as_ref();
    let text = notes.and_then(|notes| notes.get(NODE_IDS));
    let held: BTreeMap<String, String> =
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut ids = held.clone();
    ids.retain(|driver, _| !heard.contains(driver));
    ids.extend(now.values().map(|driver| (driver.name.clone(), driver.node.node_id.clone())));
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let mut new = BTreeMap::new();
    for driver in now.values() {
        for (key, value) in driver.node.accessible_topology.iter().flat_map(|place| &place.segments) {
            match labels.get(key) {
                None => {
                    new.insert(key.clone(), value.clone());
                }
                Some(known) if known != value => {
                    tracing::error!(
                        driver = driver.name,
                        key,
                        value,
                        known,
                        "the node's label says otherwise"
                    );
                }
                Some(_) => {}
            }
        }
    }
    if ids == held && new.is_empty() {
        return None;
    }
    let ids = if ids.is_empty() { Value::Null } else { Value::String(json!(ids).to_string()) };
    Some(json!({ "metadata": { "annotations": { NODE_IDS: ids }, "labels": new } }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::Driver;
    use super::super::client::Plugin;
    use super::super::proto::{NodeInfo, Topology};
    use super::*;

    fn known(names: &[&str]) -> Known {
        let driver = |name: &&str| {
            let segments = [("topology.x/zone".to_owned(), "a".to_owned())].into();
            let node = NodeInfo {
                node_id: format!("id-{name}"),
                max_volumes_per_node: 7,
                accessible_topology: Some(Topology { segments }),
            };
            let plugin = Plugin::at(Path::new("/none"));
            (
                (*name).to_owned(),
                Arc::new(Driver { name: (*name).to_owned(), plugin, node, capabilities: Vec::new() }),
            )
        };
        names.iter().map(driver).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn what_was_heard_and_went_is_taken_off_and_what_was_not_heard_stays() {
        let held = listed(&[], &known(&["b", "c"]), &set(&["b", "c"]));
        let now = listed(&held, &known(&["a"]), &set(&["a", "b"]));
        let told: Vec<_> = now.iter().map(|driver| (driver.name.as_str(), driver.node_id.as_str())).collect();
        assert_eq!(told, [("a", "id-a"), ("c", "id-c")]);
        assert_eq!(now[0].allocatable, Some(VolumeNodeResources { count: Some(7) }));
        assert_eq!(now[0].topology_keys.as_deref().unwrap(), ["topology.x/zone"]);
    }

    #[tokio::test]
    async fn the_node_has_ids_and_places_and_is_not_written_without_need() {
        let mut node = Node::default();
        let patch = on_node(&node, &known(&["a"]), &set(&["a"])).unwrap();
        assert_eq!(patch["metadata"]["annotations"][NODE_IDS], "{\"a\":\"id-a\"}");
        assert_eq!(patch["metadata"]["labels"]["topology.x/zone"], "a");
        node.metadata.annotations = Some([(NODE_IDS.to_owned(), "{\"a\":\"id-a\"}".to_owned())].into());
        node.metadata.labels = Some([("topology.x/zone".to_owned(), "b".to_owned())].into());
        assert_eq!(on_node(&node, &known(&["a"]), &set(&["a"])), None);
        let patch = on_node(&node, &known(&[]), &set(&["a"])).unwrap();
        assert_eq!(patch["metadata"]["annotations"][NODE_IDS], Value::Null);
    }
}
