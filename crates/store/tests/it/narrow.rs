//! Narrow watches: the same events as a wide one filtered, at the price of those that concern them.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use skiff_store::{Compacted, Expect, Memory, Narrow, Read, Watch};

use crate::given::{Note, Notes, delete, key, open, put, set};

/// Notes whose text begins with this letter.
fn letter(wanted: &str) -> Narrow<Note> {
    let read: Read<Note> = Arc::new(|note| note.text().get(..1).unwrap_or_default());
    Narrow { field: "letter".into(), read, wanted: wanted.into() }
}

fn told(watch: &mut Watch<Note>) -> Vec<String> {
    std::iter::from_fn(|| watch.ready())
        .map(|event| match event {
            Ok(event) => {
                format!("{}{} {}", event.revision, if event.deleted { "-" } else { "+" }, event.object.text())
            }
            Err(compacted) => compacted.to_string(),
        })
        .collect()
}

#[tokio::test]
async fn it_is_told_of_what_becomes_stays_and_ceases_to_be_wanted() {
    let store = open(Memory::default());
    set(&store, "before", "x0").await;
    let (snapshot, mut watch) = store.snapshot_and_watch_narrow("notes", letter("x"));
    assert_eq!(snapshot.objects.len(), 1);
    set(&store, "a", "y1").await;
    set(&store, "a", "x2").await;
    set(&store, "b", "y3").await;
    set(&store, "a", "x4").await;
    set(&store, "a", "y5").await;
    set(&store, "a", "y6").await;
    store.write(delete(key("before"), Expect::Any)).await.unwrap();
    assert_eq!(told(&mut watch), ["4+ x2", "6+ x4", "7+ y5", "9- x0"]);
}

#[tokio::test]
async fn from_a_revision_it_begins_with_what_the_window_has() {
    let store = open(Memory::default());
    for text in ["x1", "y2", "x3", "y4"] {
        set(&store, "a", text).await;
    }
    let mut watch = store.watch_narrow("notes", 2, letter("y")).unwrap();
    set(&store, "b", "y5").await;
    assert_eq!(told(&mut watch), ["3+ y2", "4+ x3", "5+ y4", "6+ y5"]);
    let mut later = store.watch_narrow("notes", 8, letter("y")).unwrap();
    for text in ["y6", "y7", "y8"] {
        set(&store, "b", text).await;
    }
    assert_eq!(told(&mut later), ["9+ y8"], "a revision to come is waited for");
}

#[tokio::test]
async fn others_neither_wake_it_nor_hold_it_back() {
    let store = open(Memory::default());
    let mut watch = store.watch_narrow("notes", 1, letter("x")).unwrap();
    let mut next = Box::pin(watch.next());
    assert!((&mut next).now_or_never().is_none());
    set(&store, "a", "y1").await;
    assert!((&mut next).now_or_never().is_none());
    drop(next);
    assert_eq!(watch.seen(), 2, "it has seen all there was for it");
    set(&store, "a", "x2").await;
    assert_eq!(watch.seen(), 2, "what waits is not seen");
    assert_eq!(told(&mut watch), ["3+ x2"]);
    assert_eq!(watch.seen(), 3);
}

#[tokio::test]
async fn one_that_lets_too_much_lie_is_told_and_ends_and_slows_nobody() {
    let store = open(Memory::default());
    let mut watch = store.watch_narrow("notes", 1, letter("x")).unwrap();
    for _ in 0..1025 {
        set(&store, "a", "x").await;
    }
    let end = watch.next().await.unwrap().err();
    assert_eq!(end, Some(Compacted { asked: 1, compacted: 1026 }));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn it_ends_with_the_store_after_its_last_event() {
    let store = open(Memory::default());
    let watch = store.watch_narrow("notes", 1, letter("x")).unwrap();
    set(&store, "a", "x1").await;
    store.close().await.unwrap();
    assert_eq!(watch.count().await, 1);
}

async fn write(store: Notes, client: usize) {
    for round in 0..200 {
        let letter = ["x", "y", "z"][(client + round) % 3];
        let text = format!("{letter}{client}-{round}");
        store.write(put(key(&format!("n{}", round % 5)), Expect::Any, text)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn among_many_writers_it_sees_what_a_wide_one_sees_and_never_claims_more() {
    let store = open(Memory::default());
    let total = 1 + 4 * 200;
    let mut readers = tokio::task::JoinSet::new();
    for wanted in ["x", "y", "z"].repeat(4) {
        let (store, narrow) = (store.clone(), letter(wanted));
        readers.spawn(async move {
            tokio::task::yield_now().await;
            let (snapshot, mut watch) = store.snapshot_and_watch_narrow("notes", letter(wanted));
            let wide = store.watch("notes", snapshot.revision).unwrap();
            let mut seen = Vec::new();
            while watch.seen() < total {
                let claimed = watch.seen();
                if let Some(event) = watch.ready() {
                    let revision = event.unwrap().revision;
                    assert!(claimed < revision, "{revision} came after {claimed} was seen");
                    seen.push(revision);
                } else {
                    tokio::task::yield_now().await;
                }
            }
            let until = usize::try_from(total - snapshot.revision).unwrap();
            let events: Vec<_> = wide.take(until).map(Result::unwrap).collect().await;
            let wanted = |note: &Note| (narrow.read)(note) == &*narrow.wanted;
            let concerns = |event: &&skiff_store::Event<Note>| {
                wanted(&event.object) || event.previous.as_ref().is_some_and(|note| wanted(note))
            };
            assert_eq!(seen, events.iter().filter(concerns).map(|event| event.revision).collect::<Vec<_>>());
        });
    }
    let writers: tokio::task::JoinSet<()> = (0..4).map(|client| write(store.clone(), client)).collect();
    writers.join_all().await;
    readers.join_all().await;
}
