//! HTTP itself: who is let in, what bodies and answers look like, what is refused and how.

use serde_json::json;
use skiff_apiserver::User;

use crate::given::{Client, Given, MAPS, map};

#[tokio::test]
async fn strangers_are_told_health_and_version_only() {
    let given = Given::new().await;
    let handler = given.cluster.handler();
    for (path, code) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/api", 401),
        (MAPS, 401),
        ("/metrics", 401),
    ] {
        let request =
            http::Request::get(path).body(http_body_util::combinators::UnsyncBoxBody::default()).unwrap();
        let response = handler.handle(skiff_apiserver::Peer::Unknown, request).await;
        assert_eq!(response.status().as_u16(), code, "{path}");
    }
}

#[tokio::test]
async fn those_without_a_role_are_refused() {
    let given = Given::new().await;
    let nobody = Client::of(&given.cluster, User::new("x", Vec::<String>::new()));
    assert_eq!(
        nobody.get(MAPS).await.code(403).message(),
        "configmaps is forbidden: User \"x\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    nobody.get("/api").await.code(200);
}

#[tokio::test]
async fn certificates_name_users_over_tls() {
    let given = Given::new().await;
    let link = given.cluster.remote();
    let request = http::Request::get("/api/v1/namespaces/default").body(Vec::new()).unwrap();
    let namespace: serde_json::Value = link.client().request(request).await.unwrap();
    assert_eq!(namespace["metadata"]["name"], "default");
}

#[tokio::test]
async fn bodies_are_json_or_yaml_and_bounded() {
    let given = Given::new().await;
    let client = &given.client;
    let yaml = "metadata:\n  name: why\ndata:\n  k: v\n";
    client.send("POST", MAPS, &[("content-type", "application/yaml")], yaml.into()).await.code(201);
    let text =
        client.send("GET", &format!("{MAPS}/why"), &[("accept", "application/yaml")], vec![]).await.code(200);
    assert!(text.body.as_str().unwrap().contains("name: why"));
    let protobuf = "application/vnd.kubernetes.protobuf";
    client.send("POST", MAPS, &[("content-type", protobuf)], b"k8s\0".to_vec()).await.code(415);
    client.send("POST", MAPS, &[("content-type", protobuf)], b"{}".to_vec()).await.code(400);
    client.send("GET", MAPS, &[("accept", "text/html")], vec![]).await.code(406);
    client
        .send("PATCH", &format!("{MAPS}/why"), &[("content-type", "application/json")], vec![])
        .await
        .code(415);
    client.send("POST", MAPS, &[], b"{".to_vec()).await.code(400);
    let big = map("big", &"x".repeat(3 * 1024 * 1024));
    assert_eq!(
        client.post(MAPS, &big).await.code(413).message(),
        "Request entity too large: limit is 3145728"
    );
    let mut wordy = map("wordy", "0");
    wordy["metadata"]["annotations"] = json!({ "a": "x".repeat(256 * 1024) });
    assert_eq!(
        client.post(MAPS, &wordy).await.code(422).message(),
        "ConfigMap \"wordy\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes"
    );
}

#[tokio::test]
async fn wrong_kinds_and_places_are_named() {
    let given = Given::new().await;
    let client = &given.client;
    let pod = crate::given::pod("a");
    assert!(
        client
            .post(MAPS, &pod)
            .await
            .code(400)
            .message()
            .starts_with("Pod in version \"v1\" cannot be handled as a ConfigMap")
    );
    let other = json!({ "apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    assert_eq!(
        client.post(MAPS, &other).await.code(400).message(),
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    );
    client.get("/api/v1/namespaces/default/nodes").await.code(404);
    client.get("/api/v1/configmaps/a").await.code(404);
    client.post("/api/v1/configmaps", &map("a", "0")).await.code(405);
    client.post("/api/v1/namespaces/none/configmaps", &map("a", "0")).await.code(404);
    client.get("/api/v1/nothing").await.code(404);
    client.get("/apis/none/v1/x").await.code(404);
    client.get(&format!("{MAPS}/none/status")).await.code(404);
    client.send("OPTIONS", MAPS, &[], vec![]).await.code(405);
    let mut versioned = map("a", "0");
    versioned["metadata"]["resourceVersion"] = "5".into();
    client.post(MAPS, &versioned).await.code(500);
    assert!(
        client.post(MAPS, &json!({})).await.code(422).message().contains("name or generateName is required")
    );
}

#[tokio::test]
async fn metadata_alone_is_enough_for_some() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = given.client.send("GET", MAPS, &[("accept", accept)], vec![]).await.code(200);
    assert_eq!(list.body["kind"], "PartialObjectMetadataList");
    assert_eq!(
        (&list.body["items"][0]["metadata"]["name"], &list.body["items"][0]["data"]),
        (&"a".into(), &json!(null))
    );
}

#[tokio::test]
async fn health_is_told_check_by_check() {
    let given = Given::new().await;
    let verbose = given.client.get("/readyz?verbose").await.code(200);
    assert!(verbose.body.as_str().unwrap().contains("[+]etcd ok\n"));
    assert!(verbose.body.as_str().unwrap().ends_with("readyz check passed\n"));
    given.client.get("/readyz/etcd").await.code(200);
    given.client.get("/livez/nothing").await.code(404);
    assert!(
        given
            .client
            .get("/metrics")
            .await
            .code(200)
            .body
            .as_str()
            .unwrap()
            .contains("apiserver_request_total")
    );
}
