//! Addresses and node ports: given once, honoured, taken back, and known again after a restart.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use serde_json::{Value, json};
use skiff_apiserver::{Options, Storage};

use crate::given::{Client, Given};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["ports"].is_null() {
        spec["ports"] = json!([{ "port": 80 }]);
    }
    json!({ "metadata": { "name": name }, "spec": spec })
}

async fn create(client: &Client, name: &str, spec: Value) -> Value {
    client.post(SERVICES, &service(name, spec)).await.code(201).body["spec"].clone()
}

#[tokio::test]
async fn the_server_has_the_first_address() {
    let given = Given::new().await;
    let own = given.client.get(&format!("{SERVICES}/kubernetes")).await.code(200);
    assert_eq!(own.body["spec"]["clusterIP"], "10.96.0.1");
    let taken = service("a", json!({ "clusterIP": "10.96.0.1" }));
    assert_eq!(
        given.client.post(SERVICES, &taken).await.code(422).message(),
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"
    );
}

#[tokio::test]
async fn addresses_and_ports_are_different_and_come_back() {
    let small = Options {
        node_ports: 30000..=30003,
        services: "10.1.0.0/28".parse().unwrap(),
        ..Options::in_memory()
    };
    let cluster = Cluster::with(small).await;
    let client = Client::of(&cluster, skiff_apiserver::User::new("admin", ["system:masters"]));
    for _ in 0..3 {
        let mut ips = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for index in 0..4 {
            let spec = create(&client, &format!("s{index}"), json!({ "type": "NodePort" })).await;
            ips.insert(spec["clusterIP"].to_string());
            ports.insert(spec["ports"][0]["nodePort"].to_string());
        }
        assert_eq!((ips.len(), ports.len()), (4, 4));
        // The fifth finds no port; what it took meanwhile must be free again.
        for _ in 0..20 {
            let full = client.post(SERVICES, &service("s4", json!({ "type": "NodePort" }))).await.code(500);
            assert!(full.message().contains("failed to allocate a nodePort: range is full"));
        }
        for index in 0..4 {
            client.delete(&format!("{SERVICES}/s{index}")).await.code(200);
        }
    }
}

#[tokio::test]
async fn what_an_update_leaves_out_stays_and_a_new_type_takes_or_gives() {
    let given = Given::new().await;
    let client = &given.client;
    let url = format!("{SERVICES}/a");
    let first = create(client, "a", json!({ "type": "NodePort" })).await;
    let kept =
        client.put(&url, &service("a", json!({ "type": "NodePort" }))).await.code(200).body["spec"].clone();
    assert_eq!(kept, first);
    let port = first["ports"][0]["nodePort"].clone();

    let patch = json!({ "spec": { "type": "ClusterIP", "ports": [{ "port": 80, "nodePort": null }] } });
    let inner = client.patch(&url, "strategic-merge-patch", &patch).await.code(200).body["spec"].clone();
    assert_eq!((&inner["clusterIP"], &inner["ports"][0]["nodePort"]), (&first["clusterIP"], &Value::Null));
    // The port is free for another.
    create(client, "b", json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] })).await;

    let outer = client.patch(&url, "merge-patch", &json!({ "spec": { "type": "NodePort" } })).await.code(200);
    assert_ne!(outer.body["spec"]["ports"][0]["nodePort"], port);
}

#[tokio::test]
async fn headless_and_external_services_take_no_address() {
    let given = Given::new().await;
    let headless = create(&given.client, "a", json!({ "clusterIP": "None" })).await;
    assert_eq!((&headless["clusterIP"], &headless["clusterIPs"]), (&"None".into(), &json!(["None"])));
    let external = json!({ "type": "ExternalName", "externalName": "example.com" });
    let external = create(&given.client, "b", external).await;
    assert_eq!(external["clusterIP"], Value::Null);
    let several = json!({ "type": "NodePort", "ports": [
        { "name": "a", "port": 80 }, { "name": "b", "port": 81 }, { "name": "c", "port": 82, "nodePort": 30500 },
    ] });
    let several = create(&given.client, "c", several).await;
    let ports: BTreeSet<i64> =
        several["ports"].as_array().unwrap().iter().map(|p| p["nodePort"].as_i64().unwrap()).collect();
    assert!(ports.len() == 3 && ports.contains(&30500));
}

#[tokio::test]
async fn a_restart_knows_what_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { storage: Storage::Disk(folder.path().join("store")), ..Options::in_memory() };
    let admin = || skiff_apiserver::User::new("admin", ["system:masters"]);
    let cluster = Cluster::with(options()).await;
    let client = Client::of(&cluster, admin());
    let spec = create(&client, "a", json!({ "type": "NodePort" })).await;
    drop(client);
    cluster.stop().await;

    let cluster = Cluster::with(options()).await;
    let client = Client::of(&cluster, admin());
    let again = json!({ "clusterIP": spec["clusterIP"] });
    client.post(SERVICES, &service("b", again)).await.code(422);
    let again =
        json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": spec["ports"][0]["nodePort"] }] });
    let refused = client.post(SERVICES, &service("b", again)).await.code(422);
    assert!(refused.message().contains("provided port is already allocated"));
    client.delete(&format!("{SERVICES}/a")).await.code(200);
    create(&client, "b", json!({ "clusterIP": spec["clusterIP"] })).await;
}
