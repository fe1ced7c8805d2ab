//! What all requests have: an id, a form for people, compression, a place in the audit log, a priority.

use futures::StreamExt;
use http_body_util::{BodyExt, BodyStream};
use serde_json::{Value, json};
use skiff_apiserver::{Audit, AuditPolicy, Options, User};

use crate::cluster::Cluster;
use crate::given::{Client, Given, MAPS, map};

#[tokio::test]
async fn answers_bear_the_id_of_their_request() {
    let given = Given::new().await;
    let own = given.client.raw("GET", "/version", &[("audit-id", "mine")], vec![]).await;
    assert_eq!(own.headers()["audit-id"], "mine");
    let new = given.client.raw("GET", "/version", &[], vec![]).await;
    assert_eq!(new.headers()["audit-id"].len(), 36);
    assert_eq!(new.headers()["cache-control"], "no-cache, private");
}

#[tokio::test]
async fn people_get_line_breaks() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    for (uri, agent, lines) in [
        (format!("{MAPS}/a"), "curl/8", true),
        (format!("{MAPS}/a?pretty=false"), "curl/8", false),
        (format!("{MAPS}/a"), "kubectl/v1", false),
        (format!("{MAPS}/a?pretty=true"), "kubectl/v1", true),
        (MAPS.to_owned(), "curl/8", true),
    ] {
        let answer = given.client.raw("GET", &uri, &[("user-agent", agent)], vec![]).await;
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text.contains(&b'\n'), lines, "{uri} {agent}");
        assert!(serde_json::from_slice::<Value>(&text).is_ok());
    }
}

#[tokio::test]
async fn long_lists_are_compressed_for_who_takes_that() {
    let given = Given::new().await;
    let value = "x".repeat(50_000);
    for name in ["a", "b", "c"] {
        given.client.post(MAPS, &map(name, &value)).await.code(201);
    }
    let plain = given.client.raw("GET", MAPS, &[], vec![]).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let answer = given.client.raw("GET", MAPS, &[("accept-encoding", "gzip")], vec![]).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().len() < 10_000);
    let small = given.client.raw("GET", &format!("{MAPS}/a"), &[("accept-encoding", "gzip")], vec![]).await;
    assert!(!small.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn requests_are_judged_by_the_clusters_own_flow_schemas() {
    const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let given = Given::new().await;
    let uri =
        format!("{FLOWS}/flowschemas?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dcatch-all");
    let mut watch = BodyStream::new(given.client.raw("GET", &uri, &[], vec![]).await.into_body());
    watch.next().await.unwrap().unwrap();
    let own = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": "ada" },
        "spec": {
            "matchingPrecedence": 50, "priorityLevelConfiguration": { "name": "workload-low" },
            "rules": [{
                "subjects": [{ "kind": "User", "user": { "name": "ada" } }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            }],
        },
    });
    let uid =
        given.client.post(&format!("{FLOWS}/flowschemas"), &own).await.code(201).body["metadata"]["uid"]
            .clone();
    let ada = Client::of(&given.cluster, User::new("ada", Vec::<String>::new()));
    // The server sees its own objects change a moment after the answer.
    let judged = async {
        loop {
            let answer = ada.raw("GET", "/version", &[], vec![]).await;
            if answer
                .headers()
                .get("x-kubernetes-pf-flowschema-uid")
                .is_some_and(|found| uid == found.to_str().unwrap())
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), judged).await.unwrap();
}

#[tokio::test]
async fn outdated_kinds_come_with_a_warning() {
    let given = Given::new().await;
    let list = given.client.get("/api/v1/namespaces/default/endpoints").await.code(200);
    assert!(list.warnings[0].contains("v1 Endpoints is deprecated"), "{:?}", list.warnings);
}

#[tokio::test]
async fn the_audit_log_tells_what_its_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let policy = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- { level: RequestResponse, users: [ada], verbs: [create, watch] }
- { level: None }
";
    let audit = Audit { policy: AuditPolicy::parse(policy.as_bytes()).unwrap().into(), log: log.clone() };
    let cluster = Cluster::with(Options { audit: Some(audit), ..Options::in_memory() }).await;
    let ada = Client::of(&cluster, User::new("ada", ["system:masters"]));
    ada.post(MAPS, &map("a", "0")).await.code(201);
    ada.post(MAPS, &map("a", "0")).await.code(409);
    ada.get(MAPS).await.code(200);
    drop(ada.raw("GET", &format!("{MAPS}?watch=1"), &[], vec![]).await);
    cluster.stop().await;
    let text = std::fs::read_to_string(log).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            json!([
                event["verb"],
                event["stage"],
                event["responseStatus"]["code"],
                event["objectRef"]["name"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["create", "ResponseComplete", 201, "a"]),
            json!(["create", "ResponseComplete", 409, "a"]),
            json!(["watch", "ResponseStarted", 200, null]),
            json!(["watch", "ResponseComplete", 200, null]),
        ]
    );
    assert_eq!(events[0]["requestObject"]["data"]["k"], "0");
    assert_eq!(events[0]["responseObject"]["metadata"]["name"], "a");
    assert_eq!(events[1]["responseStatus"]["reason"], "AlreadyExists");
}
