//! What was made of a state for the first who wanted it, kept a little while for the others.
//!
//! A thousand watchers are told of a change within milliseconds. What they share (a frame of protobuf, an object converted
//! by a webhook) is made once; who comes much later has it made anew, so that nothing is held for long.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many things are kept at most.
const MOST: usize = 256;
/// How many bytes they may have together, unless a single one has more.
const ROOM: usize = 1 << 20;

/// Things by what they were made of; the oldest go first.
pub(crate) struct Recent<K, V>(Mutex<Kept<K, V>>);

struct Kept<K, V> {
    slots: HashMap<K, Arc<V>>,
    /// With what each counts, in bytes.
    order: VecDeque<(K, usize)>,
    size: usize,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Kept { slots: HashMap::new(), order: VecDeque::new(), size: 0 }))
    }
}

impl<K: Clone + Eq + Hash, V: Default> Recent<K, V> {
    /// The place for what is made of `key`: empty (a [`OnceLock`](std::sync::OnceLock) or its like) for the first who asks.
    /// `size` is about how many bytes will be in it.
    pub(crate) fn slot(&self, key: K, size: usize) -> Arc<V> {
        let mut kept = self.0.lock();
        if let Some(slot) = kept.slots.get(&key) {
            return Arc::clone(slot);
        }
        let slot = Arc::<V>::default();
        kept.slots.insert(key.clone(), Arc::clone(&slot));
        kept.order.push_back((key, size));
        kept.size += size;
        while kept.order.len() > MOST || (kept.size > ROOM && kept.order.len() > 1) {
            let Some((oldest, size)) = kept.order.pop_front() else { break };
            kept.slots.remove(&oldest);
            kept.size -= size;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    #[test]
    fn what_one_made_the_next_finds() {
        let recent = Recent::<u64, OnceLock<&str>>::default();
        assert_eq!(recent.slot(7, 10).get_or_init(|| "made"), &"made");
        assert_eq!(recent.slot(7, 10).get(), Some(&"made"));
        assert_eq!(recent.slot(8, 10).get(), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_big() {
        let recent = Recent::<usize, OnceLock<usize>>::default();
        let held = |key| recent.0.lock().slots.contains_key(&key);
        for key in 0..=MOST {
            recent.slot(key, 1);
        }
        assert!(!held(0) && held(1));
        recent.slot(MOST + 1, ROOM - 3);
        assert_eq!(recent.0.lock().order.len(), 4);
        recent.slot(MOST + 2, 2 * ROOM);
        assert!(held(MOST + 2), "a single one may be bigger");
        assert_eq!(recent.0.lock().size, 2 * ROOM);
    }
}
