//! The server over real TLS on loopback, with a runtime that runs commands on this machine.

mod kubectl;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use skiff_base::Tasks;
use skiff_base::pki::{Authority, Identity};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Options, Server, only};
use crate::fake::Fake;
use crate::handle::{ContainerView, Handle, PodView};
use crate::runtime::ContainerState;

/// A serving kubelet with one pod `demo` of one container `main`.
pub(super) struct Kubelet {
    pub(super) address: SocketAddr,
    pub(super) handle: Handle,
    pub(super) log: std::path::PathBuf,
    ca: String,
    master: Identity,
    stranger: Identity,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

pub(super) fn pod() -> Pod {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "demo", "namespace": "default", "uid": "u1" },
        "spec": { "nodeName": "one", "containers": [{ "name": "main", "image": "busybox" }, { "name": "later", "image": "x" }] },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "main", "image": "busybox", "imageID": "", "ready": true, "restartCount": 0,
              "containerID": "containerd://c1", "state": { "running": {} } },
            { "name": "later", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "waiting": { "reason": "ContainerCreating" } } },
        ] },
    }))
    .unwrap()
}

impl Kubelet {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create("test").unwrap();
        let issue = |name: &str, groups: &[&str], server: bool| {
            let request = skiff_base::pki::Request {
                name: name.to_owned(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                hosts: if server { vec!["127.0.0.1".to_owned()] } else { Vec::new() },
            };
            authority.issue(&request).unwrap()
        };
        let tls = skiff_base::tls::server(&issue("kubelet", &[], true), authority.cert_pem()).unwrap();
        let handle = Handle::new("one".to_owned(), folder.path().to_owned(), Arc::new(Fake::default()));
        let log = folder.path().join("0.log");
        std::fs::write(&log, "2026-01-01T00:00:00Z stdout F hello\n").unwrap();
        let main = ContainerView {
            name: "main".to_owned(),
            attempt: 0,
            id: "c1".to_owned(),
            state: ContainerState::Running,
            log_path: log.clone(),
        };
        let view = PodView {
            pod: Arc::new(pod()),
            sandbox: Some("s1".to_owned()),
            containers: vec![main],
            mounts: None,
            cleared: false,
        };
        handle.publish("u1", Arc::new(view));
        let address = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            log_dir: folder.path().to_owned(),
            ..Options::new(address, tls, only(vec!["kube-apiserver".to_owned()]))
        };
        let server = Server::build(options, handle.clone()).unwrap();
        let address = server.address().unwrap();
        let tasks = Tasks::new();
        server.start(&tasks);
        Self {
            address,
            handle,
            log,
            ca: authority.cert_pem().to_owned(),
            master: issue("kube-apiserver", &[], false),
            stranger: issue("stranger", &["system:authenticated"], false),
            tasks,
            _folder: folder,
        }
    }

    /// The container has ended.
    pub(super) fn end(&self) {
        let mut view = PodView::clone(&self.handle.pod("default", "demo", None).unwrap());
        view.containers[0].state = ContainerState::Exited;
        self.handle.publish("u1", Arc::new(view));
    }

    pub(super) async fn dial(&self, identity: Option<&Identity>) -> TlsStream<TcpStream> {
        let config = skiff_base::tls::client(&self.ca, identity).unwrap();
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = rustls_pki_types::ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    pub(super) async fn dial_as_master(&self) -> TlsStream<TcpStream> {
        self.dial(Some(&self.master)).await
    }

    pub(super) async fn send(
        &self,
        identity: Option<&Identity>,
        request: Request<Empty<Bytes>>,
    ) -> Response<Incoming> {
        let stream = self.dial(identity).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("client", skiff_base::task::Policy::Optional, connection.with_upgrades());
        sender.send_request(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header("host", "kubelet").body(Empty::new()).unwrap();
        text(self.send(Some(&self.master), request).await).await
    }
}

async fn text(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn only_the_masters_certificate_opens_the_door() {
    let kubelet = Kubelet::start();
    let healthz = || Request::get("/healthz").header("host", "kubelet").body(Empty::new()).unwrap();
    let (status, said) = text(kubelet.send(None, healthz()).await).await;
    assert_eq!((status, said.as_str()), (StatusCode::UNAUTHORIZED, "Unauthorized"));
    let (status, said) = text(kubelet.send(Some(&kubelet.stranger), healthz()).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(said, "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[healthz])");
    assert_eq!(kubelet.get("/healthz").await, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn paths_answer_as_upstreams_do() {
    let kubelet = Kubelet::start();
    let (status, pods) = kubelet.get("/pods").await;
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    assert_eq!((status, pods["kind"].as_str()), (StatusCode::OK, Some("PodList")));
    assert_eq!(pods["items"][0]["metadata"]["name"], "demo");
    let expected = [
        ("/nowhere", 404, "404: Page Not Found"),
        ("/run/default/demo/main", 405, "405: Method Not Allowed"),
        ("/containerLogs/default/none/main", 404, "pod \"none\" does not exist"),
        ("/containerLogs/default/demo/none", 404, "container \"none\" not found in pod \"demo\""),
        ("/containerLogs/default/demo/main?tailLines=x", 400, "{\"message\": \"Unable to decode query.\"}"),
        ("/containerLogs/default/demo/main?tailLines=-1", 422, "{\"message\": \"Invalid request.\"}"),
        (
            "/containerLogs/default/demo/main?previous=true",
            400,
            "previous terminated container \"main\" in pod \"demo\" not found",
        ),
        (
            "/containerLogs/default/demo/later",
            400,
            "container \"later\" in pod \"demo\" is waiting to start: ContainerCreating",
        ),
        ("/exec/default/demo/main?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/exec/default/demo/none?command=ls&output=1", 500, "container not found (\"none\")"),
        ("/exec/default/none/main?command=ls&output=1", 404, "pod does not exist"),
        (
            "/exec/default/demo/main?command=ls&output=1",
            400,
            "unable to upgrade: missing upgrade headers in request",
        ),
        ("/logs/../../etc/passwd", 404, "404 page not found"),
        ("/logs/%2e%2e/etc", 404, "404 page not found"),
    ];
    for (path, status, said) in expected {
        let (seen, text) = kubelet.get(path).await;
        assert_eq!((seen.as_u16(), text.as_str()), (status, said), "{path}");
    }
    assert_eq!(kubelet.get("/containerLogs/default/demo/main").await.1, "hello\n");
    assert!(kubelet.get("/logs/").await.1.contains("0.log"));
    assert!(kubelet.get("/logs/0.log").await.1.ends_with("hello\n"));
}

#[tokio::test]
async fn statistics_are_told_in_both_forms() {
    let kubelet = Kubelet::start();
    kubelet.get("/stats/summary").await;
    let (_, summary) = kubelet.get("/stats/summary").await;
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["node"]["nodeName"], "one");
    assert_eq!(summary["pods"][0]["podRef"]["name"], "demo");
    assert_eq!(summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"], 4096);
    // One second of a core was used in one second, by the fake's account.
    assert_eq!(summary["pods"][0]["containers"][0]["cpu"]["usageNanoCores"], 1_000_000_000);
    let (_, metrics) = kubelet.get("/metrics/resource").await;
    let line =
        "container_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"demo\"} 4096 ";
    assert!(metrics.contains(line), "{metrics}");
}
