//! Watches: what they see, from where, and what happens to those that come or lag too late.

use futures::{FutureExt, StreamExt};
use skiff_store::{Compacted, Expect, Key, Memory, Options, Store, Watch};

use crate::given::{Note, delete, key, open, put, set};

/// The next events, one line each.
async fn lines(watch: &mut Watch<Note>, count: usize) -> Vec<String> {
    let events: Vec<_> = watch.take(count).collect().await;
    let line = |event: Result<skiff_store::Event<Note>, Compacted>| match event {
        Ok(event) => {
            let sign = if event.deleted { "-" } else { "+" };
            let before = event.previous.as_ref().map_or("nothing", |note| note.text());
            assert_eq!(event.revision, event.object.revision);
            format!("{}{sign}{} {} after {before}", event.revision, event.key.name, event.object.text())
        }
        Err(compacted) => compacted.to_string(),
    };
    events.into_iter().map(line).collect()
}

#[tokio::test]
async fn a_watch_sees_every_later_change_of_its_table_with_what_was_before() {
    let store = open(Memory::default());
    set(&store, "a", "1").await;
    let mut watch = store.watch("notes", 2).unwrap();
    set(&store, "a", "2").await;
    store.write(put(Key::new("other", "x"), Expect::Any, "y")).await.unwrap();
    set(&store, "b", "1").await;
    store.write(delete(key("a"), Expect::Any)).await.unwrap();
    let seen = lines(&mut watch, 3).await;
    assert_eq!(seen, ["3+a 2 after 1", "5+b 1 after nothing", "6-a 2 after 2"]);
    assert!(watch.next().now_or_never().is_none(), "and then waits");
}

#[tokio::test]
async fn a_snapshot_and_its_watch_have_no_gap() {
    let store = open(Memory::default());
    set(&store, "ns/a", "1").await;
    let (snapshot, mut watch) = store.snapshot_and_watch("notes");
    set(&store, "ns/b", "1").await;
    assert_eq!((snapshot.revision, snapshot.objects.len()), (2, 1), "a snapshot does not move");
    assert_eq!(lines(&mut watch, 1).await, ["3+ns/b 1 after nothing"]);
    set(&store, "nt/c", "1").await;
    let snapshot = store.snapshot("notes");
    let names: Vec<_> = snapshot.beginning("ns/").map(|(name, _)| &**name).collect();
    assert_eq!(names, ["ns/a", "ns/b"]);
}

#[tokio::test]
async fn watching_a_table_that_does_not_exist_yet_works() {
    let store = open(Memory::default());
    set(&store, "a", "1").await;
    let mut watch = store.watch("later", store.revision()).unwrap();
    assert!(watch.next().now_or_never().is_none());
    store.write(put(Key::new("later", "x"), Expect::Any, "y")).await.unwrap();
    assert_eq!(lines(&mut watch, 1).await, ["3+x y after nothing"]);
    assert_eq!(store.tables().iter().map(|table| &**table).collect::<Vec<_>>(), ["later", "notes"]);
}

#[tokio::test]
async fn watching_from_a_revision_to_come_begins_there() {
    let store = open(Memory::default());
    let mut watch = store.watch("notes", 3).unwrap();
    for text in ["1", "2", "3"] {
        set(&store, "a", text).await;
    }
    assert_eq!(lines(&mut watch, 1).await, ["4+a 3 after 2"]);
}

#[tokio::test]
async fn what_a_watch_has_seen_moves_on_while_its_table_rests() {
    let store = open(Memory::default());
    let mut watch = store.watch("notes", 1).unwrap();
    store.write(put(Key::new("other", "x"), Expect::Any, "y")).await.unwrap();
    assert_eq!(watch.seen(), 2);
    set(&store, "a", "1").await;
    set(&store, "a", "2").await;
    assert_eq!(watch.seen(), 2, "an event is due, so it stays where it was");
    lines(&mut watch, 1).await;
    assert_eq!(watch.seen(), 3);
    lines(&mut watch, 1).await;
    store.write(put(Key::new("other", "x"), Expect::Any, "z")).await.unwrap();
    assert_eq!(watch.seen(), 5);
}

fn small(memory: &Memory) -> Store<Note> {
    Store::open(memory.clone(), Options { window_events: 3, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn older_than_the_window_is_compacted() {
    let store = small(&Memory::default());
    for text in ["1", "2", "3", "4", "5"] {
        set(&store, "a", text).await;
    }
    assert_eq!(store.compacted("notes"), 3);
    assert_eq!(store.watch("notes", 2).err(), Some(Compacted { asked: 2, compacted: 3 }));
    let mut watch = store.watch("notes", 3).unwrap();
    assert_eq!(lines(&mut watch, 3).await, ["4+a 3 after 2", "5+a 4 after 3", "6+a 5 after 4"]);
    assert!(store.watch("other", 1).is_ok(), "each table has a window of its own");
}

#[tokio::test]
async fn a_lagging_watch_is_told_and_ends_and_slows_nobody() {
    let store = small(&Memory::default());
    let mut watch = store.watch("notes", 1).unwrap();
    set(&store, "a", "1").await;
    lines(&mut watch, 1).await;
    for text in ["2", "3", "4", "5", "6"] {
        set(&store, "a", text).await;
    }
    assert_eq!(watch.seen(), 2);
    assert_eq!(watch.next().await.unwrap().err(), Some(Compacted { asked: 2, compacted: 4 }));
    assert!(watch.next().await.is_none());
    let (_, mut again) = store.snapshot_and_watch("notes");
    set(&store, "a", "7").await;
    assert_eq!(lines(&mut again, 1).await, ["8+a 7 after 6"]);
}

#[tokio::test]
async fn after_a_restart_only_the_present_can_be_watched() {
    let memory = Memory::default();
    let store = open(memory.clone());
    set(&store, "a", "1").await;
    set(&store, "a", "2").await;
    store.close().await.unwrap();
    let store = open(memory);
    for table in ["notes", "other"] {
        assert_eq!(store.watch(table, 2).err(), Some(Compacted { asked: 2, compacted: 3 }));
        assert!(store.watch(table, 3).is_ok());
    }
    let mut watch = store.watch("notes", 3).unwrap();
    set(&store, "a", "3").await;
    assert_eq!(lines(&mut watch, 1).await, ["4+a 3 after 2"]);
}
