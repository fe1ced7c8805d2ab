//! The door over a backend that answers from a script and records what it is asked.

mod golden;
mod passing;
mod real;
mod watching;

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::*;

/// What v1 was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) body: Value,
    pub(super) named: bool,
    pub(super) user: Option<User>,
}

/// `"GET /api/v1/..."` to the answer; what is in no script is v1's 404 about the last segment.
#[derive(Default)]
pub(super) struct Script {
    answers: HashMap<String, (u16, &'static str, String)>,
    pub(super) asked: Mutex<Vec<Asked>>,
}

impl Script {
    pub(super) fn on(mut self, line: &str, code: u16, answer: impl ToString) -> Self {
        self.answers.insert(line.to_owned(), (code, "application/json", answer.to_string()));
        self
    }

    pub(super) fn page(mut self, line: &str, code: u16, kind: &'static str, text: &str) -> Self {
        self.answers.insert(line.to_owned(), (code, kind, text.to_owned()));
        self
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }

    pub(super) fn last(&self) -> Asked {
        self.asked.lock().unwrap().pop().unwrap()
    }
}

fn missing(path: &str) -> String {
    let mut parts = path.trim_start_matches("/api/v1/").split('/').rev();
    let (name, plural) = (parts.next().unwrap(), parts.next().unwrap_or("x"));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": format!("{plural} \"{name}\" not found"), "details": {"name": name, "kind": plural}})
    .to_string()
}

impl Backend for Script {
    fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        let (parts, body) = request.into_parts();
        let line = format!("{} {}", parts.method, parts.uri);
        // Scripts have whole bodies, so this never waits.
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        let (code, kind, text) = match self.answers.get(&line) {
            Some(answer) => answer.clone(),
            // A create is stored as it is sent.
            None if parts.method == Method::POST => {
                (201, "application/json", String::from_utf8_lossy(&body).into_owned())
            }
            None => (404, "application/json", missing(parts.uri.path())),
        };
        self.asked.lock().unwrap().push(Asked {
            line,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            named: parts.extensions.get::<LegacyName>().is_some(),
            user: parts.extensions.get::<User>().cloned(),
        });
        std::future::ready(wire::answer(code, kind, wire::Body::full(text))).boxed()
    }
}

pub(super) fn door(script: &Arc<Script>) -> Door {
    Door::new(Arc::clone(script) as Arc<dyn Backend>, Tasks::new())
}

pub(super) fn request(line: &str, body: &str) -> Request {
    let (method, uri) = line.split_once(' ').unwrap();
    http::Request::builder()
        .method(method)
        .uri(uri)
        .extension(User::new("somebody", ["users"]))
        .body(wire::incoming(Full::new(Bytes::from(body.to_owned()))))
        .unwrap()
}

pub(super) async fn ask(script: &Arc<Script>, line: &str, body: &str) -> (u16, String) {
    let response = door(script).answer(request(line, body)).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

pub(super) const POD: &str = r#"{"id": "Master", "desiredState": {"manifest": {"version": "v1beta1", "containers": [{"name": "c", "image": "i"}]}}}"#;

#[tokio::test]
async fn a_pod_is_created_with_the_callers_identity_under_a_name_of_2014() {
    let script = Arc::new(Script::default());
    let (code, text) = ask(&script, "POST /api/v1beta1/pods?sync=true&timeout=60s", POD).await;
    assert_eq!(code, 200, "{text}");
    assert!(text.starts_with(r#"{"kind":"Pod","id":"Master","creationTimestamp":null,"selfLink":"/api/v1beta1/pods/Master","apiVersion":"v1beta1","namespace":"default","#), "{text}");
    let asked = script.last();
    assert_eq!(asked.line, "POST /api/v1/namespaces/default/pods");
    assert_eq!(asked.body["metadata"], json!({"name": "Master", "namespace": "default"}));
    assert!(asked.named);
    assert_eq!(&*asked.user.unwrap().name, "somebody");
}

#[tokio::test]
async fn a_pod_without_an_id_gets_a_uuid() {
    let script = Arc::new(Script::default());
    ask(&script, "POST /api/v1beta1/pods", r#"{"desiredState": {"manifest": {"containers": []}}}"#).await;
    assert_eq!(script.last().body["metadata"]["name"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn lists_are_of_the_default_namespace_and_name_v1s_selectors() {
    let list = json!({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a", "namespace": "default"}, "spec": {"containers": []}}]});
    let line = "GET /api/v1/namespaces/default/pods?labelSelector=a%3Db&fieldSelector=spec.nodeName%3D";
    let script = Arc::new(Script::default().on(line, 200, list));
    let (code, text) =
        ask(&script, "GET /api/v1beta1/pods?labels=a%3Db&fields=DesiredState.Host%3D", "").await;
    assert_eq!(code, 200, "{text}");
    let head = r#"{"kind":"PodList","creationTimestamp":null,"selfLink":"/api/v1beta1/pods","resourceVersion":7,"apiVersion":"v1beta1","items":[{"id":"a","creationTimestamp":null,"namespace":"default","desiredState":"#;
    assert!(text.starts_with(head), "{text}");
}

#[tokio::test]
async fn other_namespaces_stand_in_the_links() {
    let pod = json!({"metadata": {"name": "a", "namespace": "other"}, "spec": {"containers": []}});
    let script = Arc::new(Script::default().on("GET /api/v1/namespaces/other/pods/a", 200, pod));
    let (_, text) = ask(&script, "GET /api/v1beta2/pods/a?namespace=other", "").await;
    assert!(
        text.contains(r#""selfLink":"/api/v1beta2/pods/a?namespace=other","apiVersion":"v1beta2""#),
        "{text}"
    );
}

#[tokio::test]
async fn a_put_changes_only_what_it_says() {
    let stored = json!({"metadata": {"name": "rc", "namespace": "default", "resourceVersion": "5", "finalizers": ["x/y"]},
        "spec": {"replicas": 2, "minReadySeconds": 3, "selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Always", "tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "i"}]}}}});
    let path = "/api/v1/namespaces/default/replicationcontrollers/rc";
    let mut expected = stored.clone();
    expected["spec"]["replicas"] = json!(3);
    let script =
        Script::default().on(&format!("GET {path}"), 200, &stored).on(&format!("PUT {path}"), 200, &expected);
    let script = Arc::new(script);
    let (_, seen) = ask(&script, "GET /api/v1beta1/replicationControllers/rc", "").await;
    let sent = seen.replace("\"replicas\":2", "\"replicas\":3");
    let (code, text) = ask(&script, "PUT /api/v1beta1/replicationControllers/rc", &sent).await;
    assert_eq!(code, 200, "{text}");
    assert_eq!(script.last().body, expected);
}

#[tokio::test]
async fn deleting_a_controller_leaves_its_pods() {
    let path = "DELETE /api/v1/namespaces/default/replicationcontrollers/redisSlaveController";
    let script = Arc::new(Script::default().on(path, 200, json!({"kind": "Status", "status": "Success"})));
    let (code, text) =
        ask(&script, "DELETE /api/v1beta1/replicationControllers/redisSlaveController", "").await;
    assert_eq!(code, 200);
    assert_eq!(
        text,
        r#"{"kind":"Status","creationTimestamp":null,"apiVersion":"v1beta1","status":"Success"}"#
    );
    assert_eq!(script.last().body["propagationPolicy"], "Orphan");
}

#[tokio::test]
async fn a_service_without_a_container_port_takes_the_first_of_its_pods() {
    let pods = json!({"items": [{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 6379}]}]}}]});
    let line = "GET /api/v1/namespaces/default/pods?labelSelector=name%3Dredis";
    let script = Arc::new(Script::default().on(line, 200, pods));
    let body = r#"{"id": "redismaster", "port": 10000, "selector": {"name": "redis"}}"#;
    ask(&script, "POST /api/v1beta1/services", body).await;
    assert_eq!(
        script.last().body["spec"]["ports"],
        json!([{"port": 10000, "protocol": "TCP", "targetPort": 6379}])
    );
}

#[tokio::test]
async fn a_service_before_its_pods_takes_the_port_of_their_controllers_template() {
    let controllers = json!({"items": [{"metadata": {"name": "rc"}, "spec": {"template": {"metadata": {"labels": {"name": "slave"}},
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 6380}]}]}}}}]});
    let script = Script::default()
        .on("GET /api/v1/namespaces/default/pods?labelSelector=name%3Dslave", 200, json!({"items": []}))
        .on("GET /api/v1/namespaces/default/replicationcontrollers", 200, controllers);
    let script = Arc::new(script);
    ask(&script, "POST /api/v1beta1/services", r#"{"id": "s", "port": 1, "selector": {"name": "slave"}}"#)
        .await;
    assert_eq!(script.last().body["spec"]["ports"][0]["targetPort"], 6380);
}

#[tokio::test]
async fn the_plain_port_knows_who_everybody_is() {
    let script = Arc::new(Script::default());
    let port = PlainPort::new(
        door(&script),
        Arc::clone(&script) as Arc<dyn Backend>,
        User::new("legacy", ["system:masters"]),
    );
    let response = port.answer(request("POST /api/v1beta1/pods", POD)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(&*script.last().user.unwrap().name, "legacy");
    assert_eq!(port.answer(request("GET /", "")).await.status(), 200);
    port.answer(request("GET /version", "")).await;
    assert_eq!(script.last().line, "GET /version");
}

#[test]
fn the_door_claims_its_own_paths_only() {
    for (path, mine) in [
        ("/api/v1beta1", true),
        ("/api/v1beta1/pods", true),
        ("/api/v1beta2/pods", true),
        ("/validate", true),
        ("/proxy/minion/a/b", true),
        ("/api", false),
        ("/api/v1/pods", false),
        ("/api/v1beta10", false),
        ("/version", false),
    ] {
        assert_eq!(claims(path), mine, "{path}");
    }
}
