//! Mirror pods: how the API shows the pods that only this node's files know.
//!
//! A mirror never runs. It is made when its static pod appears and again whenever someone deletes it, and goes
//! with its static pod.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::Manager;
use crate::pod::{annotation, is_static, name, namespace, uid};
use crate::worker::Message;

const HASH: &str = "kubernetes.io/config.hash";
const MIRROR: &str = "kubernetes.io/config.mirror";

fn key(pod: &Pod) -> (String, String) {
    (namespace(pod).to_owned(), name(pod).to_owned())
}

impl Manager {
    fn static_pod(&self, key: &(String, String)) -> Option<&Arc<Pod>> {
        let all = self.wanted.iter().flatten().flat_map(std::collections::HashMap::values);
        all.into_iter().find(|pod| is_static(pod) && self::key(pod) == *key)
    }

    /// A static pod is here: the API shall show it.
    pub(super) fn show(&self, pod: &Arc<Pod>) {
        if !is_static(pod) || self.mirrors.contains_key(&key(pod)) {
            return;
        }
        let mut mirror = Pod::clone(pod);
        let annotations = mirror.metadata.annotations.get_or_insert_default();
        if let Some(hash) = annotations.get(HASH).cloned() {
            annotations.insert(MIRROR.to_owned(), hash);
        }
        mirror.metadata.uid = None;
        mirror.metadata.resource_version = None;
        mirror.status = None;
        let cluster = Arc::clone(&self.ctx.cluster);
        self.tasks.spawn_until_stop(async move {
            if let Err(error) = cluster.create_mirror(&mirror).await {
                tracing::warn!(pod = name(&mirror), %error, "static pod is not shown in the API");
            }
        });
    }

    pub(super) fn reset_mirrors(&mut self, number: usize, mirrors: Vec<Arc<Pod>>) {
        // The API is the first source; others have no mirrors.
        if number != 0 {
            return;
        }
        self.mirrors.clear();
        for mirror in mirrors {
            self.put_mirror(mirror);
        }
        let statics: Vec<Arc<Pod>> = self
            .wanted
            .iter()
            .flatten()
            .flat_map(std::collections::HashMap::values)
            .filter(|pod| is_static(pod))
            .cloned()
            .collect();
        for pod in statics {
            self.show(&pod);
        }
    }

    pub(super) fn put_mirror(&mut self, mirror: Arc<Pod>) {
        let known = self.mirrors.insert(key(&mirror), Arc::clone(&mirror));
        let owner = self.static_pod(&key(&mirror));
        let fits = owner.is_some_and(|pod| annotation(pod, HASH) == annotation(&mirror, MIRROR));
        // A deletion asks the kubelet for the last word; the mirror comes back once it is gone.
        let leaving = mirror.metadata.deletion_timestamp.is_some();
        if leaving || !fits && (owner.is_some() || self.settled) {
            self.drop_mirror(mirror);
            return;
        }
        let is_new = known.is_none_or(|known| known.metadata.uid != mirror.metadata.uid);
        if let (true, Some(worker)) = (is_new, owner.and_then(|pod| self.workers.get(uid(pod)))) {
            let _ended = worker.send(Message::Mirrored);
        }
    }

    pub(super) fn gone_mirror(&mut self, uid: &str) {
        let gone = self
            .mirrors
            .iter()
            .find(|(_, mirror)| crate::pod::uid(mirror) == uid)
            .map(|(key, _)| key.clone());
        let Some(gone) = gone else { return };
        self.mirrors.remove(&gone);
        if let Some(pod) = self.static_pod(&gone).cloned() {
            self.show(&pod);
        }
    }

    /// A static pod went: so does its mirror.
    pub(super) fn hide(&self, pod: &Pod) {
        if let Some(mirror) = self.mirrors.get(&key(pod)) {
            self.drop_mirror(Arc::clone(mirror));
        }
    }

    fn drop_mirror(&self, mirror: Arc<Pod>) {
        let cluster = Arc::clone(&self.ctx.cluster);
        self.tasks.spawn_until_stop(async move {
            if let Err(error) = cluster.delete_pod(&mirror).await {
                tracing::debug!(pod = name(&mirror), %error, "mirror pod not deleted");
            }
        });
    }
}
