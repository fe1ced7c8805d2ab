//! Exec, attach, logs and port-forward in every protocol, as bytes on a TLS connection.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as WsRole;

use super::Kubelet;
use crate::spdy::{Connection, Role, Source};

type Ws = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn websocket(kubelet: &Kubelet, path: &str, protocol: &str) -> Ws {
    let request = Request::get(path)
        .header("host", "kubelet")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", protocol)
        .body(Empty::new())
        .unwrap();
    let response = kubelet.send(Some(&kubelet.master), request).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), WsRole::Client, None).await
}

async fn spdy(kubelet: &Kubelet, path: &str, protocol: &str) -> Connection {
    let request = Request::post(path)
        .header("host", "kubelet")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", protocol)
        .body(Empty::new())
        .unwrap();
    let response = kubelet.send(Some(&kubelet.master), request).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["x-stream-protocol-version"], protocol);
    Connection::start(TokioIo::new(hyper::upgrade::on(response).await.unwrap()), Role::Client)
}

/// All messages until the end, joined by channel.
async fn channels(mut socket: Ws) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(); 5];
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(bytes) = message {
            all[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
        }
    }
    all
}

async fn all(source: &mut Source) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = source.read().await {
        all.extend_from_slice(&bytes);
    }
    all
}

const EXEC: &str = "/exec/default/demo/main?command=sh&command=-c&command=";

#[tokio::test]
async fn exec_over_websocket_v4_tells_output_errors_and_exit_code() {
    let kubelet = Kubelet::start();
    let path = format!("{EXEC}echo+out;echo+err+%3E%262;exit+3&output=1&error=1");
    let all = channels(websocket(&kubelet, &path, "v4.channel.k8s.io").await).await;
    assert_eq!((all[1].as_slice(), all[2].as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    let status: serde_json::Value = serde_json::from_slice(&all[3]).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "3");
}

#[tokio::test]
async fn exec_over_websocket_v5_can_close_stdin() {
    let kubelet = Kubelet::start();
    let path = "/exec/default/demo/main?command=cat&input=1&output=1";
    let mut socket = websocket(&kubelet, path, "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\x00to and fro"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\xff\x00"))).await.unwrap();
    let all = channels(socket).await;
    assert_eq!(all[1], b"to and fro");
    assert_eq!(all[3], br#"{"metadata":{},"status":"Success"}"#);
}

#[tokio::test]
async fn exec_over_base64_speaks_text() {
    let kubelet = Kubelet::start();
    let path = format!("{EXEC}echo+hi&output=1");
    let mut socket = websocket(&kubelet, &path, "base64.channel.k8s.io").await;
    let mut texts = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    assert_eq!(texts, ["1", "1aGkK"]);
}

#[tokio::test]
async fn an_unknown_protocol_is_refused() {
    let kubelet = Kubelet::start();
    let request = Request::get("/exec/default/demo/main?command=ls&output=1")
        .header("host", "kubelet")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v9.channel.k8s.io")
        .body(Empty::new())
        .unwrap();
    let response = kubelet.send(Some(&kubelet.master), request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let offered = response.headers().get_all("x-accepted-stream-protocol-versions").iter().count();
    assert_eq!(offered, 4);
    let said = response.into_body().collect().await.unwrap().to_bytes();
    assert!(said.starts_with(b"unable to upgrade: unable to negotiate protocol"));
}

#[tokio::test]
async fn exec_over_spdy_carries_a_large_stdin_and_ends_it() {
    let kubelet = Kubelet::start();
    let path = format!("{EXEC}wc+-c;exit+4&input=1&output=1&error=1");
    let connection = spdy(&kubelet, &path, "v4.channel.k8s.io").await;
    let mut streams = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        let mut stream = connection.open(vec![("streamType".to_owned(), kind.to_owned())]).await.unwrap();
        stream.accepted().await.unwrap();
        streams.push(stream.split());
    }
    let (_, stdin) = &streams[1];
    stdin.write(Bytes::from(vec![b'x'; 300_000])).await.unwrap();
    stdin.finish().await.unwrap();
    assert_eq!(all(&mut streams[2].0).await.trim_ascii(), b"300000");
    let status: serde_json::Value = serde_json::from_slice(&all(&mut streams[0].0).await).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "4");
}

#[tokio::test]
async fn attach_shows_the_first_process() {
    let kubelet = Kubelet::start();
    let socket = websocket(&kubelet, "/attach/default/demo/main?output=1", "v5.channel.k8s.io").await;
    let all = channels(socket).await;
    assert_eq!(all[1], b"attached\n");
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let kubelet = Kubelet::start();
    let path = "/containerLogs/default/demo/main?follow=true";
    let request = Request::get(path).header("host", "kubelet").body(Empty::new()).unwrap();
    let mut body = kubelet.send(Some(&kubelet.master), request).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "hello\n");
    let mut log = std::fs::OpenOptions::new().append(true).open(&kubelet.log).unwrap();
    std::io::Write::write_all(&mut log, b"2026-01-01T00:00:01Z stdout F more\n").unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "more\n");
    kubelet.end();
    assert!(body.frame().await.is_none());
}

/// A server on loopback that answers each connection with what it said, and then ends.
async fn echo() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    skiff_base::Tasks::new().spawn_until_stop(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut said = Vec::new();
            if socket.read_to_end(&mut said).await.is_ok() {
                // The client may have gone.
                let _gone = socket.write_all(&said).await;
            }
        }
    });
    port
}

async fn through(connection: &Connection, port: u16, request: &str) -> (Vec<u8>, Vec<u8>) {
    let headers = |kind: &str| {
        [("streamType", kind), ("port", &port.to_string()), ("requestID", request)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    let mut error = connection.open(headers("error")).await.unwrap();
    error.accepted().await.unwrap();
    let mut data = connection.open(headers("data")).await.unwrap();
    data.accepted().await.unwrap();
    let ((mut errors, _), (mut source, sink)) = (error.split(), data.split());
    sink.write(Bytes::from(vec![b'y'; 200_000])).await.unwrap();
    sink.finish().await.unwrap();
    tokio::join!(all(&mut source), all(&mut errors))
}

#[tokio::test]
async fn ports_are_forwarded_over_spdy_many_at_once() {
    let kubelet = Kubelet::start();
    let port = echo().await;
    let connection = spdy(&kubelet, "/portForward/default/demo", "portforward.k8s.io").await;
    let (one, other) = tokio::join!(through(&connection, port, "0"), through(&connection, port, "1"));
    for (data, errors) in [one, other] {
        assert_eq!((data.len(), errors.len()), (200_000, 0));
    }
    // Nothing listens on port 1.
    let (data, errors) = through(&connection, 1, "2").await;
    let errors = String::from_utf8(errors).unwrap();
    assert!(data.is_empty() && errors.starts_with("error forwarding port 1 to pod s1, uid : "), "{errors}");
}

#[tokio::test]
async fn ports_are_forwarded_over_websocket_channels() {
    let kubelet = Kubelet::start();
    let port = echo().await;
    let path = format!("/portForward/default/demo?port={port}");
    let mut socket = websocket(&kubelet, &path, "v4.channel.k8s.io").await;
    let greeting: Vec<u8> = port.to_le_bytes().to_vec();
    for channel in [0_u8, 1] {
        let message = socket.next().await.unwrap().unwrap().into_data();
        assert_eq!((message[0], &message[1..]), (channel, greeting.as_slice()));
    }
    socket.send(Message::Binary(Bytes::from_static(b"\x00hello"))).await.unwrap();
    socket.close(None).await.unwrap();
}
