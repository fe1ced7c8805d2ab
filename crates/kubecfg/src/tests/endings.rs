//! Exit codes and what is said with them.

use super::*;

#[tokio::test]
async fn usage_mistakes_have_their_own_codes() {
    let ran = run(Stub::default(), &[]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.starts_with("usage: kubecfg [OPTIONS] METHOD") && ran.err.contains("-template_file"),
        "{}",
        ran.err
    );
    for args in [["-w", "list"], ["-help", "list"], ["-s=x", "list"]] {
        let ran = run(Stub::default(), &args).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.contains("usage: kubecfg"), "{}", ran.err);
    }
}

#[tokio::test]
async fn fatal_lines_are_glogs() {
    let missing = r#"{"kind":"Status","creationTimestamp":null,"apiVersion":"v1beta1","status":"Failure","message":"pod \"x\" not found","reason":"NotFound","details":{"id":"x","kind":"pod"},"code":404}"#;
    let ran = run(Stub::default().on("GET /api/v1beta1/pods/x", 404, missing), &["get", "pods/x"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (255, ""));
    let (head, message) = ran.err.split_once("] ").unwrap();
    assert_eq!(message, "Got request error: pod \"x\" not found\n");
    let words: Vec<&str> = head.split(' ').collect();
    assert!(words[0].starts_with("F10") && words[0].len() == 5, "{head}");
    assert!(words[1].ends_with(":00.000123"), "{head}");
    assert_eq!(words[2], "12345");
    assert!(words[3].starts_with("kubecfg.go:"), "{head}");
}

#[tokio::test]
async fn everything_else_is_255_and_says_why() {
    let home = Home::new();
    let pod = home.file("pod.json", POD);
    let broken = home.file("broken.json", "{");
    let usage =
        "usage: kubecfg [OPTIONS] list <events|minions|nodes|pods|replicationControllers|services>[/<id>]";
    for (args, part) in [
        (vec!["explain", "pods"], "Unknown command explain"),
        (vec!["list", "replicationcontrollers"], usage),
        (vec!["list", "pods/a"], usage),
        (vec!["get", "pods"], "usage: kubecfg [OPTIONS] get <"),
        (vec!["create", "pods"], "Need config file (-c)"),
        (vec!["-c", "/no/such/file", "create", "pods"], "Unable to read /no/such/file: "),
        (vec!["-c", &broken, "create", "pods"], "Error parsing"),
        (
            vec!["-c", &pod, "create", "services"],
            "as an object for services: data of kind 'Pod', obj of type 'Service'",
        ),
        (vec!["-c", &pod, "update", "pods/none"], "error obtaining resource version for update: "),
        (vec!["-template", "{{", "list", "pods"], "Got request error: "),
        (vec!["-h", "ftp://x", "list", "pods"], "Can't configure client: "),
        (vec!["-h", "127.0.0.1:1", "list", "pods"], "Got request error: "),
        (vec!["list", "pods"], "failed (404) Not Found: Not Found: \"/api/v1beta1/pods\""),
    ] {
        let ran = run_at(&home, Stub::default(), &args, "").await;
        assert_eq!(ran.code, 255, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(part), "{args:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_shown_raw() {
    let stub = Stub::default().on("GET /api/v1beta1/pods", 200, r#"{"kind":"Riddle"}"#);
    let ran = run(stub, &["list", "pods"]).await;
    assert_eq!(ran.code, 255);
    assert!(
        ran.err.contains("Failed to print: unknown type \"Riddle\"")
            && ran.err.contains("{\"kind\":\"Riddle\"}"),
        "{}",
        ran.err
    );
}
