//! Who is to be worked on next: each key once, later if asked, and again with growing pauses after a failure.
//!
//! A key is in at most one worker's hands at a time. Added meanwhile, it is handed out again once that worker is done:
//! a change that comes while one reconciles is never lost and never worked on twice at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skiff_base::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

struct State<K> {
    ready: VecDeque<K>,
    /// In `ready`, or to be put there when the worker that holds the key is done.
    waiting: HashSet<K>,
    held: HashSet<K>,
    /// When a key is due; a heap entry that disagrees is out of date.
    due: HashMap<K, Instant>,
    timers: BinaryHeap<Reverse<(Instant, K)>>,
    pauses: HashMap<K, Backoff>,
}

/// A queue of keys; clones share it.
pub struct Queue<K> {
    state: Arc<Mutex<State<K>>>,
    wake: Arc<Notify>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), wake: Arc::clone(&self.wake) }
    }
}

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            held: HashSet::new(),
            due: HashMap::new(),
            timers: BinaryHeap::new(),
            pauses: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), wake: Arc::new(Notify::new()) }
    }

    /// Asks for `key` to be worked on.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.wake.notify_one();
    }

    /// Asks for `key` to be worked on after `delay`, unless it is asked for sooner.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.state.lock();
        if state.due.get(&key).is_none_or(|due| at < *due) {
            state.due.insert(key.clone(), at);
            state.timers.push(Reverse((at, key)));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Asks for `key` again after a failure; the pause doubles until [`Queue::forget`]. Returns the pause.
    pub fn retry(&self, key: K) -> Duration {
        let pause = self
            .state
            .lock()
            .pauses
            .entry(key.clone())
            .or_insert_with(|| Backoff::new(FIRST_PAUSE, LONGEST_PAUSE))
            .next_delay();
        self.add_after(key, pause);
        pause
    }

    /// The key's work succeeded: the next failure starts with a short pause again.
    pub fn forget(&self, key: &K) {
        self.state.lock().pauses.remove(key);
    }

    /// The next key; the caller holds it until [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            // Made before looking, so that an `add` between looking and waiting is not missed.
            let woken = self.wake.notified();
            let due = {
                let mut state = self.state.lock();
                state.fire(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.held.insert(key.clone());
                    if !state.ready.is_empty() || !state.timers.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.timers.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                Some(at) => tokio::select! { () = woken => {} () = tokio::time::sleep_until(at) => {} },
                None => woken.await,
            }
        }
    }

    /// Gives a key back.
    pub fn done(&self, key: &K) {
        let mut state = self.state.lock();
        state.held.remove(key);
        if state.waiting.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// How many keys wait, those with a delay not counted.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// True if no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn add(&mut self, key: K) {
        if self.waiting.insert(key.clone()) && !self.held.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Moves keys whose time has come.
    fn fire(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, key))) = self.timers.pop() else { break };
            if self.due.get(&key) == Some(&at) {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
