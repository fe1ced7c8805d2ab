//! The drivers of devices that registered, whether they can be reached, and what becomes of their slices when they cannot.
//!
//! A driver may have several plugins on a node at a time (one takes over from the other). What a driver said it has is
//! taken out of the API half a minute after the last of them went, and all of it when the kubelet begins: pods should not
//! come for devices that nobody can prepare. Follows upstream's `pkg/kubelet/cm/dra/plugin`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::resource::v1::ResourceSlice;
use skiff_api::Resource;
use skiff_base::{Backoff, Tasks};
use skiff_client::{Link, write};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::proto::{Claim, Claims, Prepared, Unprepared};
use crate::plugins::Handler;
use crate::plugins::client::{Answer, Plugin};
use crate::plugins::proto::PluginInfo;

/// As upstream's `defaultClientCallTimeout`.
const PATIENCE: Duration = Duration::from_secs(45);
/// As upstream's `defaultWipingDelay`.
const WIPING_DELAY: Duration = Duration::from_secs(30);

/// A version of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    /// As plugins say it.
    name: &'static str,
    prepare: &'static str,
    unprepare: &'static str,
}

/// The newest first.
const SERVICES: [Service; 2] = [
    Service {
        name: "v1.DRAPlugin",
        prepare: "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources",
        unprepare: "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodeUnprepareResources",
    },
    Service {
        name: "v1beta1.DRAPlugin",
        prepare: "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodePrepareResources",
        unprepare: "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodeUnprepareResources",
    },
];

/// The version to speak with a plugin: the first that it names and we know.
fn choose(offered: &[String]) -> Result<Service, String> {
    let known = |name: &String| SERVICES.iter().find(|service| service.name == name);
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<String> = names.map(|name| format!("{name:?}")).collect();
        format!("[{}]", quoted.join(" "))
    };
    if offered.is_empty() {
        return Err("empty list of supported gRPC services (aka supported versions)".to_owned());
    }
    offered.iter().find_map(known).copied().ok_or_else(|| {
        format!(
            "none of services supported by the plugin ({}) are supported by the kubelet ({})",
            quoted(&mut offered.iter().map(String::as_str)),
            quoted(&mut SERVICES.iter().map(|service| service.name))
        )
    })
}

/// A plugin of a driver.
#[derive(Debug)]
pub(super) struct Driver {
    endpoint: PathBuf,
    service: Service,
    plugin: Plugin,
    /// Told when it is gone.
    gone: Notify,
}

impl Driver {
    pub(super) async fn prepare(&self, claims: Vec<Claim>) -> Answer<Prepared> {
        self.plugin.call(self.service.prepare, Claims { claims }, PATIENCE).await
    }

    pub(super) async fn unprepare(&self, claims: Vec<Claim>) -> Answer<Unprepared> {
        self.plugin.call(self.service.unprepare, Claims { claims }, PATIENCE).await
    }

    fn is_connected(&self) -> bool {
        *self.plugin.connections().borrow() > 0
    }

    /// Keeps a connection, so that it is known at once when there is none any more.
    async fn keep_connected(self: Arc<Self>, changed: Arc<Notify>) {
        let mut connections = self.plugin.connections();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let keep = async {
            loop {
                self.plugin.touch().await;
                if *connections.borrow_and_update() > 0 {
                    backoff.reset();
                    changed.notify_one();
                    if connections.wait_for(|count| *count == 0).await.is_err() {
                        return;
                    }
                    changed.notify_one();
                }
                backoff.wait().await;
            }
        };
        tokio::select! {
            () = keep => {}
            () = self.gone.notified() => {}
        }
    }
}

/// Plugins by driver, the latest last.
type Known = BTreeMap<String, Vec<Arc<Driver>>>;

/// The drivers of a node; clones are the same.
#[derive(Clone)]
pub(super) struct Drivers {
    known: Arc<watch::Sender<Known>>,
    came: Arc<watch::Sender<()>>,
    /// A plugin came, went, was reached or lost.
    changed: Arc<Notify>,
    tasks: Arc<Mutex<Option<Tasks>>>,
}

impl Drivers {
    pub(super) fn new() -> Self {
        Self { known: Arc::default(), came: Arc::default(), changed: Arc::default(), tasks: Arc::default() }
    }

    /// The driver's plugin that is reached, the latest of them, or else the latest.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Driver>, String> {
        if name.is_empty() {
            return Err("DRA driver name is empty".to_owned());
        }
        let known = self.known.borrow();
        let plugins = known.get(name).map(Vec::as_slice).unwrap_or_default();
        let reached = plugins.iter().rev().find(|plugin| plugin.is_connected());
        let found = reached.or(plugins.last()).cloned();
        found.ok_or_else(|| format!("DRA driver {name} is not registered"))
    }

    /// Told when a driver comes.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.came.subscribe()
    }

    /// From now on connections are watched.
    pub(super) fn begin(&self, tasks: &Tasks) {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks.clone());
    }

    /// Takes slices out of the API that nobody stands behind, for ever.
    pub(super) async fn clean(self, link: Link, node: String) {
        wipe(&link, &node, None).await;
        // When the slices of each driver that is not reached are to go; none if they went.
        let mut lost: BTreeMap<String, Option<Instant>> = BTreeMap::new();
        let mut heard: BTreeSet<String> = BTreeSet::new();
        loop {
            let reached: BTreeSet<String> = {
                let known = self.known.borrow();
                heard.extend(known.keys().cloned());
                let reached = known.iter().filter(|(_, all)| all.iter().any(|plugin| plugin.is_connected()));
                reached.map(|(name, _)| name.clone()).collect()
            };
            lost.retain(|name, _| !reached.contains(name));
            for name in heard.difference(&reached) {
                lost.entry(name.clone()).or_insert_with(|| Some(Instant::now() + WIPING_DELAY));
            }
            let waiting = lost.iter().filter_map(|(name, at)| Some((name.clone(), (*at)?)));
            let next = waiting.min_by_key(|(_, at)| *at);
            let due = async {
                match &next {
                    Some((name, at)) => {
                        tokio::time::sleep_until(*at).await;
                        wipe(&link, &node, Some(name)).await;
                        name.clone()
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                name = due => drop(lost.insert(name, None)),
            }
        }
    }
}

/// Deletes the node's slices, or those of one driver. Tried until it works.
async fn wipe(link: &Link, node: &str, driver: Option<&str>) {
    let mut fields = format!("spec.nodeName={node}");
    if let Some(driver) = driver {
        fields.push_str(",spec.driver=");
        fields.push_str(driver);
    }
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
    loop {
        match write::delete_selected(link, &Resource::of::<ResourceSlice>(), &fields).await {
            Ok(()) => return,
            Err(error) if write::is_not_found(&error) => return,
            Err(error) => tracing::warn!(%error, fields, "slices of devices not taken out of the API"),
        }
        backoff.wait().await;
    }
}

impl Handler for Drivers {
    fn kind(&self) -> &'static str {
        "DRAPlugin"
    }

    fn accept<'a>(&'a self, info: &'a PluginInfo, endpoint: &'a Path) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let (name, place) = (&info.name, endpoint.display());
            let service = choose(&info.supported_versions).map_err(|error| {
                format!(
                    "invalid supported gRPC versions of DRA driver plugin {name} at endpoint {place}: {error}"
                )
            })?;
            let known = |known: &Known| {
                known.get(name).is_some_and(|all| all.iter().any(|plugin| plugin.endpoint == endpoint))
            };
            if known(&self.known.borrow()) {
                return Err(format!("endpoint {place} already registered for DRA driver plugin {name}"));
            }
            let plugin = Plugin::at(endpoint);
            let driver = Driver { endpoint: endpoint.to_owned(), service, plugin, gone: Notify::new() };
            let driver = Arc::new(driver);
            if let Some(tasks) = &*self.tasks.lock().unwrap_or_else(PoisonError::into_inner) {
                tasks.spawn_until_stop(Arc::clone(&driver).keep_connected(Arc::clone(&self.changed)));
            }
            self.known.send_modify(|known| known.entry(name.clone()).or_default().push(driver));
            self.changed.notify_one();
            self.came.send_replace(());
            Ok(())
        })
    }

    fn forget(&self, name: &str, endpoint: &Path) {
        self.known.send_modify(|known| {
            let Some(plugins) = known.get_mut(name) else { return };
            plugins.retain(|plugin| {
                let stays = plugin.endpoint != endpoint;
                if !stays {
                    plugin.gone.notify_one();
                }
                stays
            });
            if plugins.is_empty() {
                known.remove(name);
            }
        });
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_that_both_know_is_spoken() {
        let chosen = |offered: &[&str]| {
            let offered: Vec<String> = offered.iter().map(|name| (*name).to_owned()).collect();
            choose(&offered).map(|service| service.name)
        };
        assert_eq!(chosen(&["v1.DRAPlugin", "v1beta1.DRAPlugin"]), Ok("v1.DRAPlugin"));
        assert_eq!(chosen(&["v1alpha1.DRAResourceHealth", "v1beta1.DRAPlugin"]), Ok("v1beta1.DRAPlugin"));
        assert_eq!(
            chosen(&["v1alpha3.Node"]).unwrap_err(),
            "none of services supported by the plugin ([\"v1alpha3.Node\"]) are supported by the kubelet \
             ([\"v1.DRAPlugin\" \"v1beta1.DRAPlugin\"])"
        );
        assert!(chosen(&[]).is_err());
    }
}
