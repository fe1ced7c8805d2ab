//! Limit ranges as pods meet them.

use serde_json::json;

use crate::given::{Given, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";

#[tokio::test]
async fn pods_get_their_namespaces_defaults_and_keep_within_its_bounds() {
    let given = Given::new().await;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "a" },
        "spec": { "limits": [{ "type": "Container", "default": { "memory": "512Mi" }, "max": { "memory": "1Gi" } }] },
    });
    given.client.post(RANGES, &range).await.code(201);
    let made = given.client.post(PODS, &pod("a")).await.code(201);
    let resources = &made.body["spec"]["containers"][0]["resources"];
    assert_eq!(resources, &json!({ "limits": { "memory": "512Mi" }, "requests": { "memory": "512Mi" } }));
    assert_eq!(made.body["status"]["qosClass"], "Burstable");
    assert_eq!(
        made.body["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container c; memory limit for container c"
    );
    let mut greedy = pod("b");
    greedy["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "2Gi" } });
    let refused = given.client.post(PODS, &greedy).await.code(403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi"
    );
}
