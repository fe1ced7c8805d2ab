//! Devices that plugins count (the device plugin interface): how many the node has, which containers get, what comes with
//! them.
//!
//! A plugin makes itself known at a socket in `device-plugins` ([`mod@serve`]), or as all plugins do, and tells of its
//! devices as they change; the node says in its status how many there are. A pod gets its devices before it begins, or is
//! refused; what it was given is on disk, so that a kubelet that begins anew gives nothing twice. Follows upstream's
//! `pkg/kubelet/cm/devicemanager`; which devices are near to which processors is not looked at.

mod allocate;
pub mod proto;
mod serve;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use skiff_base::Tasks;
use tokio::sync::watch;

use crate::plugins::Handler;
use crate::plugins::client::{AT_HAND, Plugin};
use crate::plugins::proto::{Empty, PluginInfo};
use proto::{Devices, Options};
use table::Table;
pub(crate) use table::{Amount, asks};

/// Upstream's name.
const FILE: &str = "kubelet_internal_checkpoint";
/// How long the devices of a plugin that is gone are still told of, as upstream's `endpointStopGracePeriod`.
const PATIENCE: Duration = Duration::from_secs(300);

/// A plugin that can be asked.
#[derive(Clone)]
struct Endpoint {
    plugin: Plugin,
    options: Options,
    /// Its number among all that ever registered: only the last of a resource speaks for it.
    number: u64,
    /// It speaks.
    alive: bool,
}

/// The plugins of a node and what they were asked for; clones are the same.
#[derive(Clone)]
pub struct DevicePlugins {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    state: Mutex<State>,
    /// One pod at a time chooses, and what was chosen is written before the next does.
    turn: tokio::sync::Mutex<()>,
    amounts: watch::Sender<BTreeMap<String, Amount>>,
    tasks: Mutex<Option<Tasks>>,
}

#[derive(Default)]
struct State {
    table: Table,
    endpoints: BTreeMap<String, Endpoint>,
    registrations: u64,
}

impl DevicePlugins {
    /// What was given when the kubelet that keeps its files in `data_dir` ended. Waits for the disk.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let folder = data_dir.join("device-plugins");
        let table = read(&folder.join(FILE)).unwrap_or_else(|error| {
            tracing::error!(%error, "what was given of devices is not known: drain the node");
            Table::default()
        });
        let amounts = watch::Sender::new(table.amounts());
        let state = Mutex::new(State { table, ..State::default() });
        let inner =
            Inner { folder, state, turn: tokio::sync::Mutex::default(), amounts, tasks: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Begins to hear of plugins.
    pub(crate) fn begin(&self, tasks: &Tasks) {
        *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks.clone());
        tasks.spawn_until_stop(serve::serve(self.clone(), tasks.clone()));
    }

    /// What the node has, as it changes.
    pub(crate) fn amounts(&self) -> watch::Receiver<BTreeMap<String, Amount>> {
        self.inner.amounts.subscribe()
    }

    /// The pods that have devices.
    pub(crate) fn holders(&self) -> BTreeSet<String> {
        self.state().table.pods().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let now = self.state().table.amounts();
        self.inner.amounts.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &*self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) {
            tasks.spawn_until_stop(work);
        }
    }

    /// A plugin speaks for a resource from now on.
    fn register(&self, resource: &str, plugin: Plugin, options: Options) {
        let number = {
            let mut state = self.state();
            state.registrations += 1;
            let number = state.registrations;
            let endpoint = Endpoint { plugin: plugin.clone(), options, number, alive: true };
            state.endpoints.insert(resource.to_owned(), endpoint);
            number
        };
        tracing::info!(resource, "plugin of devices registered");
        self.spawn(self.clone().follow(resource.to_owned(), plugin, number));
    }

    /// Hears what a plugin has, until it ends; a while later its devices are forgotten.
    async fn follow(self, resource: String, plugin: Plugin, number: u64) {
        let heard = async {
            let mut devices =
                plugin.stream::<_, Devices>("/v1beta1.DevicePlugin/ListAndWatch", Empty {}).await?;
            while let Some(told) = devices.message().await.map_err(|status| status.to_string())? {
                let all = told.devices.into_iter().map(|device| (device.id, device.health == "Healthy"));
                let mut first = false;
                if !self.change(&resource, number, |state| first = state.table.set(&resource, all.collect()))
                {
                    return Ok(());
                }
                if !first {
                    continue;
                }
                let _turn = self.inner.turn.lock().await;
                if let Err(error) = self.write().await {
                    tracing::warn!(error, "devices not written down");
                }
            }
            Ok(())
        };
        let heard: Result<(), String> = heard.await;
        let lost = self.change(&resource, number, |state| {
            state.table.lose(&resource);
            if let Some(endpoint) = state.endpoints.get_mut(&resource) {
                endpoint.alive = false;
            }
        });
        if lost {
            tracing::info!(resource, error = heard.err(), "plugin of devices is gone");
            tokio::time::sleep(PATIENCE).await;
            self.change(&resource, number, |state| {
                state.table.set(&resource, BTreeMap::new());
            });
        }
    }

    /// Changes something that a plugin may say, if it still speaks for its resource; whether it does.
    fn change(&self, resource: &str, number: u64, change: impl FnOnce(&mut State)) -> bool {
        {
            let mut state = self.state();
            if state.endpoints.get(resource).is_none_or(|endpoint| endpoint.number != number) {
                return false;
            }
            change(&mut state);
        }
        self.tell();
        true
    }

    /// Writes down what was given; whoever calls has the turn.
    async fn write(&self) -> Result<(), String> {
        let text = serde_json::to_vec(&self.state().table).map_err(|error| error.to_string())?;
        let (folder, file) = (self.inner.folder.clone(), self.inner.folder.join(FILE));
        let written = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(folder)?;
            skiff_base::fs::write_atomically(&file, &text, 0o600)
        });
        let written = written.await.map_err(io::Error::other).and_then(|result| result);
        written.map_err(|error| format!("failed to write checkpoint file {FILE:?}: {error}"))
    }
}

fn read(file: &Path) -> io::Result<Table> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(error) => Err(error),
    }
}

/// Plugins that register as drivers do.
impl Handler for DevicePlugins {
    fn kind(&self) -> &'static str {
        "DevicePlugin"
    }

    fn accept<'a>(&'a self, info: &'a PluginInfo, endpoint: &'a Path) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if !info.supported_versions.iter().any(|version| version == proto::VERSION) {
                return Err(format!(
                    "requested API version {:?} is not supported by kubelet. Supported versions are [{:?}]",
                    info.supported_versions.join(", "),
                    proto::VERSION
                ));
            }
            if !table::is_extended(&info.name) {
                return Err(format!("the ResourceName {:?} is invalid", info.name));
            }
            let plugin = Plugin::at(endpoint);
            let path = "/v1beta1.DevicePlugin/GetDevicePluginOptions";
            let options: Options = plugin.call(path, Empty {}, AT_HAND).await?;
            self.register(&info.name, plugin, options);
            Ok(())
        })
    }

    /// Its stream of devices ends by itself.
    fn forget(&self, _: &str, _: &Path) {}
}
