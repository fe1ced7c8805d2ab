//! Pods that may not queue yet, found again by the claims that they wait for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_api::Object;

/// One of them.
#[derive(Debug)]
struct Waiting {
    pod: Arc<Object>,
    /// The keys of its claims.
    claims: Vec<Arc<str>>,
}

/// Those pods.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// By uid.
    pods: HashMap<Arc<str>, Waiting>,
    /// Who names a claim, by its key.
    claims: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

impl Parked {
    /// Keeps a pod that names these claims.
    pub(crate) fn keep(&mut self, pod: &Arc<Object>, claims: Vec<Arc<str>>) {
        let uid = &pod.meta().uid;
        self.leave(uid);
        for claim in &claims {
            self.claims.entry(Arc::clone(claim)).or_default().insert(Arc::clone(uid));
        }
        self.pods.insert(Arc::clone(uid), Waiting { pod: Arc::clone(pod), claims });
    }

    /// The pod waits no more.
    pub(crate) fn leave(&mut self, uid: &str) {
        let Some(Waiting { claims, .. }) = self.pods.remove(uid) else { return };
        for claim in claims {
            if let Some(pods) = self.claims.get_mut(&claim) {
                pods.remove(uid);
                if pods.is_empty() {
                    self.claims.remove(&claim);
                }
            }
        }
    }

    /// Those that name the claim.
    pub(crate) fn naming(&self, claim: &str) -> Vec<Arc<Object>> {
        let uids = self.claims.get(claim).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(uid)).map(|waiting| Arc::clone(&waiting.pod)).collect()
    }
}
