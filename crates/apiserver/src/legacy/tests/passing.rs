//! What the door passes on: proxied requests, redirects, health, the index.

use super::*;

const BASE: &str = "/api/v1/namespaces/default/services/web/proxy";

#[tokio::test]
async fn pages_come_back_with_links_that_lead_through_the_proxy() {
    let page = r#"<a href="/next">next</a>"#;
    let script = Arc::new(Script::default().page(
        &format!("POST {BASE}/a%20b/?q=1"),
        200,
        "text/html; charset=utf-8",
        page,
    ));
    let (code, text) = ask(&script, "POST /api/v1beta1/proxy/services/web/a%20b/?q=1", "form").await;
    assert_eq!((code, text.as_str()), (200, r#"<a href="/api/v1beta1/proxy/services/web/next">next</a>"#));
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_a_503_in_plain_text() {
    let down = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 503, "message": "no endpoints available"});
    let script = Script::default().on(&format!("GET {BASE}/"), 503, down).on(
        &format!("GET {BASE}/api"),
        500,
        r#"{"mine": true}"#,
    );
    let script = Arc::new(script);
    let (code, text) = ask(&script, "GET /api/v1beta1/proxy/services/web", "").await;
    assert_eq!((code, text.as_str()), (503, "no endpoints available"));
    let (code, text) = ask(&script, "GET /api/v1beta1/proxy/services/web/api", "").await;
    assert_eq!((code, text.as_str()), (500, r#"{"mine": true}"#), "an application's own error is its own");
}

#[tokio::test]
async fn kubelets_are_behind_the_oldest_proxy() {
    let line = "GET /api/v1/nodes/m:10250/proxy/stats/";
    let script = Arc::new(Script::default().page(line, 200, "text/plain", "ok"));
    assert_eq!(ask(&script, "GET /proxy/minion/m:10250/stats/", "").await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn services_redirect_to_an_endpoint_and_minions_to_their_kubelet() {
    let endpoints = json!({"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.1.0.2"}], "ports": [{"port": 80}]}]});
    let node = json!({"metadata": {"name": "m"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    let script = Script::default()
        .on("GET /api/v1/namespaces/default/endpoints/web", 200, endpoints)
        .on("GET /api/v1/namespaces/default/endpoints/none", 200, json!({"metadata": {"name": "none"}}))
        .on("GET /api/v1/nodes/m", 200, node);
    let script = Arc::new(script);
    for (path, expected) in [
        ("services/web", Some("http://10.1.0.2:80")),
        ("nodes/m", Some("https://10.0.0.1:10250")),
        ("services/none", None),
    ] {
        let response = door(&script).answer(request(&format!("GET /api/v1beta1/redirect/{path}"), "")).await;
        let location = response.headers().get("location").map(|value| value.to_str().unwrap());
        assert_eq!(location, expected);
        assert_eq!(response.status(), if expected.is_some() { 307 } else { 500 });
    }
}

#[tokio::test]
async fn validate_tells_how_the_components_are() {
    let nodes = json!({"items": [{"metadata": {"name": "m"}, "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no network"}]}}]});
    let script =
        Script::default().page("GET /readyz", 200, "text/plain", "ok").on("GET /api/v1/nodes", 200, nodes);
    let (code, text) = ask(&Arc::new(script), "GET /validate", "").await;
    assert_eq!(code, 200);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        found[0],
        json!({"component": "controller-manager", "health": "healthy", "healthCode": 0, "msg": "ok", "err": "nil"})
    );
    assert_eq!(
        found[3],
        json!({"component": "node-0", "health": "unhealthy", "healthCode": 1, "msg": "KubeletNotReady", "err": "no network"})
    );
}

#[tokio::test]
async fn the_index_lists_nothing_and_there_are_never_operations() {
    let script = Arc::new(Script::default());
    let (code, text) = ask(&script, "GET /api/v1beta1/", "").await;
    assert_eq!(
        (code, text.as_str()),
        (200, r#"{"kind":"APIResourceList","groupVersion":"v1beta1","resources":[]}"#)
    );
    let (_, text) = ask(&script, "GET /api/v1beta1/operations", "").await;
    assert_eq!(
        text,
        r#"{"kind":"ServerOpList","creationTimestamp":null,"selfLink":"/api/v1beta1/operations","apiVersion":"v1beta1","items":[]}"#
    );
}

#[tokio::test]
async fn a_binding_puts_a_pod_on_a_minion() {
    let script = Arc::new(Script::default());
    let (code, text) = ask(&script, "POST /api/v1beta1/bindings", r#"{"podID": "p", "host": "m"}"#).await;
    assert_eq!(code, 200, "{text}");
    let asked = script.last();
    assert_eq!(asked.line, "POST /api/v1/namespaces/default/pods/p/binding");
    assert_eq!(asked.body["target"], json!({"kind": "Node", "name": "m"}));
}
