//! Continuing a list where it stopped, at the revision it started from.
//!
//! A snapshot costs one reference count, so the ones that lists are being paged through are simply remembered for a
//! while. But it holds every object as it was, and the more of them change, the more memory that is: it is let go when
//! its time is over, which comes soon after somebody has read to the end. A token names the revision and the last
//! key; when its snapshot is gone the list starts over (410), as upstream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skiff_api::ApiError;
use skiff_base::Tasks;
use skiff_store::Snapshot;
use tokio::time::Instant;

use crate::stored::Stored;

/// Upstream's default compaction interval: what etcd would still know.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How much longer after its last page was read: the answer may have been lost, or another be reading the same.
const LINGERS_FOR: Duration = Duration::from_secs(30);
const MOST: usize = 64;

/// The snapshots that lists are being paged through.
#[derive(Clone, Default)]
pub(crate) struct Pages(Arc<Mutex<VecDeque<Page>>>);

struct Page {
    table: Arc<str>,
    until: Instant,
    snapshot: Arc<Snapshot<Stored>>,
}

/// Where a list goes on.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Token {
    v: String,
    /// The list's revision; 0 if it goes on in whatever there is (upstream says -1).
    pub(crate) rv: u64,
    /// The last key that was sent.
    pub(crate) start: String,
    /// How many objects follow that key, where that is known: so that no page counts what is behind it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<usize>,
}

impl Token {
    pub(crate) fn new(revision: u64, last: &str, left: Option<usize>) -> Self {
        Self { v: "meta.k8s.io/v1".to_owned(), rv: revision, start: last.to_owned(), left }
    }

    /// The same place in whatever there is when the list goes on.
    pub(crate) fn inconsistent(&self) -> Self {
        Self { rv: 0, left: None, ..self.clone() }
    }

    /// Whether the list goes on in whatever there is.
    pub(crate) fn is_inconsistent(&self) -> bool {
        self.rv == 0
    }

    /// The opaque form.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// # Errors
    /// 400 if it is not one of ours.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = |why: String| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| bad(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
    }
}

impl Page {
    fn is(&self, table: &str, revision: u64) -> bool {
        *self.table == *table && self.snapshot.revision == revision
    }
}

impl Pages {
    /// Keeps a snapshot for the next page.
    pub(crate) fn keep(&self, table: &Arc<str>, snapshot: &Arc<Snapshot<Stored>>, tasks: &Tasks) {
        let until = Instant::now() + KEPT_FOR;
        {
            let mut pages = self.0.lock();
            if pages.iter().any(|page| page.is(table, snapshot.revision)) {
                return;
            }
            if pages.len() == MOST {
                pages.pop_front();
            }
            pages.push_back(Page { table: Arc::clone(table), until, snapshot: Arc::clone(snapshot) });
        }
        self.forget_at(until, tasks);
    }

    /// Somebody has had the last page.
    pub(crate) fn read_to_end(&self, table: &str, revision: u64, tasks: &Tasks) {
        let until = Instant::now() + LINGERS_FOR;
        let mut pages = self.0.lock();
        let Some(page) = pages.iter_mut().find(|page| page.is(table, revision)) else { return };
        if until < page.until {
            page.until = until;
            self.forget_at(until, tasks);
        }
    }

    fn forget_at(&self, until: Instant, tasks: &Tasks) {
        let pages = self.clone();
        tasks.spawn_until_stop(async move {
            tokio::time::sleep_until(until).await;
            pages.0.lock().retain(|page| page.until > until);
        });
    }

    /// The snapshot of a table at a revision.
    pub(crate) fn find(&self, table: &str, revision: u64) -> Option<Arc<Snapshot<Stored>>> {
        let pages = self.0.lock();
        let page = pages.iter().find(|page| page.is(table, revision));
        page.filter(|page| page.until > Instant::now()).map(|page| Arc::clone(&page.snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_goes_when_its_time_is_over_and_soon_after_it_was_read() {
        let (pages, tasks) = (Pages::default(), Tasks::default());
        let table: Arc<str> = "pods".into();
        let snapshot = |revision| Arc::new(Snapshot { revision, objects: Default::default() });
        let (unread, read) = (snapshot(7), snapshot(8));
        pages.keep(&table, &unread, &tasks);
        pages.keep(&table, &read, &tasks);
        pages.read_to_end(&table, 8, &tasks);
        let alive = || (Arc::strong_count(&unread) > 1, Arc::strong_count(&read) > 1);
        tokio::time::sleep(LINGERS_FOR / 2).await;
        assert_eq!(alive(), (true, true));
        assert!(pages.find("pods", 8).is_some());
        tokio::time::sleep(LINGERS_FOR).await;
        assert_eq!(alive(), (true, false));
        tokio::time::sleep(KEPT_FOR).await;
        assert_eq!(alive(), (false, false), "nobody had to ask for another");
        assert!(pages.find("pods", 7).is_none());
    }
}
