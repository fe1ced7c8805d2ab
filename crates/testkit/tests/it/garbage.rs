//! The collector and the end of namespaces over a real server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, ResourceQuota, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use skiff_api::Readable;
use skiff_client::write::{self, Patch, Place};
use skiff_testkit::{Cluster, given};

use crate::cluster;

fn map(namespace: &str, name: &str, owners: &[OwnerReference]) -> ConfigMap {
    let mut map: ConfigMap = given::yaml(&format!("metadata: {{name: {name}, namespace: {namespace}}}"));
    map.metadata.owner_references = Some(owners.to_vec());
    map
}

fn owned_by<K: Readable>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: owner.metadata().name.clone().unwrap(),
        uid: owner.metadata().uid.clone().unwrap(),
        block_owner_deletion: Some(true),
        controller: None,
    }
}

async fn patched<K: Readable>(cluster: &Cluster, object: &K, body: Value) {
    write::patch::<K>(&cluster.link(), &Place::of(object), Patch::Merge, &body).await.unwrap();
}

fn names(maps: &[Arc<ConfigMap>]) -> Vec<String> {
    let own = maps.iter().filter(|map| map.metadata.namespace.as_deref() != Some("kube-system"));
    own.filter_map(|map| map.metadata.name.clone()).filter(|name| name != "kube-root-ca.crt").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_own_each_other_go_together_in_the_foreground() {
    let cluster = cluster(&[]).await;
    let one = cluster.create(map("default", "one", &[])).await;
    let two = cluster.create(map("default", "two", &[owned_by(&one)])).await;
    patched(&cluster, &one, json!({ "metadata": { "ownerReferences": [owned_by(&two)] } })).await;
    cluster.delete(&one, "Foreground").await;
    cluster.until::<ConfigMap>(|maps| names(maps).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_elsewhere_or_of_another_uid_is_none() {
    let cluster = cluster(&[]).await;
    cluster.create::<Namespace>(given::yaml("metadata: {name: red}")).await;
    let owner = cluster.create(map("default", "owner", &[])).await;
    let other = OwnerReference { uid: "00000000-0000-0000-0000-000000000000".to_owned(), ..owned_by(&owner) };
    cluster.create(map("default", "mistaken", &[other])).await;
    cluster.create(map("red", "far", &[owned_by(&owner)])).await;
    cluster.create(map("default", "near", &[owned_by(&owner)])).await;
    cluster.until::<ConfigMap>(|maps| names(maps) == ["near", "owner"]).await;
    let told = |events: &[Arc<Event>]| {
        let found = events.iter().find(|event| event.reason.as_deref() == Some("OwnerRefInvalidNamespace"));
        found
            .and_then(|event| event.message.clone())
            .is_some_and(|message| message.ends_with("does not exist in namespace \"red\""))
    };
    cluster.until::<Event>(told).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_says_what_holds_it_and_goes_when_nothing_does() {
    let cluster = cluster(&[]).await;
    let namespace = cluster.create::<Namespace>(given::yaml("metadata: {name: red}")).await;
    let mut held = map("red", "held", &[]);
    held.metadata.finalizers = Some(vec!["example.com/keep".to_owned()]);
    let held = cluster.create(held).await;
    cluster.create::<Secret>(given::yaml("metadata: {name: s, namespace: red}")).await;
    cluster.delete(&namespace, "Background").await;
    let says = |all: &[Arc<Namespace>]| {
        let red = all.iter().find(|namespace| namespace.metadata.name.as_deref() == Some("red"));
        let conditions = red.and_then(|red| red.status.as_ref()?.conditions.clone()).unwrap_or_default();
        let messages: Vec<String> =
            conditions.into_iter().filter(|c| c.status == "True").filter_map(|c| c.message).collect();
        messages
            == [
                "Some resources are remaining: configmaps. has 1 resource instances",
                "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances",
            ]
    };
    cluster.until::<Namespace>(says).await;
    patched(&cluster, &held, json!({ "metadata": { "finalizers": null } })).await;
    cluster.until::<Namespace>(|all| all.iter().all(|n| n.metadata.name.as_deref() != Some("red"))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_gives_back_what_the_collector_takes() {
    let cluster = cluster(&[]).await;
    let quota = "metadata: {name: q, namespace: default}\nspec: {hard: {configmaps: '3'}}";
    cluster.create::<ResourceQuota>(given::yaml(quota)).await;
    let owner = cluster.create(map("default", "owner", &[])).await;
    // The authority that pods trust is a map as well, made by a controller.
    cluster.create(map("default", "near", &[owned_by(&owner)])).await;
    cluster.delete(&owner, "Background").await;
    let empty = |quotas: &[Arc<ResourceQuota>]| {
        let used = quotas[0].status.as_ref().and_then(|status| status.used.clone()).unwrap_or_default();
        used.get("configmaps").is_some_and(|used| used.0 == "0")
    };
    cluster.until(empty).await;
    cluster.stop().await;
}
