//! One priority level: its seats, and the queues of those who wait for one.
//!
//! A flow has a hand of a few queues, chosen by its hash, and waits in the emptiest (shuffle sharding): two flows seldom
//! share all their queues. A freed seat goes to the queue that has had least so far, counted in seats (fair queueing).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::lend::{Asked, Demand};
use tokio::sync::oneshot;

/// How a level limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Queuing {
    /// Not at all.
    Exempt,
    /// What finds no seat is refused.
    Reject,
    /// What finds no seat waits.
    Queue {
        /// How many queues there are.
        queues: usize,
        /// How many of them a flow may use.
        hand: usize,
        /// How many may wait in one.
        length: usize,
    },
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A priority level.
pub(crate) struct Level {
    queuing: Queuing,
    inner: Mutex<Inner>,
}

struct Inner {
    limit: u32,
    taken: u32,
    queues: Vec<Queue>,
    /// What the queue that was served last has had: one that was empty starts from here, not from its past.
    now: u64,
    /// The seats that are waited for.
    wanted: u32,
    demand: Demand,
}

#[derive(Default)]
struct Queue {
    /// The seats it has had.
    had: u64,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    width: u32,
    turn: oneshot::Sender<Seat>,
}

/// The right to be carried out; the next in turn gets it when it is dropped.
pub(crate) struct Seat {
    level: Arc<Level>,
    width: u32,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat({})", self.width)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        Level::leave(&self.level, self.width);
    }
}

impl Level {
    /// An empty level with this many seats.
    pub(crate) fn new(limit: u32, queuing: &Queuing) -> Arc<Self> {
        let count = if let Queuing::Queue { queues, .. } = queuing { (*queues).max(1) } else { 0 };
        let queues = (0..count).map(|_| Queue::default()).collect();
        let inner = Inner { limit: limit.max(1), taken: 0, queues, now: 0, wanted: 0, demand: Demand::new() };
        Arc::new(Self { queuing: queuing.clone(), inner: Mutex::new(inner) })
    }

    /// Whether it limits like that.
    pub(crate) fn has(&self, queuing: &Queuing) -> bool {
        self.queuing == *queuing
    }

    /// Changes the number of seats; who is in stays.
    pub(crate) fn resize(&self, limit: u32) {
        self.inner.lock().limit = limit.max(1);
    }

    /// Changes the number of seats, and lets in who has room now.
    pub(crate) fn grow(level: &Arc<Self>, limit: u32) {
        level.resize(limit);
        Self::admit(level, 0);
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Asked {
        let mut inner = self.inner.lock();
        for at in 0..inner.queues.len() {
            inner.forget_gone(at);
        }
        inner.note();
        inner.demand.take()
    }

    /// Waits for `width` seats, in a queue of the flow with this hash; an exempt level only counts them.
    ///
    /// # Errors
    /// If the queue is full.
    pub(crate) async fn enter(level: &Arc<Self>, flow: u64, width: u32) -> Result<Option<Seat>, Refused> {
        let (hand, length) = match level.queuing {
            Queuing::Exempt => {
                let mut inner = level.inner.lock();
                inner.taken += width;
                inner.note();
                return Ok(Some(Seat { level: Arc::clone(level), width }));
            }
            Queuing::Reject => (0, 0),
            Queuing::Queue { hand, length, .. } => (hand, length),
        };
        let turn = {
            let mut inner = level.inner.lock();
            let width = width.clamp(1, inner.limit);
            let nobody_waits = inner.queues.iter().all(|queue| queue.waiting.is_empty());
            let at = inner.emptiest(flow, hand);
            if nobody_waits && inner.taken + width <= inner.limit {
                // Nobody is kept waiting by it, so it is not held against its flow.
                inner.taken += width;
                inner.note();
                return Ok(Some(Seat { level: Arc::clone(level), width }));
            }
            let Some(at) = at else { return Err(Refused) };
            inner.forget_gone(at);
            let queue = &mut inner.queues[at];
            if queue.waiting.len() >= length {
                return Err(Refused);
            }
            let (sender, turn) = oneshot::channel();
            queue.waiting.push_back(Waiter { width, turn: sender });
            inner.wanted += width;
            inner.note();
            turn
        };
        // The sender is dropped with the level alone, which this call keeps.
        turn.await.map(Some).map_err(|_| Refused)
    }

    fn leave(level: &Arc<Self>, width: u32) {
        Self::admit(level, width);
    }

    /// Takes back seats and gives them to those whose turn it is.
    fn admit(level: &Arc<Self>, width: u32) {
        // Seats are handed over outside the lock: one that nobody takes is dropped, and comes back here.
        let mut turns = Vec::new();
        {
            let mut inner = level.inner.lock();
            inner.taken -= width;
            while let Some(waiter) = inner.next() {
                turns.push((waiter.turn, Seat { level: Arc::clone(level), width: waiter.width }));
            }
            inner.note();
        }
        for (turn, seat) in turns {
            let _nobody_waits_any_more = turn.send(seat);
        }
    }
}

impl Inner {
    /// The emptiest of the flow's queues.
    fn emptiest(&self, flow: u64, hand: usize) -> Option<usize> {
        dealt(flow, self.queues.len(), hand).into_iter().min_by_key(|at| self.queues[*at].waiting.len())
    }

    /// Forgets those who do not wait any more in a queue.
    fn forget_gone(&mut self, at: usize) {
        let wanted = &mut self.wanted;
        self.queues[at].waiting.retain(|waiter| {
            let gone = waiter.turn.is_closed();
            *wanted -= if gone { waiter.width } else { 0 };
            !gone
        });
    }

    /// Notes what is asked for now.
    fn note(&mut self) {
        self.demand.set(self.taken + self.wanted);
    }

    /// Counts what a queue gets.
    fn charge(&mut self, at: usize, width: u32) {
        let queue = &mut self.queues[at];
        queue.had = queue.had.max(self.now) + u64::from(width);
    }

    /// The next to be let in, if there is room for it; its seats are taken.
    fn next(&mut self) -> Option<Waiter> {
        for at in 0..self.queues.len() {
            if self.queues[at].waiting.front().is_some_and(|waiter| waiter.turn.is_closed()) {
                self.forget_gone(at);
            }
        }
        let now = self.now;
        let waiting = self.queues.iter().enumerate().filter(|(_, queue)| !queue.waiting.is_empty());
        let (at, _) = waiting.min_by_key(|(_, queue)| queue.had.max(now))?;
        let width = self.queues[at].waiting.front()?.width.min(self.limit);
        if self.taken + width > self.limit {
            return None;
        }
        let mut waiter = self.queues[at].waiting.pop_front()?;
        self.wanted -= waiter.width;
        waiter.width = width;
        self.now = self.now.max(self.queues[at].had);
        self.charge(at, width);
        self.taken += width;
        Some(waiter)
    }
}

/// A hand of distinct queues out of a deck, the same for the same hash; upstream's `shufflesharding.Dealer`.
fn dealt(mut hash: u64, deck: usize, hand: usize) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::with_capacity(hand);
    for dealt in 0..hand.min(deck) {
        let left = (deck - dealt) as u64;
        let mut card = usize::try_from(hash % left).unwrap_or(0);
        hash /= left;
        // The card's place among those that are left.
        let mut before = taken.clone();
        before.sort_unstable();
        for own in before {
            if card >= own {
                card += 1;
            }
        }
        taken.push(card);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_is_distinct_queues_and_always_the_same() {
        for hash in [0, 1, 63, 64 * 63 + 5, u64::MAX] {
            let hand = dealt(hash, 64, 6);
            let mut sorted = hand.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!((sorted.len(), &hand), (6, &dealt(hash, 64, 6)));
            assert!(hand.iter().all(|at| *at < 64));
        }
        assert_eq!(dealt(7, 3, 6).len(), 3);
    }
}
