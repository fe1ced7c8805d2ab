//! The door in front of the real server, its store in memory: the article's objects, seen from both sides.

use http_body_util::BodyExt;
use skiff_base::task::Policy;

use super::golden::{BINDING, ENDPOINTS, EVENT, MINION, RC, SERVICE};
use super::*;
use crate::authn::Peer;
use crate::options::Options;
use crate::server::{Handler, Server};

const MASTER: &str = r#"{"id": "redis-master-pod", "kind": "Pod", "apiVersion": "v1beta1", "desiredState": {"manifest": {"version": "v1beta1", "id": "redis-master-pod",
  "containers": [{"name": "redis-master", "image": "gurpartap/redis", "ports": [{"name": "redis-server", "containerPort": 6379}]}]}},
  "labels": {"name": "redis", "role": "master"}}"#;

const SLAVES: &str = r#"{"id": "redisSlaveController", "kind": "ReplicationController", "apiVersion": "v1beta1", "desiredState": {"replicas": 2,
  "replicaSelector": {"name": "redisslave"}, "podTemplate": {"desiredState": {"manifest": {"version": "v1beta1", "id": "redisSlaveController",
  "containers": [{"name": "slave", "image": "brendanburns/redis-slave", "ports": [{"containerPort": 6379, "hostPort": 6380}]}]}},
  "labels": {"name": "redisslave"}}}, "labels": {"name": "redisslave"}}"#;

/// A server that runs until the test ends.
struct Cluster {
    handler: Handler,
    tasks: Tasks,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Cluster {
    async fn start() -> Self {
        let server = Server::build(Options::in_memory()).unwrap();
        let (handler, ready, tasks) = (server.handler(), server.ready(), Tasks::new());
        tasks.spawn("server", Policy::Essential, server.run(Vec::new(), tasks.clone()));
        ready.opened().await;
        Self { handler, tasks }
    }

    async fn open(&self, line: &str, body: &str) -> Response {
        let mut request = request(line, body);
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        self.handler.handle(Peer::Known(User::new("admin", ["system:masters"])), request).await
    }

    async fn ask(&self, line: &str, body: &str) -> (u16, Value) {
        let response = self.open(line, body).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Asks and expects 200.
    async fn ok(&self, line: &str, body: &str) -> Value {
        let (code, value) = self.ask(line, body).await;
        assert!((200..300).contains(&code), "{line}: {code} {value}");
        value
    }
}

#[tokio::test]
async fn the_articles_objects_are_seen_from_both_sides() {
    let cluster = Cluster::start().await;
    let pod = cluster.ok("POST /api/v1beta1/pods", MASTER).await;
    assert_eq!(pod["id"], "redis-master-pod");
    assert_eq!(pod["currentState"]["status"], "Waiting");
    assert_eq!(pod["desiredState"]["manifest"]["containers"][0]["imagePullPolicy"], "");
    assert!(pod["resourceVersion"].is_u64(), "{pod}");
    let v1 = cluster.ok("GET /api/v1/namespaces/default/pods/redis-master-pod", "").await;
    assert_eq!(v1["spec"]["containers"][0]["image"], "gurpartap/redis");
    assert_eq!(v1["spec"]["restartPolicy"], "Always");
    assert_eq!(v1["metadata"]["uid"], pod["desiredState"]["manifest"]["uuid"]);

    let service = r#"{"id": "redismaster", "port": 6379, "selector": {"name": "redis", "role": "master"}}"#;
    let service = cluster.ok("POST /api/v1beta1/services", service).await;
    assert_eq!(service["containerPort"], 6379);
    assert!(service["portalIP"].as_str().unwrap().starts_with("10."), "{service}");

    let controller = cluster.ok("POST /api/v1beta1/replicationControllers", SLAVES).await;
    assert_eq!(controller["id"], "redisSlaveController");
    let v1 =
        cluster.ok("GET /api/v1/namespaces/default/replicationcontrollers/redisSlaveController", "").await;
    assert_eq!(v1["spec"]["replicas"], 2);

    let list = cluster.ok("GET /api/v1beta1/pods?labels=role%3Dmaster&fields=DesiredState.Host%3D", "").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0].get("kind"), None);

    let deleted = cluster.ok("DELETE /api/v1beta1/replicationControllers/redisSlaveController", "").await;
    assert_eq!(deleted["status"], "Success");
    let (code, _) = cluster.ask("GET /api/v1beta1/replicationControllers/redisSlaveController", "").await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn what_only_v1_knows_survives_a_put_of_2014() {
    let cluster = Cluster::start().await;
    cluster.ok("POST /api/v1beta1/replicationControllers", SLAVES).await;
    let path = "/api/v1/namespaces/default/replicationcontrollers/redisSlaveController";
    let mut v1 = cluster.ok(&format!("GET {path}"), "").await;
    v1["spec"]["minReadySeconds"] = json!(7);
    v1["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "a", "operator": "Exists"}]);
    let v1 = cluster.ok(&format!("PUT {path}"), &v1.to_string()).await;
    let mine = "/api/v1beta1/replicationControllers/redisSlaveController";
    let mut seen = cluster.ok(&format!("GET {mine}"), "").await;
    seen["desiredState"]["replicas"] = json!(3);
    let answer = cluster.ok(&format!("PUT {mine}"), &seen.to_string()).await;
    assert_eq!(answer["desiredState"]["replicas"], 3);
    let after = cluster.ok(&format!("GET {path}"), "").await;
    let mut expected = v1["spec"].clone();
    expected["replicas"] = json!(3);
    assert_eq!(after["spec"], expected);
    let (code, status) = cluster.ask(&format!("PUT {mine}"), &seen.to_string()).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "the revision is stale: {status}");
}

#[tokio::test]
async fn codes_are_those_of_the_test_of_that_time_on_the_real_server() {
    let cluster = Cluster::start().await;
    let pod = MASTER.replace("redis-master-pod", "a");
    for (line, body, expected) in [
        ("POST /api/v1beta1/pods?sync=true&timeout=60s", pod.as_str(), 200),
        ("POST /api/v1beta1/pods", pod.as_str(), 409),
        ("PUT /api/v1beta1/pods/a", pod.as_str(), 500),
        ("GET /api/v1beta1/pods", "", 200),
        ("GET /api/v1beta1/pods/a", "", 200),
        ("POST /api/v1beta1/services", SERVICE, 200),
        ("PUT /api/v1beta1/services/a", SERVICE, 409),
        ("GET /api/v1beta1/services", "", 200),
        ("DELETE /api/v1beta1/services/a", "", 200),
        ("POST /api/v1beta1/replicationControllers", RC, 200),
        ("PUT /api/v1beta1/replicationControllers/a", RC, 409),
        ("DELETE /api/v1beta1/replicationControllers/a", "", 200),
        ("POST /api/v1beta1/endpoints", ENDPOINTS, 200),
        ("PUT /api/v1beta1/endpoints/a", ENDPOINTS, 200),
        ("GET /api/v1beta1/endpoints/a", "", 200),
        ("DELETE /api/v1beta1/endpoints/a", "", 400),
        ("POST /api/v1beta1/minions", MINION, 200),
        ("PUT /api/v1beta1/minions/a", MINION, 422),
        ("GET /api/v1beta1/nodes/a", "", 200),
        ("POST /api/v1beta1/events", EVENT, 200),
        ("PUT /api/v1beta1/events/a", EVENT, 500),
        ("GET /api/v1beta1/events?fields=involvedObject.kind%3DPod", "", 200),
        ("DELETE /api/v1beta1/events/a", "", 200),
        ("POST /api/v1beta1/bindings", BINDING, 200),
        ("PUT /api/v1beta1/bindings/a", BINDING, 500),
        ("GET /api/v1beta1/bindings", "", 405),
        ("GET /api/v1beta1/bindings/a", "", 404),
        ("DELETE /api/v1beta1/bindings/a", "", 404),
        ("DELETE /api/v1beta1/minions/a", "", 200),
        ("DELETE /api/v1beta1/pods/none", "", 404),
        ("GET /api/v1beta1/foo", "", 404),
        ("GET /api/v1beta1/operations/1", "", 404),
        ("GET /validate", "", 200),
    ] {
        let (code, value) = cluster.ask(line, body).await;
        assert_eq!(code, expected, "{line}: {value}");
    }
}

#[tokio::test]
async fn faults_are_told_at_their_places_in_2014() {
    let cluster = Cluster::start().await;
    let body = r#"{"id": "x", "desiredState": {"manifest": {"containers": [{"name": "Bad_Name"}]}}}"#;
    let (code, status) = cluster.ask("POST /api/v1beta1/pods", body).await;
    assert_eq!(code, 422, "{status}");
    let fields: Vec<_> =
        status["details"]["causes"].as_array().unwrap().iter().map(|cause| cause["field"].clone()).collect();
    assert!(fields.contains(&json!("desiredState.manifest.containers[0].name")), "{status}");
    assert!(fields.contains(&json!("desiredState.manifest.containers[0].image")), "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("pod \"x\" is invalid: ["), "{message}");
    assert!(message.contains("desiredState.manifest.containers[0].image: required value ''"), "{message}");
    assert_eq!(status["details"]["kind"], "pod");
    let (code, status) = cluster.ask("POST /api/v1beta1/pods?namespace=nowhere", MASTER).await;
    assert_eq!(code, 404, "{status}");
    assert!(status["message"].as_str().unwrap().contains("nowhere"), "{status}");
}

#[tokio::test]
async fn names_of_2014_come_in_through_the_door_only() {
    let cluster = Cluster::start().await;
    let v1 = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Upper"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, _) = cluster.ask("POST /api/v1/namespaces/default/pods", &v1.to_string()).await;
    assert_eq!(code, 422);
    cluster.ok("POST /api/v1beta1/pods", POD).await;
    cluster.ok("GET /api/v1/namespaces/default/pods/Master", "").await;
    for bad in ["a/b", "..", "a%b"] {
        let (code, status) = cluster.ask("POST /api/v1beta1/pods", &POD.replace("Master", bad)).await;
        assert_eq!(code, 422, "{bad}: {status}");
    }
}

#[tokio::test]
async fn a_watch_tells_what_happens_from_now_on() {
    let cluster = Cluster::start().await;
    cluster.ok("POST /api/v1beta1/pods", MASTER).await;
    let mut stream = cluster.open("GET /api/v1beta1/watch/pods", "").await.into_body();
    cluster.ok("POST /api/v1beta1/pods", POD).await;
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((&event["type"], &event["object"]["id"]), (&json!("ADDED"), &json!("Master")));
    cluster.ok("DELETE /api/v1beta1/pods/Master", "").await;
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((&event["type"], &event["object"]["id"]), (&json!("DELETED"), &json!("Master")));
}

#[tokio::test]
async fn todays_clients_find_v1_first() {
    let cluster = Cluster::start().await;
    let index = cluster.ok("GET /api", "").await;
    assert_eq!(index["versions"][0], "v1");
    assert!(index["versions"].as_array().unwrap().contains(&json!("v1beta1")), "{index}");
}
