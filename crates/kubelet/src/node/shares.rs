//! What the pods here have been given of the node's processors and memory, so that a pod that asks for more later gets it
//! only if all fit; who does not waits, and hears when room appears. Follows upstream's `pkg/kubelet/allocation`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::PodSpec;
use skiff_api::pod::requests;
use tokio::sync::watch;

use crate::pod::state::Room;

/// Who has what, by the pods' uids.
pub(crate) struct Shares {
    held: Mutex<HashMap<String, Room>>,
    freed: watch::Sender<()>,
}

/// What a pod asks for.
pub(crate) fn asked(spec: &PodSpec) -> Room {
    let asked = requests::of(spec);
    Room { cpu_milli: asked.cpu, memory: asked.memory }
}

impl Shares {
    /// Nobody has anything.
    pub(crate) fn new() -> Self {
        Self { held: Mutex::default(), freed: watch::Sender::new(()) }
    }

    /// The pod has this now, whether all fit or not: it was let in, or asks for less.
    pub(crate) fn set(&self, uid: &str, share: Room) {
        let before = self.lock().insert(uid.to_owned(), share);
        if before.is_some_and(|before| share.cpu_milli < before.cpu_milli || share.memory < before.memory) {
            self.freed.send_replace(());
        }
    }

    /// Gives the pod this if it fits beside what others have in a node with so much, or says why not, in upstream's words.
    pub(crate) fn ask(&self, uid: &str, share: Room, all: Room) -> Result<(), String> {
        let used = {
            let held = self.lock();
            let others = held.iter().filter(|(own, _)| *own != uid).map(|(_, share)| share);
            others.fold(Room::default(), |sum, share| Room {
                cpu_milli: sum.cpu_milli.saturating_add(share.cpu_milli),
                memory: sum.memory.saturating_add(share.memory),
            })
        };
        for (name, asked, used, has) in [
            ("cpu", share.cpu_milli, used.cpu_milli, all.cpu_milli),
            ("memory", share.memory, used.memory, all.memory),
        ] {
            if asked > 0 && asked.saturating_add(used) > has {
                return Err(format!(
                    "Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {has}"
                ));
            }
        }
        self.set(uid, share);
        Ok(())
    }

    /// The pod needs nothing any more.
    pub(crate) fn release(&self, uid: &str) {
        if self.lock().remove(uid).is_some() {
            self.freed.send_replace(());
        }
    }

    /// Hears whenever somebody has less.
    pub(crate) fn freed(&self) -> watch::Receiver<()> {
        self.freed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Room>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_beside_others_is_told_and_room_is_heard_of() {
        let room = |cpu_milli, memory| Room { cpu_milli, memory };
        let (shares, all) = (Shares::new(), room(1000, 100));
        shares.set("a", room(600, 10));
        shares.set("b", room(300, 10));
        let mut freed = shares.freed();
        assert_eq!(
            shares.ask("b", room(500, 10), all).unwrap_err(),
            "Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000"
        );
        assert!(shares.ask("b", room(300, 95), all).unwrap_err().contains("memory, requested: 95, used: 10"));
        assert!(!freed.has_changed().unwrap());
        shares.set("a", room(400, 10));
        assert!(freed.has_changed().unwrap());
        freed.mark_unchanged();
        shares.ask("b", room(500, 10), all).unwrap();
        shares.release("a");
        assert!(freed.has_changed().unwrap());
        shares.ask("b", room(1000, 100), all).unwrap();
    }
}
