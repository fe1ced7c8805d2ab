//! The commands on replication controllers.

use super::*;

const PATH: &str = "/api/v1beta1/replicationControllers/redisSlaveController";

fn stored(replicas: u32) -> String {
    CONTROLLER.replacen("\"replicas\":2", &format!("\"replicas\":{replicas}"), 1)
}

#[tokio::test]
async fn run_makes_a_controller_and_a_service() {
    let service = r#"{"kind":"Service","id":"web","port":8000}"#;
    let stub = Stub::default().on("POST /api/v1beta1/replicationControllers", 200, CONTROLLER).on(
        "POST /api/v1beta1/services",
        200,
        service,
    );
    let ran = run(stub, &["-p", "8080:80,443", "-s", "8000", "run", "nginx", "2", "web"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let sent = ran.body(0);
    assert_eq!((&sent["id"], &sent["desiredState"]["replicas"]), (&"web".into(), &2.into()));
    assert_eq!(sent["desiredState"]["replicaSelector"]["simpleService"], "web");
    let manifest = &sent["desiredState"]["podTemplate"]["desiredState"]["manifest"];
    assert_eq!(manifest["version"], "v1beta2");
    assert_eq!(manifest["containers"][0]["ports"][0]["hostPort"], 8080);
    assert_eq!(ran.body(1)["selector"]["simpleService"], "web");
    assert!(
        ran.out.starts_with("kind: ReplicationController\n") && ran.out.contains("\nkind: Service\n"),
        "{}",
        ran.out
    );
    assert!(!ran.out.ends_with("\n\n"));
}

#[tokio::test]
async fn resize_and_stop_write_what_they_read() {
    for (args, replicas) in
        [(vec!["resize", "redisSlaveController", "5"], 5), (vec!["stop", "redisSlaveController"], 0)]
    {
        let stub = Stub::default().on(&format!("GET {PATH}"), 200, CONTROLLER).on(
            &format!("PUT {PATH}"),
            200,
            stored(replicas),
        );
        let ran = run(stub, &args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let sent = ran.body(1);
        assert_eq!(sent["desiredState"]["replicas"], replicas);
        assert_eq!(sent["resourceVersion"], 7);
        assert!(ran.out.contains(&format!("  replicas: {replicas}\n")), "{}", ran.out);
    }
}

#[tokio::test]
async fn rm_needs_a_stopped_controller_and_prints_nothing() {
    let ran =
        run(Stub::default().on(&format!("GET {PATH}"), 200, CONTROLLER), &["rm", "redisSlaveController"])
            .await;
    assert_eq!((ran.code, ran.asked.len()), (255, 1));
    assert!(
        ran.err.contains("Error: controller has non-zero replicas (2), please stop it first"),
        "{}",
        ran.err
    );
    let stub = Stub::default().on(&format!("GET {PATH}"), 200, stored(0)).on(
        &format!("DELETE {PATH}"),
        200,
        SUCCESS,
    );
    let ran = run(stub, &["rm", "redisSlaveController"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_changes_the_image_and_replaces_pods_one_by_one() {
    let pods = "GET /api/v1beta1/pods?labels=name%3Dredisslave";
    let list = |ids: &[&str]| {
        let items: Vec<String> = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}")).collect();
        format!(r#"{{"kind":"PodList","items":[{}]}}"#, items.join(","))
    };
    let stub = Stub::default()
        .on(&format!("GET {PATH}"), 200, CONTROLLER)
        .on(&format!("PUT {PATH}"), 200, CONTROLLER)
        .on(pods, 200, list(&["a", "b"]))
        .on(pods, 200, list(&["c"]))
        .on(pods, 200, list(&["c", "d"]))
        .on("DELETE /api/v1beta1/pods/a", 200, SUCCESS)
        .on("DELETE /api/v1beta1/pods/b", 200, SUCCESS);
    let ran = run(stub, &["-image", "new:2", "-u", "10s", "rollingupdate", "redisSlaveController"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let put = ran.body(1);
    assert_eq!(
        put["desiredState"]["podTemplate"]["desiredState"]["manifest"]["containers"][0]["image"],
        "new:2"
    );
    assert_eq!(ran.asked.len(), 7, "{:?}", ran.lines());
}

#[tokio::test]
async fn bad_arguments_are_named() {
    for (args, part) in [
        (vec!["resize", "a", "many"], "Error parsing replicas: "),
        (vec!["resize", "a"], "usage: kubecfg resize"),
        (vec!["run", "i", "x", "n"], "Error parsing replicas: "),
        (vec!["stop"], "usage: kubecfg [OPTIONS] stop|rm|rollingupdate"),
        (vec!["-s", "80", "run", "i", "1", "Upper"], "Error: service name not valid"),
        (vec!["-p", "x", "run", "i", "1", "n"], "Error: port \"x\""),
        (vec!["stop", "none"], "Error: request to http://"),
    ] {
        let ran = run(Stub::default(), &args).await;
        assert_eq!(ran.code, 255, "{args:?}");
        assert!(ran.err.contains(part), "{args:?}: {}", ran.err);
    }
}
