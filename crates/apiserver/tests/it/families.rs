//! Services of one address family, of the other and of both.

use serde_json::{Value, json};
use skiff_apiserver::{Options, Storage, User};

use crate::cluster::Cluster;
use crate::given::Client;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGE: &str = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes";

fn service(name: &str, mut spec: Value) -> Value {
    spec["ports"] = json!([{ "port": 80 }]);
    spec["selector"] = json!({ "app": name });
    json!({ "metadata": { "name": name }, "spec": spec })
}

async fn with(ranges: &[&str]) -> (Cluster, Client) {
    let services = ranges.iter().map(|net| net.parse().unwrap()).collect();
    let cluster = Cluster::with(Options { services, ..Options::in_memory() }).await;
    let client = Client::of(&cluster, User::new("admin", ["system:masters"]));
    (cluster, client)
}

fn families(spec: &Value) -> String {
    let list = |field: &str| -> Vec<&str> {
        spec[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let ips = list("clusterIPs");
    let of = |ip: &&str| if ip.contains(':') { "IPv6" } else { "IPv4" };
    assert_eq!(spec["clusterIP"], json!(ips[0]));
    assert_eq!(ips.iter().map(of).collect::<Vec<_>>(), list("ipFamilies"));
    format!("{} {}", spec["ipFamilyPolicy"].as_str().unwrap_or_default(), list("ipFamilies").join(","))
}

#[tokio::test]
async fn a_cluster_of_two_families_gives_what_is_asked_for_the_first_by_default() {
    let (_cluster, client) = with(&["fd00:96::/112", "10.96.0.0/16"]).await;
    let own = client.get(&format!("{SERVICES}/kubernetes")).await.code(200).body;
    assert_eq!(own["spec"]["clusterIPs"], json!(["fd00:96::1"]));
    assert_eq!(families(&own["spec"]), "SingleStack IPv6");
    assert_eq!(
        client.get(RANGE).await.code(200).body["spec"]["cidrs"],
        json!(["fd00:96::/112", "10.96.0.0/16"])
    );
    for (name, spec, expected) in [
        ("a", json!({}), "SingleStack IPv6"),
        ("b", json!({ "ipFamilies": ["IPv4"] }), "SingleStack IPv4"),
        ("c", json!({ "ipFamilyPolicy": "PreferDualStack" }), "PreferDualStack IPv6,IPv4"),
        (
            "d",
            json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4"] }),
            "RequireDualStack IPv4,IPv6",
        ),
        ("e", json!({ "clusterIP": "10.96.0.77" }), "SingleStack IPv4"),
    ] {
        let made = client.post(SERVICES, &service(name, spec)).await.code(201).body;
        assert_eq!(families(&made["spec"]), expected, "{name}");
        for ip in made["spec"]["clusterIPs"].as_array().unwrap() {
            let record = client.get(&format!("{ADDRESSES}/{}", ip.as_str().unwrap())).await.code(200).body;
            assert_eq!(record["spec"]["parentRef"]["name"], name);
        }
    }
}

#[tokio::test]
async fn a_second_address_is_given_and_taken_back_as_the_policy_changes() {
    let (_cluster, client) = with(&["10.96.0.0/16", "fd00:96::/112"]).await;
    client.post(SERVICES, &service("a", json!({}))).await.code(201);
    let url = format!("{SERVICES}/a");
    let policy = |name: &str| json!({ "spec": { "ipFamilyPolicy": name } });
    let both = client.patch(&url, "merge-patch", &policy("RequireDualStack")).await.code(200).body;
    assert_eq!(families(&both["spec"]), "RequireDualStack IPv4,IPv6");
    let second = format!("{ADDRESSES}/{}", both["spec"]["clusterIPs"][1].as_str().unwrap());
    client.get(&second).await.code(200);
    // Less is only given if that is what is asked for.
    let less = json!({ "spec": { "clusterIPs": [both["spec"]["clusterIP"]] } });
    let refused = client.patch(&url, "merge-patch", &less).await.code(422);
    assert_eq!(
        refused.message(),
        "Service \"a\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary cluster IP"
    );
    client.get(&second).await.code(200);
    // A client that knows nothing of families keeps both.
    let kept = client.put(&url, &service("a", json!({}))).await.code(200).body;
    assert_eq!(kept["spec"]["clusterIPs"], both["spec"]["clusterIPs"]);
    let single = client.patch(&url, "merge-patch", &policy("SingleStack")).await.code(200).body;
    assert_eq!(families(&single["spec"]), "SingleStack IPv4");
    assert_eq!(single["spec"]["clusterIP"], both["spec"]["clusterIP"]);
    client.get(&second).await.code(404);
}

#[tokio::test]
async fn a_cluster_of_one_family_refuses_the_other_and_gives_one_where_both_are_preferred() {
    let (_cluster, client) = with(&["10.96.0.0/16"]).await;
    let made = client.post(SERVICES, &service("a", json!({ "ipFamilyPolicy": "PreferDualStack" }))).await;
    assert_eq!(families(&made.code(201).body["spec"]), "PreferDualStack IPv4");
    for (spec, expected) in [
        (
            json!({ "ipFamilyPolicy": "RequireDualStack" }),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (
            json!({ "ipFamilies": ["IPv6"] }),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({ "clusterIP": "fd00::7" }),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::7\"]: IPv6 is not configured on this cluster",
        ),
    ] {
        let refused = client.post(SERVICES, &service("b", spec)).await.code(422);
        assert_eq!(refused.message(), format!("Service \"b\" is invalid: {expected}"));
    }
    // Endpoints that somebody else writes may be of any family.
    let headless = json!({ "metadata": { "name": "c" }, "spec": { "clusterIP": "None" } });
    let made = client.post(SERVICES, &headless).await.code(201).body;
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(made["spec"]["ipFamilyPolicy"], "RequireDualStack");
}

#[tokio::test]
async fn a_cluster_may_become_dual_stack_and_its_services_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |ranges: &[&str]| {
        let storage = Storage::Disk(folder.path().join("store"));
        let services = ranges.iter().map(|net| net.parse().unwrap()).collect();
        let cluster = Cluster::with(Options { storage, services, ..Options::in_memory() }).await;
        let client = Client::of(&cluster, User::new("admin", ["system:masters"]));
        (cluster, client)
    };
    let (cluster, client) = start(&["10.96.0.0/16"]).await;
    client.post(SERVICES, &service("a", json!({ "ipFamilyPolicy": "PreferDualStack" }))).await.code(201);
    drop(client);
    cluster.stop().await;

    let (_cluster, client) = start(&["10.96.0.0/16", "fd00:96::/112"]).await;
    let range = client.get(RANGE).await.code(200).body;
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16", "fd00:96::/112"]));
    let url = format!("{SERVICES}/a");
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    let same = client.patch(&url, "merge-patch", &labels).await.code(200).body;
    assert_eq!(families(&same["spec"]), "PreferDualStack IPv4");
    let asked = json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"] } });
    let both = client.patch(&url, "merge-patch", &asked).await.code(200).body;
    assert_eq!(families(&both["spec"]), "PreferDualStack IPv4,IPv6");
}
