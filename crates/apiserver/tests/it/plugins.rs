//! Admission plugins, each where a client meets it.

use serde_json::json;
use skiff_apiserver::{Options, User};

use crate::cluster::Cluster;
use crate::given::{Client, Given, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_runtime_class_says_what_its_pods_cost() {
    let given = Given::new().await;
    let mut confined = pod("a");
    confined["spec"]["runtimeClassName"] = "sandbox".into();
    let refused = given.client.post(PODS, &confined).await.code(403);
    assert_eq!(
        refused.message(),
        "pods \"a\" is forbidden: pod rejected: RuntimeClass \"sandbox\" not found"
    );
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "sandbox" }, "handler": "h",
        "overhead": { "podFixed": { "cpu": "250m" } },
    });
    given.client.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.code(201);
    let made = given.client.post(PODS, &confined).await.code(201);
    assert_eq!(made.body["spec"]["overhead"], json!({ "cpu": "250m" }));
    let mut odd = pod("b");
    odd["spec"]["overhead"] = json!({ "cpu": "1" });
    let refused = given.client.post(PODS, &odd).await.code(403);
    assert!(
        refused.message().ends_with("Pod Overhead set without corresponding RuntimeClass defined Overhead")
    );
}

#[tokio::test]
async fn there_is_one_default_priority_class() {
    let given = Given::new().await;
    let class = |name: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
            "value": 7, "globalDefault": true, "preemptionPolicy": "Never",
        })
    };
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    given.client.post(classes, &class("one")).await.code(201);
    let refused = given.client.post(classes, &class("two")).await.code(403);
    assert_eq!(
        refused.message(),
        "priorityclasses.scheduling.k8s.io \"two\" is forbidden: PriorityClass one is already marked as default. Only one default can exist"
    );
    let made = given.client.post(PODS, &pod("a")).await.code(201);
    assert_eq!(made.body["spec"]["priority"], 7);
    let mut bold = pod("b");
    bold["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    let refused = given.client.post(PODS, &bold).await.code(403);
    assert!(
        refused
            .message()
            .contains("the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided")
    );
}

#[tokio::test]
async fn a_bound_pod_knows_its_zone() {
    let given = Given::new().await;
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "n", "labels": { "topology.kubernetes.io/zone": "z", "other": "o" } },
    });
    given.client.post("/api/v1/nodes", &node).await.code(201);
    given.client.post(PODS, &pod("a")).await.code(201);
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "a" },
        "target": { "kind": "Node", "name": "n" } });
    given.client.post(&format!("{PODS}/a/binding"), &binding).await.code(201);
    let bound = given.client.get(&format!("{PODS}/a")).await;
    assert_eq!(bound.body["metadata"]["labels"], json!({ "app": "x", "topology.kubernetes.io/zone": "z" }));
}

#[tokio::test]
async fn plugins_may_be_asked_for_and_sent_away() {
    let mut options = Options::in_memory();
    options.enable_admission_plugins = vec!["AlwaysPullImages".to_owned()];
    options.disable_admission_plugins = vec!["DefaultTolerationSeconds".to_owned()];
    let cluster = Cluster::with(options).await;
    let client = Client::of(&cluster, User::new("admin", ["system:masters"]));
    let made = client.post(PODS, &pod("a")).await.code(201);
    assert_eq!(made.body["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(made.body["spec"]["tolerations"], json!(null));
}

#[tokio::test]
async fn administrators_access_to_devices_is_for_namespaces_that_say_so() {
    const DEVICES: &str = "/apis/resource.k8s.io/v1/namespaces/default";
    let given = Given::new().await;
    let devices = json!({ "requests": [
        { "name": "a", "exactly": { "deviceClassName": "c" } },
        { "name": "b", "exactly": { "deviceClassName": "c", "adminAccess": true } },
    ] });
    let claim = json!({ "metadata": { "name": "claim" }, "spec": { "devices": devices } });
    let template = json!({ "metadata": { "name": "template" }, "spec": { "spec": { "devices": devices } } });
    let kinds = [("resourceclaims", &claim, "spec"), ("resourceclaimtemplates", &template, "spec.spec")];
    for (kind, object, at) in kinds {
        let refused = given.client.post(&format!("{DEVICES}/{kind}"), object).await.code(422);
        let why = format!(
            "{at}.devices.requests[1].adminAccess: Forbidden: admin access to devices requires the \
             `resource.kubernetes.io/admin-access: true` label on the containing namespace"
        );
        assert!(refused.message().ends_with(&why), "{}", refused.message());
    }
    let label = json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": "true" } } });
    given.client.patch("/api/v1/namespaces/default", "merge-patch", &label).await.code(200);
    for (kind, object, _) in kinds {
        given.client.post(&format!("{DEVICES}/{kind}"), object).await.code(201);
    }
    // What was asked for while it was allowed is not given any more.
    let label = json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": null } } });
    given.client.patch("/api/v1/namespaces/default", "merge-patch", &label).await.code(200);
    let result =
        json!({ "driver": "d.test", "pool": "p", "device": "d", "request": "b", "adminAccess": true });
    let status = json!({ "status": { "allocation": { "devices": { "results": [result] } } } });
    let path = format!("{DEVICES}/resourceclaims/claim/status");
    let refused = given.client.patch(&path, "merge-patch", &status).await.code(422);
    assert!(refused.message().contains("status.allocation.devices.results[0].adminAccess: Forbidden"));
}
