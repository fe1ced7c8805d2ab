//! What a watch begins with: everything there is, as if it had just been added.
//!
//! That may be a great deal (a hundred thousand pods), so it is written as it is read: a watcher costs a snapshot, which
//! shares all its objects, and one piece.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use skiff_api::ApiError;
use skiff_store::Snapshot;

use super::PIECE;
use super::lines::Lines;
use crate::catalog::Entry;
use crate::stored::Stored;
use crate::verbs::select::Select;

pub(super) struct Initial {
    snapshot: Snapshot<Stored>,
    prefix: String,
    /// The last object that was looked at.
    after: Option<Arc<str>>,
    /// Whether a bookmark says where the beginning ends.
    bookmark: bool,
}

impl Initial {
    /// All whose key begins with `prefix`, in the version that is served.
    ///
    /// # Errors
    /// If an object cannot be converted.
    pub(super) async fn of(
        entry: &Entry,
        snapshot: Snapshot<Stored>,
        prefix: String,
        bookmark: bool,
    ) -> Result<Self, ApiError> {
        let snapshot = match entry.conversion {
            Some(_) => entry.served_snapshot(&snapshot, &prefix).await?,
            None => snapshot,
        };
        Ok(Self { snapshot, prefix, after: None, bookmark })
    }

    /// Adds the next piece to what is to be sent; false if it was the last.
    ///
    /// # Errors
    /// If an object cannot be told.
    pub(super) fn piece(
        &mut self,
        lines: &Lines,
        select: &Select,
        to: &mut VecDeque<Bytes>,
    ) -> Result<bool, ApiError> {
        let start = match &self.after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Included(&*self.prefix),
        };
        let rest = self.snapshot.objects.range::<_, str>((start, Bound::Unbounded));
        let mut size = 0;
        for (key, stored) in rest.take_while(|(key, _)| key.starts_with(&self.prefix)) {
            if !select.matches(&lines.entry, stored) {
                continue;
            }
            let line = lines.initial(stored)?;
            size += line.len();
            to.push_back(line);
            if size >= PIECE {
                self.after = Some(Arc::clone(key));
                return Ok(true);
            }
        }
        if self.bookmark {
            to.push_back(lines.bookmark(self.snapshot.revision, true));
        }
        Ok(false)
    }
}
