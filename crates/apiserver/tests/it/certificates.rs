//! Certificate signing requests: who asks is written down, approval and outcome change at their own places.

use serde_json::{Value, json};
use skiff_apiserver::User;
use skiff_apiserver::kinds::ALL;

use crate::given::{Client, Given, sample};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn condition(kind: &str) -> Value {
    json!({ "type": kind, "status": "True", "reason": "Test", "message": "a test" })
}

async fn asked(given: &Given) -> Value {
    let row = ALL.iter().find(|row| row.kind == "CertificateSigningRequest").unwrap();
    given.client.post(REQUESTS, &sample(row, "a")).await.code(201).body
}

#[tokio::test]
async fn requests_say_who_asks_and_are_approved_once() {
    let given = Given::new().await;
    let client = &given.client;
    let mut request = asked(&given).await;
    assert_eq!(request["spec"]["username"], "admin");
    assert!(request["spec"]["groups"].as_array().unwrap().contains(&json!("system:masters")));

    // Neither the object itself nor its status can be used to approve.
    request["status"]["conditions"] = json!([condition("Approved")]);
    let unchanged = client.put(&format!("{REQUESTS}/a"), &request).await.code(200);
    assert_eq!(unchanged.body["status"]["conditions"], Value::Null);
    let refused = client.put(&format!("{REQUESTS}/a/status"), &request).await.code(422);
    assert!(refused.message().contains("updates may not add a condition of type \"Approved\""));

    request["spec"]["signerName"] = "example.com/other".into();
    let approved = client.put(&format!("{REQUESTS}/a/approval"), &request).await.code(200);
    assert_eq!(approved.body["spec"]["signerName"], "example.com/test");
    let decided = &approved.body["status"]["conditions"][0];
    assert_eq!(decided["type"], "Approved");
    assert!(decided["lastUpdateTime"].is_string() && decided["lastTransitionTime"].is_string(), "{decided}");
    let both = json!({ "status": { "conditions": [condition("Approved"), condition("Denied")] } });
    let refused = client.patch(&format!("{REQUESTS}/a/approval"), "merge-patch", &both).await.code(422);
    assert!(refused.message().contains("mutually exclusive"), "{}", refused.message());

    let certificate = json!({ "status": { "certificate": "aGVsbG8=" } });
    let refused = client.patch(&format!("{REQUESTS}/a/status"), "merge-patch", &certificate).await.code(422);
    assert!(refused.message().contains("must contain at least one CERTIFICATE PEM block"));
}

#[tokio::test]
async fn who_may_write_the_approval_must_also_speak_for_the_signer() {
    let given = Given::new().await;
    let mut request = asked(&given).await;
    request["status"]["conditions"] = json!([condition("Approved")]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = |resource: &str, verb: &str| json!({ "apiGroups": ["certificates.k8s.io"], "resources": [resource], "verbs": [verb] });
    let mut role = json!({
        "metadata": { "name": "bob" }, "rules": [rule("certificatesigningrequests/approval", "update")],
    });
    given.client.post(&format!("{rbac}/clusterroles"), &role).await.code(201);
    let binding = json!({
        "metadata": { "name": "bob" }, "subjects": [{ "kind": "User", "name": "bob" }],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bob" },
    });
    given.client.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code(201);
    let bob = Client::of(&given.cluster, User::new("bob", Vec::<String>::new()));
    let refused = bob.put(&format!("{REQUESTS}/a/approval"), &request).await.code(403);
    let why = "user not permitted to approve requests with signerName \"example.com/test\"";
    assert!(refused.message().contains(why), "{}", refused.message());

    role["rules"].as_array_mut().unwrap().push(rule("signers", "approve"));
    given.client.put(&format!("{rbac}/clusterroles/bob"), &role).await.code(200);
    bob.put(&format!("{REQUESTS}/a/approval"), &request).await.code(200);
}

#[tokio::test]
async fn both_versions_of_an_autoscaler_show_one_object() {
    let given = Given::new().await;
    let path =
        |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let memory = json!({ "type": "Resource", "resource": {
        "name": "memory", "target": { "type": "AverageValue", "averageValue": "100Mi" },
    } });
    let object = json!({ "metadata": { "name": "a" }, "spec": {
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" }, "maxReplicas": 3,
        "metrics": [memory], "behavior": { "scaleDown": { "stabilizationWindowSeconds": 5 } },
    } });
    let new = given.client.post(&path("v2"), &object).await.code(201).body;
    let mut old = given.client.get(&format!("{}/a", path("v1"))).await.code(200).body;
    let kept = old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str().unwrap();
    let expected =
        json!([{ "type": "Resource", "resource": { "name": "memory", "targetAverageValue": "100Mi" } }]);
    assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), expected);
    old["spec"]["maxReplicas"] = 5.into();
    given.client.put(&format!("{}/a", path("v1")), &old).await.code(200);
    let seen = given.client.get(&format!("{}/a", path("v2"))).await.code(200).body;
    let mut spec = new["spec"].clone();
    spec["maxReplicas"] = 5.into();
    assert_eq!(seen["spec"], spec);
    assert_eq!(seen["metadata"]["annotations"], Value::Null);
}

#[tokio::test]
async fn events_are_seen_under_both_names() {
    let given = Given::new().await;
    let row = ALL.iter().find(|row| row.group == "events.k8s.io").unwrap();
    given.client.post(&crate::given::path(row), &sample(row, "a")).await.code(201);
    let core = given.client.get("/api/v1/namespaces/default/events/a").await.code(200).body;
    assert_eq!((&core["message"], &core["involvedObject"]["name"]), (&json!("a test"), &json!("a")));
    let selected = "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Da";
    assert_eq!(given.client.get(selected).await.code(200).names(), ["a"]);
    let lenient = json!({ "metadata": { "name": "b" }, "regarding": { "namespace": "default" } });
    given.client.post(&crate::given::path(row), &lenient).await.code(422);
}
