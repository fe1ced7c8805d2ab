//! Lists: selected, in pages that stay consistent, at the revision that was asked for.

use crate::given::{Given, MAPS, map};

async fn filled(count: usize) -> Given {
    let given = Given::new().await;
    for index in 0..count {
        given.client.post(MAPS, &map(&format!("m{index:02}"), "0")).await.code(201);
    }
    given
}

#[tokio::test]
async fn pages_show_the_state_in_which_the_list_began() {
    let given = filled(25).await;
    let client = &given.client;
    let first = client.get(&format!("{MAPS}?limit=10")).await.code(200);
    assert_eq!(first.body["metadata"]["remainingItemCount"], 15);
    client.delete(&format!("{MAPS}/m15")).await.code(200);
    client.post(MAPS, &map("m12a", "0")).await.code(201);
    let mut names: Vec<String> = first.names().into_iter().map(str::to_owned).collect();
    let mut page = first;
    while let Some(token) = page.body["metadata"]["continue"].as_str() {
        let next = client.get(&format!("{MAPS}?limit=10&continue={token}")).await.code(200);
        assert_eq!(next.revision(), page.revision());
        names.extend(next.names().into_iter().map(str::to_owned));
        page = next;
    }
    let expected: Vec<String> = (0..25).map(|index| format!("m{index:02}")).collect();
    assert_eq!(names, expected);
    let now = client.get(MAPS).await;
    assert!(now.names().contains(&"m12a") && !now.names().contains(&"m15"));
}

#[tokio::test]
async fn a_list_whose_beginning_is_forgotten_can_go_on_in_what_there_is_now() {
    let given = filled(25).await;
    let client = &given.client;
    let first = client.get(&format!("{MAPS}?limit=10")).await.code(200);
    let token = first.body["metadata"]["continue"].as_str().unwrap();
    client.delete(&format!("{MAPS}/m15")).await.code(200);
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    tokio::time::resume();
    let expired = client.get(&format!("{MAPS}?limit=10&continue={token}")).await.code(410);
    assert!(expired.message().starts_with("The provided continue parameter is too old"));
    let token = expired.body["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{MAPS}?limit=10&continue={token}")).await.code(200);
    assert_eq!((second.names()[0], second.names().len()), ("m10", 10));
    assert!(!second.names().contains(&"m15") && second.revision() > first.revision());
    // The rest is consistent with this page again.
    let token = second.body["metadata"]["continue"].as_str().unwrap();
    let third = client.get(&format!("{MAPS}?limit=10&continue={token}")).await.code(200);
    assert_eq!((third.names(), third.revision()), (vec!["m21", "m22", "m23", "m24"], second.revision()));
}

#[tokio::test]
async fn revisions_are_waited_for_matched_or_refused() {
    let given = filled(2).await;
    let client = &given.client;
    let now = client.get(MAPS).await.revision();
    client.get(&format!("{MAPS}?resourceVersion=0")).await.code(200);
    client.get(&format!("{MAPS}?resourceVersion={now}&resourceVersionMatch=Exact")).await.code(200);
    client.get(&format!("{MAPS}?resourceVersion={now}&resourceVersionMatch=NotOlderThan")).await.code(200);
    let old = client.get(&format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", now - 1)).await;
    assert_eq!(old.code(200).names(), ["m00"]);
    let oldest = client.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!(oldest.code(200).names().len(), 0);
    client.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code(422);
    client.get(&format!("{MAPS}?resourceVersion=0&resourceVersionMatch=Exact")).await.code(422);
    client.get(&format!("{MAPS}?resourceVersion=abc")).await.code(400);
    client.get(&format!("{MAPS}?continue=abc")).await.code(400);
    let ahead = client.get(&format!("{MAPS}?resourceVersion={}", now + 1000)).await.code(504);
    assert!(ahead.message().starts_with("Too large resource version"), "{}", ahead.body);
}

#[tokio::test]
async fn selectors_narrow_and_unknown_fields_are_refused() {
    let given = filled(5).await;
    let client = &given.client;
    let one = client.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm03")).await;
    assert_eq!(one.names(), ["m03"]);
    let rest = client.get(&format!("{MAPS}?fieldSelector=metadata.name!%3Dm03")).await;
    assert_eq!(rest.names(), ["m00", "m01", "m02", "m04"]);
    let everywhere =
        client.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault,metadata.name%3Dm01").await;
    assert_eq!(everywhere.names(), ["m01"]);
    let refused = client.get(&format!("{MAPS}?fieldSelector=spec.x%3Dy")).await.code(400);
    assert_eq!(refused.message(), "field label not supported: spec.x");
    client.get(&format!("{MAPS}?labelSelector=a%20b%20c")).await.code(400);
}

#[tokio::test]
async fn a_collection_is_deleted_as_it_is_selected() {
    let given = filled(5).await;
    let client = &given.client;
    let gone = client.delete(&format!("{MAPS}?fieldSelector=metadata.name!%3Dm03")).await.code(200);
    assert_eq!(gone.names().len(), 4);
    assert_eq!(client.get(MAPS).await.names(), ["m03"]);
    client.delete("/api/v1/configmaps").await.code(405);
}

#[tokio::test]
async fn a_big_list_is_whole() {
    let given = Given::new().await;
    let value = "x".repeat(5000);
    for index in 0..60 {
        given.client.post(MAPS, &map(&format!("m{index:02}"), &value)).await.code(201);
    }
    assert_eq!(given.client.get(MAPS).await.names().len(), 60);
}
