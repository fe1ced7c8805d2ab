//! Who is next.
//!
//! A pod is *active* (to be tried as soon as its turn comes: one plugin of the table says who goes first), *backing off* (tried lately; to be tried at a set time), or *waiting* (fits nowhere; to be tried when
//! something happens that may help, or after five minutes in any case). Events that come while a pod is being tried are
//! remembered: it may have been refused on what is no longer so.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skiff_base::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Pauses;
use crate::event::{Event, Hope};
use crate::plugin::{Asking, Plugin, Rank};

/// A waiting pod is tried again after so long even if nothing seems to help.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many events are remembered for pods in hand.
const MEMORY: usize = 256;

type Uid = Arc<str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active(u64),
    /// Until then, whatever happens.
    Backing(Instant),
    /// At the latest until then.
    Waiting(Instant),
    /// Being tried; the number of the last event before.
    InHand(u64),
}

struct Entry {
    key: Arc<str>,
    priority: i32,
    likeness: u64,
    attempts: u32,
    /// When it came, in microseconds.
    since: i64,
    /// Its place among the active ones.
    rank: Rank,
    tried: Instant,
    /// What those who refused it hope for; any event will do if nobody in particular did (there was no node).
    hopes: Vec<Hope>,
    state: State,
}

struct Inner {
    entries: HashMap<Uid, Entry>,
    active: BTreeSet<(Rank, u64, Uid)>,
    timers: BTreeSet<(Instant, Uid)>,
    /// Those that wait for something to happen: only they need to be asked when it does.
    waiting: HashSet<Uid>,
    /// Those of them whom other pods that get their place may help.
    waiting_for_pods: HashSet<Uid>,
    /// Gives active pods their order and events their number.
    counter: u64,
    events: VecDeque<(u64, Event)>,
    /// The number of the last event that is remembered no more.
    forgotten: u64,
    pauses: Pauses,
    sort: Arc<dyn Plugin>,
    clock: Clock,
}

/// The pods that want a node; clones share them.
#[derive(Clone)]
pub(crate) struct Queue {
    inner: Arc<Mutex<Inner>>,
    wake: Arc<Notify>,
}

/// A pod, or a group of pods, whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) uid: Uid,
    pub(crate) key: Arc<str>,
}

impl Turn {
    /// Whether it is a group's: it has no uid of its own here, its key stands for it.
    pub(crate) fn is_group(&self) -> bool {
        self.uid == self.key
    }
}

/// How a try ended.
pub(crate) enum Failure {
    /// It was refused by those who have these hopes for it.
    Unfit(Vec<Hope>),
    /// Something else went wrong.
    Error,
}

impl Queue {
    /// An empty one, in which `sort` says who goes first.
    pub(crate) fn new(pauses: Pauses, sort: Arc<dyn Plugin>, clock: Clock) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            active: BTreeSet::new(),
            timers: BTreeSet::new(),
            waiting: HashSet::new(),
            waiting_for_pods: HashSet::new(),
            counter: 0,
            events: VecDeque::new(),
            forgotten: 0,
            pauses,
            sort,
            clock,
        };
        Self { inner: Arc::new(Mutex::new(inner)), wake: Arc::default() }
    }

    /// A pod that wants a node came or changed; `likeness` tells whether it changed in what matters.
    pub(crate) fn put(&self, uid: &Uid, key: &Arc<str>, priority: i32, likeness: u64) {
        let mut inner = self.inner.lock();
        match inner.entries.get_mut(uid) {
            None => {
                let entry = inner.entry(key, priority, likeness);
                inner.entries.insert(Arc::clone(uid), entry);
                inner.activate(uid);
            }
            Some(entry) if entry.likeness != likeness => {
                let state = entry.state;
                // Its place among the active ones goes by its priority.
                inner.leave(uid);
                if let Some(entry) = inner.entries.get_mut(uid) {
                    (entry.likeness, entry.priority) = (likeness, priority);
                }
                match state {
                    State::Active(_) => inner.activate(uid),
                    State::Waiting(_) => inner.give_a_chance(uid),
                    State::Backing(_) => inner.wait(uid, State::Backing),
                    State::InHand(_) => {}
                }
            }
            Some(_) => return,
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Something failed after the pod had left the queue: it is tried again after a pause, unless it is back already.
    pub(crate) fn again(&self, uid: &Uid, key: &Arc<str>, priority: i32, likeness: u64) {
        let mut inner = self.inner.lock();
        if inner.entries.contains_key(uid) {
            return;
        }
        let mut entry = inner.entry(key, priority, likeness);
        entry.attempts = 1;
        inner.entries.insert(Arc::clone(uid), entry);
        inner.wait(uid, State::Backing);
        drop(inner);
        self.wake.notify_one();
    }

    /// The pod is gone, placed, or no longer ours.
    pub(crate) fn remove(&self, uid: &str) {
        let mut inner = self.inner.lock();
        inner.leave(uid);
        inner.entries.remove(uid);
    }

    /// The next pod; the caller ends its turn with [`Queue::give_back`] or [`Queue::remove`].
    pub(crate) async fn next(&self) -> Turn {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut inner = self.inner.lock();
                inner.fire(Instant::now());
                if let Some(turn) = inner.pop() {
                    return turn;
                }
                inner.timers.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => tokio::select! { () = woken => {} () = tokio::time::sleep_until(at) => {} },
                None => woken.await,
            }
        }
    }

    /// A try came to nothing.
    pub(crate) fn give_back(&self, uid: &Uid, failure: Failure) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(uid) else { return };
        let State::InHand(since) = entry.state else { return };
        entry.attempts += 1;
        entry.tried = Instant::now();
        match failure {
            Failure::Error => inner.wait(uid, State::Backing),
            Failure::Unfit(hopes) => {
                // What is remembered no more may have helped as well.
                let helped = inner.forgotten > since
                    || inner.events.iter().any(|(n, event)| *n > since && helps(&hopes, event));
                if let Some(entry) = inner.entries.get_mut(uid) {
                    entry.hopes = hopes;
                }
                inner.wait(uid, if helped { State::Backing } else { State::Waiting });
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Something happened: whoever it may help gets another chance.
    pub(crate) fn happened(&self, event: Event) {
        let mut inner = self.inner.lock();
        inner.counter += 1;
        let number = inner.counter;
        let hopeful = |uid: &&Uid| inner.entries.get(*uid).is_some_and(|it| helps(&it.hopes, &event));
        let waiting =
            if matches!(event, Event::PodPlaced(_)) { &inner.waiting_for_pods } else { &inner.waiting };
        let helped: Vec<Uid> = waiting.iter().filter(hopeful).cloned().collect();
        inner.events.push_back((number, event));
        if inner.events.len() > MEMORY {
            inner.forgotten = inner.events.pop_front().map_or(0, |(number, _)| number);
        }
        for uid in &helped {
            inner.give_a_chance(uid);
        }
        drop(inner);
        if !helped.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Gives pods their turn, however lately they were tried (upstream's activate).
    pub(crate) fn activate(&self, uids: &[Uid]) {
        let mut inner = self.inner.lock();
        for uid in uids {
            let state = inner.entries.get(uid).map(|entry| entry.state);
            if matches!(state, Some(State::Backing(_) | State::Waiting(_))) {
                inner.activate(uid);
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// How many pods are active, backing off, waiting.
    #[cfg(test)]
    pub(crate) fn lengths(&self) -> (usize, usize, usize) {
        let inner = self.inner.lock();
        let of = |holds: fn(State) -> bool| inner.entries.values().filter(|entry| holds(entry.state)).count();
        (inner.active.len(), of(|s| matches!(s, State::Backing(_))), of(|s| matches!(s, State::Waiting(_))))
    }
}

fn helps(hopes: &[Hope], event: &Event) -> bool {
    hopes.is_empty() || hopes.iter().any(|hope| hope.helps(event))
}

impl Inner {
    /// Somebody who comes now.
    fn entry(&self, key: &Arc<str>, priority: i32, likeness: u64) -> Entry {
        Entry {
            key: Arc::clone(key),
            priority,
            likeness,
            attempts: 0,
            since: self.clock.now().as_microsecond(),
            rank: Rank::by_priority(priority),
            tried: Instant::now(),
            hopes: Vec::new(),
            state: State::Active(0),
        }
    }

    /// The pause after so many tries.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled =
            self.pauses.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(10)));
        doubled.min(self.pauses.longest)
    }

    fn activate(&mut self, uid: &Uid) {
        self.leave(uid);
        self.counter += 1;
        let number = self.counter;
        if let Some(entry) = self.entries.get_mut(uid) {
            let Entry { key, priority, since, .. } = &*entry;
            entry.rank = self.sort.rank(&Asking { uid, key, priority: *priority, since: *since });
            entry.state = State::Active(number);
            self.active.insert((entry.rank.clone(), number, Arc::clone(uid)));
        }
    }

    /// Makes a waiting pod active, or lets it back off first if it was tried a moment ago.
    fn give_a_chance(&mut self, uid: &Uid) {
        let Some(entry) = self.entries.get(uid) else { return };
        if entry.tried + self.pause(entry.attempts) > Instant::now() && entry.attempts > 0 {
            self.wait(uid, State::Backing);
        } else {
            self.activate(uid);
        }
    }

    fn wait(&mut self, uid: &Uid, state: fn(Instant) -> State) {
        self.leave(uid);
        let Some(entry) = self.entries.get(uid) else { return };
        let at = match state(Instant::now()) {
            State::Backing(_) => entry.tried + self.pause(entry.attempts),
            _ => Instant::now() + PATIENCE,
        };
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.state = state(at);
        if matches!(entry.state, State::Waiting(_)) {
            self.waiting.insert(Arc::clone(uid));
            if entry.hopes.is_empty() || entry.hopes.iter().any(|hope| hope.of_placed) {
                self.waiting_for_pods.insert(Arc::clone(uid));
            }
        }
        self.timers.insert((at, Arc::clone(uid)));
    }

    /// Takes the pod out of whatever it is in.
    fn leave(&mut self, uid: &str) {
        let Some((uid, entry)) = self.entries.get_key_value(uid) else { return };
        match entry.state {
            State::Active(number) => {
                self.active.remove(&(entry.rank.clone(), number, Arc::clone(uid)));
            }
            State::Backing(at) | State::Waiting(at) => {
                self.timers.remove(&(at, Arc::clone(uid)));
                self.waiting.remove(uid);
                self.waiting_for_pods.remove(uid);
            }
            State::InHand(_) => {}
        }
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, uid)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.activate(&uid);
        }
    }

    fn pop(&mut self) -> Option<Turn> {
        let (_, _, uid) = self.active.pop_first()?;
        let counter = self.counter;
        let entry = self.entries.get_mut(&uid)?;
        entry.state = State::InHand(counter);
        Some(Turn { key: Arc::clone(&entry.key), uid })
    }
}

#[cfg(test)]
mod tests;
