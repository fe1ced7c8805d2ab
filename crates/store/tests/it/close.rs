//! Ends: closing with writes waiting, an engine that fails, an engine that cannot be loaded.

use futures::{FutureExt, StreamExt, future::join_all};
use skiff_store::{Disk, Expect, Memory, OpenError, Options, Store};

use crate::given::{Note, gated, key, open, put, set, word};

#[tokio::test]
async fn closing_finishes_what_waits_and_refuses_the_rest() {
    let (engine, mut gate) = gated(Memory::default());
    let memory = engine.inner.clone();
    let store = open(engine);
    let mut watch = store.watch("notes", 1).unwrap();
    let names: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let mut writes = Box::pin(join_all(names.iter().map(|name| set(&store, name, "x"))));
    assert!((&mut writes).now_or_never().is_none());
    gate.begun.recv().await.unwrap();
    let mut close = Box::pin(store.close());
    assert!((&mut close).now_or_never().is_none());
    // One to ten commits, as the writer and this thread raced; nobody may be left to hear the last of these.
    for _ in 0..10 {
        let _ = gate.go.send(true);
    }
    assert_eq!(writes.await.len(), 10, "all of them, though the closing began before");
    close.await.unwrap();
    assert_eq!(word(&store.write(put(key("late"), Expect::Any, "x")).await), "closed");
    assert_eq!(store.snapshot("notes").objects.len(), 10, "reads go on");
    store.wait_for(1000).await;
    let seen = (&mut watch).filter(|event| std::future::ready(event.is_ok())).count().await;
    assert_eq!(seen, 10, "a watch ends after its last event");
    assert_eq!(open(memory).revision(), 11);
}

#[tokio::test]
async fn a_closed_file_can_be_opened_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let store = open(Disk::open(directory.path().join("store")).unwrap());
        assert_eq!(store.revision(), 1 + round);
        set(&store, "a", "x").await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn after_an_engine_error_nothing_is_accepted_or_shown() {
    let (engine, gate) = gated(Memory::default());
    let store = open(engine);
    gate.go.send(true).unwrap();
    set(&store, "a", "1").await;
    gate.go.send(false).unwrap();
    let failed = store.write(put(key("a"), Expect::Any, "2")).await;
    assert_eq!(word(&failed), "engine: cannot commit: the disk is gone");
    let later = store.write(put(key("b"), Expect::Any, "1")).await;
    assert_eq!(word(&later), "engine: cannot commit: the disk is gone");
    assert_eq!(store.get(&key("a")).unwrap().text(), "1");
    assert_eq!(store.ended().await.unwrap_err().to_string(), "cannot commit: the disk is gone");
    assert!(store.close().await.is_err());
}

#[tokio::test]
async fn a_value_that_does_not_load_is_named() {
    let memory = Memory::default();
    let store = open(memory.clone());
    set(&store, "a", "unreadable").await;
    store.close().await.unwrap();
    let error = Store::<Note>::open(memory, Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Value { revision: 2, .. }));
    assert_eq!(error.to_string(), "cannot load notes/a, revision 2: not a note");
}

#[tokio::test]
async fn waiting_for_a_revision_ends_when_readers_see_it() {
    let store = open(Memory::default());
    let mut waiting = Box::pin(store.wait_for(3));
    assert!((&mut waiting).now_or_never().is_none());
    set(&store, "a", "1").await;
    assert!((&mut waiting).now_or_never().is_none());
    set(&store, "a", "2").await;
    waiting.await;
    assert_eq!(store.revision(), 3);
}
