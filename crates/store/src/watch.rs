//! Every change to a table after a revision, in order, none missing.
//!
//! A watch is a place in the table's shared window, nothing more: it holds no events, so a slow one costs
//! nothing and learns from [`Compacted`] that what it needed is gone. It is woken when its own table changes and
//! then looks at the published state, which is why it cannot see an event before a reader could see the value.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::futures::OwnedNotified;

use crate::{Key, Value, store::Shared, window::Found};

/// One change.
pub struct Event<V> {
    /// Its number.
    pub revision: u64,
    /// What changed.
    pub key: Key,
    /// The new value; for a deletion the last state, as the deleter built it.
    pub object: Arc<V>,
    /// The value before; none for a creation.
    pub previous: Option<Arc<V>>,
    /// Whether the key has no value any more.
    pub deleted: bool,
}

impl<V> Clone for Event<V> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            key: self.key.clone(),
            object: self.object.clone(),
            previous: self.previous.clone(),
            deleted: self.deleted,
        }
    }
}

/// The events asked for are not kept any more: take a snapshot and watch from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("revision {asked} is too old, events are kept after {compacted}")]
pub struct Compacted {
    /// The revision after which events were wanted.
    pub asked: u64,
    /// The oldest revision one can watch after.
    pub compacted: u64,
}

/// A stream of a table's changes. It ends when the store closes, after its last event, or after [`Compacted`].
pub struct Watch<V> {
    shared: Arc<Shared<V>>,
    table: Arc<str>,
    /// The place of the next event in the window.
    place: u64,
    /// The revision of the last event handed out, or the one asked for.
    after: u64,
    signal: Arc<tokio::sync::Notify>,
    waiting: Option<Pin<Box<OwnedNotified>>>,
    ended: bool,
}

enum Step<V> {
    Event(Event<V>),
    Compacted(Compacted),
    Wait,
    End,
}

impl<V: Value> Watch<V> {
    pub(crate) fn new(shared: Arc<Shared<V>>, table: &str, after: u64, place: u64) -> Self {
        let (table, signal) = shared.signal(table);
        Self { shared, table, place, after, signal, waiting: None, ended: false }
    }

    /// The revision up to which the receiver of this watch has been given everything: what a bookmark may say.
    /// It moves on with the store while this table rests.
    pub fn seen(&self) -> u64 {
        let state = self.shared.state.load();
        match state.window(&self.table).map(|window| window.at(self.place)) {
            None | Some(Found::End) if !self.ended => state.revision.max(self.after),
            _ => self.after,
        }
    }

    /// The next event if there is one already; never waits. Nothing after the end, nor after [`Compacted`].
    pub fn ready(&mut self) -> Option<Result<Event<V>, Compacted>> {
        if self.ended {
            return None;
        }
        match self.step() {
            Step::Event(event) => Some(Ok(event)),
            Step::Compacted(compacted) => {
                self.ended = true;
                Some(Err(compacted))
            }
            Step::Wait | Step::End => None,
        }
    }

    fn step(&mut self) -> Step<V> {
        let state = self.shared.state.load();
        loop {
            match state.window(&self.table).map_or(Found::End, |window| window.at(self.place)) {
                Found::Event(event) => {
                    self.place += 1;
                    // Only when asked to watch from a revision yet to come.
                    if event.revision <= self.after {
                        continue;
                    }
                    self.after = event.revision;
                    return Step::Event(Event::clone(&event));
                }
                Found::Gone(compacted) => return Step::Compacted(Compacted { asked: self.after, compacted }),
                Found::End if state.closed => return Step::End,
                Found::End => return Step::Wait,
            }
        }
    }
}

impl<V: Value> Stream for Watch<V> {
    type Item = Result<Event<V>, Compacted>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        // A watcher far behind is always ready; this makes it give way to other tasks now and then.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            let answer = match this.step() {
                Step::Event(event) => Some(Ok(event)),
                Step::Compacted(compacted) => Some(Err(compacted)),
                Step::End => None,
                // One looks again after the waiter exists: it is told of every change since it was made.
                Step::Wait => match &mut this.waiting {
                    None => {
                        this.waiting = Some(Box::pin(this.signal.clone().notified_owned()));
                        continue;
                    }
                    Some(waiting) => {
                        ready!(waiting.as_mut().poll(cx));
                        waiting.set(this.signal.clone().notified_owned());
                        continue;
                    }
                },
            };
            coop.made_progress();
            this.ended = !matches!(answer, Some(Ok(_)));
            return Poll::Ready(answer);
        }
    }
}
