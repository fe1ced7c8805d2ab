//! Where volumes find ConfigMaps, Secrets and tokens, and say what became of claims: a trait, and its implementation over the API's feeds.
//!
//! Each object in use has one feed of its own (by name, as the node authoriser wants it), shared by all who ask and ended when
//! the last of them lets go. So a change reaches a volume as fast as it reaches any watcher, and unused objects cost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Secret, ServiceAccount,
};
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use skiff_api::{Object, Readable, Resource};
use skiff_base::Tasks;
use skiff_client::write::{self, Basis, Place};
use skiff_client::{Delta, Link, Topic};
use tokio::sync::watch;

use super::token::TokenError;

/// What is known of an object.
#[derive(Debug, Clone)]
pub enum Seen<T> {
    /// Nothing yet.
    Unknown,
    /// It does not exist.
    Absent,
    /// This is its newest state.
    Found(Arc<T>),
}

/// Where volumes find what they are made of.
pub trait Objects: Send + Sync {
    /// A ConfigMap, now and as it changes, for as long as the answer is kept.
    fn config_map(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<ConfigMap>>;
    /// A Secret, now and as it changes, for as long as the answer is kept.
    fn secret(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<Secret>>;
    /// A claim, now and as it changes, for as long as the answer is kept.
    fn claim(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<PersistentVolumeClaim>>;
    /// A persistent volume, now and as it changes, for as long as the answer is kept.
    fn persistent_volume(&self, name: &str) -> watch::Receiver<Seen<PersistentVolume>>;
    /// What is said of a driver of volumes, now and as it changes, for as long as the answer is kept.
    fn csi_driver(&self, _name: &str) -> watch::Receiver<Seen<CSIDriver>> {
        watch::channel(Seen::Absent).1
    }
    /// A node, now and as it changes, for as long as the answer is kept.
    fn node(&self, _name: &str) -> watch::Receiver<Seen<Node>> {
        watch::channel(Seen::Absent).1
    }
    /// An attachment of a volume as it is now; the text says why not.
    fn attachment<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<VolumeAttachment, String>> {
        Box::pin(async move { Err(format!("volumeattachments.storage.k8s.io {name:?} not found")) })
    }
    /// Writes the status of a claim, starting from `old` as it was read; the answer is the claim as it is then.
    fn write_claim_status<'a>(
        &'a self,
        _old: &'a PersistentVolumeClaim,
        _new: &'a PersistentVolumeClaim,
    ) -> BoxFuture<'a, Result<PersistentVolumeClaim, String>> {
        Box::pin(async { Err("there is no API server".to_owned()) })
    }
    /// A token of a service account.
    fn token<'a>(
        &'a self,
        namespace: &'a str,
        account: &'a str,
        request: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>>;
}

/// How long the API may take to say whether an object exists.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Waits for the first word about an object: none if it did not come in time, an inner none if the object is absent.
pub(super) async fn heard<T: Send + Sync>(mut feed: watch::Receiver<Seen<T>>) -> Option<Option<Arc<T>>> {
    let known = feed.wait_for(|seen| !matches!(seen, Seen::Unknown));
    let seen = tokio::time::timeout(HEARD_WITHIN, known).await.ok()?.ok()?;
    match &*seen {
        Seen::Unknown => None,
        Seen::Absent => Some(None),
        Seen::Found(object) => Some(Some(Arc::clone(object))),
    }
}

/// For a kubelet without an API server: nothing exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObjects;

impl Objects for NoObjects {
    fn config_map(&self, _: &str, _: &str) -> watch::Receiver<Seen<ConfigMap>> {
        watch::channel(Seen::Absent).1
    }

    fn secret(&self, _: &str, _: &str) -> watch::Receiver<Seen<Secret>> {
        watch::channel(Seen::Absent).1
    }

    fn claim(&self, _: &str, _: &str) -> watch::Receiver<Seen<PersistentVolumeClaim>> {
        watch::channel(Seen::Absent).1
    }

    fn persistent_volume(&self, _: &str) -> watch::Receiver<Seen<PersistentVolume>> {
        watch::channel(Seen::Absent).1
    }

    fn token<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>> {
        Box::pin(async { Err(TokenError::Unsupported) })
    }
}

/// Objects from the API.
#[derive(Clone)]
pub struct LinkObjects {
    link: Link,
    tasks: Tasks,
    config_maps: Shared<ConfigMap>,
    secrets: Shared<Secret>,
    claims: Shared<PersistentVolumeClaim>,
    volumes: Shared<PersistentVolume>,
    csi_drivers: Shared<CSIDriver>,
    nodes: Shared<Node>,
}

/// The feeds in use, by namespace and name.
type Shared<T> = Arc<Mutex<HashMap<(String, String), watch::Sender<Seen<T>>>>>;

impl LinkObjects {
    /// Feeds run as part of `tasks`.
    #[must_use]
    pub fn new(link: Link, tasks: Tasks) -> Self {
        Self {
            link,
            tasks,
            config_maps: Shared::default(),
            secrets: Shared::default(),
            claims: Shared::default(),
            volumes: Shared::default(),
            csi_drivers: Shared::default(),
            nodes: Shared::default(),
        }
    }

    fn follow<T: Readable>(
        &self,
        shared: &Shared<T>,
        namespace: &str,
        name: &str,
    ) -> watch::Receiver<Seen<T>> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut open = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = open.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Seen::Unknown);
        open.insert(key.clone(), sender.clone());
        let mut topic = Topic::of::<T>().fields(format!("metadata.name={name}"));
        if !namespace.is_empty() {
            topic = topic.namespace(namespace);
        }
        let mut feed = self.link.feed(&topic);
        let shared = Arc::clone(shared);
        self.tasks.spawn_until_stop(async move {
            loop {
                tokio::select! {
                    delta = feed.next() => {
                        let Some(delta) = delta else { break };
                        if let Some(seen) = seen(delta, &key.1) {
                            sender.send_replace(seen);
                        }
                    }
                    () = sender.closed() => {
                        // Someone may ask between the last one letting go and this line: look again under the lock.
                        let mut open = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        if sender.is_closed() {
                            open.remove(&key);
                            return;
                        }
                    }
                }
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
        receiver
    }
}

/// What a delta says about the one object; none if it is about another.
fn seen<T: Readable>(delta: Delta<Arc<Object>>, name: &str) -> Option<Seen<T>> {
    let found = |object: &Arc<Object>| match object.decode::<T>() {
        Ok(typed) => Seen::Found(typed),
        Err(error) => {
            tracing::warn!(%error, name, "an object does not fit its kind");
            Seen::Absent
        }
    };
    let named = |object: &Arc<Object>| *object.meta().name == *name;
    match delta {
        Delta::Reset(objects) => {
            Some(objects.iter().find(|object| named(object)).map_or(Seen::Absent, found))
        }
        Delta::Put(object) => named(&object).then(|| found(&object)),
        Delta::Gone(object) => named(&object).then_some(Seen::Absent),
    }
}

impl Objects for LinkObjects {
    fn config_map(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<ConfigMap>> {
        self.follow(&self.config_maps, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<Secret>> {
        self.follow(&self.secrets, namespace, name)
    }

    fn claim(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<PersistentVolumeClaim>> {
        self.follow(&self.claims, namespace, name)
    }

    fn persistent_volume(&self, name: &str) -> watch::Receiver<Seen<PersistentVolume>> {
        self.follow(&self.volumes, "", name)
    }

    fn csi_driver(&self, name: &str) -> watch::Receiver<Seen<CSIDriver>> {
        self.follow(&self.csi_drivers, "", name)
    }

    fn node(&self, name: &str) -> watch::Receiver<Seen<Node>> {
        self.follow(&self.nodes, "", name)
    }

    fn attachment<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<VolumeAttachment, String>> {
        Box::pin(async move {
            let place = Place::new(&Resource::of::<VolumeAttachment>(), None, name);
            write::get(&self.link, &place).await.map_err(|error| error.to_string())
        })
    }

    fn write_claim_status<'a>(
        &'a self,
        old: &'a PersistentVolumeClaim,
        new: &'a PersistentVolumeClaim,
    ) -> BoxFuture<'a, Result<PersistentVolumeClaim, String>> {
        Box::pin(async move {
            let written = write::patch_status(&self.link, old, new, Basis::Revision).await;
            Ok(written.map_err(|error| error.to_string())?.unwrap_or_else(|| old.clone()))
        })
    }

    fn token<'a>(
        &'a self,
        namespace: &'a str,
        account: &'a str,
        request: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>> {
        Box::pin(async move {
            let accounts: kube::Api<ServiceAccount> = self.link.within(namespace);
            let parameters = kube::api::PostParams::default();
            accounts.create_token_request(account, &parameters, &request).await.map_err(|error| match error {
                // The server does not have the subresource (an unknown account says which one it misses).
                kube::Error::Api(status)
                    if status.code == 405 || (status.code == 404 && !status.message.contains(account)) =>
                {
                    TokenError::Unsupported
                }
                other => TokenError::Refused(other.to_string()),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream::BoxStream;
    use serde_json::json;
    use skiff_client::LocalFeeds;
    use tokio::sync::broadcast;
    use tokio_stream::wrappers::BroadcastStream;

    use super::*;

    /// Feeds that say what the test says, and remember what was asked for.
    struct Said {
        deltas: broadcast::Sender<Delta<Arc<Object>>>,
        asked: Mutex<Vec<Topic>>,
    }

    impl LocalFeeds for Said {
        fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
            self.asked.lock().unwrap().push(topic.clone());
            let later = BroadcastStream::new(self.deltas.subscribe());
            let first = futures::stream::iter([Delta::Reset(Vec::new())]);
            first.chain(later.filter_map(|delta| async move { delta.ok() })).boxed()
        }
    }

    fn map(name: &str, value: &str) -> Arc<Object> {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": value },
            "metadata": { "name": name, "namespace": "n", "uid": "u", "resourceVersion": "1" } });
        Arc::new(Object::parse(Bytes::from(map.to_string())).unwrap())
    }

    #[tokio::test]
    async fn one_feed_serves_all_who_ask_and_ends_with_them() {
        let said = Arc::new(Said { deltas: broadcast::channel(8).0, asked: Mutex::default() });
        let never = tower::service_fn(|_: http::Request<kube::client::Body>| {
            futures::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        let link = Link::local(kube::Client::new(never, "default"), said.clone());
        let objects = LinkObjects::new(link, Tasks::new());
        let mut one = objects.config_map("n", "m");
        let mut two = objects.config_map("n", "m");
        assert!(matches!(heard(one.clone()).await, Some(None)));
        assert_eq!(said.asked.lock().unwrap()[0].fields, "metadata.name=m");
        said.deltas.send(Delta::Put(map("other", "0"))).unwrap();
        said.deltas.send(Delta::Put(map("m", "1"))).unwrap();
        for feed in [&mut one, &mut two] {
            let seen = feed.wait_for(|seen| matches!(seen, Seen::Found(_))).await.unwrap().clone();
            let Seen::Found(found) = seen else { panic!("not found") };
            assert_eq!(found.data.as_ref().unwrap()["k"], "1");
        }
        assert_eq!(said.asked.lock().unwrap().len(), 1);
        drop((one, two));
        // The feed hangs up by itself; a later one asks anew.
        while said.deltas.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
        let again = heard(objects.config_map("n", "m")).await;
        assert!(matches!(again, Some(None)));
        assert_eq!(said.asked.lock().unwrap().len(), 2);
    }
}
