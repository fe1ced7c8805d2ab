//! Watches: when they start, what they carry, and in which frames.

use super::*;

fn event(kind: &str, object: Value) -> String {
    json!({"type": kind, "object": object}).to_string() + "\n"
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default", "resourceVersion": "9"}, "spec": {"containers": []}})
}

#[tokio::test]
async fn events_are_converted_one_by_one_and_bookmarks_are_not_told() {
    let stream = event("ADDED", pod("a"))
        + &event("BOOKMARK", json!({"metadata": {"resourceVersion": "9"}}))
        + &event("ERROR", json!({"code": 410, "message": "too old", "reason": "Expired"}));
    let line = "GET /api/v1/namespaces/default/pods?watch=true&resourceVersion=5";
    let script = Arc::new(Script::default().page(line, 200, "application/json", &stream));
    let (code, text) =
        ask(&script, "GET /api/v1beta1/watch/pods?resourceVersion=5&labels=not%20one", "").await;
    assert_eq!(code, 200);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2, "{text}");
    assert_eq!(events[0]["type"], "ADDED");
    assert_eq!(events[0]["object"]["selfLink"], "/api/v1beta1/pods/a");
    assert_eq!(events[0]["object"]["resourceVersion"], 9);
    assert_eq!(events[1]["object"]["kind"], "Status");
    assert_eq!(events[1]["object"]["code"], 410);
    assert!(text.starts_with(r#"{"type":"ADDED","object":{"kind":"Pod","id":"a","#), "{text}");
}

#[tokio::test]
async fn without_a_revision_a_watch_begins_now() {
    let now = "GET /api/v1/namespaces/default/services?limit=1";
    let script =
        Arc::new(Script::default().on(now, 200, json!({"metadata": {"resourceVersion": "42"}, "items": []})));
    ask(&script, "GET /api/v1beta1/watch/services?fields=name%3Da", "").await;
    let lines = script.lines();
    assert_eq!(lines[0], now);
    assert!(
        lines[1].ends_with("?watch=true&resourceVersion=42&fieldSelector=metadata.name%3Da"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_watch_that_v1_refuses_is_refused() {
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410, "reason": "Expired", "message": "too old"});
    let line = "GET /api/v1/namespaces/default/pods?watch=true&resourceVersion=1";
    let script = Arc::new(Script::default().on(line, 410, gone));
    let (code, text) = ask(&script, "GET /api/v1beta1/watch/pods?resourceVersion=1", "").await;
    assert_eq!(code, 410, "{text}");
}

#[tokio::test]
async fn a_websocket_carries_the_same_values_as_text_frames() {
    use futures::StreamExt;
    use hyper_util::rt::TokioIo;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let stream = event("ADDED", pod("a")) + &event("DELETED", pod("a"));
    let line = "GET /api/v1/namespaces/default/pods?watch=true&resourceVersion=5";
    let script = Arc::new(Script::default().page(line, 200, "application/json", &stream));
    let door = door(&script);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let tasks = Tasks::new();
    tasks.spawn_until_stop(async move {
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let door = door.clone();
            async move { Ok::<_, std::convert::Infallible>(door.answer(request.map(wire::incoming)).await) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        connection.with_upgrades().await.unwrap();
    });
    let request = "ws://door/api/v1beta1/watch/pods?resourceVersion=5".into_client_request().unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, near).await.unwrap();
    let frames: Vec<_> = socket.filter_map(|frame| std::future::ready(frame.ok())).collect().await;
    let texts: Vec<_> =
        frames.iter().filter(|frame| frame.is_text()).map(|frame| frame.to_text().unwrap()).collect();
    assert_eq!(texts.len(), 2, "{frames:?}");
    assert!(texts[1].starts_with(r#"{"type":"DELETED","object":{"kind":"Pod""#) && !texts[1].ends_with('\n'));
    tasks.stop();
}
