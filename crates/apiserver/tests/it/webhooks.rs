//! Webhooks: a server of the tests' own is asked over HTTPS, changes, refuses, is away, is too slow.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use skiff_base::pki::{Authority, Request};
use skiff_base::task::{Policy, Tasks};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::given::{Client, Given, MAPS, map, pod};

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A webhook server; answers with what `reply` makes of the path and the request.
pub(crate) struct Server {
    address: SocketAddr,
    authority: Authority,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<AtomicUsize>,
    tasks: Tasks,
}

pub(crate) type Reply = fn(&str, &Value) -> Value;

impl Server {
    pub(crate) async fn start(reply: Reply) -> Self {
        let authority = Authority::create("webhooks").unwrap();
        let hosts = vec!["127.0.0.1".to_owned(), "hook.default.svc".to_owned()];
        let identity =
            authority.issue(&Request { name: "hook".to_owned(), hosts, ..Request::default() }).unwrap();
        let mut tls = skiff_base::tls::server(&identity, authority.cert_pem()).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, tasks) = (Arc::<Mutex<Vec<_>>>::default(), Tasks::new());
        let connections = Arc::<AtomicUsize>::default();
        let (log, group, accepted) = (Arc::clone(&asked), tasks.clone(), Arc::clone(&connections));
        tasks.spawn_until_stop(async move {
            while let Ok((stream, _)) = socket.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
                group.spawn("webhook", Policy::Optional, async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return Ok(()) };
                    let service =
                        hyper::service::service_fn(move |request| answer(request, reply, Arc::clone(&log)));
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    Ok::<_, std::io::Error>(())
                });
            }
        });
        Self { address, authority, asked, connections, tasks }
    }

    pub(crate) fn client(&self, path: &str) -> Value {
        json!({
            "url": format!("https://{}{path}", self.address),
            "caBundle": STANDARD.encode(self.authority.cert_pem()),
        })
    }

    /// The requests seen, oldest first.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    reply: Reply,
    log: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let asked = review["request"].clone();
    log.lock().unwrap().push((path.clone(), asked.clone()));
    if path == "/broken" {
        return Ok(hyper::Response::builder().status(500).body("oops".into()).unwrap());
    }
    if path == "/slow" {
        std::future::pending::<()>().await;
    }
    let mut response = reply(&path, &asked);
    response["uid"] = asked["uid"].clone();
    let review = json!({ "apiVersion": review["apiVersion"], "kind": review["kind"], "response": response });
    Ok(hyper::Response::new(review.to_string().into()))
}

fn allow(_: &str, _: &Value) -> Value {
    json!({ "allowed": true })
}

fn rules(group: &str, resources: &[&str], operations: &[&str]) -> Value {
    json!([{ "apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": resources }])
}

fn hook(name: &str, client: Value, rules: Value) -> Value {
    json!({
        "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
        "clientConfig": client, "rules": rules,
    })
}

async fn configure(client: &Client, kind: &str, name: &str, hooks: &[Value]) {
    let body = json!({ "metadata": { "name": name }, "webhooks": hooks });
    client.post(kind, &body).await.code(201);
}

fn patch(operations: Value) -> Value {
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string()) })
}

#[tokio::test]
async fn a_webhook_sees_the_call_and_its_refusal_reaches_the_client() {
    let given = Given::new().await;
    let server = Server::start(|_, request| {
        let denied = json!({ "allowed": false, "warnings": ["careful"],
            "status": { "message": "no maps called bad", "code": 403, "reason": "Forbidden" } });
        if request["name"] == "bad" { denied } else { json!({ "allowed": true, "warnings": ["careful"] }) }
    })
    .await;
    let all = rules("", &["configmaps"], &["*"]);
    configure(&given.client, VALIDATING, "v", &[hook("maps.example.com", server.client("/check"), all)])
        .await;

    let refused = given.client.post(MAPS, &map("bad", "1")).await.code(403);
    assert_eq!(
        refused.message(),
        "admission webhook \"maps.example.com\" denied the request: no maps called bad"
    );
    assert_eq!(refused.body["reason"], "Forbidden");
    let made = given.client.post(&format!("{MAPS}?dryRun=All"), &map("good", "1")).await.code(201);
    assert!(made.warnings.iter().any(|warning| warning.contains("careful")), "{:?}", made.warnings);
    given.client.post(MAPS, &map("good", "1")).await.code(201);
    given.client.put(&format!("{MAPS}/good"), &map("good", "2")).await.code(200);
    given.client.delete(&format!("{MAPS}/good")).await.code(200);

    let asked = server.asked();
    let operations: Vec<&Value> = asked.iter().map(|request| &request["operation"]).collect();
    assert_eq!(operations, ["CREATE", "CREATE", "CREATE", "UPDATE", "DELETE"]);
    assert_eq!(asked[1]["dryRun"], true);
    let create = &asked[2];
    assert_eq!(create["kind"], json!({ "group": "", "version": "v1", "kind": "ConfigMap" }));
    assert_eq!(create["resource"], json!({ "group": "", "version": "v1", "resource": "configmaps" }));
    assert_eq!((&create["name"], &create["namespace"]), (&json!("good"), &json!("default")));
    assert_eq!(create["userInfo"]["username"], "admin");
    assert_eq!(create["object"]["data"]["k"], "1");
    assert!(create["object"]["metadata"]["uid"].is_string() && create["oldObject"].is_null());
    assert_eq!(create["options"]["kind"], "CreateOptions");
    assert_eq!(
        (&asked[3]["oldObject"]["data"]["k"], &asked[3]["object"]["data"]["k"]),
        (&json!("1"), &json!("2"))
    );
    assert!(asked[4]["object"].is_null());
    assert_eq!(asked[4]["oldObject"]["data"]["k"], "2");
}

#[tokio::test]
async fn mutating_webhooks_change_the_object_in_order_and_look_again_if_they_asked_to() {
    let given = Given::new().await;
    let server = Server::start(|path, request| {
        let count = request["object"]["data"]["seen"].as_str().unwrap_or_default().to_owned();
        let step = match path {
            "/first" => "1",
            _ if count.contains('2') => return json!({ "allowed": true }),
            _ => "2",
        };
        patch(json!([{ "op": "add", "path": "/data/seen", "value": format!("{count}{step}") }]))
    })
    .await;
    let rule = || rules("", &["configmaps"], &["CREATE"]);
    let mut first = hook("a.example.com", server.client("/first"), rule());
    first["reinvocationPolicy"] = "IfNeeded".into();
    configure(&given.client, MUTATING, "b", &[hook("b.example.com", server.client("/second"), rule())]).await;
    configure(&given.client, MUTATING, "a", &[first]).await;
    let made = given.client.post(MAPS, &map("m", "1")).await.code(201);
    assert_eq!(server.paths(), ["/first", "/second", "/first"]);
    assert_eq!(made.body["data"]["seen"], "121");
}

#[tokio::test]
async fn what_a_webhook_makes_is_defaulted_and_validated() {
    let given = Given::new().await;
    let server = Server::start(|_, request| {
        let image = if request["name"] == "wrong" { json!("") } else { json!("other") };
        patch(json!([
            { "op": "replace", "path": "/spec/containers/0/image", "value": image },
            { "op": "add", "path": "/spec/containers/-", "value": { "name": "side", "image": "proxy" } },
        ]))
    })
    .await;
    let rule = rules("", &["pods"], &["CREATE"]);
    configure(&given.client, MUTATING, "m", &[hook("pods.example.com", server.client("/"), rule)]).await;
    let made = given.client.post("/api/v1/namespaces/default/pods", &pod("p")).await.code(201);
    assert_eq!(made.body["spec"]["containers"][0]["image"], "other");
    assert_eq!(made.body["spec"]["containers"][1]["terminationMessagePath"], "/dev/termination-log");
    let wrong = given.client.post("/api/v1/namespaces/default/pods", &pod("wrong")).await.code(422);
    assert!(wrong.message().contains("spec.containers[0].image"), "{}", wrong.message());
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_fails_the_call_unless_it_may_be_ignored() {
    let given = Given::new().await;
    let server = Server::start(allow).await;
    let rule = || rules("", &["configmaps"], &["CREATE"]);
    let try_with = async |client: Value, timeout: i32, policy: &str| {
        let mut one = hook("x.example.com", client, rule());
        one["timeoutSeconds"] = timeout.into();
        one["failurePolicy"] = policy.into();
        configure(&given.client, VALIDATING, "v", &[one]).await;
        let answer = given.client.post(&format!("{MAPS}?dryRun=All"), &map("m", "1")).await;
        given.client.delete(&format!("{VALIDATING}/v")).await.code(200);
        (answer.code, answer.message().to_owned())
    };
    let base = format!("https://{}", server.address);
    let failed = |why: &str| {
        let calling =
            "Internal error occurred: failed calling webhook \"x.example.com\": failed to call webhook: ";
        (500, format!("{calling}{why}"))
    };
    assert_eq!(
        try_with(server.client("/broken"), 5, "Fail").await,
        failed("an error on the server (\"oops\") has prevented the request from succeeding")
    );
    assert_eq!(
        try_with(server.client("/slow"), 1, "Fail").await,
        failed(&format!("Post \"{base}/slow?timeout=1s\": context deadline exceeded"))
    );
    let stranger = Authority::create("other").unwrap();
    let distrusted = json!({ "url": format!("{base}/x"), "caBundle": STANDARD.encode(stranger.cert_pem()) });
    assert_eq!(
        try_with(distrusted, 5, "Fail").await,
        failed(&format!(
            "Post \"{base}/x?timeout=5s\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
        ))
    );
    let away = json!({ "service": { "name": "none", "namespace": "default", "path": "/p" },
        "caBundle": STANDARD.encode(server.authority.cert_pem()) });
    assert_eq!(
        try_with(away.clone(), 5, "Fail").await,
        failed("Post \"https://none.default.svc:443/p?timeout=5s\": service \"none\" not found")
    );
    assert_eq!(try_with(away, 5, "Ignore").await.0, 201);
}

#[tokio::test]
async fn a_service_is_found_by_its_endpoints() {
    let given = Given::new().await;
    let server = Server::start(allow).await;
    let (client, port) = (&given.client, server.address.port());
    let service =
        json!({ "metadata": { "name": "hook" }, "spec": { "ports": [{ "port": 443, "targetPort": 9443 }] } });
    client.post("/api/v1/namespaces/default/services", &service).await.code(201);
    let slice = json!({ "metadata": { "name": "hook-1", "labels": { "kubernetes.io/service-name": "hook" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": ["127.0.0.1"] }], "ports": [{ "name": "", "port": port }] });
    let answer = client.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await;
    // Loopback addresses are refused for endpoints: then the test has nothing to stand on but the error's words.
    let to = json!({ "service": { "name": "hook", "namespace": "default", "path": "/svc" },
        "caBundle": STANDARD.encode(server.authority.cert_pem()) });
    let rule = rules("", &["configmaps"], &["CREATE"]);
    configure(client, VALIDATING, "v", &[hook("s.example.com", to, rule)]).await;
    let made = client.post(MAPS, &map("m", "1")).await;
    if answer.code == 201 {
        made.code(201);
        assert_eq!(server.paths(), ["/svc"]);
    } else {
        let made = made.code(500);
        assert!(made.message().contains("no endpoints available for service \"hook\""), "{}", made.message());
    }
}

#[tokio::test]
async fn selectors_conditions_and_exemptions_keep_webhooks_out() {
    let given = Given::new().await;
    let client = &given.client;
    let server = Server::start(|_, _| json!({ "allowed": false })).await;
    let mut one = hook("n.example.com", server.client("/"), rules("*", &["*", "*/*"], &["*"]));
    one["rules"][0]["resources"] = json!(["*/*"]);
    one["rules"][0]["apiVersions"] = json!(["*"]);
    one["namespaceSelector"] = json!({ "matchLabels": { "guarded": "yes" } });
    one["objectSelector"] = json!({ "matchExpressions": [{ "key": "free", "operator": "DoesNotExist" }] });
    one["matchConditions"] = json!([
        { "name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')" },
        { "name": "not-deletion", "expression": "request.operation != 'DELETE'" },
    ]);
    configure(client, VALIDATING, "v", &[one]).await;
    client.post(MAPS, &map("outside", "1")).await.code(201);
    let guarded = json!({ "metadata": { "name": "guarded", "labels": { "guarded": "yes" } } });
    let refused = client.post("/api/v1/namespaces", &guarded).await.code(400);
    assert_eq!(
        refused.message(),
        "admission webhook \"n.example.com\" denied the request without explanation"
    );
    client.delete(&format!("{VALIDATING}/v")).await.code(200);
    client.post("/api/v1/namespaces", &guarded).await.code(201);
    let mut one = hook("n.example.com", server.client("/"), rules("", &["configmaps"], &["*"]));
    one["namespaceSelector"] = json!({ "matchLabels": { "guarded": "yes" } });
    one["objectSelector"] = json!({ "matchExpressions": [{ "key": "free", "operator": "DoesNotExist" }] });
    one["matchConditions"] =
        json!([{ "name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')" }]);
    configure(client, VALIDATING, "w", &[one]).await;
    let maps = "/api/v1/namespaces/guarded/configmaps";
    client.post(maps, &map("inside", "1")).await.code(400);
    client.post(maps, &map("exempt-1", "1")).await.code(201);
    let mut free = map("free", "1");
    free["metadata"]["labels"] = json!({ "free": "1" });
    client.post(maps, &free).await.code(201);
    client.delete(&format!("{VALIDATING}/w")).await.code(200);
}

#[tokio::test]
async fn subresources_have_objects_of_their_own() {
    let given = Given::new().await;
    let client = &given.client;
    let server = Server::start(|path, request| match path {
        "/scale" if request["object"]["spec"]["replicas"].as_i64() > Some(3) => {
            patch(json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }]))
        }
        _ => json!({ "allowed": true }),
    })
    .await;
    let deployment = json!({ "metadata": { "name": "d" }, "spec": { "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } } });
    client.post(DEPLOYMENTS, &deployment).await.code(201);
    client.post("/api/v1/namespaces/default/pods", &pod("p")).await.code(201);
    configure(
        client,
        MUTATING,
        "m",
        &[
            hook(
                "scale.example.com",
                server.client("/scale"),
                rules("apps", &["deployments/scale"], &["UPDATE"]),
            ),
            hook("pods.example.com", server.client("/pods"), rules("", &["pods/*"], &["*"])),
        ],
    )
    .await;
    let scaled = client
        .patch(&format!("{DEPLOYMENTS}/d/scale"), "merge-patch", &json!({ "spec": { "replicas": 9 } }))
        .await
        .code(200);
    assert_eq!(scaled.body["spec"]["replicas"], 3);
    let binding = json!({ "metadata": { "name": "p" }, "target": { "name": "one" } });
    client.post("/api/v1/namespaces/default/pods/p/binding", &binding).await.code(201);
    client.get("/api/v1/namespaces/default/pods/p/exec?command=ls&container=c").await;
    client
        .post("/api/v1/namespaces/default/pods/p/eviction", &json!({ "metadata": { "name": "p" } }))
        .await
        .code(201);
    let seen: Vec<String> = server
        .asked()
        .iter()
        .map(|request| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}",
                text(&request["operation"]),
                text(&request["subResource"]),
                text(&request["kind"]["kind"])
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "UPDATE scale Scale",
            "CREATE binding Binding",
            "CONNECT exec PodExecOptions",
            "CREATE eviction Eviction"
        ]
    );
}

#[tokio::test]
async fn connections_are_kept() {
    let given = Given::new().await;
    let server = Server::start(allow).await;
    let rule = rules("", &["configmaps"], &["*"]);
    configure(&given.client, VALIDATING, "v", &[hook("k.example.com", server.client("/"), rule)]).await;
    for name in ["a", "b", "c"] {
        given.client.post(MAPS, &map(name, "1")).await.code(201);
    }
    assert_eq!(server.asked().len(), 3);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
