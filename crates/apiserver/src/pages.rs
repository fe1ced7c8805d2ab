//! Continuing a list where it stopped, at the revision it started from.
//!
//! A snapshot costs one reference count, so the ones that lists are being paged through are simply remembered for a
//! while. A token names the revision and the last key; when its snapshot is gone the list starts over (410), as upstream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skiff_api::ApiError;
use skiff_store::Snapshot;
use tokio::time::Instant;

use crate::stored::Stored;

/// Upstream's default compaction interval: what etcd would still know.
const KEPT_FOR: Duration = Duration::from_secs(300);
const MOST: usize = 64;

/// The snapshots that lists are being paged through.
#[derive(Default)]
pub(crate) struct Pages(Mutex<VecDeque<Page>>);

struct Page {
    table: Arc<str>,
    since: Instant,
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

impl Pages {
    /// Keeps a snapshot for the next page.
    pub(crate) fn keep(&self, table: &Arc<str>, snapshot: &Arc<Snapshot<Stored>>) {
        let mut pages = self.0.lock();
        let now = Instant::now();
        pages.retain(|page| now.duration_since(page.since) < KEPT_FOR);
        if pages.iter().any(|page| page.table == *table && page.snapshot.revision == snapshot.revision) {
            return;
        }
        if pages.len() == MOST {
            pages.pop_front();
        }
        pages.push_back(Page { table: Arc::clone(table), since: now, snapshot: Arc::clone(snapshot) });
    }

    /// The snapshot of a table at a revision.
    pub(crate) fn find(&self, table: &str, revision: u64) -> Option<Arc<Snapshot<Stored>>> {
        let pages = self.0.lock();
        let page = pages.iter().find(|page| &*page.table == table && page.snapshot.revision == revision);
        page.filter(|page| page.since.elapsed() < KEPT_FOR).map(|page| Arc::clone(&page.snapshot))
    }
}
