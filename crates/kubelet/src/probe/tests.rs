//! Schedules as a table, checks against servers on loopback, and whole probes with paused time.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use serde_json::{Value, json};
use skiff_base::{Clock, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::schedule::{Schedule, Verdict};
use super::{Outcome, ProbeKind, Prober, Report, Target, check};
use crate::fake::Fake;
use crate::record::{EventKind, Record};

fn probe(value: Value) -> Probe {
    serde_json::from_value(value).unwrap()
}

#[test]
fn verdicts_change_at_their_thresholds() {
    let schedule = Schedule::of(&probe(json!({ "successThreshold": 2, "failureThreshold": 3 })));
    let run = |kind, tries: &str| -> String {
        let mut verdict = Verdict::assumed(kind);
        let told = |outcome| match outcome {
            None => '.',
            Some(true) => 'H',
            Some(false) => 'S',
        };
        tries.chars().map(|one| told(verdict.count(&schedule, one == '+'))).collect()
    };
    assert_eq!(run(ProbeKind::Readiness, "+++---++"), ".H...S.H");
    assert_eq!(run(ProbeKind::Readiness, "---+-+-++"), "..S.....H");
    assert_eq!(run(ProbeKind::Liveness, "--+---"), ".....S");
}

#[test]
fn the_first_try_waits_for_what_is_left_of_the_delay() {
    let schedule = Schedule::of(&probe(json!({ "initialDelaySeconds": 10 })));
    let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
    assert_eq!(schedule.first_wait(at(100), at(104)), Duration::from_secs(6));
    assert_eq!(schedule.first_wait(at(100), at(200)), Duration::ZERO);
    assert_eq!(schedule.period, Duration::from_secs(10));
}

/// A server that answers every connection with the same bytes.
async fn answers(text: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Tasks::new().spawn_until_stop(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            // A TCP probe says nothing and goes.
            let _gone = socket.read(&mut request).await;
            let _gone = socket.write_all(text.as_bytes()).await;
        }
    });
    port
}

fn target(container: &Container) -> Target {
    let pod = json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": { "containers": [container] } });
    Target {
        pod: Arc::new(serde_json::from_value::<Pod>(pod).unwrap()),
        container: container.name.clone(),
        container_id: "c1".to_owned(),
        pod_ip: Some(IpAddr::from([127, 0, 0, 1])),
        started_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

async fn outcome(value: Value, port: u16, runtime: &Fake) -> Outcome {
    let container: Container = serde_json::from_value(json!({
        "name": "c", "image": "i", "ports": [{ "name": "web", "containerPort": port }],
    }))
    .unwrap();
    check::once(&probe(value), &container, &target(&container), runtime).await
}

#[tokio::test]
async fn http_answers_are_judged_by_their_status() {
    let http = |port: Value| json!({ "httpGet": { "port": port, "path": "/health" } });
    let ok = answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let nothing = Fake::default();
    assert!(matches!(outcome(http("web".into()), ok, &nothing).await, Outcome::Success(_)));
    let bad = answers("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno").await;
    let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".to_owned());
    assert_eq!(outcome(http(bad.into()), bad, &nothing).await, failed);
    let away =
        answers("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(outcome(http(away.into()), away, &nothing).await, Outcome::Warning(_)));
    let closed = Outcome::Failure(
        "Get \"http://127.0.0.1:1/health\": dial tcp 127.0.0.1:1: connect: connection refused".to_owned(),
    );
    assert_eq!(outcome(http(1.into()), 1, &nothing).await, closed);
    assert!(matches!(outcome(http("other".into()), 1, &nothing).await, Outcome::Unknown(_)));
}

#[tokio::test]
async fn tcp_probes_open_a_connection() {
    let open = answers("").await;
    let nothing = Fake::default();
    let probe = |port: u16| json!({ "tcpSocket": { "port": port } });
    assert!(matches!(outcome(probe(open), open, &nothing).await, Outcome::Success(_)));
    let refused = Outcome::Failure("dial tcp 127.0.0.1:1: connect: connection refused".to_owned());
    assert_eq!(outcome(probe(1), 1, &nothing).await, refused);
}

#[tokio::test]
async fn commands_are_judged_by_their_exit_code() {
    let runtime = Fake::default();
    runtime.answer(0, "fine");
    runtime.answer(1, "cat: /tmp/healthy: No such file or directory\n");
    runtime.time_out();
    let probe = json!({ "exec": { "command": ["cat", "/tmp/healthy"] } });
    assert_eq!(outcome(probe.clone(), 1, &runtime).await, Outcome::Success("fine".to_owned()));
    let said = "cat: /tmp/healthy: No such file or directory\n".to_owned();
    assert_eq!(outcome(probe.clone(), 1, &runtime).await, Outcome::Failure(said));
    let late = "command timed out: \"cat /tmp/healthy\" timed out after 1s".to_owned();
    assert_eq!(outcome(probe, 1, &runtime).await, Outcome::Failure(late));
}

/// A gRPC health service that answers with one byte of status.
async fn health(status: u8) -> u16 {
    use http_body_util::{BodyExt, Full};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Tasks::new().spawn_until_stop(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service =
            hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let asked = request.into_body().collect().await?.to_bytes();
                assert_eq!(asked, &b"\0\0\0\0\x03\x0a\x01s"[..]);
                let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
                let body = Full::new(bytes::Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]));
                let body = body.with_trailers(async move { Some(Ok(trailers.into_iter().collect())) });
                Ok::<_, hyper::Error>(http::Response::new(body))
            });
        let io = hyper_util::rt::TokioIo::new(socket);
        let executor = hyper_util::rt::TokioExecutor::new();
        // The probe hangs up when it has its answer.
        let _gone = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
    });
    port
}

#[tokio::test]
async fn grpc_services_are_asked_for_their_health() {
    let nothing = Fake::default();
    let probe = |port: u16| json!({ "grpc": { "port": port, "service": "s" } });
    let well = health(1).await;
    assert_eq!(outcome(probe(well), well, &nothing).await, Outcome::Success("service healthy".to_owned()));
    let ill = health(2).await;
    let failed = Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".to_owned());
    assert_eq!(outcome(probe(ill), ill, &nothing).await, failed);
    assert!(matches!(outcome(probe(1), 1, &nothing).await, Outcome::Failure(_)));
}

#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Record for Events {
    fn record(&self, _: &Pod, path: Option<&str>, kind: EventKind, reason: &str, message: String) {
        let path = path.unwrap_or_default();
        self.0.lock().unwrap().push(format!("{} {reason} {path} {message}", kind.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_startup_and_reports_changes() {
    let script = Arc::new(Fake::default());
    // Startup: fails, then succeeds. Readiness: succeeds, fails twice.
    for (code, said) in [(1, "not yet"), (0, ""), (0, ""), (1, "broken"), (1, "broken")] {
        script.answer(code, said);
    }
    let container: Container = serde_json::from_value(json!({
        "name": "c", "image": "i",
        "startupProbe": { "exec": { "command": ["a"] }, "periodSeconds": 5, "failureThreshold": 3 },
        "readinessProbe": { "exec": { "command": ["b"] }, "periodSeconds": 7, "failureThreshold": 2 },
    }))
    .unwrap();
    let events = Arc::new(Events::default());
    let (reports, mut told) = mpsc::channel(8);
    let prober = Prober::new(script.clone(), events.clone())
        .with_clock(Clock::from_fn(|| jiff::Timestamp::UNIX_EPOCH));
    let begin = tokio::time::Instant::now();
    let probing = prober.start(target(&container), reports);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Report { kind, healthy, .. } = told.recv().await.unwrap();
        seen.push((kind, healthy, begin.elapsed().as_secs()));
    }
    let expected =
        [(ProbeKind::Startup, true, 5), (ProbeKind::Readiness, true, 5), (ProbeKind::Readiness, false, 19)];
    assert_eq!(seen, expected);
    assert_eq!(
        events.0.lock().unwrap()[0],
        "Warning Unhealthy spec.containers{c} Startup probe failed: not yet"
    );
    drop(probing);
    assert!(told.recv().await.is_none());
}
