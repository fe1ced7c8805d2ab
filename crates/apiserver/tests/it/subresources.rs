//! What stands behind an object's name: status, binding, scale, eviction, finalize, logs of a pod that is nowhere.

use serde_json::json;
use skiff_apiserver::User;

use crate::given::{Client, Given, pod, sample};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_pod_is_bound_once() {
    let given = Given::new().await;
    let client = &given.client;
    client.post(PODS, &pod("a")).await.code(201);
    let to = |node: &str| json!({ "metadata": { "name": "a" }, "target": { "kind": "Node", "name": node } });
    client.post(&format!("{PODS}/a/binding"), &json!({ "target": {} })).await.code(422);
    client.post("/api/v1/namespaces/default/bindings", &to("one")).await.code(201);
    let bound = client.get(&format!("{PODS}/a")).await;
    assert_eq!(bound.body["spec"]["nodeName"], "one");
    assert_eq!(bound.body["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(
        client.post(&format!("{PODS}/a/binding"), &to("two")).await.code(409).message(),
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"one\""
    );
    client.post(&format!("{PODS}/b/binding"), &json!({ "target": { "name": "x" } })).await.code(404);
}

#[tokio::test]
async fn a_status_update_changes_the_status_and_nothing_else() {
    let given = Given::new().await;
    let client = &given.client;
    let mut body = client.post(PODS, &pod("a")).await.code(201).body;
    body["spec"]["containers"][0]["image"] = "other".into();
    body["status"]["phase"] = "Running".into();
    let after = client.put(&format!("{PODS}/a/status"), &body).await.code(200);
    assert_eq!(after.body["status"]["phase"], "Running");
    assert_eq!(after.body["spec"]["containers"][0]["image"], "busybox");
    let patch = json!({ "status": { "message": "hello" }, "metadata": { "labels": { "x": "y" } } });
    let after = client.patch(&format!("{PODS}/a/status"), "strategic-merge-patch", &patch).await.code(200);
    assert_eq!(
        (&after.body["status"]["message"], &after.body["metadata"]["labels"]["x"]),
        (&"hello".into(), &"y".into())
    );
    let mut whole = after.body.clone();
    whole["status"]["phase"] = "Failed".into();
    let after = client.put(&format!("{PODS}/a"), &whole).await.code(200);
    assert_eq!(after.body["status"]["phase"], "Running");
}

#[tokio::test]
async fn a_bound_pod_goes_after_its_grace() {
    let given = Given::new().await;
    let client = &given.client;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = "one".into();
    client.post(PODS, &bound).await.code(201);
    let url = format!("{PODS}/a");
    let going = client.delete(&url).await.code(200);
    assert_eq!(going.body["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = client.delete(&format!("{url}?gracePeriodSeconds=5")).await.code(200);
    assert_eq!(sooner.body["metadata"]["deletionGracePeriodSeconds"], 5);
    let later = client.delete(&format!("{url}?gracePeriodSeconds=60")).await.code(200);
    assert_eq!(later.body["metadata"]["deletionGracePeriodSeconds"], 5);
    client.delete(&format!("{url}?gracePeriodSeconds=0")).await.code(200);
    client.get(&url).await.code(404);
    // Never bound: nothing to stop.
    client.post(PODS, &pod("b")).await.code(201);
    client.delete(&format!("{PODS}/b")).await.code(200);
    client.get(&format!("{PODS}/b")).await.code(404);
}

#[tokio::test]
async fn an_eviction_is_a_deletion() {
    let given = Given::new().await;
    given.client.post(PODS, &pod("a")).await.code(201);
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "a" } });
    given.client.post(&format!("{PODS}/a/eviction"), &eviction).await.code(201);
    given.client.get(&format!("{PODS}/a")).await.code(404);
    // As clients from before 1.22 say it.
    given.client.post(PODS, &pod("a")).await.code(201);
    let eviction = json!({ "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": { "name": "a" } });
    given.client.post(&format!("{PODS}/a/eviction"), &eviction).await.code(201);
    given.client.get(&format!("{PODS}/a")).await.code(404);
}

#[tokio::test]
async fn an_evicted_pod_says_why_it_goes() {
    let given = Given::new().await;
    let client = &given.client;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = "one".into();
    let made = client.post(PODS, &bound).await.code(201).body;
    let revision = &made["metadata"]["resourceVersion"];
    let options = json!({ "preconditions": { "resourceVersion": revision } });
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "a" }, "deleteOptions": options });
    client.post(&format!("{PODS}/a/eviction?dryRun=All"), &eviction).await.code(201);
    client.post(&format!("{PODS}/a/eviction"), &eviction).await.code(201);
    let going = client.get(&format!("{PODS}/a")).await.body;
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    let conditions = going["status"]["conditions"].as_array().unwrap();
    let told = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&told["status"], &told["reason"]), (&"True".into(), &"EvictionByEvictionAPI".into()));
}

#[tokio::test]
async fn a_pods_requests_and_limits_change_through_their_own_path() {
    let given = Given::new().await;
    let client = &given.client;
    let mut body = pod("a");
    body["spec"]["containers"][0]["resources"] =
        json!({ "requests": { "cpu": "20m" }, "limits": { "cpu": "30m" } });
    let name = body["spec"]["containers"][0]["name"].clone();
    client.post(PODS, &body).await.code(201);
    let url = format!("{PODS}/a/resize");
    let patch = |resources: serde_json::Value| json!({ "metadata": { "labels": { "x": "y" } }, "spec": { "containers": [{ "name": name, "image": "other", "resources": resources }] } });
    let more = patch(json!({ "requests": { "cpu": "25m" }, "limits": { "memory": "40Mi" } }));
    let after = client.patch(&url, "strategic-merge-patch", &more).await.code(200).body;
    let expected = json!({ "requests": { "cpu": "25m", "memory": "40Mi" }, "limits": { "cpu": "30m", "memory": "40Mi" } });
    assert_eq!(after["spec"]["containers"][0]["resources"], expected);
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(
        (&after["spec"]["containers"][0]["image"], after["metadata"]["labels"].get("x")),
        (&"busybox".into(), None)
    );
    let refused = [
        (json!({ "limits": { "cpu": null } }), "resource limits cannot be removed"),
        (
            json!({ "requests": { "example.com/x": "1" }, "limits": { "example.com/x": "1" } }),
            "only cpu and memory resources are mutable",
        ),
        (json!({ "requests": { "cpu": "30m" } }), "Pod QOS Class may not change as a result of resizing"),
        (json!({ "requests": { "cpu": "1" } }), "must be less than or equal to cpu limit of 30m"),
    ];
    for (resources, why) in refused {
        let answer = client.patch(&url, "strategic-merge-patch", &patch(resources)).await.code(422);
        assert!(answer.message().contains(why), "{}", answer.message());
    }
    let mut whole = client.get(&url).await.code(200).body;
    whole["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "10m".into();
    let after = client.put(&url, &whole).await.code(200).body;
    assert_eq!(after["spec"]["containers"][0]["resources"]["requests"]["cpu"], "10m");
}

#[tokio::test]
async fn a_controller_is_scaled() {
    let given = Given::new().await;
    let client = &given.client;
    let row = skiff_apiserver::kinds::ALL.iter().find(|row| row.kind == "ReplicationController").unwrap();
    let controllers = crate::given::path(row);
    client.post(&controllers, &sample(row, "a")).await.code(201);
    let url = format!("{controllers}/a/scale");
    let mut scale = client.get(&url).await.code(200).body;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&1.into(), &"app=x".into()));
    scale["spec"]["replicas"] = 3.into();
    let after = client.put(&url, &scale).await.code(200);
    assert_eq!(after.body["spec"]["replicas"], 3);
    scale["spec"]["replicas"] = 4.into();
    client.put(&url, &scale).await.code(409);
    client.patch(&url, "merge-patch", &json!({ "spec": { "replicas": 7 } })).await.code(200);
    assert_eq!(client.get(&format!("{controllers}/a")).await.body["spec"]["replicas"], 7);
    client.patch(&url, "merge-patch", &json!({ "spec": { "replicas": -1 } })).await.code(422);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let given = Given::new().await;
    let client = &given.client;
    let url = "/api/v1/namespaces/a";
    client.post("/api/v1/namespaces", &json!({ "metadata": { "name": "a" } })).await.code(201);
    client.delete(url).await.code(200);
    let refused = client
        .post("/api/v1/namespaces/a/configmaps", &json!({ "metadata": { "name": "x" } }))
        .await
        .code(403);
    assert!(refused.message().contains("because it is being terminated"));
    let mut body = client.get(url).await.code(200).body;
    assert_eq!(body["status"]["phase"], "Terminating");
    body["spec"]["finalizers"] = json!([]);
    client.put(&format!("{url}/finalize"), &body).await.code(200);
    client.get(url).await.code(404);
    client.delete("/api/v1/namespaces/default").await.code(403);
}

#[tokio::test]
async fn a_kubelet_touches_its_own_pods_only() {
    let given = Given::new().await;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = "one".into();
    given.client.post(PODS, &bound).await.code(201);
    let node =
        |name: &str| Client::of(&given.cluster, User::new(&format!("system:node:{name}"), ["system:nodes"]));
    let patch = json!({ "status": { "phase": "Running" } });
    node("one").patch(&format!("{PODS}/a/status"), "merge-patch", &patch).await.code(200);
    node("two").patch(&format!("{PODS}/a/status"), "merge-patch", &patch).await.code(403);
    node("two").delete(&format!("{PODS}/a")).await.code(403);
    node("one").post(PODS, &pod("b")).await.code(403);
    node("one").delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.code(200);
}

#[tokio::test]
async fn logs_and_streams_name_what_is_wrong() {
    let given = Given::new().await;
    let client = &given.client;
    let mut two = pod("a");
    two["spec"]["containers"] = json!([{ "name": "c", "image": "i" }, { "name": "d", "image": "i" }]);
    client.post(PODS, &two).await.code(201);
    assert_eq!(
        client.get(&format!("{PODS}/a/log")).await.code(400).message(),
        "a container name must be specified for pod a, choose one of: [c d]"
    );
    assert_eq!(
        client.get(&format!("{PODS}/a/log?container=x")).await.code(400).message(),
        "container x is not valid for pod a"
    );
    client.get(&format!("{PODS}/a/log?container=c")).await.code(200);
    client.get(&format!("{PODS}/a/log?container=c&tailLines=-1")).await.code(422);
    client.get(&format!("{PODS}/a/exec?container=c")).await.code(400);
    client.get(&format!("{PODS}/none/log")).await.code(404);
    client.delete(&format!("{PODS}/a/log")).await.code(405);
}
