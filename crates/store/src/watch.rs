//! Every change to a table after a revision, in order, none missing.
//!
//! A watch is a place in the table's shared window, nothing more: it holds no events, so a slow one costs
//! nothing and learns from [`Compacted`] that what it needed is gone. It is woken when its own table changes and
//! then looks at the published state, which is why it cannot see an event before a reader could see the value.
//!
//! A narrow watch has an inbox instead (`narrow.rs`) and is woken only by what concerns it; it too takes what the
//! published state has reached.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::futures::OwnedNotified;

use crate::{
    Key, Snapshot, Value,
    narrow::{Inbox, Narrow, Next},
    store::Shared,
    window::Found,
};

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
    source: Source<V>,
    /// The revision of the last event handed out, the one asked for, or one that was seen since.
    after: u64,
    signal: Arc<tokio::sync::Notify>,
    waiting: Option<Pin<Box<OwnedNotified>>>,
    ended: bool,
}

/// Where the next event is.
enum Source<V> {
    /// At this place of the window.
    Window(u64),
    /// Among those that the window had when the watch began; after them in the inbox.
    Inbox { early: VecDeque<Arc<Event<V>>>, inbox: Arc<Inbox<V>>, narrow: Narrow<V> },
}

enum Step<V> {
    Event(Event<V>),
    Compacted(Compacted),
    Wait,
    End,
}

impl<V: Value> Watch<V> {
    /// A watch of everything, from a place of the window on.
    pub(crate) fn wide(shared: Arc<Shared<V>>, table: &str, after: u64, place: u64) -> Self {
        let (table, signal) = shared.listeners.signal(table);
        Self { shared, table, source: Source::Window(place), after, signal, waiting: None, ended: false }
    }

    /// A watch of what concerns some values, after a revision or from now on, and all there is now.
    pub(crate) fn narrow(
        shared: &Arc<Shared<V>>,
        table: &str,
        after: Option<u64>,
        narrow: Narrow<V>,
    ) -> Result<(Snapshot<V>, Self), Compacted> {
        let (table, _) = shared.listeners.signal(table);
        let (inbox, state) = shared.listeners.register(&table, &narrow, || shared.state.load_full());
        let snapshot = state.snapshot(&table);
        let after = after.unwrap_or(snapshot.revision);
        let (signal, source) =
            (inbox.signal.clone(), Source::Inbox { early: VecDeque::new(), inbox, narrow });
        // From here on it unregisters when it goes.
        let mut watch =
            Self { shared: shared.clone(), table, source, after, signal, waiting: None, ended: false };
        let place = state.place(&watch.table, after)?;
        if let (Source::Inbox { early, narrow, .. }, Some(window)) =
            (&mut watch.source, state.window(&watch.table))
        {
            early.extend(window.from(place).filter(|event| narrow.concerns(event)).cloned());
        }
        Ok((snapshot, watch))
    }

    /// The revision up to which the receiver of this watch has been given everything: what a bookmark may say.
    /// It moves on with the store while this table rests, and never back.
    pub fn seen(&mut self) -> u64 {
        let state = self.shared.state.load();
        let given = match &self.source {
            Source::Window(place) => {
                matches!(state.window(&self.table).map(|window| window.at(*place)), None | Some(Found::End))
            }
            // What this state has was delivered before it became visible.
            Source::Inbox { early, inbox, .. } => early.is_empty() && inbox.is_empty_at(state.revision),
        };
        if given && !self.ended {
            self.after = self.after.max(state.revision);
        }
        self.after
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
            let found = match &mut self.source {
                Source::Window(place) => {
                    let found = state.window(&self.table).map_or(Found::End, |window| window.at(*place));
                    *place += u64::from(matches!(found, Found::Event(_)));
                    found
                }
                Source::Inbox { early, inbox, .. } => match early.pop_front() {
                    Some(event) => Found::Event(event),
                    None => match inbox.take(state.revision) {
                        Next::Event(event) => Found::Event(event),
                        Next::Lost(revision) => Found::Gone(revision),
                        Next::Nothing => Found::End,
                    },
                },
            };
            match found {
                // Only when asked to watch from a revision yet to come.
                Found::Event(event) if event.revision <= self.after => {}
                Found::Event(event) => {
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

impl<V> Drop for Watch<V> {
    fn drop(&mut self) {
        if let Source::Inbox { inbox, narrow, .. } = &self.source {
            self.shared.listeners.unregister(&self.table, narrow, inbox);
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
