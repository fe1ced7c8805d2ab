//! Many writers at once: nothing is lost, nothing is half-done.

use serde_json::json;

use crate::given::{Given, MAPS, map};

#[tokio::test]
async fn patches_of_one_object_all_arrive() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    let patches = (0..50).map(|index| {
        let client = given.client.clone();
        async move {
            let patch = json!({ "data": { format!("k{index}"): "v" } });
            client.patch(&format!("{MAPS}/a"), "merge-patch", &patch).await.code(200);
        }
    });
    futures::future::join_all(patches).await;
    let data = given.client.get(&format!("{MAPS}/a")).await.body["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 51);
}

#[tokio::test]
async fn of_many_updates_from_one_revision_one_wins() {
    let given = Given::new().await;
    let base = given.client.post(MAPS, &map("a", "0")).await.code(201).body;
    let updates = (0..20).map(|index| {
        let (client, mut body) = (given.client.clone(), base.clone());
        body["data"]["k"] = format!("{}", index + 1).into();
        async move { client.put(&format!("{MAPS}/a"), &body).await.code }
    });
    let mut codes = futures::future::join_all(updates).await;
    codes.sort_unstable();
    assert_eq!((codes[0], codes.iter().filter(|code| **code == 409).count()), (200, 19));
}

#[tokio::test]
async fn of_many_creates_of_one_name_one_wins_and_generated_names_differ() {
    let given = Given::new().await;
    let creates = (0..20).map(|_| {
        let client = given.client.clone();
        async move { client.post(MAPS, &map("a", "0")).await.code }
    });
    let codes = futures::future::join_all(creates).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1);

    let body = json!({ "metadata": { "generateName": "made-" } });
    let creates = (0..50).map(|_| given.client.post(MAPS, &body));
    let mut names: Vec<String> = futures::future::join_all(creates)
        .await
        .into_iter()
        .map(|answer| answer.code(201).body["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.iter().all(|name| name.len() == 10 && name.starts_with("made-")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 50);
}

#[tokio::test]
async fn preconditions_of_updates_and_deletions_hold() {
    let given = Given::new().await;
    let client = &given.client;
    let url = format!("{MAPS}/a");
    let base = client.post(MAPS, &map("a", "0")).await.code(201);
    let mut other = map("a", "1");
    other["metadata"]["uid"] = "not-it".into();
    assert!(client.put(&url, &other).await.code(409).message().contains("UID in precondition: not-it"));
    assert_eq!(
        client.put(&url, &map("b", "1")).await.code(400).message(),
        "the name of the object (b) does not match the name on the URL (a)"
    );
    let mut elsewhere = map("a", "1");
    elsewhere["metadata"]["namespace"] = "kube-system".into();
    client.put(&url, &elsewhere).await.code(400);
    for wanted in [json!({ "uid": "not-it" }), json!({ "resourceVersion": "1" })] {
        let body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": wanted });
        client.send("DELETE", &url, &[], body.to_string().into()).await.code(409);
    }
    let wanted = json!({ "uid": base.body["metadata"]["uid"], "resourceVersion": base.body["metadata"]["resourceVersion"] });
    let body = json!({ "preconditions": wanted }).to_string();
    let gone = client.send("DELETE", &url, &[], body.into()).await.code(200);
    assert_eq!(
        (&gone.body["status"], &gone.body["details"]["kind"]),
        (&"Success".into(), &"configmaps".into())
    );
    client.put(&url, &map("a", "1")).await.code(404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_lifted() {
    let given = Given::new().await;
    let client = &given.client;
    let url = format!("{MAPS}/held");
    let mut held = map("held", "0");
    held["metadata"]["finalizers"] = json!(["example.com/a"]);
    client.post(MAPS, &held).await.code(201);
    let going = client.delete(&url).await.code(200);
    assert!(going.body["metadata"]["deletionTimestamp"].is_string());
    let again = client.delete(&url).await.code(200);
    assert_eq!(again.revision(), going.revision());
    let more = json!({ "metadata": { "finalizers": ["example.com/a", "example.com/b"] } });
    let refused = client.patch(&url, "merge-patch", &more).await.code(422);
    assert!(refused.message().contains("no new finalizers can be added if the object is being deleted"));
    client.patch(&url, "merge-patch", &json!({ "metadata": { "finalizers": null } })).await.code(200);
    client.get(&url).await.code(404);
}
