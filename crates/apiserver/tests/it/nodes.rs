//! What a kubelet may see and touch: its own node and lease, its own pods, and what those refer to.

use serde_json::json;
use skiff_apiserver::User;

use crate::given::{Client, Given, MAPS, map, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to_and_no_more() {
    let given = Given::new().await;
    let admin = &given.client;
    let node =
        |name: &str| Client::of(&given.cluster, User::new(&format!("system:node:{name}"), ["system:nodes"]));
    let (one, two) = (node("one"), node("two"));
    admin.post(MAPS, &map("own", "1")).await.code(201);
    admin.post(MAPS, &map("other", "1")).await.code(201);
    assert_eq!(
        one.get(&format!("{MAPS}/own")).await.code(403).message(),
        "configmaps \"own\" is forbidden: User \"system:node:one\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\": no relationship found between node 'one' and this object"
    );
    let mut body = pod("a");
    body["spec"]["nodeName"] = "one".into();
    body["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "own" } }]);
    admin.post(PODS, &body).await.code(201);
    one.get(&format!("{MAPS}/own")).await.code(200);
    // As informers of one object ask.
    one.get(&format!("{MAPS}?fieldSelector=metadata.name%3Down")).await.code(200);
    one.get(MAPS).await.code(403);
    one.get(&format!("{MAPS}/other")).await.code(403);
    two.get(&format!("{MAPS}/own")).await.code(403);
    one.get(&format!("{PODS}/a")).await.code(200);
    two.get(&format!("{PODS}/a")).await.code(403);
    one.get("/api/v1/pods?fieldSelector=spec.nodeName%3Done").await.code(200);
    one.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dtwo").await.code(403);
    one.get("/api/v1/pods").await.code(403);
    one.get("/api/v1/secrets").await.code(403);
    admin.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.code(200);
    one.get(&format!("{MAPS}/own")).await.code(403);
}

#[tokio::test]
async fn a_node_touches_its_own_node_and_lease_only() {
    let given = Given::new().await;
    let one = Client::of(&given.cluster, User::new("system:node:one", ["system:nodes"]));
    one.post("/api/v1/nodes", &json!({ "metadata": { "name": "one" } })).await.code(201);
    assert_eq!(
        one.post("/api/v1/nodes", &json!({ "metadata": { "name": "two" } })).await.code(403).message(),
        "nodes \"two\" is forbidden: node \"one\" is not allowed to modify node \"two\""
    );
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    one.patch("/api/v1/nodes/one", "merge-patch", &label).await.code(200);
    given.client.post("/api/v1/nodes", &json!({ "metadata": { "name": "two" } })).await.code(201);
    one.patch("/api/v1/nodes/two", "merge-patch", &label).await.code(403);
    one.post(LEASES, &json!({ "metadata": { "name": "one" }, "spec": {} })).await.code(201);
    one.post(LEASES, &json!({ "metadata": { "name": "two" }, "spec": {} })).await.code(403);
    one.get(&format!("{LEASES}/one")).await.code(200);
    one.get(&format!("{LEASES}/two")).await.code(403);
}

#[tokio::test]
async fn a_node_reads_the_claims_of_its_pods_and_has_slices_of_its_own_devices() {
    const DEVICES: &str = "/apis/resource.k8s.io/v1";
    let given = Given::new().await;
    let admin = &given.client;
    let node =
        |name: &str| Client::of(&given.cluster, User::new(&format!("system:node:{name}"), ["system:nodes"]));
    let (one, two) = (node("one"), node("two"));
    let claims = format!("{DEVICES}/namespaces/default/resourceclaims");
    for name in ["given", "made", "extended", "other"] {
        let exactly = json!({ "name": "r", "exactly": { "deviceClassName": "c" } });
        let claim = json!({ "metadata": { "name": name }, "spec": { "devices": { "requests": [exactly] } } });
        admin.post(&claims, &claim).await.code(201);
    }
    let mut body = pod("a");
    body["spec"]["nodeName"] = "one".into();
    body["spec"]["resourceClaims"] = json!([{ "name": "x", "resourceClaimName": "given" },
        { "name": "y", "resourceClaimTemplateName": "t" }]);
    admin.post(PODS, &body).await.code(201);
    one.get(&format!("{claims}/made")).await.code(403);
    let status = json!({ "resourceClaimStatuses": [{ "name": "y", "resourceClaimName": "made" }],
        "extendedResourceClaimStatus": { "resourceClaimName": "extended", "requestMappings": [] } });
    admin.patch(&format!("{PODS}/a/status"), "merge-patch", &json!({ "status": status })).await.code(200);
    for name in ["given", "made", "extended"] {
        one.get(&format!("{claims}/{name}")).await.code(200);
        two.get(&format!("{claims}/{name}")).await.code(403);
    }
    one.get(&format!("{claims}/other")).await.code(403);
    one.get(&claims).await.code(403);
    one.patch(&format!("{claims}/given"), "merge-patch", &json!({})).await.code(403);

    let slices = format!("{DEVICES}/resourceslices");
    let slice = |name: &str, node: &str| {
        json!({ "metadata": { "name": name }, "spec": { "driver": "d.test", "nodeName": node,
            "pool": { "name": "p", "generation": 1, "resourceSliceCount": 1 } } })
    };
    one.post(&slices, &slice("of-one", "one")).await.code(201);
    assert_eq!(
        one.post(&slices, &slice("of-two", "two")).await.code(403).message(),
        "resourceslices.resource.k8s.io \"of-two\" is forbidden: can only create ResourceSlice with the same NodeName as the requesting node"
    );
    two.post(&slices, &slice("of-two", "two")).await.code(201);
    one.get(&format!("{slices}/of-one")).await.code(200);
    one.get(&format!("{slices}/of-two")).await.code(403);
    one.delete(&format!("{slices}/of-two")).await.code(403);
    one.get(&slices).await.code(403);
    assert_eq!(
        one.get(&format!("{slices}?fieldSelector=spec.nodeName%3Done")).await.code(200).names(),
        ["of-one"]
    );
    one.delete(&slices).await.code(403);
    let own = "fieldSelector=spec.nodeName%3Done%2Cspec.driver%3Dd.test";
    one.delete(&format!("{slices}?{own}")).await.code(200);
    assert_eq!(admin.get(&slices).await.code(200).names(), ["of-two"]);
}

#[tokio::test]
async fn a_node_tells_of_its_pods_claims_that_they_have_grown_and_nothing_else() {
    let given = Given::new().await;
    let admin = &given.client;
    let one = Client::of(&given.cluster, User::new("system:node:one", ["system:nodes"]));
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    for name in ["used", "other"] {
        admin.post(claims, &json!({ "metadata": { "name": name }, "spec": spec })).await.code(201);
    }
    let mut body = pod("a");
    body["spec"]["nodeName"] = "one".into();
    body["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "used" } }]);
    admin.post(PODS, &body).await.code(201);
    let tell = async |name: &str, body: serde_json::Value| {
        one.patch(&format!("{claims}/{name}/status"), "merge-patch", &body).await
    };
    let grown = json!({ "status": { "capacity": { "storage": "2Gi" },
        "allocatedResourceStatuses": { "storage": "NodeResizeInfeasible" },
        "conditions": [{ "type": "NodeResizeError", "status": "True" }] } });
    tell("used", grown.clone()).await.code(200);
    tell("other", grown).await.code(403);
    assert_eq!(
        tell("used", json!({ "status": { "phase": "Lost" } })).await.code(403).message(),
        "persistentvolumeclaims \"used\" is forbidden: node \"one\" is not allowed to update fields other than status.quantity and status.conditions"
    );
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    one.patch(&format!("{claims}/used"), "merge-patch", &label).await.code(403);
}

#[tokio::test]
async fn a_node_lets_go_of_volumes_that_are_its_own_folders_and_changes_nothing_else() {
    const VOLUMES: &str = "/api/v1/persistentvolumes";
    let given = Given::new().await;
    let node =
        |name: &str| Client::of(&given.cluster, User::new(&format!("system:node:{name}"), ["system:nodes"]));
    let (one, two) = (node("one"), node("two"));
    let volume = json!({
        "metadata": { "name": "v", "labels": { "skiff.dev/node": "one" },
            "finalizers": ["skiff.dev/local-path", "example.com/other"] },
        "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/x" } },
    });
    given.client.post(VOLUMES, &volume).await.code(201);
    let volume = format!("{VOLUMES}/v");
    let patched = |finalizers: &[&str]| json!({ "metadata": { "finalizers": finalizers } });
    // The last is there because of what else is admitted.
    let let_go = patched(&["example.com/other", "kubernetes.io/pv-protection"]);
    assert_eq!(
        two.patch(&volume, "merge-patch", &let_go).await.code(403).message(),
        "persistentvolumes \"v\" is forbidden: User \"system:node:two\" cannot patch resource \"persistentvolumes\" in API group \"\" at the cluster scope: no relationship found between node 'two' and this object"
    );
    one.patch(&volume, "merge-patch", &patched(&[])).await.code(403);
    let elsewhere = json!({ "spec": { "persistentVolumeReclaimPolicy": "Delete" } });
    one.patch(&volume, "merge-patch", &elsewhere).await.code(403);
    one.patch(&volume, "merge-patch", &json!({ "metadata": { "labels": { "a": "b" } } })).await.code(403);
    one.patch(&volume, "merge-patch", &let_go).await.code(200);
    // It may not come back either.
    one.patch(
        &volume,
        "merge-patch",
        &patched(&["skiff.dev/local-path", "example.com/other", "kubernetes.io/pv-protection"]),
    )
    .await
    .code(403);
}
