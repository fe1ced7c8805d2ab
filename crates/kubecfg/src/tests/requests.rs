//! What is sent, and to where.

use super::*;

const SERVICE: &str =
    "{\"id\": \"redismaster\", \"port\": 6379, \"nonsense\": 1, \"selector\": {\"name\": \"redis\"},}";

#[tokio::test]
async fn create_sends_the_file_as_v1beta1_json_without_what_it_does_not_know() {
    let home = Home::new();
    let file = home.file("service.json", SERVICE);
    let answer = r#"{"kind":"Service","id":"redismaster","port":6379,"selector":{"name":"redis"}}"#;
    let stub = Stub::default().on("POST /api/v1beta1/services", 200, answer);
    let ran = run_at(&home, stub, &["-c", &file, "create", "/services"], "").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let body = ran.body(0);
    assert_eq!((&body["kind"], &body["apiVersion"]), (&"Service".into(), &"v1beta1".into()));
    assert_eq!(body["nonsense"], Value::Null);
    assert_eq!(body["selector"]["name"], "redis");
}

#[tokio::test]
async fn bodies_come_from_standard_input_and_from_urls_too() {
    let answer = r#"{"kind":"Service","id":"redismaster","port":6379}"#;
    let stub = Stub::default().on("POST /api/v1beta1/services", 200, answer);
    let ran = run_at(&Home::new(), stub, &["-c", "-", "create", "services"], SERVICE).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let stub = Stub::default().on("GET /gone", 404, "");
    let ran = run(stub, &["-c", "http://127.0.0.1:1/x", "create", "services"]).await;
    assert!(ran.err.contains("Unable to access URL http://127.0.0.1:1/x: "), "{}", ran.err);
}

#[tokio::test]
async fn update_learns_the_revision_first() {
    let home = Home::new();
    let file = home.file("pod.json", &POD.replace("\"resourceVersion\":5,", ""));
    let path = "/api/v1beta1/pods/redis-master-pod";
    let stub = Stub::default().on(&format!("GET {path}"), 200, POD).on(&format!("PUT {path}"), 200, POD);
    let ran = run_at(&home, stub, &["-c", &file, "-verbose", "update", "pods/redis-master-pod"], "").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.lines(), [format!("GET {path}"), format!("PUT {path}")]);
    assert_eq!(ran.body(1)["resourceVersion"], 5);
    assert!(ran.err.starts_with('I') && ran.err.contains("\"resourceVersion\":5"), "{}", ran.err);
}

#[tokio::test]
async fn lists_carry_selectors_and_namespaces() {
    let empty = r#"{"kind":"PodList","items":null}"#;
    let line = "GET /api/v1beta1/pods?labels=name%3Dx&fields=ID%3Da&namespace=other";
    let stub = Stub::default().on(line, 200, empty);
    let args = ["-l", "name=x", "-fields", "ID=a", "-ns", "other", "list", "/pods/"];
    let ran = run(stub, &args).await;
    assert_eq!((ran.code, ran.lines()), (0, vec![line]), "{}", ran.err);
}

#[tokio::test]
async fn a_namespace_is_remembered_in_its_file() {
    let home = Home::new();
    let ran = run_at(&home, Stub::default(), &["ns"], "").await;
    assert_eq!(ran.out, "Using namespace default\n");
    let ran = run_at(&home, Stub::default(), &["ns", "team"], "").await;
    assert_eq!(ran.out, "Using namespace team\n");
    let stored = std::fs::read_to_string(home.0.path().join(".kubernetes_ns")).unwrap();
    assert_eq!(stored, r#"{"Namespace":"team"}"#);
    let ran = run_at(&home, Stub::default(), &["list", "pods"], "").await;
    assert_eq!(ran.lines(), ["GET /api/v1beta1/pods?namespace=team"]);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_finished_is_waited_for() {
    let working =
        r#"{"kind":"Status","status":"Working","reason":"Working","details":{"id":"7","kind":"operation"}}"#;
    let stub = Stub::default()
        .on("DELETE /api/v1beta1/pods/a", 202, working)
        .on("GET /api/v1beta1/operations/7", 202, working)
        .on("GET /api/v1beta1/operations/7", 200, SUCCESS);
    let ran = run(stub, &["delete", "pods/a"]).await;
    assert_eq!((ran.code, ran.asked.len()), (0, 3), "{}", ran.err);
    assert!(ran.err.contains("Waiting for completion of operation 7"), "{}", ran.err);
}

#[tokio::test]
async fn validate_names_members_that_are_in_no_kind() {
    let home = Home::new();
    let file = home.file("service.json", SERVICE);
    let ran = run_at(&home, Stub::default(), &["-validate", "-c", &file, "create", "services"], "").await;
    assert_eq!((ran.code, ran.asked.len()), (255, 0));
    assert!(ran.err.contains("found invalid field nonsense for Service"), "{}", ran.err);
}

#[tokio::test]
async fn versions_are_printed_and_compared() {
    let servers = r#"{"major":"1","minor":"37","gitVersion":"v1.37.0","platform":"linux/amd64"}"#;
    let stub = || Stub::default().on("GET /version", 200, servers);
    let own = format!("Kubernetes v1.37.0+skiff-{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(stub(), &["-version"]).await.out, own);
    assert_eq!(run(stub(), &["-server_version", "list"]).await.out, "Server: Kubernetes v1.37.0\n");
    let raw = run(stub(), &["-server_version=raw"]).await.out;
    assert!(
        raw.starts_with("Server: version.Info{Major:\"1\", Minor:\"37\", GitVersion:\"v1.37.0\""),
        "{raw}"
    );
    let ran = run(stub(), &["-expect_version_match", "list", "pods"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert!(ran.out.starts_with("Server version (v1.37.0) differs"), "{}", ran.out);
}

#[tokio::test]
async fn credentials_are_asked_for_once_and_kept_to_oneself() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let args = ["-h", "https://127.0.0.1:1", "list", "pods"];
    let ran = run_at(&home, Stub::default(), &args, "me\nsecret\n").await;
    assert_eq!(ran.code, 255);
    let path = home.0.path().join(".kubernetes_auth");
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&kept["User"], &kept["Password"]), (&"me".into(), &"secret".into()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = run_at(&home, Stub::default(), &args, "").await;
    assert_eq!(ran.out, "", "not asked again");
}
