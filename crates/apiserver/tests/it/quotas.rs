//! Resource quotas: refusals in upstream's words, exact under concurrent writers, published as they change.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_client::{Delta, Topic};

use crate::given::{Given, MAPS, map, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(hard: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" }, "spec": { "hard": hard } })
}

/// Waits until the quota's status says this.
async fn published(given: &Given, used: &Value) {
    let mut feed = given.cluster.admin().feed(&Topic::of::<ResourceQuota>());
    loop {
        let seen = match feed.next().await.unwrap() {
            Delta::Reset(all) => all,
            Delta::Put(one) => vec![one],
            Delta::Gone(_) => Vec::new(),
        };
        let says = |object: &Arc<Object>| {
            let read: Value = serde_json::from_slice(object.bytes()).unwrap();
            read["status"]["used"] == *used
        };
        if seen.iter().any(says) {
            return;
        }
    }
}

#[tokio::test]
async fn pods_beyond_a_quota_are_refused_and_deleted_ones_make_room() {
    let given = Given::new().await;
    given.client.post(QUOTAS, &quota(json!({ "pods": "1", "requests.cpu": "1" }))).await.code(201);
    let refused = given.client.post(PODS, &pod("a")).await.code(403);
    assert_eq!(
        refused.message(),
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let asking = |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "600m" } });
        pod
    };
    given.client.post(&format!("{PODS}?dryRun=All"), &asking("dry")).await.code(201);
    given.client.post(PODS, &asking("a")).await.code(201);
    let refused = given.client.post(PODS, &asking("b")).await.code(403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
    );
    published(&given, &json!({ "pods": "1", "requests.cpu": "600m" })).await;
    given.client.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.code(200);
    given.client.post(PODS, &asking("b")).await.code(201);
}

#[tokio::test]
async fn concurrent_writers_never_exceed_a_quota() {
    let given = Given::new().await;
    given.client.post(QUOTAS, &quota(json!({ "configmaps": "10", "count/secrets": "5" }))).await.code(201);
    let creates = (0..64).map(|index| {
        let client = given.client.clone();
        async move { client.post(MAPS, &map(&format!("m{index}"), "1")).await.code }
    });
    let codes = join_all(creates).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 10, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 54);
    published(&given, &json!({ "configmaps": "10", "count/secrets": "0" })).await;
    // A raised limit holds at once, and a failed create takes nothing.
    let mut raised = given.client.get(&format!("{QUOTAS}/q")).await.body;
    raised["spec"]["hard"]["configmaps"] = "11".into();
    given.client.put(&format!("{QUOTAS}/q"), &raised).await.code(200);
    let taken = codes.iter().position(|code| *code == 201).unwrap();
    given.client.post(MAPS, &map(&format!("m{taken}"), "1")).await.code(409);
    given.client.post(MAPS, &map("last", "1")).await.code(201);
    published(&given, &json!({ "configmaps": "11", "count/secrets": "0" })).await;
}

#[tokio::test]
async fn services_are_billed_for_what_an_update_adds() {
    let given = Given::new().await;
    let services = "/api/v1/namespaces/default/services";
    let hard = json!({ "services.nodeports": "1", "services": "5" });
    given.client.post(QUOTAS, &quota(hard)).await.code(201);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" },
        "spec": { "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 81 }] },
    });
    given.client.post(services, &service).await.code(201);
    let patch = json!({ "spec": { "type": "NodePort" } });
    let refused = given.client.patch(&format!("{services}/s"), "merge-patch", &patch).await.code(403);
    assert_eq!(
        refused.message(),
        "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1"
    );
}
