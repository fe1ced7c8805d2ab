//! The real kubectl against the kubelet's routes, through the smallest thing that looks like an API server.
//!
//! It proves what no test of our own client can: that exec, cp, logs and port-forward work as Google's client speaks them,
//! over WebSocket and, switched by its own variables, over plain SPDY. Skipped where kubectl is not installed.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Kubelet, pod};

const KUBECTL: &str = "/usr/bin/kubectl";

/// Answers discovery and the pod; hands everything below the pod to the kubelet, byte by byte.
async fn door(kubelet: Arc<Kubelet>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = kubelet.tasks.clone();
    kubelet.tasks.clone().spawn_until_stop(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let kubelet = Arc::clone(&kubelet);
            tasks.spawn_until_stop(async move { serve(socket, &kubelet).await });
        }
    });
    port
}

async fn serve(mut socket: TcpStream, kubelet: &Kubelet) {
    loop {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            match socket.read_buf(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if let Some(sub) = path.strip_prefix("/api/v1/namespaces/default/pods/demo/") {
            let (place, container) = match sub {
                "log" => ("containerLogs", "/main"),
                "portforward" => ("portForward", ""),
                other => (other, "/main"),
            };
            // As the API server translates exec's options.
            let query = query.replace("stdin=true", "input=1").replace("stdout=true", "output=1");
            let query = query.replace("stderr=true", "error=1").replace("tty=true", "tty=1");
            let new = format!("/{place}/default/demo{container}?{query}");
            let rewritten = text.replacen(&target, &new, 1).replacen(
                "HTTP/1.1\r\n",
                "HTTP/1.1\r\nX-Through: door\r\n",
                1,
            );
            let mut behind = kubelet.dial_as_master().await;
            behind.write_all(rewritten.as_bytes()).await.unwrap();
            // Either side may hang up.
            let _ended = tokio::io::copy_bidirectional(&mut socket, &mut behind).await;
            return;
        }
        let body = match path {
            "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#.to_owned(),
            "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#.to_owned(),
            "/api/v1" => r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod",
                "namespaced":true,"kind":"Pod","verbs":["get"],"shortNames":["po"]}]}"#
                .to_owned(),
            "/api/v1/namespaces/default/pods/demo" => serde_json::to_string(&pod()).unwrap(),
            _ => String::new(),
        };
        let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test's own client")]
fn kubectl(port: u16, websockets: bool, home: &Path, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(KUBECTL);
    command
        .arg(format!("--server=http://127.0.0.1:{port}"))
        .args(arguments)
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets.to_string())
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut tokio::process::Command) -> (i32, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

async fn all_of(websockets: bool) {
    if !Path::new(KUBECTL).exists() {
        return;
    }
    let kubelet = Arc::new(Kubelet::start());
    let port = door(Arc::clone(&kubelet)).await;
    let home = tempfile::tempdir().unwrap();
    let kubectl = |arguments: &[&str]| kubectl(port, websockets, home.path(), arguments);

    let (code, out, err) =
        run(&mut kubectl(&["exec", "demo", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])).await;
    assert_eq!((code, out.as_str()), (7, "out\n"), "{err}");
    assert!(err.contains("err\n") && err.contains("command terminated with exit code 7"), "{err}");

    // Stdin is ended, and more than a window of it arrives.
    let file = home.path().join("file");
    std::fs::write(&file, vec![b'z'; 3_000_000]).unwrap();
    let mut counted = kubectl(&["exec", "-i", "demo", "--", "wc", "-c"]);
    counted.stdin(std::fs::File::open(&file).unwrap());
    let (code, out, err) = run(&mut counted).await;
    assert_eq!((code, out.trim()), (0, "3000000"), "{err}");

    let (there, back) = (home.path().join("there"), home.path().join("back"));
    let remote = |path: &Path| format!("demo:{}", path.display());
    let copied = run(&mut kubectl(&["cp", &file.display().to_string(), &remote(&there)])).await;
    assert_eq!(copied.0, 0, "{copied:?}");
    let copied = run(&mut kubectl(&["cp", &remote(&there), &back.display().to_string()])).await;
    assert_eq!(copied.0, 0, "{copied:?}");
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&file).unwrap());

    let (code, out, err) = run(&mut kubectl(&["exec", "demo", "--", "/no/such/program"])).await;
    assert!(code == 1 && out.is_empty() && err.contains("failed to exec in container"), "{code} {out} {err}");

    let (code, out, _) = run(&mut kubectl(&["logs", "demo", "--timestamps", "--tail=1"])).await;
    assert_eq!((code, out.as_str()), (0, "2026-01-01T00:00:00.000000000Z hello\n"));
    forward(&kubectl).await;
}

async fn forward(kubectl: &impl Fn(&[&str]) -> tokio::process::Command) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = listener.local_addr().unwrap().port();
    let echo = skiff_base::Tasks::new();
    echo.spawn_until_stop(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut reader, mut writer) = socket.split();
            // The client may go at any time.
            let _gone = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    let mut child = kubectl(&["port-forward", "demo", &format!(":{inside}")]).spawn().unwrap();
    let mut line = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    while !line.ends_with(b"\n") {
        assert!(stdout.read_buf(&mut line).await.unwrap() > 0, "kubectl ended");
    }
    // Forwarding from 127.0.0.1:PORT -> INSIDE
    let text = String::from_utf8(line).unwrap();
    let outside: u16 = text.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    for _ in 0..3 {
        let socket = TcpStream::connect(("127.0.0.1", outside)).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let content = vec![b'q'; 400_000];
        let send = async {
            writer.write_all(&content).await.unwrap();
        };
        let receive = async {
            let mut back = vec![0; content.len()];
            reader.read_exact(&mut back).await.unwrap();
            back
        };
        let ((), back) = tokio::join!(send, receive);
        assert!(back == content);
    }
    child.kill().await.unwrap();
    echo.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_over_websocket() {
    all_of(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_over_plain_spdy() {
    all_of(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_follows_a_log_to_its_end() {
    if !Path::new(KUBECTL).exists() {
        return;
    }
    let kubelet = Arc::new(Kubelet::start());
    let port = door(Arc::clone(&kubelet)).await;
    let home = tempfile::tempdir().unwrap();
    let mut child = kubectl(port, true, home.path(), &["logs", "-f", "demo"]).spawn().unwrap();
    let mut seen = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    while seen.len() < 6 {
        assert!(stdout.read_buf(&mut seen).await.unwrap() > 0);
    }
    let mut log = std::fs::OpenOptions::new().append(true).open(&kubelet.log).unwrap();
    std::io::Write::write_all(&mut log, b"2026-01-01T00:00:01Z stdout F more\n").unwrap();
    kubelet.end();
    stdout.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"hello\nmore\n");
    assert!(child.wait().await.unwrap().success());
}
