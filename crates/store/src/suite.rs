//! The tests every engine passes: what the store relies on beyond the signatures of [`Engine`].
//!
//! An engine's own tests call [`check`] with a way to make a fresh place; a place can be opened again and again,
//! one engine at a time, as a restarted process would. A new engine adds nothing here, only passes.

use std::{collections::BTreeMap, error::Error};

use bytes::Bytes;

use crate::{Engine, Entry, Expect, Key, Options, Record, Store, Value, Write};

/// A place that an engine keeps its data in.
pub(crate) trait Rig {
    fn open(&self) -> Box<dyn Engine>;
}

/// The simplest value: bytes.
pub(crate) struct Plain(pub(crate) Bytes);

impl Value for Plain {
    fn bytes(&self) -> &Bytes {
        &self.0
    }

    fn load(_: &Key, _: u64, bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(bytes))
    }
}

/// Runs all of them, each in a place of its own.
pub(crate) async fn check<R: Rig>(place: impl Fn() -> R) {
    a_new_place_is_empty(&place());
    entries_come_back_exactly(&place());
    replaced_and_deleted_entries_stay_away(&place());
    a_key_changed_often_in_one_batch_has_its_last_value(&place());
    a_deletion_keeps_its_number(&place());
    settling_loses_nothing(&place());
    a_store_goes_on_where_it_ended(&place()).await;
}

fn put(revision: u64, name: &str, replaces: Option<u64>, bytes: impl Into<Bytes>) -> Record {
    Record { revision, key: Key::new("things", name), replaces, bytes: Some(bytes.into()) }
}

fn gone(revision: u64, name: &str, replaces: u64) -> Record {
    Record { revision, key: Key::new("things", name), replaces: Some(replaces), bytes: None }
}

fn found(rig: &impl Rig) -> (u64, BTreeMap<Key, (u64, Bytes)>) {
    let loaded = rig.open().load().expect("it loads");
    let count = loaded.entries.len();
    let entry = |Entry { key, revision, bytes }: Entry| (key, (revision, bytes));
    let entries: BTreeMap<_, _> = loaded.entries.into_iter().map(entry).collect();
    assert_eq!(entries.len(), count, "each key once");
    (loaded.revision, entries)
}

fn commit(rig: &impl Rig, batches: &[&[Record]]) {
    let mut engine = rig.open();
    engine.load().expect("it loads");
    for batch in batches {
        engine.commit(batch).expect("it commits");
    }
}

fn a_new_place_is_empty(rig: &impl Rig) {
    assert_eq!(found(rig), (0, BTreeMap::new()));
    assert_eq!(found(rig), (0, BTreeMap::new()), "also the second time");
}

fn entries_come_back_exactly(rig: &impl Rig) {
    let large = Bytes::from(vec![7; 3 << 20]);
    let every = Bytes::from((0..=255).collect::<Vec<u8>>());
    let odd = Record {
        revision: 5,
        key: Key::new("a/b.c", "ns/ünïcode \u{0}"),
        replaces: None,
        bytes: Some(every.clone()),
    };
    commit(
        rig,
        &[&[put(2, "large", None, large.clone()), put(3, "empty", None, "")], &[put(4, "", None, "x"), odd]],
    );
    let (revision, entries) = found(rig);
    assert_eq!(revision, 5);
    let expected = [
        (Key::new("a/b.c", "ns/ünïcode \u{0}"), (5, every)),
        (Key::new("things", ""), (4, Bytes::from("x"))),
        (Key::new("things", "empty"), (3, Bytes::new())),
        (Key::new("things", "large"), (2, large)),
    ];
    assert!(entries.into_iter().eq(expected), "every byte of every entry");
}

fn replaced_and_deleted_entries_stay_away(rig: &impl Rig) {
    commit(rig, &[&[put(2, "a", None, "1"), put(3, "b", None, "1")], &[put(4, "a", Some(2), "2")]]);
    commit(rig, &[&[gone(5, "b", 3)], &[put(6, "c", None, "1")]]);
    let (revision, entries) = found(rig);
    assert_eq!(revision, 6);
    let names: Vec<_> = entries.iter().map(|(key, value)| (&*key.name, value.0, &*value.1)).collect();
    assert_eq!(names, [("a", 4, b"2".as_slice()), ("c", 6, b"1".as_slice())]);
}

fn a_key_changed_often_in_one_batch_has_its_last_value(rig: &impl Rig) {
    commit(
        rig,
        &[&[
            put(2, "a", None, "1"),
            put(3, "a", Some(2), "2"),
            gone(4, "a", 3),
            put(5, "a", None, "3"),
            put(6, "b", None, "1"),
            gone(7, "b", 6),
        ]],
    );
    let (revision, entries) = found(rig);
    assert_eq!(revision, 7);
    assert!(entries.into_iter().eq([(Key::new("things", "a"), (5, Bytes::from("3")))]));
}

fn a_deletion_keeps_its_number(rig: &impl Rig) {
    commit(rig, &[&[put(2, "a", None, "1")], &[gone(3, "a", 2)]]);
    assert_eq!(found(rig), (3, BTreeMap::new()));
    commit(rig, &[&[put(4, "a", None, "2")], &[gone(5, "a", 4)], &[put(6, "a", None, "3")]]);
    commit(rig, &[&[gone(7, "a", 6)]]);
    assert_eq!(found(rig), (7, BTreeMap::new()));
}

fn settling_loses_nothing(rig: &impl Rig) {
    let mut engine = rig.open();
    engine.load().expect("it loads");
    engine.settle().expect("with nothing to settle");
    engine.commit(&[put(2, "a", None, "1")]).expect("it commits");
    engine.settle().expect("it settles");
    engine.settle().expect("it settles again");
    engine.commit(&[put(3, "b", None, "1")]).expect("it still commits");
    drop(engine);
    let (revision, entries) = found(rig);
    assert_eq!((revision, entries.len()), (3, 2));
}

async fn a_store_goes_on_where_it_ended(rig: &impl Rig) {
    let key = Key::new("things", "a");
    let value = |text: &'static str| move |_: u64| Plain(Bytes::from_static(text.as_bytes()));
    let store = Store::<Plain>::open(rig.open(), Options::default()).expect("it opens");
    assert_eq!(store.revision(), 1);
    store.write(Write::put(key.clone(), Expect::Absent, value("1"))).await.expect("created");
    store.write(Write::put(key.clone(), Expect::Revision(2), value("2"))).await.expect("changed");
    let last = |_: u64, old: &Plain| Plain(old.0.clone());
    store.write(Write::delete(key.clone(), Expect::Present, last)).await.expect("deleted");
    assert_eq!(store.revision(), 4);
    store.close().await.expect("it closes");

    let store = Store::<Plain>::open(rig.open(), Options::default()).expect("it opens again");
    assert_eq!((store.revision(), store.compacted("things")), (4, 4));
    assert!(store.get(&key).is_none());
    store.write(Write::put(key.clone(), Expect::Absent, value("3"))).await.expect("created again");
    assert_eq!(store.revision(), 5, "the deletion's number is not reused");
    store.close().await.expect("it closes again");
}
