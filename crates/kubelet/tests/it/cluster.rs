//! A cluster in memory: takes statuses and events, hands out pods and objects, forgets nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use skiff_kubelet::record::{EventKind, Record};
use skiff_kubelet::source::{Change, Source};
use skiff_kubelet::{Cluster, ClusterError};
use tokio::sync::{mpsc, watch};

/// Long enough for a machine under heavy load; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default, Clone)]
pub(crate) struct Contents {
    pub(crate) statuses: BTreeMap<String, PodStatus>,
    /// Every status each pod ever had.
    pub(crate) history: Vec<(String, PodStatus)>,
    pub(crate) events: Vec<String>,
    pub(crate) deleted: Vec<String>,
}

pub(crate) struct Memory {
    contents: watch::Sender<Contents>,
    config_maps: Mutex<BTreeMap<String, ConfigMap>>,
    services: Mutex<Vec<Service>>,
    changes: mpsc::UnboundedSender<Change>,
    pods: Mutex<BTreeMap<String, Arc<Pod>>>,
}

impl Memory {
    /// A cluster with these pods bound to the node.
    pub(crate) fn new(pods: &[Arc<Pod>]) -> (Arc<Self>, Source) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let by_uid = pods.iter().map(|pod| (pod.metadata.uid.clone().unwrap(), Arc::clone(pod)));
        let memory = Self {
            contents: watch::Sender::new(Contents::default()),
            config_maps: Mutex::default(),
            services: Mutex::default(),
            pods: Mutex::new(by_uid.collect()),
            changes,
        };
        memory.changes.send(Change::Reset(pods.to_vec())).unwrap();
        let source = futures::stream::unfold(receiver, |mut receiver| async move {
            let change = receiver.recv().await?;
            Some((change, receiver))
        });
        (Arc::new(memory), source.chain(futures::stream::pending()).boxed())
    }

    pub(crate) fn put(&self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap();
        // Under the lock, so that no older revision is told after a newer one.
        let mut pods = self.pods.lock().unwrap();
        pods.insert(uid, Arc::clone(pod));
        self.changes.send(Change::Put(Arc::clone(pod))).unwrap();
    }

    pub(crate) fn put_config_map(&self, map: ConfigMap) {
        self.config_maps.lock().unwrap().insert(map.metadata.name.clone().unwrap(), map);
    }

    pub(crate) fn put_service(&self, service: Service) {
        self.services.lock().unwrap().push(service);
    }

    pub(crate) fn now(&self) -> Contents {
        self.contents.borrow().clone()
    }

    /// The pod's status as soon as it is `so`.
    pub(crate) async fn status(&self, name: &str, so: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let seen = self.until(|contents| contents.statuses.get(name).is_some_and(&so)).await;
        seen.statuses[name].clone()
    }

    /// The contents as soon as they are `so`.
    pub(crate) async fn until(&self, so: impl Fn(&Contents) -> bool) -> Contents {
        let mut contents = self.contents.subscribe();
        let seen = tokio::time::timeout(PATIENCE, contents.wait_for(&so)).await;
        match seen {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => {
                let now = self.now();
                let statuses = serde_json::to_string_pretty(&now.statuses).unwrap();
                panic!("it did not come to pass\nevents: {:#?}\nstatuses: {statuses}", now.events);
            }
        }
    }
}

impl Cluster for Memory {
    fn write_status<'a>(
        &'a self,
        pod: &'a Pod,
        status: &'a PodStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let name = pod.metadata.name.clone().unwrap();
        let uid = pod.metadata.uid.clone().unwrap();
        {
            let mut pods = self.pods.lock().unwrap();
            if let Some(known) = pods.get_mut(&uid) {
                Arc::make_mut(known).status = Some(status.clone());
                // As the API does: the writer hears of its own write.
                self.changes.send(Change::Put(Arc::clone(known))).ok();
            }
        }
        // Last, since a test that sees it may write next.
        self.contents.send_modify(|contents| {
            contents.statuses.insert(name.clone(), status.clone());
            contents.history.push((name.clone(), status.clone()));
        });
        Box::pin(async { Ok(()) })
    }

    fn delete_pod<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), ClusterError>> {
        let uid = pod.metadata.uid.clone().unwrap();
        self.pods.lock().unwrap().remove(&uid);
        self.contents.send_modify(|contents| contents.deleted.push(pod.metadata.name.clone().unwrap()));
        self.changes.send(Change::Gone(uid)).ok();
        Box::pin(async { Ok(()) })
    }

    fn create_mirror<'a>(&'a self, _pod: &'a Pod) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async { Ok(()) })
    }

    fn config_map<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ConfigMap>, ClusterError>> {
        let found = self.config_maps.lock().unwrap().get(name).cloned();
        Box::pin(async { Ok(found) })
    }

    fn secret<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Secret>, ClusterError>> {
        Box::pin(async { Ok(None) })
    }

    /// A runtime class here is called as its handler.
    fn runtime_handler<'a>(&'a self, class: &'a str) -> BoxFuture<'a, Result<String, ClusterError>> {
        Box::pin(async { Ok(class.to_owned()) })
    }

    fn resource_claim<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ResourceClaim, ClusterError>> {
        Box::pin(async move { Err(ClusterError::NotFound(format!("resourceclaims {name:?} not found"))) })
    }

    fn services<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Vec<Service>> {
        let services = self.services.lock().unwrap().clone();
        Box::pin(async { services })
    }
}

impl Record for Memory {
    fn record(&self, pod: &Pod, field_path: Option<&str>, kind: EventKind, reason: &str, message: String) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let place = field_path.map(|path| format!(" {path}")).unwrap_or_default();
        let line = format!("{name}{place} {} {reason}: {message}", kind.as_str());
        self.contents.send_modify(|contents| contents.events.push(line));
    }
}
