//! Addresses and node ports: given once, honoured, taken back, and known again after a restart.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use serde_json::{Value, json};
use skiff_apiserver::{Options, Storage};

use crate::given::{Answer, Client, Given};

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
        services: vec!["10.1.0.0/28".parse().unwrap()],
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

const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

/// Waits until the object is there, or gone.
async fn until(client: &Client, url: &str, code: u16) -> Answer {
    loop {
        let answer = client.get(url).await;
        if answer.code == code {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn range(name: &str, net: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "cidrs": [net] } })
}

#[tokio::test]
async fn the_servers_own_range_is_ready_from_the_start_and_comes_back() {
    let given = Given::new().await;
    let own = given.client.get(&format!("{RANGES}/kubernetes")).await.code(200).body;
    assert_eq!(own["spec"]["cidrs"], json!(["10.96.0.0/12"]));
    assert_eq!(own["metadata"]["finalizers"], json!(["networking.k8s.io/service-cidr-finalizer"]));
    let ready = &own["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&"Ready".into(), &"True".into(), &"".into())
    );
    assert_eq!(ready["message"], "Kubernetes Service CIDR is ready");
    let other = given.client.post(RANGES, &range("other", "10.9.0.0/24")).await.code(201).body;
    assert_eq!(
        (&other["status"]["conditions"], &other["metadata"]["finalizers"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn an_address_has_an_object_for_as_long_as_its_service_has_it() {
    let given = Given::new().await;
    let client = &given.client;
    let first = client.get(&format!("{ADDRESSES}/10.96.0.1")).await.code(200).body;
    let parent = json!({ "resource": "services", "namespace": "default", "name": "kubernetes" });
    assert_eq!(first["spec"]["parentRef"], parent);
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    assert_eq!(first["metadata"]["labels"], labels);

    create(client, "a", json!({ "clusterIP": "10.96.0.7" })).await;
    let url = format!("{ADDRESSES}/10.96.0.7");
    assert_eq!(client.get(&url).await.code(200).body["spec"]["parentRef"]["name"], "a");
    // A create that fails leaves the address as it was.
    let again = service("a", json!({ "clusterIP": "10.96.0.8" }));
    client.post(SERVICES, &again).await.code(409);
    client.get(&format!("{ADDRESSES}/10.96.0.8")).await.code(404);

    let outside = json!({ "spec": {
        "type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": null, "ipFamilies": null,
        "ipFamilyPolicy": null,
    } });
    client.patch(&format!("{SERVICES}/a"), "merge-patch", &outside).await.code(200);
    client.get(&url).await.code(404);
    create(client, "b", json!({ "clusterIP": "10.96.0.7" })).await;
    assert_eq!(client.get(&url).await.code(200).body["spec"]["parentRef"]["name"], "b");
    client.delete(&format!("{SERVICES}/b")).await.code(200);
    client.get(&url).await.code(404);
}

#[tokio::test]
async fn addresses_come_from_every_ready_range_and_from_no_other() {
    let small = Options { services: vec!["10.1.0.0/30".parse().unwrap()], ..Options::in_memory() };
    let cluster = Cluster::with(small).await;
    let client = &Client::of(&cluster, skiff_apiserver::User::new("admin", ["system:masters"]));
    create(client, "a", json!({})).await;
    let refused = client.post(SERVICES, &service("b", json!({}))).await.code(500);
    assert!(refused.message().contains("failed to allocate a serviceIP: range is full"));
    let far = service("b", json!({ "clusterIP": "10.9.0.7" }));
    assert_eq!(
        client.post(SERVICES, &far).await.code(422).message(),
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.9.0.7\"]: failed to allocate IP 10.9.0.7: the provided network does not match the current range"
    );
    client.post(RANGES, &range("more", "10.9.0.0/24")).await.code(201);
    client.post(SERVICES, &far).await.code(201);
    let any = create(client, "c", json!({})).await;
    assert!(any["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("10.9.0.")), "{any}");

    // Not from one on its way out, whatever lies in it.
    let hold = json!({ "metadata": { "finalizers": ["networking.k8s.io/service-cidr-finalizer"] } });
    client.patch(&format!("{RANGES}/more"), "merge-patch", &hold).await.code(200);
    client.delete(&format!("{RANGES}/more")).await.code(200);
    client.post(SERVICES, &service("d", json!({}))).await.code(500);
    client.post(SERVICES, &service("d", json!({ "clusterIP": "10.9.0.8" }))).await.code(422);
}

#[tokio::test]
async fn what_an_object_of_somebody_elses_names_is_not_given() {
    let small = Options { services: vec!["10.1.0.0/30".parse().unwrap()], ..Options::in_memory() };
    let cluster = Cluster::with(small).await;
    let client = &Client::of(&cluster, skiff_apiserver::User::new("admin", ["system:masters"]));
    let taken = json!({ "metadata": { "name": "10.1.0.2" }, "spec": { "parentRef": {
        "group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "default", "name": "g",
    } } });
    client.post(ADDRESSES, &taken).await.code(201);
    client.post(SERVICES, &service("a", json!({}))).await.code(500);
    let asked = client.post(SERVICES, &service("a", json!({ "clusterIP": "10.1.0.2" }))).await.code(422);
    assert!(asked.message().contains("provided IP is already allocated"));
    client.delete(&format!("{ADDRESSES}/10.1.0.2")).await.code(200);
    create(client, "a", json!({ "clusterIP": "10.1.0.2" })).await;
    client.post(ADDRESSES, &taken).await.code(409);
}

#[tokio::test]
async fn addresses_and_objects_that_do_not_fit_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { storage: Storage::Disk(folder.path().join("store")), ..Options::in_memory() };
    let admin = || skiff_apiserver::User::new("admin", ["system:masters"]);
    let cluster = Cluster::with(options()).await;
    let client = Client::of(&cluster, admin());
    create(&client, "a", json!({ "clusterIP": "10.96.0.7" })).await;
    let url = format!("{ADDRESSES}/10.96.0.7");
    client.delete(&url).await.code(200);
    let back = until(&client, &url, 200).await;
    assert_eq!(back.body["spec"]["parentRef"]["name"], "a");
    let told = client.get("/api/v1/namespaces/default/events").await.code(200).body;
    let event =
        told["items"].as_array().unwrap().iter().find(|event| event["reason"] == "ClusterIPNotAllocated");
    let event = event.unwrap();
    assert_eq!(event["message"], "Cluster IP [IPv4]: 10.96.0.7 is not allocated; repairing");
    assert_eq!(event["involvedObject"]["name"], "a");

    // Our own mark on an address that nobody has: as a crash after a service's deletion leaves it.
    let leaked = json!({
        "metadata": { "name": "10.96.0.9", "labels": back.body["metadata"]["labels"] },
        "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "gone" } },
    });
    client.post(ADDRESSES, &leaked).await.code(201);
    until(&client, &format!("{ADDRESSES}/10.96.0.9"), 404).await;
    // The object is seen to be gone a moment before somebody else can have the address.
    let taker = service("b", json!({ "clusterIP": "10.96.0.9" }));
    while client.post(SERVICES, &taker).await.code != 201 {}
    drop(client);
    cluster.stop().await;

    let cluster = Cluster::with(options()).await;
    let client = Client::of(&cluster, admin());
    assert_eq!(client.get(&url).await.code(200).body["metadata"]["uid"], back.body["metadata"]["uid"]);
}
