//! Preconditions, inside one batch and before it, and what callers are told.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use skiff_store::{Expect, Memory, Write};

use crate::given::{Note, Notes, delete, gated, key, open, put, set, word};

#[tokio::test]
async fn preconditions_hold_or_refuse() {
    let store = open(Memory::default());
    let cases = [
        (put(key("a"), Expect::Present, "1"), "missing"),
        (put(key("a"), Expect::Revision(1), "1"), "missing"),
        (delete(key("a"), Expect::Any), "missing"),
        (delete(key("a"), Expect::Absent), "missing"),
        (put(key("a"), Expect::Absent, "1"), "1 at 2"),
        (put(key("a"), Expect::Absent, "2"), "exists at 2"),
        (delete(key("a"), Expect::Absent), "exists at 2"),
        (put(key("a"), Expect::Present, "2"), "2 at 3"),
        (put(key("a"), Expect::Revision(2), "3"), "moved to 3"),
        (delete(key("a"), Expect::Revision(2)), "moved to 3"),
        (put(key("a"), Expect::Revision(3), "3"), "3 at 4"),
        (put(key("a"), Expect::Any, "4"), "4 at 5"),
        (delete(key("a"), Expect::Revision(5)), "4 at 6"),
        (put(key("a"), Expect::Present, "5"), "missing"),
        (put(key("a"), Expect::Any, "5"), "5 at 7"),
    ];
    for (n, (write, expected)) in cases.into_iter().enumerate() {
        assert_eq!(word(&store.write(write).await), expected, "case {n}");
    }
}

/// Queues writes in order, without waiting for their ends.
fn start(store: &Notes, writes: Vec<Write<Note>>) -> FuturesOrdered<BoxFuture<'_, String>> {
    let queued = writes.into_iter().map(|write| async move { word(&store.write(write).await) }.boxed());
    let mut queued: FuturesOrdered<_> = queued.collect();
    // One poll of each, in their order.
    assert!(queued.next().now_or_never().is_none());
    queued
}

#[tokio::test]
async fn preconditions_see_earlier_writes_of_the_same_batch() {
    let (engine, mut gate) = gated(Memory::default());
    let store = open(engine);
    gate.go.send(true).unwrap();
    set(&store, "a", "0").await;
    gate.begun.recv().await.unwrap();
    let mut first = start(&store, vec![put(key("gate"), Expect::Any, "g")]);
    gate.begun.recv().await.unwrap();
    // Each of these holds for what is published, so none is refused before it reaches the writer.
    let mut second = start(
        &store,
        vec![
            put(key("a"), Expect::Revision(2), "1"),
            put(key("a"), Expect::Revision(2), "2"),
            delete(key("a"), Expect::Present),
            put(key("a"), Expect::Present, "3"),
            delete(key("a"), Expect::Any),
            put(key("a"), Expect::Any, "4"),
            delete(key("a"), Expect::Revision(2)),
            put(key("b"), Expect::Absent, "5"),
            put(key("b"), Expect::Absent, "6"),
        ],
    );
    gate.go.send(true).unwrap();
    assert_eq!(first.next().await.unwrap(), "g at 3");
    assert_eq!(gate.begun.recv().await, Some(4), "one commit for the four that hold");
    assert_eq!(store.get(&key("a")).unwrap().text(), "0", "nothing is seen before it is durable");
    assert!(second.next().now_or_never().is_none(), "nor a refusal that rests on it told");
    gate.go.send(true).unwrap();
    let words: Vec<_> = second.collect().await;
    let expected = [
        "1 at 4",
        "moved to 4",
        "1 at 5",
        "missing",
        "missing",
        "4 at 6",
        "moved to 6",
        "5 at 7",
        "exists at 7",
    ];
    assert_eq!(words, expected);
    assert_eq!(store.get(&key("a")).unwrap().text(), "4");
}

#[tokio::test]
async fn a_refused_write_does_not_wait_for_the_disk() {
    let (engine, mut gate) = gated(Memory::default());
    let store = open(engine);
    gate.go.send(true).unwrap();
    set(&store, "a", "1").await;
    gate.begun.recv().await.unwrap();
    let mut on_its_way = Box::pin(set(&store, "b", "1"));
    assert!((&mut on_its_way).now_or_never().is_none());
    gate.begun.recv().await.unwrap();
    // The commit of b stands still; these are answered all the same.
    assert_eq!(word(&store.write(put(key("a"), Expect::Absent, "2")).await), "exists at 2");
    assert_eq!(word(&store.write(put(key("a"), Expect::Revision(9), "2")).await), "moved to 2");
    assert_eq!(word(&store.write(delete(key("c"), Expect::Any)).await), "missing");
    gate.go.send(true).unwrap();
    assert_eq!(on_its_way.await.revision, 3);
}

#[tokio::test]
async fn a_write_given_up_before_it_is_taken_up_is_not_made() {
    let (engine, mut gate) = gated(Memory::default());
    let store = open(engine);
    let mut first = Box::pin(set(&store, "a", "1"));
    assert!((&mut first).now_or_never().is_none());
    gate.begun.recv().await.unwrap();
    assert!(set(&store, "b", "1").now_or_never().is_none(), "queued, then dropped");
    gate.go.send(true).unwrap();
    gate.go.send(true).unwrap();
    first.await;
    assert_eq!(set(&store, "c", "1").await.revision, 3);
    assert!(store.get(&key("b")).is_none());
}

#[tokio::test]
async fn a_closure_that_panics_hurts_only_its_caller() {
    let store = open(Memory::default());
    let write = Write::put(key("a"), Expect::Any, |_| panic!("the caller's own"));
    let caught = std::panic::AssertUnwindSafe(store.write(write)).catch_unwind().await;
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the caller's own"));
    assert_eq!(set(&store, "a", "1").await.revision, 2, "its number was not spent");
    assert!(Arc::strong_count(&store.get(&key("a")).unwrap()) > 1);
}
