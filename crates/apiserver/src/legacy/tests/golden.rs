//! Status codes, as the integration test of v0.7.4 expected them.

use super::*;

pub(super) const RC: &str = r#"{"id": "a", "desiredState": {"replicas": 1, "replicaSelector": {"x": "y"}, "podTemplate": {"labels": {"x": "y"}, "desiredState": {"manifest": {"containers": [{"name": "c", "image": "i"}]}}}}}"#;
pub(super) const SERVICE: &str = r#"{"id": "a", "port": 1, "selector": {"x": "y"}, "containerPort": 5}"#;
pub(super) const ENDPOINTS: &str = r#"{"id": "a", "endpoints": ["10.0.0.1:80"]}"#;
pub(super) const MINION: &str = r#"{"id": "a"}"#;
pub(super) const EVENT: &str =
    r#"{"id": "a", "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"}}"#;
pub(super) const BINDING: &str = r#"{"podID": "a", "host": "m"}"#;

fn with_stored_endpoints() -> Script {
    let stored = json!({"metadata": {"name": "a", "namespace": "default", "resourceVersion": "3"}});
    let path = "/api/v1/namespaces/default/endpoints/a";
    Script::default().on(&format!("GET {path}"), 200, &stored).on(&format!("PUT {path}"), 200, &stored)
}

#[tokio::test]
async fn codes_are_those_of_the_test_of_that_time() {
    let script = Arc::new(with_stored_endpoints());
    for (line, body, expected) in [
        ("POST /api/v1beta1/pods?sync=true&timeout=60s", POD, 200),
        ("POST /api/v1beta1/services", SERVICE, 200),
        ("POST /api/v1beta1/replicationControllers", RC, 200),
        ("POST /api/v1beta1/endpoints", ENDPOINTS, 200),
        ("POST /api/v1beta1/minions", MINION, 200),
        ("POST /api/v1beta1/events", EVENT, 200),
        ("POST /api/v1beta1/bindings", BINDING, 200),
        ("PUT /api/v1beta1/pods/a", POD, 500),
        ("PUT /api/v1beta1/services/a", SERVICE, 409),
        ("PUT /api/v1beta1/replicationControllers/a", RC, 409),
        ("PUT /api/v1beta1/endpoints/a", ENDPOINTS, 200),
        ("PUT /api/v1beta1/minions/a", MINION, 422),
        ("PUT /api/v1beta1/events/a", EVENT, 500),
        ("PUT /api/v1beta1/bindings/a", BINDING, 500),
        ("DELETE /api/v1beta1/endpoints/a", "", 400),
        ("GET /api/v1beta1/bindings", "", 405),
        ("GET /api/v1beta1/bindings/a", "", 404),
        ("DELETE /api/v1beta1/bindings/a", "", 404),
        ("GET /api/v1beta1/foo", "", 404),
        ("POST /api/v1beta1/foo", "{}", 404),
        ("PUT /api/v1beta1/foo/a", "{}", 404),
        ("DELETE /api/v1beta1/foo/a", "", 404),
        ("GET /api/v1beta1/operations/unknown", "", 404),
        ("GET /api/v1beta1/operations", "", 200),
        ("GET /api/v1beta1/pods/a", "", 404),
        ("GET /api/v1beta1/watch/foo", "", 404),
        ("PATCH /api/v1beta1/pods/a", "{}", 404),
        ("POST /api/v1beta1/pods", "", 500),
        ("POST /api/v1beta1/pods", "{", 500),
        ("POST /api/v1beta1/pods", SERVICE_AS_POD, 500),
        ("POST /api/v1beta1/pods", r#"{"id": "a", "resourceVersion": 4}"#, 500),
        ("GET /api/v1beta1/pods?labels=a%20in%20(b)", "", 500),
        ("GET /api/v1beta1/replicationControllers?fields=x%3Dy", "", 500),
        ("POST /api/v1beta1/services", r#"{"id": "Upper", "port": 1, "selector": {"x": "y"}}"#, 422),
        ("POST /api/v1beta1/pods?namespace=one", r#"{"id": "a", "namespace": "two"}"#, 409),
    ] {
        let (code, text) = ask(&script, line, body).await;
        assert_eq!(code, expected, "{line}: {text}");
        if text.starts_with('{') && code >= 400 {
            let status: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(status["code"], code, "the body's code is the answer's: {text}");
            assert_eq!(status["apiVersion"], "v1beta1");
        }
    }
}

const SERVICE_AS_POD: &str = r#"{"kind": "Service", "id": "a"}"#;

#[tokio::test]
async fn errors_read_as_in_2014() {
    let invalid = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 422, "reason": "Invalid",
        "message": "Pod \"a\" is invalid: ...", "details": {"name": "a", "kind": "Pod", "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers[0].image"},
            {"reason": "FieldValueInvalid", "message": "Invalid value: \"X\": must be lower case", "field": "spec.containers[0].name"}]}});
    let exists = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "AlreadyExists",
        "message": "services \"a\" already exists", "details": {"name": "a", "kind": "services"}});
    let script = Script::default().on("POST /api/v1/namespaces/default/pods", 422, invalid).on(
        "POST /api/v1/namespaces/default/services",
        409,
        exists,
    );
    let script = Arc::new(script);
    for (line, body, message) in [
        ("GET /api/v1beta1/replicationControllers/a", "", r#"replicationController "a" not found"#),
        ("GET /api/v1beta1/minions/a", "", r#"minion "a" not found"#),
        ("POST /api/v1beta1/services", SERVICE, r#"service "a" already exists"#),
        (
            "POST /api/v1beta1/pods",
            POD,
            r#"pod "a" is invalid: [desiredState.manifest.containers[0].image: required value '', desiredState.manifest.containers[0].name: invalid value 'X': must be lower case]"#,
        ),
        (
            "POST /api/v1beta1/services",
            r#"{"id": "a", "port": 1, "selector": {}}"#,
            r#"service "a" is invalid: selector: required value ''"#,
        ),
        ("POST /api/v1beta1/pods", SERVICE_AS_POD, "data of kind 'Service', obj of type 'Pod'"),
    ] {
        let (_, text) = ask(&script, line, body).await;
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["message"], message, "{line}");
    }
    let (_, text) = ask(&script, "GET /api/v1beta1/nothing?a=b", "").await;
    assert_eq!(text, r#"Not Found: "/api/v1beta1/nothing?a=b""#);
}
