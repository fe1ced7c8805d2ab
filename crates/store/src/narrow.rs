//! Watches that are for few values of a table: those of which one field says one thing.
//!
//! A thousand nodes each watch the pods that are theirs. Were each of them woken by every pod, a write would cost what a
//! thousand looks cost; so the writer looks up whom an event concerns and puts it into their inboxes just before it
//! becomes visible. An inbox holds little: whoever lets it run over is told [`Compacted`](crate::Compacted), as one whose
//! place in the window is gone.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Event;

/// How many events may wait for one watch.
const MOST: usize = 1024;

/// Reads the field from a value. The writer's thread calls it: it must be quick, and not panic.
pub type Read<V> = Arc<dyn Fn(&V) -> &str + Send + Sync>;

/// What a watch is narrowed to.
pub struct Narrow<V> {
    /// The field's name. In a table, two watches that name a field alike must read it alike.
    pub field: Arc<str>,
    /// How it is read.
    pub read: Read<V>,
    /// What it must say, before a change or after it.
    pub wanted: Arc<str>,
}

impl<V> Narrow<V> {
    /// Whether a change is one of a wanted value, or makes a value wanted.
    pub(crate) fn concerns(&self, event: &Event<V>) -> bool {
        let mut states = std::iter::once(&event.object).chain(&event.previous);
        states.any(|value| (self.read)(value) == &*self.wanted)
    }
}

/// Events on their way to one watch.
pub(crate) struct Inbox<V> {
    queue: Mutex<Queue<V>>,
    pub(crate) signal: Arc<Notify>,
}

struct Queue<V> {
    events: VecDeque<Arc<Event<V>>>,
    /// The last event that found no room.
    lost: Option<u64>,
}

/// What is next in an inbox.
pub(crate) enum Next<V> {
    Event(Arc<Event<V>>),
    /// Events up to this revision are lost.
    Lost(u64),
    Nothing,
}

impl<V> Inbox<V> {
    pub(crate) fn new() -> Self {
        let queue = Queue { events: VecDeque::new(), lost: None };
        Self { queue: Mutex::new(queue), signal: Arc::default() }
    }

    fn put(&self, event: &Arc<Event<V>>) {
        let mut queue = self.queue.lock();
        if queue.events.len() >= MOST {
            queue.events.clear();
            queue.lost = Some(event.revision);
        } else if queue.lost.is_none() {
            queue.events.push_back(Arc::clone(event));
        }
    }

    /// Takes the next event that is visible at `revision`.
    pub(crate) fn take(&self, revision: u64) -> Next<V> {
        let mut queue = self.queue.lock();
        match queue.lost {
            Some(lost) if lost <= revision => Next::Lost(lost),
            _ => queue
                .events
                .pop_front_if(|event| event.revision <= revision)
                .map_or(Next::Nothing, Next::Event),
        }
    }

    /// True if nothing that is visible at `revision` waits.
    pub(crate) fn is_empty_at(&self, revision: u64) -> bool {
        let queue = self.queue.lock();
        queue.lost.is_none() && queue.events.front().is_none_or(|event| event.revision > revision)
    }
}

/// The inboxes of a table, by the field they are for and what it must say.
pub(crate) struct Inboxes<V>(HashMap<Arc<str>, Field<V>>);

struct Field<V> {
    read: Read<V>,
    inboxes: HashMap<Arc<str>, Vec<Arc<Inbox<V>>>>,
}

impl<V> Default for Inboxes<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V> Inboxes<V> {
    pub(crate) fn add(&mut self, narrow: &Narrow<V>, inbox: &Arc<Inbox<V>>) {
        let new = || Field { read: Arc::clone(&narrow.read), inboxes: HashMap::new() };
        let field = self.0.entry(Arc::clone(&narrow.field)).or_insert_with(new);
        field.inboxes.entry(Arc::clone(&narrow.wanted)).or_default().push(Arc::clone(inbox));
    }

    pub(crate) fn remove(&mut self, narrow: &Narrow<V>, inbox: &Arc<Inbox<V>>) {
        let Some(field) = self.0.get_mut(&narrow.field) else { return };
        if let Some(inboxes) = field.inboxes.get_mut(&narrow.wanted) {
            inboxes.retain(|other| !Arc::ptr_eq(other, inbox));
            if inboxes.is_empty() {
                field.inboxes.remove(&narrow.wanted);
            }
        }
        if field.inboxes.is_empty() {
            self.0.remove(&narrow.field);
        }
    }

    /// Puts an event into the inboxes of those it concerns; adds the signals that are to be given once it is visible.
    pub(crate) fn deliver(&self, event: &Arc<Event<V>>, signals: &mut Vec<Arc<Notify>>) {
        for field in self.0.values() {
            let now = (field.read)(&event.object);
            let before =
                event.previous.as_ref().map(|value| (field.read)(value)).filter(|before| *before != now);
            for says in std::iter::once(now).chain(before) {
                for inbox in field.inboxes.get(says).into_iter().flatten() {
                    inbox.put(event);
                    signals.push(Arc::clone(&inbox.signal));
                }
            }
        }
    }

    pub(crate) fn signals(&self) -> impl Iterator<Item = Arc<Notify>> {
        self.0
            .values()
            .flat_map(|field| field.inboxes.values().flatten())
            .map(|inbox| Arc::clone(&inbox.signal))
    }
}
