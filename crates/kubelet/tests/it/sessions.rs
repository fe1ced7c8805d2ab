//! Exec, attach and forwarded ports against containerd itself: what `runtime/cri/streaming.rs` speaks must be what it serves.

use skiff_kubelet::runtime::{AttachRequest, ExecRequest, Reader, Runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::given::pod;
use crate::node::TestNode;

async fn text(reader: Option<Reader>) -> String {
    let mut text = String::new();
    if let Some(mut reader) = reader {
        reader.read_to_string(&mut text).await.unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_ports_reach_into_a_pod() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    kubelet.cluster.put(&pod("
        metadata: {name: one}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
          - {name: main, image: 'localhost/busybox:test', stdin: true, command: [sh, -c, 'while read line; do echo heard $line; done; sleep 1000']}
    "));
    kubelet.cluster.status("one", |status| status.phase.as_deref() == Some("Running")).await;
    let view = kubelet.handle.pod("default", "one", None).unwrap();
    let id = view.container("main").unwrap().id.clone();
    let runtime = node.runtime();
    let exec = |script: &str, stdin: bool, tty: bool| ExecRequest {
        container: id.clone(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        tty,
        stdin,
        stdout: true,
        stderr: !tty,
    };

    let mut session = runtime.exec(exec("cat; echo err >&2; exit 3", true, false)).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let content = "x".repeat(300_000);
    let feed = async {
        stdin.write_all(content.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let (out, err, code, ()) =
        tokio::join!(text(session.stdout.take()), text(session.stderr.take()), session.exit, feed);
    assert!(out == content, "{} bytes came back", out.len());
    assert_eq!((err.as_str(), code.unwrap()), ("err\n", 3));

    let mut session = runtime.exec(exec("test -t 1 && echo terminal; sleep 0.2", false, true)).await.unwrap();
    session.resize.send((100, 30)).await.unwrap();
    let (out, code) = tokio::join!(text(session.stdout.take()), session.exit);
    assert_eq!((out.trim_end(), code.unwrap()), ("terminal", 0));

    let session = runtime
        .exec(ExecRequest { command: vec!["/none".to_owned()], ..exec("", false, false) })
        .await
        .unwrap();
    let failed = session.exit.await.unwrap_err().to_string();
    assert!(failed.contains("no such file or directory"), "{failed}");

    let attach = AttachRequest { container: id, stdin: true, stdout: true, ..AttachRequest::default() };
    let mut session = runtime.attach(attach).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"me\n").await.unwrap();
    let mut heard = [0; 9];
    session.stdout.as_mut().unwrap().read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"heard me\n");
    drop(session);

    // Nothing listens there, which must be said and not look like an empty answer.
    let mut port = runtime.port_forward(view.sandbox.as_ref().unwrap(), 81).await.unwrap();
    let mut nothing = Vec::new();
    let failed = port.read_to_end(&mut nothing).await.unwrap_err().to_string();
    assert!(failed.contains("port 81") && nothing.is_empty(), "{failed}");

    // In the machine's own network a port of this test's is one of the pod's.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port();
    kubelet.cluster.put(&pod("
        metadata: {name: two}
        spec:
          hostNetwork: true
          terminationGracePeriodSeconds: 0
          containers: [{name: main, image: 'localhost/busybox:test', command: [sleep, '1000']}]
    "));
    kubelet.cluster.status("two", |status| status.phase.as_deref() == Some("Running")).await;
    let sandbox = kubelet.handle.pod("default", "two", None).unwrap().sandbox.clone().unwrap();
    let port = runtime.port_forward(&sandbox, number).await.unwrap();
    let echo = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = socket.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    };
    let (mut reader, mut writer) = tokio::io::split(port);
    let all = async {
        let mut answered = vec![0; content.len()];
        let (asked, heard) =
            tokio::join!(writer.write_all(content.as_bytes()), reader.read_exact(&mut answered));
        assert_eq!((asked.is_ok(), heard.unwrap()), (true, content.len()));
        assert!(answered == content.as_bytes());
        // containerd has no half-closed ports: the end of one direction ends both.
        writer.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    };
    tokio::join!(all, echo);
    kubelet.stop().await;
}
