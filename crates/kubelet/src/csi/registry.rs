//! How drivers make themselves known: a socket in a folder, behind which they say who they are and hear how it went.
//!
//! Level-triggered: whatever happened, the folder's sockets are compared with those known. Follows upstream's
//! `pkg/kubelet/pluginmanager`; only drivers of volumes are taken, all else is told so.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_base::Backoff;

use super::client::Plugin;
use super::proto::{PluginInfo, RegistrationStatus};
use super::{Driver, Drivers};
use crate::watch::FolderWatch;

const KIND: &str = "CSIPlugin";

/// A socket that was seen, by its inode: another one under the same name is another plugin's, or a new start of it.
struct Seen {
    inode: u64,
    /// The driver behind it, once registered.
    driver: Option<String>,
}

pub(super) async fn run(drivers: Drivers) {
    let folder = drivers.registry();
    let watch = std::fs::create_dir_all(&folder).and_then(|()| FolderWatch::new(&folder));
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "no drivers can register");
            return;
        }
    };
    let mut known: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
    loop {
        let open = look(&drivers, &folder, &mut known).await;
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
                    tracing::error!(folder = %folder.display(), %error, "drivers are not heard any more");
                    return;
                }
            }
            () = again => {}
        }
    }
}

/// One look at the folder; whether something is left to be tried again.
async fn look(drivers: &Drivers, folder: &Path, known: &mut BTreeMap<PathBuf, Seen>) -> bool {
    let sockets = sockets(folder);
    known.retain(|path, seen| {
        let stays = sockets.get(path) == Some(&seen.inode);
        if let (false, Some(driver)) = (stays, &seen.driver) {
            tracing::info!(driver, "driver of volumes is gone");
            drivers.remove(driver);
        }
        stays
    });
    let mut open = false;
    for (path, inode) in sockets {
        let seen = known.entry(path.clone()).or_insert(Seen { inode, driver: None });
        if seen.driver.is_some() {
            continue;
        }
        match register(drivers, &path).await {
            Ok(driver) => {
                tracing::info!(driver, "driver of volumes registered");
                seen.driver = Some(driver);
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

/// Asks who is behind a socket, takes it in, and says how that went; its name.
async fn register(drivers: &Drivers, socket: &Path) -> Result<String, String> {
    let plugin = Plugin::at(socket);
    let info = plugin.info().await?;
    let outcome = accept(socket, &info).await.map(|driver| {
        drivers.add(driver);
        info.name.clone()
    });
    let status = RegistrationStatus {
        plugin_registered: outcome.is_ok(),
        error: outcome.as_ref().err().cloned().unwrap_or_default(),
    };
    if let Err(error) = plugin.notify(status).await {
        tracing::warn!(driver = info.name, error, "driver not told how its registration went");
    }
    outcome
}

async fn accept(socket: &Path, info: &PluginInfo) -> Result<Driver, String> {
    if info.kind != KIND {
        return Err(format!(
            "no handler registered for plugin type: {} at socket {}",
            info.kind,
            socket.display()
        ));
    }
    if !crate::volume::is_name(&info.name) {
        return Err(format!("invalid driver name {:?}", info.name));
    }
    let major = |version: &String| version.trim_start_matches('v').split('.').next() == Some("1");
    if !info.supported_versions.iter().any(major) {
        let versions = info.supported_versions.join(", ");
        return Err(format!("driver {} supports none of the versions 1.x: {versions}", info.name));
    }
    let endpoint = if info.endpoint.is_empty() { socket } else { Path::new(&info.endpoint) };
    let plugin = Plugin::at(endpoint);
    let (node, capabilities) = tokio::try_join!(plugin.node_info(), plugin.capabilities())?;
    if node.node_id.is_empty() {
        return Err(format!("driver {} gives the node no id", info.name));
    }
    let capabilities = capabilities.capabilities.into_iter().filter_map(|one| Some(one.rpc?.kind)).collect();
    Ok(Driver { name: info.name.clone(), plugin, node, capabilities })
}
