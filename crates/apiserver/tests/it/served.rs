//! Which kinds are served: the stable ones, and what `--runtime-config` says otherwise.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use skiff_apiserver::{Options, RuntimeConfig, User};
use skiff_client::{Delta, Topic};

use crate::cluster::Cluster;
use crate::given::Client;

const INTERNAL: &str = "/apis/internal.apiserver.k8s.io/v1alpha1";

async fn serving(pairs: &str, machine: Option<&str>) -> (Cluster, Client) {
    let runtime_config = RuntimeConfig::parse(pairs.split(',')).unwrap();
    let machine = machine.map(str::to_owned);
    let cluster = Cluster::with(Options { runtime_config, machine, ..Options::in_memory() }).await;
    let client = Client::of(&cluster, User::new("admin", ["system:masters"]));
    (cluster, client)
}

async fn groups(client: &Client) -> Vec<String> {
    let list = client.get("/apis").await.code(200).body;
    list["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_alpha_is_served_where_it_is_asked_for() {
    let service = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.internal.apiserver.k8s.io";
    let document = format!("/openapi/v3{INTERNAL}");
    for (pairs, code) in
        [("", 404), ("api/alpha=true", 200), ("internal.apiserver.k8s.io/v1alpha1=true", 200)]
    {
        let (_cluster, client) = serving(pairs, None).await;
        client.get(&format!("{INTERNAL}/storageversions")).await.code(code);
        client.get(INTERNAL).await.code(code);
        client.get(service).await.code(code);
        client.get(&document).await.code(code);
        let named = groups(&client).await.iter().any(|group| group == "internal.apiserver.k8s.io");
        let paths = client.get("/openapi/v2").await.code(200).body["paths"].clone();
        let described = paths[format!("{INTERNAL}/storageversions")].is_object();
        assert_eq!((named, described), (code == 200, code == 200), "{pairs}");
    }
}

#[tokio::test]
async fn what_is_switched_off_is_gone_everywhere() {
    let (cluster, client) =
        serving("apps/v1=false,authorization.k8s.io/v1=false,autoscaling/v2=false", None).await;
    client.get("/apis/apps/v1/deployments").await.code(404);
    client.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.code(404);
    client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &json!({})).await.code(404);
    let groups = groups(&client).await;
    assert!(
        !groups.iter().any(|group| ["apps", "authorization.k8s.io"].contains(&group.as_str())),
        "{groups:?}"
    );
    // Near or far, who reads such a kind sees none of it, and does not wait for ever.
    for link in [cluster.admin(), cluster.remote()] {
        let first = link.feed(&Topic::of::<Deployment>()).next().await;
        assert!(matches!(first, Some(Delta::Reset(all)) if all.is_empty()));
    }
    // The version that is served is another than that which is stored.
    let scalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" });
    let scaler = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "a" },
        "spec": { "scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70 },
    });
    client.post(scalers, &scaler).await.code(201);
    let read = client.get(&format!("{scalers}/a")).await.code(200);
    assert_eq!(read.body["spec"]["targetCPUUtilizationPercentage"], 70);
}

/// What the server says, by the names of the kinds.
fn said(all: &[Arc<skiff_api::Object>]) -> Vec<(String, Value)> {
    let all = all.iter().map(|object| object.value().unwrap());
    let mut all: Vec<_> =
        all.map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), it["status"].clone())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

#[tokio::test]
async fn the_server_says_how_it_stores_and_says_it_again() {
    let (cluster, client) = serving("api/alpha=true", Some("node-1")).await;
    let mut feed = cluster.admin().feed(&Topic::of::<StorageVersion>());
    let mut known: Vec<Arc<skiff_api::Object>> = Vec::new();
    let wanted = ["core.pods", "autoscaling.horizontalpodautoscalers", "core.events"];
    let (mut deleted, mut again) = (false, false);
    while !again {
        let uid = |object: &Arc<skiff_api::Object>| object.meta().uid.clone();
        match feed.next().await.unwrap() {
            Delta::Reset(all) => known = all,
            Delta::Put(object) => {
                known.retain(|own| own.meta().name != object.meta().name);
                known.push(object);
            }
            Delta::Gone(object) => known.retain(|own| uid(own) != uid(&object)),
        }
        let said = said(&known);
        let told =
            |name: &&str| said.iter().any(|(own, status)| own == name && status["conditions"].is_array());
        if !wanted.iter().all(told) {
            continue;
        }
        again = deleted;
        if !deleted {
            client.delete(&format!("{INTERNAL}/storageversions/core.pods")).await.code(200);
            // Until it is said again, it is not there.
            known.retain(|own| &*own.meta().name != "core.pods");
            deleted = true;
        }
    }
    let said = said(&known);
    let of = |name: &str| said.iter().find(|(own, _)| own == name).unwrap().1.clone();
    let server = "apiserver-gwlrxzxjxmbevckvql7a4qxaja";
    assert_eq!(
        of("autoscaling.horizontalpodautoscalers")["storageVersions"],
        json!([{
            "apiServerID": server, "encodingVersion": "autoscaling/v2",
            "decodableVersions": ["autoscaling/v2", "autoscaling/v1"],
            "servedVersions": ["autoscaling/v1", "autoscaling/v2"],
        }])
    );
    assert_eq!(
        of("core.events")["storageVersions"][0]["decodableVersions"],
        json!(["v1", "events.k8s.io/v1"])
    );
    assert_eq!(of("core.pods")["commonEncodingVersion"], "v1");
    assert_eq!(of("core.pods")["conditions"][0]["type"], "AllEncodingVersionsEqual");
    let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        !names.iter().any(|name| name.starts_with("events.k8s.io") || name.ends_with("componentstatuses"))
    );
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{server}");
    client.get(&lease).await.code(200);
}
