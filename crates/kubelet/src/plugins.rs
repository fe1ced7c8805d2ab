//! Plugins of the node: how those who drive volumes and devices make themselves known.
//!
//! A plugin puts a socket into a folder, says behind it who it is, and hears how its registration went. Level-triggered:
//! whatever happened, the folder's sockets are compared with those known. Which kinds are taken, and what is asked of them
//! first, is their handlers' ([`Handler`]); all others are told so. Follows upstream's `pkg/kubelet/pluginmanager`.

pub(crate) mod client;
pub mod proto;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skiff_base::Backoff;

use crate::watch::FolderWatch;
use client::Plugin;
use proto::{PluginInfo, RegistrationStatus};

/// Takes in plugins of one kind.
pub trait Handler: Send + Sync {
    /// As plugins of this kind call it, such as `CSIPlugin`.
    fn kind(&self) -> &'static str;
    /// Takes in a plugin that serves at `endpoint`, or says why not.
    fn accept<'a>(&'a self, info: &'a PluginInfo, endpoint: &'a Path) -> BoxFuture<'a, Result<(), String>>;
    /// A plugin that was taken in is gone.
    fn forget(&self, name: &str, endpoint: &Path);
}

/// A socket that was seen, by its inode: another one under the same name is another plugin's, or a new start of it.
struct Seen {
    inode: u64,
    /// The plugin behind it, once registered.
    plugin: Option<Registered>,
}

struct Registered {
    kind: &'static str,
    name: String,
    endpoint: PathBuf,
}

/// Where plugins of a node register that keeps its files in `data_dir`.
#[must_use]
pub fn registry(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins_registry")
}

/// Hears of plugins for ever.
pub async fn listen(data_dir: PathBuf, handlers: Vec<Arc<dyn Handler>>) {
    let folder = registry(&data_dir);
    let watch = std::fs::create_dir_all(&folder).and_then(|()| FolderWatch::new(&folder));
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "no plugins can register");
            return;
        }
    };
    let mut known: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
    loop {
        let open = look(&handlers, &folder, &mut known).await;
        if !open {
            retry.reset();
        }
        let again = async {
            if open {
                retry.wait().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            changes = watch.changes() => {
                if let Err(error) = changes {
                    tracing::error!(folder = %folder.display(), %error, "plugins are not heard any more");
                    return;
                }
            }
            () = again => {}
        }
    }
}

/// One look at the folder; whether something is left to be tried again.
async fn look(handlers: &[Arc<dyn Handler>], folder: &Path, known: &mut BTreeMap<PathBuf, Seen>) -> bool {
    let sockets = sockets(folder);
    known.retain(|path, seen| {
        let stays = sockets.get(path) == Some(&seen.inode);
        if let (false, Some(plugin)) = (stays, &seen.plugin) {
            tracing::info!(plugin = plugin.name, kind = plugin.kind, "plugin is gone");
            for handler in handlers.iter().filter(|handler| handler.kind() == plugin.kind) {
                handler.forget(&plugin.name, &plugin.endpoint);
            }
        }
        stays
    });
    let mut open = false;
    for (path, inode) in sockets {
        let seen = known.entry(path.clone()).or_insert(Seen { inode, plugin: None });
        if seen.plugin.is_some() {
            continue;
        }
        match register(handlers, &path).await {
            Ok(plugin) => {
                tracing::info!(plugin = plugin.name, kind = plugin.kind, "plugin registered");
                seen.plugin = Some(plugin);
            }
            Err(error) => {
                tracing::warn!(socket = %path.display(), error, "plugin not registered");
                open = true;
            }
        }
    }
    open
}

fn sockets(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sockets = entries.filter_map(|entry| {
        let meta = entry.metadata().ok().filter(|meta| meta.file_type().is_socket())?;
        Some((entry.path(), meta.ino()))
    });
    sockets.collect()
}

/// Asks who is behind a socket, has it taken in, and says how that went.
async fn register(handlers: &[Arc<dyn Handler>], socket: &Path) -> Result<Registered, String> {
    let plugin = Plugin::at(socket);
    let info = plugin.info().await?;
    let outcome = accept(handlers, socket, &info).await;
    let status = RegistrationStatus {
        plugin_registered: outcome.is_ok(),
        error: outcome.as_ref().err().cloned().unwrap_or_default(),
    };
    if let Err(error) = plugin.notify(status).await {
        tracing::warn!(plugin = info.name, %error, "plugin not told how its registration went");
    }
    outcome
}

async fn accept(
    handlers: &[Arc<dyn Handler>],
    socket: &Path,
    info: &PluginInfo,
) -> Result<Registered, String> {
    let handler = handlers.iter().find(|handler| handler.kind() == info.kind);
    let handler = handler.ok_or_else(|| {
        format!("no handler registered for plugin type: {} at socket {}", info.kind, socket.display())
    })?;
    let endpoint = if info.endpoint.is_empty() { socket } else { Path::new(&info.endpoint) };
    handler.accept(info, endpoint).await?;
    Ok(Registered { kind: handler.kind(), name: info.name.clone(), endpoint: endpoint.to_owned() })
}
