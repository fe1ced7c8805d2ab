//! A world to simulate controllers in: an API server of a few hundred lines that loses, delays and doubles what it can.
//!
//! It keeps objects in memory and knows what every controller relies on: revisions and conflicts, uids, finalizers,
//! graceful deletion, the status apart from the rest. Nothing is validated and nobody is refused. What happens when is
//! drawn from a seed, and time is tokio's (paused, so that hours pass at once): a run of a controller is one thread
//! and, as far as its tasks allow, the same each time.
//!
//! Faults: requests are slow, meet conflicts, fail before or after they took effect; each watch is late, tells things
//! twice, and is lost now and then, which makes it begin with the whole truth again.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_api::{Object, Readable, Resource};
use skiff_base::Clock;
use skiff_client::Link;
use tokio::sync::watch;
use tokio::time::Instant;

mod asides;
mod dice;
mod feeds;
mod service;
mod verbs;

pub use dice::Dice;

/// When the world began.
const BEGIN: i64 = 1_800_000_000;

/// An object in the form of its kind.
type Typed = Arc<dyn Any + Send + Sync>;

/// `plural.group`, as objects are filed.
type Table = String;

/// The objects of a table by their keys.
type Objects = BTreeMap<Arc<str>, Arc<Object>>;

/// One change: the table, and the object as it is or, gone, was.
#[derive(Clone)]
struct Change {
    table: Table,
    object: Arc<Object>,
    gone: bool,
}

struct State {
    revision: u64,
    made: u64,
    tables: BTreeMap<Table, Objects>,
    log: Vec<Change>,
    /// Typed forms of what is there, kept so that all who look decode once: by uid, for one revision.
    typed: Mutex<HashMap<Arc<str>, (u64, Typed)>>,
    dice: Dice,
    begun: Instant,
    /// Calm: nothing fails any more.
    calm: bool,
    /// What must hold after every change; the first complaint is kept.
    always: Option<Check>,
    complaint: Option<String>,
}

/// A look at the world that says what is wrong with it.
pub type Check = Box<dyn Fn(&Truth<'_>) -> Result<(), String> + Send>;

/// The world as it is at this moment.
pub struct Truth<'a>(&'a State);

/// A simulated cluster; clones are the same.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    /// How long the log is.
    told: Arc<watch::Sender<usize>>,
}

fn table(group: &str, plural: &str) -> Table {
    format!("{plural}.{group}")
}

fn of<K: Readable>() -> Table {
    let resource = Resource::of::<K>();
    table(&resource.group, &resource.plural)
}

impl World {
    /// An empty world whose accidents follow from the seed; to be made inside a runtime whose time is paused.
    pub fn new(seed: u64) -> Self {
        let state = State {
            revision: 1,
            made: 0,
            tables: BTreeMap::new(),
            log: Vec::new(),
            typed: Mutex::default(),
            dice: Dice::new(seed),
            begun: Instant::now(),
            calm: false,
            always: None,
            complaint: None,
        };
        Self { state: Arc::new(Mutex::new(state)), told: Arc::new(watch::Sender::new(0)) }
    }

    /// A link into the world, for a component.
    pub fn link(&self) -> Link {
        Link::local(service::client(self.clone()), Arc::new(self.clone()))
    }

    /// The world's time of day.
    pub fn clock(&self) -> Clock {
        let begun = self.state.lock().begun;
        Clock::from_fn(move || now(begun))
    }

    /// A throw of the world's dice.
    pub fn dice(&self) -> Dice {
        Dice::new(self.state.lock().dice.number())
    }

    /// From now on nothing fails; what is late stays so.
    pub fn calm(&self) {
        self.state.lock().calm = true;
    }

    /// Has this hold after every change.
    pub fn always(&self, check: Check) {
        self.state.lock().always = Some(check);
    }

    /// What did not hold, if anything.
    pub fn complaint(&self) -> Option<String> {
        self.state.lock().complaint.clone()
    }

    /// The number of the latest change.
    pub fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    /// Looks at the world.
    pub fn look<T>(&self, look: impl FnOnce(&Truth<'_>) -> T) -> T {
        look(&Truth(&self.state.lock()))
    }

    /// Creates an object as it is given, status included.
    ///
    /// # Panics
    /// If there is one of this name.
    pub fn put<K: Readable>(&self, object: &K) {
        let value = skiff_api::decode::tree(object).expect("objects can be encoded");
        let resource = Resource::of::<K>();
        let made = self.change(|state| state.create(&resource.group, &resource.plural, value, true));
        assert!(made.is_ok(), "there is such an object");
    }

    /// Creates an object of a kind that no Rust type stands for.
    ///
    /// # Panics
    /// If there is one of this name.
    pub fn put_custom(&self, resource: &Resource, value: Value) {
        let made = self.change(|state| state.create(&resource.group, &resource.plural, value, true));
        assert!(made.is_ok(), "there is such an object");
    }

    /// Changes an object, status included, if it is there.
    pub fn edit<K: Readable>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = skiff_api::meta::key((!namespace.is_empty()).then_some(namespace), name);
        self.change(|state| {
            let Some(mut value) = state.value(&of::<K>(), &key) else { return };
            change(&mut value);
            state.write(&of::<K>(), value);
        });
    }

    /// Deletes an object as a user would.
    pub fn delete<K: Readable>(&self, namespace: &str, name: &str) {
        let key = skiff_api::meta::key((!namespace.is_empty()).then_some(namespace), name);
        let _gone_already = self.change(|state| state.delete(&of::<K>(), &key, &json!({})));
    }

    /// A pod is at its end: it goes, unless finalizers hold it.
    pub fn end_pod(&self, namespace: &str, name: &str) {
        let key = skiff_api::meta::key(Some(namespace), name);
        let now_at_once = json!({ "gracePeriodSeconds": 0 });
        let _gone_already = self.change(|state| state.delete("pods.", &key, &now_at_once));
    }

    /// Objects whose owners are all gone go as well.
    pub fn collect(&self) {
        self.change(State::collect);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.log.len();
        let result = change(&mut state);
        let after = state.log.len();
        if before != after {
            state.check();
        }
        drop(state);
        self.told.send_if_modified(|told| std::mem::replace(told, after) != after);
        result
    }
}

fn now(begun: Instant) -> Timestamp {
    let passed = SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
    Timestamp::from_second(BEGIN).unwrap_or_default() + passed
}

impl Truth<'_> {
    /// All objects of a kind.
    pub fn all<K: Readable>(&self) -> Vec<Arc<K>> {
        let table = self.0.tables.get(&of::<K>());
        table.into_iter().flat_map(BTreeMap::values).filter_map(|object| self.typed(object)).collect()
    }

    /// One object.
    pub fn get<K: Readable>(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = skiff_api::meta::key((!namespace.is_empty()).then_some(namespace), name);
        self.typed(self.0.tables.get(&of::<K>())?.get(&key)?)
    }

    fn typed<K: Readable>(&self, object: &Object) -> Option<Arc<K>> {
        let meta = object.meta();
        let mut typed = self.0.typed.lock();
        let held = typed.get(&meta.uid).filter(|(revision, _)| *revision == meta.revision);
        if let Some(held) = held.and_then(|(_, any)| Arc::clone(any).downcast::<K>().ok()) {
            return Some(held);
        }
        let made = object.decode::<K>().ok()?;
        typed.insert(Arc::clone(&meta.uid), (meta.revision, Arc::clone(&made) as Typed));
        Some(made)
    }

    /// The world's time of day.
    pub fn now(&self) -> Timestamp {
        now(self.0.begun)
    }

    /// Everything, as text: for who has to find out what went wrong.
    pub fn story(&self) -> String {
        let shown = |change: &Change| {
            let text = String::from_utf8_lossy(change.object.bytes()).into_owned();
            format!("{} {}{text}", change.table, if change.gone { "GONE " } else { "" })
        };
        let shown: Vec<String> = self.0.log.iter().filter(|it| it.table != "events.").map(shown).collect();
        shown.join("\n")
    }
}
