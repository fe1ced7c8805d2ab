//! Logs and streams pass between a client and a kubelet over TLS; a fake kubelet stands at the other end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::json;
use skiff_apiserver::{KubeletAccess, Options};
use skiff_base::pki::{Authority, Request};
use skiff_base::task::{Policy, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::Cluster;
use crate::given::{Client, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Answers logs with their own request line; on an upgrade says it back, then echoes.
async fn kubelet(authority: &Authority, tasks: &Tasks) -> SocketAddr {
    let hosts = vec!["127.0.0.1".to_owned()];
    let request = Request { name: "system:node:one".to_owned(), hosts, ..Request::default() };
    let identity = authority.issue(&request).unwrap();
    let tls = skiff_base::tls::server(&identity, authority.cert_pem()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let group = tasks.clone();
    tasks.spawn_until_stop(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (acceptor, inner) = (acceptor.clone(), group.clone());
            group.spawn("fake kubelet", Policy::Optional, async move {
                let stream = acceptor.accept(stream).await?;
                assert!(stream.get_ref().1.peer_certificates().is_some(), "the server shows who it is");
                let service = hyper::service::service_fn(move |request| answer(request, inner.clone()));
                let connection = hyper::server::conn::http1::Builder::new();
                let _ended = connection.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

async fn answer(
    mut request: hyper::Request<Incoming>,
    tasks: Tasks,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let line = request.uri().to_string();
    if line.contains("/bad") {
        let refused = "container \"bad\" in pod \"a\" is waiting to start: ContainerCreating";
        return Ok(hyper::Response::builder().status(400).body(refused.into()).unwrap());
    }
    if !request.headers().contains_key("upgrade") {
        return Ok(hyper::Response::new(line.into()));
    }
    let protocol = request.headers()["sec-websocket-protocol"].clone();
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn("fake stream", Policy::Optional, async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let (mut from, mut to) = tokio::io::split(stream);
        tokio::io::copy(&mut from, &mut to).await?;
        Ok::<_, std::io::Error>(())
    });
    let response = hyper::Response::builder().status(101).header("connection", "Upgrade");
    let response = response.header("upgrade", "websocket").header("sec-websocket-protocol", protocol);
    Ok(response.body(Full::default()).unwrap())
}

/// A cluster whose node `one` has the fake kubelet, and a pod on it.
async fn given() -> (Cluster, Client, Tasks) {
    let authority = Authority::create("kubelets").unwrap();
    let tasks = Tasks::new();
    let address = kubelet(&authority, &tasks).await;
    let request = Request { name: "server".to_owned(), ..Request::default() };
    let access = KubeletAccess {
        identity: authority.issue(&request).unwrap(),
        ca_pem: authority.cert_pem().to_owned(),
    };
    let cluster = Cluster::with(Options { kubelets: Some(access), ..Options::in_memory() }).await;
    let client = Client::of(&cluster, skiff_apiserver::User::new("admin", ["system:masters"]));
    let node = json!({ "metadata": { "name": "one" } });
    client.post("/api/v1/nodes", &node).await.code(201);
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": address.port() } },
    } });
    client.patch("/api/v1/nodes/one/status", "merge-patch", &status).await.code(200);
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = "one".into();
    bound["spec"]["containers"] = json!([{ "name": "c", "image": "i" }, { "name": "bad", "image": "i" }]);
    client.post(PODS, &bound).await.code(201);
    (cluster, client, tasks)
}

#[tokio::test]
async fn logs_come_from_the_kubelet_and_its_refusals_are_readable() {
    let (_cluster, client, _tasks) = given().await;
    let log =
        client.get(&format!("{PODS}/a/log?container=c&follow=true&tailLines=5&limitBytes=9")).await.code(200);
    assert_eq!(log.body, "/containerLogs/default/a/c?follow=true&tailLines=5&limitBytes=9");
    let refused = client.get(&format!("{PODS}/a/log?container=bad")).await.code(400);
    assert_eq!(refused.message(), "container \"bad\" in pod \"a\" is waiting to start: ContainerCreating");
    let proxied = client.get("/api/v1/nodes/one/proxy/stats/summary?x=y").await.code(200);
    assert_eq!(proxied.body, "/stats/summary?x=y");
}

#[tokio::test]
async fn a_stream_is_relayed_both_ways() {
    let (cluster, _client, tasks) = given().await;
    let (identity, ca_pem) = cluster.client_identity();
    let mut tls = skiff_base::tls::client(&ca_pem, Some(&identity)).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(cluster.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tasks.spawn("client", Policy::Optional, connection.with_upgrades());
    let request =
        hyper::Request::get(format!("{PODS}/a/exec?container=c&command=ls&command=-l&stdin=true&tty=true"))
            .header("host", "x")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", "v5.channel.k8s.io")
            .body(Empty::<Bytes>::new())
            .unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    if response.status() != 101 {
        panic!("{:?}", response.into_body().collect().await.unwrap().to_bytes());
    }
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let line = "/exec/default/a/c?input=1&output=1&error=1&tty=1&command=ls&command=-l\n";
    let mut said = vec![0; line.len()];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), line);
    stream.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
}

/// What a WebSocket client of `path` is sent, and the protocol that was agreed on.
async fn frames(
    cluster: &Cluster,
    path: &str,
    protocol: Option<&'static str>,
) -> (Option<String>, Vec<tokio_tungstenite::tungstenite::Message>) {
    use futures::StreamExt;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let (identity, ca_pem) = cluster.client_identity();
    let mut tls = skiff_base::tls::client(&ca_pem, Some(&identity)).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(cluster.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let mut request = format!("wss://127.0.0.1{path}").into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let agreed = response.headers().get("sec-websocket-protocol");
    let agreed = agreed.map(|value| value.to_str().unwrap().to_owned());
    let frames = socket.filter_map(|frame| std::future::ready(frame.ok()));
    (agreed, frames.filter(|frame| std::future::ready(!frame.is_close())).collect().await)
}

#[tokio::test]
async fn logs_come_as_frames_in_the_form_the_client_speaks() {
    let (cluster, _client, _tasks) = given().await;
    let log = format!("{PODS}/a/log?container=c");
    let said = "/containerLogs/default/a/c";
    let (agreed, got) = frames(&cluster, &log, None).await;
    assert_eq!((agreed, got[0].clone().into_data()), (None, said.into()));
    let (agreed, got) = frames(&cluster, &log, Some("other, binary.k8s.io")).await;
    assert_eq!((agreed.as_deref(), got[0].is_binary()), (Some("binary.k8s.io"), true));
    let (agreed, got) = frames(&cluster, &log, Some("base64.binary.k8s.io")).await;
    assert_eq!(agreed.as_deref(), Some("base64.binary.k8s.io"));
    assert_eq!(got[0].to_text().unwrap(), "L2NvbnRhaW5lckxvZ3MvZGVmYXVsdC9hL2M=");
}

#[tokio::test]
async fn a_watch_comes_as_one_text_frame_an_event() {
    let (cluster, _client, _tasks) = given().await;
    let (_, got) = frames(&cluster, &format!("{PODS}?watch=true&timeoutSeconds=1"), None).await;
    let [event] = got.as_slice() else { panic!("{got:?}") };
    assert!(event.to_text().unwrap().starts_with(r#"{"type":"ADDED","object":{"#), "{event:?}");
}
