//! Many writers and many watchers at once: one order, seen by all, with nothing missing.

use std::sync::Arc;

use futures::{StreamExt, future::join_all};
use skiff_store::{Disk, Expect, Memory, Refused};

use crate::given::{Note, Notes, delete, key, open, put, set};

/// One client: creates, changes and deletes its own keys, and counts up a shared one by compare-and-set.
async fn client(store: Notes, id: usize, rounds: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    for round in 0..rounds {
        let own = key(&format!("c{id}-{}", round % 3));
        let write = if store.get(&own).is_some() && round % 2 == 1 {
            delete(own, Expect::Present)
        } else {
            put(own, Expect::Any, format!("{id}"))
        };
        revisions.push(store.write(write).await.unwrap().revision);
        loop {
            let now = store.get(&key("counter")).unwrap();
            let next = (now.text().parse::<u64>().unwrap() + 1).to_string();
            match store.write(put(key("counter"), Expect::Revision(now.revision), next)).await {
                Ok(note) => break revisions.push(note.revision),
                Err(Refused::Moved(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    revisions
}

async fn everyone_agrees(store: Notes, clients: usize, rounds: usize) {
    set(&store, "counter", "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    let last = 2 + 2 * (clients * rounds) as u64;
    let watches: Vec<_> = (0..4).map(|_| store.watch("notes", 2).unwrap()).collect();
    for id in 0..clients {
        tasks.spawn(client(store.clone(), id, rounds));
    }
    let seen = join_all(
        watches
            .into_iter()
            .map(|watch| watch.map(Result::unwrap).take((last - 2) as usize).collect::<Vec<_>>()),
    );
    let (acknowledged, seen) = tokio::join!(tasks.join_all(), seen);
    let mut all: Vec<_> = acknowledged.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(3..=last), "every number once, none missing");
    for events in &seen {
        assert!(events.iter().map(|event| event.revision).eq(3..=last), "in order, none missing");
        let mut state =
            imbl::OrdMap::<Arc<str>, Arc<Note>>::unit("counter".into(), seen[0][0].object.clone());
        for event in events {
            let before = match event.deleted {
                true => state.remove(&*event.key.name),
                false => state.insert(event.key.name.clone(), event.object.clone()),
            };
            if &*event.key.name != "counter" {
                assert_eq!(before, event.previous, "at {}", event.revision);
            }
        }
        assert!(state == store.snapshot("notes").objects, "the events lead to the state");
    }
    assert_eq!(store.get(&key("counter")).unwrap().text(), (clients * rounds).to_string());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_see_one_order_in_memory() {
    everyone_agrees(open(Memory::default()), 16, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_see_one_order_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    everyone_agrees(open(Disk::open(&path).unwrap()), 8, 12).await;
    let store = open(Disk::open(&path).unwrap());
    assert_eq!(store.revision(), 2 + 2 * 8 * 12);
    assert_eq!(store.get(&key("counter")).unwrap().text(), "96");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_watchers_all_see_a_write() {
    let store = open(Memory::default());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let mut watch = store.watch("notes", 1).unwrap();
        tasks.spawn(async move { watch.next().await.unwrap().unwrap().revision });
    }
    set(&store, "a", "1").await;
    assert!(tasks.join_all().await.into_iter().all(|revision| revision == 2));
}
