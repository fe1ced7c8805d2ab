//! An API server of the tests' own: kind Thing of `x.io/v1`, behind TLS, for clients of a front proxy's authority alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_base::pki::{Authority, Request};
use skiff_base::task::{Policy, Tasks};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The server, until the test ends.
pub(super) struct Extension {
    port: u16,
    authority: Authority,
    state: Arc<State>,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    things: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    failing: AtomicBool,
    tasks: Tasks,
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Extension {
    pub(super) async fn start(front_ca: &str) -> Self {
        let authority = Authority::create("extension").unwrap();
        let hosts = vec!["ext.default.svc".to_owned()];
        let identity =
            authority.issue(&Request { name: "ext".to_owned(), hosts, ..Request::default() }).unwrap();
        let mut tls = skiff_base::tls::server(&identity, front_ca).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let tasks = state.tasks.clone();
        let (shared, group) = (Arc::clone(&state), tasks.clone());
        tasks.spawn_until_stop(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                group.spawn("extension", Policy::Optional, async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return Ok(()) };
                    let known = stream.get_ref().1.peer_certificates().is_some();
                    let service =
                        hyper::service::service_fn(move |request| answer(request, Arc::clone(&state), known));
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                    Ok::<_, Infallible>(())
                });
            }
        });
        Self { port, authority, state, tasks }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn ca_pem(&self) -> &str {
        self.authority.cert_pem()
    }

    /// How many requests for things there were.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// Makes it answer nothing but 500.
    pub(super) fn fail(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::Relaxed);
    }
}

type Response = hyper::Response<Full<Bytes>>;

fn reply(code: u16, kind: &str, value: &Value) -> Response {
    let response = hyper::Response::builder().status(code).header("content-type", kind);
    response.body(value.to_string().into()).unwrap()
}

const RESOURCE: &str = r##"{"paths": {"/apis/x.io/v1/things": {"get": {"responses": {"200": {"description": "OK",
  "schema": {"$ref": "#/definitions/io.x.v1.Thing"}}}}}, "/apis/other.io/v1/things": {}},
  "definitions": {"io.x.v1.Thing": {"type": "object"}}, "swagger": "2.0", "info": {"title": "x", "version": "1"}}"##;

async fn answer(
    mut request: hyper::Request<Incoming>,
    state: Arc<State>,
    known: bool,
) -> Result<Response, Infallible> {
    if !known || !request.headers().contains_key("x-remote-user") {
        return Ok(reply(401, "application/json", &json!({ "kind": "Status", "code": 401 })));
    }
    if state.failing.load(Ordering::Relaxed) {
        return Ok(reply(500, "application/json", &json!({ "kind": "Status", "code": 500 })));
    }
    let path = request.uri().path().to_owned();
    let json = "application/json";
    Ok(match path.as_str() {
        "/apis" => {
            let kind = json!({ "group": "x.io", "version": "v1", "kind": "Thing" });
            let resource = json!({ "resource": "things", "responseKind": kind, "scope": "Namespaced",
                "singularResource": "thing", "verbs": ["create", "get", "list"] });
            let all = json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
                { "metadata": { "name": "x.io" }, "versions": [{ "version": "v1", "resources": [resource] }] }] });
            reply(200, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", &all)
        }
        "/apis/x.io/v1" => {
            let resource =
                json!({ "name": "things", "namespaced": true, "kind": "Thing", "verbs": ["list"] });
            let list =
                json!({ "kind": "APIResourceList", "groupVersion": "x.io/v1", "resources": [resource] });
            reply(200, json, &list)
        }
        "/openapi/v3" => {
            let path = json!({ "serverRelativeURL": "/openapi/v3/apis/x.io/v1?hash=1" });
            reply(200, json, &json!({ "paths": { "apis/x.io/v1": path } }))
        }
        "/openapi/v3/apis/x.io/v1" => reply(
            200,
            json,
            &json!({ "components": { "schemas": { "io.x.v1.Thing": { "type": "object" } } } }),
        ),
        "/openapi/v2" => reply(200, json, &serde_json::from_str(RESOURCE).unwrap()),
        _ if path.ends_with("/exec") => {
            let upgrade = hyper::upgrade::on(&mut request);
            state.tasks.spawn_until_stop(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let (mut read, mut write) = tokio::io::split(stream);
                let _hung_up = tokio::io::copy(&mut read, &mut write).await;
            });
            let response = hyper::Response::builder().status(101).header("connection", "upgrade");
            response.header("upgrade", "websocket").body(Full::default()).unwrap()
        }
        _ if path.ends_with("/headers") => {
            let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, value) in request.headers() {
                seen.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
            }
            reply(200, json, &json!(seen))
        }
        _ => {
            state.asked.fetch_add(1, Ordering::Relaxed);
            if request.method() == "POST" {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let thing: Value = serde_json::from_slice(&body).unwrap();
                state.things.lock().push(thing.clone());
                reply(201, json, &thing)
            } else {
                reply(200, json, &json!({ "kind": "ThingList", "items": *state.things.lock() }))
            }
        }
    })
}
