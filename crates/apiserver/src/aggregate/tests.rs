//! Another API server behind this one, from the client's side: a small one of the tests' own, over TLS.

use std::sync::Arc;

use futures::StreamExt;
use http_body_util::BodyExt;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};
use skiff_base::pki::{Authority, Request as Certificate};
use skiff_base::task::{Policy, Tasks};
use skiff_store::{Expect, Key, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::api::Api;
use crate::authn::Peer;
use crate::kinds::apiregistration::api_service::available;
use crate::options::{FrontProxy, Options};
use crate::serve::Listener;
use crate::server::{Handler, Server};
use crate::stored::{Change, restamped};
use crate::user::User;
use crate::wire;

mod extension;

use extension::Extension;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1.x.io";
const THINGS: &str = "/apis/x.io/v1/namespaces/default/things";

/// This server, until the test ends.
struct Cluster {
    handler: Handler,
    api: Arc<Api>,
    front: Authority,
    address: std::net::SocketAddr,
    tasks: Tasks,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Cluster {
    async fn start() -> Self {
        let front = Authority::create("front-proxy-ca").unwrap();
        let name = "front-proxy-client".to_owned();
        let identity = front.issue(&Certificate { name: name.clone(), ..Certificate::default() }).unwrap();
        let ca_pem = front.cert_pem().to_owned();
        let front_proxy = Some(FrontProxy { identity, ca_pem, names: vec![name] });
        let server = Server::build(Options { front_proxy, ..Options::in_memory() }).unwrap();
        let (handler, ready, tasks, api) =
            (server.handler(), server.ready(), Tasks::new(), Arc::clone(server.api()));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::plain(socket, User::new("admin", ["system:masters"]));
        tasks.spawn("server", Policy::Essential, server.run(vec![listener], tasks.clone()));
        ready.opened().await;
        Self { handler, api, front, address, tasks }
    }

    async fn ask_as(&self, user: User, line: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let body = http_body_util::Full::new(bytes::Bytes::from(text));
        let request = request.body(wire::incoming(body)).unwrap();
        let response = self.handler.handle(Peer::Known(user), request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn ask(&self, line: &str, body: &Value) -> (u16, Value) {
        self.ask_as(User::new("admin", ["system:masters"]), line, &[], body).await
    }

    async fn ok(&self, line: &str, body: &Value) -> Value {
        let (code, value) = self.ask(line, body).await;
        assert!((200..300).contains(&code), "{line}: {code} {value}");
        value
    }

    /// Waits until an APIService is as wanted; nothing if it is gone.
    async fn until(&self, name: &str, wanted: impl Fn(Option<&APIService>) -> bool) {
        let (_, mut watch) = self.api.store.snapshot_and_watch(super::TABLE);
        loop {
            let stored = self.api.store.get(&Key::new(super::TABLE, name));
            let service = stored.map(|stored| stored.object().decode::<APIService>().unwrap());
            if wanted(service.as_deref()) {
                return;
            }
            let _any = watch.next().await.unwrap();
        }
    }

    /// Waits until the condition of the extension's APIService has this reason.
    async fn until_reason(&self, reason: &str) {
        let has =
            |service: &APIService| available(service).and_then(|it| it.reason.as_deref()) == Some(reason);
        self.until(NAME, |service| service.is_some_and(has)).await;
    }

    async fn register(&self, extension: &Extension) {
        let bundle = k8s_openapi::ByteString(extension.ca_pem().as_bytes().to_vec());
        let service = json!({ "metadata": { "name": NAME }, "spec": {
            "group": "x.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "caBundle": bundle, "service": { "namespace": "default", "name": "ext" } } });
        self.ok(&format!("POST {SERVICES}"), &service).await;
    }

    async fn service(&self) {
        let service = json!({ "metadata": { "name": "ext" },
            "spec": { "ports": [{ "name": "api", "port": 443, "targetPort": 8443 }] } });
        self.ok("POST /api/v1/namespaces/default/services", &service).await;
    }

    /// Endpoints of the service. Their address is put into the store, since nobody may write one of loopback.
    async fn endpoints(&self, port: u16) {
        let slice = json!({ "metadata": { "name": "ext-1", "labels": { "kubernetes.io/service-name": "ext" } },
            "addressType": "IPv4", "endpoints": [{ "addresses": ["192.0.2.7"] }],
            "ports": [{ "name": "api", "port": port }] });
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        self.ok(&format!("POST {slices}"), &slice).await;
        let key = Key::new("discovery.k8s.io/endpointslices", "default/ext-1");
        let stored = self.api.store.get(&key).unwrap();
        let text = String::from_utf8(stored.object().bytes().to_vec()).unwrap();
        let here = text.replace("192.0.2.7", "127.0.0.1");
        let object = skiff_api::Object::parse(here.into()).unwrap();
        let expect = Expect::Revision(stored.object().meta().revision);
        let write = Write::put(key, expect, move |revision| restamped(&object, revision, Change::Modified));
        self.api.store.write(write).await.unwrap();
    }

    /// An extension that answers, all around it in place.
    async fn with_extension(&self) -> Extension {
        let extension = Extension::start(self.front.cert_pem()).await;
        self.service().await;
        self.endpoints(extension.port()).await;
        self.register(&extension).await;
        self.until_reason("Passed").await;
        extension
    }
}

const AGGREGATED: (&str, &str) =
    ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");

impl Cluster {
    /// What aggregated discovery says of the extension's version.
    async fn discovered(&self) -> Value {
        let admin = User::new("admin", ["system:masters"]);
        let (_, all) = self.ask_as(admin, "GET /apis", &[AGGREGATED], &Value::Null).await;
        let mut groups = all["items"].as_array().unwrap().iter();
        groups.find(|group| group["metadata"]["name"] == "x.io").unwrap()["versions"][0].clone()
    }
}

#[tokio::test]
async fn requests_reach_the_other_server_with_the_name_of_who_asks() {
    let cluster = Cluster::start().await;
    let extension = cluster.with_extension().await;
    let made = cluster.ok(&format!("POST {THINGS}"), &json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(made["metadata"]["name"], "a");
    let list = cluster.ok(&format!("GET {THINGS}?limit=5"), &Value::Null).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let role = json!({ "metadata": { "name": "things" },
        "rules": [{ "apiGroups": ["x.io"], "resources": ["things"], "verbs": ["get"] }] });
    cluster.ok("POST /apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await;
    let binding = json!({ "metadata": { "name": "things" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "things" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane" }] });
    cluster.ok("POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await;
    let jane =
        || User::new("jane", ["devs"]).known_by("7", [("a.io/b".to_owned(), vec!["c".to_owned()])].into());
    let disguised =
        [("x-remote-user", "admin"), ("x-remote-group", "system:masters"), ("authorization", "Bearer x")];
    let (code, seen) =
        cluster.ask_as(jane(), &format!("GET {THINGS}/headers"), &disguised, &Value::Null).await;
    assert_eq!(code, 200, "{seen}");
    assert_eq!(seen["x-remote-user"], json!(["jane"]));
    assert_eq!(seen["x-remote-group"], json!(["devs", "system:authenticated"]));
    assert_eq!(seen["x-remote-uid"], json!(["7"]));
    assert_eq!(seen["x-remote-extra-a.io%2fb"], json!(["c"]));
    assert!(seen.get("authorization").is_none(), "{seen}");

    let before = extension.asked();
    let (code, refused) = cluster.ask_as(jane(), &format!("GET {THINGS}"), &[], &Value::Null).await;
    assert_eq!(code, 403, "{refused}");
    assert_eq!(extension.asked(), before);
}

#[tokio::test]
async fn discovery_and_openapi_tell_of_another_servers_kinds() {
    let cluster = Cluster::start().await;
    let _extension = cluster.with_extension().await;
    let groups = cluster.ok("GET /apis", &Value::Null).await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!(&names[..3], ["apiregistration.k8s.io", "apps", "events.k8s.io"]);
    assert_eq!(&names[names.len() - 2..], ["x.io", "metrics.k8s.io"]);
    assert_eq!(cluster.ok("GET /apis/x.io", &Value::Null).await["preferredVersion"]["version"], "v1");
    let version = cluster.ok("GET /apis/x.io/v1", &Value::Null).await;
    assert_eq!(version["resources"][0]["name"], "things");
    let version = cluster.discovered().await;
    assert_eq!(
        (&version["freshness"], &version["resources"][0]["resource"]),
        (&json!("Current"), &json!("things"))
    );

    let index = cluster.ok("GET /openapi/v3", &Value::Null).await;
    let url = index["paths"]["apis/x.io/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert!(index["paths"]["apis/apps/v1"].is_object());
    let document = cluster.ok(&format!("GET {url}"), &Value::Null).await;
    assert!(document["components"]["schemas"]["io.x.v1.Thing"].is_object(), "{document}");
    let document = cluster.ok("GET /openapi/v2", &Value::Null).await;
    assert!(document["definitions"]["io.x.v1.Thing"].is_object());
    assert!(document["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    assert!(document["paths"].get("/apis/x.io/v1/things").is_some());
    assert!(document["paths"].get("/apis/other.io/v1/things").is_none());
}

#[tokio::test]
async fn a_server_is_unavailable_for_a_reason_until_it_answers() {
    let cluster = Cluster::start().await;
    let extension = Extension::start(cluster.front.cert_pem()).await;
    cluster.register(&extension).await;
    cluster.until_reason("ServiceNotFound").await;
    let (code, text) = cluster.ask(&format!("GET {THINGS}"), &Value::Null).await;
    assert_eq!((code, text), (503, json!("service unavailable\n")));
    let stale = cluster.discovered().await;
    assert_eq!((&stale["freshness"], stale.get("resources")), (&json!("Stale"), None));

    cluster.service().await;
    cluster.until_reason("EndpointsNotFound").await;
    extension.fail(true);
    cluster.endpoints(extension.port()).await;
    cluster.until_reason("FailedDiscoveryCheck").await;
    extension.fail(false);
    cluster.until_reason("Passed").await;
    cluster.ok(&format!("GET {THINGS}"), &Value::Null).await;

    cluster.ok("DELETE /api/v1/namespaces/default/services/ext", &Value::Null).await;
    cluster.until_reason("ServiceNotFound").await;
    let stale = cluster.discovered().await;
    assert_eq!(
        (&stale["freshness"], &stale["resources"][0]["resource"]),
        (&json!("Stale"), &json!("things"))
    );
    cluster.ok(&format!("DELETE {SERVICES}/{NAME}"), &Value::Null).await;
    assert_eq!(cluster.ask(&format!("GET {THINGS}"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn streams_are_carried_to_the_other_server_and_back() {
    let cluster = Cluster::start().await;
    let _extension = cluster.with_extension().await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    let head = format!(
        "GET {THINGS}/a/exec HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 101 "), "{seen}");
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn what_is_served_here_has_its_apiservices() {
    let cluster = Cluster::start().await;
    let apps = cluster.ok(&format!("GET {SERVICES}/v1.apps"), &Value::Null).await;
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(apps["spec"]["groupPriorityMinimum"], 17800);
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    cluster.ok(&format!("GET {SERVICES}/v1."), &Value::Null).await;
    cluster.ok(&format!("GET {SERVICES}/v1.authorization.k8s.io"), &Value::Null).await;

    let definition = json!({ "metadata": { "name": "crontabs.stable.example.com" }, "spec": {
        "group": "stable.example.com", "scope": "Namespaced", "names": { "plural": "crontabs", "kind": "CronTab" },
        "versions": [{ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": { "type": "object" } } }] } });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.ok(&format!("POST {definitions}"), &definition).await;
    let name = "v1.stable.example.com";
    cluster.until(name, |service| service.is_some()).await;
    let made = cluster.ok(&format!("GET {SERVICES}/{name}"), &Value::Null).await;
    assert_eq!(made["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    assert_eq!(
        (&made["spec"]["groupPriorityMinimum"], &made["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    cluster.ok(&format!("DELETE {definitions}/crontabs.stable.example.com"), &Value::Null).await;
    cluster.until(name, |service| service.is_none()).await;
}

#[tokio::test]
async fn what_is_measured_here_can_be_given_to_another_server_and_comes_back() {
    let cluster = Cluster::start().await;
    let name = "v1beta1.metrics.k8s.io";
    let path = format!("{SERVICES}/{name}");
    cluster.ok("GET /apis/metrics.k8s.io/v1beta1/nodes", &Value::Null).await;
    let mut theirs = cluster.ok(&format!("GET {path}"), &Value::Null).await;
    theirs["spec"]["service"] = json!({ "namespace": "kube-system", "name": "metrics-server" });
    theirs["spec"]["insecureSkipTLSVerify"] = json!(true);
    cluster.ok(&format!("PUT {path}"), &theirs).await;
    let is_theirs = |service: &APIService| {
        available(service).and_then(|it| it.reason.as_deref()) == Some("ServiceNotFound")
    };
    cluster.until(name, |service| service.is_some_and(is_theirs)).await;
    assert_eq!(cluster.ask("GET /apis/metrics.k8s.io/v1beta1/nodes", &Value::Null).await.0, 503);
    cluster.ok(&format!("DELETE {path}"), &Value::Null).await;
    let is_ours = |service: &APIService| service.spec.as_ref().is_some_and(|spec| spec.service.is_none());
    cluster.until(name, |service| service.is_some_and(is_ours)).await;
    cluster.ok("GET /apis/metrics.k8s.io/v1beta1/nodes", &Value::Null).await;
}

#[tokio::test]
async fn other_servers_can_read_whom_to_believe() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let map = cluster.ok(&format!("GET {path}"), &Value::Null).await;
    assert_eq!(map["data"]["requestheader-client-ca-file"], cluster.front.cert_pem());
    assert_eq!(map["data"]["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    assert_eq!(map["data"]["requestheader-extra-headers-prefix"], r#"["X-Remote-Extra-"]"#);
}

#[test]
fn paths_name_the_group_and_version_they_are_about() {
    for (path, expected) in [
        ("/api/v1/pods", Some(("", "v1"))),
        ("/apis/a.io/v1", Some(("a.io", "v1"))),
        ("/apis/a.io/v1/namespaces/x/things/y/exec", Some(("a.io", "v1"))),
        ("/openapi/v3/apis/a.io/v1", Some(("a.io", "v1"))),
        ("/apis/a.io", None),
        ("/openapi/v3", None),
        ("/healthz", None),
    ] {
        assert_eq!(super::subject(path), expected, "{path}");
    }
}
