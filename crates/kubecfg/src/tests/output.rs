//! What is printed, character for character.

use super::*;

fn pods(items: &str) -> String {
    format!(r#"{{"kind":"PodList","creationTimestamp":null,"apiVersion":"v1beta1","items":[{items}]}}"#)
}

#[tokio::test]
async fn the_articles_tables() {
    let pod = Stub::default().on("GET /api/v1beta1/pods/redis-master-pod", 200, POD);
    assert_eq!(
        run(pod, &["get", "pods/redis-master-pod"]).await.out,
        "ID                  Image(s)            Host                Labels                   Status\n\
         ----------          ----------          ----------          ----------               ----------\n\
         redis-master-pod    gurpartap/redis     <unassigned>        name=redis,role=master   Waiting\n\n"
    );
    let controller =
        Stub::default().on("GET /api/v1beta1/replicationControllers/redisSlaveController", 200, CONTROLLER);
    assert_eq!(
        run(controller, &["get", "replicationControllers/redisSlaveController"]).await.out,
        "ID                     Image(s)                   Selector            Replicas\n\
         ----------             ----------                 ----------          ----------\n\
         redisSlaveController   brendanburns/redis-slave   name=redisslave     2\n\n"
    );
    let services = r#"{"kind":"ServiceList","creationTimestamp":null,"items":[{"id":"redismaster","port":6379,"selector":{"name":"redis-master"}}]}"#;
    assert_eq!(
        run(Stub::default().on("GET /api/v1beta1/services", 200, services), &["list", "/services"]).await.out,
        "ID                  Labels              Selector            Port\n\
         ----------          ----------          ----------          ----------\n\
         redismaster                             name=redis-master   6379\n\n"
    );
    let deleted = Stub::default().on("DELETE /api/v1beta1/pods/a", 200, SUCCESS);
    assert_eq!(run(deleted, &["delete", "/pods/a"]).await.out, "Status\n----------\nSuccess\n\n");
}

#[tokio::test]
async fn minions_events_and_placed_pods() {
    let minions = r#"{"kind":"MinionList","minions":[{"id":"old"}],"items":[{"id":"127.0.0.1"}]}"#;
    for segment in ["minions", "nodes"] {
        let stub = Stub::default().on(&format!("GET /api/v1beta1/{segment}"), 200, minions);
        assert_eq!(run(stub, &["list", segment]).await.out, "Minion identifier\n----------\n127.0.0.1\n\n");
    }
    let events = r#"{"kind":"EventList","items":[{"id":"e","involvedObject":{"kind":"Pod","name":"p"},"status":"Waiting","reason":"failed","message":"why"}]}"#;
    let out = run(Stub::default().on("GET /api/v1beta1/events", 200, events), &["list", "events"]).await.out;
    assert!(
        out.ends_with(
            "p                   Pod                 Waiting             failed              why\n\n"
        ),
        "{out}"
    );
    let placed = POD.replace("\"status\":\"Waiting\"", "\"status\":\"Running\",\"host\":\"127.0.0.1\"");
    let out =
        run(Stub::default().on("GET /api/v1beta1/pods", 200, pods(&placed)), &["list", "pods"]).await.out;
    assert!(out.contains("127.0.0.1/          name=redis,role=master   Running\n"), "{out}");
    let out = run(Stub::default().on("GET /api/v1beta1/pods", 200, pods("")), &["list", "pods"]).await.out;
    assert_eq!(out.lines().count(), 3, "{out}");
}

#[tokio::test]
async fn json_is_compact_and_ends_with_an_empty_line() {
    let stub = Stub::default().on("GET /api/v1beta1/pods/redis-master-pod", 200, POD);
    let ran = run(stub, &["-json", "-yaml", "-template={{.id}}", "get", "pods/redis-master-pod"]).await;
    assert_eq!(ran.out, format!("{POD}\n\n"));
}

#[tokio::test]
async fn yaml_has_v1beta1s_members_in_their_order() {
    let stub = Stub::default().on("GET /api/v1beta1/pods/redis-master-pod", 200, POD);
    let out = run(stub, &["--yaml", "get", "pods/redis-master-pod"]).await.out;
    assert!(out.starts_with("kind: Pod\nid: redis-master-pod\ncreationTimestamp: "), "{out}");
    assert!(out.contains("desiredState:\n  manifest:\n    version: v1beta1\n"), "{out}");
    let read = skiff_api::v1beta1::body::tree(out.as_bytes()).unwrap();
    assert_eq!(read, skiff_api::v1beta1::body::tree(POD.as_bytes()).unwrap());
}

#[tokio::test]
async fn templates_of_both_times() {
    let stub = || Stub::default().on("GET /api/v1beta1/pods", 200, pods(POD));
    let old = run(stub(), &["-template", "{{range .Items}}{{.ID}} {{end}}", "list", "pods"]).await;
    assert_eq!(old.out, "redis-master-pod \n");
    let home = Home::new();
    let file = home.file("t", "{{range .items}}{{.currentState.status}}{{end}}");
    let flag = format!("-template_file={file}");
    let new = run_at(&home, stub(), &[&flag, "-template", "{{.kind}}", "list", "pods"], "").await;
    assert_eq!(new.out, "Waiting\n");
}

#[tokio::test]
async fn print_reads_a_file_and_asks_nobody() {
    let home = Home::new();
    let file = home.file("s.yaml", "id: s\nport: 80\nselector: {a: b}\n");
    let ran = run_at(&home, Stub::default(), &["-c", &file, "print", "services"], "").await;
    assert_eq!((ran.code, ran.asked.len()), (0, 0));
    assert!(
        ran.out.ends_with("s                                       a=b                 80\n"),
        "{}",
        ran.out
    );
    let ran = run_at(&home, Stub::default(), &["-json", "-c", &file, "print", "services"], "").await;
    assert!(ran.out.starts_with(r#"{"kind":"Service","apiVersion":"v1beta1","id":"s""#), "{}", ran.out);
}
