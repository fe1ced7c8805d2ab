//! The past events of one table, as many as are kept.
//!
//! Watchers share one window and each keeps only its place in it, so a thousand of them cost a thousand places
//! and no queue. Places are counted from the first event the table ever had, which makes finding the next event
//! an index and not a search. The window must never be asked to wait for anybody: it drops its oldest events by
//! count, by memory and by age, and whoever still needed them is told [`Compacted`].

use std::{sync::Arc, time::Instant};

use crate::{Compacted, Event, Options, Value};

/// What an event costs besides values: itself, its `Arc`, its place, a share of its key.
const OVERHEAD: usize = 128;
/// One event for so many rows of the table is kept, whatever it weighs: who loses its place has to read all rows again,
/// and while it does so the table must not run away from it.
const ROWS_PER_EVENT: usize = 8;

pub(crate) struct Window<V> {
    events: imbl::Vector<Kept<V>>,
    /// The place of the first event still here.
    first: u64,
    /// Every event up to this revision is gone.
    compacted: u64,
    bytes: usize,
}

struct Kept<V> {
    event: Arc<Event<V>>,
    at: Instant,
    cost: usize,
}

/// What is at a place.
pub(crate) enum Found<V> {
    Event(Arc<Event<V>>),
    /// Nothing yet: the place is the end.
    End,
    /// The event was here and is gone; the revision up to which all are.
    Gone(u64),
}

impl<V: Value> Window<V> {
    /// An empty window, in which everything up to `compacted` is past remembering.
    pub(crate) fn new(compacted: u64) -> Self {
        Self { events: imbl::Vector::new(), first: 0, compacted, bytes: 0 }
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn push(&mut self, event: Arc<Event<V>>, at: Instant) {
        let cost = cost(&event);
        self.bytes += cost;
        self.events.push_back(Kept { event, at, cost });
    }

    /// Drops what is beyond the bounds for a table of so many rows. The newest event always stays, or a watcher could never
    /// see anything.
    pub(crate) fn trim(&mut self, options: &Options, rows: usize, now: Instant) {
        while self.events.len() > 1 && self.too_much(options, rows, now) {
            if let Some(gone) = self.events.pop_front() {
                self.first += 1;
                self.bytes -= gone.cost;
                self.compacted = gone.event.revision;
            }
        }
    }

    fn too_much(&self, options: &Options, rows: usize, now: Instant) -> bool {
        let aged = |kept: &Kept<V>| now.duration_since(kept.at) > options.window_age;
        let bounded = self.events.len() > options.window_events || self.bytes > options.window_bytes;
        bounded && self.events.len() > rows / ROWS_PER_EVENT || self.events.front().is_some_and(aged)
    }

    /// The place of the first event after a revision.
    pub(crate) fn after(&self, revision: u64) -> Result<u64, Compacted> {
        if revision < self.compacted {
            return Err(Compacted { asked: revision, compacted: self.compacted });
        }
        let found = self.events.binary_search_by(|kept| kept.event.revision.cmp(&revision));
        let index = match found {
            Ok(at) => at + 1,
            Err(insertion) => insertion,
        };
        Ok(self.first + index as u64)
    }

    pub(crate) fn at(&self, place: u64) -> Found<V> {
        let Some(index) = place.checked_sub(self.first) else { return Found::Gone(self.compacted) };
        match usize::try_from(index).ok().and_then(|index| self.events.get(index)) {
            Some(kept) => Found::Event(kept.event.clone()),
            None => Found::End,
        }
    }
}

impl<V> Window<V> {
    /// Everything from a place on.
    pub(crate) fn from(&self, place: u64) -> impl Iterator<Item = &Arc<Event<V>>> {
        let skip = usize::try_from(place.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.events.iter().skip(skip).map(|kept| &kept.event)
    }
}

/// What the window alone keeps alive for an event: the value it replaced and, for a deletion, the last state.
/// A value that is current costs the window nothing; it is charged to the event that replaces it.
fn cost<V: Value>(event: &Event<V>) -> usize {
    let previous = event.previous.as_ref().map_or(0, |value| value.bytes().len());
    let last = if event.deleted { event.object.bytes().len() } else { 0 };
    OVERHEAD + previous + last
}

impl<V> Clone for Window<V> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), first: self.first, compacted: self.compacted, bytes: self.bytes }
    }
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { event: self.event.clone(), at: self.at, cost: self.cost }
    }
}

#[cfg(test)]
mod tests;
