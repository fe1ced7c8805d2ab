//! Random histories against a model so simple that it is plainly right.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use skiff_store::{Expect, Key, Memory, Options, Store};

use crate::given::{Note, delete, put, word};

const TABLES: [&str; 2] = ["left", "right"];

#[derive(Clone, Debug)]
enum Step {
    Write { table: usize, name: u8, expect: u8, back: u64, deletes: bool },
    Watch { table: usize, back: u64 },
    Read { watch: usize, count: usize },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..2usize, 0..4u8, 0..4u8, 0..4u64, any::<bool>())
            .prop_map(|(table, name, expect, back, deletes)| Step::Write { table, name, expect, back, deletes }),
        4 => (0..2usize, 0..12u64).prop_map(|(table, back)| Step::Watch { table, back }),
        6 => (0..8usize, 0..6usize).prop_map(|(watch, count)| Step::Read { watch, count }),
        1 => proptest::strategy::Just(Step::Restart),
    ]
}

/// An event as the model keeps it: table, revision, name, text, deleted.
type Past = (usize, u64, String, String, bool);

#[derive(Default)]
struct Model {
    live: BTreeMap<(usize, String), (u64, String)>,
    past: Vec<Past>,
    revision: u64,
    floor: u64,
}

const KEPT: usize = 5;

impl Model {
    fn compacted(&self, table: usize) -> u64 {
        let mut revisions: Vec<_> = self.of(table).map(|past| past.1).collect();
        revisions.truncate(revisions.len().saturating_sub(KEPT));
        revisions.last().copied().unwrap_or(self.floor)
    }

    fn of(&self, table: usize) -> impl Iterator<Item = &Past> {
        self.past.iter().filter(move |past| past.0 == table && past.1 > self.floor)
    }

    fn write(&mut self, table: usize, name: &str, expect: Expect, deletes: bool) -> String {
        let place = (table, name.to_owned());
        let next = self.revision + 1;
        let text = match (self.live.get(&place), expect) {
            (Some((at, _)), Expect::Absent) => return format!("exists at {at}"),
            (None, Expect::Present | Expect::Revision(_)) => return "missing".into(),
            (Some((at, _)), Expect::Revision(wanted)) if *at != wanted => return format!("moved to {at}"),
            (None, _) if deletes => return "missing".into(),
            (Some((_, text)), _) if deletes => text.clone(),
            _ => format!("v{next}"),
        };
        match deletes {
            true => self.live.remove(&place),
            false => self.live.insert(place, (next, text.clone())),
        };
        self.revision = next;
        self.past.push((table, next, name.into(), text.clone(), deletes));
        format!("{text} at {next}")
    }
}

fn open(memory: &Memory) -> Store<Note> {
    Store::open(memory.clone(), Options { window_events: KEPT, ..Options::default() }).unwrap()
}

async fn run(steps: Vec<Step>) {
    let memory = Memory::default();
    let mut store = open(&memory);
    let mut model = Model { revision: 1, ..Model::default() };
    let mut watches = Vec::new();
    for step in steps {
        match step {
            Step::Write { table, name, expect, back, deletes } => {
                let expect = match expect {
                    0 => Expect::Any,
                    1 => Expect::Absent,
                    2 => Expect::Present,
                    _ => Expect::Revision(model.revision.saturating_sub(back)),
                };
                let name = name.to_string();
                let key = Key::new(TABLES[table], name.as_str());
                let text = format!("v{}", model.revision + 1);
                let write = if deletes { delete(key, expect) } else { put(key, expect, text) };
                let expected = model.write(table, &name, expect, deletes);
                assert_eq!(word(&store.write(write).await), expected);
            }
            Step::Watch { table, back } => {
                let after = model.revision.saturating_sub(back);
                let watch = store.watch(TABLES[table], after);
                assert_eq!(watch.is_ok(), after >= model.compacted(table));
                watches.extend(watch.ok().map(|watch| (watch, table, after)));
            }
            Step::Read { watch, count } => {
                if let Some((watch, table, after)) = watches.get_mut(watch) {
                    for _ in 0..count {
                        read(watch, *table, after, &model);
                    }
                }
            }
            Step::Restart => {
                store.close().await.unwrap();
                store = open(&memory);
                watches.clear();
                model.floor = if model.past.is_empty() { 0 } else { model.revision };
            }
        }
        agree(&store, &model);
    }
}

/// One look at a watch: the event the model has next, or compacted, or nothing.
fn read(watch: &mut skiff_store::Watch<Note>, table: usize, after: &mut u64, model: &Model) {
    let due = model.of(table).find(|past| past.1 > *after);
    match watch.next().now_or_never() {
        None => {
            assert!(due.is_none());
            assert_eq!(watch.seen(), model.revision);
        }
        Some(None) => assert_eq!(*after, u64::MAX, "only a compacted watch ends"),
        Some(Some(Err(compacted))) => {
            assert!(*after < model.compacted(table));
            assert_eq!(compacted.compacted, model.compacted(table));
            *after = u64::MAX;
        }
        Some(Some(Ok(event))) => {
            let (_, revision, name, text, deleted) = due.expect("an event the model has");
            let seen = (event.revision, &*event.key.name, event.object.text(), event.deleted);
            assert_eq!(seen, (*revision, name.as_str(), text.as_str(), *deleted));
            *after = event.revision;
        }
    }
}

fn agree(store: &Store<Note>, model: &Model) {
    assert_eq!(store.revision(), model.revision);
    for (number, table) in TABLES.into_iter().enumerate() {
        let snapshot = store.snapshot(table);
        assert_eq!((snapshot.revision, store.compacted(table)), (model.revision, model.compacted(number)));
        let found =
            snapshot.objects.iter().map(|(name, note)| (name.to_string(), note.revision, note.text()));
        let wanted = model.live.iter().filter(|((at, _), _)| *at == number);
        let wanted = wanted.map(|((_, name), (revision, text))| (name.clone(), *revision, text.as_str()));
        assert!(found.eq(wanted));
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
    #[test]
    fn the_store_behaves_as_the_model(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
