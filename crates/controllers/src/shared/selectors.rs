//! Selectors of services and controllers, remembered: each pod that changes is held against all of its namespace, and
//! decoding them anew each time would cost more than everything else.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use skiff_api::{LabelSelector, Object, Readable};
use skiff_client::cache::decode;

/// So many are remembered; beyond that it begins anew rather than to grow with what is long deleted.
const MOST: usize = 16_384;

type Known = Option<Arc<LabelSelector>>;

/// Selectors by uid, each of one revision.
#[derive(Default)]
pub(crate) struct Selectors {
    known: Mutex<HashMap<Arc<str>, (u64, Known)>>,
}

impl Selectors {
    /// The selector of an object of kind `K`, as `read` finds it.
    pub(crate) fn of<K: Readable>(&self, object: &Object, read: fn(&K) -> Option<LabelSelector>) -> Known {
        let meta = object.meta();
        let mut known = self.known.lock();
        if let Some((revision, selector)) = known.get(&meta.uid)
            && *revision == meta.revision
        {
            return selector.clone();
        }
        let selector = decode::<K>(object).and_then(|typed| read(&typed)).map(Arc::new);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(Arc::clone(&meta.uid), (meta.revision, selector.clone()));
        selector
    }
}
