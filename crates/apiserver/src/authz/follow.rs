//! A table of the store, followed by whoever keeps an index of it: what changed since it was last asked.
//!
//! The asker drains it before it looks something up, so that an index is never older than the question, costs what
//! changed, and needs no task of its own.

use futures::{FutureExt, StreamExt};
use skiff_store::{Event, Snapshot, Store, Watch};

use crate::stored::Stored;

/// One table.
pub(crate) struct Follow {
    table: &'static str,
    /// Nothing before the first question and after a gap.
    watch: Option<Watch<Stored>>,
}

/// What happened.
pub(crate) enum News {
    /// All there is; what was known before is void.
    All(Snapshot<Stored>),
    /// One change.
    One(Event<Stored>),
}

impl Follow {
    pub(crate) const fn new(table: &'static str) -> Self {
        Self { table, watch: None }
    }

    /// The next thing that happened; nothing if all is known.
    pub(crate) fn news(&mut self, store: &Store<Stored>) -> Option<News> {
        loop {
            let Some(watch) = &mut self.watch else {
                let (snapshot, watch) = store.snapshot_and_watch(self.table);
                self.watch = Some(watch);
                return Some(News::All(snapshot));
            };
            // Not subject to the caller's share of time: half an index must not be taken for the whole.
            match tokio::task::coop::unconstrained(watch.next()).now_or_never() {
                None | Some(None) => return None,
                Some(Some(Ok(event))) => return Some(News::One(event)),
                Some(Some(Err(_too_far_behind))) => self.watch = None,
            }
        }
    }
}
